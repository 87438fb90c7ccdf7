"""The report: one page that holds what the table says, and starts nothing that a name holds."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from tiny_table import AUS, EMOTIONS, values, write_table

from jaxfacs import emotion
from jaxfacs.cli import run_function
from jaxfacs.errors import UserError
from jaxfacs.infer.views import command as report_command
from jaxfacs.infer.views import report, report_film

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'


class Page(HTMLParser):
    """Tags with their attributes, and the text of scripts, styles and everything else."""

    VOID = frozenset(("meta", "link", "input", "img", "br"))

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.open = [], {}, []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, f"left open: {self.open}"
        self.data = json.loads(self.texts["script"][0])

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def policy(self):
        return next(a["content"] for a in self.of("meta") if "http-equiv" in a)


def bytes_of(text, kind="u1"):
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.fixture(scope="module")
def webm(tmp_path_factory):
    path = tmp_path_factory.mktemp("webm") / "my film #1.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 20.0, (240, 240))
    for t in range(40):
        writer.write(np.full((240, 240, 3), 4 * t, np.uint8))
    writer.release()
    return path


def test_the_page_holds_what_the_table_says(tmp_path):
    table = write_table(tmp_path / "film.csv", 40, faces=2, gap=(5, 6))
    page = Page(report.write(table, None, tmp_path / "out" / "film.html"))
    told, there = page.data, np.array([t not in (4, 5) for t in range(40)])
    assert [au["label"] for au in told["aus"]] == list(AUS)
    assert told["emotions"] == list(EMOTIONS) and told["colours"][1] is None
    np.testing.assert_allclose(bytes_of(told["start"], "<f8"), np.arange(40) / 20)
    assert bytes_of(told["frame"], "<i4").tolist() == list(range(1, 41))
    assert len(told["faces"]) == 2
    for n, face in enumerate(told["faces"]):
        p, r, c, e = values(40, seed=n)
        for name, wanted in (("p", p), ("r", r / 5), ("c", c), ("e", e)):
            got_VB = bytes_of(face[name]).reshape(-1, 40)
            assert (got_VB[:, ~there] == 255).all()
            np.testing.assert_allclose(
                got_VB[:, there].T / 254, wanted[there], atol=0.5 / 254 + 1e-6
            )
        assert bytes_of(face["rows"]).tolist() == there.astype(int).tolist()
        box_B4 = bytes_of(face["box"], "<f4").reshape(40, 4)
        assert box_B4[0].tolist() == [60 + 10 * n, 40, 120, 120] and np.isnan(box_B4[4]).all()
        assert "low" not in face and "va" not in face
    sections = [attrs for attrs in page.of("section") if "data-face" in attrs]
    assert ["hidden" in attrs for attrs in sections] == [False, True]
    jumps = {float(attrs["data-seek"]) for attrs in page.of("button") if "data-seek" in attrs}
    onsets = {segment[1] for face in told["faces"] for segment in face["segments"]}
    assert onsets and onsets <= {round(jump, 3) for jump in jumps}


def test_nothing_is_fetched_and_only_its_own_program_runs(tmp_path, webm):
    table = write_table(tmp_path / "film.csv", 10)
    page = Page(report.write(table, webm, tmp_path / "film.html"))
    program, style = page.texts["script"][1], page.texts["style"][0]
    for text, directive in ((program, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in page.policy
    assert page.policy.startswith("default-src 'none'") and "unsafe" not in page.policy
    assert not re.search(r"https?:|//\w", page.policy)
    addresses = [a[k] for _, a in page.tags for k in ("src", "href", "srcset", "action") if k in a]
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|innerHTML|eval\(", program + style)
    assert not [a for _, a in page.tags for k in a if k == "style" or k.startswith("on")]


def test_names_are_only_text(tmp_path):
    """A film, a table, warnings, AUs and emotions called like markup."""
    table = write_table(tmp_path / "<img src=x>{{data}}.csv", 6, emotions=(EVIL, "</script>"))
    origin = {
        "warnings": [EVIL, "</script><!--"],
        "model": {"file": EVIL},
        "settings": {"thresholds": {"12": 0.7, "x": EVIL}},
    }
    table.with_suffix(".json").write_text(json.dumps(origin))
    picture = tmp_path / "x'\"><script>.png"
    cv2.imwrite(str(picture), np.zeros((8, 8, 3), np.uint8))
    page = Page(report.write(table, picture, tmp_path / "out.html"))
    plain = Page(report.write(write_table(tmp_path / "a.csv", 6), None, tmp_path / "a.html"))
    assert len(page.of("script")) == len(plain.of("script")) == 2
    assert len(page.of("img")) == 1 and page.of("img")[0]["src"].startswith("data:image/png;")
    assert "<img src=x>{{data}}" in page.texts["h1"]
    assert any(EVIL in text for text in page.texts["li"])
    assert "\\u003c" in page.source and EVIL not in page.source


def test_what_browsers_play_is_put_in_and_more_is_linked(tmp_path, webm, monkeypatch):
    table = write_table(tmp_path / "film.csv", 10)
    (video,) = Page(report.write(table, webm, tmp_path / "a.html")).of("video")
    kind, _, content = video["src"].partition(",")
    assert kind == "data:video/webm;base64" and base64.b64decode(content) == webm.read_bytes()
    monkeypatch.setattr(report_film, "MOST_EMBEDDED", 1000)
    (tmp_path / "sub").mkdir()
    page = Page(report.write(table, webm, tmp_path / "sub" / "b.html"))
    (video,) = page.of("video")
    assert video["src"].endswith("my%20film%20%231.webm") and ":" not in video["src"]
    assert "media-src data: 'self' file:" in page.policy
    assert any("my film #1.webm" in text for text in page.texts["p"])
    always = Page(report.write(table, webm, tmp_path / "c.html", embed="always"))
    assert always.of("video")[0]["src"].startswith("data:") and "file:" not in always.policy
    never = Page(report.write(table, webm, tmp_path / "d.html", embed="never"))
    assert not never.of("video")[0]["src"].startswith("data:")


def test_what_browsers_do_not_play_is_copied(tmp_path, film, monkeypatch):
    """The film is of JPEGs in .avi, 240×240."""
    table = write_table(tmp_path / "film.csv", 40)
    page = Page(report.write(table, film, tmp_path / "a.html"))
    assert page.of("video")[0]["src"].startswith("data:video/webm;base64,GkXfo")
    assert page.data["size"] == [240, 240] and any("copy" in text for text in page.texts["p"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "film.csv"]
    monkeypatch.setattr(report_film, "MOST_EMBEDDED", 1000)
    page = Page(report.write(table, film, tmp_path / "b.html"))
    assert page.of("video")[0]["src"] == "b.film.webm" and (tmp_path / "b.film.webm").is_file()


def test_a_long_film_says_what_a_point_is(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "_bins", lambda *_: 10)
    table = write_table(tmp_path / "film.csv", 95)
    page = Page(report.write(table, None, tmp_path / "a.html"))
    (face,) = page.data["faces"]
    assert page.data["bins"] == 10 and any("9.5 frames" in text for text in page.texts["p"])
    p_BA = [values(95)[0][np.arange(95) * 10 // 95 == b] for b in range(10)]
    for name, wanted in (("low", np.min), ("high", np.max), ("p", np.mean)):
        got_AB = bytes_of(face[name]).reshape(-1, 10) / 254
        wanted_AB = np.array([wanted(part, axis=0) for part in p_BA]).T
        np.testing.assert_allclose(got_AB, wanted_AB, atol=0.5 / 254 + 1e-6)


def test_values_stay_within_their_room():
    from jaxfacs.infer.views.course import Values

    for aus, faces in ((1, 1), (20, 1), (60, 6), (300, 6)):
        layout = Values.of([str(n) for n in range(aus)], ("a",) * 8)
        bins = report._bins(layout, faces)
        assert bins == 500 or bins * faces * (5 * aus + 27) <= 6_000_000


def test_reasons_come_from_the_mapper_beside_the_table(tmp_path):
    mapper = emotion.named("facs_manual")
    aus = ("1", "12", "6", "4")
    table = write_table(tmp_path / "film.csv", 12, aus=aus, emotions=mapper.emotions[:2])
    lines = table.read_text().splitlines()
    p_TA = values(12)[0]
    told = mapper.apply(aus, p_TA, intensity_TA=values(12)[1])
    start = lines[0].split(",").index(mapper.emotions[0])
    rows = [lines[0].split(",")[:start] + list(mapper.emotions)]
    for t, line in enumerate(lines[1:]):
        rows.append(line.split(",")[:start] + [f"{v:.3f}" for v in told.probability_TE[t]])
    table.write_text("\n".join(",".join(row) for row in rows) + "\n")
    no_mapper = Page(report.write(table, None, tmp_path / "a.html")).data
    assert no_mapper["faces"][0]["why"] is None and "NAME.json" in no_mapper["no_reasons"]
    origin = {"emotion_mapper": mapper.to_json(), "settings": {}}
    table.with_suffix(".json").write_text(json.dumps(origin))
    (face,) = Page(report.write(table, None, tmp_path / "a.html")).data["faces"]
    at = bytes_of(face["why"]["at"], "<u2")
    for t in range(12):
        why = told.explain(t, most=5)
        name, speaks_for, against, unjudged = face["why"]["texts"][at[t]]
        assert name == why.emotion and unjudged == list(why.unjudged)
        assert [text.rpartition(" (")[0] for text in speaks_for] == list(map(str, why.speaks_for))
        assert [text.rpartition(" (")[0] for text in against] == list(map(str, why.speaks_against))
    origin = {"emotion_mapper": {"kind": "nonsense"}, "settings": {"emotions_from": "network"}}
    table.with_suffix(".json").write_text(json.dumps(origin))
    assert "itself" in Page(report.write(table, None, tmp_path / "a.html")).data["no_reasons"]


def test_no_face_and_no_times(tmp_path):
    none = write_table(tmp_path / "none.csv", 5, gap=range(1, 6))
    page = Page(report.write(none, None, tmp_path / "a.html"))
    assert page.data["faces"] == [] and any("No frame" in text for text in page.texts["p"])
    still = write_table(tmp_path / "still.csv", 3, times=[0, 0, 0])
    page = Page(report.write(still, None, tmp_path / "b.html"))
    assert not page.data["timed"] and any("frame 2" in text for text in page.texts["button"])


def test_refusals_leave_nothing(tmp_path, capsys):
    table = write_table(tmp_path / "film.csv", 5)
    for arguments, said in (
        ((table, None, tmp_path / "a.txt"), "does not end in .html"),
        ((table, tmp_path / "no.mp4", tmp_path / "a.html"), "cannot read the film"),
        ((table, table, tmp_path / "a.html"), "does not decode"),
        ((tmp_path / "no.csv", None, tmp_path / "a.html"), "no.csv"),
    ):
        with pytest.raises(UserError, match=re.escape(said)):
            report.write(*arguments)
    assert [p.name for p in tmp_path.iterdir()] == ["film.csv"]


def test_the_commands(tmp_path, capsys):
    table = write_table(tmp_path / "film.csv", 8)
    page, map_ = tmp_path / "film.html", tmp_path / "film.svg"
    run_function(report_command.report, ("report",), [str(table), "--out", str(page)])
    arguments = [str(table), "--out", str(map_), "--kind", "face", "--face", "0"]
    run_function(report_command.plot, ("plot",), arguments)
    assert page.stat().st_size > 10_000 and map_.stat().st_size > 1000
    assert "film.html" in capsys.readouterr().out
    with pytest.raises(UserError, match="--kind face"):
        run_function(report_command.plot, ("plot",), [*arguments[:3], "--frame", "2"])
