"""The page's files as they ship: nothing from elsewhere, nothing as HTML, colours that contrast."""

import json
import re
from pathlib import Path

import cv2
import pytest

PAGE = Path(__file__).parents[2] / "jaxfacs" / "serve" / "page"
IMAGES = Path(__file__).parents[2] / "docs" / "images"
SCRIPTS = sorted(PAGE.glob("*.js"))
HTML = (PAGE / "index.html").read_text(encoding="utf-8")
CSS = (PAGE / "style.css").read_text(encoding="utf-8")

# What would turn a name of a film or a word of a server into markup or code.
UNSAFE = (
    "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "createContextualFragment",
    "DOMParser", "eval(", "new Function", 'setAttribute("style"', "cssText", "srcdoc",
)  # fmt: skip


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_what_comes_from_a_server_goes_in_as_text(path):
    text = path.read_text(encoding="utf-8")
    assert [word for word in UNSAFE if word in text] == []


@pytest.mark.parametrize("path", [*SCRIPTS, PAGE / "style.css", PAGE / "index.html"], ids=str)
def test_nothing_comes_from_elsewhere(path):
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}|@import", text) == []
    assert path.suffix != ".css" or "url(" not in text


def test_a_strict_policy_can_hold():
    assert re.findall(r"<script(?![^>]*\bsrc=)", HTML) == []
    assert "<style" not in HTML
    assert re.findall(r"\s(?:style|on[a-z]+)=", HTML) == []
    assert "javascript:" not in HTML


def test_scripts_ask_for_elements_that_are_there():
    ids = re.findall(r'\bid="([^"]+)"', HTML)
    assert len(ids) == len(set(ids))
    asked = set()
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        asked |= set(re.findall(r'(?:\$|getElementById)\("([a-z][a-z-]*)"', text))
        asked |= set(re.findall(r'\b(?:on|listen)\("([a-z][a-z-]*)", "[a-z]', text))
    assert len(asked) > 50 and asked - set(ids) == set()


def test_modules_and_files_are_there():
    for path in SCRIPTS:
        for name in re.findall(r'from "\./([^"]+)"', path.read_text(encoding="utf-8")):
            assert (PAGE / name).is_file(), f"{path.name} wants {name}"
    for name in re.findall(r'(?:src|href)="page/([^"]+)"', HTML):
        assert (PAGE / name).is_file()


def test_labels_name_every_field():
    for tag in re.findall(r"<(?:input|select)[^>]*>", HTML):
        found = re.search(r'id="([^"]+)"', tag)
        before = HTML[: HTML.index(tag)]
        in_label = before.rfind("<label") > before.rfind("</label>")
        assert in_label or found[1] == "file", tag  # the file's button stands for it


def test_the_example_is_small_and_a_film():
    (entry,) = json.loads((PAGE / "examples" / "examples.json").read_text(encoding="utf-8"))
    film = PAGE / "examples" / entry["film"]
    assert film.stat().st_size <= 600_000
    capture = cv2.VideoCapture(str(film))
    length_s = capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS)
    assert capture.read()[0] and 7 <= length_s <= 13


def test_pictures_of_the_docs_are_small():
    sizes = {p.name: p.stat().st_size for p in IMAGES.glob("page-*.png")}
    assert sizes and max(sizes.values()) <= 250_000


# --- colours -------------------------------------------------------------------------------------


def palette(start: str) -> dict[str, str]:
    block = CSS[CSS.index(start) :]
    block = block[: block.index("}")]
    return dict(re.findall(r"--([a-z0-9-]+):\s*(#[0-9a-f]{6})", block))


LIGHT = palette(":root {")
DARK = palette(':root[data-theme="dark"] {')
SYSTEM_DARK = palette(':root:not([data-theme="light"]) {')


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


TEXT = [  # (ink, ground): AA asks for 4.5
    *((ink, ground) for ink in ("ink", "muted", "accent") for ground in ("bg", "surface")),
    ("ink", "accent-soft"),
    ("ink", "track"),
    ("on-accent", "accent"),
    ("on-accent", "accent-hover"),
    ("note-ink", "note"),
    ("error-ink", "error"),
    ("for", "for-soft"),
    ("against", "against-soft"),
    *(("ribbon-ink", f"e{i}") for i in range(8)),
]
MARKS = [  # what is seen and not read: 3
    *((mark, "surface") for mark in ("upper", "lower", "accent", "edge", "focus", "playhead")),
    *((mark, "bg") for mark in ("upper", "lower", "accent", "focus")),
    *((mark, "track") for mark in ("upper", "lower", "accent")),
]


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_contrast_as_wcag_aa_asks(colours):
    low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in TEXT}
    assert {pair: round(c, 2) for pair, c in low.items() if c < 4.5} == {}
    low = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in MARKS}
    assert {pair: round(c, 2) for pair, c in low.items() if c < 3} == {}


def test_known_contrasts():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_dark_is_the_same_by_choice_and_by_system():
    assert DARK == SYSTEM_DARK
    assert DARK.keys() == LIGHT.keys()
