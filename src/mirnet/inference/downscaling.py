"""`Downscaler`: makes an image smaller while it is read, averaged in linear light, so that its brightness stays."""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import to_encoded
from mirnet.inference.blending import Floats, Pixels, to_linear_light, to_unit_range
from mirnet.inference.source import ImageSource
from mirnet.inference.tiles import padded_area_px
from mirnet.thumbnail import CELL_PX, area_weights


def downscaled_size(height: int, width: int, max_px: int) -> tuple[int, int]:
    """Height and width of the same proportion and at most `max_px` pixels, both at least 1; never enlarged.

    A side counts as at least 8 pixels, to which the network pads a shorter one.
    """
    if padded_area_px(height, width) <= max_px:
        return height, width
    scale = min(1.0, math.sqrt(max_px / (height * width)))
    short = max(1, round(min(height, width) * scale))
    long = max(1, min(round(max(height, width) * scale), max_px // max(short, CELL_PX)))
    return (short, long) if height <= width else (long, short)


class Downscaler:
    """Averages an image band by band, from top to bottom, to at most `max_px` pixels.

    The result has the image's channels and colour space; of 8 bit in sRGB it is 8 bit, else float32.
    """

    def __init__(self, source: ImageSource, max_px: int) -> None:
        self._source = source
        self._size = downscaled_size(source.height, source.width, max_px)
        self._whole: list[Pixels] = []  # the bands themselves, where the image is small enough already
        self._colour: Floats | None = None  # (3, h, w) linear light
        self._alpha: Floats | None = None  # (1, h, w)
        self._dtype, self._channels = np.dtype(np.uint8), 3

    def add(self, top: int, band: Pixels) -> None:
        """Take the rows from `top` on, (rows, width, channels) as the image stores them."""
        if self._size == (self._source.height, self._source.width):
            self._whole.append(band)
            return
        if self._colour is None:
            self._dtype, self._channels = band.dtype, band.shape[2]
            self._colour = np.zeros((3, *self._size), dtype=np.float32)
            self._alpha = np.zeros((1, *self._size), dtype=np.float32)
        self._average(self._colour, top, to_linear_light(band, self._source.space))
        if self._alpha is not None and self._channels in (2, 4):
            self._average(self._alpha, top, to_unit_range(band[:, :, -1])[None])

    def _average(self, total: Floats, top: int, light: Floats) -> None:
        """Add the rows from `top` on, (planes, rows, width), to the smaller image."""
        narrow = _narrowed(light, self._size[1])
        bottom, scale = top + light.shape[1], self._size[0] / self._source.height
        # only the rows that the band touches: a tall image has many
        touched = slice(int(top * scale), min(self._size[0], int(bottom * scale) + 1))
        total[:, touched] += area_weights(self._source.height, self._size[0], top, bottom, touched) @ narrow

    def to_source(self) -> ImageSource:
        """The smaller image, in the order in which the large one is stored."""
        pixels = self._pixels()
        return replace(ImageSource.from_array(pixels), orientation=self._source.orientation, space=self._source.space)

    def _pixels(self) -> Pixels:
        if self._colour is None:
            return np.concatenate(self._whole)
        light, space = np.clip(self._colour, 0, 1), self._source.space
        planes = light[:1] if self._channels < 3 else light
        encoded = to_encoded(planes) if space is None else space.to_encoded(planes)
        if self._alpha is not None and self._channels in (2, 4):
            encoded = np.concatenate([encoded, self._alpha])
        values = np.clip(encoded.transpose(1, 2, 0), 0, 1)
        if self._dtype == np.uint8 and space is None:
            return np.asarray(np.rint(values * np.float32(255)), dtype=np.uint8)
        return np.ascontiguousarray(values, dtype=np.float32)


def _narrowed(planes: Floats, width: int) -> Floats:
    """(planes, rows, W) averaged by area to (planes, rows, width): differences of sums up to each edge."""
    edges = np.linspace(0, planes.shape[2], width + 1)
    whole = np.minimum(edges.astype(int), planes.shape[2] - 1)
    sums = np.cumsum(planes, axis=2, dtype=np.float64)
    before = np.where(whole > 0, sums[:, :, whole - 1], 0.0)
    upto: NDArray[np.float64] = before + (edges - whole) * planes[:, :, whole]
    return np.asarray(np.diff(upto, axis=2) / (edges[1] - edges[0]), dtype=np.float32)
