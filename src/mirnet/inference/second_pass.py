"""The second pass: an image is rendered as its plan says, in bands of rows.

A small image is rendered in one piece, a large one in tiles that share scene statistics and stops, so that no tile
shows.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirnet.errors import Cancelled
from mirnet.exposure import expose
from mirnet.inference import tiles
from mirnet.inference.blending import (
    BlendWeights,
    ExposedTile,
    Floats,
    Pixels,
    blend_tile,
    expose_tile,
    find_black_blocks,
)
from mirnet.inference.catalog import Card
from mirnet.inference.render_plan import RenderPlan
from mirnet.inference.runtimes import NEVER, Runtime, ShouldStop
from mirnet.inference.scene_statistics import compute_brightness_factor
from mirnet.inference.settings import Settings
from mirnet.inference.source import ImageSource

Progress = Callable[[float], None]
TileWork = Callable[[tiles.Span, tiles.Span, Pixels], NDArray[Any]]  # rows, columns and the input's pixels to an output

MAX_HELD_BYTES = 96 * 2**20  # of stored rows at a time; the tiles of a very wide image are less high
WORKERS = 2  # tiles in work at a time: what numpy does for one overlaps with the network on the other


@dataclass(frozen=True, eq=False)
class SecondPass:
    """An image with the plan and the network that render it, whole or a window at a time."""

    source: ImageSource
    plan: RenderPlan
    runtime: Runtime
    card: Card
    settings: Settings

    def render(self, progress: Progress = lambda done: None,
               should_stop: ShouldStop = NEVER) -> Iterator[Pixels]:  # fmt: skip
        """Bands of the enhanced image, of the source's channels and dtype, from top to bottom.

        `progress` is called with 0 to 1, with 1 after the last band was taken. Raises Cancelled once `should_stop()` is
        true, also after the last band: a writer of the bands completes no file before the iterator has ended.
        """
        progress(0.0)
        if self.settings.strength == 0:
            yield from self.source.iter_bands()
        else:
            # of several tiles each is done soon: only a single one is asked to stop before it is done
            one_piece = max(self.source.height, self.source.width) <= self.plan.tile_px
            work = partial(self._render_tile, should_stop if one_piece else None)
            yield from self.map_tiles(work, self.plan.tile_px, progress, should_stop)
        if should_stop():
            raise Cancelled
        progress(1.0)

    def map_tiles(self, work: TileWork, tile_px: int, progress: Progress,
                  should_stop: ShouldStop) -> Iterator[NDArray[Any]]:  # fmt: skip
        """The outputs of `work(rows, columns, input pixels)` for all tiles, joined to bands from top to bottom."""
        source, card = self.source, self.card
        columns = list(tiles.split_into_spans(source.width, tile_px, card.overlap_px, card.size_multiple))
        calls = (
            partial(work, rows, column, held[:, column.input])
            for rows, held in self._read_rows_of_tiles(tile_px)
            for column in columns
        )
        done = 0
        # an image in one piece needs no threads
        many = len(columns) > 1 or source.height > tile_px
        row = np.empty(0)
        for column, tile in zip(cycle(columns), run_in_order(calls, WORKERS) if many else (call() for call in calls)):
            if should_stop():
                raise Cancelled
            if column is columns[0]:
                row = np.empty((len(tile), source.width, tile.shape[2]), dtype=tile.dtype)
            row[:, column.output] = tile
            done += tile.shape[0] * tile.shape[1]
            progress(done / (source.height * source.width))
            if column is columns[-1]:
                yield row

    def restore(self, rows: slice, columns: slice, pixels: Pixels,
                should_stop: ShouldStop | None = None) -> tuple[ExposedTile, Floats]:  # fmt: skip
        """The pixels of a window of the image, exposed, and what the network makes of them: (3, rows, width).

        `pixels` are (rows, width, channels) as the image stores them. Raises Cancelled once `should_stop()` is true.
        """
        plan, settings, multiple = self.plan, self.settings, self.card.size_multiple
        stops = self.source.stops_in_window(plan.stops, rows, columns)
        tile = expose_tile(pixels, stops, settings.warmth, self.source.space)
        height, width = pixels.shape[:2]
        image = tiles.pad_to_multiple(tile.srgb[None], multiple)
        stops_map = None if stops is None else tiles.pad_to_multiple(stops[None, None], multiple)
        restored = self.runtime.restore(image, stops_map, plan.scene_vector, should_stop)[0][0, :, :height, :width]
        if settings.keep_exposure:  # denoising alone leaves the mean where it is
            factor = plan.brightness_factor
            if factor is None:
                factor = compute_brightness_factor(tile.srgb, restored)
            restored = restored * np.float32(factor)
        if stops is None and settings.exposure:
            restored = expose(np.clip(restored, 0, 1), settings.exposure)
        black = find_black_blocks(pixels, multiple)  # tiles begin on multiples of it, so that all find the same
        return tile, np.where(black, tile.srgb, restored) if black.any() else restored

    def blend_weights(self, rows: slice, columns: slice) -> BlendWeights:
        """How much of the network's change is applied in a window of the image."""
        proposal = self.source.stops_in_window(self.plan.proposal, rows, columns)
        return BlendWeights(self.settings.strength, self._denoise_weight(proposal), self.settings.denoise_colour)

    def _render_tile(self, should_stop: ShouldStop | None, rows: tiles.Span, columns: tiles.Span,
                     pixels: Pixels) -> Pixels:  # fmt: skip
        tile, restored = self.restore(rows.input, columns.input, pixels, should_stop)
        inner = (rows.inner, columns.inner)
        weights = self.blend_weights(rows.output, columns.output)
        return blend_tile(pixels[inner], tile.part(*inner), restored[:, *inner], weights, self.source.space)

    def _denoise_weight(self, proposal: Floats | None) -> float | Floats:
        """How much of the denoising is applied: everywhere, or at each pixel of the proposed stops (h, w)."""
        if proposal is None:
            return 1.0
        if self.settings.denoise != "auto":
            return float(self.settings.denoise)
        if self.settings.keep_exposure:
            return 1.0
        floor = np.float32(self.card.denoise_at_zero_stops)
        return np.asarray(floor + (1 - floor) * np.clip(proposal, 0, 1), dtype=np.float32)

    def _read_rows_of_tiles(self, tile_px: int) -> Iterator[tuple[tiles.Span, Pixels]]:
        """Each row of tiles with the pixels of its input; only these are held in memory."""
        overlap_px, multiple = self.card.overlap_px, self.card.size_multiple
        bands = iter(self.source.iter_bands())
        held, top = next(bands), 0
        fitting = MAX_HELD_BYTES // (held[0].nbytes or 1) - 2 * overlap_px
        height = max(2 * multiple, min(tile_px, fitting // multiple * multiple))
        for span in tiles.split_into_spans(self.source.height, height, overlap_px, multiple):
            held, top = held[span.input.start - top :], span.input.start
            waiting, rows = [held], len(held)
            while top + rows < span.input.stop:
                waiting.append(next(bands))
                rows += len(waiting[-1])
            held = np.concatenate(waiting) if len(waiting) > 1 else held
            waiting.clear()  # of a wide image these are a hundred megabytes
            yield span, held[: span.input.stop - top]


def run_in_order(calls: Iterable[Callable[[], Pixels]], at_once: int) -> Iterator[Pixels]:
    """The results of the calls, in their order, `at_once` of them running; one more waits, with its pixels decoded."""
    waiting: deque[Future[Pixels]] = deque()
    with ThreadPoolExecutor(at_once) as pool:
        try:
            for call in calls:
                waiting.append(pool.submit(call))
                if len(waiting) > at_once:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
