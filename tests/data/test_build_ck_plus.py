"""CK+ from deliveries written here: AUs at the last picture alone, 0: intensity not given."""

import csv
from pathlib import Path

import deliveries as d
import numpy as np
import pytest

from jaxfacs.data import schema
from jaxfacs.data.builders import ck_plus
from jaxfacs.faces.prepare import FaceSteps

EMOTIONS = ck_plus.EMOTIONS
APEX, NEUTRAL = schema.PHASES.index("apex"), schema.PHASES.index("neutral")
POINTS = np.stack([np.linspace(3, 29, 68), np.linspace(2, 28, 68)], 1)
# sequence -> pictures, AU -> intensity as written, emotion as written
SEQUENCES: dict[str, tuple[int, dict[int, int], int | None]] = {
    "S005/001": (4, {9: 4, 17: 0, 45: 2}, 3),
    "S005/002": (3, {}, None),
    "S010/001": (2, {1: 1, 2: 5, 25: 3}, 7),
    "S999/003": (1, {12: 5}, 5),
}


def stem(sequence: str, number: int) -> str:
    subject, name = sequence.split("/")
    return f"{sequence}/{subject}_{name}_{number:08d}"


def level(sequence: str, number: int) -> int:
    return number + 4 * list(SEQUENCES).index(sequence)


def picture(sequence: str, number: int) -> str:
    return f"cohn-kanade-images/{stem(sequence, number)}.png"


def write_delivery(source: Path) -> Path:
    for sequence, (length, codes, emotion) in SEQUENCES.items():
        for n in range(1, length + 1):
            d.write_picture(source / picture(sequence, n), level(sequence, n))
            rows = [f"   {x:.7e}   {y:.7e}" for x, y in POINTS + n / 10]
            d.write_text(source / f"Landmarks/{stem(sequence, n)}_landmarks.txt", *rows)
        path = source / f"FACS_labels/FACS/{stem(sequence, length)}_facs.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"   {au:.7e}   {i:.7e}\n" for au, i in codes.items()))
        folder = source / "Emotion" / sequence
        folder.mkdir(parents=True)
        if emotion is not None:
            d.write_text(
                folder / f"{stem(sequence, length).split('/')[-1]}_emotion.txt", f"   {emotion:.7e}"
            )
    return source


def skipped(out: Path) -> list[dict[str, str]]:
    with open(out / "skipped.csv", newline="") as file:
        return list(csv.DictReader(file))


def check_peak(opened, clip: schema.Clip, sequence: str, t: int = 0) -> None:
    length, codes, _ = SEQUENCES[sequence]
    for a, au in enumerate(opened.aus):
        written = codes.get(int(au))
        grade = 0 if written is None else written or -1
        assert (clip.occurrence_TA[t, a], clip.intensity_TA[t, a]) == (written is not None, grade)
        assert clip.phase_TA[t, a] == (NEUTRAL if written is None else APEX)
    np.testing.assert_allclose(clip.landmarks_T68x2[t], POINTS + length / 10 - 0.5, atol=1e-4)


def check_neutral(opened, clip: schema.Clip) -> None:
    for label_TA in (clip.occurrence_TA, clip.intensity_TA, clip.phase_TA):
        np.testing.assert_array_equal(label_TA[0], np.zeros(len(opened.aus)))


NO_SPLIT = ("--validation", "0", "--test", "0")


def test_every_label_of_every_peak(tmp_path):
    source = write_delivery(tmp_path / "in")
    opened = d.build("ck_plus", source, tmp_path / "out", *NO_SPLIT)
    assert opened.aus == tuple(sorted({*ck_plus.OPENGRAPHAU_AUS, "45"}, key=int))
    found = d.clips(opened)
    assert set(found) == {picture(s, length) for s, (length, _, _) in SEQUENCES.items()}
    for sequence, (length, _, emotion) in SEQUENCES.items():
        clip = found[picture(sequence, length)]
        check_peak(opened, clip, sequence)
        assert clip.emotion == (-1 if emotion is None else emotion)
        assert clip.subject == sequence[:4]
        assert d.shown(clip) == [d.grey(level(sequence, length))]
    assert EMOTIONS[found[picture("S010/001", 2)].emotion] == "surprise"
    assert not skipped(tmp_path / "out")


def test_first_pictures_are_neutral_faces(tmp_path):
    source = write_delivery(tmp_path / "in")
    options = ("--frames-of", "peak+neutral", "--aus", "opengraphau", *NO_SPLIT)
    opened = d.build("ck_plus", source, tmp_path / "out", *options)
    assert opened.aus == ck_plus.OPENGRAPHAU_AUS
    found = d.clips(opened)
    firsts = {picture(s, 1) for s, (length, _, _) in SEQUENCES.items() if length > 1}
    assert set(found) == firsts | {picture(s, row[0]) for s, row in SEQUENCES.items()}
    for sequence, (length, _, _) in SEQUENCES.items():
        check_peak(opened, found[picture(sequence, length)], sequence)
        if length > 1:  # a sequence of one picture has no neutral one
            first = found[picture(sequence, 1)]
            check_neutral(opened, first)
            assert EMOTIONS[first.emotion] == "neutral"
            assert d.shown(first) == [d.grey(level(sequence, 1))]


def test_sequences_are_unknown_between_the_first_and_the_peak(tmp_path):
    source = write_delivery(tmp_path / "in")
    opened = d.build(
        "ck_plus", source, tmp_path / "out", "--frames-of", "sequence", "--protocol", "opengraphau"
    )
    found = d.clips(opened)
    assert set(found) == {f"{s}:1" for s in SEQUENCES}
    assert set(d.clips(opened, "test")) == {"S005/001:1", "S005/002:1", "S010/001:1"}
    for sequence, (length, _, emotion) in SEQUENCES.items():
        clip = found[f"{sequence}:1"]
        check_peak(opened, clip, sequence, t=length - 1)
        if length > 1:
            check_neutral(opened, clip)
        between = slice(1, length - 1)
        for label_TA in (clip.occurrence_TA, clip.intensity_TA, clip.phase_TA):
            assert (label_TA[between] == -1).all()
        assert clip.emotion == (-1 if emotion is None else emotion)
        assert d.shown(clip) == [d.grey(level(sequence, n)) for n in range(1, length + 1)]
        np.testing.assert_allclose(clip.timestamps_T, np.arange(length) / 30)


def test_only_sequences_with_an_emotion(tmp_path):
    source = write_delivery(tmp_path / "in")
    delivery = ck_plus.read(source, ck_plus.Options(sequences="emotion", landmarks=False))
    paths = [path for r in delivery.recordings for path in r.frames.paths]
    assert paths == [picture(s, row[0]) for s, row in SEQUENCES.items() if row[2] is not None]


def test_the_protocols_deal_out_people():
    parts = [set(part) for part in ck_plus.OPENGRAPHAU.values()]
    assert [len(part) for part in parts] == [77, 14, 32] and len(set.union(*parts)) == 123
    people = set.union(*parts)
    tested = [
        {s for s, split in split_of.items() if split == "test"}
        for split_of in (
            ck_plus._split_of(ck_plus.Options(protocol=f"fold{k}"), people) for k in range(1, 11)
        )
    ]
    assert sorted(map(len, tested)) == [12] * 7 + [13] * 3
    assert set.union(*tested) == people and sum(map(len, tested)) == 123
    assert sorted(tested[0])[:2] == sorted(people)[:11:10]


def test_what_is_odd_is_told_and_left_out(tmp_path, capsys):
    source = write_delivery(tmp_path / "in")
    facs = source / "FACS_labels/FACS"
    # a code that FACS lacks; pictures behind the coded one
    path = facs / f"{stem('S005/001', 4)}_facs.txt"
    path.write_text("   3.0e+00   1.0e+00\n   9.0e+00   9.0e+00\n")
    d.write_picture(source / picture("S005/001", 5), 5)
    # the label of S005/002 cannot be read, S010/001 has two, S999/003 a strange emotion
    (facs / f"{stem('S005/002', 3)}_facs.txt").write_text("1 2\nwhat\n")
    d.write_text(facs / "S010/001/S010_001_00000001_facs.txt", "1 1")
    d.write_text(source / "Emotion/S999/003/S999_003_00000001_emotion.txt", "8")
    (source / f"Landmarks/{stem('S999/003', 1)}_landmarks.txt").write_text("1 2\n")
    d.write_picture(source / picture("S130/001", 1), 1)
    broken = source / picture("S999/004", 1)
    d.write_picture(broken, 1)
    d.write_text(facs / f"{stem('S999/004', 1)}_facs.txt", "4 3")
    broken.write_bytes(broken.read_bytes()[:40])
    opened = d.build("ck_plus", source, tmp_path / "out", *NO_SPLIT)
    found = d.clips(opened)
    assert set(found) == {picture("S005/001", 4), picture("S999/003", 1)}
    clip = found[picture("S005/001", 4)]
    assert (d.labels(opened, clip, "9"), d.grades(opened, clip, "9")) == ([1], [-1])
    assert clip.occurrence_TA.sum() == 1
    assert found[picture("S999/003", 1)].emotion == -1
    assert found[picture("S999/003", 1)].landmarks_T68x2 is None
    rows = {(r["path"], r["reason"].split(":")[0]) for r in skipped(tmp_path / "out")}
    assert rows == {
        ("cohn-kanade-images/S005/002", "unreadable labels"),
        ("cohn-kanade-images/S010/001", "unreadable labels"),
        ("cohn-kanade-images/S130/001", "no label"),
        (picture("S999/004", 1), "unreadable"),
    }
    told = {r["path"]: r["reason"] for r in skipped(tmp_path / "out")}
    assert "line 2: 'what' is no AU and its intensity" in told["cohn-kanade-images/S005/002"]
    assert "S010_001_00000001_facs.txt and S010_001_0" in told["cohn-kanade-images/S010/001"]
    notes = capsys.readouterr().out
    assert "FACS has no code 3: left away" in notes
    assert "emotion 8 is none of 0 to 7: unknown" in notes
    assert "the coded picture is not the last of its sequence" in notes


def test_a_peak_whose_picture_is_gone_is_listed(tmp_path):
    source = write_delivery(tmp_path / "in")
    for n in range(1, 7):  # so that one missing picture is not half of the delivery
        d.write_picture(source / picture(f"S011/{n:03d}", 1), n)
        d.write_text(source / f"FACS_labels/FACS/{stem(f'S011/{n:03d}', 1)}_facs.txt", "4 2")
    (source / picture("S010/001", 2)).unlink()
    d.build("ck_plus", source, tmp_path / "out", *NO_SPLIT)
    assert [(r["path"], r["reason"]) for r in skipped(tmp_path / "out")] == [
        (picture("S010/001", 2), "missing")
    ]


def test_what_is_not_whole_is_refused(tmp_path, capsys):
    (tmp_path / "mmi" / "Sessions").mkdir(parents=True)
    (tmp_path / "mmi" / "cohn-kanade-images.zip").touch()
    told = d.refused(capsys, "ck_plus", tmp_path / "mmi", tmp_path / "out")
    assert "is not CK+ as delivered" in told and "unpack cohn-kanade-images.zip first" in told
    d.write_picture(tmp_path / "half" / picture("S005/001", 1), 1)
    told = d.refused(capsys, "ck_plus", tmp_path / "half", tmp_path / "out")
    assert "has no folder FACS with S005" in told
    path = d.write_text(tmp_path / "half" / f"FACS/{stem('S005/001', 1)}_facs.txt", "4 2", "4 3")
    told = d.refused(capsys, "ck_plus", tmp_path / "half", tmp_path / "out")
    assert f"{path}, line 2: AU 4 has two intensities" in told
    path.rename(path.with_name("codes.txt"))
    told = d.refused(capsys, "ck_plus", tmp_path / "half", tmp_path / "out")
    assert "codes.txt is not named like S005_001_00000011_facs.txt" in told


@pytest.mark.parametrize("option", [("--test-subject", "S001"), ("--protocol", "fold1")])
def test_protocols_that_do_not_fit_are_refused(tmp_path, capsys, option):
    source = write_delivery(tmp_path / "in")
    told = d.refused(capsys, "ck_plus", source, tmp_path / "out", *option)
    assert ("S001 is none of S005, S010, S999" in told) or ("3 people cannot be dealt" in told)


def test_the_builder_says_how_faces_are_found():
    assert FaceSteps.parse(ck_plus.BUILDER.faces).detection == "haar"
