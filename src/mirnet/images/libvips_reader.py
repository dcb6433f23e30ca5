"""Opens JPEG, PNG, WebP, TIFF, AVIF and GIF by libvips, which decodes most of them as a stream of rows."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np

from mirnet.errors import PictureError
from mirnet.formats import FORMATS
from mirnet.images.image import DTYPES, File, Header, Image, to_full_range
from mirnet.images.libvips import describe_damaged, vips
from mirnet.images.orientation import Pixels
from mirnet.metadata import Metadata, read_metadata
from mirnet.metadata.bmff import read_image_sizes
from mirnet.metadata.tiff_directories import read_number_tags

_LOADERS = {"avif": "heif"}  # where libvips calls a format by another name
_DEPTHS = {"uchar": 8, "ushort": 16, "float": 32}
_SUPPORTED = ("b-w", "grey16", "srgb", "rgb16", "scrgb")  # libvips's names of colour spaces
_PHOTOMETRIC, _BITS = 262, 258
_UNSUPPORTED = {8: "CIELab", 9: "CIELab", 10: "CIELab", 32844: "LogL", 32845: "LogLuv"}  # photometric interpretations
_DECODED_BYTES = {"webp": 7.8, "avif": 14.5, "gif": 5.0}
_HEADER_BYTES = 1 << 20
_FETCHED_ROWS = 32  # at a time: in one go a high band takes twice as long


def read(file: File, format: str) -> Image:
    """Opens an image and decodes nothing yet. Raises PictureError for an image of an unsupported kind."""
    title = FORMATS[format].title
    if format == "tiff":
        _refuse_unsupported_tiff(file)
    if format == "avif":
        _refuse_stated_sizes(file)
    try:
        image = _load(file, format)
    except vips().Error as error:
        raise PictureError(describe_damaged(file.name, format, error)) from error
    file.refuse_size(image.width, image.height, _count_decoded_bytes(image, format))
    _refuse_unsupported(image, file.name, title)
    orientation = (_get_field(image, "orientation") or 1) if format != "avif" else 1  # AVIF's box has turned it already
    decoded = _convert_cmyk(image)
    bits = int(_get_field(image, "bits-per-sample") or 8) if format == "avif" else _DEPTHS[decoded.format]
    header = Header(
        width=image.width,
        height=image.height,
        channels=decoded.bands,
        depth=_DEPTHS[decoded.format],
        format=format,
        orientation=orientation if 1 <= orientation <= 8 else 1,
    )
    profile, is_cmyk = _get_field(image, "icc-profile-data"), image.interpretation == "cmyk"

    def read_all_metadata() -> Metadata:
        with file.open() as stream:
            metadata = read_metadata(stream, format)
            lossless = _is_lossless_avif(stream) if format == "avif" else metadata.lossless
        return replace(metadata, icc=None if is_cmyk else profile or metadata.icc, lossless=lossless)

    return Image(
        header,
        read_all_metadata,
        file.name,
        file.source,
        lambda rows: _decode_bands(file, header, bits, rows),
        _describe_changes(image, format),
        bits,
    )


def _load(file: File, format: str) -> Any:
    """The image as libvips has it, nothing decoded yet; fetching the first pixel starts one pass from the top.

    libvips gets a descriptor and not a name, since it reads options from some names. "error" and not "truncated":
    libvips counts a TIFF that is cut short as an error, and gives made-up rows for it with "truncated".
    """
    pyvips = vips()
    if isinstance(file.source, bytes):
        origin = pyvips.Source.new_from_memory(file.source)
    else:
        with file.source.open("rb") as stream:
            origin = pyvips.Source.new_from_descriptor(stream.fileno())  # libvips keeps a duplicate
    loader = getattr(pyvips.Image, f"{_LOADERS.get(format, format)}load_source")
    image = loader(origin, access="sequential", fail_on="error")
    main = _get_field(image, "heif-primary")
    return loader(origin, access="sequential", fail_on="error", page=main) if main else image


def _decode_bands(file: File, header: Header, bits: int, rows: int) -> Iterator[Pixels]:
    try:
        image = _convert_cmyk(_load(file, header.format))
        region = vips().Region.new(image)
        for top in range(0, header.height, rows):
            band = np.empty((min(rows, header.height - top), header.width, header.channels), DTYPES[header.depth])
            for start in range(0, len(band), _FETCHED_ROWS):
                part = band[start : start + _FETCHED_ROWS]
                fetched = region.fetch(0, top + start, header.width, len(part))
                part[:] = np.frombuffer(fetched, band.dtype).reshape(part.shape)
            yield to_full_range(band, bits)
    except vips().Error as error:
        raise PictureError(describe_damaged(file.name, header.format, error)) from error


def _count_decoded_bytes(image: Any, format: str) -> float:
    """Bytes of memory that a pixel takes where the image is decoded whole, as measured; 0 where it is streamed."""
    if format in _DECODED_BYTES:
        return _DECODED_BYTES[format]
    if _get_field(image, "interlaced") and format in ("jpeg", "png"):  # JPEG: the coefficients, PNG: the pixels
        return float(image.bands * (2 if format == "jpeg" or image.format == "ushort" else 1)) + 0.3
    return 0


def _convert_cmyk(image: Any) -> Any:
    """CMYK as sRGB, by the file's profile or else by libvips's own for print; other images as they are."""
    if image.interpretation != "cmyk":
        return image
    depth = 16 if image.format == "ushort" else 8
    return image.icc_transform("srgb", embedded=True, input_profile="cmyk", intent="relative", depth=depth)


def _refuse_unsupported_tiff(file: File) -> None:
    """Raises PictureError for a TIFF that libvips would call damaged, or decode with wrong colours."""
    with file.open() as stream:
        tags = next(iter(read_number_tags(stream)), {})
    unsupported = _UNSUPPORTED.get(tags.get(_PHOTOMETRIC, (0,))[0])
    if unsupported is not None:
        raise PictureError(
            f"{file.name}: expected grey, RGB or CMYK, but this TIFF holds {unsupported}; convert it to sRGB"
        )
    if max(tags.get(_BITS, (8,))) > 32:
        raise PictureError(f"{file.name}: expected at most 32 bits a value, but this TIFF has 64; convert it to 32")


def _refuse_stated_sizes(file: File) -> None:
    """Refuses impossible sizes in an AVIF's boxes, for which libvips prints complaints."""
    with file.open() as stream:
        for width, height in read_image_sizes(stream):
            file.refuse_size(width, height, _DECODED_BYTES["avif"])


def _refuse_unsupported(image: Any, name: str, title: str) -> None:
    """Raises PictureError unless values are grey, RGB or CMYK of 8 or 16 bit or float, perhaps with alpha."""
    is_cmyk = image.interpretation == "cmyk"
    if image.format not in _DEPTHS or (is_cmyk and image.format == "float"):
        raise PictureError(
            f"{name}: expected 8 or 16 bit or float values, but this {title} holds {image.format} values; convert it"
        )
    if not (is_cmyk or image.interpretation in _SUPPORTED) or not 1 <= image.bands <= (5 if is_cmyk else 4):
        raise PictureError(
            f"{name}: expected grey, RGB or CMYK, but this {title} holds {image.bands} channels of "
            f"{image.interpretation}; convert it to sRGB first"
        )


def _describe_changes(image: Any, format: str) -> tuple[str, ...]:
    """Remarks about what the image loses or becomes when it is decoded."""
    remarks = []
    pages = _get_field(image, "n-pages") or 1
    if pages > 1:
        which = {"tiff": f"the first of its {pages} pages", "avif": f"the main one of its {pages} images"}
        remarks.append(f"{which.get(format, f'the first of its {pages} frames')} is taken, the others are dropped")
    alpha = " and transparency" if image.bands in (2, 4) else ""
    if _get_field(image, "palette"):
        remarks.append(f"its palette became RGB{alpha}")
    if image.interpretation == "cmyk":
        has_profile = image.get_typeof("icc-profile-data")
        profile = "its profile" if has_profile else "a common profile of print, since it has none"
        remarks.append(f"CMYK became sRGB by {profile}")
    if format == "tiff" and image.format == "float" and _get_field(image, "bits-per-sample") == 16:
        remarks.append("16-bit floats became 32-bit ones")
    return tuple(remarks)


def _get_field(image: Any, name: str) -> Any:
    return image.get(name) if image.get_typeof(name) else None


def _is_lossless_avif(stream: BinaryIO) -> bool:
    """Whether it stores R, G and B apart (matrix coefficients 0), which encoders do only without loss."""
    stream.seek(0)
    start = stream.read(_HEADER_BYTES)
    offset = start.find(b"colrnclx")
    return offset >= 0 and start[offset + 12 : offset + 14] == b"\0\0"
