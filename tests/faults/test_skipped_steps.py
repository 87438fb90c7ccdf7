"""Bad steps in a run that is killed: it goes on with the window and the counters that it had."""

import json

import faulty
import pytest
import tiny

from jaxfacs import cli
from jaxfacs.runtime import metrics

# Brightness above which the tiny network is loud: a few of the batches.
SPIKES = "--spike-deviations 4 --spike-window 8 --model.options.leap 0.12".split()


@pytest.fixture(scope="module")
def loud_config(config_path, tmp_path_factory):
    """The tiny experiment with an option for how bright a clip must be to make the loss leap."""
    path = tmp_path_factory.mktemp("loud") / "loud_config.py"
    quiet, loud = '{"norm": True, "poison": 0.0}', '{"norm": True, "leap": 0.0}'
    text = config_path.read_text()
    assert quiet in text
    path.write_text(text.replace(quiet, loud))
    return path


def lines_of(workdir, kind: str) -> list[int]:
    return [row["step"] for row in metrics.read(workdir / "metrics.jsonl", kind)]


@pytest.fixture(scope="module")
def leaping(loud_config, tmp_path_factory):
    """The run with spikes that nobody interrupted."""
    workdir = tmp_path_factory.mktemp("leaping")
    assert cli.main(["train", str(loud_config), "--workdir", str(workdir), *SPIKES]) == 0
    return workdir


@pytest.mark.long
@pytest.mark.parametrize("fault", ["step:14:kill", "data:27:term"])
def test_a_run_with_spikes_resumes_exactly(loud_config, leaping, tmp_path, fault):
    """One is killed in the middle of what the window holds, one is told to stop."""
    skipped = metrics.read(leaping / "metrics.jsonl", "skipped")
    assert 0 < len(skipped) < 30 and all(row["loss"] is not None for row in skipped)
    train = ["train", str(loud_config), "--workdir", str(tmp_path), *SPIKES]
    code, said = faulty.finish(faulty.start(fault, *train))
    assert code in (75, 137), said
    assert cli.main(train) == 0
    faulty.assert_ends_as(leaping, tmp_path)
    assert any(path.startswith("spikes/") for path in tiny.digests(tmp_path, 60))


@pytest.mark.long
def test_the_option_may_be_changed_between_two_runs(loud_config, tmp_path, capsys):
    """On, another window, off: what a checkpoint has of it is never in the way."""
    train = ["train", str(loud_config), "--workdir", str(tmp_path), "--accept-changes"]
    windows = {10: [], 20: SPIKES, 30: [*SPIKES, "--spike-window", "16"], 40: []}
    for steps, words in windows.items():
        assert cli.main([*train, "--steps", str(steps), *words]) == 0, capsys.readouterr().err
        held = {p for p in tiny.digests(tmp_path, steps) if p.startswith("spikes/")}
        assert len(held) == (4 if words else 0)
    capsys.readouterr()
    assert cli.main([arg for arg in train if "accept" not in arg] + ["--steps", "50", *SPIKES]) == 2
    assert "spike_deviations: 0.0 -> 4" in capsys.readouterr().err


@pytest.mark.long
def test_too_many_spikes_end_with_3_and_say_so(loud_config, tmp_path, capsys):
    train = ["train", str(loud_config), "--workdir", str(tmp_path), "--max-skipped", "3"]
    loud = [*SPIKES, "--model.options.leap", "-9", "--accept-changes"]
    assert cli.main([*train, "--steps", "10", *SPIKES[:4]]) == 0
    before = tiny.digests(tmp_path, 10)
    capsys.readouterr()
    assert cli.main([*train, *loud]) == 3
    said = capsys.readouterr().err
    assert "gave up: steps 11 to 13 leapt in loss or gradient norm" in said, said
    assert tiny.digests(tmp_path, 10) == before and lines_of(tmp_path, "skipped") == [11, 12, 13]
    assert all(json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
