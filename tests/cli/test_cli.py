"""The command table: help, unknown words, bad input."""

import subprocess
import sys
import time

import pytest

from jaxfacs import cli
from jaxfacs.errors import UserError


def _run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "jaxfacs", *words], capture_output=True, text=True, timeout=120
    )


def test_help_names_every_command_and_is_quick():
    start = time.monotonic()
    done = _run("--help")
    elapsed_s = time.monotonic() - start
    assert done.returncode == 0
    for words in cli.COMMANDS:
        assert "jaxfacs " + " ".join(words) in done.stdout
    # 0.05 s measured; a loaded machine gets ten times that before this fails.
    assert elapsed_s < 0.5 * 4


def test_a_mistyped_command_gets_a_near_one():
    done = _run("trian")
    assert done.returncode == 2
    assert done.stderr == "jaxfacs: no command 'trian'; did you mean: train?\n"


def test_a_group_alone_lists_its_commands():
    done = _run("bench")
    assert done.returncode == 0
    assert "jaxfacs bench depthwise" in done.stdout
    assert "jaxfacs predict" not in done.stdout


@pytest.mark.parametrize("words", list(cli.COMMANDS), ids=" ".join)
def test_every_command_exists_and_explains_itself(words, capsys):
    try:
        code = cli.main([*words, "--help"])  # those that parse their own arguments return
    except SystemExit as ended:  # tyro's way
        code = ended.code
    assert code == 0
    assert len(capsys.readouterr().out.splitlines()) > 5


def test_bad_input_is_one_line_and_exit_2(monkeypatch, capsys):
    def refuse():
        raise UserError("no such folder: x; give a folder that exists")

    monkeypatch.setattr(cli, "import_module", lambda _: type("m", (), {"list_builders": refuse}))
    assert cli.main(["data", "list"]) == 2
    assert capsys.readouterr().err == (
        "jaxfacs data list: no such folder: x; give a folder that exists\n"
    )
