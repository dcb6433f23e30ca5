"""One picture through the network, in bands of rows: look at it once, then render it.

The first pass yields the thumbnail, from which the exposure is proposed, and of a large picture
samples, from which its scene is surveyed. The second pass renders: a small picture in one piece, a
large one in tiles that share the scene's statistics and the stops, so that no tile shows.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import expose
from mirnet.inference import tiles
from mirnet.inference.catalog import Card
from mirnet.inference.runtimes import Floats, Runtime
from mirnet.inference.settings import Settings
from mirnet.thumbnail import ThumbnailBuilder

Pixels = NDArray[Any]

WHOLE_PX = 1_500_000  # pictures up to this many pixels are rendered in one piece
TILE_PX = 1024
BAND_ROWS = 256
SAMPLE_PX, SAMPLES_A_SIDE = 192, 6  # of the survey: 36 crops, as many pixels as a picture of 1.3 megapixels
LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # Rec. 709


@dataclass(frozen=True)
class Source:
    """A picture that can be read from top to bottom as often as needed.

    `bands(rows)` yields (at most rows, width, channels) uint8, uint16 or float in [0, 1]; channels are
    1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha. `orientation` is the EXIF tag, 1 to 8.
    """

    height: int
    width: int
    bands: Callable[[int], Iterable[Pixels]]
    upright: Callable[[Pixels], Pixels] = lambda x: x
    stored: Callable[[Pixels], Pixels] = lambda x: x

    @staticmethod
    def of(array: Pixels) -> "Source":
        """A whole (H, W, C) array: the case of one band."""
        return Source(array.shape[0], array.shape[1], lambda rows: [array])


@dataclass(frozen=True)
class Plan:
    """What the first look at a picture decides: the stops of each cell, and the scene of a large one."""

    proposal: Floats | None  # (h, w) stops as proposed, before anybody's wishes; None without exposure
    stops: Floats | None  # (h, w) stops that the picture gets
    scene: Floats | None  # (K,); None: the picture pools itself, in one piece
    tile_px: int

    @property
    def mean_proposal(self) -> float:
        """In stops; 0 without exposure."""
        return 0.0 if self.proposal is None else float(self.proposal.mean())


def look(source: Source, runtime: Runtime, card: Card, settings: Settings, added_stops: float = 0.0) -> Plan:
    """The first pass over a picture; `added_stops` go on top of what the settings say."""
    whole = source.height * source.width <= WHOLE_PX
    builder = ThumbnailBuilder(source.height, source.width)
    sampler = _Sampler(source, whole)
    top = 0
    for band in source.bands(BAND_ROWS):
        unit = to_rgb(band)
        builder.add(top, unit)
        sampler.add(top, unit)
        top += len(band)
    proposal = stops = None
    if card.takes_exposure:
        proposal = _propose(builder.finish(), source, runtime)
        start = np.zeros_like(proposal) if settings.keep_exposure else proposal
        stops = start + np.float32(settings.exposure + added_stops)
    if whole:
        return Plan(proposal, stops, None, max(source.height, source.width))
    return Plan(proposal, stops, sampler.survey(runtime, card, stops), TILE_PX)


def _propose(thumbnail: Floats, source: Source, runtime: Runtime) -> Floats:
    """The head sees the thumbnail upright; its map comes back in the picture's stored order."""
    upright = np.ascontiguousarray(source.upright(thumbnail).transpose(2, 0, 1))[None]
    return np.ascontiguousarray(source.stored(runtime.propose(upright)[0, 0][:, :, None])[:, :, 0])


class _Sampler:
    """Native-resolution crops on an even grid, kept while the picture streams by."""

    def __init__(self, source: Source, whole: bool) -> None:
        self._size = (source.height, source.width)
        self._crop = (min(SAMPLE_PX, source.height), min(SAMPLE_PX, source.width))
        starts = [
            tiles.sample_starts(side, crop, SAMPLES_A_SIDE) for side, crop in zip(self._size, self._crop, strict=True)
        ]
        self._places = [] if whole else [(top, left) for top in starts[0] for left in starts[1]]
        self._crops = np.zeros((len(self._places), *self._crop, 3), dtype=np.float32)

    def add(self, band_top: int, band: Floats) -> None:
        for crop, (top, left) in zip(self._crops, self._places, strict=True):
            first, last = max(top, band_top), min(top + self._crop[0], band_top + len(band))
            if first < last:
                columns = slice(left, left + self._crop[1])
                crop[first - top : last - top] = band[first - band_top : last - band_top, columns]

    def survey(self, runtime: Runtime, card: Card, stops: Floats | None) -> Floats:
        inputs = [
            _network_input(crop, stops, card, self._size,
                           slice(top, top + self._crop[0]), slice(left, left + self._crop[1]))
            for crop, (top, left) in zip(self._crops, self._places, strict=True)
        ]  # fmt: skip
        pictures = np.concatenate([picture for picture, _ in inputs])
        maps = [stops for _, stops in inputs if stops is not None]
        return runtime.restore(pictures, np.concatenate(maps) if maps else None, None)[1]


def _network_input(crop: Floats, cells: Floats | None, card: Card, size: tuple[int, int],
                   rows: slice, columns: slice) -> tuple[Floats, Floats | None]:  # fmt: skip
    """A crop (h, w, 3) as the graph wants it: exposed (1, 3, H, W), and its stops (1, 1, H, W); padded to multiples."""
    stops = None
    if cells is not None:
        stops = tiles.spread(cells, *size, rows, columns)
        crop = expose(crop, stops[:, :, None])
        stops = tiles.pad_to_multiple(stops[None, None], card.size_multiple)
    return tiles.pad_to_multiple(np.ascontiguousarray(crop.transpose(2, 0, 1))[None], card.size_multiple), stops


def render(source: Source, plan: Plan, runtime: Runtime, card: Card, settings: Settings,
           progress: Callable[[float], None]) -> Iterator[Pixels]:  # fmt: skip
    """The second pass: bands of the enhanced picture, of the source's channels and dtype, from top to bottom."""
    size = (source.height, source.width)
    columns = list(tiles.spans(source.width, plan.tile_px, card.overlap_px))
    for rows, band in _bands_with_context(source, plan.tile_px, card.overlap_px):
        unit = to_rgb(band)
        enhanced = []
        for column in columns:
            seen = unit[:, column.low : column.high]
            where = (slice(rows.low, rows.high), slice(column.low, column.high))
            picture, stops = _network_input(seen, plan.stops, card, size, *where)
            restored = runtime.restore(picture, stops, plan.scene)[0][0].transpose(1, 2, 0)
            restored = np.clip(restored[rows.core, column.core], 0, 1)
            core = seen[rows.core, column.core]
            exposed = picture[0].transpose(1, 2, 0)[rows.core, column.core]
            where = (slice(rows.start, rows.stop), slice(column.start, column.stop))
            enhanced.append(_blend(core, exposed, restored, plan.proposal, settings, card, size, *where))
            progress((rows.start + (rows.stop - rows.start) * column.stop / source.width) / source.height)
        yield like(np.concatenate(enhanced, axis=1), band[rows.core])


def _bands_with_context(source: Source, tile_px: int, overlap_px: int) -> Iterator[tuple[tiles.Span, Pixels]]:
    """Each row of tiles with the rows around it that it must see; only these are held."""
    bands = iter(source.bands(min(BAND_ROWS, tile_px)))
    held, top = next(bands), 0
    for span in tiles.spans(source.height, tile_px, overlap_px):
        waiting = [held]
        rows = len(held)
        while top + rows < span.high:
            waiting.append(next(bands))
            rows += len(waiting[-1])
        held = np.concatenate(waiting) if len(waiting) > 1 else held
        held, top = held[span.low - top :], span.low
        yield span, held[: span.high - top]


def _blend(original: Floats, exposed: Floats, restored: Floats, proposal: Floats | None, settings: Settings, card: Card,
           size: tuple[int, int], rows: slice, columns: slice) -> Floats:  # fmt: skip
    """In this order: `denoise` blends exposed and restored, `strength` blends the original and that."""
    if proposal is None:
        result = expose(restored, settings.exposure) if settings.exposure else restored
    else:
        share = _denoise_share(proposal, settings, card, size, rows, columns)
        result = exposed + share * (restored - exposed)
    return result if settings.strength == 1 else original + np.float32(settings.strength) * (result - original)


def _denoise_share(proposal: Floats, settings: Settings, card: Card, size: tuple[int, int],
                   rows: slice, columns: slice) -> Floats | np.float32:  # fmt: skip
    if settings.denoise != "auto":
        return np.float32(settings.denoise)
    if settings.keep_exposure:
        return np.float32(1)
    stops = tiles.spread(proposal, *size, rows, columns)[:, :, None]
    floor = np.float32(card.denoise_at_zero_stops)
    return floor + (1 - floor) * np.clip(stops, 0, 1)


def to_rgb(band: Pixels) -> Floats:
    """(rows, W, 3) float32 in [0, 1] of a band in any of a source's forms; grey repeated, alpha left out."""
    unit = band.astype(np.float32)
    if band.dtype.kind == "u":
        unit /= np.float32(np.iinfo(band.dtype).max)
    return np.repeat(unit[:, :, :1], 3, axis=2) if band.shape[2] < 3 else np.ascontiguousarray(unit[:, :, :3])


def like(rgb: Floats, band: Pixels) -> Pixels:
    """An enhanced band with the source's channels and dtype: grey is luma, alpha the source's; rounding comes last."""
    colour = (rgb @ LUMA)[:, :, None] if band.shape[2] < 3 else rgb
    if band.dtype.kind == "u":
        white = np.iinfo(band.dtype).max
        colour = np.clip(np.round(colour * white), 0, white)
    else:
        colour = np.clip(colour, 0, 1)
    colour = colour.astype(band.dtype)
    return colour if band.shape[2] in (1, 3) else np.concatenate([colour, band[:, :, -1:]], axis=2)
