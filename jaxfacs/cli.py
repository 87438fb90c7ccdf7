"""The command line: a table of commands; each loads only the module that does its work."""

import difflib
import inspect
import sys
from importlib import import_module

from jaxfacs.errors import UserError

# command words -> (module, function, one line of help). Order is the order of a project's life.
COMMANDS: dict[tuple[str, ...], tuple[str, str, str]] = {
    ("data", "list"): ("jaxfacs.data.commands", "list_builders", "datasets that can be built"),
    ("data", "build"): ("jaxfacs.data.commands", "build", "a dataset as shipped -> records"),
    ("data", "show"): ("jaxfacs.data.commands", "show", "print and plot what records hold"),
    ("data", "verify"): ("jaxfacs.data.commands", "verify", "read records whole, compare digests"),
    ("data", "merge"): ("jaxfacs.data.commands", "merge", "several record sets -> one"),
    ("data", "reshard"): ("jaxfacs.data.commands", "reshard", "records in files of another size"),
    ("data", "tfrecord"): ("jaxfacs.data.commands", "tfrecord", "records -> TFRecord files"),
    ("data", "download"): ("jaxfacs.data.commands", "download", "fetch pictures, face models"),
    ("train",): ("jaxfacs.train.command", "train", "train a config; the same command resumes"),
    ("evaluate",): ("jaxfacs.train.command", "evaluate", "per-AU report of a checkpoint"),
    ("runs",): ("jaxfacs.train.runs", "runs", "compare runs: configs, metrics, speed, curves"),
    ("sweep",): ("jaxfacs.train.sweep", "sweep", "train all combinations of values, seeds, folds"),
    ("compare",): ("jaxfacs.train.forgetting", "compare", "the AUs of two runs, before and after"),
    ("convert",): (
        "jaxfacs.convert.convert_command",
        "convert",
        "published weights -> a work directory",
    ),
    ("convert", "list"): (
        "jaxfacs.convert.convert_command",
        "list_published",
        "which weights are published, where, and their licence",
    ),
    ("export",): ("jaxfacs.convert.command", "export", "a checkpoint -> one file for inference"),
    ("inspect",): ("jaxfacs.infer.inspect_command", "inspect", "what is in such a file"),
    ("adapt",): ("jaxfacs.infer.adapt_command", "adapt", "a model -> one that fits your films"),
    ("predict",): ("jaxfacs.infer.command", "predict", "films, pictures -> AUs and emotions"),
    ("report",): ("jaxfacs.infer.views.command", "report", "a film and its table -> one page"),
    ("plot",): ("jaxfacs.infer.views.command", "plot", "a table -> timelines, a face map"),
    ("serve",): ("jaxfacs.serve.command", "serve", "a page and a service for films and cameras"),
    ("emotions", "fit"): ("jaxfacs.train.emotions", "fit", "labels -> a mapper, AUs to emotions"),
    ("emotions", "show"): ("jaxfacs.emotion.command", "show", "what a mapper goes by"),
    ("emotions", "edit"): ("jaxfacs.emotion.command", "edit", "an expert's word in a fitted table"),
    ("emotions", "evaluate"): ("jaxfacs.train.emotions", "evaluate", "a mapper against labels"),
    ("emotions", "compare"): ("jaxfacs.train.emotions", "compare", "all mappers on one set"),
    ("emotions", "neutral"): (
        "jaxfacs.emotion.apply_command",
        "neutral",
        "a person's rest",
    ),
    ("emotions", "person"): ("jaxfacs.infer.person_command", "person", "a person's own thresholds"),
    ("emotions", "apply"): ("jaxfacs.emotion.apply_command", "apply", "AUs -> emotions, and why"),
    ("emotions", "cues"): ("jaxfacs.emotion.apply_command", "cues", "signs of posing, with times"),
    ("bench", "depthwise"): ("jaxfacs.bench.depthwise", "main", "the 3D depthwise convolution"),
    ("bench", "step"): ("jaxfacs.bench.step", "main", "one training step against PyTorch"),
    ("bench", "input"): ("jaxfacs.bench.input", "main", "the input pipeline, a plain decode"),
    ("bench", "predict"): ("jaxfacs.bench.predict", "main", "film to AUs, stage by stage"),
    ("bench", "render"): ("jaxfacs.bench.render", "main", "rendered faces, stage by stage"),
    ("bench", "serve"): ("jaxfacs.bench.serve", "main", "many live clients of one server"),
    ("bench", "flow"): ("jaxfacs.bench.flow", "main", "optical flow against OpenCV's"),
    ("bench", "collectives"): ("jaxfacs.bench.collectives", "main", "what devices send each other"),
    ("bench", "graph-memory"): ("jaxfacs.bench.graph_memory", "main", "memory of AU graphs"),
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command; returns its exit code (0 done, 2 bad input, others as documented)."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if argv[0] in ("-V", "--version"):
        from jaxfacs import __version__

        print(f"jaxfacs {__version__}")
        return 0
    words = tuple(argv[:2]) if tuple(argv[:2]) in COMMANDS else tuple(argv[:1])
    if words not in COMMANDS:
        group = [c for c in COMMANDS if c[0] == argv[0]]
        if group and (len(argv) == 1 or argv[1] in ("-h", "--help")):
            print(_overview(argv[0]))
            return 0
        print(_unknown(argv), file=sys.stderr)
        return 2
    module, name, _ = COMMANDS[words]
    try:
        return run_function(getattr(import_module(module), name), words, argv[len(words) :])
    except UserError as error:
        print(f"jaxfacs {' '.join(words)}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output left (`| head`)
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print(f"jaxfacs {' '.join(words)}: interrupted", file=sys.stderr)
        return 130


def run_function(function, words: tuple[str, ...], args: list[str]) -> int:
    """Calls `function` with its parameters parsed from `args` by tyro.

    A function with a parameter named `argv` parses its own arguments (`train` reads a config file
    before it knows which fields exist) and gets them raw.
    """
    prog = "jaxfacs " + " ".join(words)
    if "argv" in inspect.signature(function).parameters:
        return int(function(argv=args, prog=prog) or 0)
    import tyro

    return int(tyro.cli(function, prog=prog, args=args) or 0)


def _overview(group: str | None = None) -> str:
    rows = [(c, row[2]) for c, row in COMMANDS.items() if group in (None, c[0])]
    width = max(len(" ".join(c)) for c, _ in rows)
    lines = [f"  jaxfacs {' '.join(c):<{width}}  {text}" for c, text in rows]
    return "\n".join(
        [
            "jaxfacs: train facial Action Unit networks, read AUs and emotions out of films",
            "",
            *lines,
            "",
            "Each command explains itself with --help. A first run of everything: make demo",
        ]
    )


def _unknown(argv: list[str]) -> str:
    known = [" ".join(c) for c in COMMANDS]
    typed = " ".join(argv[:2] if any(c[0] == argv[0] for c in COMMANDS) else argv[:1])
    near = difflib.get_close_matches(typed, known, n=3, cutoff=0.5)
    hint = f"did you mean: {', '.join(near)}?" if near else "see jaxfacs --help"
    return f"jaxfacs: no command '{typed}'; {hint}"


def entry() -> None:
    """The `jaxfacs` script."""
    sys.exit(main())


if __name__ == "__main__":
    sys.exit(main())
