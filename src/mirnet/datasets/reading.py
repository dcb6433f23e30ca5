"""Step (1) of the pipeline: images of pairs, and photos without partners, read and checked.

Every image is upright, of three channels, 8 or 16 bit, whatever its format; what cannot be used is
a DataError that names the file.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from mirnet import images
from mirnet.errors import DataError, PictureError
from mirnet.network.lite import to_encoded, to_linear
from mirnet.pairs import NO_PICTURES, Pair

PHOTO_PIXELS = 2**20  # larger photos without a partner are halved, which removes most of their noise

ImageArray = NDArray[np.uint8] | NDArray[np.uint16]  # (3, H, W)


def find_photos(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name. Raises DataError where there are none."""
    photos = sorted(_files(folder))
    if not photos:
        raise DataError(f"{folder}: no photos found; expected bright pictures in it.")
    return photos


def fingerprint(files: Iterable[Path]) -> str:
    """The SHA-256 of all files' stems and contents, in the order given: two sets with equal ones are the same."""
    total = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                total.update(path.stem.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); expected a picture.") from error
    return total.hexdigest()


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of pictures; there is none.")
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: expected a folder of pictures; it cannot be read ({error.strerror}).") from error
    return [
        path
        for path in entries
        if path.is_file() and not path.name.startswith(".") and path.suffix.lower() not in NO_PICTURES
    ]


@dataclass(frozen=True)
class Shape:
    """What an image will be once it is read: upright height and width, and whether it has 16 bit."""

    height: int
    width: int
    deep: bool


def shape_of(path: Path) -> Shape:
    """The shape of an image by its header alone. Raises DataError for a file that is no image or has alpha."""
    try:
        header = images.open_image(path).header
    except PictureError as error:
        raise DataError(str(error)) from error
    if header.channels in (2, 4):
        raise DataError(f"{path}: has an alpha channel, which training cannot use; save it without transparency.")
    height, width = (header.width, header.height) if header.orientation >= 5 else (header.height, header.width)
    return Shape(height, width, header.depth == 16)


def pair_shape(pair: Pair) -> tuple[Shape, Shape]:
    """The shapes of both images of a pair. Raises DataError where their sizes differ, naming the files."""
    dark, bright = shape_of(pair.dark), shape_of(pair.bright)
    if (dark.height, dark.width) != (bright.height, bright.width):
        sizes = " and ".join(f"{shape.width}x{shape.height}" for shape in (dark, bright))
        raise DataError(f"{pair.dark} and {pair.bright}: a pair needs one size, these are {sizes}; crop or remove one.")
    return dark, bright


def photo_shape(path: Path) -> Shape:
    """The shape that `read_photo` returns for a file, by its header alone."""
    shape = shape_of(path)
    if shape.height * shape.width <= PHOTO_PIXELS:
        return shape
    return Shape(shape.height // 2, shape.width // 2, shape.deep)


def read_rgb(path: Path) -> ImageArray:
    """An image as (3, H, W) uint8 or uint16; grey becomes RGB. Raises DataError, which names the file."""
    try:
        pixels = images.read_image(path)
    except PictureError as error:
        raise DataError(str(error)) from error
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] != 3:
        raise DataError(f"{path}: has an alpha channel, which training cannot use; save it without transparency.")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_photo(path: Path) -> ImageArray:
    """A clean bright image (3, H, W), halved in linear light where it is larger than a megapixel: most noise goes."""
    pixels = read_rgb(path)
    if pixels.shape[1] * pixels.shape[2] <= PHOTO_PIXELS:
        return pixels
    white = np.iinfo(pixels.dtype).max
    halved = to_encoded(F.avg_pool2d(to_linear(torch.from_numpy(pixels.astype(np.float32) / white)), 2))
    return np.asarray((halved.numpy() * white).round().astype(pixels.dtype))


def to_unit(picture: ImageArray) -> NDArray[np.float32]:
    """(3, H, W) integers to (H, W, 3) float32 in [0, 1]."""
    upright = np.ascontiguousarray(picture.transpose(1, 2, 0))
    return np.asarray(upright.astype(np.float32) / np.float32(np.iinfo(picture.dtype).max))
