"""EmotioNet from tiny lists and pictures, found by the downloader's names, nested and flat."""

import csv
from pathlib import Path

import deliveries
import misbehaving as bad
import numpy as np
import pytest

from jaxfacs import facs
from jaxfacs.cli import main
from jaxfacs.data.builders import emotionet
from jaxfacs.data.download_journal import picture_path
from jaxfacs.faces.detect import Face
from jaxfacs.faces.prepare import FaceSteps

HEADER = ["'URL'", "'URL orig'", *(f"'AU {n}'" for n in range(1, 61))]
SITE = "http://aws.example/emotionet"
OLE = bytes.fromhex("d0cf11e0a1b11ae1")


def cells(**known: object) -> list[object]:
    row: list[object] = [999] * 60
    for name, value in known.items():
        row[int(name[2:]) - 1] = value
    return row


def address(number: int, folder: int = 1) -> str:
    return f"{SITE}/N_{folder:010d}/N_{folder:010d}_{number:05d}.jpg"


def line(url: str, orig: str = "", **known: object) -> list[object]:
    return [f"'{url}'", f"'{orig}'", *cells(**known)]


def sheet(source: Path, rows: list, name: str = "EmotioNet_FACS_aws_2020_24600.csv") -> Path:
    texts = (",".join(map(str, row)) for row in [HEADER, *rows])
    return deliveries.write_text(source / name, *texts)


def automatic(source: Path, rows: list, name: str) -> Path:
    lines = ("\t".join(map(str, [row[0].strip("'"), row[1].strip("'"), *row[2:]])) for row in rows)
    return deliveries.write_text(source / "lists" / name, *lines)


def downloaded(source: Path, pictures: dict[str, tuple[int, str]]) -> None:
    """The downloader's folder: address -> (number of the picture, its digest)."""
    out = source / "downloaded"
    out.mkdir(parents=True)
    (out / "journal.jsonl").write_text('{"format": "jaxfacs download", "version": 1}\n')
    with open(out / "names.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["url", "file", "sha256"])
        for url, (number, digest) in pictures.items():
            writer.writerow([url, picture_path(url), digest])
            deliveries.write_picture(out / picture_path(url), number)


def occurrence(opened, clip) -> dict[str, int]:
    """The AUs that are known of a picture."""
    return {au: int(v) for au, v in zip(opened.aus, clip.occurrence_TA[0], strict=True) if v >= 0}


def skipped(out: Path) -> list[tuple[str, str, str]]:
    with open(out / "skipped.csv", newline="") as file:
        return sorted((r["path"], r["reason"], r["line"]) for r in csv.DictReader(file))


def build(source: Path, out: Path, *options: str):
    return deliveries.build("emotionet", source, out, "--validation", "0", *options)


def test_every_label_of_every_picture(tmp_path, capsys):
    source, out = tmp_path / "emotionet", tmp_path / "out"
    web = "http://web.example/some face.jpg?size=200x200"
    sheet(
        source,
        [
            line(address(1), AU1=1, AU2=0, AU12=1, AU3=1, AU47=999),
            line(address(2), web, AU1=0, AU12="1.0", AU60=1),
            line(web, AU1=9, AU2=-1, AU4="", AU5="NaN", AU6=0, AU9="yes"),
            line(address(3), "http://web.example/third.jpg", AU25=1, AU26=0),
            line(address(4), AU1=1),  # nowhere
            line(address(5), AU1=0),  # does not decode
            line(address(6), AU51=1, AU52=0),
        ],
    )
    downloaded(source, {web: (3, "c" * 64)})
    deliveries.write_picture(source / "images/N_0000000001/N_0000000001_00001.jpg", 1)
    deliveries.write_picture(source / "flat/N_0000000001_00002.JPG", 2)
    deliveries.write_picture(source / "flat/third.jpg", 4)
    deliveries.write_picture(source / "flat/N_0000000001_00006.png", 6)  # another name
    deliveries.write_picture(source / "flat/N_0000000001_00006.jpg", 7)
    (source / "flat/N_0000000001_00005.jpg").write_bytes(b"\xff\xd8\xff truncated")
    opened = build(source, out, "--held-out", "0")
    assert opened.aus == tuple("1 2 6 12 25 26 51 52 60".split())
    found = {c.clip_id: (deliveries.shown(c)[0], occurrence(opened, c))
             for c in deliveries.clips(opened, "train").values()}  # fmt: skip
    assert found == {
        "images/N_0000000001/N_0000000001_00001.jpg": (20, {"1": 1, "2": 0, "12": 1}),
        "flat/N_0000000001_00002.JPG": (30, {"1": 0, "12": 1, "60": 1}),
        f"downloaded/{picture_path(web)}": (40, {"6": 0}),
        "flat/third.jpg": (50, {"25": 1, "26": 0}),
        "flat/N_0000000001_00006.jpg": (80, {"51": 1, "52": 0}),
    }
    assert skipped(out) == [
        ("flat/N_0000000001_00005.jpg", "unreadable", ""),
        (address(4), "missing", "6"),
    ]
    said = capsys.readouterr().out
    assert "pictures found: 6 of 7" in said and "'yes' (1)" in said
    assert "columns 3 hold labels but are no codes of FACS" in said
    assert all(clip.subject == "" for clip in deliveries.clips(opened).values())


def test_challenges_choose_their_aus(tmp_path):
    source = tmp_path / "emotionet"
    rows = [line(address(n), AU1=n % 2, AU43=1, AU56=0, AU7=1) for n in range(4)]
    full = {f"AU{au}": 0 for au in emotionet.AUS["2017"]}
    rows.append(line(address(4), **full))
    sheet(source, rows)
    for n in range(5):
        deliveries.write_picture(source / f"N_0000000001_{n:05d}.jpg", n)
    sizes = {"2017": 11, "2018": 12, "2020": 23}
    for year, size in sizes.items():
        opened = build(source, tmp_path / year, "--aus", year)
        assert opened.aus == facs.DATASET_AUS[f"emotionet_{size}"] and len(opened.aus) == size
        labels = [occurrence(opened, c) for c in deliveries.clips(opened).values()]
        assert sum(label.get("1", 9) for label in labels) == 2
        assert all(("43" in label) == (year != "2017") for label in labels if len(label) < 5)
        assert all("7" not in label for label in labels)
    opened = build(source, tmp_path / "complete", "--aus", "2017", "--complete")
    (clip,) = deliveries.clips(opened).values()
    assert occurrence(opened, clip) == dict.fromkeys(emotionet.AUS["2017"], 0)
    reasons = [row[1] for row in skipped(tmp_path / "complete")]
    assert reasons == ["not all AUs coded"] * 4


def test_automatic_lists_are_read_together(tmp_path):
    source = tmp_path / "emotionet"
    automatic(source, [line(address(1), AU1=1), line(address(2), AU2=0)], "dataFile_0001.txt")
    automatic(source, [line(address(1, 7), AU1=0)], "dataFile_1001.txt")
    deliveries.write_text(source / "readme.txt", "how to cite")
    for number, folder, grey in ((1, 1, 1), (2, 1, 2), (1, 7, 3)):
        deliveries.write_picture(source / address(number, folder).removeprefix(SITE + "/"), grey)
    opened = build(source, tmp_path / "out", "--labels", "automatic", "--held-out", "0")
    found = [(c.clip_id[-9:-4], deliveries.shown(c)[0], occurrence(opened, c))
             for c in deliveries.clips(opened).values()]  # fmt: skip
    assert found == [("00001", 20, {"1": 1}), ("00002", 30, {"2": 0}), ("00001", 40, {"1": 0})]


def test_the_workbook_with_several_sheets(tmp_path):
    pytest.importorskip("openpyxl")
    source = tmp_path / "emotionet"
    name = "EmotioNet_FACS_aws_without_passw.xlsx"
    rows = {"s1": [HEADER, line(address(1), AU1=1)], "s2": [HEADER, line(address(2), AU1=0)]}
    deliveries.write_sheets(source / name, rows)
    (source / "EmotioNet_FACS_aws.xlsx").write_bytes(OLE + bytes(600))  # as it was sent
    for n in (1, 2):
        deliveries.write_picture(source / f"N_0000000001_{n:05d}.jpg", n)
    opened = build(source, tmp_path / "out", "--held-out", "0")
    labels = [occurrence(opened, c) for c in deliveries.clips(opened).values()]
    assert labels == [{"1": 1}, {"1": 0}]


def test_rows_about_one_picture_are_joined_or_left_out(tmp_path, capsys):
    """By the same address, or by the same bytes as the downloader saw them."""
    source, out = tmp_path / "emotionet", tmp_path / "out"
    sheet(
        source,
        [
            line(address(1), AU1=1, AU2=999),
            line(address(1), AU1=1, AU2=0),
            line(address(2), AU1=1),
            line(address(3), AU1=0),  # the bytes of 2
            line(address(2), AU4=1),
            line(address(4), AU12=1),
            line(address(5), AU25=1),  # the bytes of 4
        ],
    )
    same = {1: "1", 2: "2", 3: "2", 4: "4", 5: "4"}
    downloaded(source, {address(n): (n, digest * 64) for n, digest in same.items()})
    opened = build(source, out, "--held-out", "0")
    found = {deliveries.shown(c)[0]: occurrence(opened, c)
             for c in deliveries.clips(opened).values()}  # fmt: skip
    assert found == {20: {"1": 1, "2": 0}, 50: {"12": 1, "25": 1}}
    assert skipped(out) == [
        (address(2), "label clash", "4"),
        (address(2), "label clash", "6"),
        (address(3), "label clash", "5"),
    ]
    assert "7 rows are about 2 pictures" in capsys.readouterr().out


def test_a_name_that_two_pictures_or_two_addresses_have_is_not_guessed(tmp_path):
    source, out = tmp_path / "emotionet", tmp_path / "out"
    a, b = (f"http://{host}.example/x/face.jpg" for host in ("a", "b"))
    sheet(
        source,
        [
            line(a, AU1=1),
            line(b, AU1=0),
            line("http://d.example/y/other.jpg", AU1=1),
            line("http://e.example/z/other.jpg", AU1=0),
            line("http://f.example/q/third.jpg", AU1=1),
            line(f"{SITE}/../../../etc/passwd.jpg", AU1=1),
        ],
    )
    deliveries.write_picture(source / "face.jpg", 1)
    deliveries.write_picture(source / "y/other.jpg", 2)  # more of one address than of the other
    deliveries.write_picture(source / "m/third.jpg", 3)
    deliveries.write_picture(source / "n/third.jpg", 4)
    deliveries.write_picture(tmp_path / "etc/passwd.jpg", 5)
    opened = build(source, out, "--held-out", "0")
    assert [deliveries.shown(clip) for clip in deliveries.clips(opened).values()] == [[30]]
    assert skipped(out) == [
        (a, "several addresses have its name", "2"),
        (f"{SITE}/../../../etc/passwd.jpg", "missing", "7"),
        (b, "several addresses have its name", "3"),
        ("http://e.example/z/other.jpg", "missing", "5"),
        ("http://f.example/q/third.jpg", "several files have its name", "6"),
    ]


def test_the_random_split_is_the_addresses_own(tmp_path):
    rows = [line(address(n), AU1=n % 2) for n in range(40)]
    of_picture = {}
    for name, part in (("all", rows), ("turned", rows[::-1][:30])):
        source = tmp_path / name
        sheet(source, part)
        for n in range(40):
            deliveries.write_picture(source / f"N_0000000001_{n:05d}.jpg", n)
        opened = build(source, tmp_path / f"{name}-out", "--held-out", "0.3")
        for split in opened.splits:
            for clip_id in deliveries.clips(opened, split):
                assert of_picture.setdefault(clip_id, split) == split
    assert 4 <= list(of_picture.values()).count("test") <= 20
    shares = np.array([emotionet._share(address(n)) for n in range(4000)])
    assert abs((shares < 0.1).mean() - 0.1) < 0.02


def test_a_face_in_one_picture_says_nothing_about_the_next(tmp_path, monkeypatch):
    """Pictures of one size lie side by side in a recording, and yet nobody is followed."""

    def bright_corner(frame_HWC, near=()):
        where = np.array([2, 2, 12, 12], np.float32)
        return [Face(where, 1.0)] if frame_HWC.mean() > 100 else []

    bright_corner.name = "bright corner"
    monkeypatch.setattr("jaxfacs.faces.prepare.detector", lambda _: bright_corner)
    source = tmp_path / "in"
    sheet(source, [line(address(n), AU1=1) for n in (1, 2, 3)])
    for n, grey in ((1, 15), (2, 3), (3, 15)):
        deliveries.write_picture(source / f"N_0000000001_{n:05d}.jpg", grey)
    opened = build(source, tmp_path / "out", "--held-out", "0", "--faces", "haar", "--size", "32")
    found = [(bool(c.found_T[0]), c.box_T4[0].tolist())
             for c in deliveries.clips(opened).values()]  # fmt: skip
    corner, whole = [2, 2, 12, 12], [0, 0, 32, 32]
    assert found == [(True, corner), (False, whole), (True, corner)]


def test_recordings_are_of_bounded_length():
    item = emotionet._Labelled("", 1, "u", "", np.zeros(60, np.int8))
    kept = [(f"{n}.jpg", item, np.zeros(2, np.int8)) for n in range(600)]
    parts = list(emotionet._recordings(kept, emotionet.Options(protocol="dealt")))
    assert [len(part.frames) for part in parts] == [256, 256, 88]
    assert all(part.split is None and part.stills for part in parts)
    assert len({part.name for part in parts}) == 3


def test_from_the_web_to_records(tmp_path):
    """The list alone, then the two commands as a person gives them."""
    source = tmp_path / "emotionet"
    same = bad.jpeg(9)
    pictures = {f"/{n}/face.jpg": bad.jpeg(n) for n in range(3)}
    placeholders = {f"/gone/{n}.gif": same for n in range(4)}
    with bad.Server({**pictures, **placeholders}) as server:
        urls = [server.url + path for path in (*pictures, *placeholders)] + [server.url + "/no"]
        path = sheet(source, [line(url, AU12=n % 2) for n, url in enumerate(urls)])
        words = ["data", "download", "emotionet", str(path), "--out", str(source / "pictures")]
        words += ["--allow-private", "--rate", "1000", "--placeholder-from", "4"]
        assert main(words) == 0
    opened = build(source, tmp_path / "out", "--held-out", "0")
    found = {c.clip_id: occurrence(opened, c) for c in deliveries.clips(opened).values()}
    assert found == {
        f"pictures/{picture_path(url)}": {"12": n % 2} for n, url in enumerate(urls[:3])
    }
    missing = [(url, "missing", str(n + 2)) for n, url in enumerate(urls)][3:]
    assert skipped(tmp_path / "out") == sorted(missing)


def test_a_folder_of_something_else(tmp_path, capsys):
    deliveries.write_picture(tmp_path / "disfa/a.jpg", 1)
    deliveries.write_text(tmp_path / "disfa/labels.csv", "image,AU1", "a.jpg,1")
    message = deliveries.refused(capsys, "emotionet", tmp_path / "disfa", tmp_path / "out")
    assert "is not EmotioNet as delivered" in message and "labels.csv" in message


def test_the_other_kind_of_list_is_named(tmp_path, capsys):
    automatic(tmp_path / "in", [line(address(1), AU1=1)], "dataFile_0001.txt")
    message = deliveries.refused(capsys, "emotionet", tmp_path / "in", tmp_path / "out")
    assert "--labels automatic" in message


def test_a_workbook_with_a_password(tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    locked = OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le")
    (source / "EmotioNet_FACS_aws_2020_24600.xlsx").write_bytes(locked)
    message = deliveries.refused(capsys, "emotionet", source, tmp_path / "out")
    assert "EmotioNet_FACS_aws_2020_24600.xlsx is protected by a password" in message


def test_a_list_without_any_picture(tmp_path, capsys):
    sheet(tmp_path / "in", [line(address(1), AU1=1)])
    message = deliveries.refused(capsys, "emotionet", tmp_path / "in", tmp_path / "out")
    assert "0 of 1 were found" in message and "jaxfacs data download emotionet" in message


def test_two_sheets_must_be_chosen_from(tmp_path, capsys):
    source = tmp_path / "in"
    sheet(source, [line(address(1), AU1=1)])
    sheet(source, [line(address(1), AU1=0)], "EmotioNet_FACS.csv")
    deliveries.write_picture(source / "N_0000000001_00001.jpg", 1)
    message = deliveries.refused(capsys, "emotionet", source, tmp_path / "out")
    assert "2 lists of labels" in message and "--label-list" in message
    opened = build(
        source, tmp_path / "out", "--label-list", "EmotioNet_FACS.csv", "--held-out", "0"
    )
    (clip,) = deliveries.clips(opened).values()
    assert occurrence(opened, clip) == {"1": 0}


def test_damaged_rows_are_listed_with_their_number(tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    rows = [line(address(1), AU1=1), line(address(2), AU1=1)[:30], line("nothing", AU1=0)]
    rows.append(["'http://a.example/with", "commas", "in.jpg'", "''", *cells(AU1=0)])
    sheet(source, rows)
    deliveries.write_picture(source / "N_0000000001_00001.jpg", 1)
    build(source, out, "--held-out", "0")
    assert [row[1:] for row in skipped(out)] == [
        ("no address: 'nothing'", "4"),
        ("not the 62 cells of a row", "3"),
        ("not the 62 cells of a row", "5"),
    ]


def test_the_default_preparation_is_understood():
    assert FaceSteps.parse(emotionet.BUILDER.faces).size > 0
