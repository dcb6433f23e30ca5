"""A batch of one step: dimensions made uniform, values in [0, 1], and what a recipe feeds. Steps (2) and (3).

Crops, flips, quarter turns, exposure and noise are vectorised, and every draw is a function of (seed,
step, place in the global batch): a resumed run, several processes and a GPU get the same batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mirnet.errors import DataError
from mirnet.network.lite import expose, to_encoded, to_linear
from mirnet.training.draws import Draws
from mirnet.training.store import Flat, Pairs, reflect


@dataclass(frozen=True)
class Feed:
    """What a recipe feeds to a network that takes an exposure; shares of real, bright, and (the rest) darkened crops.

    `jitter_stops` is the standard deviation of the exposure error d that each crop draws; with
    `local` the stops lie anywhere between the picture's one number and its map.
    """

    real: float = 1.0
    bright: float = 0.0
    jitter_stops: float = 0.0
    local: bool = False


@dataclass(frozen=True)
class Batch:
    """`network(*inputs)` should give `target` (N, 3, c, c)."""

    inputs: tuple[Tensor, ...]
    target: Tensor


def make_batch(pairs: Pairs, seed: int, step: int, device: torch.device, *, crop: int, index: Sequence[int],
               feed: Feed = Feed(), takes_exposure: bool = True) -> Batch:  # fmt: skip
    """The crops at places `index` of the global batch of this step; every draw is a function of (seed, step, place).

    `crop` pixels a side; smaller pictures are padded by reflection; flipped and turned all eight ways. A
    network that takes an exposure gets (exposed (N, 3, c, c), stops (N, 1, c, c)) and needs `pairs.truths`;
    another gets the dark picture as it is, whatever the feed.
    """
    draws = Draws(seed, step, torch.as_tensor(list(index), device=device))
    kind = draws.uniform(0)
    real = kind < feed.real if takes_exposure else torch.ones_like(kind, dtype=torch.bool)
    darkened = ~real & (kind >= feed.real + feed.bright)

    pair = draws.below(1, torch.full_like(draws.index, len(pairs)))
    clean = 2 * len(pairs) + draws.below(2, torch.full_like(pair, max(len(pairs.photos), 1)))
    bright = torch.where(real, pair + len(pairs), clean if pairs.photos else pair + len(pairs))
    flat, places = pairs.fetch(torch.cat([torch.where(real, pair, bright), bright]), device)
    dark_place, bright_place = places.chunk(2)

    window = _Window.draw(draws, flat.heights[bright_place], flat.widths[bright_place], crop)
    target = window.cut(flat, bright_place)
    picture = window.cut(flat, dark_place)
    if not takes_exposure:
        return Batch((picture,), target)

    jitter = (draws.normal(3) * feed.jitter_stops)[:, None, None, None]
    stops = jitter.expand(-1, 1, crop, crop)
    if darkened.any():
        added = draws.between(4, 0, 7) * darkened
        # 255 stays 255 under expose, as a lamp does; a blown sky must darken with the rest
        below_white = torch.where(darkened & (draws.uniform(5) < 0.5), 0.95, 1.0)[:, None, None, None]
        target = target * below_white
        twin = dark_twin(target, added[:, None, None, None], draws)
        picture = torch.where(darkened[:, None, None, None], twin, picture)
        stops = stops + added[:, None, None, None]
    if real.any():
        stops = torch.where(real[:, None, None, None], stops + _truth_stops(pairs, pair, window, draws, feed), stops)
    return Batch((expose(picture, stops), stops), expose(target, jitter))


def _truth_stops(pairs: Pairs, pair: Tensor, window: "_Window", draws: Draws, feed: Feed) -> Tensor:  # (B, 1, c, c)
    if pairs.truths is None:
        raise DataError("The truth's stops of these pairs are not known yet; call Pairs.solve() first.")
    device = pair.device
    number = pairs.truths.stops.to(device)[pair][:, None, None]
    stops = number.expand(-1, *window.shape)
    if feed.local:
        share = draws.uniform(6)[:, None, None]
        spread_map = window.spread(pairs.truths.maps.to(device)[pair], pairs.truths.sizes.to(device)[pair])
        stops = number + share * (spread_map - number)
    return stops[:, None]


def dark_twin(bright: Tensor, stops: Tensor, draws: Draws) -> Tensor:
    """Pictures (B, 3, H, W) as a small sensor would have taken them `stops` darker: shot and read noise, 8 bit.

    Noise in linear light, of variance shot·signal + read², with shot = 10^U(-5, -2.5) and read =
    10^U(-4.5, -2.6): drawn wide, from hardly any grain to a strong one; not calibrated on any one sensor.
    """
    linear = to_linear(expose(bright, -stops))
    shot = 10 ** draws.between(10, -5, -2.5)[:, None, None, None]
    read = 10 ** draws.between(11, -4.5, -2.6)[:, None, None, None]
    noisy = linear + torch.sqrt(shot * linear + read**2) * draws.normal(12, *bright.shape[1:])
    return (to_encoded(noisy.clamp(0, 1)) * 255).round() / 255


@dataclass(frozen=True)
class _Window:
    """Where each crop lies in its picture, and how it is flipped and turned (all eight ways)."""

    rows: Tensor  # (B, c), perhaps reversed
    columns: Tensor
    transposed: Tensor  # (B,) bool
    heights: Tensor
    widths: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape[1], self.columns.shape[1]

    @staticmethod
    def draw(draws: Draws, heights: Tensor, widths: Tensor, crop: int) -> "_Window":
        inside = torch.arange(crop, device=heights.device)

        def positions(purpose: int, size: Tensor) -> Tensor:
            start = draws.below(purpose, (size - crop).clamp(min=0) + 1)
            flipped = draws.uniform(purpose + 1) < 0.5
            return start[:, None] + torch.where(flipped[:, None], crop - 1 - inside, inside)

        return _Window(positions(20, heights), positions(22, widths), draws.uniform(24) < 0.5, heights, widths)

    def cut(self, flat: Flat, which: Tensor) -> Tensor:
        """(B, 3, c, c)."""
        return self._turned(flat.crops(which, self.rows, self.columns))

    def spread(self, cells: Tensor, sizes: Tensor) -> Tensor:
        """Maps (B, 12, 12), `sizes` (B, 2) of them in use, at the crop's pixels (B, c, c): bilinear, edges held."""

        def weights(positions: Tensor, picture_size: Tensor, count: Tensor) -> Tensor:  # (B, c, 12)
            place = (positions + 0.5) * (count / picture_size)[:, None] - 0.5
            place = place.clamp(min=0).minimum((count - 1.0)[:, None])
            grid = torch.arange(cells.shape[-1], device=cells.device)
            return (1 - (place[:, :, None] - grid).abs()).clamp(min=0)

        rows = weights(reflect(self.rows, self.heights[:, None]), self.heights, sizes[:, 0])
        columns = weights(reflect(self.columns, self.widths[:, None]), self.widths, sizes[:, 1])
        return self._turned(rows @ cells @ columns.mT)

    def _turned(self, x: Tensor) -> Tensor:
        return torch.where(self.transposed.reshape(-1, *[1] * (x.ndim - 1)), x.mT, x)
