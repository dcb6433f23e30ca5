"""What the numbers of a picture mean to the network, and what its answer means to them; a tile at a time.

The network sees sRGB, exposed. A picture in another colour space is exposed in its own primaries; the network sees that
converted to sRGB and clipped; what it changes is converted back, as linear light, and added, so that colours beyond
sRGB stay. All is done in strips of rows that fit a processor's cache, which makes it several times faster.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import expose_light, to_encoded, to_linear
from mirnet.images.colour_space import Space

Pixels = NDArray[Any]  # (rows, width, channels) uint8, uint16 or float32 in [0, 1]; 1 grey, 2 with alpha, 3 RGB, 4 RGBA
Floats = NDArray[np.float32]

LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)  # Rec. 709: of linear light, and of luma
STRIP_VALUES = 100_000  # in one strip


@dataclass(frozen=True, eq=False)
class ExposedTile:
    """A tile as it was exposed. `seen` is what the network sees, and `light` the picture's own linear light."""

    seen: Floats  # (3, rows, width), sRGB-encoded
    light: Floats | None  # (3, rows, width); None where the picture is sRGB, of which `seen` says all

    def part(self, rows: slice, columns: slice) -> "ExposedTile":
        """A part of the tile."""
        return ExposedTile(self.seen[:, rows, columns], None if self.light is None else self.light[:, rows, columns])


@dataclass(frozen=True)
class BlendWeights:
    """How much of what the network changes is kept: numbers, or maps (rows, width)."""

    strength: float = 1.0  # of everything
    denoise: float | Floats = 1.0
    denoise_colour: float | Floats | None = None  # None: as `denoise`


def to_linear_light(pixels: Pixels, space: Space | None) -> Floats:
    """(3, rows, width) linear light of a picture's pixels in its own primaries; grey repeated, alpha left out."""
    values = _colours(pixels)
    light = _srgb_light(values) if space is None else space.linear(values)
    return np.repeat(light, 3, axis=0) if len(light) == 1 else light


def to_srgb_primaries(light: Floats, space: Space | None) -> Floats:
    """(3, rows, width) linear light in a picture's own primaries to that of sRGB, clipped to what sRGB holds."""
    return light if space is None else np.clip(_apply_matrix(space.to_srgb, light), 0, 1)


def expose_tile(pixels: Pixels, stops: Floats | None, warmth: float, space: Space | None) -> ExposedTile:
    """A tile brighter by `stops` (rows, width), None to leave it as it is; `warmth` in stops of red against blue."""
    rows, width = pixels.shape[:2]
    seen = np.empty((3, rows, width), dtype=np.float32)
    light = None if space is None else np.empty_like(seen)
    tint = np.array([warmth / 2, 0, -warmth / 2], dtype=np.float32)[:, None, None]
    for strip in _strips(rows, width):
        own = to_linear_light(pixels[strip], space)
        if stops is not None:
            own = expose_light(own, stops[strip] + tint if warmth else stops[strip])
        if light is not None:
            light[:, strip] = own
        np.clip(to_encoded(to_srgb_primaries(own, space)), 0, 1, out=seen[:, strip])
    return ExposedTile(seen, light)


def blend_tile(
    pixels: Pixels, tile: ExposedTile, restored: Floats, wishes: BlendWeights, space: Space | None
) -> Pixels:
    """The tile as it comes out, of the picture's channels and depth; `restored` (3, rows, width) need not be clipped.

    Always in this order: `restored` is clipped, `denoise` blends exposed and restored, `strength` the original and
    that, in the picture's own encoded values; rounded last. Alpha stays.
    """
    rows, width = pixels.shape[:2]
    result = np.empty_like(pixels)
    for strip in _strips(rows, width):
        seen = tile.seen[:, strip]
        change = _weight_change(np.clip(restored[:, strip], 0, 1) - seen, wishes, strip)
        encoded = _to_source_encoding(seen + change, None if tile.light is None else tile.light[:, strip], seen, space)
        colour = _to_source_channels(encoded, pixels.shape[2], space)
        if wishes.strength != 1:
            original = to_unit_range(_colours(pixels[strip]))
            colour = original + np.float32(wishes.strength) * (colour - original)
        result[strip, :, : len(colour)] = _round_to_dtype(colour, pixels.dtype).transpose(1, 2, 0)
        result[strip, :, len(colour) :] = pixels[strip, :, len(colour) :]
    return result


def find_black_blocks(pixels: Pixels, block_px: int) -> NDArray[np.bool_]:
    """(rows, width): where a picture holds nothing but zeros, in a block of pixels and in those around it.

    A dark scene is not like that, its black is grainy: it is the bars beside a film, or the frame of a scan.
    """
    rows, width = pixels.shape[:2]
    peaks = pixels[:, :, : 1 if pixels.shape[2] < 3 else 3].max(2)
    peaks = np.pad(peaks, ((0, -rows % block_px), (0, -width % block_px)), mode="edge")
    lit = peaks.reshape(peaks.shape[0] // block_px, block_px, -1, block_px).max((1, 3)) > 0
    if lit.all():
        return np.zeros((rows, width), dtype=np.bool_)
    for axis in (0, 1):
        padded = np.pad(lit, [(1, 1) if axis == each else (0, 0) for each in (0, 1)])
        near = np.lib.stride_tricks.sliding_window_view(padded, 3, axis=axis)
        lit = near.any(-1)
    return np.repeat(np.repeat(~lit, block_px, 0), block_px, 1)[:rows, :width]


def to_rgb(band: Pixels) -> Floats:
    """(rows, width, 3) float32 in [0, 1] of a band in any of a source's forms; grey repeated, alpha left out."""
    values = to_unit_range(band[:, :, : 1 if band.shape[2] < 3 else 3])
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def to_unit_range(values: NDArray[Any]) -> Floats:
    """Values of any depth as float32 in [0, 1]."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    return np.asarray(values / np.float32(np.iinfo(values.dtype).max), dtype=np.float32)


def _strips(rows: int, width: int) -> Iterator[slice]:
    step = max(1, STRIP_VALUES // (3 * width))
    return (slice(top, min(top + step, rows)) for top in range(0, rows, step))


def _colours(pixels: Pixels) -> NDArray[Any]:
    """(1 or 3, rows, width): the planes of grey or RGB, contiguous; without alpha."""
    return np.ascontiguousarray(pixels[:, :, : 1 if pixels.shape[2] < 3 else 3].transpose(2, 0, 1))


@cache
def _linear_light_of(most: int) -> Floats:
    """The linear light of each sRGB value from 0 to `most`, 255 or 65535."""
    return to_linear(np.arange(most + 1, dtype=np.float32) / np.float32(most))


def _srgb_light(values: NDArray[Any]) -> Floats:
    if values.dtype.kind == "u":
        return np.take(_linear_light_of(np.iinfo(values.dtype).max), values)
    return to_linear(values.astype(np.float32))


def _apply_matrix(matrix: Floats, light: Floats) -> Floats:
    """(3, rows, width), each pixel through a matrix (3, 3)."""
    return np.asarray((matrix @ light.reshape(3, -1)).reshape(light.shape), dtype=np.float32)


def _share_in_strip(share: float | Floats, strip: slice) -> float | Floats:
    return share[strip] if isinstance(share, np.ndarray) else share


def _weight_change(change: Floats, wishes: BlendWeights, strip: slice) -> Floats:
    """What is kept of a change (3, rows, width) of encoded values: so much of its luma, and so much of the rest."""
    denoise = _share_in_strip(wishes.denoise, strip)
    if wishes.denoise_colour is None:
        return change if isinstance(denoise, float) and denoise == 1 else np.asarray(change * denoise, dtype=np.float32)
    luma = np.tensordot(LUMINANCE, change, 1)
    return np.asarray(
        luma * denoise + (change - luma) * _share_in_strip(wishes.denoise_colour, strip), dtype=np.float32
    )


def _to_source_encoding(wanted: Floats, light: Floats | None, seen: Floats, space: Space | None) -> Floats:
    """(3, rows, width) as the picture encodes it: `wanted` instead of `seen`, both sRGB, where it showed `light`."""
    if space is None or light is None:
        return np.clip(wanted, 0, 1)
    change = np.asarray(to_linear(np.clip(wanted, 0, 1)) - to_linear(seen), dtype=np.float32)
    light = np.clip(light + _apply_matrix(space.from_srgb, change), 0, 1)
    return light if len(space.curves) == 1 else space.encoded(light)  # grey: merged first, then encoded


def _to_source_channels(colour: Floats, channels: int, space: Space | None) -> Floats:
    """(3, rows, width), or for a grey picture (1, rows, width): its luminance."""
    if channels >= 3:
        return colour
    light = colour if space is not None else to_linear(colour)
    grey = np.clip(np.tensordot(LUMINANCE, light, 1)[None], 0, 1)
    return np.asarray(to_encoded(grey) if space is None else space.encoded(grey))


def _round_to_dtype(colour: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return np.asarray(np.clip(colour, 0, 1), dtype=dtype)
    top = np.float32(np.iinfo(dtype).max)
    return np.asarray(np.clip(np.rint(colour * top), 0, top), dtype=dtype)
