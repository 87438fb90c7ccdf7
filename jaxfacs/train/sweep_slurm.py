"""A sweep as a SLURM job array: a list of commands, and the script that runs one of its lines."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxfacs.errors import UserError
from jaxfacs.files import replacing
from jaxfacs.train.sweep import Planned
from jaxfacs.train.sweep_jobs import CODE, DONE, LOG, commands, outcome

SCRIPT, LIST = "sweep.sbatch", "sweep.tsv"

# srun's step gets the signal before the time limit; `trap :` keeps each bash waiting for what it
# started, whose save takes a while. A training is its own coordinator: one task.
TEMPLATE = """\
#!/usr/bin/env bash
# A sweep as an array: each task carries one line of {list} on. Options given to sbatch go before
# these, as in: sbatch --partition=gpu --time=04:00:00 {script}
#SBATCH --job-name=sweep
#SBATCH --array=0-{last}%{at_once}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --chdir={here}
#SBATCH --output={out}/slurm-%A_%a.log
set -u

export PATH={path}:$PATH
IFS=$'\\t' read -r name train evaluate < <(sed -n "$((SLURM_ARRAY_TASK_ID + 1))p" {list})
workdir={out}/$name
mkdir -p "$workdir" && rm -f "$workdir/{code}" || exit 2
trap : TERM
step() {{
  printf '\n$ %s\n' "$1" >>"$workdir/{log}"
  srun bash -c "trap : TERM; $1" >>"$workdir/{log}" 2>&1
}}

step "$train" && step "$evaluate"
code=$?
echo "$code" >"$workdir/{code}"
# 0 done, 2 bad input, 3 diverged: again would be the same. All else goes on where it was, unless
# somebody cancelled it: then it no longer counts as running.
task=${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID
case $code in
  0 | 2 | 3) ;;
  *)
    if ((${{SLURM_RESTART_COUNT:-0}} < {restarts})) &&
      [[ $(squeue --noheader --format=%T --jobs="$task") == RUNNING ]]; then
      scontrol requeue "$task"
    fi
    ;;
esac
exit "$code"
"""
RESTARTS = 50


def write(out: Path, planned: Sequence[Planned], *, smoke: bool, at_once: int) -> int:
    """Writes OUT/sweep.sbatch and OUT/sweep.tsv for the runs that are not done; says what to do.

    Args:
      at_once: tasks of the array that may run at the same time; 0 or 1: any number.
    """
    todo = [run for run in planned if outcome(out, run).state not in DONE]
    if not todo:
        print(f"all {len(planned)} runs are done; write their tables with --tables")
        return 0
    root = out.absolute()
    lines = []
    for run in todo:
        words = [run.name] + [
            shlex.join(["jaxfacs", *command]) for command in commands(root, run, smoke=smoke)
        ]
        if any("\t" in word or "\n" in word for word in words):
            raise UserError(
                f"run {run.name} has a tab or a line end in a value; it cannot be listed"
            )
        lines.append("\t".join(words) + "\n")
    script = TEMPLATE.format(
        last=len(todo) - 1,
        at_once=at_once if at_once > 1 else len(todo),
        here=shlex.quote(str(Path.cwd())),
        out=shlex.quote(str(root)),
        list=shlex.quote(str(root / LIST)),
        script=shlex.quote(str(root / SCRIPT)),
        path=shlex.quote(str(Path(sys.executable).parent)),
        code=CODE,
        log=LOG,
        restarts=RESTARTS,
    )
    try:
        root.mkdir(parents=True, exist_ok=True)
        for name, text in ((LIST, "".join(lines)), (SCRIPT, script)):
            with replacing(root / name) as path:
                path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {out} ({error.strerror}); give another --out") from error
    print(f"{len(todo)} of {len(planned)} runs are to be done. Start them:")
    print(f"  sbatch {out / SCRIPT}")
    print("and then write the tables: this command with --tables instead of --slurm")
    return 0
