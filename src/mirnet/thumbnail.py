"""The thumbnail from which an exposure is proposed: averaged in linear light, so that noise is gone."""

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import to_encoded, to_linear

LONG_SIDE_PX = 96
CELL_PX = 8  # thumbnail pixels to a cell of the stops map; both sides are multiples of it
STRETCH_PX = 65536  # of columns in one go


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the thumbnail of a picture: 96 on the long side, the other in proportion, rounded to 8."""
    scale = LONG_SIDE_PX / max(height, width)
    return tuple(max(CELL_PX, round(side * scale / CELL_PX) * CELL_PX) for side in (height, width))  # type: ignore[return-value]


def area_weights(
    source: int, target: int, start: int = 0, stop: int | None = None, targets: slice = slice(None)
) -> NDArray[np.float32]:
    """(target, source): each row averages the stretch of `source` pixels that one target pixel covers, by area.

    Of the source pixels from `start` to `stop` alone, (target, stop - start), and of some `targets` alone.
    """
    edges = np.linspace(0, source, target + 1)
    edges = np.append(edges[:-1][targets], edges[1:][targets][-1])
    pixels = np.arange(start, source if stop is None else stop)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(covered, 0, 1) * (target / source), dtype=np.float32)


class ThumbnailBuilder:
    """Collects a picture of `height` x `width` band by band, in any order; `finish` gives the thumbnail."""

    def __init__(self, height: int, width: int) -> None:
        self._size, self._target = (height, width), thumbnail_size(height, width)
        if width <= STRETCH_PX:
            self._all_columns = area_weights(width, self._target[1])
        self._light = np.zeros((*self._target, 3), dtype=np.float32)

    def add(self, top: int, band: NDArray[np.float32]) -> None:
        """Rows `top` and following of the picture: (rows, width, 3) float32, sRGB-encoded in [0, 1]."""
        self.add_light(top, to_linear(band).transpose(2, 0, 1))

    def add_light(self, top: int, light: NDArray[np.float32]) -> None:
        """The same in linear light, and as planes: (3, rows, width)."""
        rows = area_weights(self._size[0], self._target[0], top, top + light.shape[1])
        touched = np.flatnonzero(rows.any(1))
        if len(touched):
            chosen = slice(touched[0], touched[-1] + 1)
            shortened = rows[chosen] @ light  # (3, touched, width): rows first, they are few
            for start in range(0, self._size[1], STRETCH_PX):
                part = shortened[:, :, start : start + STRETCH_PX]
                columns, weights = self._columns(start)
                self._light[chosen, columns] += (part @ weights.T).transpose(1, 2, 0)

    def _columns(self, start: int) -> tuple[slice, NDArray[np.float32]]:
        """The thumbnail's columns that a stretch touches, with its weights; all together would take gigabytes."""
        width, target = self._size[1], self._target[1]
        if width <= STRETCH_PX:
            return slice(None), self._all_columns
        stop = min(width, start + STRETCH_PX)
        touched = slice(start * target // width, -(-stop * target // width))
        return touched, area_weights(width, target, start, stop, touched)

    def finish(self) -> NDArray[np.float32]:
        """(h, w, 3) float32, sRGB-encoded."""
        return np.asarray(to_encoded(np.clip(self._light, 0, 1)), dtype=np.float32)


def thumbnail(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w, 3) of a whole picture (H, W, 3) float32, sRGB-encoded in [0, 1]."""
    builder = ThumbnailBuilder(*picture.shape[:2])
    builder.add(0, picture)
    return builder.finish()
