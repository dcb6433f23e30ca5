"""Measures many images: `python benchmarks/many.py memory` or `python benchmarks/many.py speed`; prints Markdown.

`memory`: the resident memory of one `mirnet enhance FOLDER` over 10,000 small images, at every 500th of them (Linux).
`speed`: 200 images of 600x400 in one command against a loop of `Enhancer.enhance` over the same files, each in a
process of its own, in turn; seconds are of the whole process, so loading counts on both sides.
"""

import argparse
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mirnet import exposure, write_image
from mirnet.inference.runtimes import cores

LOOP = """
import sys; from pathlib import Path; import mirnet
enhancer, out = mirnet.Enhancer(), Path(sys.argv[2]); out.mkdir()
for source in sorted(Path(sys.argv[1]).iterdir()):
    result = enhancer.enhance(source.read_bytes())
    (out / source.name).write_bytes(result)
"""


def dark_picture(width: int, height: int, seed: int) -> np.ndarray:
    """A dark, grainy picture (height, width, 3) uint8."""
    draw = np.random.default_rng(seed)
    shapes = np.kron(draw.random((height // 50 + 1, width // 50 + 1, 3), dtype=np.float32), np.ones((50, 50, 1)))
    dark = exposure.expose(shapes[:height, :width].astype(np.float32), -5)
    return np.clip(np.round(dark * 255 + draw.normal(0, 2, dark.shape)), 0, 255).astype(np.uint8)


def enhance_command(pictures: Path, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "mirnet", "enhance", str(pictures), "-o", str(out), *options]


def resident_megabytes(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def memory(folder: Path, count: int, jobs: int) -> None:
    picture = folder / "one.jpg"
    write_image(picture, dark_picture(64, 64, 0))
    for number in range(count):
        target = folder / f"in/{number // 100:03}/{number:05}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, target)
    options = ["--recursive", "--jobs", str(jobs), "--report", str(folder / "report.jsonl")]
    command = enhance_command(folder / "in", folder / "out", *options)
    began, said = time.monotonic(), ""
    print("\n| pictures | resident memory, MB | seconds |\n|---|---|---|")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout, 1):
            said = line
            if number in (1, 100) or (number % 500 == 0 and number <= count):
                seconds = time.monotonic() - began
                print(f"| {number:,} | {resident_megabytes(process.pid):.0f} | {seconds:.0f} |", flush=True)
        print(f"\nThe command ended with {process.wait()}: {said.strip()}")


def speed(folder: Path, count: int, rounds: int, jobs: list[int]) -> None:
    for number in range(count):
        target = folder / f"in/{number:03}.jpg"
        target.parent.mkdir(exist_ok=True)
        write_image(target, dark_picture(600, 400, number))
    ways = {"loop of `Enhancer.enhance`": [sys.executable, "-c", LOOP, str(folder / "in"), str(folder / "out")]}
    for each in jobs:
        ways[f"`mirnet enhance --jobs {each}`"] = enhance_command(folder / "in", folder / "out", "--jobs", str(each))
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, command in ways.items():
            shutil.rmtree(folder / "out", ignore_errors=True)
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times[way].append(time.perf_counter() - began)
            print(f"{way}: {times[way][-1]:.1f} s", file=sys.stderr, flush=True)
    first = next(iter(times.values()))
    print("| way | seconds, median | the loop's seconds over these, median of rounds |\n|---|---|---|")
    for way, seconds in times.items():
        ratio = statistics.median(a / b for a, b in zip(first, seconds, strict=True))
        print(f"| {way} | {statistics.median(seconds):.1f} | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["memory", "speed"])
    parser.add_argument("--count", type=int, help="Pictures; 10,000 for memory, 200 for speed.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, nargs="*", default=[2])
    asked = parser.parse_args()
    print(f"{platform.machine()}, {cores()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}")
    with tempfile.TemporaryDirectory() as folder:
        if asked.what == "memory":
            memory(Path(folder), asked.count or 10_000, asked.jobs[0])
        else:
            speed(Path(folder), asked.count or 200, asked.rounds, asked.jobs)


if __name__ == "__main__":
    main()
