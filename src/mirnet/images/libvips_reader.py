"""JPEG, PNG, WebP, TIFF, AVIF and GIF pictures, which libvips reads, most of them as a stream of rows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from mirnet import metadata
from mirnet.errors import PictureError
from mirnet.formats import FORMATS
from mirnet.images import tiff_tags
from mirnet.images.image import DTYPES, File, Header, Image, full_range
from mirnet.images.libvips import damaged, vips
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata, bmff

_LOADERS = {"avif": "heif"}  # where libvips calls a format by another name
_DEPTHS = {"uchar": 8, "ushort": 16, "float": 32}
_PLAIN = ("b-w", "grey16", "srgb", "rgb16", "scrgb")
_PHOTOMETRIC, _BITS = 262, 258
_STRANGE = {8: "CIELab", 9: "CIELab", 10: "CIELab", 32844: "LogL", 32845: "LogLuv"}  # photometric interpretations
_WHOLE_BYTES = {"webp": 7.8, "avif": 14.5, "gif": 5.0}
_HEAD_BYTES = 1 << 20
_FETCHED_ROWS = 32  # at a time: in one go a high band takes twice as long


def read(file: File, format: str) -> Image:
    """Open a picture, nothing decoded yet. Raises PictureError for what cannot be taken as it is."""
    title = FORMATS[format].title
    if format == "tiff":
        _refuse_strange_tiff(file)
    if format == "avif":
        _refuse_stated_sizes(file)
    try:
        image = _load(file, format)
    except vips().Error as error:
        raise PictureError(damaged(file.name, format, error)) from error
    file.refuse_size(image.width, image.height, _whole_bytes(image, format))
    _refuse_unsupported(image, file.name, title)
    orientation = (_field(image, "orientation") or 1) if format != "avif" else 1  # AVIF's box has turned it already
    plain = _in_rgb(image)
    bits = int(_field(image, "bits-per-sample") or 8) if format == "avif" else _DEPTHS[plain.format]
    header = Header(
        width=image.width,
        height=image.height,
        channels=plain.bands,
        depth=_DEPTHS[plain.format],
        format=format,
        orientation=orientation if 1 <= orientation <= 8 else 1,
    )
    with file.open() as stream:
        about = _read_metadata(image, format, stream)
    return Image(
        header,
        about,
        file.name,
        file.source,
        lambda rows: _bands(file, header, bits, rows),
        _remarks(image, format),
        bits,
    )


def _load(file: File, format: str) -> Any:
    """The picture as libvips sees it, nothing decoded yet; the first pixel asked for starts one pass from the top.

    A descriptor is handed over and not a name, since libvips reads options out of some names. "error" and not
    "truncated": a TIFF cut short counts for libvips as the former, and gives made-up rows for the latter.
    """
    pyvips = vips()
    if isinstance(file.source, bytes):
        origin = pyvips.Source.new_from_memory(file.source)
    else:
        with file.source.open("rb") as stream:
            origin = pyvips.Source.new_from_descriptor(stream.fileno())  # libvips keeps a duplicate
    loader = getattr(pyvips.Image, f"{_LOADERS.get(format, format)}load_source")
    image = loader(origin, access="sequential", fail_on="error")
    main = _field(image, "heif-primary")
    return loader(origin, access="sequential", fail_on="error", page=main) if main else image


def _bands(file: File, header: Header, bits: int, rows: int) -> Iterator[Pixels]:
    try:
        image = _in_rgb(_load(file, header.format))
        region = vips().Region.new(image)
        for top in range(0, header.height, rows):
            band = np.empty((min(rows, header.height - top), header.width, header.channels), DTYPES[header.depth])
            for start in range(0, len(band), _FETCHED_ROWS):
                part = band[start : start + _FETCHED_ROWS]
                fetched = region.fetch(0, top + start, header.width, len(part))
                part[:] = np.frombuffer(fetched, band.dtype).reshape(part.shape)
            yield full_range(band, bits)
    except vips().Error as error:
        raise PictureError(damaged(file.name, header.format, error)) from error


def _whole_bytes(image: Any, format: str) -> float:
    """Bytes of memory that a pixel takes where the picture is decoded whole, as measured; 0 where it is streamed."""
    if format in _WHOLE_BYTES:
        return _WHOLE_BYTES[format]
    if _field(image, "interlaced") and format in ("jpeg", "png"):  # JPEG: the coefficients, PNG: the pixels
        return float(image.bands * (2 if format == "jpeg" or image.format == "ushort" else 1)) + 0.3
    return 0


def _in_rgb(image: Any) -> Any:
    """CMYK as sRGB, by the file's profile or else by the one that libvips brings for print; all else as it is."""
    if image.interpretation != "cmyk":
        return image
    depth = 16 if image.format == "ushort" else 8
    return image.icc_transform("srgb", embedded=True, input_profile="cmyk", intent="relative", depth=depth)


def _refuse_strange_tiff(file: File) -> None:
    """What libvips would call damaged, or would show in wrong colours."""
    with file.open() as stream:
        found = next(iter(tiff_tags.directories(stream)), {})
    strange = _STRANGE.get(found.get(_PHOTOMETRIC, (0,))[0])
    if strange is not None:
        raise PictureError(
            f"{file.name}: expected grey, RGB or CMYK, but this TIFF holds {strange}; convert it to sRGB"
        )
    if max(found.get(_BITS, (8,))) > 32:
        raise PictureError(f"{file.name}: expected at most 32 bits a value, but this TIFF has 64; convert it to 32")


def _refuse_stated_sizes(file: File) -> None:
    """What an AVIF says of itself; libvips prints complaints about a size that no picture has."""
    with file.open() as stream:
        for width, height in bmff.stated_sizes(stream):
            file.refuse_size(width, height, _WHOLE_BYTES["avif"])


def _refuse_unsupported(image: Any, name: str, format: str) -> None:
    """Grey, RGB or CMYK values of 8 or 16 bit or float, perhaps with alpha: all else would come back changed."""
    cmyk = image.interpretation == "cmyk"
    if image.format not in _DEPTHS or (cmyk and image.format == "float"):
        raise PictureError(
            f"{name}: expected 8 or 16 bit or float values, but this {format} holds {image.format} values; convert it"
        )
    if not (cmyk or image.interpretation in _PLAIN) or not 1 <= image.bands <= (5 if cmyk else 4):
        raise PictureError(
            f"{name}: expected grey, RGB or CMYK, but this {format} holds {image.bands} channels of "
            f"{image.interpretation}; convert it to sRGB first"
        )


def _remarks(image: Any, format: str) -> tuple[str, ...]:
    """What a person should know of how the picture is taken."""
    remarks = []
    pages = _field(image, "n-pages") or 1
    if pages > 1:
        which = {"tiff": f"the first of its {pages} pages", "avif": f"the main one of its {pages} pictures"}
        remarks.append(f"{which.get(format, f'the first of its {pages} frames')} is taken, the others are left behind")
    alpha = " and transparency" if image.bands in (2, 4) else ""
    if _field(image, "palette"):
        remarks.append(f"its palette became RGB{alpha}")
    if image.interpretation == "cmyk":
        profile = (
            "its profile" if image.get_typeof("icc-profile-data") else "a common profile of print, since it has none"
        )
        remarks.append(f"CMYK became sRGB by {profile}")
    if format == "tiff" and image.format == "float" and _field(image, "bits-per-sample") == 16:
        remarks.append("16-bit floats became 32-bit ones")
    return tuple(remarks)


def _field(image: Any, name: str) -> Any:
    return image.get(name) if image.get_typeof(name) else None


def _read_metadata(image: Any, format: str, stream: BinaryIO) -> Metadata:
    about = metadata.read(stream, format)
    profile = _field(image, "icc-profile-data") or about.icc
    lossless = _is_lossless_avif(stream) if format == "avif" else about.lossless
    return replace(about, icc=None if image.interpretation == "cmyk" else profile, lossless=lossless)


def _is_lossless_avif(stream: BinaryIO) -> bool:
    """Whether it keeps R, G and B apart (matrix coefficients 0), which nobody chooses for lossy compression."""
    stream.seek(0)
    start = stream.read(_HEAD_BYTES)
    place = start.find(b"colrnclx")
    return place >= 0 and start[place + 12 : place + 14] == b"\0\0"
