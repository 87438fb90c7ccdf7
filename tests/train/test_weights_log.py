"""tools/weights_log.py: a training's log as a table, and whether another training repeats it."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import weights_log


def run_with(folder: Path, losses: dict[int, float]) -> Path:
    folder.mkdir()
    rows = [{"step": s, "kind": "train", "loss": x, "grad_norm": 1.0} for s, x in losses.items()]
    rows.append({"step": 100, "kind": "validation", "mean_average_precision": 0.5})
    rows.append({"step": 100, "kind": "note"})
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    return folder


def test_a_log_is_kept_and_compared(tmp_path, capsys):
    first = run_with(tmp_path / "a", {50: 2.5, 100: 1.25, 150: 1.0})
    kept, drawn = tmp_path / "log.csv", tmp_path / "curve.png"
    assert (
        weights_log.main(["--workdir", str(first), "--csv", str(kept), "--plot", str(drawn)]) == 0
    )
    assert drawn.read_bytes()[:4] == b"\x89PNG"
    rows = weights_log.read(kept)
    assert [row["step"] for row in rows] == [50, 100, 150]
    assert rows[1] == {"step": 100, "loss": 1.25, "mean_average_precision": 0.5}
    same = run_with(tmp_path / "b", {50: 2.5001, 100: 1.25})
    assert weights_log.main(["--workdir", str(same), "--repeats", str(kept)]) == 0
    assert "2 steps, at most 4.0e-05 apart" in capsys.readouterr().out
    other = run_with(tmp_path / "c", {50: 2.5, 100: 1.26})
    assert weights_log.main(["--workdir", str(other), "--repeats", str(kept)]) == 1
    later = run_with(tmp_path / "d", {200: 1.0})
    assert weights_log.main(["--workdir", str(later), "--repeats", str(kept)]) == 2


def test_a_folder_without_a_training_is_one_line(tmp_path, capsys):
    assert weights_log.main(["--workdir", str(tmp_path)]) == 2
    assert "metrics.jsonl is not there" in capsys.readouterr().err
