"""Photographs the page: `python docs/screenshots/make.py`, with chromium. Look at every one before you commit it.

They are shrunk and kept as lossy WebP, so that the repository stays small.
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

EXAMPLES = REPOSITORY / "examples"  # of these only pictures that are CC0: others want their credit beside them
QUALITY = 88
LARGEST_WIDTH_PX = 1000


def keep(seen: Visit, name: str) -> None:
    """Write NAME.webp of what is seen now."""
    picture = PIL.Image.open(io.BytesIO(seen.page.screenshot())).convert("RGB")
    if picture.width > LARGEST_WIDTH_PX:
        size = (LARGEST_WIDTH_PX, round(picture.height * LARGEST_WIDTH_PX / picture.width))
        picture = picture.resize(size, PIL.Image.Resampling.LANCZOS)
    path = HERE / f"{name}.webp"
    picture.save(path, quality=QUALITY, method=6)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def ready(seen: Visit, *names: str) -> None:
    seen.add(*(EXAMPLES / name for name in names))
    seen.settle()
    seen.page.wait_for_timeout(600)  # thumbnails, and what was busy fades


def wide(browser: Browser, address: str) -> None:
    with visit(browser, address, theme="dark") as seen:
        seen.page.wait_for_timeout(300)
        keep(seen, "wide-dark-welcome")
        ready(seen, "coffee-twin.jpg")
        keep(seen, "wide-dark-compare")
    with visit(browser, address, theme="light") as seen:
        seen.add({"name": "holiday-notes.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"})
        seen.settle()
        ready(seen, "rocket-at-dusk.jpg", "cat-twin.jpg", "coffee-twin.jpg")
        seen.page.click(".card:nth-child(2) .face")
        seen.settle()
        seen.slide("exposure", 0.5)
        seen.slide("denoise", 60)
        seen.settle()
        seen.page.wait_for_timeout(600)
        seen.settle()
        keep(seen, "wide-light-queue-error")


def phone(browser: Browser, address: str) -> None:
    with visit(browser, address, width=360, theme="light", device_scale_factor=1.5) as seen:
        ready(seen, "coffee-twin.jpg")
        keep(seen, "phone-light-compare")
    with visit(browser, address, width=360, theme="dark", device_scale_factor=1.5) as seen:
        ready(seen, "rocket-at-dusk.jpg")
        seen.page.click("#night")
        seen.page.locator("#strength").scroll_into_view_if_needed()
        seen.page.wait_for_timeout(600)
        seen.settle()
        keep(seen, "phone-dark-sliders")


def lost(browser: Browser) -> None:
    """The server goes while somebody works."""
    with (
        serving() as (address, process),
        visit(browser, address, width=360, theme="dark", device_scale_factor=1.5) as seen,
    ):
        ready(seen, "cat-twin.jpg")
        process.kill()
        seen.slide("exposure", 1)
        seen.page.wait_for_selector("#banner:not([hidden])")
        keep(seen, "phone-dark-server-lost")


def main() -> None:
    program = shutil.which("chromium")
    if program is None:
        sys.exit(
            "The page is photographed with chromium, which is not here; install it (on Debian: apt install chromium)."
        )
    with chromium(program) as browser:
        with serving() as (address, _):
            wide(browser, address)
            phone(browser, address)
        lost(browser)


if __name__ == "__main__":
    main()
