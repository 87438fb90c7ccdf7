"""The report in a real browser: its film plays, its timelines seek, it asks nobody for anything."""

import importlib.util
import json
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_table import AUS, write_table

from jaxfacs import emotion
from jaxfacs.infer.views import report

pytestmark = pytest.mark.long

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed: pip install 'jaxfacs[browser]'")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}: apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver, tempfile.TemporaryDirectory() as profile:
        contexts = []

        def open_page(path, viewport=DESKTOP, scheme="light"):
            context = driver.chromium.launch_persistent_context(
                f"{profile}/{len(contexts)}",
                executable_path=str(CHROMIUM),
                args=list(FLAGS),
                viewport=viewport,
                color_scheme=scheme,
            )
            contexts.append(context)
            page = context.new_page()
            page.asked, page.said = [], []
            page.on("request", lambda request: page.asked.append(request.url))
            page.on("console", lambda message: page.said.append(message.text))
            page.on("pageerror", lambda error: page.said.append(str(error)))
            page.goto(path.as_uri())
            return page

        yield open_page
        for context in contexts:
            context.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Four seconds, 25 frames a second; a grey that gets lighter."""
    path = tmp_path_factory.mktemp("film") / "film.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 25.0, (240, 240))
    for t in range(100):
        writer.write(np.full((240, 240, 3), 2 * t, np.uint8))
    writer.release()
    return path


@pytest.fixture
def table(tmp_path):
    path = write_table(tmp_path / "film.csv", 100, faces=2, rate=25.0, gap=range(60, 70))
    origin = {"settings": {"thresholds": dict.fromkeys(AUS, 0.5)}, "warnings": ["cut short"]}
    path.with_suffix(".json").write_text(json.dumps(origin))
    return path


def at(page):
    return page.evaluate("document.querySelector('video').currentTime")


def wait_for(page, condition):
    """Playwright's own waiting needs eval, which the page's policy forbids."""
    until = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < until, condition
        page.wait_for_timeout(50)


@pytest.mark.parametrize("embed", ["auto", "never"])
def test_a_click_seeks_the_film(browser, film, table, embed):
    page = browser(report.write(table, film, table.parent / "film.html", embed=embed))
    wait_for(page, "document.querySelector('video').readyState > 1")
    lane = page.locator("#rows .row canvas").first
    width = lane.bounding_box()["width"]
    lane.click(position={"x": 0.75 * width, "y": 8})
    wait_for(page, "document.querySelector('video').currentTime > 2.5")
    assert at(page) == pytest.approx(3.0, abs=0.05)
    assert page.locator("#clock").inner_text() == "0:03.00, frame 76"
    page.locator("#rows .row canvas").first.click(position={"x": 0.62 * width, "y": 8})
    assert page.locator("#feeling").inner_text() == "no face"
    page.locator("button.jump:visible").first.click()
    wait_for(page, "document.querySelector('video').currentTime < 2.3")
    own = [table.parent.joinpath("film.html").as_uri(), film.as_uri()]
    assert page.said == [] and set(page.asked) <= set(own if embed == "never" else own[:1])


def test_keys_zoom_faces_and_playing(browser, film, table):
    page = browser(report.write(table, film, table.parent / "film.html"))
    wait_for(page, "document.querySelector('video').readyState > 1")
    slider = page.locator("#time")
    slider.focus()
    for key, wanted in (("End", 4.0), ("Home", 0.0), ("ArrowRight", 0.04), ("PageDown", 0.44)):
        slider.press(key)
        assert float(slider.get_attribute("aria-valuenow")) == pytest.approx(wanted, abs=0.02)
    before = page.locator("#ruler canvas").screenshot()
    slider.press("+")
    assert page.locator("#ruler canvas").screenshot() != before
    slider.press("0")
    first = page.locator("section[data-face='0']")
    assert first.is_visible() and not page.locator("section[data-face='1']").is_visible()
    page.locator("#face").select_option("1")
    assert not first.is_visible() and page.locator("section[data-face='1']").is_visible()
    slider.focus()
    slider.press(" ")
    wait_for(page, "document.querySelector('video').currentTime > 0.8")
    slider.press(" ")
    told = float(slider.get_attribute("aria-valuenow"))
    assert told == pytest.approx(at(page), abs=0.2) and page.said == []


def test_another_film_is_noticed(browser, film, tmp_path):
    table = write_table(tmp_path / "longer.csv", 200, rate=25.0)
    page = browser(report.write(table, film, tmp_path / "film.html"))
    wait_for(page, "!document.getElementById('short').hidden")


def test_the_film_moved_by_its_own_controls_moves_the_page(browser, film, table):
    page = browser(report.write(table, film, table.parent / "film.html"))
    wait_for(page, "document.querySelector('video').readyState > 1")
    page.evaluate("document.querySelector('video').currentTime = 1.5")
    wait_for(page, "document.getElementById('clock').textContent.startsWith('0:01.5')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_it_fits_the_screen_and_is_drawn(browser, film, table, viewport, scheme):
    page = browser(report.write(table, film, table.parent / "film.html"), viewport, scheme)
    wait_for(page, "document.querySelector('video').readyState > 1")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    drawn = page.evaluate(
        """[...document.querySelectorAll('#rows canvas')].map((c) => {
          const raw = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
          return raw.filter((v, i) => i % 4 === 3 && v > 0).length;
        })"""
    )
    assert len(drawn) == len(AUS) + 1 and min(drawn) > 500
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")


def test_hostile_names_start_nothing(browser, film, tmp_path):
    evil = "<script>document.title = 'x'</script><img src=x onerror=\"document.title = 'x'\">"
    table = write_table(tmp_path / "<b>film.csv", 30, emotions=(evil, "</script><script>alert(1)"))
    origin = {"warnings": [evil], "model": {"file": evil}}
    table.with_suffix(".json").write_text(json.dumps(origin))
    page = browser(report.write(table, film, tmp_path / "film.html"))
    wait_for(page, "!document.getElementById('lines').hidden")
    assert page.title() == "<b>film" and page.locator("img, h1 b").count() == 0
    assert evil in page.locator(".warn li").first.inner_text()
    assert page.said == [] and len(page.asked) == 1


def test_reasons_are_shown_for_the_frame(browser, tmp_path):
    mapper = emotion.named("facs_manual")
    aus = ("1", "12", "6", "4")
    table = write_table(tmp_path / "film.csv", 20, aus=aus, emotions=mapper.emotions)
    table.with_suffix(".json").write_text(json.dumps({"emotion_mapper": mapper.to_json()}))
    lines = table.read_text().splitlines()
    start = lines[0].split(",").index(mapper.emotions[0])
    cells = lines[1].split(",")
    happy = ["0.9" if name == "happiness" else "0.0" for name in mapper.emotions]
    cells[start : start + len(happy)] = happy
    cells[lines[0].split(",").index("AU12_p")] = "0.97"
    lines[1] = ",".join(cells)
    table.write_text("\n".join(lines) + "\n")
    page = browser(report.write(table, None, tmp_path / "film.html"))
    said = page.locator("#feeling").inner_text()
    assert "happiness 0.90" in said and "for: 12 (+" in said
