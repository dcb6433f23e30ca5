"""Measures how fast the page follows a slider: `python benchmarks/page.py PHOTO`, with chromium, on an idle machine.

The time from the moment that the exposure slider stops until the server's first rendering is on screen; the same if the
slider moves again while the previous rendering is still being refined; and the time of a blend of denoise or strength
in the browser; medians of seven, in milliseconds.
"""

import argparse
import os
import shutil
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from page_browser import chromium, serving, visit

RENDERED = """async (stops) => {
    const { desk } = await import('/page/main.js');
    const slider = document.querySelector('#exposure');
    const before = desk.developer.whole;
    const start = performance.now();
    slider.value = stops;
    slider.dispatchEvent(new Event('input'));
    while (desk.developer.whole === before) await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""
BLENDED = """async (percent) => {
    const slider = document.querySelector('#denoise');
    const start = performance.now();
    slider.value = percent;
    slider.dispatchEvent(new Event('input'));
    await new Promise(requestAnimationFrame);
    return performance.now() - start;
}"""


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photo", type=Path, help="a photograph, of as many megapixels as you like")
    photo = parser.parse_args().photo
    program = shutil.which("chromium")
    if program is None:
        sys.exit("This measures with chromium, which is not here; install it (on Debian: apt install chromium).")
    with chromium(program) as browser, serving() as (address, _), visit(browser, address) as seen:
        seen.add(photo)
        seen.page.wait_for_selector(".card")
        seen.settle()
        rendered, restless = [], []
        for stops in (0.5, 1.0, 1.5, -0.5, -1.0, 0.3, 0.8):
            rendered.append(seen.page.evaluate(RENDERED, stops))
            seen.settle()
        for number, stops in enumerate((0.5, 1.0, 1.5, -0.5, -1.0, 0.3, 0.8)):
            restless.append(seen.page.evaluate(RENDERED, stops))
            seen.page.wait_for_timeout(200 + 100 * number)
        seen.settle()
        pixels = seen.desk("desk.developer.whole.after.width * desk.developer.whole.after.height")
        blended = [seen.page.evaluate(BLENDED, percent) for percent in (10, 40, 90, 60, 20, 70, 30)]
    print(f"load of this machine: {os.getloadavg()[0]:.1f}")
    told("exposure, first rendering on the stage", rendered)
    told("the same, while another is sharpened", restless)
    told(f"denoise, blended at {pixels / 1e6:.2f} megapixels", blended)


def told(what: str, milliseconds: list[float]) -> None:
    print(f"{what}: {statistics.median(milliseconds):.0f} ms, {max(milliseconds):.0f} at most")


if __name__ == "__main__":
    main()
