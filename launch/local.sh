#!/usr/bin/env bash
# Runs one training as N processes on this machine, joined over loopback.
#
#   launch/local.sh N CONFIG.py --workdir DIR [what else jaxfacs train takes]
#
# Each process writes WORKDIR/logs/process-I.log, logs/NAME/process-I.log where WORKDIR is gs://.../NAME;
# the first one's is shown as well. Ends with the first code that is not 0 (launch/README.md says what
# the codes mean). SIGTERM and Ctrl-C reach every process: all save after the same step and end with 75.
#
#   JAXFACS_FAILURES    failures in a row without a new checkpoint until it gives up (1: it starts
#                       nothing again; 3 goes on after a lost process, a hang, a crash)
#   JAXFACS_STOP_S      seconds to save after a signal (120)
#   JAXFACS_GRACE_S     seconds the others have once one process has failed (10)
#
# One process sees all GPUs of a machine by itself: N is for trying out what many machines do. With
# GPUs each process gets its share of them; on CPUs, JAX_NUM_CPU_DEVICES devices each.
# Needs bash 5.1 (wait -n -p). PYTHON: the interpreter, by default that of .venv if there is one.
set -u

grace_s=${JAXFACS_GRACE_S:-10}
stop_s=${JAXFACS_STOP_S:-120}
allowed=${JAXFACS_FAILURES:-1}

usage() { echo "usage: launch/local.sh N CONFIG.py --workdir DIR [...]; $1" >&2; exit 2; }
[[ ${1:-} =~ ^[1-9][0-9]*$ ]] || usage "N is the number of processes"
count=$1; shift

workdir=
for ((i = 1; i <= $#; i++)); do
  case ${!i} in
    --workdir) j=$((i + 1)); workdir=${!j:-} ;;
    --workdir=*) workdir=${!i#--workdir=} ;;
  esac
done
[[ -n $workdir ]] || usage "--workdir is missing"
logs=$workdir/logs
[[ $workdir != gs:/* ]] || logs=logs/${workdir##*/} # object storage cannot append
mkdir -p "$logs" || usage "cannot make $logs"

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[[ -x $python ]] || python=python3
. "$root/launch/gpu.env"
gpus=()
command -v nvidia-smi >/dev/null && mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)

# What ends the rest if it does not end by itself: a process in a broken collective is deaf.
deadline() {
  (sleep "$1"; kill -KILL "${pids[@]}") >/dev/null 2>&1 &
  timer=$!
}
forward() {
  stopped=1
  kill -TERM "${pids[@]}" 2>/dev/null
  [[ -n $timer ]] || deadline "$stop_s"
}

# The step of the newest checkpoint, or "none".
newest() {
  local found
  case $workdir in
    gs:/*) found=$("$python" -c 'import sys; from jaxfacs.files import place
folder = place(sys.argv[1]) / "checkpoints"
print(max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=""))' \
      "$workdir" 2>/dev/null) ;;
    *) found=$(ls "$workdir/checkpoints" 2>/dev/null | grep -E '^[0-9]+$' | sort -n | tail -n 1) ;;
  esac
  echo "${found:-none}"
}

# Starts all processes and waits until the last one has ended; sets `code`.
attempt() {
  local i index ended status left port shown tailer first="$logs/process-0.log"
  port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  shown=$(stat -c %s "$first")
  pids=() timer= code=0 left=$count
  for ((i = 0; i < count; i++)); do
    (
      if ((${#gpus[@]} >= count)); then
        share=$((${#gpus[@]} / count))
        CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${gpus[*]:$((i * share)):share}")
        export CUDA_VISIBLE_DEVICES
      fi
      export JAXFACS_COORDINATOR=127.0.0.1:$port JAXFACS_PROCESS_COUNT=$count JAXFACS_PROCESS_INDEX=$i
      exec "$python" -m jaxfacs train "$@"
    ) >>"$logs/process-$i.log" 2>&1 &
    pids+=($!)
  done
  tail -c "+$((shown + 1))" --pid="${pids[0]}" -F "$first" >&2 2>/dev/null &
  tailer=$!
  [[ -z $stopped ]] || forward # it came while nothing ran
  while ((left > 0)); do
    ended=
    wait -n -p ended "${pids[@]}"
    status=$?
    [[ -n ${ended:-} ]] || continue # a signal woke us
    for i in "${!pids[@]}"; do
      [[ ${pids[i]} == "$ended" ]] && index=$i && unset "pids[i]"
    done
    left=$((left - 1))
    ((status == 0)) && continue
    if ((code == 0)); then
      code=$status
      # 75 is not a failure: the others save after the same step and end by themselves.
      if ((status != 75)); then
        echo "process $index ended with code $status; see $logs/process-$index.log" >&2
        ((left > 0)) && kill -TERM "${pids[@]}" 2>/dev/null
        [[ -z $timer ]] || kill "$timer" 2>/dev/null
        deadline "$grace_s"
      elif [[ -z $timer ]]; then
        deadline "$stop_s"
      fi
    fi
  done
  [[ -z $timer ]] || kill "$timer" 2>/dev/null
  wait "$tailer" 2>/dev/null
}

pids=() timer= stopped= failures=0 before=
trap forward TERM INT
for ((i = 0; i < count; i++)); do : >"$logs/process-$i.log"; done
while :; do
  attempt "$@"
  case $code in 0 | 2 | 3 | 75) break ;; esac # done; or a restart would end the same way; or asked for
  [[ -z $stopped ]] || break
  # Failures in a row that began from the same checkpoint: the run does not get on.
  former=$before before=$(newest)
  [[ $before == "$former" ]] || failures=0
  failures=$((failures + 1))
  if ((failures >= allowed)); then
    ((allowed == 1)) || echo "failed $failures times from checkpoint $before; given up" >&2
    break
  fi
  echo "code $code: all processes start again, from checkpoint $before" >&2
done
exit "$code"
