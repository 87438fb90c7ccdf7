#!/usr/bin/env bash
# Runs one training as N processes on this machine, joined over loopback.
#
#   launch/local.sh N CONFIG.py --workdir DIR [what else jaxfacs train takes]
#
# Each process writes WORKDIR/logs/process-I.log; the first one's is shown as well. Ends with the
# first code that is not 0 (launch/README.md says what the codes mean). SIGTERM and Ctrl-C reach
# every process: all save after the same step and end with 75.
#
# One process sees all GPUs of a machine by itself: N is for trying out what many machines do. With
# GPUs each process gets its share of them; on CPUs, JAX_NUM_CPU_DEVICES devices each.
# Needs bash 5.1 (wait -n -p). PYTHON: the interpreter, by default that of .venv if there is one.
set -u

grace_s=${JAXFACS_GRACE_S:-10} # that the others have to end once one has failed
stop_s=${JAXFACS_STOP_S:-120}  # that all have to save and end after a signal

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
mkdir -p "$workdir/logs" || usage "cannot make $workdir/logs"

root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
[[ -x $python ]] || python=python3
. "$root/launch/gpu.env"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
gpus=()
command -v nvidia-smi >/dev/null && mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)

pids=()
for ((i = 0; i < count; i++)); do
  (
    if ((${#gpus[@]} >= count)); then
      share=$((${#gpus[@]} / count))
      CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${gpus[*]:$((i * share)):share}")
      export CUDA_VISIBLE_DEVICES
    fi
    export JAXFACS_COORDINATOR=127.0.0.1:$port JAXFACS_PROCESS_COUNT=$count JAXFACS_PROCESS_INDEX=$i
    exec "$python" -m jaxfacs train "$@"
  ) >"$workdir/logs/process-$i.log" 2>&1 &
  pids+=($!)
done
tail -n +1 --pid="${pids[0]}" -F "$workdir/logs/process-0.log" >&2 2>/dev/null &
tailer=$!

# What ends the rest if it does not end by itself: a process in a broken collective is deaf.
deadline() {
  (sleep "$1"; kill -KILL "${pids[@]}") >/dev/null 2>&1 &
  timer=$!
}
timer=
forward() {
  kill -TERM "${pids[@]}" 2>/dev/null
  [[ -n $timer ]] || deadline "$stop_s"
}
trap forward TERM INT

code=0
left=$count
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
      echo "process $index ended with code $status; see $workdir/logs/process-$index.log" >&2
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
exit "$code"
