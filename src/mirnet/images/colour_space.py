"""The colour space of an image by its ICC profile: tone curves, and the matrix between its primaries and those of sRGB.

The network sees sRGB; an image in another space (Display P3, Adobe RGB, ProPhoto) keeps its own. So both ways between
the two are needed, for any tile. libvips (Little CMS) converts single colours by the profile, which gives the matrix.
The curves are read from the profile's tags, because the 16-bit results of libvips lose what lies near black, which is
what we brighten. A comparison with libvips by random colours finds profiles that do not work by curves and a matrix,
such as those of printers, which have tables of colours.
"""

import functools
import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import to_encoded
from mirnet.images.libvips import vips
from mirnet.metadata.icc_profile import read_curves

Floats = NDArray[np.float32]

STEPS = 65536  # of a tone curve: one for each 16-bit value
TOLERANCE = 0.002  # in XYZ with white at 1: between a profile and its curves and matrix, and between a space and sRGB


@dataclass(frozen=True, eq=False)
class Space:
    """A colour space of tone curves and a matrix, for grey (1 channel) or RGB (3) images."""

    name: str
    curves: Floats = field(repr=False)  # (channels, STEPS): the linear light of each value
    inverse_curves: Floats = field(repr=False)  # (channels, STEPS): the value at linear light (i / (STEPS - 1))²
    to_srgb: Floats  # (3, 3): linear light of this space to that of sRGB
    from_srgb: Floats

    def to_linear(self, values: NDArray[Any]) -> Floats:
        """(channels, …) uint8, uint16 or float32 in [0, 1] (to 16 bit) to linear light in [0, 1]."""
        if values.dtype.kind == "f":
            return _look_up(self.curves, np.round(values * np.float32(STEPS - 1)).astype(np.uint16))
        return _look_up(self.curves, values.astype(np.uint16) * np.uint16(257 if values.dtype == np.uint8 else 1))

    def to_encoded(self, light: Floats) -> Floats:
        """(channels, …) linear light in [0, 1] to values in [0, 1]."""
        positions = np.sqrt(light) * np.float32(STEPS - 1)  # by square roots, so that dark values differ as well
        below = positions.astype(np.uint16)
        first = _look_up(self.inverse_curves, below)
        second = _look_up(self.inverse_curves, np.minimum(below, STEPS - 2) + np.uint16(1))
        return np.asarray(first + (positions - below) * (second - first), dtype=np.float32)


def _look_up(table: Floats, positions: NDArray[np.uint16]) -> Floats:
    """(channels, …) values of each channel's own row of the table, at the positions (channels, …)."""
    values = np.empty(positions.shape, dtype=np.float32)
    for row, places, out in zip(table, positions, values, strict=True):
        np.take(row, places, out=out, mode="clip")
    return values


@functools.lru_cache(maxsize=8)
def read_colour_space(icc: bytes, channels: int) -> Space | None:
    """Returns the space of an ICC profile for grey (1 channel) or RGB (3) images; None where it is sRGB, or nearly so.

    Raises ValueError, with the reason as the end of a sentence, for a profile that is damaged, of another kind of
    image, or not made of curves and a matrix.
    """
    curves = read_curves(icc, channels, STEPS)
    primaries = _measure_primaries(icc, channels)
    if not _is_model_exact(icc, channels, curves, primaries):
        raise ValueError("is not made of tone curves and a matrix")
    if channels == 3:
        to_srgb = np.asarray(np.linalg.solve(_measure_primaries(None, 3), primaries), dtype=np.float64)
    else:
        to_srgb = np.eye(3)
    if _is_srgb(curves, to_srgb):
        return None
    even = np.linspace(0, 1, STEPS)
    inverse_curves = np.stack([np.interp(even**2, curve, even) for curve in curves])
    return Space(
        _read_name(icc), curves.astype(np.float32), inverse_curves.astype(np.float32),
        to_srgb.astype(np.float32), np.linalg.inv(to_srgb).astype(np.float32),
    )  # fmt: skip


def _convert_to_xyz(icc: bytes | None, values: NDArray[np.uint16]) -> NDArray[np.float64]:
    """(N, 3) CIE XYZ, white's Y at 1, of N colours (N, channels) in the space of a profile; None stands for sRGB."""
    pyvips = vips()
    count, channels = values.shape
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(values), count, 1, channels, "ushort")
    image = image.copy(interpretation="rgb16" if channels == 3 else "grey16")
    try:
        if icc is None:
            converted = image.icc_import(input_profile="srgb", pcs="xyz", intent="relative")
        else:
            image.set_type(pyvips.GValue.blob_type, "icc-profile-data", icc)
            converted = image.icc_import(embedded=True, pcs="xyz", intent="relative")
        xyz = np.frombuffer(converted.write_to_memory(), dtype=np.float32)
    except pyvips.Error as error:
        raise ValueError("is damaged, or of another kind of image") from error
    return np.asarray(xyz.reshape(count, 3) / 100.0, dtype=np.float64)


def _measure_primaries(icc: bytes | None, channels: int) -> NDArray[np.float64]:
    """(3, channels) XYZ of each channel alone, at its full value."""
    return _convert_to_xyz(icc, np.eye(channels, dtype=np.uint16) * np.uint16(STEPS - 1)).T


def _is_model_exact(icc: bytes, channels: int, curves: NDArray[np.float64], primaries: NDArray[np.float64]) -> bool:
    """Whether curves and matrix convert random colours as the profile itself does."""
    values = np.random.default_rng(0).integers(0, STEPS, (512, channels), dtype=np.uint16)
    light = np.stack([curves[channel][values[:, channel]] for channel in range(channels)])
    return bool(np.abs((primaries @ light).T - _convert_to_xyz(icc, values)).max() < TOLERANCE)


def _is_srgb(curves: NDArray[np.float64], to_srgb: NDArray[np.float64]) -> bool:
    """Whether all 8-bit values come out as by sRGB; profiles called sRGB differ in the fourth digit."""
    even = np.linspace(0, 1, STEPS)
    difference = np.abs(to_encoded(curves) - even).max()
    return bool(np.abs(to_srgb - np.eye(3)).max() < TOLERANCE and difference < TOLERANCE)


def _read_name(icc: bytes) -> str:
    """The description in a profile, for messages."""
    from PIL import ImageCms

    try:
        return ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc))).strip()
    except (ImageCms.PyCMSError, OSError):
        return "without a name"
