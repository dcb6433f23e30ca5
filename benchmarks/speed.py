"""Measures the speed of the shipped weights: `python benchmarks/speed.py` prints a Markdown table, in six minutes.

Alternatives take turns in one run, and a ratio is the median of the ratios of the turns. What the network is compared
with, the plain convolutions and the network with the paper's resizing, is made here, with random weights. Times are
elapsed times; a cold start is a new process of the installed `mirnet` command, files read and written. Names of parts
as arguments run only these.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from mirnet import Enhancer, exposure, write_image
from mirnet.errors import SettingsError
from mirnet.inference import catalog
from mirnet.inference.runtimes import OpenVINORuntime, Runtime, cores, open_runtime, openvino_runtime
from mirnet.inference.runtimes.openvino_runtime import STREAMS, fast_precision
from mirnet.inference.tiles import TILE_PX

PHOTO_PX = (4000, 3000)
SMALL_PX = (600, 400)
LITE = catalog.find("lite")
SEEN_PX = TILE_PX + 2 * LITE.card.overlap_px
CONVOLUTIONS = 6
# a pixel of the picture, at a quarter of whose sides they run
CONVOLUTIONS_KFLOP_PER_PX = CONVOLUTIONS * 2 * 9 * 64 * 64 / 4**2 / 1e3
Row = tuple[str, str]


def interleaved(calls: dict[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Seconds of each call in each turn, after one turn that is not counted."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(turns):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def dark_picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A dark, grainy picture (height, width, 3) uint8; seeded."""
    random = np.random.default_rng(seed)
    shapes = np.kron(random.random((height // 50 + 1, width // 50 + 1, 3), dtype=np.float32), np.ones((50, 50, 1)))
    dark = exposure.expose(shapes[:height, :width].astype(np.float32), -5)
    return np.clip(np.round(dark * 255 + random.normal(0, 2, dark.shape)), 0, 255).astype(np.uint8)


# --- the network alone ----------------------------------------------------------------------------


def network() -> list[Row]:
    """Tiles of the default size, as many at once as `render` has, against convolutions and the paper's resizing."""
    calls = {
        "ours": tiles_of(open_runtime("openvino", LITE), LITE.card.scene_size),
        "convolutions": convolutions(),
        "paper": tiles_of(*paper()),
    }
    seconds = interleaved(calls, 5)
    pixels = STREAMS * SEEN_PX**2
    works = {"ours": LITE.card.kflop_per_px, "convolutions": CONVOLUTIONS_KFLOP_PER_PX}
    rates = {name: pixels * work / statistics.median(seconds[name]) / 1e6 for name, work in works.items()}
    share = ratio(seconds["convolutions"], seconds["ours"]) * LITE.card.kflop_per_px / CONVOLUTIONS_KFLOP_PER_PX
    return [
        ("network, default weights", f"{rates['ours']:.0f} GFLOP/s, "
         f"{pixels / statistics.median(seconds['ours']) / 1e6:.2f} megapixels/s"),
        ("plain 64-channel 3x3 convolutions", f"{rates['convolutions']:.0f} GFLOP/s"),
        ("the network's share of theirs", f"{share:.0%}"),
        ("times the megapixels of 32 features, stem 2, 1 x 1, the paper's resizing, untied",
         f"{ratio(seconds['paper'], seconds['ours']):.2f}"),
    ]  # fmt: skip


def tiles_of(runtime: Runtime, scene_size: int) -> Callable[[], object]:
    random = np.random.default_rng(0)
    picture = random.random((1, 3, SEEN_PX, SEEN_PX), dtype=np.float32)
    stops, scene = np.full((1, 1, SEEN_PX, SEEN_PX), 3, np.float32), np.full(scene_size, 0.1, np.float32)
    pool = ThreadPoolExecutor(STREAMS)
    return lambda: list(pool.map(lambda _: runtime.restore(picture, stops, scene), range(STREAMS)))


def convolutions() -> Callable[[], object]:
    """Six in a row at a quarter of the tile's sides, where the network has its 64 channels; a request a stream."""
    ov, random = openvino_runtime.import_openvino(), np.random.default_rng(0)
    from openvino import opset13 as op

    side = SEEN_PX // 4
    flow = entry = op.parameter([1, 64, side, side], np.float32)
    for _ in range(CONVOLUTIONS):
        weights = random.normal(0, 1 / 24, (64, 64, 3, 3)).astype(np.float32)
        flow = op.convolution(flow, op.constant(weights), [1, 1], [1, 1], [1, 1], [1, 1])
    config = {"INFERENCE_PRECISION_HINT": "f32", "NUM_STREAMS": STREAMS, "INFERENCE_NUM_THREADS": cores()}
    compiled = ov.Core().compile_model(ov.Model([flow], [entry]), "CPU", config)
    requests = [compiled.create_infer_request() for _ in range(STREAMS)]
    x = random.random((1, 64, side, side), dtype=np.float32)
    pool = ThreadPoolExecutor(STREAMS)
    return lambda: list(pool.map(lambda request: request.infer([x]), requests))


def paper() -> tuple[Runtime, int]:
    """32 features, stem 2, 1 RRG of 1 MRB, the paper's resizing, untied: by the same runtime."""
    from mirnet.export.onnx_graph import to_onnx
    from mirnet.network import Lite, LiteConfig

    built = Lite(LiteConfig(resizing="paper")).eval()
    return OpenVINORuntime(to_onnx(built), built.scene_size()), built.scene_size()


# --- pictures -------------------------------------------------------------------------------------


class Counting:
    """A runtime that adds up the seconds in which at least one call was inside it."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self.precision = runtime, runtime.precision
        self.seconds, self._inside, self._since, self._lock = 0.0, 0, 0.0, threading.Lock()

    def restore(self, *inputs: Any) -> Any:
        return self._counted(self._runtime.restore, *inputs)

    def propose(self, *inputs: Any) -> Any:
        return self._counted(self._runtime.propose, *inputs)

    def _counted(self, call: Callable[..., Any], *inputs: Any) -> Any:
        with self._lock:
            self._since = time.perf_counter() if self._inside == 0 else self._since
            self._inside += 1
        try:
            return call(*inputs)
        finally:
            with self._lock:
                self._inside -= 1
                self.seconds += time.perf_counter() - self._since if self._inside == 0 else 0.0


def photo() -> list[Row]:
    """A JPEG of 12 megapixels end to end, and in each fast way; how long the network alone takes for as much."""
    ways = {"default": open_runtime("openvino", LITE)}
    if fast_precision() == "bf16":
        ways["bf16"] = open_runtime("openvino", LITE, fast=True)
    try:
        rounded = catalog.find_int8(LITE)
        ways["int8"] = OpenVINORuntime(rounded.read_verified(), rounded.card.scene_size, precision="int8")
    except SettingsError:
        print("There are no int8 weights.", file=sys.stderr)
    counting = Counting(ways["default"])
    enhancers = {name: Enhancer(runtime=counting if name == "default" else way) for name, way in ways.items()}
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "dark.jpg"
        write_image(source, dark_picture(*PHOTO_PX))
        alone: list[float] = []

        def default() -> None:
            before = counting.seconds
            enhancers["default"].enhance(source, overwrite=True)
            alone.append(counting.seconds - before)

        calls: dict[str, Callable[[], object]] = {
            name: (default if name == "default" else lambda each=each: each.enhance(source, overwrite=True))
            for name, each in enhancers.items()
        }
        seconds = interleaved(calls, 3)
    outside = statistics.median(1 - inside / total for inside, total in zip(alone[1:], seconds["default"], strict=True))
    rows = [("12-megapixel JPEG, end to end", f"{statistics.median(seconds['default']):.2f} s"),
            ("of which no tile is in the network", f"{outside:.1%}")]  # fmt: skip
    for name in list(ways)[1:]:
        gained = ratio(seconds["default"], seconds[name])
        rows.append(
            (f"--fast by {name}, 12 megapixels", f"{statistics.median(seconds[name]):.2f} s, {gained:.2f} times")
        )
    return rows


def starts() -> list[Row]:
    """600x400: warm in one process, cold from the shell with the cache of compiled networks, without, and --help."""
    command = shutil.which("mirnet") or sys.exit("The mirnet command is not on the PATH; activate the environment.")
    enhancer, picture = Enhancer(), dark_picture(*SMALL_PX)
    warm = interleaved({"warm": lambda: enhancer.enhance(picture)}, 15)["warm"]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "dark.jpg"
        write_image(source, picture)
        enhance = [command, "enhance", str(source), "-o", f"{folder}/bright.jpg", "--overwrite"]
        kept = {**os.environ, "MIRNET_CACHE": f"{folder}/kept"}
        first = [0.0]

        def very_first() -> None:
            shutil.rmtree(f"{folder}/new", ignore_errors=True)
            started = time.perf_counter()
            run(enhance, {**os.environ, "MIRNET_CACHE": f"{folder}/new"})
            first.append(time.perf_counter() - started)

        seconds = interleaved({"cold": lambda: run(enhance, kept), "first": very_first,
                               "help": lambda: run([command, "--help"], kept)}, 7)  # fmt: skip
    return [("600x400 array, warm", f"{statistics.median(warm):.3f} s"),
            ("600x400 JPEG, cold start from the shell", f"{statistics.median(seconds['cold']):.2f} s"),
            ("the very first run, which fills the cache", f"{statistics.median(seconds['first']):.2f} s"),
            ("`mirnet --help`", f"{statistics.median(seconds['help']):.2f} s")]  # fmt: skip


def many(count: int = 200) -> list[Row]:
    """A folder in one command against a loop of `Enhancer` calls in one process, both with files."""
    command = shutil.which("mirnet") or sys.exit("The mirnet command is not on the PATH; activate the environment.")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "dark"
        source.mkdir()
        for number in range(count):
            write_image(source / f"{number:03}.jpg", dark_picture(*SMALL_PX, seed=number % 8))
        loop = (
            "import sys\nfrom pathlib import Path\nfrom mirnet import Enhancer\nenhancer = Enhancer()\n"
            "for path in sorted(Path(sys.argv[1]).iterdir()):\n    enhancer.enhance(path, overwrite=True)\n"
        )
        copy = Path(folder) / "loop"
        shutil.copytree(source, copy)
        environment = {**os.environ, "MIRNET_CACHE": f"{folder}/kept"}
        originals = sorted(copy.iterdir())

        def in_a_loop() -> None:
            for path in copy.iterdir():
                if path not in originals:
                    path.unlink()
            run([sys.executable, "-c", loop, str(copy)], environment)

        whole = [command, "enhance", str(source), "-o", f"{folder}/bright", "--overwrite"]
        seconds: dict[str, list[float]] = {"command": [], "loop": []}
        for _ in range(2):
            for name, call in (("command", lambda: run(whole, environment)), ("loop", in_a_loop)):
                started = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - started)
    return [
        (f"{count} pictures of 600x400 in one command", f"{statistics.median(seconds['command']):.1f} s"),
        ("a loop of `Enhancer` calls takes", f"{ratio(seconds['loop'], seconds['command']):.2f} times as long"),
    ]


def run(command: list[str], environment: dict[str, str]) -> None:
    subprocess.run(command, check=True, capture_output=True, env=environment)


PARTS = {"network": network, "photo": photo, "starts": starts, "many": many}


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {cores()} cores, Python {platform.python_version()}, "
          f"OpenVINO {openvino_runtime.import_openvino().get_version()}, {time.strftime('%Y-%m-%d')}\n")  # fmt: skip
    print("| what | here |\n|---|---|")
    for part in sys.argv[1:] or PARTS:
        for what, here in PARTS[part]():
            print(f"| {what} | {here} |", flush=True)


if __name__ == "__main__":
    main()
