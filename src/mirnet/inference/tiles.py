"""How an image is cut into overlapping tiles, sampled and padded, and how a map of cells becomes one value per pixel.

Arithmetic on sizes and arrays: nothing here knows a network or a file.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirnet.thumbnail import CELL_PX

Floats = NDArray[np.float32]
Positions = NDArray[np.integer]  # of rows or columns

TILE_PX = 640  # the side that is fastest for its memory of those measured (docs/performance.md)
MAX_ONE_PIECE_PX = 1_500_000  # images up to this area are measured whole, and rendered in one piece


@dataclass(frozen=True)
class Span:
    """A tile along one side of an image: the pixels that it outputs, and those that the network gets for them."""

    output: slice
    input: slice

    @property
    def inner(self) -> slice:
        """Where the output lies within the input."""
        return slice(self.output.start - self.input.start, self.output.stop - self.input.start)


def padded_area_px(height: int, width: int) -> int:
    """About how many pixels the network gets for a whole image: it pads each side to at least 8."""
    return max(height, CELL_PX) * max(width, CELL_PX)


def fits_one_piece(height: int, width: int) -> bool:
    """Whether an image of this size goes through the network in one piece, not in tiles."""
    return padded_area_px(height, width) <= MAX_ONE_PIECE_PX


def round_up(size: int, multiple: int) -> int:
    """The smallest multiple that is at least `size`."""
    return -(-size // multiple) * multiple


def split_into_spans(size: int, tile_px: int, overlap_px: int, multiple: int) -> Iterator[Span]:
    """The spans of one side of an image, first to last, about equally long and none longer than `tile_px`.

    `tile_px` and `overlap_px` are multiples of the network's size multiple, and so are all starts: every input
    then begins on the grid of the network's stem and streams, so that a tile has the same pixels in the same
    places as the whole image has. (An image in one piece is one tile of its size, which begins at 0 and needs no
    multiple.)
    """
    count = -(-size // tile_px)
    length = round_up(-(-size // count), multiple)  # even tiles: a last one of a few rows would cost as much
    for start in range(0, size, length):
        stop = min(start + length, size)
        yield Span(slice(start, stop), slice(max(start - overlap_px, 0), min(stop + overlap_px, size)))


def sample_starts(size: int, crop_px: int, count: int) -> list[int]:
    """Where `count` crops of `crop_px` begin along one side: evenly spaced, the first and last at its ends."""
    if size <= crop_px:
        return [0]
    return sorted({int(start) for start in np.linspace(0, size - crop_px, count).round()})


def pad_to_multiple(tile: Floats, multiple: int) -> Floats:
    """(…, H, W) padded below and to the right to multiples, by repeated reflection; one-pixel sides repeat."""
    missing = [(0, 0)] * (tile.ndim - 2) + [(0, -side % multiple) for side in tile.shape[-2:]]
    return np.pad(tile, missing, mode="reflect") if any(after for _, after in missing) else tile


def interpolate_map(cells: Floats, height: int, width: int, rows: slice, columns: slice) -> Floats:
    """A map of cells (h, w) over an image of `height` x `width`, at the pixels of the window `rows` x `columns`.

    Bilinear, with half-pixel centres; beyond the outermost centres the edge value holds.
    """
    down, across = np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)
    return interpolate_map_at(cells, height, width, down, across)


def interpolate_map_at(cells: Floats, height: int, width: int, rows: Positions, columns: Positions) -> Floats:
    """The same as `interpolate_map` at chosen rows and columns."""
    down = _interpolation_weights(cells.shape[0], height, rows)
    across = _interpolation_weights(cells.shape[1], width, columns)
    return np.asarray(down @ cells @ across.T, dtype=np.float32)


def _interpolation_weights(cells: int, size: int, pixels: Positions) -> Floats:  # (pixels, cells), rows sum to one
    place = np.clip((pixels + 0.5) * (cells / size) - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0), dtype=np.float32)
