"""What cannot be is one line on stderr and code 2, in one process and in every one of several."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import faulty
import pytest
import tiny

# Name -> (words, what is said); TRAINED is a work directory that holds this run's first steps.
CASES = {
    "batch": (["--data.batch-size", "7"], "data.batch-size 7 does not divide over 2 devices"),
    "evaluation": (["--evaluation.batch-size", "5"], "evaluation.batch-size 5 does not divide"),
    "micro-batches": (["--accumulate", "8"], "in 8 micro-batches does not divide over 2 devices"),
    "nodes": (["--mesh.nodes", "8"], "mesh.nodes 8 does not divide 2 devices"),
    "negative nodes": (["--mesh.nodes", "-1"], "mesh.nodes is -1"),
    "per device": (["--mesh.batch-per-device", "-4"], "mesh.batch_per_device is -4"),
    "axis": (["RULE", "stem/kernel", "model"], "names axis 'model'; there is 'data'"),
    "share": (["RULE", "head/kernel", "data"], "has 3 entries on axis 1, which do not divide over"),
    "rule": (["RULE", "fc6", "data"], "mesh.fsdp rule 'fc6' matches no parameter"),
    "records": (["--data.source", "nowhere"], "nowhere is not a record folder"),
    "changed": (["TRAINED", "--ema", "0.8"], "ema: 0.9 -> 0.8"),
    "network": (
        ["TRAINED", "--model.width", "2", "--accept-changes"],
        "is of another network or optimiser (model tiny): it has ",
    ),
    "file": (["FILE"], "cannot make --workdir"),
}

SCRIPT = """
import contextlib, io, json, sys
from jaxfacs import cli
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = cli.main(arguments)
    print(json.dumps([code, said.getvalue()]))
"""


@pytest.fixture(scope="module")
def arguments(config_path, tmp_path_factory):
    """A function from a case's words to the arguments of `jaxfacs`."""
    from jaxfacs import cli

    folder = tmp_path_factory.mktemp("bad")
    trained = ["train", str(config_path), "--workdir", str(folder / "trained"), "--steps", "2"]
    assert cli.main(trained) == 0

    def of(name: str, words: list[str]) -> list[str]:
        config, workdir, rest = config_path, folder / f"new-{name}", words
        if words[0] == "RULE":
            rule = f'steps=60, mesh=MeshConfig(fsdp=(("{words[1]}", (None, "{words[2]}")),)),'
            config, rest = folder / f"{name}.py", []
            config.write_text(config_path.read_text().replace("steps=60,", rule))
        elif words[0] == "TRAINED":
            workdir, rest = folder / f"trained-{name}", [*words[1:], "--steps", "2"]
            if not workdir.exists():
                shutil.copytree(folder / "trained", workdir)
        elif words[0] == "FILE":
            workdir, rest = config_path, []
        return ["train", str(config), "--workdir", str(workdir), *rest]

    return of


def assert_refused(code: int, said: str, words: str) -> None:
    assert code == 2, said
    told = "changed by --accept-changes: "  # what was asked for, not what is wrong
    lines = [line for line in said.splitlines() if not line.startswith(told)]
    assert len(lines) == 1 and lines[0].startswith("jaxfacs train: ") and words in lines[0], said


@pytest.mark.multi_device
def test_one_process_of_two_devices_refuses_in_one_line(arguments):
    tried = [arguments(name, words) for name, (words, _) in CASES.items()]
    finished = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(tried)],
        env=tiny.environment(2),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    answers = [json.loads(line) for line in finished.stdout.splitlines()]
    for (code, said), (_, words) in zip(answers, CASES.values(), strict=True):
        assert_refused(code, said, words)
    for name in ("changed", "network"):  # and the folder stays the run's that it was
        workdir = Path(arguments(name, CASES[name][0])[3])
        config = json.loads((workdir / "config.json").read_text())["experiment"]
        assert (config["ema"], config["model"]["width"]) == (0.9, 1.0)


# What each finds out by itself, the first for all, and all as they restore.
@pytest.mark.long
@pytest.mark.multi_device
@pytest.mark.parametrize("name", ["batch", "nodes", "axis", "file", "changed", "network"])
def test_two_processes_both_refuse_in_one_line(arguments, name):
    words, said = CASES[name]
    processes = faulty.several(2, "", *arguments(name, words))
    # Soon, and not after JAX's five minutes of waiting for the other.
    for code, told in [faulty.finish(process) for process in processes]:
        assert_refused(code, told, said)
