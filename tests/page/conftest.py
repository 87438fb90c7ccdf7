"""A real browser, a real server with a tiny network, and films that need no real face."""

from pathlib import Path

import pytest
from page_tools import (
    ARGUMENTS,
    CHROMIUM,
    Server,
    drawn_frames,
    watch,
    write_film,
    write_tiny,
)


@pytest.fixture(scope="session")
def playwright():
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright: jaxfacs[browser]")
    if not Path(CHROMIUM).exists():
        pytest.skip("needs Chromium, as Debian's package; or set JAXFACS_CHROMIUM")
    with api.sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright):
    opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """A network whose answers follow the colour of the face, and the manual's emotions."""
    from jaxfacs import emotion

    path = tmp_path_factory.mktemp("page") / "tiny.jaxfacs"
    mapper = emotion.named("facs_manual").to_json()
    return write_tiny(path, per_frame=True, intensity=True, mapper=mapper)


@pytest.fixture(scope="session")
def start_server(bundle, tmp_path_factory):
    servers = []

    def start(token=""):
        servers.append(Server(bundle, tmp_path_factory.mktemp("server"), token))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(start_server, playwright):
    return start_server()


@pytest.fixture
def visit(browser, server):
    """Opens the page in a fresh context; afterwards nothing may have gone wrong in it."""
    opened = []

    def open_page(url=None, *, refusals=False, width=1280, height=900, **context):
        url = url or server.url
        made = browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **context
        )
        page = made.new_page()
        opened.append((made, watch(page, url, refusals=refusals)))
        page.goto(url)
        page.wait_for_selector("#model-name:not(:empty)", state="attached")
        return page

    yield open_page
    for made, _ in opened:
        made.close()
    assert [wrong for _, wrong in opened if wrong] == []


@pytest.fixture(scope="session")
def films(tmp_path_factory):
    """Films by kind: one that browsers play, one that they do not, one of two people."""
    folder = tmp_path_factory.mktemp("films")
    return {
        "webm": write_film(folder / "drawn.webm", drawn_frames(), fourcc="VP80"),
        "avi": write_film(folder / "drawn.avi", drawn_frames(), fourcc="MJPG"),
        "two": write_film(folder / "two.webm", drawn_frames(2), fourcc="VP80"),
    }
