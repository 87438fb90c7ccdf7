"""Films in a real browser against a real server: sent, read, shown, sought, saved."""

import csv
import io
import json
import re
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
from page_tools import FPS, LENGTH, drawn_frames, until, write_film

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.xdist_group("browser")]

READ = "#work:not([hidden]) .timeline canvas"
WAIT_MS = 60_000
CLOCK = "document.getElementById('clock').textContent"
BUSY = "document.getElementById('busy-text').textContent"


def send_film(page, path):
    """Sends a film; the id of its job, from the first question about it."""
    with page.expect_request(lambda r: "/v1/jobs/" in r.url, timeout=WAIT_MS) as asked:
        page.set_input_files("#file", str(path))
    return asked.value.url.rsplit("/", 1)[-1]


def read_film(page, path):
    """Sends a film; the id of its job, once the results are seen."""
    job = send_film(page, path)
    page.wait_for_selector(READ, timeout=WAIT_MS)
    return job


def results(url, job):
    with urllib.request.urlopen(f"{url}v1/jobs/{job}/results") as answer:
        return json.load(answer)


def click_at(page, share):
    """Clicks the timeline at a share of the film."""
    box = page.locator(".seeker").bounding_box()
    left, plot = (float(page.get_attribute(".seeker", f"data-{name}")) for name in ("left", "plot"))
    page.mouse.click(box["x"] + left + share * plot, box["y"] + 40)


def shown_values(page):
    """AU -> (intensity or None where absent, probability), as the bars say."""
    rows = page.locator("#bars .au-row")
    found = {}
    for i in range(rows.count()):
        row = rows.nth(i)
        value = row.locator(".value").inner_text()
        number = re.search(r"\d\.\d", value)
        chance = row.locator(".chance").inner_text()
        found[row.get_attribute("data-au")] = (float(number[0]) if number else None, float(chance))
    return found


def drawn_box(page):
    """What is drawn over the picture, as shares of it: left, top, right, bottom; None: nothing."""
    return page.evaluate("""() => {
      const canvas = document.getElementById("overlay");
      const { width, height } = canvas;
      const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
      let box = null;
      for (let y = 0; y < height; y += 1) for (let x = 0; x < width; x += 1) {
        if (data[4 * (y * width + x) + 3] < 128) continue;
        box ??= [x, y, x, y];
        box = [Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x), Math.max(box[3], y)];
      }
      return box && [box[0] / width, box[1] / height, box[2] / width, box[3] / height];
    }""")


@pytest.fixture
def read(visit, films):
    page = visit()
    return page, read_film(page, films["webm"])


def test_a_film_is_read_and_its_moments_are_sought(read, server):
    page, job = read
    told = results(server.url, job)
    assert len(told["frames"]) == LENGTH
    for share in (0.25, 0.8):
        click_at(page, share)
        wanted = share * LENGTH / FPS
        until(page, f"Math.abs(document.getElementById('video').currentTime - {wanted}) < 0.2")
        until(page, "!document.getElementById('video').seeking")
        time = page.evaluate("document.getElementById('video').currentTime")
        frame = [f for f in told["frames"] if f["timestamp"] <= time + 0.002][-1]
        (face,) = frame["faces"]
        shown = shown_values(page)
        for label, p, r, c in zip(told["aus"], face["p"], face["r"], face["c"], strict=True):
            intensity, probability = shown[label]
            assert probability == pytest.approx(p, abs=0.006)
            assert (intensity is not None) == bool(c)
            if c:
                assert intensity == pytest.approx(r, abs=0.051)
        assert f"frame {frame['frame']}" in page.inner_text("#clock")


def test_the_box_lies_about_the_face(read, server):
    page, job = read
    told = results(server.url, job)
    page.click("#show-regions")
    x, y, w, h = told["frames"][0]["faces"][0]["box"]
    left, top, right, bottom = drawn_box(page)
    stage = page.locator("#overlay").bounding_box()
    scale = min(stage["width"] / told["width"], stage["height"] / told["height"])
    margin = (stage["width"] - scale * told["width"]) / 2  # the whole film is seen, in the middle
    assert left * stage["width"] == pytest.approx(margin + scale * x, abs=4)
    assert right * stage["width"] == pytest.approx(margin + scale * (x + w), abs=4)
    assert bottom * stage["height"] == pytest.approx(scale * (y + h), abs=4)
    assert top * stage["height"] < scale * y + 4  # the label stands above
    page.click("#show-boxes")
    assert drawn_box(page) is None


def test_the_summary_is_the_servers(read, server):
    page, job = read
    summary = results(server.url, job)["summary"]
    rows = page.locator("#top-clip .au-row")
    assert rows.count() == min(5, len(summary["aus"]))
    for i in range(rows.count()):
        row, wanted = rows.nth(i), summary["aus"][i]
        assert row.get_attribute("data-au") == wanted["label"]
        share = f"{100 * wanted['share_present']:.0f} %"
        assert row.locator(".chance").inner_text() == share
    assert (
        rows.nth(0).locator(".value").inner_text() == f"{summary['aus'][0]['mean_intensity']:.1f}"
    )
    rows.nth(0).locator("button").click()
    peak = summary["aus"][0]["peak_time"]
    until(page, f"Math.abs(document.getElementById('video').currentTime - {peak}) < 0.1")
    best = summary["emotions"][0]
    assert re.search(rf"{best['name']}", page.inner_text("#emotion-clip"), re.IGNORECASE)


def test_an_emotion_comes_with_its_reasons(read, server):
    page, job = read
    told = results(server.url, job)
    why = told["frames"][0]["faces"][0]["why"]
    assert why and (why["for"] or why["against"] or why["unjudged"])
    page.keyboard.press("Home")
    card = page.inner_text("#emotion-now")
    for label, _ in [*why["for"], *why["against"]][:3]:
        said = f"no AU {label.removeprefix('no ')}" if label.startswith("no ") else f"AU {label}"
        assert said in card
    assert not why["unjudged"] or "Not judged" in card


def test_the_csv_is_the_servers(read, server, tmp_path):
    page, job = read
    with page.expect_download() as coming:
        page.click("#csv")
    assert coming.value.suggested_filename == "drawn.csv"
    coming.value.save_as(tmp_path / "saved.csv")
    saved = (tmp_path / "saved.csv").read_bytes()
    with urllib.request.urlopen(f"{server.url}v1/jobs/{job}/results?format=csv") as answer:
        assert saved == answer.read()
    rows = list(csv.DictReader(io.StringIO(saved.decode())))
    assert len(rows) == LENGTH and {"frame", "AU12_r", "AU12_c"} <= rows[0].keys()


def test_it_plays(read):
    page, _ = read
    page.click("#play")
    until(page, "document.getElementById('video').currentTime > 0.5")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.click("#play")
    at = page.inner_text("#clock")
    page.click("#forward")
    until(page, f"{CLOCK} !== {json.dumps(at)}")


def test_the_keyboard_alone_is_enough(visit, films):
    page = visit()
    # Asked for well before the key: Chromium is told to hand its dialogs over in the background.
    page.on("filechooser", lambda chooser: chooser.set_files(str(films["webm"])))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    tab_to(page, "choose")
    page.keyboard.press("Enter")
    page.wait_for_selector(READ, timeout=WAIT_MS)
    assert page.evaluate("document.activeElement.id") == "work-title"
    page.keyboard.press("ArrowRight")
    until(page, f"{CLOCK}.endsWith('frame 2')")
    tab_to(page, "play")
    page.keyboard.press("Space")
    until(page, "!document.getElementById('video').paused")
    page.keyboard.press("Space")
    until(page, "document.getElementById('video').paused")
    for _ in range(40):
        if page.evaluate("document.activeElement.getAttribute('role')") == "slider":
            break
        page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("End")
    until(page, f"{CLOCK}.endsWith('frame {LENGTH}')")
    said = page.get_attribute(".seeker", "aria-valuetext")
    assert said.startswith(("0:02.9", "0:03.0"))
    page.keyboard.press("Home")
    page.keyboard.press("Shift+ArrowRight")
    until(page, "Math.abs(document.getElementById('video').currentTime - 1) < 0.1")
    page.keyboard.press("b")
    assert page.get_attribute("#show-boxes", "aria-pressed") == "false"


def tab_to(page, name):
    for _ in range(40):
        if page.evaluate("document.activeElement.id") == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the tab key does not reach {name}")


def test_the_example(visit):
    page = visit()
    page.locator(".example").click()
    page.wait_for_selector(READ, timeout=WAIT_MS)
    until(page, "document.getElementById('video').videoWidth > 0")
    assert page.locator("#stage-note").is_hidden()
    assert drawn_box(page) is not None
    assert page.locator("#bars .au-row").count() == 4


def test_settings_go_with_the_film_and_again(visit, films):
    page = visit()
    page.select_option("#baseline", "median")
    with page.expect_request(lambda r: "/v1/films" in r.url) as first:
        page.set_input_files("#file", str(films["webm"]))
    page.wait_for_selector(READ, timeout=WAIT_MS)
    assert "baseline=median" in first.value.url and "smooth_s=0" in first.value.url
    page.select_option("#smooth", "0.5")
    with page.expect_request(lambda r: "/v1/films" in r.url) as second:
        page.click("#reread-go")
    page.wait_for_selector(READ, timeout=WAIT_MS)
    assert "baseline=median" in second.value.url and "smooth_s=0.5" in second.value.url


def test_two_faces_are_told_apart(visit, films, server):
    page = visit()
    job = read_film(page, films["two"])
    faces = page.locator("#faces button")
    assert faces.count() == 2
    click_at(page, 0.8)  # the left one blushes now
    until(page, "!document.getElementById('video').seeking")
    values = {}
    for i in range(2):
        faces.nth(i).click()
        assert faces.nth(i).get_attribute("aria-checked") == "true"
        values[faces.nth(i).inner_text()] = shown_values(page)
    one, two = values.values()
    assert one != two
    frame = results(server.url, job)["frames"][int(0.8 * LENGTH)]
    for face in frame["faces"]:
        shown = [p for _, p in values[f"Face {face['id']}"].values()]
        assert shown == pytest.approx(face["p"], abs=0.006)
    colours = [
        page.evaluate(
            "i => getComputedStyle(document.querySelectorAll('#faces .dot')[i]).backgroundColor", i
        )
        for i in range(2)
    ]
    assert colours[0] != colours[1]


def test_a_film_that_the_browser_cannot_play_is_drawn_on_grey(visit, films):
    page = visit()
    read_film(page, films["avi"])
    assert "cannot play" in page.inner_text("#stage-note")
    assert drawn_box(page) is not None
    click_at(page, 0.5)
    assert "0:01.5" in page.inner_text("#clock")
    page.click("#play")
    until(page, "!document.getElementById('clock').textContent.startsWith('0:01.5')")
    with page.expect_download():
        page.click("#csv")


def test_what_is_no_film_is_refused_in_words(visit, tmp_path, server):
    page = visit(refusals=True)
    (tmp_path / "notes.mp4").write_bytes(b"this is no film" * 100)
    page.set_input_files("#file", str(tmp_path / "notes.mp4"))
    page.wait_for_selector("#error:not([hidden])", timeout=WAIT_MS)
    said = page.inner_text("#error-text")
    assert len(said) > 15 and "\n" not in said and "Traceback" not in said
    assert page.locator("#start").is_visible()
    (tmp_path / "empty.mp4").write_bytes(b"")
    page.set_input_files("#file", str(tmp_path / "empty.mp4"))
    until(page, "document.getElementById('error-text').textContent.includes('is empty')")
    page.click("#error-close")
    assert page.locator("#error").is_hidden()


def test_a_name_is_text(visit, films, tmp_path):
    page = visit()
    path = tmp_path / "<img src=x onerror=alert(1)>.webm"
    path.write_bytes(films["webm"].read_bytes())
    read_film(page, path)
    assert "<img" in page.text_content("#work-title")
    assert page.locator("#work img").count() == 0


def test_a_film_on_its_way_can_be_cancelled(visit, tmp_path, server):
    page = visit()
    path = write_film(tmp_path / "long.webm", drawn_frames() * 20, fourcc="VP80")
    job = send_film(page, path)
    until(page, f"/^frame [1-9]/.test({BUSY})")
    assert page.locator("#busy-bar").get_attribute("value") is not None
    with page.expect_request(lambda r: r.method == "DELETE" and job in r.url):
        page.click("#busy-cancel")
    assert page.locator("#start").is_visible() and page.locator("#error").is_hidden()


def test_leaving_has_the_film_forgotten(read, server):
    page, job = read
    assert results(server.url, job)
    with page.expect_response(lambda r: r.request.method == "DELETE" and job in r.url):
        page.click("#again")
    with pytest.raises(urllib.error.HTTPError) as gone:
        results(server.url, job)
    assert gone.value.code == 404


def test_a_still_is_a_film_of_one_frame(visit, tmp_path):
    page = visit()
    cv2.imwrite(str(tmp_path / "face.png"), drawn_frames()[0][..., ::-1])
    read_film(page, tmp_path / "face.png")
    assert page.locator("#stage-note").is_hidden()
    assert drawn_box(page) is not None
    assert page.locator("#play").is_disabled()


def test_a_film_without_a_face_says_so(visit, tmp_path):
    page = visit()
    grey = [np.full((120, 160, 3), 120, np.uint8)] * 10
    read_film(page, write_film(tmp_path / "grey.webm", grey, fourcc="VP80"))
    assert "No face" in page.inner_text("#emotion-now")
    assert "No face" in page.inner_text("#top-clip")
    assert drawn_box(page) is None


def test_a_long_film_is_drawn_at_once(visit):
    """An hour at 15 frames a second, 30 AUs: nobody waits for its timeline."""
    page = visit()
    took_ms = page.evaluate("""async () => {
      const { makeReading, clipSummary } = await import("/page/reading.js");
      const { Timeline } = await import("/page/timeline.js");
      const aus = Array.from({ length: 30 }, (_, i) => `${i + 1}`);
      const frames = Array.from({ length: 54_000 }, (_, i) => ({
        frame: i + 1, timestamp: i / 15, faces: [{
          id: 0, p: aus.map(() => 0.5), r: aus.map((_, a) => (a + i) % 5), c: aus.map(() => 1),
          emotions: [0.7, 0.3], why: null,
        }],
      }));
      const au = { name: "", region: "upper", ellipses: [] };
      const model = { aus: aus.map((label) => ({ label, ...au })) };
      const reading = makeReading(model, { aus, emotions: ["joy", "none"], fps: 15, frames });
      document.getElementById("work").hidden = false;
      const began = performance.now();
      const timeline = new Timeline(document.getElementById("timeline"), reading, () => 0);
      timeline.show(0);
      clipSummary(reading, 0);
      return performance.now() - began;
    }""")
    assert took_ms < 3000
