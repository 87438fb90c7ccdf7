import dataclasses
import json
import shutil

import cv2
import numpy as np
import plain_sets
import pytest

from jaxfacs.cli import main
from jaxfacs.data import records


def run(capsys, *words: object) -> tuple[int, str, str]:
    code = main([str(w) for w in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_list_names_each_builder(capsys):
    code, out, _ = run(capsys, "data", "list")
    assert code == 0 and "synthface" in out and "folder" in out and "licence" in out


def test_build_without_a_name_explains_itself(capsys):
    code, out, _ = run(capsys, "data", "build")
    assert code == 0 and "NAME --out DIR" in out and "synthface" in out


def test_a_mistyped_builder_gets_a_hint(capsys):
    code, _, err = run(capsys, "data", "build", "synthfce", "--out", "x")
    assert code == 2 and "did you mean synthface" in err and err.count("\n") == 1


def test_bad_input_is_one_line_and_exit_code_2(capsys, tmp_path):
    code, _, err = run(capsys, "data", "build", "folder", "--source", tmp_path / "no", "--out", "x")
    assert code == 2 and "is not a folder" in err and err.count("\n") == 1
    code, _, err = run(capsys, "data", "show", tmp_path)
    assert code == 2 and "not a record folder" in err and err.count("\n") == 1


def test_show_prints_the_counts(capsys, small_set):
    code, out, _ = run(capsys, "data", "show", small_set, "--verify")
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["train"][1:5] == ["11", "66", "100.0%", "3"]
    assert rows["validation"][1:5] == ["5", "30", "100.0%", "2"]
    assert rows["12"][4:6] == ["83.3", "83.3"]  # name, then train and validation
    assert rows["25"][3:5] == ["9.1", "20.0"]
    assert rows["1"][4:] == ["-"] * 8  # nobody coded AU 1
    assert rows["25"][5:] == ["90.9", "0.0", "0.0", "0.0", "0.0", "9.1"]
    assert "anger 4, happiness 3, unknown 4" in out


def test_show_of_some_aus_writes_three_pictures(capsys, small_set, tmp_path):
    code, out, _ = run(
        capsys, "data", "show", small_set, "--out", tmp_path / "p", "--aus", "25", "L12"
    )
    assert code == 0 and "L12" in out and "\nR12" not in out
    for name in ("occurrence.png", "intensity.png", "samples.png"):
        image = cv2.imread(str(tmp_path / "p" / name))
        assert image is not None and image.std() > 5


def test_show_names_a_damaged_shard(capsys, small_set, tmp_path):
    copy = shutil.copytree(small_set, tmp_path / "copy")
    (path,) = copy.glob("*-train.array*")
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    code, _, err = run(capsys, "data", "show", copy, "--verify")
    assert code == 2 and path.name in err


def test_metadata_is_sorted_json(small_set):
    text = (small_set / "labels.json").read_text()
    assert text == json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"


def test_unknown_options_are_refused(small_set):
    with pytest.raises(SystemExit) as stop:
        main(["data", "show", str(small_set), "--nonsense"])
    assert stop.value.code == 2


def test_bench_input_prints_a_table(capsys, small_set):
    code, out, _ = run(
        capsys, "bench", "input", "--source", small_set, "--frames", 4, "--size", 32,
        "--batch-size", 4, "--threads", 1, 2, "--repeats", 1, "--seconds", 0.05,
    )  # fmt: skip
    assert code == 0
    rows = out.splitlines()
    assert "plain decode, one thread" in rows[2] and rows[2].split()[-2] == "1.00"
    assert len(rows) == 3 + 4
    assert all(float(row.split()[-1]) > 0 for row in rows[2:])


def test_a_set_of_emotions_alone_is_shown_by_its_emotions(tmp_path, capsys):
    clips = [
        records.clip_from_arrays(
            plain_sets.picture(i, 0)[None], clip_id=f"{i}", subject="", emotion=i % 2,
            occurrence_TA=np.zeros((1, 0), np.int8),
        )
        for i in range(3)
    ]  # fmt: skip
    write = {"aus": (), "emotions": ("anger", "fear"), "name": "feelings"}
    records.write_set(tmp_path / "set", {"train": clips}, **write)
    out = tmp_path / "plots"
    assert main(["data", "show", str(tmp_path / "set"), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "anger 2, fear 1" in said and "unknown" in said and "AU:" not in said
    assert sorted(p.name for p in out.iterdir()) == ["emotions.png", "samples.png"]


def test_the_numbers_that_show_tells_are_a_normalisation(tmp_path, capsys):
    from jaxfacs.data import show

    opened = records.open_set(plain_sets.write(tmp_path / "set"))
    card = {**opened.card, "pixel_mean": [100.25, 90, 80.0], "pixel_std": [50.0, 49.96, 3]}
    told = show.text(dataclasses.replace(opened, card=card))
    assert "--model.normalisation 100.2,90.0,80.0/50.0,50.0,3.0" in told
