import json

import numpy as np
import plain_sets
import pytest

from jaxfacs.cli import main
from jaxfacs.data import merge, records
from jaxfacs.data.verify import verify
from jaxfacs.errors import UserError


def clip(name: str, subject: str, occurrence: list[list[int]], emotion: int = -1, **fields):
    frames = np.stack([plain_sets.picture(t, t) for t in range(len(occurrence))])
    return records.clip_from_arrays(
        frames, clip_id=name, subject=subject, occurrence_TA=np.array(occurrence, np.int8),
        emotion=emotion, **fields,
    )  # fmt: skip


def write(path, clips, aus, **info):
    return records.write_set(path, clips, aus=aus, **info)


def test_resharding_changes_the_files_and_nothing_else(tmp_path):
    source = plain_sets.write(tmp_path / "source", train=40)
    merge.merge((source,), tmp_path / "out", shard_bytes=10_000)
    before, after = records.open_set(source), records.open_set(tmp_path / "out", verify=True)
    assert len(after.card["splits"]["train"]["shards"]) > 2
    for split, count in before.splits.items():
        raw = before.source(split), after.source(split)
        assert [raw[0][i] for i in range(count)] == [raw[1][i] for i in range(count)]
    kept = ("name", "aus", "emotions", "crop", "settings", "licence", "people")
    assert {k: after.card[k] for k in kept} == {k: before.card[k] for k in kept}
    assert list(verify(tmp_path / "out"))


def test_merging_puts_labels_onto_the_union_and_keeps_people_apart(tmp_path):
    a = write(
        tmp_path / "a", {"train": [clip("1", "p", [[1, 0]], 1)]}, ("1", "12"),
        emotions=("anger", "fear"), name="a",
    )  # fmt: skip
    two = {"train": [clip("1", "p", [[0, 1]], 0)], "test": [clip("2", "q", [[1, 1]])]}
    b = write(
        tmp_path / "b", two,
        ("12", "4"), emotions=("fear",), name="b",
    )  # fmt: skip
    assert main(["data", "merge", str(a), str(b), "--out", str(tmp_path / "out")]) == 0
    opened = records.open_set(tmp_path / "out", verify=True)
    assert opened.aus == ("1", "12", "4") and opened.emotions == ("anger", "fear")
    first, second = (opened.clip("train", i) for i in range(2))
    assert first.occurrence_TA.tolist() == [[1, 0, -1]] and first.emotion == 1
    assert second.occurrence_TA.tolist() == [[-1, 0, 1]] and second.emotion == 1
    assert (first.intensity_TA == -1).all()
    assert opened.subjects == {"train": ("a/p", "b/p"), "test": ("b/q",)}
    assert (first.clip_id, second.clip_id) == ("a/1", "b/1")


def test_sets_of_the_same_people_may_not_bring_one_into_two_splits(tmp_path):
    a = write(tmp_path / "a", {"train": [clip("1", "p", [[1]])]}, ("1",), name="a", people="x")
    b = write(tmp_path / "b", {"test": [clip("2", "p", [[1]])]}, ("1",), name="b", people="x")
    with pytest.raises(UserError, match="'p' is in both train and test"):
        merge.merge((a, b), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_attributes_and_phases_of_one_set_are_unknown_in_the_other(tmp_path):
    rich = clip("1", "p", [[1]], attributes_TK=np.array([[3.0]], np.float32),
                phase_TA=np.array([[2]], np.int8))  # fmt: skip
    a = write(tmp_path / "a", {"train": [rich]}, ("1",), name="a", attributes=("age",), phases=True)
    b = write(tmp_path / "b", {"train": [clip("2", "q", [[0]])]}, ("1",), name="b")
    merge.merge((a, b), tmp_path / "out")
    opened = records.open_set(tmp_path / "out")
    first, second = (opened.clip("train", i) for i in range(2))
    assert first.attributes_TK.tolist() == [[3]] and np.isnan(second.attributes_TK).all()
    assert first.phase_TA.tolist() == [[2]] and second.phase_TA.tolist() == [[-1]]


def test_what_cannot_be_merged_is_refused_with_the_reason(tmp_path, capsys):
    a = write(tmp_path / "a", {"train": [clip("1", "p", [[1]])]}, ("1",), name="a")
    other = write(
        tmp_path / "o", {"train": [clip("1", "p", [[1]])]}, ("1",), name="o", crop={"margin": 9}
    )
    with pytest.raises(UserError, match=r"differ in crop.*mixture"):
        merge.merge((a, other), tmp_path / "out")
    with pytest.raises(UserError, match="merge each set once"):
        merge.merge((a, a), tmp_path / "out")
    assert main(["data", "reshard", str(a), "--out", str(tmp_path / "x"), "--shard-mb", "0"]) == 2
    assert main(["data", "merge", str(tmp_path / "no"), "--out", str(tmp_path / "x")]) == 2
    assert "not a record folder" in capsys.readouterr().err


def test_every_set_has_its_cards(tmp_path):
    source = plain_sets.write(tmp_path / "source")
    card = json.loads((source / "dataset_card.json").read_text())
    assert card["splits"]["train"]["present"]["25"] == 6
    assert card["splits"]["train"]["coded"]["1"] == 0
    assert "| 25 | 6 of 66 | 6 of 30 |" in (source / "dataset_card.md").read_text()
