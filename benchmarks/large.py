"""Measures memory and time of a large image: `python benchmarks/large.py PHOTO --megapixels 400 --suffix .tif`.

An image of that size is made from PHOTO, enlarged and with new grain, and goes through `mirnet enhance`, a process of
its own. Prints its peak resident memory and its core-seconds a megapixel, start included, as a Markdown table. Needs
disk space: three bytes a pixel for the image, as many for the waiting rows, and the result. Linux.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import pyvips

GRAIN = 3.0  # of 255: what is perfectly smooth would be packed to nothing
ASPECT = 4 / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[100.0])
    parser.add_argument("--suffix", default=".tif", choices=[".tif", ".jpg"])
    parser.add_argument("--folder", type=Path, help="where there is room; default: the system's for temporary files")
    asked = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    print("| picture | peak memory, MB | core-seconds a megapixel | seconds |\n|---|---|---|---|")
    for megapixels in asked.megapixels:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            source = made(asked.photo, Path(folder) / f"large{asked.suffix}", megapixels)
            peak_mb, core_seconds, seconds = measured(source)
        print(f"| {megapixels:g} megapixels, {asked.suffix} | {peak_mb:.0f} | {core_seconds / megapixels:.2f} "
              f"| {seconds:.0f} |", flush=True)  # fmt: skip


def made(photo: Path, path: Path, megapixels: float) -> Path:
    """A picture of so many megapixels, written as a stream."""
    height = round((megapixels * 1e6 / ASPECT) ** 0.5)
    width = round(height * ASPECT)
    small = pyvips.Image.new_from_file(str(photo))
    large = small.resize(max(width / small.width, height / small.height)).crop(0, 0, width, height)
    grainy = large + pyvips.Image.gaussnoise(width, height, mean=0, sigma=GRAIN)
    grainy.cast("uchar").copy(interpretation="srgb").write_to_file(str(path))
    return path


def measured(source: Path) -> tuple[float, float, float]:
    """Peak resident megabytes, core-seconds and seconds of one command."""
    began = time.monotonic()
    command = [sys.executable, "-m", "mirnet", "enhance", str(source), "-o", str(source.with_stem("result"))]
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    process = os.posix_spawn(sys.executable, command, os.environ, file_actions=quiet)
    _, status, used = os.wait4(process, 0)
    if status:
        sys.exit(f"mirnet enhance ended with {os.waitstatus_to_exitcode(status)}.")
    return used.ru_maxrss / 1000 * 1.024, used.ru_utime + used.ru_stime, time.monotonic() - began


if __name__ == "__main__":
    main()
