"""Pictures and files that several test files share."""

import functools
import io
import struct
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pyvips
import tifffile
from PIL.TiffImagePlugin import IFDRational

from mirnet import images

FORMATS = ("jpeg", "png", "webp", "tiff")
WAYS = [*zip(FORMATS, FORMATS, strict=True), ("jpeg", "tiff"), ("tiff", "jpeg"), ("webp", "png"), ("jpeg", "webp")]
NEUTRAL = (0.5, 1.0, 0.7)  # what the camera of our DNG sees of white
SHAPES = {1: (23, 17), 2: (23, 17, 2), 3: (23, 17, 3), 4: (23, 17, 4)}
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6">'
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Hütte</rdf:li></rdf:Alt></dc:title></rdf:Description>'
    '</rdf:RDF></x:xmpmeta>  \n  <?xpacket end="w"?>'
).encode()


def noise(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """(23, 17[, C]) of every value, so that one wrong pixel shows."""
    return np.random.default_rng(channels).integers(0, np.iinfo(dtype).max, SHAPES[channels], dtype, endpoint=True)


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    """(H, W, 3) uint8 that lossy formats keep nearly."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.rint(255 * np.stack([down, across, (down + across) / 2], axis=-1)).astype(np.uint8)


@functools.cache
def icc() -> bytes:
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + profile[36:]  # else it would tell the time


def exif(orientation: int = 6) -> PIL.Image.Exif:
    """What a camera writes, with things that get lost easily: UTF-8 text, a maker note, fractions, a place."""
    tags = PIL.Image.Exif()
    tags[0x010F], tags[0x0110], tags[0x0112] = "Acme", "Model 7", orientation
    tags[0x8298] = "© Jürgen".encode()
    tags[0x9C9B] = "Titel".encode("utf-16le")
    shot = tags.get_ifd(0x8769)
    shot[0x829A], shot[0x8827], shot[0x9003] = IFDRational(1, 50), 800, "2020:01:02 03:04:05"
    shot[0x9204] = IFDRational(-2, 3)
    shot[0x927C] = b"maker\0\1\2\3" * 9
    shot[0xA405], shot[0xA434] = 35, "Lens 35/2"
    place = tags.get_ifd(0x8825)
    place[1], place[2] = "N", (IFDRational(48), IFDRational(10), IFDRational(3, 7))
    return tags


def with_thumbnail(block: bytes, thumbnail: bytes) -> bytes:
    """An EXIF block with a second directory that holds a JPEG, as cameras write it."""
    endian = "<" if block[:2] == b"II" else ">"
    (first,) = struct.unpack_from(endian + "L", block, 4)
    (count,) = struct.unpack_from(endian + "H", block, first)
    longer = bytearray(block + bytes(len(block) % 2))
    struct.pack_into(endian + "L", longer, first + 2 + 12 * count, len(longer))
    start = len(longer) + 2 + 24 + 4
    longer += struct.pack(endian + "H" + 2 * "HHLL", 2, 0x0201, 4, 1, start, 0x0202, 4, 1, len(thumbnail)) + bytes(4)
    return bytes(longer) + thumbnail


def pillow_bytes(array: np.ndarray, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(array).save(stream, format, **options)
    return stream.getvalue()


@functools.cache
def photo(format: str, orientation: int = 6) -> bytes:
    """A photograph as another program writes it, with EXIF, XMP, colour profile and resolution."""
    tags = exif(orientation)
    options: dict[str, object] = {"icc_profile": icc()}
    if format in ("jpeg", "webp"):
        options["xmp"] = XMP
    if format == "tiff":
        tags[700] = XMP
    options["exif"] = tags.tobytes()
    if format == "webp":
        options["lossless"] = True
    if format == "jpeg":
        options["quality"] = 98
    if format != "webp":
        options["dpi"] = (240, 120)
    return pillow_bytes(smooth(), format, **options)


def again(source: Path | bytes, **options: object) -> bytes:
    """The same pixels written by mirnet."""
    picture = images.open_image(source)
    written, _ = images.encode_image(picture.bands(7), picture, **options)
    return written


def stored_pixels(source: Path | bytes) -> np.ndarray:
    return np.concatenate(list(images.open_image(source).bands(5)))


def pyvips_bytes(array: np.ndarray, suffix: str) -> bytes:
    image = pyvips.Image.new_from_memory(array.copy(), array.shape[1], array.shape[0], array.shape[2], "ushort")
    return image.copy(interpretation="rgb16").write_to_buffer(suffix)


def tiff_bytes(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, **options)
    return stream.getvalue()


def dng(orientation: int = 1) -> bytes:
    """A camera's RAW file: a mosaic of smooth() as linear light, with its colour matrix and its neutral."""
    light = (np.mgrid[0 : 1 : 48 * 1j, 0 : 1 : 64 * 1j].transpose(1, 2, 0) @ [[1, 0, 0.5], [0, 1, 0.5]]) * NEUTRAL
    mosaic = light[..., 1].copy()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
    from_xyz = (32406, -15372, -4986, -9689, 18758, 415, 557, -2040, 10570)  # to linear sRGB, in ten thousandths
    tags = [
        (271, "s", 0, "Acme", True),
        (274, "H", 1, orientation, True),
        (33421, "H", 2, (2, 2), True),  # the mosaic's period and colours
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),  # DNG's version
        (50708, "s", 0, "Acme Model 7", True),
        (50717, "H", 1, 65535, True),  # white
        (50721, 10, 9, [part for value in from_xyz for part in (value, 10_000)], True),
        (50728, 5, 3, [part for value in NEUTRAL for part in (round(1000 * value), 1000)], True),
        (50778, "H", 1, 21, True),  # daylight of 6500 K
    ]
    raw = np.rint(mosaic * 65535).astype(np.uint16)
    return tiff_bytes(raw, photometric="cfa", extratags=tags, metadata=None)


def refusing(error: OSError):
    def refuse(*arguments, **options):
        raise error

    return refuse
