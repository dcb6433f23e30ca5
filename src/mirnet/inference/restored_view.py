"""`RestoredView`: a view of an image after the network, of which any strength and denoise are then blended at once."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mirnet.errors import Cancelled, SettingsError
from mirnet.inference import tiles
from mirnet.inference.blending import BlendWeights, ExposedTile, Floats, Pixels, blend_tile, expose_tile
from mirnet.inference.runtimes import ShouldStop
from mirnet.inference.second_pass import WORKERS, Progress, SecondPass, run_in_order
from mirnet.inference.settings import Settings
from mirnet.inference.view import Screen, relative_to, span_with_context, split_window, to_screen

MAX_REGION_INPUT_PX = 2_000_000  # of a region with what the network needs around it


@dataclass(frozen=True, eq=False)
class RestoredView:
    """A window of an image, `rows` and `columns` of the second pass's source, exposed and restored."""

    second_pass: SecondPass
    pixels: Pixels  # as the image stores them
    tile: ExposedTile
    restored: Floats  # (3, rows, width)
    rows: slice
    columns: slice

    def blend(self, settings: Settings) -> Screen:
        """The view with the strength and denoise of these settings."""
        return self.blend_by(replace(self.second_pass, settings=settings).blend_weights(self.rows, self.columns))

    def blend_by(self, weights: BlendWeights) -> Screen:
        """The view with these weights."""
        source = self.second_pass.source
        return to_screen(blend_tile(self.pixels, self.tile, self.restored, weights, source.space), source)

    def part(self, rows: slice, columns: slice) -> "RestoredView":
        """The window `rows` x `columns` of the source, which lies within this view."""
        within = relative_to(rows, self.rows), relative_to(columns, self.columns)
        return RestoredView(self.second_pass, self.pixels[within], self.tile.part(*within), self.restored[:, *within],
                            rows, columns)  # fmt: skip

    @property
    def area_px(self) -> int:
        height, width = self.pixels.shape[:2]
        return int(height * width)

    @property
    def nbytes(self) -> int:
        """The memory that its arrays take."""
        light = 0 if self.tile.light is None else self.tile.light.nbytes
        return self.pixels.nbytes + self.tile.srgb.nbytes + light + self.restored.nbytes


def restore_in_tiles(second_pass: SecondPass, progress: Progress, should_stop: ShouldStop) -> RestoredView:
    """All of an image that is too large for one piece. Raises Cancelled once `should_stop()` is true."""
    source = second_pass.source

    def restore_tile(rows: tiles.Span, columns: tiles.Span, pixels: Pixels) -> Floats:
        _, restored = second_pass.restore(rows.input, columns.input, pixels)
        return restored[:, rows.inner, columns.inner].transpose(1, 2, 0)

    restored = np.concatenate(list(second_pass.map_tiles(restore_tile, tiles.TILE_PX, progress, should_stop)))
    rows, columns = slice(0, source.height), slice(0, source.width)
    pixels = source.read_window(rows, columns)
    return RestoredView(second_pass, pixels, _expose(second_pass, pixels, rows, columns), restored.transpose(2, 0, 1),
                        rows, columns)  # fmt: skip


def restore_window(second_pass: SecondPass, rows: slice, columns: slice, progress: Progress,
                   should_stop: ShouldStop) -> RestoredView:  # fmt: skip
    """A region of an image, in tiles, or all of a small image, in one piece.

    Raises SettingsError for a region with too much input around it, Cancelled once `should_stop()` is true.
    """
    source, card = second_pass.source, second_pass.card
    down = span_with_context(rows, source.height, card)
    across = span_with_context(columns, source.width, card)
    input_px = (down.input.stop - down.input.start) * (across.input.stop - across.input.start)
    if input_px > MAX_REGION_INPUT_PX:
        raise SettingsError(
            f"region is too narrow for its length: with what the network needs around it, it has {input_px:,} "
            f"pixels, and {MAX_REGION_INPUT_PX:,} are allowed; choose a shorter region."
        )
    pixels = source.read_window(down.input, across.input)
    if second_pass.plan.scene_vector is None:
        tile, restored = second_pass.restore(rows, columns, pixels, should_stop)
        return RestoredView(second_pass, pixels, tile, restored, rows, columns)

    def restore_part(high: tiles.Span, wide: tiles.Span) -> Floats:
        part = pixels[relative_to(high.input, down.input), relative_to(wide.input, across.input)]
        _, restored = second_pass.restore(high.input, wide.input, part)
        return restored[:, high.inner, wide.inner]

    parts = [
        (span_with_context(high, source.height, card), span_with_context(wide, source.width, card))
        for high in split_window(rows) for wide in split_window(columns)
    ]  # fmt: skip
    restored = np.empty((3, rows.stop - rows.start, columns.stop - columns.start), dtype=np.float32)
    for number, part in enumerate(run_in_order((partial(restore_part, *each) for each in parts), WORKERS)):
        if should_stop():
            raise Cancelled
        high, wide = parts[number]
        restored[:, relative_to(high.output, rows), relative_to(wide.output, columns)] = part
        progress(number / len(parts))
    inner = pixels[down.inner, across.inner]
    return RestoredView(second_pass, inner, _expose(second_pass, inner, rows, columns), restored, rows, columns)


def _expose(second_pass: SecondPass, pixels: Pixels, rows: slice, columns: slice) -> ExposedTile:
    stops = second_pass.source.stops_in_window(second_pass.plan.stops, rows, columns)
    return expose_tile(pixels, stops, second_pass.settings.warmth, second_pass.source.space)
