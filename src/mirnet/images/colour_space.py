"""What an ICC profile means for the numbers of a picture: its tone curves, and its primaries against sRGB's.

The network sees sRGB; a picture in another space (Display P3, Adobe RGB, ProPhoto) keeps its own. So we need both ways
between the two, for any tile. libvips (Little CMS) reads the profile: it is asked what each channel looks like, and
the answers are the matrix; the curves are read from their tags (ICC.1:2022, 10.6 and 10.18), because its 16-bit answers
lose what lies near black, which is what we brighten. A profile that does not work like that, with tables of colours as
printers have, is found out by asking for random colours.
"""

import functools
import io
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import to_encoded

Floats = NDArray[np.float32]

STEPS = 65536  # of a tone curve: one for each 16-bit value
CLOSE = 0.002  # in XYZ with white at 1: what a profile may be off the model of curves and matrix, or off sRGB


@dataclass(frozen=True, eq=False)
class Space:
    """A colour space of curves and a matrix; `linear` and `encoded` go between its values and its linear light."""

    name: str
    curves: Floats = field(repr=False)  # (channels, STEPS): the linear light of each value
    backwards: Floats = field(repr=False)  # (channels, STEPS): the value at linear light (i / (STEPS - 1))²
    to_srgb: Floats  # (3, 3): linear light of this space to that of sRGB
    from_srgb: Floats

    def linear(self, values: NDArray[Any]) -> Floats:
        """(channels, …) uint8, uint16 or float32 in [0, 1] (to 16 bit) to linear light in [0, 1]."""
        if values.dtype.kind == "f":
            return _looked_up(self.curves, np.round(values * np.float32(STEPS - 1)).astype(np.uint16))
        return _looked_up(self.curves, values.astype(np.uint16) * np.uint16(257 if values.dtype == np.uint8 else 1))

    def encoded(self, light: Floats) -> Floats:
        """(channels, …) linear light in [0, 1] to values in [0, 1]."""
        places = np.sqrt(light) * np.float32(STEPS - 1)  # a square root apart, the dark ones are told apart as well
        below = places.astype(np.uint16)
        first = _looked_up(self.backwards, below)
        second = _looked_up(self.backwards, np.minimum(below, STEPS - 2) + np.uint16(1))
        return np.asarray(first + (places - below) * (second - first), dtype=np.float32)


def _looked_up(table: Floats, positions: NDArray[np.uint16]) -> Floats:
    """(channels, …): each channel's own row of the table, at the positions (channels, …)."""
    found = np.empty(positions.shape, dtype=np.float32)
    for row, places, out in zip(table, positions, found, strict=True):
        np.take(row, places, out=out, mode="clip")
    return found


@functools.lru_cache(maxsize=8)
def space_of(icc: bytes, channels: int) -> Space | None:
    """The space of a profile for grey (1 channel) or RGB (3) pictures; None where it is sRGB's, or as good as that.

    Raises ValueError, with the reason as a part of a sentence, for a profile that is damaged, of another kind of
    picture, or not made of curves and a matrix.
    """
    if icc[36:40] != b"acsp" or icc[16:20] != {1: b"GRAY", 3: b"RGB "}[channels]:
        raise ValueError("is damaged, or of another kind of picture")
    curves = np.stack(
        [_curve(_tag(icc, name)) for name in ((b"kTRC",) if channels == 1 else (b"rTRC", b"gTRC", b"bTRC"))]
    )
    own = _primaries(icc, channels)
    if not _explains(icc, channels, curves, own):
        raise ValueError("is not made of tone curves and a matrix")
    to_srgb = np.asarray(np.linalg.solve(_primaries(None, 3), own) if channels == 3 else np.eye(3), dtype=np.float64)
    if _is_srgb(curves, to_srgb):
        return None
    even = np.linspace(0, 1, STEPS)
    backwards = np.stack([np.interp(even**2, curve, even) for curve in curves])
    return Space(
        _name(icc), curves.astype(np.float32), backwards.astype(np.float32),
        to_srgb.astype(np.float32), np.linalg.inv(to_srgb).astype(np.float32),
    )  # fmt: skip


def _asked(icc: bytes | None, values: NDArray[np.uint16]) -> NDArray[np.float64]:
    """(N, 3): CIE XYZ, white's Y at 1, of N colours (N, channels) in the space of a profile; None is sRGB's own."""
    import pyvips

    count, channels = values.shape
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(values), count, 1, channels, "ushort")
    image = image.copy(interpretation="rgb16" if channels == 3 else "grey16")
    try:
        if icc is None:
            seen = image.icc_import(input_profile="srgb", pcs="xyz", intent="relative")
        else:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
            seen = image.icc_import(embedded=True, pcs="xyz", intent="relative")
        found = np.frombuffer(seen.write_to_memory(), dtype=np.float32)
    except pyvips.Error as error:
        raise ValueError("is damaged, or of another kind of picture") from error
    return np.asarray(found.reshape(count, 3) / 100.0, dtype=np.float64)


def _primaries(icc: bytes | None, channels: int) -> NDArray[np.float64]:
    """(3, channels): XYZ of each channel alone, at its full value."""
    return _asked(icc, np.eye(channels, dtype=np.uint16) * np.uint16(STEPS - 1)).T


def _tag(icc: bytes, name: bytes) -> bytes:
    """The content of one tag. Raises ValueError where there is none."""
    try:
        (count,) = struct.unpack_from(">L", icc, 128)
        for place in range(132, 132 + 12 * min(count, 1000), 12):
            found, start, length = struct.unpack_from(">4sLL", icc, place)
            if found == name:
                return icc[start : start + length]
    except struct.error as error:
        raise ValueError("is damaged") from error
    raise ValueError("is not made of tone curves and a matrix")


def _curve(tag: bytes) -> NDArray[np.float64]:
    """(STEPS,): the linear light of each value, by a tag of type `curv` or `para`; it never falls."""
    even = np.linspace(0, 1, STEPS)
    try:
        if tag[:4] == b"curv":
            (count,) = struct.unpack_from(">L", tag, 8)
            numbers = np.frombuffer(tag, ">u2", count, 12)
            if count < 2:
                light = even ** (numbers[0] / 256) if count else even
            else:
                light = np.interp(even, np.linspace(0, 1, count), numbers / 65535)
        elif tag[:4] == b"para":
            (kind,) = struct.unpack_from(">H", tag, 8)
            light = _parametric(even, *struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}l", tag, 12))
        else:
            raise ValueError("is not made of tone curves and a matrix")
    except (struct.error, IndexError) as error:
        raise ValueError("is damaged") from error
    return np.asarray(np.maximum.accumulate(np.clip(np.nan_to_num(light), 0, 1)))


def _parametric(x: NDArray[np.float64], *fixed: int) -> NDArray[np.float64]:
    """The five parametric curves, Y = (aX + b)^g + e from X = d on and cX + f below; numbers in 65536ths."""
    g, a, b, c, d, e, f = 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    numbers = [number / 65536 for number in fixed]
    match numbers:
        case [g]:
            pass
        case [g, a, b]:
            d = -b / a if a else 0.0
        case [g, a, b, e]:
            d, f = (-b / a if a else 0.0), e
        case [g, a, b, c, d]:
            pass
        case [g, a, b, c, d, e, f]:
            pass
    return np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)


def _explains(icc: bytes, channels: int, curves: NDArray[np.float64], own: NDArray[np.float64]) -> bool:
    """Whether curves and matrix say of random colours what the profile itself says."""
    values = np.random.default_rng(0).integers(0, STEPS, (512, channels), dtype=np.uint16)
    light = np.stack([curves[channel][values[:, channel]] for channel in range(channels)])
    return bool(np.abs((own @ light).T - _asked(icc, values)).max() < CLOSE)


def _is_srgb(curves: NDArray[np.float64], to_srgb: NDArray[np.float64]) -> bool:
    """Whether no 8-bit value comes out otherwise; profiles called sRGB differ in the fourth digit."""
    even = np.linspace(0, 1, STEPS)
    bent = np.abs(to_encoded(curves) - even).max()
    return bool(np.abs(to_srgb - np.eye(3)).max() < CLOSE and bent < CLOSE)


def _name(icc: bytes) -> str:
    """The description that a profile gives of itself, for sentences."""
    from PIL import ImageCms

    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc))).strip()
    except (ImageCms.PyCMSError, OSError):
        return "without a name"
