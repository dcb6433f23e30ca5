"""Files that lie in earnest: absurd sizes, bombs, thin pictures, floats that are no numbers, EXIF that runs in circles.

`small()` are quick to make and to refuse; `large()` hold millions of pixels, or millions of something else.
"""

import itertools
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import pyvips
from mutations import HEIC, BadFile
from sample_pictures import XMP, dng, exif, icc, photo, pillow_bytes, smooth, tiff_bytes

LONG = 2**31 - 1
SIZES = [(0, 0), (0, 48), (64, 0), (1, LONG), (LONG, 1), (LONG, LONG), (2**32 - 1, 2), (65535, 65535), (65500, 65500),
         (20000, 20000), (2000, 1900), (65500, 1), (1, 65500), (65500, 40), (65, 48)]  # fmt: skip

HEADS = (b"\xff\xd8\xff\xe1", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\xff\xff\xff\xffWEBPVP8X", b"RIFF\0\0\0\0WEBP",
         b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+", b"BM", b"P6\n", b"P1 ", b"P7\n", b"\0\0\0\x1cftypavif",
         b"\0\0\0\0ftypheic", b"\xff\xff\xff\xffftypmif1", b"\0\0\0\x18ftypcrx ", b"FUJIFILMCCD-RAW ", b"FOVb",
         b"IIU\0", b"IIRO", b"MMOR", b"\0MRM", b"II*\0\x10\0\0\0CR\2\0", b"\xff\x0a", b"\0\0\0\x0cJXL ", b"8BPS",
         b"qoif", b"v/1\1", b"#?RADIANCE")  # fmt: skip
TAGS = {256: "width", 258: "bits", 259: "compression", 262: "photometric", 273: "offset", 274: "orientation",
        277: "samples", 278: "rows", 279: "count", 284: "planes", 339: "kind"}  # fmt: skip
SPOTS = {"nan": np.nan, "inf": np.inf, "minus-inf": -np.inf, "huge": 3e38, "tiny": 1e-45, "minus": -0.5, "bright": 17.0}


def small() -> Iterator[BadFile]:
    yield from nothing()
    yield from absurd_sizes()
    yield from absurd_tags()
    yield from no_numbers()
    yield from lying_exif()
    yield from lying_neighbours()
    yield from thin(300)


def large() -> Iterator[BadFile]:
    yield from thin(16383)
    yield from wide()
    yield from bombs()
    yield from swollen_neighbours()


# Nothing of use ------------------------------------------------------------------------------------------------------


def nothing() -> Iterator[BadFile]:
    random = np.random.default_rng(11)
    whole = {
        "empty": b"", "byte": b"\xff", "newline": b"\n", "text": b"Dear diary, " * 500, "zeros": bytes(100_000),
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>',
        "pdf": b"%PDF-1.4\n1 0 obj <<>> endobj\n%%EOF", "zip": b"PK\3\4" + bytes(200), "noise": random.bytes(100_000),
        "html": b"<html><body>404</body></html>", "ones": b"\xff" * 100_000, "utf-16": "picture".encode("utf-16"),
    }  # fmt: skip
    for name, content in whole.items():
        yield BadFile.of("none", name, content)
    for number, head in enumerate(HEADS):
        yield BadFile.of("none", f"head-{number}", head)
        yield BadFile.of("none", f"head-{number}-noise", head + random.bytes(3000))
        yield BadFile.of("none", f"head-{number}-zeros", head + bytes(3000))


# Sizes that the pixels do not bear out ------------------------------------------------------------------------------


def absurd_sizes() -> Iterator[BadFile]:
    sound = {
        "jpeg": photo("jpeg"), "png": photo("png"), "tiff": tiff_bytes(smooth(), photometric="rgb"), "raw": dng(),
        "webp": photo("webp"), "gif": pillow_bytes(smooth(), "gif"), "bmp": pillow_bytes(smooth(), "bmp"),
        "avif": pillow_bytes(smooth(), "avif"), "heic": (HEIC / "ten-bit.heic").read_bytes(), "ppm": b"",
    }  # fmt: skip
    for (format, content), size in itertools.product(sound.items(), SIZES):
        yield BadFile.of(format, f"says-{size[0]}x{size[1]}", of_size(format, content, *size))
    for name, head in {
        "endless": b"P6 " + b"9" * 5000 + b" 1 255\n", "deep": b"P5 4 4 99999999\n", "no-depth": b"P5 4 4 0\n",
        "minus": b"P6 -4 -4 255\n", "bottomless-text": b"P2 5000 5000 255\n", "words": b"P3 4 4 255\nred green blue",
    }.items():  # fmt: skip
        yield BadFile.of("ppm", name, head + bytes(200))


def of_size(format: str, content: bytes, width: int, height: int) -> bytes:
    match format:
        case "png":
            return _png_of(content[16:24], struct.pack(">LL", width, height), content)
        case "jpeg":
            place = re.search(rb"\xff[\xc0\xc2]\0\x11\x08", content).start() + 5  # type: ignore[union-attr]
            return _put(content, place, struct.pack(">HH", height & 0xFFFF, width & 0xFFFF))
        case "tiff" | "raw":
            return with_tag(with_tag(content, 256, width), 257, height)
        case "webp":
            canvas = (max(width - 1, 0) & 0xFFFFFF) | (max(height - 1, 0) & 0xFFFFFF) << 24
            return _put(content, content.index(b"VP8X") + 12, canvas.to_bytes(6, "little"))
        case "gif":
            size = struct.pack("<HH", width & 0xFFFF, height & 0xFFFF)
            return _put(_put(content, 6, size), content.index(b",\0\0\0\0") + 5, size)
        case "bmp":
            return _put(content, 18, struct.pack("<LL", width, height))
        case "ppm":
            return f"P6 {width} {height} 255\n".encode() + bytes(300)
        case _:
            return _put(content, content.index(b"ispe") + 8, struct.pack(">LL", width, height))


def absurd_tags() -> Iterator[BadFile]:
    """A TIFF, and a DNG, with one number wrong."""
    for tag, name in TAGS.items():
        for value in (0, 3, 99, 65535, 2**31, 2**32 - 1):
            yield BadFile.of("tiff", f"{name}-{value}", with_tag(tiff_bytes(smooth(), photometric="rgb"), tag, value))
            if value in (0, 65535, 2**32 - 1):
                yield BadFile.of("raw", f"{name}-{value}", with_tag(dng(), tag, value))
    tiled = tiff_bytes(smooth(), photometric="rgb", tile=(16, 16))
    for tag, value in itertools.product((322, 323, 324, 325), (0, 8, 65535, 30000, 2**32 - 1)):
        yield BadFile.of("tiff", f"tile-{tag}-{value}", with_tag(tiled, tag, value))
    huge = with_tag(with_tag(tiled, 322, 30000), 323, 30000)
    yield BadFile.of("tiff", "one-tile-of-900-megapixels", huge)


def with_tag(content: bytes, tag: int, value: int) -> bytes:
    """A TIFF with the first value of a tag of its first directory replaced."""
    order = "<" if content[:2] == b"II" else ">"
    (place,) = struct.unpack_from(order + "L", content, 4)
    (count,) = struct.unpack_from(order + "H", content, place)
    for at in range(place + 2, place + 2 + 12 * count, 12):
        found, kind, values = struct.unpack_from(order + "HHL", content, at)
        if found == tag:
            letter = {1: "B", 3: "H", 4: "L"}[kind]
            size = struct.calcsize(letter)
            where = at + 8 if size * values <= 4 else struct.unpack_from(order + "L", content, at + 8)[0]
            return _put(content, where, struct.pack(order + letter, value & (256**size - 1)))
    return content


# Floats --------------------------------------------------------------------------------------------------------------


def no_numbers() -> Iterator[BadFile]:
    """Floats that are no numbers, or no brightness, first refused and then clipped."""
    for (name, value), clip, depth in itertools.product(SPOTS.items(), (False, True), (np.float32, np.float16)):
        with np.errstate(over="ignore"):
            value = np.asarray(value).astype(depth)
        one, all_ = (smooth() / np.float32(255)).astype(depth), np.full((48, 64, 3), value, depth)
        one[40, 30, 1] = value
        for much, array in (("one", one), ("all", all_), ("grey", all_[..., 0].copy())):
            kind = f"{np.dtype(depth).name}-{much}-{name}{'-clipped' * clip}"
            yield BadFile.of("tiff", kind, tiff_bytes(array, photometric="rgb" if array.ndim == 3 else None), clip)
    yield BadFile.of("tiff", "float64-nan", tiff_bytes(np.full((48, 64), np.nan)))


# What stands beside the pixels --------------------------------------------------------------------------------------


def lying_exif() -> Iterator[BadFile]:
    sound = exif().tobytes().removeprefix(b"Exif\0\0")
    for name, block in _exif_blocks(sound):
        for format in ("jpeg", "png", "webp"):
            yield BadFile.of(format, f"exif-{name}", pillow_bytes(smooth(), format, exif=b"Exif\0\0" + block))
        if len(block) > 20:  # Pillow writes only sound ones into AVIF
            place_holder = b"II*\0\x08\0\0\0".ljust(len(block), b"\0")
            avif = pillow_bytes(smooth(), "avif", exif=place_holder)
            yield BadFile.of("avif", f"exif-{name}", avif.replace(place_holder, block))
    for value in (0, 9, 99, 65535):
        yield BadFile.of("tiff", f"orientation-is-{value}", with_tag(photo("tiff"), 274, value))
    tiff = tiff_bytes(smooth(), photometric="rgb")
    first = struct.unpack_from("<L", tiff, 4)[0]
    next_ = first + 2 + 12 * struct.unpack_from("<H", tiff, first)[0]
    yield BadFile.of("tiff", "pages-in-a-circle", _put(tiff, next_, struct.pack("<L", first)))
    yield BadFile.of("tiff", "next-page-beyond", _put(tiff, next_, struct.pack("<L", 2**32 - 5)))


def _exif_blocks(sound: bytes) -> Iterator[tuple[str, bytes]]:
    def directory(*entries: tuple[int, int, int, int], follows: int = 0) -> bytes:
        table = b"".join(struct.pack("<HHLL", *each) for each in entries)
        return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + struct.pack("<L", follows)

    yield "empty", b""
    yield "head-alone", b"II*\0"
    yield "of-noise", np.random.default_rng(5).bytes(3000)
    yield "cut", sound[: len(sound) // 2]
    yield "circle", directory((0x0112, 3, 1, 6), follows=8)
    yield "circle-below", directory((0x8769, 4, 1, 8), (0x8825, 4, 1, 8), (0xA005, 4, 1, 8))
    yield "beyond", directory((0x010F, 2, 500, 2**32 - 9), (0x8769, 4, 1, 2**31), follows=2**32 - 1)
    yield "count-of-4e9", directory(*((0x0100 + kind, kind, 2**32 - 1, 8) for kind in range(1, 14)))
    yield "type-99", directory((0x010F, 99, 4, 0), (0x0112, 0, 1, 6))
    yield "orientation-99", directory((0x0112, 3, 1, 99))
    yield "orientation-of-text", directory((0x0112, 2, 4, 0x36363636))
    yield "orientation-twice", directory((0x0112, 3, 1, 6), (0x0112, 3, 1, 8))
    yield "size-lies", directory((0x0100, 4, 1, 4_000_000), (0x0101, 4, 1, 0), (0x0112, 3, 1, 5), (0xA002, 4, 1, 7))
    yield "thumbnail-beyond", directory((0x0201, 4, 1, 2**31), (0x0202, 4, 1, 2**32 - 1), follows=8)
    yield "65535-entries", b"II*\0\x08\0\0\0\xff\xff" + struct.pack("<HHLL", 0x010F, 2, 4, 0) * 5000
    yield "resolution-of-0", directory((0x011A, 5, 1, 26), (0x011B, 5, 1, 26)) + bytes(20)
    yield "maker-note-of-zeros", directory((0x927C, 7, 40_000, 26)) + bytes(40_000)


def lying_neighbours() -> Iterator[BadFile]:
    """Colour profiles and XMP that are none, or worse."""
    profile, random = icc(), np.random.default_rng(3)
    profiles = {
        "empty": b"\0", "noise": random.bytes(3000), "cut": profile[:200], "head": profile[:128],
        "length-lies": struct.pack(">L", 2**32 - 1) + profile[4:], "tags-4e9": _put(profile, 128, b"\xff" * 4),
        "tag-beyond": _put(profile, 136, b"\xff\xff\xff\0\xff\xff\xff\xff"), "grey-space": _put(profile, 16, b"GRAY"),
        "lab": _put(profile, 16, b"Lab "), "zeros": profile[:300] + bytes(len(profile) - 300),
        "curves-4e9": profile.replace(b"para\0\0\0\0", b"curv\0\0\0\0\xff\xff\xff\xff"),
        "xyz-of-ones": re.sub(rb"XYZ \0{4}.{12}", b"XYZ \0\0\0\0" + b"\xff" * 12, profile, flags=re.DOTALL),
        "xyz-of-zeros": re.sub(rb"XYZ \0{4}.{12}", b"XYZ \0\0\0\0" + bytes(12), profile, flags=re.DOTALL),
    }  # fmt: skip
    for (name, block), format in itertools.product(profiles.items(), ("jpeg", "png", "webp", "tiff", "avif")):
        yield BadFile.of(format, f"icc-{name}", pillow_bytes(smooth(), format, icc_profile=block))
    for number in range(20):
        broken = bytearray(profile)
        for place in random.integers(len(profile), size=12):
            broken[place] = random.integers(256)
        yield BadFile.of("png", f"icc-bytes-{number}", pillow_bytes(smooth(), "png", icc_profile=bytes(broken)))
    laughs = b"<!DOCTYPE x [<!ENTITY a '" + b"ha" * 50 + b"'>" + b"".join(
        b"<!ENTITY %c '%b'>" % (each, b"&%c;" % (each - 1) * 10) for each in range(98, 110)
    ) + b"]>"  # fmt: skip
    packets = {
        "cut": XMP[: len(XMP) // 2], "of-noise": random.bytes(900), "laughs": laughs + XMP.replace(b"H", b"&m;"),
        "nested": XMP.replace(b"<dc:title>", b"<a>" * 20_000 + b"</a>" * 20_000 + b"<dc:title>"),
        "utf-16": XMP.decode().encode("utf-16"), "outside": b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'>" + XMP,
        "orientation-99": XMP.replace(b'"6"', b'"99"'),
    }  # fmt: skip
    for (name, packet), format in itertools.product(packets.items(), ("jpeg", "webp")):
        short = packet[:60_000] if format == "jpeg" else packet
        yield BadFile.of(format, f"xmp-{name}", pillow_bytes(smooth(), format, xmp=short))
    for name, packet in packets.items():
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet
        yield BadFile.of("png", f"xmp-{name}", png_with([(b"iTXt", text)]))


# Thin and wide ------------------------------------------------------------------------------------------------------


def thin(length: int) -> Iterator[BadFile]:
    """One pixel wide, one pixel high, and not much more, in every format that we can write here."""
    formats = ("jpeg", "png", "webp", "tiff", "gif", "bmp", "ppm", "avif")
    sizes = [(1, 1), (1, length), (length, 1), (3, length), (length, 2)]
    for format, (width, height) in itertools.product(formats, sizes):
        if (width, height) != (1, 1) or length < 1000:
            yield BadFile.of(format, f"{width}x{height}", pillow_bytes(_stripes(width, height), format))
    if length < 1000:
        yield BadFile.of("jpeg", "progressive-1x300", pillow_bytes(_stripes(1, 300), "jpeg", progressive=True))
        for shape in ((1, 1), (1, 300), (300, 1)):
            yield BadFile.of("tiff", f"float-{shape}", tiff_bytes(np.full(shape, 0.1, np.float32)))


def wide() -> Iterator[BadFile]:
    """As long as the format allows, and where it allows more, as long as nobody has ever seen."""
    sizes = [(65500, 1), (1, 65500), (65500, 40), (40, 65500)]
    for format, size in itertools.product(("jpeg", "png", "tiff", "bmp", "ppm", "gif"), sizes):
        yield BadFile.of(format, f"{size[0]}x{size[1]}", pillow_bytes(_stripes(*size), format))
    yield BadFile.of("png", "interlaced-65500x9", _vips(_stripes(65500, 9), ".png[interlace=1]"))
    yield BadFile.of("jpeg", "progressive-65500x40", pillow_bytes(_stripes(65500, 40), "jpeg", progressive=True))
    yield BadFile.of("webp", "16383x90", pillow_bytes(_stripes(16383, 90), "webp"))
    yield BadFile.of("avif", "16384x64", _vips(_stripes(16384, 64), ".avif[effort=0]"))
    for format, size in itertools.product(("png", "tiff", "ppm"), [(1_000_000, 1), (1, 1_000_000), (1_000_001, 1)]):
        array = _stripes(*size)
        content = b"P6 %d %d 255\n" % size + array.tobytes() if format == "ppm" else _vips(array, f".{format}")
        yield BadFile.of(format, f"{size[0]}x{size[1]}", content)


def _stripes(width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8, dark, and nowhere quite even."""
    down, across = np.arange(height, dtype=np.uint32)[:, None], np.arange(width, dtype=np.uint32)
    return np.repeat(((down * 7 + across * 3) % 61).astype(np.uint8)[..., None], 3, axis=2)


def _vips(array: np.ndarray, suffix: str) -> bytes:
    return pyvips.Image.new_from_array(array).write_to_buffer(suffix)


# Bombs --------------------------------------------------------------------------------------------------------------


def bombs() -> Iterator[BadFile]:
    """Much out of little: the first of each pair is refused with 30 megapixels allowed, the second taken."""
    yield BadFile.of("png", "black-20000", png_black(20_000, 20_000, "grey"))
    yield BadFile.of("png", "deep-black-5400", png_black(5_400, 5_400, "deep"))
    for side in (20_000, 3_000):
        yield BadFile.of("tiff", f"black-{side}-in-one-strip", tiff_black(side, side))
    yield BadFile.of("png", "one-bit-60000", png_black(60_000, 60_000, "bit"))
    yield BadFile.of("png", "wide-1000000x29", png_black(1_000_000, 29, "deep"))
    yield BadFile.of("png", "frames-of-nothing", png_with([(b"IDAT", b"")] * 200_000))
    for size in ((3_100, 3_100), (2_800, 2_800)):  # interlaced: decoded whole, 8.3 bytes a pixel
        black = pyvips.Image.black(*size, bands=4).cast("ushort").copy(interpretation="rgb16")
        yield BadFile.of("png", f"interlaced-{size[0]}", black.write_to_buffer(".png[interlace=1]"))
    for side in (8_000, 3_100):
        content = pyvips.Image.black(side, side, bands=3).copy(interpretation="srgb")
        yield BadFile.of("webp", f"black-{side}", content.write_to_buffer(".webp[lossless,effort=0]"))
    for side in (6_000, 2_000):
        yield BadFile.of("gif", f"black-{side}", pillow_bytes(np.zeros((side, side), np.uint8), "gif"))
    for side in (4_000, 2_300):
        content = pyvips.Image.black(side, side, bands=3).copy(interpretation="srgb")
        yield BadFile.of("avif", f"black-{side}", content.write_to_buffer(".avif[effort=0]"))
    for side in (6_000, 2_700):
        yield BadFile.of("jpeg", f"black-{side}", pillow_bytes(np.zeros((side, side), np.uint8), "jpeg"))
    for side in (4_000, 2_000):
        yield BadFile.of("bmp", f"black-{side}", pillow_bytes(np.zeros((side, side), np.uint8), "bmp"))
    yield BadFile.of("bmp", "run-length-3300", _bmp_of_runs(3_300, 3_300))
    progressive = pillow_bytes(np.zeros((2_900, 2_900), np.uint8), "jpeg", progressive=True)
    for scans in (40, 4_000):
        yield BadFile.of("jpeg", f"{scans}-scans", _more_scans(progressive, scans))
    frame = pillow_bytes(np.zeros((1, 1), np.uint8), "gif")
    body = frame[frame.index(b",\0\0\0\0") : -1]
    start = _put(frame[: frame.index(b",\0\0\0\0")], 6, struct.pack("<HH", 3_000, 3_000))
    yield BadFile.of("gif", "100000-frames", start + body * 100_000 + b";")
    page = tiff_bytes(np.zeros((8, 8), np.uint8))
    yield BadFile.of("tiff", "20000-pages", _many_pages(page, 20_000))
    yield BadFile.of("tiff", "deep-float-5300", tiff_black(5_300, 5_300, floats=True))
    yield BadFile.of("ppm", "comment-of-60-mb", b"P6\n#" + b"x" * 60_000_000 + b"\n4 4 255\n" + bytes(48))
    yield BadFile.of("ppm", "spaces-of-60-mb", b"P3 4 4 255\n" + b" " * 60_000_000)
    yield BadFile.of("ppm", "text-3000x2000", b"P2 3000 2000 255\n" + b"9 " * 6_000_000)


def swollen_neighbours() -> Iterator[BadFile]:
    """Small pictures with far too much beside them."""
    packed = _packed_zeros(300_000_000)
    for kind in (b"zTXt", b"iCCP"):
        yield BadFile.of("png", f"{kind.decode()}-of-300-mb", png_with([(kind, b"name\0\0" + packed)]))
    yield BadFile.of("png", "iTXt-of-300-mb", png_with([(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + packed)]))
    yield BadFile.of("png", "exif-as-text-of-300-mb", png_with([(b"zTXt", b"Raw profile type exif\0\0" + packed)]))
    long = XMP.replace(b"<dc:title>", b"<!--" + b"x" * 60_000_000 + b"--><dc:title>")
    yield BadFile.of("png", "xmp-of-60-mb", png_with([(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + long)]))
    yield BadFile.of("png", "100000-texts", png_with([(b"tEXt", b"Comment\0" + b"a" * 20)] * 100_000))
    sound = photo("jpeg")
    segment = b"\xff\xe1\xff\xff" + b"http://ns.adobe.com/xap/1.0/\0".ljust(65533, b" ")
    yield BadFile.of("jpeg", "1000-xmp-segments", sound[:2] + segment * 1000 + sound[2:])
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32
    parts = (head + struct.pack(">LL", 2**32 - 1, 65_400 * each) for each in range(800))
    extended = b"".join(b"\xff\xe1\xff\xff" + each.ljust(65533, b"<") for each in parts)
    yield BadFile.of("jpeg", "extended-xmp-of-52-mb", sound[:2] + extended + sound[2:])
    profile = b"".join(b"\xff\xe2\xff\xff" + b"ICC_PROFILE\0\1\xff".ljust(65533, b"a") for _ in range(800))
    yield BadFile.of("jpeg", "800-first-profile-parts", sound[:2] + profile + sound[2:])
    yield BadFile.of("jpeg", "500000-empty-segments", sound[:2] + b"\xff\xee\0\2" * 500_000 + sound[2:])
    yield BadFile.of("jpeg", "fill-bytes-of-40-mb", sound[:2] + b"\xff" * 40_000_000 + sound[2:])
    webp = photo("webp")
    chunk = b"JUNK\0\0\0\0" * 1_000_000
    longer = webp[:4] + struct.pack("<L", len(webp) - 8 + len(chunk)) + webp[8:] + chunk
    yield BadFile.of("webp", "1000000-chunks", longer)
    avif = pillow_bytes(smooth(), "avif")
    yield BadFile.of("avif", "1000000-boxes", avif + b"\0\0\0\x08free" * 1_000_000)
    yield BadFile.of("heic", "1000000-boxes", (HEIC / "ten-bit.heic").read_bytes() + b"\0\0\0\x08free" * 1_000_000)
    gif = pillow_bytes(smooth(), "gif")
    place = gif.index(b",\0\0\0\0")
    comment = b"!\xfe" + (b"\xff" + b"c" * 255) * 200_000 + b"\0"
    yield BadFile.of("gif", "comment-of-50-mb", gif[:place] + comment + gif[place:])


def png_with(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A sound PNG with more chunks behind its head."""
    sound = photo("png")
    return sound[:33] + b"".join(_chunk(*each) for each in chunks) + sound[33:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def _png_of(old: bytes, size: bytes, content: bytes) -> bytes:
    head = content[12:16] + size + content[16 + len(old) : 29]
    return content[:12] + head + struct.pack(">L", zlib.crc32(head)) + content[33:]


def png_black(width: int, height: int, kind: str) -> bytes:
    """A PNG of zeros: "bit" a pixel, "grey", or "deep" for RGBA of 16 bit."""
    bits, colour, per_pixel = {"bit": (1, 0, 1), "grey": (8, 0, 8), "deep": (16, 6, 64)}[kind]
    data = _packed_zeros(height * (1 + (width * per_pixel + 7) // 8))
    head = struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def tiff_black(width: int, height: int, floats: bool = False) -> bytes:
    """A deflated TIFF of zeros, grey of 8 bit or RGBA floats, all of it in one strip."""
    samples, bits = (4, 32) if floats else (1, 8)
    data = _packed_zeros(width * height * samples * bits // 8)
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, samples, 8 if samples > 1 else bits), (259, 3, 1, 8),
               (262, 3, 1, 2 if floats else 1), (273, 4, 1, 200), (277, 3, 1, samples), (278, 4, 1, height),
               (279, 4, 1, len(data)), *([(338, 3, 1, 2), (339, 3, samples, 16)] if floats else [])]  # fmt: skip
    table = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", *each) for each in entries) + bytes(4)
    head = b"II*\0" + struct.pack("<L", 24) + struct.pack("<4H", *[bits] * 4) + struct.pack("<4H", *[3] * 4)
    return (head + table).ljust(200, b"\0") + data


def _packed_zeros(count: int) -> bytes:
    packer, block = zlib.compressobj(6), bytes(1_000_000)
    parts = [packer.compress(block) for _ in range(count // len(block))]
    return b"".join([*parts, packer.compress(bytes(count % len(block))), packer.flush()])


def _bmp_of_runs(width: int, height: int) -> bytes:
    """A BMP whose runs end the picture at once."""
    head = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, 1, 2, 0, 0, 256, 0)
    return b"BM" + struct.pack("<LHHL", 14 + 40 + 1024 + 2, 0, 0, 14 + 40 + 1024) + head + bytes(1024) + b"\0\1"


def _more_scans(progressive: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    place = progressive.rindex(b"\xff\xda")
    return progressive[:-2] + progressive[place:-2] * count + progressive[-2:]


def _many_pages(page: bytes, count: int) -> bytes:
    """A TIFF with the same directory, copied, as every page."""
    (first,) = struct.unpack_from("<L", page, 4)
    length = 2 + 12 * struct.unpack_from("<H", page, first)[0]
    pages, place = [page + bytes(-len(page) % 2)], len(page) + len(page) % 2
    pages[0] = _put(pages[0], first + length, struct.pack("<L", place))
    for number in range(1, count):
        place += length + 4
        pages.append(page[first : first + length] + struct.pack("<L", place if number < count - 1 else 0))
    return b"".join(pages)


def _put(content: bytes, place: int, piece: bytes) -> bytes:
    return content[:place] + piece + content[place + len(piece) :]
