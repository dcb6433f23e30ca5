"""Small pictures of every format, and thousands of files made of them by damage; the same ones for the same seed."""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import PIL.Image
import pyvips
from sample_pictures import dng, exif, icc, noise, photo, pillow_bytes, smooth, tiff_bytes

HEIC = Path(__file__).parent / "samples"
LIES = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\xff\xff", b"\0\1\0\0")
SUFFIXES = {"jpeg": ".jpg", "tiff": ".tif", "raw": ".dng", "none": ".jpg"}


@dataclass(frozen=True)
class BadFile:
    """A file that a picture program may meet; `format` is the one that it pretends to be of, or "none"."""

    name: str
    format: str
    content: bytes
    clip: bool = False  # whether floats are to be clipped

    @staticmethod
    def of(format: str, what: str, content: bytes, clip: bool = False) -> "BadFile":
        return BadFile(f"{format}-{what}{SUFFIXES.get(format, f'.{format}')}", format, content, clip)


Sample = tuple[str, str, bytes]  # format, kind, content
Random = np.random.Generator


def corpus(files: int, seed: int = 0, extremes: Iterable[BadFile] = ()) -> Iterator[BadFile]:
    """The extremes, then damaged samples until there are `files` in all: each sample by each kind of damage in turn."""
    numbered = itertools.islice(itertools.chain(extremes, _damaged(seed)), files)
    return (replace(each, name=f"{number:04}-{each.name}") for number, each in enumerate(numbered))


def _damaged(seed: int) -> Iterator[BadFile]:
    random, known = np.random.default_rng(seed), samples()
    while True:
        for (format, kind, content), damage in itertools.product(known, DAMAGES):
            yield BadFile.of(format, f"{kind}-{damage.__name__}".replace("_", "-"), damage(content, random, known))


def samples() -> list[Sample]:
    """Sound pictures of every format that is read and of most ways in which it is written, a few kilobytes each."""
    return [
        *_jpegs(),
        *_pngs(),
        *_webps(),
        *_tiffs(),
        *_avifs(),
        *_others(),
        ("heic", "turned", (HEIC / "eight-bit-turned.heic").read_bytes()),
        ("heic", "ten-bit", (HEIC / "ten-bit.heic").read_bytes()),
        ("raw", "dng", dng()),
    ]


def _jpegs() -> Iterator[Sample]:
    yield "jpeg", "photo", photo("jpeg")
    yield "jpeg", "progressive", pillow_bytes(smooth(), "jpeg", progressive=True)
    yield "jpeg", "grey", pillow_bytes(smooth()[..., 0], "jpeg", quality=60)
    yield "jpeg", "cmyk", _saved(PIL.Image.fromarray(noise()).convert("CMYK"), "jpeg")
    yield "jpeg", "restarts", pillow_bytes(smooth(), "jpeg", restart_marker_rows=1, subsampling=2)


def _pngs() -> Iterator[Sample]:
    yield "png", "photo", photo("png")
    yield "png", "deep", _by_vips(noise(3, np.uint16), ".png")
    yield "png", "interlaced", _by_vips(noise(), ".png[interlace=1]")
    yield "png", "alpha", pillow_bytes(noise(4), "png")
    yield "png", "palette", _saved(PIL.Image.fromarray(noise()).quantize(16), "png", transparency=3)
    yield "png", "one-bit", _saved(PIL.Image.fromarray(noise(1)).convert("1"), "png")


def _webps() -> Iterator[Sample]:
    yield "webp", "photo", photo("webp")
    yield "webp", "lossy", pillow_bytes(noise(), "webp")
    yield "webp", "alpha", pillow_bytes(noise(4), "webp", exif=exif().tobytes())
    yield "webp", "animated", _animation("webp")


def _tiffs() -> Iterator[Sample]:
    array, values = noise(), noise().astype(np.float32) / 255
    yield "tiff", "photo", photo("tiff")
    yield "tiff", "deep", tiff_bytes(noise(3, np.uint16), photometric="rgb", byteorder=">")
    yield "tiff", "float", tiff_bytes(values, photometric="rgb")
    yield "tiff", "half-float", tiff_bytes(values[..., 0].astype(np.float16))
    yield "tiff", "tiled", tiff_bytes(array, photometric="rgb", tile=(16, 16))
    yield "tiff", "pages", tiff_bytes(np.stack([array] * 3), photometric="rgb")
    yield "tiff", "planes", tiff_bytes(array.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate")
    yield "tiff", "big", tiff_bytes(array, photometric="rgb", bigtiff=True)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        yield "tiff", compression.replace("_", "-"), pillow_bytes(array, "tiff", compression=compression)
    yield "tiff", "fax", _saved(PIL.Image.fromarray(noise(1)).convert("1"), "tiff", compression="group4")
    yield "tiff", "cmyk", _saved(PIL.Image.fromarray(array).convert("CMYK"), "tiff")


def _avifs() -> Iterator[Sample]:
    yield "avif", "photo", pillow_bytes(smooth(), "avif", exif=exif().tobytes(), icc_profile=icc())
    yield "avif", "deep", _by_vips(noise(3, np.uint16), ".avif[bitdepth=10,effort=0]")
    yield "avif", "alpha", pillow_bytes(noise(4), "avif")


def _others() -> Iterator[Sample]:
    array = noise()
    yield "gif", "plain", pillow_bytes(array, "gif")
    yield "gif", "animated", _animation("gif")
    yield "bmp", "plain", pillow_bytes(array, "bmp")
    yield "bmp", "palette", _saved(PIL.Image.fromarray(array).quantize(16), "bmp")
    yield "ppm", "colour", pillow_bytes(array, "ppm")
    yield "ppm", "deep", b"P5 # deep\n17 23\n65535\n" + noise(1, np.uint16).astype(">u2").tobytes()
    yield "ppm", "text", b"P3 4 4 255\n" + b"1 20 255 " * 16
    yield "ppm", "bits", b"P4 17 23\n" + noise(1).tobytes()[: 3 * 23]


def _saved(image: PIL.Image.Image, format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def _animation(format: str) -> bytes:
    frames = [PIL.Image.fromarray(each) for each in (noise(), 255 - noise(), noise()[::-1].copy())]
    return _saved(frames[0], format, save_all=True, append_images=frames[1:], duration=40)


def _by_vips(array: np.ndarray, suffix: str) -> bytes:
    return pyvips.Image.new_from_array(array).write_to_buffer(suffix)


# Damage: (content, random, samples) -> content ---------------------------------------------------------------------


def one_byte(content: bytes, random: Random, _: list[Sample]) -> bytes:
    return _flipped(content, random, 1)


def ten_bytes(content: bytes, random: Random, _: list[Sample]) -> bytes:
    return _flipped(content, random, 10)


def one_percent(content: bytes, random: Random, _: list[Sample]) -> bytes:
    return _flipped(content, random, max(1, len(content) // 100))


def one_bit_of_the_head(content: bytes, random: Random, _: list[Sample]) -> bytes:
    broken = bytearray(content)
    broken[random.integers(min(300, len(content)))] ^= 1 << int(random.integers(8))
    return bytes(broken)


def cut(content: bytes, random: Random, _: list[Sample]) -> bytes:
    return content[: random.integers(len(content))]


def lie(content: bytes, random: Random, _: list[Sample]) -> bytes:
    """A number that says too much, more often near the start, where numbers are."""
    reach = min(len(content), 400) if random.random() < 0.7 else len(content)
    place, said = random.integers(reach), LIES[random.integers(len(LIES))]
    return content[:place] + said + content[place + len(said) :]


def swapped_head(content: bytes, random: Random, known: list[Sample]) -> bytes:
    """The head of another picture on this one's body."""
    _, _, other = known[random.integers(len(known))]
    length = (4, 12, 32, 64, 200, 600)[random.integers(6)]
    return other[:length] + content[length:]


def moved_piece(content: bytes, random: Random, _: list[Sample]) -> bytes:
    """A piece of it over another."""
    start, target, length = (int(random.integers(len(content))) for _ in range(3))
    piece = content[start : start + length % 200]
    return content[:target] + piece + content[target + len(piece) :]


def grown(content: bytes, random: Random, _: list[Sample]) -> bytes:
    """Something that does not belong there, in between or behind."""
    place = random.integers(len(content) + 1)
    more = random.bytes(300) if random.random() < 0.5 else bytes(1000)
    return content[:place] + more + content[place:]


DAMAGES: tuple[Callable[[bytes, Random, list[Sample]], bytes], ...] = (
    one_byte, ten_bytes, one_percent, one_bit_of_the_head, cut, lie, swapped_head, moved_piece, grown,
)  # fmt: skip


def _flipped(content: bytes, random: Random, count: int) -> bytes:
    broken = bytearray(content)
    for place in random.integers(len(content), size=count):
        broken[place] ^= int(random.integers(1, 256))
    return bytes(broken)
