"""A real browser before the real `mirnet serve`: what tests/test_page.py and docs/screenshots/make.py share."""

import base64
import io
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

WIDTHS = {360: 740, 1280: 800}  # a phone and a desk: width to height
SECONDS = 30.0  # on a busy machine everything takes long
SETTLED = """async () => {
    const { desk } = await import('/page/main.js');
    const busy = document.querySelector('#stage').getAttribute('aria-busy') === 'true';
    return !busy && desk.pictures.all.every(({ state }) => ['ready', 'failed'].includes(state))
        && (desk.developer.whole !== null || desk.developer.picture === null);
}"""


@contextmanager
def serving(*arguments: str, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`mirnet serve` as a process of its own: its address without a token, and the process."""
    command = [sys.executable, "-m", "mirnet", "serve", "--port", str(port), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://[\d.:]+/", said)
        assert found, f"mirnet serve said {said!r}"
        address = found[0]
        _wait_for(address + "healthz")
        yield address, process
    finally:
        process.kill()
        process.communicate()


def _wait_for(address: str) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            with urllib.request.urlopen(address, timeout=SECONDS):
                return
        except OSError:
            assert time.monotonic() < end, f"{address} does not answer"
            time.sleep(0.05)


@contextmanager
def chromium(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """An open page, with the requests that it made and the complaints of the browser."""

    page: Page
    origin: str
    requests: list[str] = field(default_factory=list)  # "METHOD address"
    complaints: list[str] = field(default_factory=list)  # of the browser: broken scripts, what the CSP forbade

    @property
    def abroad(self) -> list[str]:
        """Requests beyond the own origin."""
        own = (self.origin, f"blob:{self.origin}", "data:")
        return [each for each in self.requests if not each.split(" ", 1)[1].startswith(own)]

    def asked(self, pattern: str) -> list[str]:
        return [each for each in self.requests if re.search(pattern, each)]

    def wait_until_shown(self) -> None:
        """Wait until every picture is ready or failed, and the page shows all that it will."""
        for _ in range(2):  # a change of the view is noticed in the next frame, and asks for pixels in the one after
            self.frame()
        self.until(SETTLED)
        self.frame()  # stage and histogram are drawn in the frame after their pixels came

    def frame(self) -> None:
        """Wait until the page has drawn what it put off to its next frame."""
        self.page.evaluate("new Promise(requestAnimationFrame)")

    def until(self, script: str) -> None:
        """Wait until a JavaScript expression is true. Playwright's own way is an eval, which our CSP forbids."""
        end = time.monotonic() + SECONDS
        while not self.page.evaluate(script):
            assert time.monotonic() < end, f"still not so after {SECONDS:g} s: {script}"
            self.frame()

    def until_still(self, selector: str) -> None:
        """Wait until an element keeps its place from one frame to the next."""
        place = self.page.locator(selector).bounding_box
        before, now = None, place()
        while before != now:
            self.frame()
            self.frame()
            before, now = now, place()

    def add(self, *files: dict[str, Any] | Path) -> None:
        self.page.set_input_files("#files", list(files))  # type: ignore[arg-type]

    def slide(self, name: str, value: float) -> None:
        """Move a slider as a hand does: it says so with every step."""
        self.page.locator(f"#{name}").evaluate(
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
        )

    def desk(self, expression: str, argument: Any = None) -> Any:
        """The value of JavaScript in which `desk` is what the page's main.js exports."""
        script = f"async (argument) => {{ const {{ desk }} = await import('/page/main.js'); return {expression}; }}"
        return self.page.evaluate(script, argument)

    def shown(self, side: str) -> np.ndarray:
        """(h, w, 4) uint8: the whole picture as it is shown, at the resolution that the page has of it."""
        return pixels_of(self.desk("desk.developer.whole[argument].toDataURL()", side))


def pixels_of(address: str) -> np.ndarray:
    """(h, w, 4) uint8 of a canvas as a data address holds it: lossless, and quicker than a list of numbers."""
    content = base64.b64decode(address.split(",", 1)[1])
    return np.asarray(PIL.Image.open(io.BytesIO(content)).convert("RGBA"))


@contextmanager
def visit(browser: Browser, origin: str, *, width: int = 1280, theme: str = "dark", path: str = "",
          **options: Any) -> Iterator[Visit]:  # fmt: skip
    """Open the page; phones have a touch screen."""
    phone = width < 600
    context = browser.new_context(
        viewport={"width": width, "height": WIDTHS[width]}, color_scheme=theme,  # type: ignore[arg-type]
        has_touch=phone, is_mobile=phone, accept_downloads=True, **options,
    )  # fmt: skip
    try:
        page = context.new_page()
        page.set_default_timeout(1000 * SECONDS)
        seen = Visit(page, origin)

        def note(request: Request) -> None:
            seen.requests.append(f"{request.method} {request.url}")

        def complain(message: ConsoleMessage) -> None:
            # that a request was answered by an error, or not at all, is for the page to show
            if message.type == "error" and "Failed to load resource" not in message.text:
                seen.complaints.append(message.text)

        context.on("request", note)
        page.on("console", complain)
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.goto(origin + path)
        seen.until("document.querySelector('#format').options.length > 1 || document.querySelector('#token').open")
        yield seen
    finally:
        context.close()


def dark_file(
    height: int = 120, width: int = 160, *, name: str = "party.jpg", seed: int = 0, depth: int = 8
) -> dict[str, Any]:
    """A small dark photograph, as what one chooses in a file dialog: smooth shapes with a sensor's noise."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    shapes = np.stack([down, across, 0.5 + 0.5 * np.sin(9 * down * across)], axis=-1)
    values = np.clip(0.16 * shapes + random.normal(0, 0.01, shapes.shape), 0, 1)
    content = io.BytesIO()
    suffix = name.rsplit(".", 1)[1]
    if depth == 16:
        import tifffile

        tifffile.imwrite(content, np.rint(65535 * values).astype(np.uint16), photometric="rgb")
    else:
        picture = PIL.Image.fromarray(np.rint(255 * values).astype(np.uint8))
        picture.save(content, {"jpg": "JPEG", "png": "PNG", "tif": "TIFF"}[suffix.lower()], quality=92)
    kinds = {"jpg": "image/jpeg", "png": "image/png", "tif": "image/tiff"}
    return {"name": name, "mimeType": kinds[suffix.lower()], "buffer": content.getvalue()}
