"""Training the exposure head: batches of thumbnails, and its losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mirnet.datasets.counter_rng import CounterRNG, Stream
from mirnet.datasets.pair_store import PairStore
from mirnet.datasets.reading import ImageArray, to_unit
from mirnet.errors import DataError
from mirnet.network.lite import AUGMENTED_VIEWS, ExposureHead, expose
from mirnet.thumbnail import CELL_PX, make_thumbnail

BATCH = 32
# A cell is guessed less well than the image's number, and what is wrong with it shows as a cloud: on unseen pairs
# PSNR with the target's mean rises by a quarter of a decibel with half of the map, and back-lit scenes keep some.
MAP_SHARE = 0.5
# Small proposals shrink in training as they do in use, but only those of less than this: inside a wide zone a head
# that asks for a little is not corrected, and learns to ask for more.
DEAD_ZONE_STOPS = 0.5
# What depends on how the thumbnail's pixels fall is not the scene: without this the number moves more when an image is
# cropped by a few pixels, and is no better.
CONSISTENCY_WEIGHT = 0.2


@dataclass(frozen=True)
class Thumbnails:
    """Thumbnails of one size: real dark ones with their target's map, and bright ones."""

    dark: Tensor  # (P, 3, h, w)
    maps: Tensor  # (P, 1, h/8, w/8)
    bright: Tensor  # (Q, 3, h, w)


def collect_thumbnails(pairs: PairStore, progress: Callable[[float], None] = lambda done: None) -> list[Thumbnails]:
    """The thumbnails of all pairs (whose target exposures must be solved) and photos, grouped by size."""
    if pairs.target_exposures is None:
        raise DataError("The truth's stops of these pairs are not known yet; call Pairs.solve() first.")
    total = 2 * len(pairs) + len(pairs.photos)
    dark: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
    bright: dict[tuple[int, int], list[Tensor]] = {}
    for number in range(len(pairs)):
        small_dark, small_bright = _small(pairs.picture(number)), _small(pairs.picture(len(pairs) + number))
        size = _cells(small_dark)
        height, width = pairs.target_exposures.sizes[number].tolist()
        cells = pairs.target_exposures.maps[number, :height, :width][None, None]
        fitted = F.interpolate(cells, size=size, mode="bilinear", align_corners=False)[0]
        dark.setdefault(size, []).append((small_dark, fitted))
        bright.setdefault(size, []).append(small_bright)
        progress(2 * (number + 1) / total)
    for place in range(2 * len(pairs), total):
        small = _small(pairs.picture(place))
        bright.setdefault(_cells(small), []).append(small)
        progress((place + 1) / total)
    return [_stacked(size, dark.get(size, []), lights) for size, lights in bright.items()]


def _stacked(size: tuple[int, int], dark: Sequence[tuple[Tensor, Tensor]], bright: Sequence[Tensor]) -> Thumbnails:
    if not dark:  # photos alone have this size
        height, width = size
        empty = torch.empty(0, 3, CELL_PX * height, CELL_PX * width), torch.empty(0, 1, height, width)
        return Thumbnails(*empty, torch.stack(list(bright)))
    return Thumbnails(torch.stack([t for t, _ in dark]), torch.stack([m for _, m in dark]), torch.stack(list(bright)))


def _small(picture: ImageArray) -> Tensor:  # (3, H, W) integers -> (3, h, w) float32
    return torch.from_numpy(make_thumbnail(to_unit(picture)).transpose(2, 0, 1).copy())


def _cells(small: Tensor) -> tuple[int, int]:  # (3, h, w) -> h/8, w/8
    return small.shape[1] // CELL_PX, small.shape[2] // CELL_PX


def head_batch(groups: Sequence[Thumbnails], seed: int, step: int, device: torch.device,
               darkness: bool = True) -> tuple[Tensor, Tensor]:  # fmt: skip
    """32 thumbnails (N, 3, h, w) of one size and their maps (N, 1, h/8, w/8): a function of (seed, step).

    40 % real dark ones with their exposure jittered, 24 % bright (0 stops), 20 % darkened, 16 % half dark
    across a smooth edge; white balance, flips and a slight exposure jitter on all that are not bright.
    Without `darkness` all are bright: for a network that shall denoise and leave the exposure alone.
    """
    group_draw = CounterRNG(seed, step, torch.zeros(1, dtype=torch.int64))
    weights = torch.tensor([float(len(group.dark) + len(group.bright)) for group in groups])
    group = groups[int((weights.cumsum(0) / weights.sum() < group_draw.uniform(Stream.HEAD_GROUP)).sum())]

    rng = CounterRNG(seed, step, torch.arange(BATCH))
    kind = rng.uniform(Stream.HEAD_KIND) if darkness else torch.full((BATCH,), 0.5)
    has_dark = len(group.dark) > 0
    real = (kind < 0.40) & has_dark
    plain = (kind >= 0.40) & (kind < 0.64)
    half = kind >= 0.84

    light = group.bright[rng.below(Stream.HEAD_BRIGHT_IMAGE, torch.full((BATCH,), len(group.bright)))]
    cells = torch.zeros(BATCH, 1, light.shape[2] // CELL_PX, light.shape[3] // CELL_PX)
    added = rng.between(Stream.HEAD_STOPS_DARKER, 0.3, 7.5)[:, None, None, None] * ~(real | plain)[:, None, None, None]
    edge = torch.where(half[:, None, None, None], _edge(rng, light.shape[2:]), torch.ones(()))
    stops = added * edge  # (N, 1, h, w)
    picture = expose(light, -stops)
    cells = cells + F.avg_pool2d(stops.expand(-1, 1, *light.shape[2:]), CELL_PX)
    if has_dark:
        chosen = rng.below(Stream.HEAD_DARK_IMAGE, torch.full((BATCH,), len(group.dark)))
        jitter = (rng.normal(Stream.HEAD_EXPOSURE_JITTER) * 0.7)[:, None, None, None]
        picture = torch.where(real[:, None, None, None], expose(group.dark[chosen], jitter), picture)
        cells = torch.where(real[:, None, None, None], group.maps[chosen] - jitter, cells)
    balance = (rng.normal(Stream.HEAD_WHITE_BALANCE, 3) * 0.15)[:, :, None, None] * ~plain[:, None, None, None]
    picture = expose(picture, balance - balance.mean(1, keepdim=True))
    for stream, dim in ((Stream.HEAD_FLIP_ROWS, 2), (Stream.HEAD_FLIP_COLUMNS, 3)):
        flip = (rng.uniform(stream) < 0.5)[:, None, None, None]
        picture, cells = torch.where(flip, picture.flip(dim), picture), torch.where(flip, cells.flip(dim), cells)
    return picture.to(device), cells.to(device)


def _edge(rng: CounterRNG, size: Sequence[int]) -> Tensor:  # (N, 1, h, w) in [0, 1]: from lit to dark along a direction
    rows, columns = (torch.linspace(-1, 1, side) for side in size)
    angle = rng.between(Stream.EDGE_ANGLE, 0, 2 * torch.pi)[:, None, None, None]
    across = rows[:, None] * angle.sin() + columns * angle.cos()
    softness = rng.between(Stream.EDGE_SOFTNESS, 0.05, 0.5)[:, None, None, None]
    return torch.sigmoid((across - rng.between(Stream.EDGE_OFFSET, -0.5, 0.5)[:, None, None, None]) / softness)


def propose_two_views(head: ExposureHead, thumbnails: Tensor, seed: int, step: int) -> Tensor:
    """Propose stops for thumbnails (N, 3, h, w) in two of the augmented views, (2, N, 1, h/8, w/8).

    Which two is a function of (seed, step).
    """
    first, second = (
        CounterRNG(seed, step, torch.zeros(1, dtype=torch.int64))
        .uniform(Stream.HEAD_VIEWS, len(AUGMENTED_VIEWS))[0]
        .argsort()[:2]
    )
    return torch.stack(
        [view.undo(head.propose_raw(view.of(thumbnails))) for view in (AUGMENTED_VIEWS[first], AUGMENTED_VIEWS[second])]
    )


def consistency_loss(asked: Tensor) -> Tensor:
    """The weighted difference of two proposals (2, N, 1, h, w) for one scene, in their means."""
    first, second = asked.mean((2, 3, 4))
    return CONSISTENCY_WEIGHT * (first - second).abs().mean()


def darken_thumbnails(thumbnails: Tensor, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """The same thumbnails (N, 3, h, w) 0.1 to 1 stops darker, and by how many (N,): a function of (seed, step)."""
    stops = (
        CounterRNG(seed, step, torch.arange(len(thumbnails)))
        .between(Stream.SLOPE_STOPS, 0.1, 1.0)
        .to(thumbnails.device)
    )
    return expose(thumbnails, -stops[:, None, None, None]), stops


def slope_loss(proposed: Tensor, proposed_darker: Tensor, stops: Tensor) -> Tensor:
    """The loss for a proposal that falls, or rises by more than `stops` (N,), when an image is made darker by these.

    Where it rises faster than the image darkens, the darker image comes out the brighter one.
    """
    rise = (proposed_darker.mean((1, 2, 3)) - proposed.mean((1, 2, 3))) / stops
    return (F.relu(rise - 1) + F.relu(-rise)).mean()


def head_loss(proposed: Tensor, truth: Tensor) -> Tensor:
    """The loss of proposed maps: Huber on mean and cells, doubled near 0 stops, where errors do most harm."""
    number, true_number = proposed.mean((1, 2, 3)), truth.mean((1, 2, 3))
    weight = 1 + torch.exp(-(true_number**2))
    of_number = F.smooth_l1_loss(number, true_number, reduction="none", beta=0.3)
    of_cells = F.smooth_l1_loss(proposed, truth, reduction="none", beta=0.3).mean((1, 2, 3))
    return (weight * (of_number + 0.5 * of_cells)).mean()
