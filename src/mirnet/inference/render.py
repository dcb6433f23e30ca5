"""One picture through the network, in bands of rows: look at it once, then render it.

The first pass yields the thumbnail, from which the exposure is proposed, and of a large picture
samples, from which its scene is surveyed. The second pass renders: a small picture in one piece, a
large one in tiles that share the scene's statistics and the stops, so that no tile shows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mirnet import images
from mirnet.exposure import expose, to_encoded, to_linear
from mirnet.inference import tiles
from mirnet.inference.catalog import Card
from mirnet.inference.runtimes import Floats, Runtime
from mirnet.inference.settings import Settings
from mirnet.thumbnail import CELL_PX, ThumbnailBuilder

Pixels = NDArray[Any]

WHOLE_PX = 1_500_000  # pictures up to this many pixels are rendered in one piece
TILE_PX = 1024
BAND_ROWS = 256
SAMPLE_PX, SAMPLES_A_SIDE = 192, 6  # of the survey: 36 crops, as many pixels as a picture of 1.3 megapixels
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # Rec. 709, of linear light


@dataclass(frozen=True)
class Source:
    """A picture that can be read from top to bottom as often as needed, in the order in which it is stored.

    `bands(rows)` yields (at most rows, width, channels) uint8, uint16 or float in [0, 1]; channels are
    1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. `orientation` is the EXIF tag, 1 to 8.
    """

    height: int
    width: int
    bands: Callable[[int], Iterable[Pixels]]
    orientation: int = 1

    @staticmethod
    def of(array: Pixels, orientation: int = 1) -> "Source":
        """A whole (H, W, C) array: the case of one band."""
        return Source(array.shape[0], array.shape[1], lambda rows: [array], orientation)


@dataclass(frozen=True)
class Plan:
    """What the first look at a picture decides; maps of stops are of cells, in the picture's stored order."""

    proposal: Floats | None  # (h, w) stops as proposed, before anybody's wishes; None without exposure
    stops: Floats | None  # (h, w) stops that the picture gets
    scene: Floats | None  # (K,); None: the picture pools itself, in one piece
    tile_px: int

    @property
    def proposed_stops(self) -> float:
        """In the mean; 0 without exposure."""
        return 0.0 if self.proposal is None else float(self.proposal.mean())


# --- the first pass -------------------------------------------------------------------------------


def look(source: Source, runtime: Runtime, card: Card, settings: Settings, added_stops: float = 0.0) -> Plan:
    """The first pass over a picture; `added_stops` go on top of what the settings say."""
    if source.height * source.width <= WHOLE_PX:
        proposal = propose(source, runtime, card)
        return Plan(proposal, _chosen(proposal, settings, added_stops), None, max(source.height, source.width))
    sampler = _Sampler(source)
    proposal = propose(source, runtime, card, sampler)
    stops = _chosen(proposal, settings, added_stops)
    return Plan(proposal, stops, sampler.survey(runtime, card, stops), TILE_PX)


def propose(source: Source, runtime: Runtime, card: Card, *others: "_Collector") -> Floats | None:
    """The stops of each cell (h, w) that the head proposes, None without exposure; `others` see the same pass."""
    thumbnail = ThumbnailBuilder(source.height, source.width)
    top = 0
    for band in source.bands(BAND_ROWS):
        unit = to_rgb(band)
        for collector in (thumbnail, *others):
            collector.add(top, unit)
        top += len(band)
    if not card.takes_exposure:
        return None
    small = thumbnail.finish()
    if not small.any():  # a black picture says nothing about its exposure, and black stays black
        return np.zeros((small.shape[0] // CELL_PX, small.shape[1] // CELL_PX), dtype=np.float32)
    # the head sees the picture upright; its map comes back in the stored order
    upright = images.upright(small, source.orientation).transpose(2, 0, 1)
    cells = runtime.propose(np.ascontiguousarray(upright)[None])[0, 0]
    return np.ascontiguousarray(images.stored(cells, source.orientation))


def _chosen(proposal: Floats | None, settings: Settings, added_stops: float) -> Floats | None:
    """The stops that the picture gets: the proposal, or none, and what the person adds."""
    if proposal is None:
        return None
    start = np.zeros_like(proposal) if settings.keep_exposure else proposal
    return start + np.float32(settings.exposure + added_stops)


class _Collector(Protocol):
    """Somebody who looks on while a picture streams by."""

    def add(self, top: int, band: Floats) -> None:
        """Rows `top` and following: (rows, width, 3) float32 in [0, 1]."""
        ...


class _Sampler:
    """Collects native-resolution crops on an even grid."""

    def __init__(self, source: Source) -> None:
        self._size = (source.height, source.width)
        self._crop = (min(SAMPLE_PX, source.height), min(SAMPLE_PX, source.width))
        tops, lefts = (
            tiles.sample_starts(side, crop, SAMPLES_A_SIDE) for side, crop in zip(self._size, self._crop, strict=True)
        )
        self._places = [(top, left) for top in tops for left in lefts]
        self._crops = np.zeros((len(self._places), *self._crop, 3), dtype=np.float32)

    def add(self, top: int, band: Floats) -> None:
        for crop, (crop_top, left) in zip(self._crops, self._places, strict=True):
            first, last = max(crop_top, top), min(crop_top + self._crop[0], top + len(band))
            if first < last:
                crop[first - crop_top : last - crop_top] = band[first - top : last - top, left : left + self._crop[1]]

    def survey(self, runtime: Runtime, card: Card, stops: Floats | None) -> Floats:
        """The scene (K,) of all crops together."""
        windows = [(slice(top, top + self._crop[0]), slice(left, left + self._crop[1])) for top, left in self._places]
        inputs = [
            _network_input(crop, _stops_at(stops, self._size, window), card)
            for crop, window in zip(self._crops, windows, strict=True)
        ]
        pictures, maps = zip(*inputs, strict=True)
        return runtime.restore(np.concatenate(pictures), None if stops is None else np.concatenate(maps), None)[1]


# --- the second pass ------------------------------------------------------------------------------


def render(source: Source, plan: Plan, runtime: Runtime, card: Card, settings: Settings,
           progress: Callable[[float], None] = lambda done: None) -> Iterator[Pixels]:  # fmt: skip
    """The second pass: bands of the enhanced picture, of the source's channels and dtype, from top to bottom."""
    if settings.strength == 0:
        yield from source.bands(BAND_ROWS)
        return
    size = (source.height, source.width)
    columns = list(tiles.spans(source.width, plan.tile_px, card.overlap_px))
    for rows, band in _bands_with_context(source, plan.tile_px, card.overlap_px):
        seen = to_rgb(band)
        enhanced = []
        for column in columns:
            stops = _stops_at(plan.stops, size, (rows.seen, column.seen))
            picture, stops = _network_input(seen[:, column.seen], stops, card)
            restored = runtime.restore(picture, stops, plan.scene)[0]
            core = (rows.core, column.core)
            share = _denoise_share(_stops_at(plan.proposal, size, (rows.given, column.given)), settings, card)
            enhanced.append(
                _blend(seen[:, column.seen][core], _rows_first(picture)[core], _rows_first(restored)[core],
                       share, settings)
            )  # fmt: skip
            progress((rows.given.start + len(enhanced) / len(columns) * (rows.given.stop - rows.given.start)) / size[0])
        yield like(np.concatenate(enhanced, axis=1), band[rows.core])


def _bands_with_context(source: Source, tile_px: int, overlap_px: int) -> Iterator[tuple[tiles.Span, Pixels]]:
    """Each row of tiles with the rows around it that it must see; only these are held."""
    bands = iter(source.bands(min(BAND_ROWS, tile_px)))
    held, top = next(bands), 0
    for span in tiles.spans(source.height, tile_px, overlap_px):
        waiting = [held]
        rows = len(held)
        while top + rows < span.seen.stop:
            waiting.append(next(bands))
            rows += len(waiting[-1])
        held = np.concatenate(waiting) if len(waiting) > 1 else held
        held, top = held[span.seen.start - top :], span.seen.start
        yield span, held[: span.seen.stop - top]


def _stops_at(cells: Floats | None, size: tuple[int, int], window: tuple[slice, slice]) -> Floats | None:
    """The stops of every pixel (h, w) in a window of a picture of that size."""
    return None if cells is None else tiles.spread(cells, *size, *window)


def _network_input(crop: Floats, stops: Floats | None, card: Card) -> tuple[Floats, Floats | None]:
    """A crop (h, w, 3) as the graph wants it: exposed (1, 3, H, W), and its stops (1, 1, H, W); padded to multiples."""
    if stops is not None:
        crop = expose(crop, stops[:, :, None])
        stops = tiles.pad_to_multiple(stops[None, None], card.size_multiple)
    return tiles.pad_to_multiple(np.ascontiguousarray(crop.transpose(2, 0, 1))[None], card.size_multiple), stops


def _rows_first(picture: Floats) -> Floats:  # (1, 3, H, W) -> (H, W, 3)
    return np.asarray(picture[0].transpose(1, 2, 0))


def _blend(original: Floats, exposed: Floats, restored: Floats, denoise: Floats | None, settings: Settings) -> Floats:
    """Always in this order: `restored` is clipped, `denoise` blends exposed and restored, `strength` original and that.

    All (h, w, 3); `denoise` (h, w, 1), or None for weights without exposure: then the result is exposed.
    """
    restored = np.clip(restored, 0, 1)
    result = expose(restored, settings.exposure) if denoise is None else exposed + denoise * (restored - exposed)
    if settings.strength == 1:
        return result
    return np.asarray(original + np.float32(settings.strength) * (result - original))


def _denoise_share(proposal: Floats | None, settings: Settings, card: Card) -> Floats | None:
    """How much of what the restorer changes is kept at each pixel (h, w, 1), or everywhere (1, 1, 1)."""
    if proposal is None:
        return None
    if settings.denoise != "auto":
        return np.full((1, 1, 1), settings.denoise, dtype=np.float32)
    if settings.keep_exposure:
        return np.ones((1, 1, 1), dtype=np.float32)
    floor = np.float32(card.denoise_at_zero_stops)
    return np.asarray(floor + (1 - floor) * np.clip(proposal, 0, 1)[:, :, None])


# --- pixels of all kinds --------------------------------------------------------------------------


def to_rgb(band: Pixels) -> Floats:
    """(rows, W, 3) float32 in [0, 1] of a band in any of a source's forms; grey repeated, alpha left out."""
    unit = band[:, :, : 1 if band.shape[2] < 3 else 3].astype(np.float32)
    if band.dtype.kind == "u":
        unit /= np.float32(np.iinfo(band.dtype).max)
    return np.repeat(unit, 3, axis=2) if unit.shape[2] == 1 else unit


def like(rgb: Floats, band: Pixels) -> Pixels:
    """An enhanced band with the source's channels and dtype: grey is luminance, alpha the source's; rounded last."""
    colour = to_encoded(to_linear(rgb) @ LUMINANCE)[:, :, None] if band.shape[2] < 3 else rgb
    colour = np.clip(colour, 0, 1)
    if band.dtype.kind == "u":
        colour = np.round(colour * np.float32(np.iinfo(band.dtype).max))
    colour = colour.astype(band.dtype)
    return colour if band.shape[2] in (1, 3) else np.concatenate([colour, band[:, :, -1:]], axis=2)
