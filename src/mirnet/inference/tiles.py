"""Cut a picture into overlapping tiles, and sample it for its scene; pure arithmetic on sizes and arrays."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Places = NDArray[np.integer]  # of rows or columns


@dataclass(frozen=True)
class Span:
    """A stretch along one side of a picture: what a tile gives, and what it sees for it."""

    given: slice
    seen: slice

    @property
    def core(self) -> slice:
        """What the tile gives, within what it sees."""
        return slice(self.given.start - self.seen.start, self.given.stop - self.seen.start)


def spans(size: int, tile_px: int, overlap_px: int, multiple: int) -> Iterator[Span]:
    """The spans of one side, first to last, all about as long and none longer than `tile_px`.

    `tile_px` and `overlap_px` are multiples of the network's size multiple, and so are all starts: everything
    seen then begins on the grid of the network's stem and streams, so that a tile sees the same pixels in the
    same places as the whole picture does. (A picture in one piece is one tile of its size, which begins at 0
    and needs no multiple.)
    """
    count = -(-size // tile_px)
    length = -(-size // (count * multiple)) * multiple  # even tiles: a last one of a few rows would cost as much
    for start in range(0, size, length):
        stop = min(start + length, size)
        yield Span(slice(start, stop), slice(max(start - overlap_px, 0), min(stop + overlap_px, size)))


def sample_starts(size: int, crop_px: int, count: int) -> list[int]:
    """Where `count` crops begin that are spread evenly over one side, first and last touching its ends."""
    if size <= crop_px:
        return [0]
    return sorted({int(start) for start in np.linspace(0, size - crop_px, count).round()})


def pad_to_multiple(tile: Floats, multiple: int) -> Floats:
    """(…, H, W) grown below and to the right to multiples, by repeated reflection; one-pixel sides repeat."""
    missing = [(0, 0)] * (tile.ndim - 2) + [(0, -side % multiple) for side in tile.shape[-2:]]
    return np.pad(tile, missing, mode="reflect") if any(after for _, after in missing) else tile


def spread(cells: Floats, height: int, width: int, rows: slice, columns: slice) -> Floats:
    """A map of cells (h, w) at the pixels `rows` x `columns` of a picture: bilinear, half-pixel centres, edges held."""
    return spread_at(cells, height, width, np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop))


def spread_at(cells: Floats, height: int, width: int, rows: Places, columns: Places) -> Floats:
    """The same at chosen rows and columns."""
    down, across = _weights(cells.shape[0], height, rows), _weights(cells.shape[1], width, columns)
    return np.asarray(down @ cells @ across.T, dtype=np.float32)


def _weights(cells: int, size: int, pixels: Places) -> Floats:  # (pixels, cells), rows sum to one
    place = np.clip((pixels + 0.5) * (cells / size) - 0.5, 0, cells - 1)
    return np.asarray(np.maximum(1 - np.abs(place[:, None] - np.arange(cells)), 0), dtype=np.float32)
