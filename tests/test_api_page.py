"""/docs: the service, described in a browser from its own description, with nothing from elsewhere."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from page_browser import chromium
from playwright.sync_api import Browser, Locator, Page, expect
from sample_pictures import pillow_bytes, smooth
from serving import Running, with_network

from mirnet.service.problems import KINDS

WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
TOKEN = "secret"
# as in browsers that do not hold what is in sight where it is while the page grows above it
NO_ANCHORS = "addEventListener('DOMContentLoaded', () => document.documentElement.style.overflowAnchor = 'none')"
FACES = [(360, "light"), (1280, "dark")]


@dataclass
class OpenedPage:
    """The page, and what it asked for and complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def unfold(self) -> Locator:
        """Open the first operation, which has all kinds of fields."""
        operation = self.page.locator("#operations-enhance-enhance_v1_enhance_post")
        operation.locator(".opblock-summary-control").click()
        operation.locator("input[type=file]").first.wait_for()
        return operation


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with with_network(token=TOKEN) as found:
        yield found


@pytest.fixture(scope="module")
def browser(require_tool: Callable[[str], str]) -> Iterator[Browser]:
    with chromium(require_tool("chromium")) as found:
        yield found


@pytest.fixture
def come(browser: Browser, service: Running) -> Iterator[Callable[..., OpenedPage]]:
    """Opens /docs; afterwards nothing may have been asked of another host, nor been amiss or forbidden by the CSP."""
    all_opened: list[OpenedPage] = []

    def open_docs(width: int = 1280, theme: str = "light", path: str = "/docs") -> OpenedPage:
        context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)  # type: ignore[arg-type]
        opened = OpenedPage(context.new_page())
        context.on("request", lambda request: opened.asked.append(request.url))
        opened.page.on("console", lambda said: said.type == "error" and opened.complaints.append(said.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.add_init_script(f"sessionStorage.setItem('mirnet-token', '{TOKEN}')")
        opened.page.add_init_script(NO_ANCHORS)
        opened.page.goto(service.url + path)
        opened.page.locator(".opblock").first.wait_for()
        all_opened.append(opened)
        return opened

    yield open_docs
    for opened in all_opened:
        opened.page.context.close()
        own = urlsplit(service.url).netloc
        assert {urlsplit(url).netloc for url in opened.asked if not url.startswith(("data:", "blob:"))} == {own}
        assert opened.complaints == []


@pytest.mark.parametrize(("width", "theme"), FACES)
def test_every_operation_is_shown_and_can_be_read(
    come: Callable[..., OpenedPage], service: Running, width: int, theme: str
) -> None:
    opened = come(width, theme)
    opened.unfold()
    with service.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    operations = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    shown = opened.page.locator(".opblock-summary-control").all_inner_texts()
    words = [text.replace("\u200b", "").split() for text in shown]
    assert {(each[0], each[1]) for each in words} == operations
    dark = opened.page.evaluate("document.documentElement.classList.contains('dark-mode')")
    assert dark == (theme == "dark")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    found = Axe().run(opened.page, options={"runOnly": WCAG}).response["violations"]
    assert [(each["id"], each["nodes"][0]["target"]) for each in found] == []


def test_an_operation_can_be_tried_with_the_token_that_the_page_has(
    come: Callable[..., OpenedPage], tmp_path: Path
) -> None:
    photo = tmp_path / "party.jpg"
    photo.write_bytes(pillow_bytes(smooth() // 6, "JPEG"))
    opened = come()
    page, operation = opened.page, opened.unfold()
    operation.locator("input[type=file]").first.set_input_files(photo)
    with page.expect_response(re.compile("/v1/enhance")) as waiting:
        operation.locator(".execute").click()
    assert waiting.value.status == 200
    assert waiting.value.headers["content-type"] == "image/jpeg"
    operation.locator(".live-responses-table img").wait_for()


def test_every_type_of_problem_is_an_anchor_with_its_status(repository: Path) -> None:
    page = (repository / "src/mirnet/service/page/docs.html").read_text()
    told = re.findall(r'<dt id="(.+?)"><code>(.+?)</code> · (\d+) · (.+?)</dt>\s*<dd>.{20,}', page)
    assert {(name, shown, int(status), title) for name, shown, status, title in told} == {
        (name, name, status, title) for name, (status, title) in KINDS.items()
    }


def test_the_address_of_a_problem_leads_to_its_words(come: Callable[..., OpenedPage]) -> None:
    page = come(path="/docs#too-many-pixels").page
    place = page.locator("#too-many-pixels")
    expect(place).to_be_in_viewport()


def test_the_viewer_is_vendored_with_its_licence(repository: Path) -> None:
    folder = repository / "src/mirnet/service/page/vendor/swagger-ui"
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert "MIT" in (folder / "swagger-ui-bundle.js.LICENSE.txt").read_text()
    assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", (folder.parent.parent / "docs.html").read_text())
