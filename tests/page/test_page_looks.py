"""The page on a phone, in the dark, for those who want less motion; and the token."""

import pytest
from test_page_film import READ, WAIT_MS, read_film

pytestmark = [pytest.mark.long, pytest.mark.slow, pytest.mark.xdist_group("browser")]

PHONE = {"width": 360, "height": 740, "has_touch": True, "is_mobile": True}
TOKEN = "a-token-for-the-test"


def widths(page):
    return page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )


def test_a_phone_needs_no_sideways_scrolling(visit, films):
    page = visit(**PHONE)
    scroll, client = widths(page)
    assert scroll <= client == 360
    page.click("#help-open")
    assert page.locator("#help").bounding_box()["width"] <= 360
    page.click("#help-close")
    read_film(page, films["webm"])
    scroll, client = widths(page)
    assert scroll <= client == 360
    for selector in ("#play", "#csv", "#again", "#show-boxes"):
        box = page.locator(selector).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 360, selector
        assert box["height"] >= 33, f"{selector} is hard to hit with a finger"


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_dark_and_light(visit):
    assert background(visit(color_scheme="light")) == "rgb(245, 244, 240)"
    page = visit(color_scheme="dark")
    assert background(page) == "rgb(17, 20, 23)"
    page.click("#theme")  # auto -> dark
    page.click("#theme")  # dark -> light
    assert background(page) == "rgb(245, 244, 240)"
    assert "light" in page.get_attribute("#theme", "aria-label")
    page.reload()
    assert background(page) == "rgb(245, 244, 240)"


def test_less_motion_where_it_is_asked_for(visit):
    style = "getComputedStyle(document.getElementById('choose')).transitionDuration"
    assert visit(reduced_motion="reduce").evaluate(style) in ("0s", "")
    assert visit(reduced_motion="no-preference").evaluate(style) != "0s"


def test_everything_in_view_has_a_name(visit, films):
    page = visit()
    read_film(page, films["webm"])
    nameless = page.evaluate("""() =>
      [...document.querySelectorAll("button, select, input, [role=slider]")]
        .filter((node) => node.checkVisibility())
        .filter((node) => !node.textContent.trim() && !node.labels?.length)
        .filter((node) => !node.getAttribute("aria-label"))
        .map((node) => node.id)""")
    assert nameless == []
    live = page.locator("[aria-live], [role=status], [role=alert]").count()
    assert live <= 5  # a page where everything speaks says nothing


def test_a_token_is_asked_for_and_used(visit, films, start_server):
    guarded = start_server(TOKEN)
    page = visit(guarded.url, refusals=True)
    page.wait_for_selector("#token[open]")
    page.fill("#token-field", "not-the-token")
    page.keyboard.press("Enter")
    page.wait_for_selector("#token-error:not([hidden])")
    assert page.inner_text("#token-error").strip()
    page.fill("#token-field", TOKEN)
    page.keyboard.press("Enter")
    page.wait_for_selector("#token", state="hidden")
    with page.expect_response(lambda r: "/v1/films" in r.url) as sent:
        page.set_input_files("#file", str(films["webm"]))
    assert sent.value.status == 202
    page.wait_for_selector(READ, timeout=WAIT_MS)
    page.reload()  # kept as long as the tab
    page.wait_for_selector("#model-name:not(:empty)")
    page.wait_for_timeout(300)
    assert page.locator("#token").is_hidden()
