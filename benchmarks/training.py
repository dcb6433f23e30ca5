"""Compares the speed of our training loop with a plain one: `python benchmarks/training.py` prints a Markdown table.

The plain loop is the one of most tutorials: float32, contiguous tensors, a DataLoader that opens two PNG files for each
crop. Network, first weights, batch, loss and optimiser are the same. All loops take turns, a few steps each, so that
other load on the machine affects all of them; a row's ratio is the median over the turns, with the interval that holds
95 % of its bootstrap medians.
"""

import argparse
import contextlib
import copy
import functools
import itertools
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mirnet import write_image
from mirnet.datasets.pair_store import PairStore
from mirnet.network import Lite, SceneNetwork, build
from mirnet.network.lite import expose
from mirnet.pairs import Pair
from mirnet.training import loop, recipes
from mirnet.training.batches import CropMix, make_dimensions_uniform, normalise
from mirnet.training.losses import charbonnier
from mirnet.training.observer import SILENT
from mirnet.training.optimisation import Optimisation
from mirnet.training.prefetching import BatchPrefetcher, BatchRequest
from mirnet.training.processes import launch
from mirnet.training.runs.folder import RunFolder
from mirnet.training.settings import TrainSettings

CROPS = {"lite": (128, 8), "paper": (64, 4), "v2-paper": (64, 4)}  # pixels a side, crops in a batch
Step = Callable[[], float]  # one update; gives the seconds that it waited for data


@dataclass(frozen=True)
class Variant:
    """Our loop, or a part of it."""

    name: str
    precision: str = "float32"
    ahead: bool = True  # the next batch is made in a thread
    compiled: bool = False
    crop_mix: CropMix = CropMix()


VARIANTS = (
    Variant("ours, float32"),
    Variant("ours, bf16", precision="bf16"),
)
PARTS = (
    Variant("float32, no batch ahead", ahead=False),
    Variant("bf16, no batch ahead", precision="bf16", ahead=False),
    Variant("float32, torch.compile", compiled=True),
    Variant("bf16, torch.compile", precision="bf16", compiled=True),
    Variant("bf16, with the whole crop mix of recipe lite", precision="bf16", crop_mix=recipes.LITE.crop_mix),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="lite", choices=sorted(CROPS))
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--steps", type=int, default=4, help="in a turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--parts", action="store_true", help="also what each part of our loop brings")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    crop, batch = CROPS[chosen.preset]
    variants = VARIANTS + (PARTS if chosen.parts else ())
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        pairs = write_pairs(Path(folder))
        network = build(chosen.preset)
        network.requires_grad_(True)
        loops = {"plain loop": stack.enter_context(plain(network, pairs, crop, batch, chosen.device))}
        if chosen.parts:
            last = plain(network, pairs, crop, batch, chosen.device, torch.channels_last)
            loops["plain loop, channels_last"] = stack.enter_context(last)
        for variant in variants:
            print(f"preparing: {variant.name} ...", file=sys.stderr, flush=True)
            settings = TrainSettings(chosen.preset, device=chosen.device, precision=variant.precision)  # type: ignore[arg-type]
            with contextlib.suppress(torch._dynamo.exc.BackendCompilerFailed):
                loops[variant.name] = stack.enter_context(ours(network, pairs, crop, batch, settings, variant))
        seconds, waited = measure(loops, chosen.turns, chosen.steps, chosen.device)
    print(f"{machine(chosen)}; `{chosen.preset}`, {batch} crops of {crop} px\n")
    print("| loop | crops a second | times the plain loop (95 %) | waiting for data |\n|---|---|---|---|")
    for name, times in seconds.items():
        ratios = np.array(seconds["plain loop"]) / np.array(times)
        low, high = interval(ratios)
        told = f"{np.median(ratios):.2f} ({low:.2f} to {high:.2f})" if name != "plain loop" else "1"
        share = sum(waited[name]) / sum(times)
        print(f"| {name} | {batch * chosen.steps / np.median(times):.1f} | {told} | {100 * share:.1f} % |")


def write_pairs(folder: Path, count: int = 24) -> list[Pair]:
    """Pairs of 600x400 PNG files, as LOL's are; seeded."""
    random = np.random.default_rng(0)
    pairs = []
    for number in range(count):
        coarse = random.integers(20, 250, (16, 24, 3), dtype=np.uint8)
        bright = np.asarray(Image.fromarray(coarse).resize((600, 400), Image.Resampling.BICUBIC))
        dark = np.clip(bright / 12 + random.normal(0, 2, bright.shape), 0, 255).astype(np.uint8)
        pair = Pair(str(number), folder / f"{number} dark.png", folder / f"{number} bright.png")
        write_image(pair.dark, dark)
        write_image(pair.bright, bright)
        pairs.append(pair)
    return pairs


class Tutorial(Dataset[tuple[Tensor, Tensor]]):
    """Opens both files, crops both, flips both: what a plain loop's data set does."""

    def __init__(self, pairs: list[Pair], crop: int) -> None:
        self.pairs, self.crop, self.random = pairs, crop, np.random.default_rng(0)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[number]
        pictures = [np.asarray(Image.open(path).convert("RGB")) for path in (pair.dark, pair.bright)]
        top, left = (self.random.integers(0, side - self.crop + 1) for side in pictures[0].shape[:2])
        flips = tuple(axis for axis in (0, 1) if self.random.random() < 0.5)
        cut = [np.flip(picture[top : top + self.crop, left : left + self.crop], flips) for picture in pictures]
        dark, bright = (torch.from_numpy(picture.copy()).permute(2, 0, 1).float() / 255 for picture in cut)
        return dark, bright


@contextlib.contextmanager
def plain(network: SceneNetwork, pairs: list[Pair], crop: int, batch: int, device: str,
          layout: torch.memory_format = torch.contiguous_format) -> Iterator[Step]:  # fmt: skip
    """The plain loop. Two workers would take the cores from the network; without them it is the faster here."""
    network = copy.deepcopy(network).to(device).to(memory_format=layout)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    loader = DataLoader(Tutorial(pairs, crop), batch_size=batch, shuffle=True, drop_last=True)
    batches = itertools.chain.from_iterable(itertools.repeat(loader))
    stops = torch.full((batch, 1, 1, 1), 3.5, device=device)

    def step() -> float:
        started = time.monotonic()
        dark, bright = (tensor.to(device) for tensor in next(batches))
        waited = time.monotonic() - started
        inputs = (expose(dark, stops), stops.expand(-1, 1, crop, crop)) if isinstance(network, Lite) else (dark,)
        optimiser.zero_grad()
        loss = charbonnier(network(*(each.contiguous(memory_format=layout) for each in inputs)), bright)
        loss.backward()
        optimiser.step()
        loss.item()
        return waited

    yield step


@contextlib.contextmanager
def ours(network: SceneNetwork, pairs: list[Pair], crop: int, batch: int, settings: TrainSettings, variant: Variant,
         ) -> Iterator[Step]:  # fmt: skip
    """The parts of `loop.train_restorer`, in its order."""
    changed = recipes.change_recipe(recipes.PLAIN, recipes.RecipeChanges(crop=crop, batch=batch))
    recipe = replace(changed, crop_mix=variant.crop_mix)
    settings = replace(settings, recipe=recipe)
    fabric = launch(settings)
    network = copy.deepcopy(network).to(fabric.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data = PairStore(pairs)
    data.solve_exposures()
    crops = normalise(make_dimensions_uniform(data))
    run = RunFolder(Path(), writes=False)
    context = loop.TrainingContext(network, crops, [], run, settings, fabric, SILENT, lambda: False)
    named = {name: p for name, p in network.named_parameters() if not name.startswith("head.")}
    if isinstance(network, Lite):
        network.head.requires_grad_(False)
    optimisation = Optimisation(named, recipe)
    restore = fabric.setup_module(torch.compile(network) if variant.compiled else network)  # type: ignore[arg-type]
    numbers = itertools.count()

    with BatchPrefetcher(functools.partial(loop.make_share, context), torch.get_num_threads()) as prefetcher:

        def step() -> float:
            number, before = next(numbers), prefetcher.seconds_waited
            request = BatchRequest(number, number * batch, crop, batch)
            made = prefetcher.take(request)
            if variant.ahead:
                prefetcher.prepare(replace(request, step=number + 1, seen=(number + 1) * batch))
            optimisation.clear()
            loop.backpropagate(context, restore, made)
            optimisation.update(1e-4)
            return prefetcher.seconds_waited - before

        step()
        yield step


def measure(loops: dict[str, Step], turns: int, steps: int, device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Seconds of each turn, and of waiting in it, for each loop; a first turn is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    waited: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(turns + 1):
        for name, step in loops.items():
            synchronise(device)
            started = time.monotonic()
            waiting = sum(step() for _ in range(steps))
            synchronise(device)
            if turn:
                seconds[name].append(time.monotonic() - started)
                waited[name].append(waiting)
        print(f"turn {turn} of {turns}", file=sys.stderr, flush=True)
    return seconds, waited


def synchronise(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def interval(ratios: np.ndarray) -> tuple[float, float]:
    draws = np.random.default_rng(0).integers(0, len(ratios), (10_000, len(ratios)))
    low, high = np.percentile(np.median(ratios[draws], 1), [2.5, 97.5])
    return float(low), float(high)


def machine(chosen: argparse.Namespace) -> str:
    where = torch.cuda.get_device_name() if torch.device(chosen.device).type == "cuda" else platform.machine()
    return f"{where}, {chosen.threads} threads, torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}"


if __name__ == "__main__":
    main()
