"""Takes screenshots of the page: `python docs/screenshots/make.py`, with chromium. Check each before you commit it.

They are shrunk and stored as lossy WebP, so that the repository stays small.
"""

import io
import shutil
import sys
from pathlib import Path

import PIL.Image
from playwright.sync_api import Browser

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from page_browser import Visit, chromium, serving, visit  # type: ignore[import-not-found]  # noqa: E402

EXAMPLES = REPOSITORY / "examples"  # only photos under CC0 or public domain: others need their credit beside them
QUALITY = 88
LARGEST_WIDTH_PX = 1000


def save_screenshot(seen: Visit, name: str) -> None:
    """Writes NAME.webp, a screenshot of the page as it is."""
    image = PIL.Image.open(io.BytesIO(seen.page.screenshot())).convert("RGB")
    if image.width > LARGEST_WIDTH_PX:
        size = (LARGEST_WIDTH_PX, round(image.height * LARGEST_WIDTH_PX / image.width))
        image = image.resize(size, PIL.Image.Resampling.LANCZOS)
    path = HERE / f"{name}.webp"
    image.save(path, quality=QUALITY, method=6)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def add_photos(seen: Visit, *names: str) -> None:
    seen.add(*(EXAMPLES / name for name in names))
    seen.settle()
    seen.page.wait_for_timeout(600)  # until thumbnails are drawn and indicators have faded


def wide(browser: Browser, address: str) -> None:
    with visit(browser, address, theme="dark") as seen:
        seen.page.wait_for_timeout(300)
        save_screenshot(seen, "wide-dark-welcome")
        add_photos(seen, "coffee-twin.jpg")
        save_screenshot(seen, "wide-dark-compare")
    with visit(browser, address, theme="light") as seen:
        seen.add({"name": "holiday-notes.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
        seen.settle()
        add_photos(seen, "rocket-at-dusk.jpg", "cat-twin.jpg", "coffee-twin.jpg")
        seen.page.click(".card:nth-child(2) .face")
        seen.settle()
        seen.slide("exposure", 0.5)
        seen.slide("denoise", 60)
        seen.settle()
        seen.page.wait_for_timeout(600)
        seen.settle()
        save_screenshot(seen, "wide-light-queue-error")


def phone(browser: Browser, address: str) -> None:
    with visit(browser, address, width=360, theme="light", device_scale_factor=1.5) as seen:
        add_photos(seen, "coffee-twin.jpg")
        save_screenshot(seen, "phone-light-compare")
    with visit(browser, address, width=360, theme="dark", device_scale_factor=1.5) as seen:
        add_photos(seen, "rocket-at-dusk.jpg")
        seen.page.click("#night")
        seen.page.locator("#strength").scroll_into_view_if_needed()
        seen.page.wait_for_timeout(600)
        seen.settle()
        save_screenshot(seen, "phone-dark-sliders")


def lost(browser: Browser) -> None:
    """The server goes while somebody works."""
    with (
        serving() as (address, process),
        visit(browser, address, width=360, theme="dark", device_scale_factor=1.5) as seen,
    ):
        add_photos(seen, "cat-twin.jpg")
        process.kill()
        seen.slide("exposure", 1)
        seen.page.wait_for_selector("#banner:not([hidden])")
        save_screenshot(seen, "phone-dark-server-lost")


def main() -> None:
    program = shutil.which("chromium")
    if program is None:
        sys.exit("Screenshots need chromium, which is not installed; install it (on Debian: apt install chromium).")
    with chromium(program) as browser:
        with serving() as (address, _):
            wide(browser, address)
            phone(browser, address)
        lost(browser)


if __name__ == "__main__":
    main()
