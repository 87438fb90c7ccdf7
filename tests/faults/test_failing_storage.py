"""Storage that fails for a while is asked again; that fails for good or is full ends the run with
2; and once it is mended the same command ends as the run that met nothing."""

import errno
import os
import shutil
import subprocess
from pathlib import Path

import faulty
import pytest
import tiny

from jaxfacs import cli

LONG = pytest.mark.long


@pytest.fixture(scope="session")
def library(tmp_path_factory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler: file calls cannot be made to fail")
    built = tmp_path_factory.mktemp("failing") / "failing_calls.so"
    source = Path(__file__).with_name("failing_calls.c")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", built, source, "-ldl"],
        check=True,
    )
    return built


def failing(library: Path, calls: str, path: str, number: int, *, after: int, count: int) -> dict:
    return {
        "LD_PRELOAD": str(library),
        "FAIL_CALLS": calls,
        "FAIL_PATH": path,
        "FAIL_ERRNO": str(number),
        "FAIL_AFTER": str(after),
        "FAIL_COUNT": str(count),
    }


@pytest.mark.parametrize(
    ("calls", "path", "number", "after", "words"),
    [
        ("write,rename", "checkpoints/", errno.EIO, 70, "the next save makes it good"),
        # The first save, the last one, the lines of metrics before a save; by each kind of call.
        *(
            pytest.param(*case, marks=LONG)
            for case in (
                ("mkdir", "checkpoints/10.", errno.EIO, 0, "makes it good"),
                ("open", "checkpoints/20.", errno.ESTALE, 3, "makes it good"),
                ("write", "checkpoints/30.", errno.ETIMEDOUT, 9, "makes it good"),
                ("rename", "checkpoints/60.", errno.EIO, 0, "saving the last step: "),
                ("write", "checkpoints/60.", errno.EREMOTEIO, 2, "saving the last step: "),
                ("write", "metrics.jsonl", errno.EIO, 4, "writing metrics.jsonl: "),
                ("open,rename", "metrics.jsonl", errno.ESTALE, 0, "writing metrics.jsonl: "),
            )
        ),
    ],
)
def test_a_failure_that_passes(
    calls, path, number, after, words, library, config_path, straight, tmp_path
):
    faults = failing(library, calls, path, number, after=after, count=2)
    run = faulty.start("", "train", config_path, "--workdir", tmp_path, **faults)
    code, said = faulty.finish(run)
    assert code == 0 and "Traceback" not in said, said
    assert words in said and os.strerror(number) in said, said
    assert [p.name for p in tmp_path.rglob("*.orbax-checkpoint-tmp")] == []
    faulty.assert_ends_as(straight, tmp_path)


@LONG
@pytest.mark.parametrize("path", ["checkpoints/", "metrics.jsonl"])
def test_a_failure_that_stays(path, library, config_path, straight, tmp_path):
    train = ["train", config_path, "--workdir", tmp_path]
    faults = failing(library, "write", path, errno.EIO, after=150, count=1_000_000)
    if path == "metrics.jsonl":
        faults["FAIL_AFTER"] = "5"
    code, said = faulty.finish(faulty.start("", *train, **faults))
    last = said.strip().splitlines()[-1]
    assert code == 2 and "Traceback" not in said and "(attempt 6 of 6)" in said, said
    assert "Input/output error" in last and "the same command" in last
    assert cli.main([str(word) for word in train]) == 0
    faulty.assert_ends_as(straight, tmp_path)


@LONG
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS], ids=os.strerror)
def test_what_will_not_pass_is_not_tried_again(number, library, config_path, straight, tmp_path):
    train = ["train", config_path, "--workdir", tmp_path]
    faults = failing(library, "write", "checkpoints/", number, after=150, count=1)
    code, said = faulty.finish(faulty.start("", *train, **faults))
    assert code == 2 and "Traceback" not in said and "attempt" not in said, said
    assert os.strerror(number) in said.strip().splitlines()[-1]
    assert cli.main([str(word) for word in train]) == 0
    faulty.assert_ends_as(straight, tmp_path)


@LONG
@pytest.mark.multi_device
@pytest.mark.parametrize("bad", [0, 1])
@pytest.mark.parametrize(("number", "codes"), [(errno.EIO, (1, 6)), (errno.ENOSPC, (2, 2))])
def test_one_of_two_cannot_save(
    number, codes, bad, library, config_path, together, tmp_path, cached
):
    """The other waits for its part; both end at once, and a launcher starts both again."""
    train = ["train", config_path, "--workdir", tmp_path]
    faults = failing(library, "write", "checkpoints/30.", number, after=0, count=1_000_000)
    found = faulty.ends(faulty.several(2, "", *train, **cached, **faults, FAIL_IN=str(bad)))
    assert (found[bad][0], found[1 - bad][0]) == codes, found
    assert os.strerror(number) in found[bad][1] and "Traceback" not in found[bad][1], found
    found = faulty.ends(faulty.several(2, "", *train, **cached))
    assert [code for code, _ in found] == [0, 0], found
    faulty.assert_ends_as(together, tmp_path)


# Room for: nothing; the config; a part of the first checkpoint; one or two; and a part of the next.
@LONG
@pytest.mark.parametrize("size", ["4k", "24k", "120k", "260k", "400k"])
def test_a_full_disk_and_room_made(size, config_path, straight, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.call(mount, stderr=subprocess.DEVNULL):
        pytest.skip("this user may not mount a small file system")
    train = ["train", config_path, "--workdir", disk / "run"]
    elsewhere = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    try:
        code, said = faulty.finish(faulty.start("", *train, **elsewhere))
        assert code == 2 and "Traceback" not in said, said
        assert "No space left" in said.strip().splitlines()[-1], said
        for step in (disk / "run" / "checkpoints").glob("[0-9]*[0-9]"):
            tiny.digests(disk / "run", int(step.name))  # what looks whole is whole
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        code, said = faulty.finish(faulty.start("", *train, **elsewhere))
        assert code == 0, said
        faulty.assert_ends_as(straight, disk / "run")
    finally:
        subprocess.call(["umount", "-l", str(disk)])
