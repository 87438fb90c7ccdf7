"""EmotioNet's lists in each form that their owners gave out, and damaged."""

import zipfile
from pathlib import Path

import pytest

from jaxfacs.data.emotionet_list import Problems, Row, read
from jaxfacs.errors import UserError

HEADER = ["URL", "URL orig", *(f"'AU {n}'" for n in range(1, 61))]
A, B = "http://x.example/N_1/N_1_00001.jpg", "http://y.example/b c.jpg?s=1"


def values(**known: int) -> list[int]:
    """60 cells, 999 unless given: values(AU12=1)."""
    cells = [999] * 60
    for name, value in known.items():
        cells[int(name[2:]) - 1] = value
    return cells


def coded(**known: int) -> tuple[int, ...]:
    return tuple(-1 if value == 999 else value for value in values(**known))


def text(path: Path, lines: list[list], separator: str = ",") -> Path:
    path.write_text("".join(separator.join(map(str, line)) + "\n" for line in lines))
    return path


def rows(path: Path) -> tuple[list[tuple[int, str, str, tuple[int, ...]]], Problems]:
    problems = Problems()
    return [(r.number, r.url, r.orig_url, r.occurrence_60) for r in read(path, problems)], problems


TWO = [
    [f"'{A}'", f"'{B}'", *values(AU1=1, AU60=0)],
    [f"'{B}'", "", *values(AU12=0, AU3=1)],
]
EXPECTED = [(2, A, B, coded(AU1=1, AU60=0)), (3, B, "", coded(AU12=0, AU3=1))]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_the_sheet_as_csv(tmp_path, separator):
    found, problems = rows(text(tmp_path / "sheet.csv", [HEADER, *TWO], separator))
    assert found == EXPECTED and problems == Problems()


def test_the_workbook(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "about"
    book.active.append(["EmotioNet", "2020"])
    for title, part in (("a", TWO[:1]), ("b", TWO[1:])):
        sheet = book.create_sheet(title)
        sheet.append(HEADER)
        for line in part:
            sheet.append(line[:2] + [float(v) if v == 1 else v for v in line[2:]])
        sheet.append([None] * 62)
    book.save(tmp_path / "EmotioNet_FACS.xlsx")
    problems = Problems()
    found = list(read(tmp_path / "EmotioNet_FACS.xlsx", problems))
    assert found == [
        Row("EmotioNet_FACS.xlsx[a]", 2, *EXPECTED[0][1:]),
        Row("EmotioNet_FACS.xlsx[b]", 2, *EXPECTED[1][1:]),
    ]
    assert problems == Problems(skipped_sheets=["about"])


def test_the_automatic_list(tmp_path):
    found, problems = rows(text(tmp_path / "dataFile_0001.txt", TWO, "\t"))
    assert found == [(number - 1, *rest) for number, *rest in EXPECTED] and not problems.rows


@pytest.mark.parametrize("first", [0, 1], ids=["two addresses first", "one address first"])
def test_the_first_row_does_not_decide_how_the_automatic_list_is_read(tmp_path, first):
    found, problems = rows(text(tmp_path / "dataFile_1001.txt", [TWO[first], TWO[1 - first]], "\t"))
    assert [r[1:] for r in found] == [EXPECTED[first][1:], EXPECTED[1 - first][1:]]
    assert not problems.rows
    short = text(tmp_path / "dataFile_1002.txt", [[A, *values(AU2=1)]], "\t")
    assert rows(short)[0] == [(1, A, "", coded(AU2=1))]


def test_the_release_with_one_address_column(tmp_path):
    lines = [[HEADER[0], *HEADER[2:]], [f"'{A}'", *values(AU4=1)]]
    found, _ = rows(text(tmp_path / "sheet.csv", lines))
    assert found == [(2, A, "", coded(AU4=1))]


def test_addresses_alone(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_text(f"# mine\n\n{A}\n  {B}\t\nftp://x/y\nnothing\n")
    found, problems = rows(path)
    assert [(n, url) for n, url, *_ in found] == [(3, A), (4, B), (5, "ftp://x/y")]
    assert problems.rows == [("urls.txt", 6, "no address: 'nothing'")]


def test_columns_go_by_their_names(tmp_path):
    lines = [["note", "AU 02", "'URL'", " 'AU 1' "], ["x", 1, f"'{A}'", 0]]
    found, _ = rows(text(tmp_path / "sheet.csv", lines))
    assert found == [(2, A, "", coded(AU1=0, AU2=1))]


def test_commas_in_an_address_do_not_shift_the_labels(tmp_path):
    """Bartissol 2017, §3.1.1: fewer than 15 such rows."""
    comma, both = "http://x.example/a,b,c.jpg", "http://y.example/d,e.jpg"
    lines = [
        HEADER,
        [f"'{comma}'", f"'{A}'", *values(AU1=1)],
        [f"'{A}'", f"'{both}'", *values(AU2=1)],
        [comma, both, *values(AU4=1)],
        ["'http://x.example/a", "b", "c'", *values(AU5=1)],  # no second address: not certain
    ]
    found, problems = rows(text(tmp_path / "sheet.csv", lines))
    assert found == [
        (2, comma, A, coded(AU1=1)),
        (3, A, both, coded(AU2=1)),
        (4, comma, both, coded(AU4=1)),
    ]
    assert [row[1] for row in problems.rows] == [5]


@pytest.mark.parametrize("spelling", ["999", "9", "-1", "", "NaN", "999.0", " 999 ", "'999'", "?"])
def test_spellings_of_unknown(tmp_path, spelling):
    line = [f"'{A}'", f"'{B}'", *values(AU1=1)]
    line[3] = spelling
    found, problems = rows(text(tmp_path / "sheet.csv", [HEADER, line]))
    assert found[0][3] == coded(AU1=1) and not problems.odd_values


def test_values_that_mean_nothing_are_unknown_and_counted(tmp_path):
    line = [f"'{A}'", f"'{B}'", *values(AU1=1, AU2=3, AU4=7)]
    line[6] = "yes"
    path = text(tmp_path / "sheet.csv", [HEADER, line, line])
    found, problems = rows(path)
    assert found[0][3] == coded(AU1=1)
    assert problems.odd_values == {"3": 2, "7": 2, "yes": 2}


def test_rows_of_another_width_are_left_out(tmp_path):
    lines = [HEADER, TWO[0][:40], TWO[1]]
    found, problems = rows(text(tmp_path / "sheet.csv", lines))
    assert [r[0] for r in found] == [3]
    assert problems.rows == [("sheet.csv", 2, "not the 62 cells of a row")]


def test_an_old_encoding(tmp_path):
    path = tmp_path / "urls.txt"
    path.write_bytes("http://x.example/é.jpg\n".encode("cp1252"))
    assert rows(path)[0][0][1] == "http://x.example/é.jpg"
    path.write_bytes("\ufeffhttp://x.example/é.jpg\n".encode())
    assert rows(path)[0][0][1] == "http://x.example/é.jpg"


OLE = bytes.fromhex("d0cf11e0a1b11ae1")


@pytest.mark.parametrize(
    "data, message",
    [
        (OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "protected by a password"),
        (OLE + bytes(600), r"old kind \(\.xls\)"),
        (b"PK\x03\x04 no archive", "damaged workbook"),
        (b"", "holds no address"),
        (b"name,age\nx,3\n", "holds no address"),
        (b"http://x/a.jpg\t1\t0\n", "2 values after the addresses, expected 60"),
        (b'URL,x\n"' + b"a" * 140_000, "line 2: .* is it CSV"),
    ],
)
def test_what_is_no_list(tmp_path, data, message):
    path = tmp_path / "sheet.xlsx"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as raised:
        rows(path)
    assert "sheet.xlsx" in str(raised.value)


def test_no_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        rows(tmp_path / "sheet.xlsx")


def test_a_workbook_of_something_else(tmp_path):
    path = tmp_path / "x.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    with pytest.raises(UserError, match="damaged workbook"):
        rows(path)
