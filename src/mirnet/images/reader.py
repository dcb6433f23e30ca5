"""Opens image files: detects the format by the content, and calls the reader of that format."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np

from mirnet.errors import PictureError, UnknownFormat
from mirnet.formats import FORMATS, find_format
from mirnet.images import libvips_reader
from mirnet.images.file_format import detect_format
from mirnet.images.image import UNNAMED, File, Image
from mirnet.images.libvips import describe_unreadable
from mirnet.images.orientation import Pixels, turn_upright

_OTHER_READERS = {"bmp": "pillow_reader", "ppm": "pillow_reader", "heic": "heic_reader", "raw": "raw_reader"}


def open_image(source: Path | bytes, *, max_megapixels: float = 500.0, clip: bool = False) -> Image:
    """Opens an image of any of `mirnet.formats.FORMATS`, detected by its content.

    Reads the header and, except for RAW, no pixels yet. `clip` replaces floats outside [0, 1] by the nearest value
    within. Raises PictureError, with the file's name, for a file that is missing, empty, damaged or not supported,
    UnknownFormat for one that is no image, TooManyPixels for one larger than `max_megapixels`.
    """
    name = UNNAMED if isinstance(source, bytes) else str(source)
    if isinstance(source, Path) and source.exists() and not source.is_file():
        kind = "folder" if source.is_dir() else "device or pipe"
        raise PictureError(f"{name}: expected an image, but this is a {kind}; name a file")
    file = File(source, name, max_megapixels)
    try:
        with file.open() as stream:
            if not stream.read(1):
                raise PictureError(f"{name}: expected an image, but the file is empty; get a fresh copy of it")
            format = detect_format(stream, source)
            if format is None:
                *most, last = (each.title for each in FORMATS.values())
                raise UnknownFormat(
                    f"{name}: expected a {', '.join(most)} or {last} image, but the content is none of these"
                )
            image = _find_reader(format)(file, format)
    except OSError as error:
        raise PictureError(describe_unreadable(name, error)) from error
    return replace(image, clip=clip, remarks=(*_describe_wrong_suffix(file, format), *image.remarks))


def _find_reader(format: str) -> Callable[[File, str], Image]:
    if format not in _OTHER_READERS:
        return libvips_reader.read
    read: Callable[[File, str], Image] = import_module(f"mirnet.images.{_OTHER_READERS[format]}").read
    return read


def _describe_wrong_suffix(file: File, format: str) -> tuple[str, ...]:
    """A remark where the suffix is of another format than the content."""
    by_suffix = None if isinstance(file.source, bytes) else find_format(file.source.suffix)
    if by_suffix is None or by_suffix.name == format:
        return ()
    return (f"{file.name}: is a {FORMATS[format].title} image in spite of its suffix, and is read as one",)


def read_image(source: Path | str | bytes) -> Pixels:
    """Reads a whole image, upright: (H, W) of grey, else (H, W, C); uint8, uint16 or float32, as in the file.

    Raises PictureError as `open_image` does.
    """
    image = open_image(Path(source) if isinstance(source, str) else source)
    (stored,) = image.bands(image.header.height)
    upright = np.ascontiguousarray(turn_upright(stored, image.header.orientation))
    return upright[..., 0] if image.header.channels == 1 else upright
