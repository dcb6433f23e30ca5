"""From an image's pixels to the network's input, and from the network's output back to pixels; a tile at a time.

The network takes exposed sRGB values. An image in another colour space is exposed in its own primaries; the network
gets that converted to sRGB and clipped; its change is converted back, as linear light, and added, so that colours
beyond sRGB stay. All is done in strips of rows that fit a processor's cache, which makes it several times faster.
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
    """A tile after exposure, before the network."""

    srgb: Floats  # (3, rows, width) sRGB-encoded in [0, 1]: the network's input
    light: Floats | None  # (3, rows, width) linear light in the image's own primaries; None for an sRGB image

    def part(self, rows: slice, columns: slice) -> "ExposedTile":
        """A window of the tile."""
        return ExposedTile(self.srgb[:, rows, columns], None if self.light is None else self.light[:, rows, columns])


@dataclass(frozen=True)
class BlendWeights:
    """How much of the network's change is applied, 0 to 1: numbers, or maps (rows, width)."""

    strength: float = 1.0  # of the whole result against the original
    denoise: float | Floats = 1.0
    denoise_colour: float | Floats | None = None  # None: as `denoise`


def to_linear_light(pixels: Pixels, space: Space | None) -> Floats:
    """Pixels to linear light (3, rows, width) in the image's own primaries; grey is repeated, alpha left out."""
    values = _colours(pixels)
    light = _srgb_light(values) if space is None else space.to_linear(values)
    return np.repeat(light, 3, axis=0) if len(light) == 1 else light


def to_srgb_primaries(light: Floats, space: Space | None) -> Floats:
    """Linear light (3, rows, width) in an image's own primaries to that of sRGB, clipped to what sRGB holds."""
    return light if space is None else np.clip(_apply_matrix(space.to_srgb, light), 0, 1)


def expose_tile(pixels: Pixels, stops: Floats | None, warmth: float, space: Space | None) -> ExposedTile:
    """Expose a tile by `stops` (rows, width) and by `warmth`, in stops of red against blue; None leaves it as it is."""
    rows, width = pixels.shape[:2]
    srgb = np.empty((3, rows, width), dtype=np.float32)
    light = None if space is None else np.empty_like(srgb)
    tint = np.array([warmth / 2, 0, -warmth / 2], dtype=np.float32)[:, None, None]
    for strip in _strips(rows, width):
        own = to_linear_light(pixels[strip], space)
        if stops is not None:
            own = expose_light(own, stops[strip] + tint if warmth else stops[strip])
        if light is not None:
            light[:, strip] = own
        np.clip(to_encoded(to_srgb_primaries(own, space)), 0, 1, out=srgb[:, strip])
    return ExposedTile(srgb, light)


def blend_tile(
    pixels: Pixels, tile: ExposedTile, restored: Floats, weights: BlendWeights, space: Space | None
) -> Pixels:
    """The tile of the result, of the image's channels and depth; `restored` (3, rows, width) need not be clipped.

    Always in this order: `restored` is clipped, `denoise` blends exposed and restored, `strength` the original and
    that, in the image's own encoded values; rounded last. Alpha stays.
    """
    rows, width = pixels.shape[:2]
    result = np.empty_like(pixels)
    for strip in _strips(rows, width):
        srgb = tile.srgb[:, strip]
        change = _weight_change(np.clip(restored[:, strip], 0, 1) - srgb, weights, strip)
        encoded = _to_source_encoding(srgb + change, None if tile.light is None else tile.light[:, strip], srgb, space)
        colour = _to_source_channels(encoded, pixels.shape[2], space)
        if weights.strength != 1:
            original = to_unit_range(_colours(pixels[strip]))
            colour = original + np.float32(weights.strength) * (colour - original)
        result[strip, :, : len(colour)] = _round_to_dtype(colour, pixels.dtype).transpose(1, 2, 0)
        result[strip, :, len(colour) :] = pixels[strip, :, len(colour) :]
    return result


def find_black_blocks(pixels: Pixels, block_px: int) -> NDArray[np.bool_]:
    """(rows, width): True where an image is 0 throughout a block of `block_px` pixels and all blocks around it.

    The black of a dark scene is grainy, so such blocks are the bars beside a film or the frame of a scan.
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
    """A band of any channels and depth as (rows, width, 3) float32 in [0, 1]; grey is repeated, alpha left out."""
    values = to_unit_range(band[:, :, : 1 if band.shape[2] < 3 else 3])
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def to_unit_range(values: NDArray[Any]) -> Floats:
    """Integers of any depth, or floats, as float32 in [0, 1]."""
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    return np.asarray(values / np.float32(np.iinfo(values.dtype).max), dtype=np.float32)


def _strips(rows: int, width: int) -> Iterator[slice]:
    step = max(1, STRIP_VALUES // (3 * width))
    return (slice(top, min(top + step, rows)) for top in range(0, rows, step))


def _colours(pixels: Pixels) -> NDArray[Any]:
    """The planes of grey or RGB (1 or 3, rows, width), contiguous; without alpha."""
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
    """(3, rows, width), each pixel multiplied by a matrix (3, 3)."""
    return np.asarray((matrix @ light.reshape(3, -1)).reshape(light.shape), dtype=np.float32)


def _weight_in_strip(weight: float | Floats, strip: slice) -> float | Floats:
    return weight[strip] if isinstance(weight, np.ndarray) else weight


def _weight_change(change: Floats, weights: BlendWeights, strip: slice) -> Floats:
    """The weighted change (3, rows, width) of encoded values: its luma by one weight, the rest by the other."""
    denoise = _weight_in_strip(weights.denoise, strip)
    if weights.denoise_colour is None:
        return change if isinstance(denoise, float) and denoise == 1 else np.asarray(change * denoise, dtype=np.float32)
    luma = np.tensordot(LUMINANCE, change, 1)
    return np.asarray(
        luma * denoise + (change - luma) * _weight_in_strip(weights.denoise_colour, strip), dtype=np.float32
    )


def _to_source_encoding(result: Floats, light: Floats | None, srgb: Floats, space: Space | None) -> Floats:
    """(3, rows, width) as the image encodes it: `light` changed as `result` differs from `srgb`, both sRGB-encoded."""
    if space is None or light is None:
        return np.clip(result, 0, 1)
    change = np.asarray(to_linear(np.clip(result, 0, 1)) - to_linear(srgb), dtype=np.float32)
    light = np.clip(light + _apply_matrix(space.from_srgb, change), 0, 1)
    return light if len(space.curves) == 1 else space.to_encoded(light)  # grey: merged first, then encoded


def _to_source_channels(colour: Floats, channels: int, space: Space | None) -> Floats:
    """(3, rows, width) as it is, or for a grey image its luminance (1, rows, width)."""
    if channels >= 3:
        return colour
    light = colour if space is not None else to_linear(colour)
    grey = np.clip(np.tensordot(LUMINANCE, light, 1)[None], 0, 1)
    return np.asarray(to_encoded(grey) if space is None else space.to_encoded(grey))


def _round_to_dtype(colour: Floats, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        return np.asarray(np.clip(colour, 0, 1), dtype=dtype)
    top = np.float32(np.iinfo(dtype).max)
    return np.asarray(np.clip(np.rint(colour * top), 0, top), dtype=dtype)
