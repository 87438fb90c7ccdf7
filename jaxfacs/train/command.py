"""The commands `train` and `evaluate`."""

import contextlib
import io
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Literal

from jaxfacs.errors import UserError
from jaxfacs.files import place, remote
from jaxfacs.runtime import preemption

USAGE = """usage: {prog} CONFIG.py[:KEY=VALUE,...] --workdir DIR [--smoke] [--accept-changes]
       [--dry-run] [--compile-for N] [--FIELD VALUE ...]

Trains what CONFIG.py describes (see configs/). The same command on the same DIR resumes, exactly.

  KEY=VALUE          what a config asks for itself: configs/bp4d_me_graphau.py:fold=2,stage=1
  --workdir DIR      config.json, checkpoints/, metrics.jsonl and TensorBoard events go there
  --smoke            the config's shrunk form, which runs in seconds
  --init-from DIR    start from the network of another work directory, trained or converted;
                     what of it is not wanted, or has no place, is named by --init.new '^head/',
                     --init.ignore and --init.rename
  --dry-run          compile the training step and print devices, memory, work and length of the
                     run; nothing is run and nothing written
  --compile-for N    the same for N devices that are not here: 8 simulates so many on this CPU;
                     h100:64 asks the GPU's compiler (pip install "jax[cuda12]"; no GPU is needed)
  --accept-changes   go on in a DIR whose config.json differs, after printing how
  --FIELD VALUE      any field of the experiment, e.g. --data.batch-size 64
                     --optim.learning-rate 3e-4; {prog} CONFIG.py --help lists them

exit codes: 0 finished; 2 bad input; 3 too many non-finite steps; 4 hung; 6 another process of the
run was lost; 75 stopped by SIGTERM, saved. After 4, 6 and 75 run the same command again"""


def train(argv: list[str], prog: str) -> int:
    """Trains from a config file; the same command resumes. See USAGE."""
    with preemption.ending_at_once():  # before JAX is imported, which takes seconds
        return _train(argv, prog)


def _train(argv: list[str], prog: str) -> int:
    began = time.perf_counter()
    words, dry, compile_for = _split_dry_run(argv)
    path, workdir, smoke, accept_changes, overrides = _split_arguments(words, prog)
    if path is None:
        print(USAGE.format(prog=prog))
        return 0
    from jaxfacs.runtime import distributed, lost
    from jaxfacs.train import config as configs
    from jaxfacs.train import workdir as workdirs

    wants_help = "--help" in overrides or "-h" in overrides
    experiment = parse_overrides(configs.load(path, smoke=smoke), overrides, prog=f"{prog} {path}")
    if experiment is None or wants_help:
        return 0
    configs.check(experiment)
    if dry:
        return _dry_run(experiment, compile_for, argv)
    if workdir is None:
        raise UserError("--workdir is missing; give a folder for checkpoints and metrics")
    workdir = place(workdir)
    workdirs.make(workdir)
    _prepare(workdir)
    distributed.initialize()

    from jaxfacs.train.checkpoint import CannotSaveError, end_past_orbax
    from jaxfacs.train.loop import run

    try:
        with lost.ending_all(prog):
            code = run(experiment, workdir, accept_changes=accept_changes, began=began)
        end_past_orbax(code)
        return code
    except CannotSaveError as error:
        # At once: the writes that Orbax began would print tracebacks as the interpreter ends.
        print(f"{prog}: {error}", file=sys.stderr, flush=True)
        os._exit(2)


def evaluate(
    workdir: Path,
    *,
    split: str = "test",
    step: str = "",
    source: tuple[str, ...] = (),
    allow_overlap: bool = False,
    calibration: Literal["temperature", "isotonic", "none"] = "temperature",
    threshold_for: str = "f1",
) -> int:
    """Writes a per-AU report of a trained checkpoint.

    Probabilities are calibrated and thresholds tuned on the validation split and then used on
    SPLIT; `jaxfacs export` takes them from there. The report goes to
    WORKDIR/evaluation/SPLIT/STEP: report.json, report.md and plots.

    Args:
        workdir: what `jaxfacs train` wrote into.
        split: of the record set.
        step: a step, "best" or "latest"; by default the best if there is one, else the latest.
        source: other record folders to measure on, or where those trained on lie now; of several
            there is a report of each set beside that of all.
        allow_overlap: also on people that the network learned from, which is refused otherwise.
        calibration: how a probability is made to come true as often as it says: temperature (with
            a bias; two numbers an AU), isotonic (any rising curve; needs 200 present and 200
            absent labels of an AU, which falls back to temperature with fewer), or none. With
            fewer than 10 of either an AU is left as it is.
        threshold_for: f1, the best F1 of each AU, or a recall, as in recall:0.9: the highest
            threshold that finds 90 % of what is there.
    """
    chosen = parse_step(step)
    from jaxfacs.evaluate.thresholds import parse_goal

    parse_goal(threshold_for)  # before anything is computed
    _prepare(workdir)
    from jaxfacs.train.evaluate_run import evaluate_run

    folder, line = evaluate_run(
        workdir,
        split=split,
        step=chosen,
        sources=source,
        allow_overlap=allow_overlap,
        method=calibration,
        threshold_for=threshold_for,
    )
    print(line)
    print(f"report: {folder / 'report.md'}")
    return 0


def parse_step(text: str) -> int | Literal["best", "latest"] | None:
    """A --step as `load_for_inference` takes it; "" is None."""
    if text and not text.isdigit() and text not in ("best", "latest"):
        raise UserError(f"--step is '{text}'; give a number, best or latest")
    return int(text) if text.isdigit() else (text or None)  # type: ignore[return-value]


def parse_overrides(experiment, overrides: list[str], *, prog: str):
    """The experiment with fields replaced by `--section.field value`; None if --help was printed.

    Raises UserError in one line, with near names for a field that does not exist.
    """
    import tyro

    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            return tyro.cli(
                type(experiment),
                default=experiment,
                args=overrides,
                prog=prog,
                description="Fields of the experiment, with the config's values as defaults.",
                config=(tyro.conf.FlagConversionOff,),
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        raise UserError(_unboxed(captured.getvalue())) from None


def _unboxed(text: str) -> str:
    """tyro's framed message as one line."""
    rows = [line.strip("│╭╮╰╯─ ").strip() for line in text.splitlines()]
    rows = [row for row in rows if row and not row.startswith("For full helptext")]
    return "; ".join(rows[1:] or rows)  # the first is the frame's title


def _split_dry_run(argv: list[str]) -> tuple[list[str], bool, str | None]:
    """(the arguments without those of a dry run, whether it is one, devices elsewhere)."""
    left: list[str] = []
    dry, compile_for = False, None
    rest = list(argv)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word == "--compile-for":
            if not equals and (not rest or rest[0].startswith("--")):
                raise UserError(
                    "--compile-for is given no devices; write --compile-for 8 or h100:8"
                )
            dry, compile_for = True, value if equals else rest.pop(0)
        elif word == "--dry-run" and not equals:
            dry = True
        else:
            left.append(word + equals + value)
    return left, dry, compile_for


def _dry_run(experiment, compile_for: str | None, argv: list[str]) -> int:
    """Prints what the run would be; on devices elsewhere in a process that has them."""
    from jaxfacs.runtime import distributed
    from jaxfacs.train import compiled

    devices = None if compile_for is None else compiled.parse_devices(compile_for)
    if devices is not None and not compiled.is_elsewhere():
        return compiled.elsewhere(["train", *argv], devices)
    if devices is None:
        distributed.initialize()
    import jax

    from jaxfacs.train.dry_run import dry_run

    for line in dry_run(experiment, devices):
        if jax.process_index() == 0:
            print(line, flush=True)
    return 0


def _split_arguments(
    argv: list[str], prog: str
) -> tuple[Path | None, Path | None, bool, bool, list[str]]:
    """(config file, workdir, smoke, accept changes, what is left for the experiment's fields)."""
    if not argv or argv[0] in ("-h", "--help"):
        return None, None, False, False, []
    if argv[0].startswith("-"):
        raise UserError(f"the config file comes first; usage: {prog} CONFIG.py --workdir DIR")
    path, rest = Path(argv[0]), list(argv[1:])
    workdir: Path | None = None
    flags = {"--smoke": False, "--accept-changes": False}
    left: list[str] = []
    while rest:
        word = rest.pop(0)
        if word in flags:
            flags[word] = True
        elif word.partition("=")[0] == "--init-from":
            left.append(word.replace("--init-from", "--init.source", 1))
        elif word == "--workdir":
            if not rest or rest[0].startswith("--"):
                raise UserError("--workdir is given no folder; write --workdir DIR")
            workdir = Path(rest.pop(0))
        elif word.startswith("--workdir="):
            workdir = Path(word.partition("=")[2])
        else:
            left.append(word)
    return path, workdir, flags["--smoke"], flags["--accept-changes"], left


def _prepare(workdir: Path) -> None:
    """What must be set before JAX and Orbax start."""
    # A restart of this run need not compile again.
    compiled = place(workdir) / "compiled"
    here = str(compiled if remote(compiled) else compiled.absolute())
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", here)
    if not Path("/dev/nvidiactl").exists():  # where data threads should not share one heap
        from jaxfacs.ops.memory import keep_freed_memory

        keep_freed_memory()
    from absl import logging as absl_logging

    # A save that fails in the background is told in one line when it is waited for; Orbax's log,
    # its thread, and the event loop that it closes under tensorstore would each print a traceback.
    absl_logging.set_verbosity(absl_logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    threading.excepthook = _tell_failed_thread
    sys.unraisablehook = _tell_unraisable


def _tell_failed_thread(failed: threading.ExceptHookArgs) -> None:
    if not type(failed.thread).__module__.startswith("orbax."):
        threading.__excepthook__(failed)


def _tell_unraisable(failed: "sys.UnraisableHookArgs") -> None:
    if str(failed.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(failed)
