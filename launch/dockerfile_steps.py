"""Runs the steps of launch/Dockerfile without Docker: COPY into a folder, RUN in a fresh venv.

    python launch/dockerfile_steps.py FOLDER [--arg EXTRAS=tensorboard]

For where Docker's daemon may not run, as in a test. FOLDER stands for WORKDIR, FOLDER/.venv for the
image's Python (its version is that of the interpreter that runs this). What would change this
machine, adding a user, is left out and said. Ends with the code of the first step that failed.
Only the standard library.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SYSTEM = ("useradd", "groupadd", "apt-get", "chown")  # steps that begin so change the machine
SAID_ONLY = ("FROM", "WORKDIR", "USER", "ENTRYPOINT", "CMD")


def instructions(text: str) -> list[tuple[str, str]]:
    """(keyword, rest) of each instruction; comments left out, continued lines joined."""
    rows = [row for row in text.splitlines() if row.strip() and not row.lstrip().startswith("#")]
    joined = "\n".join(rows).replace("\\\n", " ")
    return [(row.split()[0].upper(), row.split(None, 1)[1].strip()) for row in joined.splitlines()]


def run(folder: Path, text: str, arguments: dict[str, str], *, pip: bool = True) -> int:
    """Carries the instructions out in `folder`, which must be new or empty.

    Without `pip` the environment is made in no time, for steps that install nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    venv.create(folder / ".venv", with_pip=pip, clear=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": f"{folder / '.venv' / 'bin'}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(folder / ".venv"),
    }
    for keyword, rest in instructions(text):
        print(f"{keyword} {rest}", flush=True)
        if keyword == "ARG":
            name, _, default = rest.partition("=")
            environment[name] = arguments.get(name, default)
        elif keyword == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif keyword == "COPY":
            *sources, target = shlex.split(rest)
            for source in sources:
                _copy(ROOT / source, folder / target)
        elif keyword == "RUN":
            if rest.split()[0] in SYSTEM:
                print("  left out: it would change this machine", flush=True)
            elif code := subprocess.run(["sh", "-c", rest], cwd=folder, env=environment).returncode:
                return code
        elif keyword not in SAID_ONLY:
            print(f"  not known to {Path(__file__).name}", file=sys.stderr)
            return 2
    return 0


def _copy(source: Path, target: Path) -> None:
    """As COPY does: a folder's contents into a folder, a file into a folder that exists."""
    if source.is_dir():
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignore)
    else:
        shutil.copy(source, target)


def main() -> int:
    parser = argparse.ArgumentParser(description="The steps of launch/Dockerfile without Docker.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arg", action="append", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    if given.folder.exists() and any(given.folder.iterdir()):
        parser.error(f"{given.folder} is not empty")
    arguments = dict(pair.split("=", 1) for pair in given.arg)
    return run(given.folder.resolve(), (ROOT / "launch" / "Dockerfile").read_text(), arguments)


if __name__ == "__main__":
    sys.exit(main())
