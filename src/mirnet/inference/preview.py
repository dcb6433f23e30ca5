"""`Preview`: one picture, looked at once, and rendered as often as somebody moves a slider.

The first look decides as for the whole picture; what is then rendered is the picture made smaller, or a part of it at
its own pixels, both with the whole picture's stops. What comes out is for a screen: upright, sRGB, 8 bit.
"""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirnet import images
from mirnet.errors import SettingsError
from mirnet.exposure import to_encoded
from mirnet.images.orientation import upright
from mirnet.inference.blending import (
    BlendWeights,
    ExposedTile,
    Floats,
    Pixels,
    blend_tile,
    expose_tile,
    to_linear_light,
    to_srgb_primaries,
    to_unit_range,
)
from mirnet.inference.downscaling import Downscaler, downscaled_size
from mirnet.inference.enhancer import Enhancer, Progress, mean_stops_of, target_mean_of
from mirnet.inference.first_pass import WHOLE_PX, SceneSamples, padded_px, read_bands, stops_in_window
from mirnet.inference.second_pass import (
    TILE_PX,
    WORKERS,
    RenderPlan,
    blend_weights_of,
    make_render_plan,
    process_tiles,
    restore_tile,
    run_first_pass,
    run_in_order,
    with_scene_statistics,
)
from mirnet.inference.settings import Settings
from mirnet.inference.source import REMEMBERED_BYTES, Source
from mirnet.inference.tiles import Span

Screen = NDArray[np.uint8]  # (h, w, 3 or 4), sRGB

MOST_PX = 8_300_000  # of a view of all of a picture: the finest screens
MOST_REGION_PX = WHOLE_PX  # of a region at its own pixels
MOST_SEEN_PX = 2_000_000  # with what the network must see around a region
# What the network made of the last views, of which other shares are then blended at once; one always.
VIEWS_KEPT, VIEWS_KEPT_PX = 3, 9_000_000
DECODED_WHOLE = ("bmp", "ppm", "heic", "raw")  # formats whose readers keep what they decoded
POLL_SECONDS = 0.05  # how often who waits for another view looks whether to go on


@dataclass(frozen=True)
class View:
    """What of a picture is shown: all of it with at most so many pixels, or a region at its own pixels.

    `region` is (x, y, width, height) in the upright picture. Raises SettingsError for what is no view.
    """

    pixels: int = 350_000
    region: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.pixels <= MOST_PX:
            raise SettingsError(f"pixels lie in 1 to {MOST_PX:,}, not at {self.pixels}.")
        if self.region is not None and (min(self.region[:2]) < 0 or min(self.region[2:]) < 1):
            raise SettingsError(f"region is x,y,width,height within the picture, not {self.region}.")
        area_px = 0 if self.region is None else self.region[2] * self.region[3]
        if area_px > MOST_REGION_PX:
            raise SettingsError(f"region has at most {MOST_REGION_PX:,} pixels, not {area_px:,}.")


@dataclass(frozen=True, eq=False)
class Rendered:
    """A view as it comes out, and the stops that the picture was given, in the mean."""

    pixels: Screen
    stops: float


@dataclass(frozen=True, eq=False)
class Layers:
    """A view in three states, (h, w, 3) each, between which any denoise and strength is a blend."""

    exposed: Screen
    restored: Screen
    automatic: Screen  # with denoise "auto"
    stops: float


@dataclass(frozen=True, eq=False)
class _Work:
    """What the network made of a view: `pixels` in the picture's own form, and where they lie in `source`."""

    source: Source
    pixels: Pixels
    tile: ExposedTile
    restored: Floats
    plan: RenderPlan
    rows: slice
    columns: slice

    def part(self, rows: slice, columns: slice, *within: slice) -> "_Work":
        """The window `rows` x `columns` of the source, which lies `within` what there is."""
        return _Work(self.source, self.pixels[within], self.tile.part(*within), self.restored[:, *within], self.plan,
                     rows, columns)  # fmt: skip

    @property
    def area_px(self) -> int:
        height, width = self.pixels.shape[:2]
        return int(height * width)

    @property
    def nbytes(self) -> int:
        """What it holds in memory."""
        light = 0 if self.tile.light is None else self.tile.light.nbytes
        return self.pixels.nbytes + self.tile.seen.nbytes + light + self.restored.nbytes


@dataclass(frozen=True)
class _Wish:
    """What shapes the picture: settings, and the photo to match by its checksum, so that nobody's photo is kept."""

    settings: Settings
    matched: str | None

    @staticmethod
    def of(settings: Settings) -> "_Wish":
        shaping = replace(settings, strength=1.0, denoise="auto", denoise_colour=None, format=None, quality=92,
                          provenance=True, overwrite=False, strip_location=False, tile=None, match=None)  # fmt: skip
        match settings.match:
            case bytes() as photo:
                return _Wish(shaping, hashlib.sha256(photo).hexdigest())
            case None:
                return _Wish(shaping, None)
            case path:
                return _Wish(shaping, str(path))


class Preview:
    """One picture, ready to be rendered again and again; safe to use from several threads."""

    def __init__(self, content: bytes, enhancer: Enhancer, settings: Settings,
                 progress: Progress = lambda done: None) -> None:  # fmt: skip
        """Look at the bytes of a picture file, which are kept; of `settings`, clip and max_megapixels count.

        `progress` may raise. Raises PictureError.
        """
        picture = images.open_image(content, max_megapixels=settings.max_megapixels, clip=settings.clip)
        self.content, self._enhancer, self.clip = content, enhancer, settings.clip
        self.source = Source.of_image(picture)
        header = picture.header
        self.width, self.height = images.upright_size(header)
        self.format, self.depth = header.format, header.depth
        self.remarks = (*picture.remarks, *self.source.remarks)
        self.blendable = header.depth == 8 and header.channels in (1, 3) and self.source.space is None
        downscaled = Downscaler(self.source, WHOLE_PX)
        self._seen = run_first_pass(
            self.source, enhancer.runtime, enhancer.card, samples=True, grid=True, also=[downscaled], progress=progress
        )
        self._small: dict[int, Source] = {WHOLE_PX: downscaled.source()}  # by the most pixels that they may have
        self._plans: dict[
            tuple[_Wish, int], RenderPlan
        ] = {}  # of the last wish, by the pixels of what is surveyed, 0: none
        self._means: dict[str, float] = {}  # of the last photo to match
        self._works: dict[tuple[View, _Wish], _Work] = {}
        self._lock = threading.Lock()
        whole = header.width * header.height * header.channels * (header.depth // 8)
        self._decoded_bytes = whole if whole <= REMEMBERED_BYTES or header.format in DECODED_WHOLE else 0
        self.nbytes = 0  # about what it holds in memory; grows with the views that are asked for
        self._count()

    @property
    def proposed_stops(self) -> float:
        """In the mean; 0 without exposure."""
        proposal = self._seen.proposal
        return 0.0 if proposal is None else float(proposal.mean())

    def original(self, view: View, progress: Progress = lambda done: None) -> Screen:
        """The view as the picture is. Raises SettingsError for a region outside, PictureError for a damaged file."""
        with self._alone(progress):
            source, rows, columns = self._place(view)
            return _shown(_window(source, rows, columns), source)

    def rendered(self, view: View, settings: Settings, progress: Progress = lambda done: None) -> Rendered:
        """The view, enhanced. `progress` may raise. Raises SettingsError, PictureError."""
        with self._alone(progress):
            work = self._work(view, settings, progress)
            wishes = blend_weights_of(work.source, work.plan, self._enhancer.card, settings, work.rows, work.columns)
            pixels = blend_tile(work.pixels, work.tile, work.restored, wishes, work.source.space)
            return Rendered(_shown(pixels, work.source), mean_stops_of(work.plan, settings))

    def layers(self, view: View, settings: Settings, progress: Progress = lambda done: None) -> Layers:
        """The view in its three states; strength and denoise of the settings do not count.

        Raises SettingsError where the picture is not `blendable`.
        """
        if not self.blendable:
            raise SettingsError("Layers are of opaque pictures of 8 bit in sRGB; ask for the rendered one.")
        with self._alone(progress):
            work = self._work(view, settings, progress)
            automatic = replace(settings, denoise="auto", strength=1.0)
            share = blend_weights_of(work.source, work.plan, self._enhancer.card, automatic, work.rows, work.columns)
            exposed, restored, auto = (
                _shown(blend_tile(work.pixels, work.tile, work.restored, state, None), work.source)
                for state in (BlendWeights(denoise=0.0), BlendWeights(denoise=1.0), share)
            )
            return Layers(exposed, restored, auto, mean_stops_of(work.plan, settings))

    # --- what is kept -----------------------------------------------------------------------------

    def _work(self, view: View, settings: Settings, progress: Progress) -> _Work:
        """What the network makes of a view, kept for the next question about it."""
        self._enhancer.check(settings)
        if view.region is not None and padded_px(self.source) <= WHOLE_PX:  # which pools itself, in one piece
            _, rows, columns = self._place(view)
            return self._work(View(WHOLE_PX), settings, progress).part(rows, columns, rows, columns)
        wish = _Wish.of(settings)
        key = (view, wish)
        if key not in self._works:
            progress(0.0)
            source, rows, columns = self._place(view)
            plan = self._plan(wish, settings, source)
            progress(0.0)
            rendered = self._tiled if padded_px(source) > WHOLE_PX and view.region is None else self._rendered
            self._works[key] = rendered(source, plan, rows, columns, wish.settings, progress)
            while len(self._works) > 1 and self._too_many():
                del self._works[next(iter(self._works))]
            self._count()
        progress(1.0)
        return self._works[key]

    def _too_many(self) -> bool:
        return len(self._works) > VIEWS_KEPT or sum(each.area_px for each in self._works.values()) > VIEWS_KEPT_PX

    def _plan(self, wish: _Wish, settings: Settings, source: Source) -> RenderPlan:
        """The plan for what is shown of `source`, the picture or a smaller one: always the stops of the picture.

        What is shown in one piece needs no survey; a smaller picture in tiles is a scene of its own.
        """
        area_px = source.height * source.width if padded_px(source) > WHOLE_PX else 0
        if (wish, area_px) not in self._plans:
            runtime, card = self._enhancer.runtime, self._enhancer.card
            mean = self._wanted_mean(wish, settings)
            plan = make_render_plan(
                self._seen, runtime, card, wish.settings, target_mean=mean, survey=source is self.source
            )
            if area_px and source is not self.source:
                samples = SceneSamples(source)
                read_bands(source, [samples])
                plan = with_scene_statistics(plan, samples, runtime, card, wish.settings)
            others = {key: self._plans[key] for key in self._plans if key[0] == wish}
            self._plans = others | {(wish, area_px): plan}
        return self._plans[wish, area_px]

    def _wanted_mean(self, wish: _Wish, settings: Settings) -> float | None:
        if wish.matched is None:
            return None
        if wish.matched not in self._means:
            mean = target_mean_of(settings)
            assert mean is not None, "settings without the photo that their wish names"
            self._means = {wish.matched: mean}
        return self._means[wish.matched]

    @contextmanager
    def _alone(self, progress: Progress) -> Iterator[None]:
        """One view at a time; `progress` is called while another is in work, and may raise."""
        while not self._lock.acquire(timeout=POLL_SECONDS):
            progress(0.0)
        try:
            yield
        finally:
            self._lock.release()

    def _tiled(self, source: Source, plan: RenderPlan, rows: slice, columns: slice, settings: Settings,
               progress: Progress) -> _Work:  # fmt: skip
        """All of a picture that is too large for one piece."""
        card, runtime = self._enhancer.card, self._enhancer.runtime

        def work(down: Span, across: Span, pixels: Pixels) -> Floats:
            _, restored = restore_tile(source, plan, runtime, card, settings, down.seen, across.seen, pixels)
            return restored[:, down.core, across.core].transpose(1, 2, 0)

        restored = np.concatenate(list(process_tiles(source, TILE_PX, card, work, progress)))
        pixels, stops = _window(source, rows, columns), stops_in_window(plan.stops, source, rows, columns)
        tile = expose_tile(pixels, stops, settings.warmth, source.space)
        return _Work(source, pixels, tile, restored.transpose(2, 0, 1), plan, rows, columns)

    def _rendered(self, source: Source, plan: RenderPlan, rows: slice, columns: slice, settings: Settings,
                  progress: Progress) -> _Work:  # fmt: skip
        """A part of a picture, in tiles, or all of a small one, in one piece."""
        card, runtime = self._enhancer.card, self._enhancer.runtime
        down = _with_context(rows, source.height, card.overlap_px, card.size_multiple)
        across = _with_context(columns, source.width, card.overlap_px, card.size_multiple)
        seen_px = (down.seen.stop - down.seen.start) * (across.seen.stop - across.seen.start)
        if seen_px > MOST_SEEN_PX:
            raise SettingsError(
                f"region is too narrow for its length: with what the network must see around it, it has {seen_px:,} "
                f"pixels, and {MOST_SEEN_PX:,} are allowed; ask for a shorter part."
            )
        pixels = _window(source, down.seen, across.seen)
        if plan.scene is None:
            tick = partial(progress, 0.0)
            tile, restored = restore_tile(source, plan, runtime, card, settings, rows, columns, pixels, tick)
            return _Work(source, pixels, tile, restored, plan, rows, columns)

        def work(below: Span, beside: Span) -> Floats:
            seen = pixels[_within(below.seen, down.seen), _within(beside.seen, across.seen)]
            _, part = restore_tile(source, plan, runtime, card, settings, below.seen, beside.seen, seen)
            return part[:, below.core, beside.core]

        pieces = [
            (_with_context(high, source.height, card.overlap_px, card.size_multiple),
             _with_context(wide, source.width, card.overlap_px, card.size_multiple))
            for high in _cut(rows) for wide in _cut(columns)
        ]  # fmt: skip
        restored = np.empty((3, rows.stop - rows.start, columns.stop - columns.start), dtype=np.float32)
        for number, part in enumerate(run_in_order((partial(work, *piece) for piece in pieces), WORKERS)):
            below, beside = pieces[number]
            restored[:, _within(below.given, rows), _within(beside.given, columns)] = part
            progress(number / len(pieces))
        core = pixels[down.core, across.core]
        tile = expose_tile(core, stops_in_window(plan.stops, source, rows, columns), settings.warmth, source.space)
        return _Work(source, core, tile, restored, plan, rows, columns)

    def _place(self, view: View) -> tuple[Source, slice, slice]:
        """The picture that a view is of, and the window of it, both as stored. Raises SettingsError."""
        if view.region is None:
            source = self._downscale_to(view.pixels)
            return source, slice(0, source.height), slice(0, source.width)
        x, y, width, height = view.region
        if x + width > self.width or y + height > self.height:
            raise SettingsError(f"region lies within {self.width} x {self.height} pixels; {view.region} does not.")
        return self.source, *_stored_window(self.source, (y, x), (y + height - 1, x + width - 1))

    def _downscale_to(self, most_px: int) -> Source:
        larger = self._small[WHOLE_PX] if most_px <= WHOLE_PX else self.source
        if downscaled_size(larger.height, larger.width, most_px) == (larger.height, larger.width):
            return larger
        if most_px not in self._small:
            downscaled = Downscaler(larger, most_px)
            read_bands(larger, [downscaled])
            newest = [each for each in self._small if each != WHOLE_PX][-1:]  # a quick view and a finer one take turns
            self._small = {each: self._small[each] for each in (WHOLE_PX, *newest)} | {most_px: downscaled.source()}
        return self._small[most_px]

    def _count(self) -> None:
        """About: the file, the picture where that is kept decoded, the small ones, and the views."""
        small = sum(each.height * each.width * 12 for each in self._small.values())
        views = sum(each.nbytes for each in self._works.values())
        self.nbytes = len(self.content) + self._decoded_bytes + small + views


def _window(source: Source, rows: slice, columns: slice) -> Pixels:
    """The pixels of a window of a picture, in its own form."""
    found, top = [], 0
    for band in source.in_bands():
        if top >= rows.stop:
            break
        found.append(band[max(rows.start - top, 0) : rows.stop - top, columns])
        top += len(band)
    return np.concatenate(found)


def _cut(window: slice) -> list[slice]:
    """A window in parts of about equal length, none longer than a tile."""
    count = -(-(window.stop - window.start) // TILE_PX)
    edges = np.linspace(window.start, window.stop, count + 1).astype(int).tolist()
    return [slice(*ends) for ends in pairwise(edges)]


def _within(window: slice, other: slice) -> slice:
    return slice(window.start - other.start, window.stop - other.start)


def _with_context(window: slice, size: int, overlap_px: int, multiple: int) -> Span:
    """A window with what it must see, which begins on the network's grid."""
    start = max(window.start - overlap_px, 0) // multiple * multiple
    return Span(window, slice(start, min(window.stop + overlap_px, size)))


def _stored_window(source: Source, *corners: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns, as stored, of a window with these opposite (row, column) corners in the upright picture."""
    height, width = source.height, source.width
    windows = []
    for numbers in (np.arange(height)[:, None], np.arange(width)[None]):
        turned = upright(np.broadcast_to(numbers, (height, width)), source.orientation)  # a view: nothing is written
        ends = sorted(int(turned[corner]) for corner in corners)
        windows.append(slice(ends[0], ends[1] + 1))
    return windows[0], windows[1]


def _shown(pixels: Pixels, source: Source) -> Screen:
    """A picture's own pixels (rows, width, channels) as a screen shows them: upright, sRGB, 8 bit."""
    alpha = pixels[:, :, -1:] if pixels.shape[2] in (2, 4) else None
    if pixels.dtype == np.uint8 and source.space is None:
        colour: NDArray[Any] = pixels[:, :, : 1 if pixels.shape[2] < 3 else 3]
    else:
        light = to_srgb_primaries(to_linear_light(pixels, source.space), source.space)
        colour = _eight_bit(to_encoded(light).transpose(1, 2, 0))
    planes = [np.repeat(colour, 3, axis=2) if colour.shape[2] == 1 else colour]
    if alpha is not None:
        planes.append(alpha if alpha.dtype == np.uint8 else _eight_bit(to_unit_range(alpha)))
    return np.ascontiguousarray(upright(np.concatenate(planes, axis=2), source.orientation))


def _eight_bit(values: NDArray[Any]) -> Screen:
    return np.asarray(np.rint(np.clip(values, 0, 1) * np.float32(255)), dtype=np.uint8)
