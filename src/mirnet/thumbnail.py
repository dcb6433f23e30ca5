"""The thumbnail for which the network proposes an exposure: averaged in linear light, which removes the noise."""

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import to_encoded, to_linear

LONG_SIDE_PX = 96
CELL_PX = 8  # thumbnail pixels in a cell of the exposure map; both sides are multiples of it
STRETCH_PX = 65536  # columns averaged at a time


def thumbnail_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of an image's thumbnail: 96 on the long side, the other in proportion, rounded to 8."""
    scale = LONG_SIDE_PX / max(height, width)
    return tuple(max(CELL_PX, round(side * scale / CELL_PX) * CELL_PX) for side in (height, width))  # type: ignore[return-value]


def area_weights(
    source: int, target: int, start: int = 0, stop: int | None = None, targets: slice = slice(None)
) -> NDArray[np.float32]:
    """(target, source) weights: each row averages the `source` pixels that one target pixel covers, by area.

    `start` and `stop` select columns, (target, stop - start), and `targets` selects rows.
    """
    edges = np.linspace(0, source, target + 1)
    edges = np.append(edges[:-1][targets], edges[1:][targets][-1])
    pixels = np.arange(start, source if stop is None else stop)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(covered, 0, 1) * (target / source), dtype=np.float32)


class ThumbnailBuilder:
    """Averages an image of `height` x `width` band by band, in any order; `finish` returns the thumbnail."""

    def __init__(self, height: int, width: int) -> None:
        self._size, self._target = (height, width), thumbnail_size(height, width)
        if width <= STRETCH_PX:
            self._all_columns = area_weights(width, self._target[1])
        self._light = np.zeros((*self._target, 3), dtype=np.float32)

    def add(self, top: int, band: NDArray[np.float32]) -> None:
        """Adds the rows from `top` on: (rows, width, 3) float32, sRGB-encoded in [0, 1]."""
        self.add_light(top, to_linear(band).transpose(2, 0, 1))

    def add_light(self, top: int, light: NDArray[np.float32]) -> None:
        """Adds the rows from `top` on as linear light in planes: (3, rows, width) float32."""
        rows = area_weights(self._size[0], self._target[0], top, top + light.shape[1])
        touched = np.flatnonzero(rows.any(1))
        if len(touched):
            chosen = slice(touched[0], touched[-1] + 1)
            shortened = rows[chosen] @ light  # (3, touched, width): rows first, since they are few
            for start in range(0, self._size[1], STRETCH_PX):
                part = shortened[:, :, start : start + STRETCH_PX]
                columns, weights = self._columns(start)
                self._light[chosen, columns] += (part @ weights.T).transpose(1, 2, 0)

    def _columns(self, start: int) -> tuple[slice, NDArray[np.float32]]:
        """The thumbnail's columns for a stretch, and their weights; the weights of all columns would take gigabytes."""
        width, target = self._size[1], self._target[1]
        if width <= STRETCH_PX:
            return slice(None), self._all_columns
        stop = min(width, start + STRETCH_PX)
        touched = slice(start * target // width, -(-stop * target // width))
        return touched, area_weights(width, target, start, stop, touched)

    def finish(self) -> NDArray[np.float32]:
        """Returns the thumbnail, (h, w, 3) float32, sRGB-encoded in [0, 1]."""
        return np.asarray(to_encoded(np.clip(self._light, 0, 1)), dtype=np.float32)


def make_thumbnail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the thumbnail (h, w, 3) of a whole image (H, W, 3), both float32 and sRGB-encoded in [0, 1]."""
    builder = ThumbnailBuilder(*image.shape[:2])
    builder.add(0, image)
    return builder.finish()
