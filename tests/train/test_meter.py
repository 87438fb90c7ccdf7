"""The lines of metrics.jsonl: what is summed, averaged, measured, and carried over a restart."""

import json

import numpy as np
import pytest

from jaxfacs.data.config import DataConfig
from jaxfacs.evaluate import metrics as measures
from jaxfacs.runtime.clock import Clock
from jaxfacs.runtime.exchange import Straggler
from jaxfacs.train.config import Experiment
from jaxfacs.train.meter import Meter, TooManySkippedError

AUS = ("1", "12", "25")


class Lines(list):
    """Stands in for the writer."""

    def write(self, step, kind, values):
        self.append({"step": step, "kind": kind, **values})


class Hands:
    at = 0.0

    def __call__(self) -> float:
        return self.at


def meter(*, steps=8, log_every=4, batch_size=6, devices=2, flops=None, carried=None, clock=None):
    lines = Lines()
    experiment = Experiment(
        data=DataConfig(source="", batch_size=batch_size), steps=steps, log_every=log_every
    )
    found = Meter(
        lines,
        clock or Clock(),
        experiment=experiment,
        aus=AUS,
        devices=devices,
        flops=flops,
        carried=carried,
    )
    return found, lines


def answers(rng, rows=6):
    """Labels with unknown ones, and probabilities; AU 25 neither occurs nor is called."""
    truth = rng.integers(-1, 2, (rows, len(AUS)))
    p = rng.random((rows, len(AUS)))
    truth[:, 2], p[:, 2] = np.minimum(truth[:, 2], 0), 0.1
    return truth, p


def numbers(step, truth, p, *, in_row=0, **more):
    """What one step tells, as the loop hands it on."""
    known, present, called = truth >= 0, truth == 1, p >= 0.5
    cells = {
        "true_positive_A": present & called,
        "false_positive_A": known & ~present & called,
        "false_negative_A": present & ~called,
        "known_A": known,
    }
    return {
        "loss": 1.0 / step,
        "loss_occurrence": 0.5 / step,
        "grad_norm": float(step),
        "grad_norm/stem": 0.1 * step,
        "update_ratio/stem": 0.01 * step,
        "learning_rate": 0.1 * step,
        "skipped": float(in_row),
        "skipped_in_row": float(in_row),
        **{name: cell.sum(0).astype(np.float32) for name, cell in cells.items()},
        **more,
    }


def test_f1_is_of_the_whole_window_and_others_are_means():
    rng = np.random.default_rng(0)
    steps = [answers(rng) for _ in range(8)]
    found, lines = meter()
    for step, (truth, p) in enumerate(steps, 1):
        found.add(step, numbers(step, truth, p))
    for line, window in zip(lines, (steps[:4], steps[4:]), strict=True):
        truth, p = (np.concatenate(parts) for parts in zip(*window, strict=True))
        expected = measures.f1(truth, p)
        assert [line[f"f1_AU{au}"] for au in AUS[:2]] == pytest.approx(expected[:2].tolist())
        assert np.isnan(line["f1_AU25"]) and np.isnan(expected[2])
        assert line["mean_f1"] == pytest.approx(expected[:2].mean())
        rate = (truth == 1).sum(0) / (truth >= 0).sum(0)
        assert [line[f"base_rate_AU{au}"] for au in AUS] == pytest.approx(rate.tolist())
        assert line["mean_occurrence"] == pytest.approx(rate.mean())
    first = lines[0]
    assert first["loss"] == pytest.approx(np.mean([1, 1 / 2, 1 / 3, 1 / 4]))
    assert first["grad_norm"] == 2.5 and first["grad_norm/stem"] == pytest.approx(0.25)
    assert first["update_ratio/stem"] == pytest.approx(0.025)
    assert first["learning_rate"] == pytest.approx(0.4)  # the last step's
    assert not any(name.endswith("_A") for name in first)


def test_a_skipped_step_is_told_and_does_not_count():
    rng = np.random.default_rng(1)
    found, lines = meter()
    for step in (1, 2, 3, 4):
        truth, p = answers(rng)
        bad = {"in_row": 1, "loss": float("nan")} if step == 2 else {}
        found.add(step, numbers(step, truth, p, **bad))
    skipped, line = lines
    assert (skipped["kind"], skipped["step"]) == ("skipped", 2)
    assert all(isinstance(value, (int, float, str)) for value in skipped.values())
    assert line["loss"] == pytest.approx(np.mean([1, 1 / 3, 1 / 4]))
    with pytest.raises(TooManySkippedError, match="steps 1 to 10 were"):
        found.add(10, numbers(10, truth, p, in_row=10))


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_a_window_goes_through_a_checkpoint(cut):
    rng = np.random.default_rng(2)
    steps = [numbers(step, *answers(rng)) for step in range(1, 9)]
    hands = Hands()
    straight, expected = meter(clock=Clock(now=hands))
    for step, told in enumerate(steps, 1):
        straight.add(step, told)
    before, lines = meter(clock=Clock(now=hands))
    for step, told in enumerate(steps[:cut], 1):
        before.add(step, told)
    carried = json.loads(json.dumps(before.carried()))
    after, more = meter(carried=carried, clock=Clock(now=hands))
    for step, told in enumerate(steps[cut:], cut + 1):
        after.add(step, told)
    # As it is read: NaN is not itself.
    clocked = ("clips_per_s", "clips_per_s_device", "bytes_per_s", "data_wait")
    left = [{k: v for k, v in line.items() if k not in clocked} for line in (*lines, *more)]
    right = [{k: v for k, v in line.items() if k not in clocked} for line in expected]
    assert json.dumps(left) == json.dumps(right)


def run_steps(found, clock, hands, rng, *, steps=8, wait=1.0, work=3.0):
    """As in the loop: a step's numbers are there when the device is done with it, one step late."""
    batch = {"frames": np.zeros((6, 100), np.uint8), "labels": np.zeros((6, 3), np.int8)}
    for step in range(1, steps + 2):
        if step <= steps:
            with clock("data"):
                hands.at += wait
            found.fed(batch)
        with clock("compile" if step == 1 else "step"):
            hands.at += 30.0 if step == 1 else work
            if step > 1:
                found.add(step - 1, numbers(step - 1, *answers(rng)))
        hands.at += 0.5  # what the loop itself does


def test_speed_mfu_bytes_and_goodput(capsys):
    hands = Hands()
    clock = Clock(now=hands)
    found, lines = meter(clock=clock, flops=(2e9, 1e10))
    run_steps(found, clock, hands, np.random.default_rng(3))
    # From the end of step 1 to that of step 4, and from there to that of step 8.
    for line, steps, data, step in zip(lines, (3, 4), (3, 3), (9, 12), strict=True):
        rate = 6 * steps / (data + step)
        assert line["clips_per_s"] == pytest.approx(rate)
        assert line["clips_per_s_device"] == pytest.approx(rate / 2)
        assert line["mfu"] == pytest.approx(2e9 * rate / 2 / 1e10)
        assert line["data_wait"] == pytest.approx(data / (data + step))
        assert line["bytes_per_s"] == pytest.approx(3 * 618 / (data + step))
    phases = {"data": 8, "compile": 30, "step": 24, "other": 4}
    assert {phase: line[f"{phase}_s"] for phase in phases} == pytest.approx(phases)
    assert line["goodput"] == pytest.approx(24 / 66)
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("step 4/8  loss 0.5208  1.5 clips/s (0.8 a device)  MFU 15.0%  data")
    assert last.endswith("data wait 20%  goodput 36%  left 0.0 min")
    without, lines = meter(clock=clock)
    run_steps(without, clock, hands, np.random.default_rng(3))
    assert "mfu" not in lines[-1] and "MFU" not in capsys.readouterr().err


def test_a_straggler_is_told_when_it_stays_one(capsys):
    slow, other = Straggler(3, 0.5, 0.02), Straggler(1, 0.6, 0.01)
    fine = Straggler(1, 0.02, 0.01)
    said = []
    found, _ = meter()
    for worst in [slow, slow, other, other, fine, slow, slow, slow, slow, other, other, other]:
        found.heard(worst)
        said.append(capsys.readouterr().err)
    assert [i for i, text in enumerate(said) if text] == [7, 11]
    assert "process 3, which waits for its data 50% of its time (the others 2%)" in said[7]
    assert "process 1" in said[11]


def test_a_line_says_who_waited_longest():
    found, lines = meter()
    truth, p = answers(np.random.default_rng(4))
    for step in range(1, 9):
        if step > 4:
            found.heard(Straggler(3, 0.5, 0.02))
        found.add(step, numbers(step, truth, p))
    alone, line = lines
    assert "data_wait_max" not in alone
    assert line["data_wait_process"] == 3 and line["data_wait_max"] == 0.5
    assert line["data_wait_ratio"] == pytest.approx(25)
