"""Opening a picture: its format is known by its content, and one reader takes it from there."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np

from mirnet.errors import PictureError, UnknownFormat
from mirnet.formats import FORMATS, of_suffix
from mirnet.images import file_format, libvips_reader
from mirnet.images.image import File, Image
from mirnet.images.libvips import unreadable
from mirnet.images.orientation import Pixels, upright

_OTHER_READERS = {"bmp": "pillow_reader", "ppm": "pillow_reader", "heic": "heic_reader", "raw": "raw_reader"}


def open_image(source: Path | bytes, *, max_megapixels: float = 500.0, clip: bool = False) -> Image:
    """Open a picture of any of `mirnet.formats.FORMATS`, known by its content.

    Reads what it says and, but of RAW, no pixels yet. `clip` takes floats outside [0, 1] for the nearest value within.
    Raises PictureError, with the file's name, for what is missing, empty, damaged or not supported, UnknownFormat for
    what is no picture, TooManyPixels for what is larger than `max_megapixels`.
    """
    name = "the picture given as bytes" if isinstance(source, bytes) else str(source)
    if isinstance(source, Path) and source.exists() and not source.is_file():
        kind = "folder" if source.is_dir() else "device or pipe"
        raise PictureError(f"{name}: expected a picture, but this is a {kind}; name a file")
    file = File(source, name, max_megapixels)
    try:
        with file.open() as stream:
            if not stream.read(1):
                raise PictureError(f"{name}: expected a picture, but the file is empty; get a fresh copy of it")
            format = file_format.format_of(stream, source)
            if format is None:
                *most, last = (each.title for each in FORMATS.values())
                raise UnknownFormat(
                    f"{name}: expected a {', '.join(most)} or {last} picture, but the content is none of these"
                )
            picture = _reader(format)(file, format)
    except OSError as error:
        raise PictureError(unreadable(name, error)) from error
    return replace(picture, clip=clip, remarks=(*_lies(file, format), *picture.remarks))


def _reader(format: str) -> Callable[[File, str], Image]:
    if format not in _OTHER_READERS:
        return libvips_reader.read
    read: Callable[[File, str], Image] = import_module(f"mirnet.images.{_OTHER_READERS[format]}").read
    return read


def _lies(file: File, format: str) -> tuple[str, ...]:
    """A remark where the suffix is of another format than the content."""
    claimed = None if isinstance(file.source, bytes) else of_suffix(file.source.suffix)
    if claimed is None or claimed.name == format:
        return ()
    return (f"{file.name}: is a {FORMATS[format].title} picture in spite of its suffix, and is taken as one",)


def read_image(source: Path | str | bytes) -> Pixels:
    """A whole picture as a person sees it: (H, W) of grey, else (H, W, C); uint8, uint16 or float32, as in the file."""
    picture = open_image(Path(source) if isinstance(source, str) else source)
    (whole,) = picture.bands(picture.header.height)
    turned = np.ascontiguousarray(upright(whole, picture.header.orientation))
    return turned[..., 0] if picture.header.channels == 1 else turned
