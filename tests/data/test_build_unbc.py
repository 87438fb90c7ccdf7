"""UNBC-McMaster from deliveries written here: a label file a frame, an empty one where no AU is."""

import csv
from pathlib import Path

import deliveries as d
import numpy as np
import pytest

from jaxfacs.data.builders import unbc
from jaxfacs.faces.prepare import FaceSteps

ROW = "   {:.7e}   {:.7e}   0.0000000e+00   0.0000000e+00"
# frame -> AU -> intensity as written; the second has an empty file
CODES: dict[int, dict[int, float]] = {
    1: {4: 2, 6: 3, 7: 1},
    2: {},
    3: {6: 1, 7: 4, 9: 2, 10: 3, 12: 5, 20: 1, 25: 2, 26: 3, 43: 1},
    4: {4: 5, 43: 1, 27: 2},
    5: {12: 2},
}
# AU 4 + the larger of 6 and 7 + the larger of 9 and 10 + AU 43
PSPI = {1: 5, 2: 0, 3: 8, 4: 6, 5: 0}
SEQUENCES = ("042-ll042/ll042t1aaaff", "043-jh043/jh043t2aeaff", "124-dn124/dn124t1aiaff")
SCALES = {"VAS": 7.5, "OPR": 3, "SEN": 9, "AFF": 12}
AUS = ("4", "6", "7", "9", "10", "12", "20", "25", "26", "27", "43")
POINTS = np.stack([np.linspace(3, 29, 66), np.linspace(2, 28, 66)], 1)


def write_sequence(source: Path, sequence: str) -> None:
    name = sequence.split("/")[1]
    for frame, codes in CODES.items():
        stem = f"{sequence}/{name}{frame:03d}"
        rows = [ROW.format(au, grade) for au, grade in codes.items()]
        path = source / "Frame_Labels/FACS" / f"{stem}_facs.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{row}\n" for row in rows))
        d.write_text(source / "Frame_Labels/PSPI" / f"{stem}_facs.txt", f"  {PSPI[frame]:.7e}")
        d.write_picture(source / "Images" / f"{stem}.png", frame + len(sequence))
        rows = [f"  {x:.7e}  {y:.7e}" for x, y in POINTS + frame / 10]
        d.write_text(source / "AAM_landmarks" / f"{stem}_aam.txt", *rows)
    for scale, value in SCALES.items():
        d.write_text(source / "Sequence_Labels" / scale / f"{sequence}.txt", f"  {value:.7e}")


def write_delivery(source: Path) -> Path:
    for sequence in SEQUENCES:
        write_sequence(source, sequence)
    return source


def skipped(out: Path) -> list[dict[str, str]]:
    with open(out / "skipped.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_every_label_score_and_landmark(tmp_path, capsys):
    source = write_delivery(tmp_path / "in")
    opened = d.build("unbc", source, tmp_path / "out", "--validation", "0")
    assert opened.aus == AUS and opened.attributes == unbc.ATTRIBUTES
    found = d.clips(opened)
    assert set(found) == {f"{s}:1" for s in SEQUENCES}
    assert set(d.clips(opened, "test")) == {f"{SEQUENCES[0]}:1"}  # fold 1 tests 042
    for sequence in SEQUENCES:
        clip = found[f"{sequence}:1"]
        for au in AUS:
            written = [codes.get(int(au)) for codes in CODES.values()]
            assert d.labels(opened, clip, au) == [int(w is not None) for w in written]
            # eye closure is scored 0 or 1: its intensity is unknown
            grades = [-1] * 5 if au == "43" else [w or 0 for w in written]
            assert d.grades(opened, clip, au) == grades
        expected = [[PSPI[f], 7.5, 3, 9, 12] for f in CODES]  # pspi, vas, opr, sen, aff
        np.testing.assert_array_equal(clip.attributes_TK, np.array(expected, np.float32))
        assert d.shown(clip) == [d.grey(f + len(sequence)) for f in CODES]
        np.testing.assert_allclose(clip.timestamps_T, np.arange(5) / 25)
        order = [i for i in range(68) if i not in (60, 64)]
        for t, frame in enumerate(CODES):
            np.testing.assert_allclose(
                clip.landmarks_T68x2[t][order], POINTS + frame / 10 - 0.5, atol=1e-4
            )
        assert clip.subject == sequence.split("/")[0]
    assert not skipped(tmp_path / "out")
    assert "PSPI differs" not in capsys.readouterr().out


def test_what_is_odd_is_told(tmp_path, capsys):
    source = write_delivery(tmp_path / "in")
    stem = source / "Frame_Labels/FACS" / SEQUENCES[1] / "jh043t2aeaff"
    Path(f"{stem}001_facs.txt").write_text(ROW.format(4, 0) + "\n" + ROW.format(18, 3) + "\n")
    Path(f"{stem}003_facs.txt").write_text("4 x 0 0\n")
    Path(f"{stem}005_facs.txt").unlink()
    pspi = source / "Frame_Labels/PSPI" / SEQUENCES[2] / "dn124t1aiaff"
    Path(f"{pspi}003_facs.txt").write_text("9\n")
    Path(f"{pspi}004_facs.txt").unlink()
    (source / "Sequence_Labels/VAS" / f"{SEQUENCES[2]}.txt").unlink()
    (source / "Images" / SEQUENCES[2] / "dn124t1aiaff002.png").write_bytes(b"\x89PNG cut")
    (source / "AAM_landmarks" / SEQUENCES[2] / "dn124t1aiaff005_aam.txt").write_text("1 2\n")
    options = ("--protocol", "subjects", "--validation", "0", "--test", "0")
    opened = d.build("unbc", source, tmp_path / "out", *options)
    found = d.clips(opened)
    first = found[f"{SEQUENCES[1]}:1"]  # frame 3 cannot be read: the clip ends before
    assert d.labels(opened, first, "4") == [-1, 0] == d.grades(opened, first, "4")
    assert d.labels(opened, first, "6") == [0, 0]
    assert d.labels(opened, found[f"{SEQUENCES[1]}:4"], "4") == [1]
    last = found[f"{SEQUENCES[2]}:3"]
    np.testing.assert_array_equal(last.attributes_TK[:, 0], np.array([9, np.nan, 0], np.float32))
    assert np.isnan(last.attributes_TK[:, 1]).all()
    np.testing.assert_array_equal(last.attributes_TK[:, 2:], [[3, 9, 12]] * 3)
    assert np.isnan(last.landmarks_T68x2[2]).all()
    assert not np.isnan(last.landmarks_T68x2[0][0]).any()
    rows = {(r["path"], r["frame"], r["reason"].split(":")[0]) for r in skipped(tmp_path / "out")}
    assert rows == {
        (f"Images/{SEQUENCES[1]}/jh043t2aeaff003.png", "3", "unreadable labels"),
        (f"Images/{SEQUENCES[1]}/jh043t2aeaff005.png", "5", "no label"),
        (f"Images/{SEQUENCES[2]}/dn124t1aiaff002.png", "2", "unreadable"),
    }
    told = capsys.readouterr().out
    assert (
        "PSPI differs from the AUs' in 1 of 11 frames, the first dn124t1aiaff003_facs.txt" in told
    )
    assert "(9, not 8); the owners' number is kept" in told
    assert "no column: 18 (1 rows)" in told and "1 rows name an AU with intensity 0" in told
    assert "1 × no readable VAS file" in told and "1 × no readable PSPI file" in told


def test_pain_of_the_aus_is_unknown_where_one_of_them_is():
    occurrence_TA = np.array([[1, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, -1], [-1, 0, 0, 0, 0, 0]])
    intensity_TA = np.array([[5, 4, 2, 1, 3, -1], [0] * 6, [-1, 0, 0, 0, 0, 0]])
    found = unbc.pspi(occurrence_TA, intensity_TA, ("4", "6", "7", "9", "10", "43"))
    np.testing.assert_array_equal(found, [5 + 4 + 3 + 1, np.nan, np.nan])


def test_the_folds_are_five_and_openface_has_the_first_for_validation(tmp_path):
    people = [p for fold in unbc.FOLDS.values() for p in fold]
    assert len(people) == len(set(people)) == 25
    # every fifth in ascending order, from the first on (find_UNBC.m)
    assert unbc.FOLDS["fold1"] == sorted(people)[::5]
    source = write_delivery(tmp_path / "in")

    def split(**options) -> dict[str, str | None]:
        recordings = unbc.read(source, unbc.Options(landmarks=False, **options)).recordings
        return {r.subject[:3]: r.split for r in recordings}

    assert split(protocol="fold5") == {"042": "train", "043": "train", "124": "test"}
    assert split(protocol="openface") == {"042": "validation", "043": "train", "124": "train"}
    assert split(test_subject="043-jh043") == {"042": "train", "043": "test", "124": "train"}
    assert split(protocol="subjects") == {"042": None, "043": None, "124": None}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4", "line 1: '4' is no AU and its intensity"),
        ("3 1 0 0", "line 1: AU 3 with intensity 1 is none"),
        ("4 7 0 0", "line 1: AU 4 with intensity 7 is none"),
        ("4 2 0 0\n4 3 0 0", "line 2: AU 4 has two intensities"),
        ("nan 1", "AU nan with intensity 1 is none"),
    ],
)
def test_when_no_label_is_readable_the_first_mistake_is_told(tmp_path, capsys, text, message):
    path = tmp_path / "in/Frame_Labels/FACS/042-ll042/ll042t1aaaff/ll042t1aaaff001_facs.txt"
    d.write_text(path, text)
    told = d.refused(capsys, "unbc", tmp_path / "in", tmp_path / "out")
    assert str(path) in told and message in told


def test_what_is_not_whole_is_refused(tmp_path, capsys):
    (tmp_path / "ck" / "FACS").mkdir(parents=True)
    told = d.refused(capsys, "unbc", tmp_path / "ck", tmp_path / "out")
    assert "is not UNBC-McMaster as delivered: expected Frame_Labels/FACS, found FACS" in told
    source = write_delivery(tmp_path / "in")
    folder = source / "Frame_Labels/FACS" / SEQUENCES[0]
    (folder / "ll042t1aaaff1_facs.txt").write_text("")
    told = d.refused(capsys, "unbc", source, tmp_path / "out")
    assert "ll042t1aaaff1_facs.txt" in told and "are of one frame; remove one" in told
    (folder / "ll042t1aaaff1_facs.txt").unlink()
    for picture in source.glob("Images/*/*/*.png"):
        picture.unlink()
    told = d.refused(capsys, "unbc", source, tmp_path / "out")
    assert f"the first: Images/{SEQUENCES[0]}/ll042t1aaaff001.png" in told


def test_the_builder_says_how_faces_are_found():
    assert FaceSteps.parse(unbc.BUILDER.faces).detection == "haar"
