"""How fast the shipped weights are here: `python benchmarks/speed.py` on a quiet machine prints a Markdown table.

Times are medians of whole calls by the wall clock, after one that is not counted. A cold start is a
new process of the installed `mirnet` command, files read and written.
"""

import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mirnet import Enhancer, exposure, write_image
from mirnet.inference.runtimes import cores


def median_seconds(call: Callable[[], object], runs: int) -> float:
    call()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def dark_picture(width: int, height: int) -> np.ndarray:
    """A dark, grainy picture (height, width, 3) uint8; seeded."""
    random = np.random.default_rng(0)
    shapes = np.kron(random.random((height // 50 + 1, width // 50 + 1, 3), dtype=np.float32), np.ones((50, 50, 1)))
    dark = exposure.expose(shapes[:height, :width].astype(np.float32), -5)
    return np.clip(np.round(dark * 255 + random.normal(0, 2, dark.shape)), 0, 255).astype(np.uint8)


def main() -> None:
    command = shutil.which("mirnet") or sys.exit("The mirnet command is not on the PATH; activate the environment.")
    rows = []
    enhancer = Enhancer()
    for width, height, runs in ((600, 400, 15), (1024, 1024, 7), (4000, 3000, 3)):
        picture = dark_picture(width, height)
        seconds = median_seconds(lambda picture=picture: enhancer.enhance(picture), runs)
        rows.append((f"`Enhancer.enhance`, {width}x{height} array, warm", seconds))
    with tempfile.TemporaryDirectory() as folder:
        photo, result = Path(folder) / "dark.jpg", Path(folder) / "bright.jpg"
        write_image(photo, dark_picture(600, 400))
        cold = [command, "enhance", str(photo), "-o", str(result), "--overwrite"]
        rows.append(("`mirnet enhance`, 600x400 JPEG, cold start", run_seconds(cold)))
    rows.append(("`mirnet --help`", run_seconds([command, "--help"])))
    print(
        f"{platform.processor() or platform.machine()}, {cores()} cores, Python {platform.python_version()}, {when()}\n"
    )
    print("| what | seconds |\n|---|---|")
    for what, seconds in rows:
        print(f"| {what} | {seconds:.2f} |")


def run_seconds(command: list[str]) -> float:
    return median_seconds(lambda: subprocess.run(command, check=True, capture_output=True), 7)


def when() -> str:
    return time.strftime("%Y-%m-%d")


if __name__ == "__main__":
    main()
