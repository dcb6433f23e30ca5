"""The batch of a step: crops of uniform dimensions with values in [0, 1], in a recipe's mix. Steps (2) and (3).

Crops, flips, quarter turns, exposure and noise are vectorised, and every draw is a function of (seed,
step, place in the global batch): a resumed run, several processes and a GPU get the same batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache

import torch
from torch import Tensor

from mirnet.datasets.counter_rng import CounterRNG, Stream
from mirnet.datasets.low_light_synthesis import (
    DESATURATED_SHARE,
    MOST_STOPS,
    add_camera_noise,
    compress_as_drawn_jpeg,
    darken_images,
    desaturate,
)
from mirnet.datasets.pair_store import PairStore, PixelStore, reflect
from mirnet.datasets.target_exposure import solve_stops
from mirnet.errors import DataError, SettingsError
from mirnet.network.lite import expose
from mirnet.training.stored_names import stored

SHARES = ("real", "bright", "darkened", "noisy")  # what a crop can be; their shares add up to 1


@dataclass(frozen=True)
class CropMix:
    """What the crops of a batch are: the share of each kind, and what is done to them.

    `real` pairs; `bright` images with themselves; `darkened`: their synthetic low-light images; `noisy` copies. The
    last three are made of photos without partners where there are any, else of the pairs' bright images.
    """

    real: float = 1.0
    bright: float = 0.0
    darkened: float = 0.0
    noisy: float = 0.0
    jitter_stops: float = (
        0.0  # standard deviation of the exposure error that each crop draws, where the network takes stops
    )
    local: bool = False  # stops of real pairs lie anywhere between the image's one number and its map
    # share of the darkened crops whose target is desaturated and dimmed
    desaturated: float = field(default=DESATURATED_SHARE, metadata=stored("dulled"))
    jpeg: float = 0.0  # share of the real and darkened crops that went through a JPEG file

    def __post_init__(self) -> None:
        wrong = []
        if abs(sum(getattr(self, name) for name in SHARES) - 1) > 1e-6:
            wrong.append(f"the shares {', '.join(SHARES)} add up to 1")
        if any(not 0 <= getattr(self, name) <= 1 for name in (*SHARES, "desaturated", "jpeg")):
            wrong.append("every share lies in 0 to 1")
        if self.jitter_stops < 0:
            wrong.append("the jitter of the exposure is not negative")
        if wrong:
            raise SettingsError("The crop mix cannot work: " + "; ".join(wrong) + ".")

    def with_synthetic(self, weight: float) -> "CropMix":
        """This mix with a share `weight` of the crops made of good photos, split among their kinds as before."""
        made = 1 - self.real
        if not made:
            return replace(self, real=1 - weight, bright=weight * 0.2, darkened=weight * 0.8)
        parts = {name: getattr(self, name) / made * weight for name in SHARES[1:]}
        return replace(self, real=1 - weight, **parts)

    def noise_only(self) -> "CropMix":
        """This mix for denoising alone: noisy copies instead of dark images, and some clean ones."""
        return replace(self, real=0.0, bright=0.03, darkened=0.0, noisy=0.97, jitter_stops=0.0, jpeg=0.0)


def is_noise_only(crop_mix: CropMix) -> bool:
    """Whether a network learns to denoise at the exposure that an image has, and nothing else."""
    return crop_mix.real + crop_mix.darkened == 0


@dataclass(frozen=True)
class UniformCrops:
    """Step (2): crops of one size from images of any size; smaller images are extended by reflection."""

    pairs: PairStore

    def cut(self, flat: PixelStore, which: Tensor, window: "_Window") -> Tensor:
        """(B, 3, c, c) integers, 0 to `flat.white`, of images `which` (B,) of a buffer."""
        return window.turn(flat.crops(which, window.rows, window.columns))


def make_dimensions_uniform(pairs: PairStore) -> UniformCrops:
    """Step (2) of the pipeline: all images of a batch get the same height and width."""
    return UniformCrops(pairs)


@dataclass(frozen=True)
class NormalisedCrops:
    """Step (3): uniform crops with values in [0, 1]."""

    uniform: UniformCrops

    @property
    def pairs(self) -> PairStore:
        return self.uniform.pairs

    def cut(self, flat: PixelStore, which: Tensor, window: "_Window") -> Tensor:
        """(B, 3, c, c) float32 in [0, 1] of images `which` (B,) of a buffer."""
        return self.uniform.cut(flat, which, window).float() / flat.white


def normalise(crops: UniformCrops) -> NormalisedCrops:
    """Step (3) of the pipeline: the integers of 8 or 16 bit become numbers from 0 to 1."""
    return NormalisedCrops(crops)


@dataclass(frozen=True)
class Batch:
    """`network(*inputs)` should give `target` (N, 3, c, c)."""

    inputs: tuple[Tensor, ...]
    target: Tensor
    pictures: Tensor  # (N,): the number of each crop's bright image, as `Pairs` counts
    real: int = 0  # how many crops of the global batch were of real pairs


def make_batch(crops: NormalisedCrops, seed: int, step: int, device: torch.device, *, crop: int, index: Sequence[int],
               crop_mix: CropMix = CropMix(), takes_exposure: bool = True, total: int | None = None, seen: int = 0,
               ) -> Batch:  # fmt: skip
    """The crops at places `index` of the global batch of this step; every draw is a function of (seed, step, place).

    `crop` pixels a side; smaller images are padded by reflection; flipped and turned all eight ways. A
    network that takes an exposure gets (exposed (N, 3, c, c), stops (N, 1, c, c)) and needs `pairs.truths`;
    another gets the dark image as it is. `total` is the size of the global batch (None: the highest place
    says it); `seen` the number of real crops before it, so that every pair comes once before any comes again.
    """
    pairs, places = crops.pairs, torch.as_tensor(list(index), device=device)
    total = total or int(places.max()) + 1
    if crop_mix.real and not len(pairs):
        raise DataError("The crop mix has crops of real pairs, and there are no pairs; use one of photos alone.")
    kinds = _kinds(CounterRNG(seed, step, torch.arange(total, device=device)), crop_mix)
    order = seen + (kinds == 0).cumsum(0) - 1  # of the real crops, how many came before
    batch = _crops(crops, CounterRNG(seed, step, places), kinds[places], order[places], crop, crop_mix, takes_exposure)
    return replace(batch, real=int((kinds == 0).sum()))


def _kinds(rng: CounterRNG, crop_mix: CropMix) -> Tensor:  # (B,) int64, numbers of SHARES
    bounds = torch.tensor([getattr(crop_mix, name) for name in SHARES], device=rng.index.device).cumsum(0)[:3]
    return (rng.uniform(Stream.CROP_KIND)[:, None] >= bounds).sum(1)


def _crops(crops: NormalisedCrops, rng: CounterRNG, kind: Tensor, order: Tensor, crop: int, crop_mix: CropMix,
           takes_exposure: bool) -> Batch:  # fmt: skip
    pairs, device = crops.pairs, kind.device
    real, darkened, noisy = (kind == SHARES.index(name) for name in ("real", "darkened", "noisy"))
    pair = _pair_of(pairs, rng, order)
    clean = rng.below(Stream.CLEAN_IMAGE, torch.full_like(kind, max(len(pairs.photos or pairs.pairs), 1)))
    clean = clean + (2 if pairs.photos else 1) * len(pairs)
    bright = torch.where(real, pair + len(pairs), clean)
    flat, places = pairs.fetch(torch.cat([torch.where(real, pair, bright), bright]), device)
    dark_place, bright_place = places.chunk(2)

    window = _Window.draw(rng, flat.heights[bright_place], flat.widths[bright_place], crop)
    target = crops.cut(flat, bright_place, window)
    picture = target.clone()
    picture[real] = crops.cut(flat, dark_place[real], window.of(real))
    number = torch.zeros(len(kind), 1, 1, 1, device=device)  # the stops from the image to its target
    if darkened.any():
        some = rng.of(darkened)
        target[darkened] = desaturate(target[darkened], some, crop_mix.desaturated)
        picture[darkened] = darken_images(
            target[darkened], some.between(Stream.STOPS_DARKER, 0, MOST_STOPS)[:, None, None, None], some
        )
    if noisy.any():
        picture[noisy] = add_camera_noise(target[noisy], rng.of(noisy))
    if crop_mix.jpeg:
        compressed = (real | darkened) & (rng.uniform(Stream.THROUGH_JPEG) < crop_mix.jpeg)
        if compressed.any():
            picture[compressed] = compress_as_drawn_jpeg(picture[compressed], rng.of(compressed))
    if not takes_exposure:
        return Batch((picture,), target, bright)

    if darkened.any():
        number[darkened] = solve_stops(picture[darkened], target[darkened])
    jitter = (rng.normal(Stream.EXPOSURE_JITTER) * crop_mix.jitter_stops)[:, None, None, None]
    stops = (number + jitter).expand(-1, 1, crop, crop).clone()
    if real.any():
        stops[real] += _truth_stops(pairs, pair[real], window.of(real), rng.of(real), crop_mix)
    return Batch((expose(picture, stops), stops), expose(target, jitter), bright)


def _pair_of(pairs: PairStore, rng: CounterRNG, order: Tensor) -> Tensor:
    """(B,): the pair of each crop, in shuffled order without repetition."""
    count = max(len(pairs), 1)
    order = order.clamp(min=0)  # crops that are not real have none of their own
    return torch.stack([_shuffled(rng.seed, epoch, count)[place]
                        for epoch, place in zip((order // count).tolist(), (order % count).tolist(), strict=True)]
                       ).to(order.device)  # fmt: skip


@lru_cache(maxsize=4)
def _shuffled(seed: int, epoch: int, count: int) -> Tensor:
    """The numbers 0 to `count` - 1 in this epoch's order."""
    return CounterRNG(seed, epoch, torch.arange(count)).uniform(Stream.PAIR_ORDER).argsort()


def _truth_stops(
    pairs: PairStore, pair: Tensor, window: "_Window", rng: CounterRNG, crop_mix: CropMix
) -> Tensor:  # (B, 1, c, c)
    if pairs.target_exposures is None:
        raise DataError("The truth's stops of these pairs are not known yet; call Pairs.solve() first.")
    device = pair.device
    number = pairs.target_exposures.stops.to(device)[pair][:, None, None]
    stops = number.expand(-1, *window.shape)
    if crop_mix.local:
        share = rng.uniform(Stream.MAP_SHARE)[:, None, None]
        spread_map = window.spread(
            pairs.target_exposures.maps.to(device)[pair], pairs.target_exposures.sizes.to(device)[pair]
        )
        stops = number + share * (spread_map - number)
    return stops[:, None]


@dataclass(frozen=True)
class _Window:
    """Where each crop lies in its image, and how it is flipped and turned (all eight ways)."""

    rows: Tensor  # (B, c), perhaps reversed
    columns: Tensor
    transposed: Tensor  # (B,) bool
    heights: Tensor
    widths: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape[1], self.columns.shape[1]

    def of(self, chosen: Tensor) -> "_Window":
        """Those of the chosen crops (B,) bool."""
        return _Window(*(getattr(self, f.name)[chosen] for f in fields(self)))

    @staticmethod
    def draw(rng: CounterRNG, heights: Tensor, widths: Tensor, crop: int) -> "_Window":
        inside = torch.arange(crop, device=heights.device)

        def positions(place: Stream, flip: Stream, size: Tensor) -> Tensor:
            start = rng.below(place, (size - crop).clamp(min=0) + 1)
            flipped = rng.uniform(flip) < 0.5
            return start[:, None] + torch.where(flipped[:, None], crop - 1 - inside, inside)

        return _Window(
            positions(Stream.CROP_ROWS, Stream.FLIP_ROWS, heights),
            positions(Stream.CROP_COLUMNS, Stream.FLIP_COLUMNS, widths),
            rng.uniform(Stream.TRANSPOSE) < 0.5,
            heights,
            widths,
        )

    def spread(self, cells: Tensor, sizes: Tensor) -> Tensor:
        """Maps (B, 12, 12), `sizes` (B, 2) of them in use, at the crop's pixels (B, c, c): bilinear, edges held."""

        def weights(positions: Tensor, picture_size: Tensor, count: Tensor) -> Tensor:  # (B, c, 12)
            place = (positions + 0.5) * (count / picture_size)[:, None] - 0.5
            place = place.clamp(min=0).minimum((count - 1.0)[:, None])
            grid = torch.arange(cells.shape[-1], device=cells.device)
            return (1 - (place[:, :, None] - grid).abs()).clamp(min=0)

        rows = weights(reflect(self.rows, self.heights[:, None]), self.heights, sizes[:, 0])
        columns = weights(reflect(self.columns, self.widths[:, None]), self.widths, sizes[:, 1])
        return self.turn(rows @ cells @ columns.mT)

    def turn(self, x: Tensor) -> Tensor:
        """Transpose (B, ..., c, c) where the crop is transposed."""
        return torch.where(self.transposed.reshape(-1, *[1] * (x.ndim - 1)), x.mT, x)
