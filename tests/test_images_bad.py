"""What is damaged, too large, or no picture gets a sentence, quickly, and nothing made up."""

import contextlib
import errno
import io
import os
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from sample_pictures import again, noise, photo, pillow_bytes, refusing, smooth

from mirnet import images
from mirnet.errors import PictureError
from mirnet.images import libvips


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("compression", ["jpeg", "progressive", "png", "webp", "tiff", "tiff_lzw"])
def test_a_file_cut_short_is_an_error_and_never_made_up_rows(tmp_path, compression, share):
    array = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    options = {"progressive": {"progressive": True}, "tiff_lzw": {"compression": "tiff_lzw"}}.get(compression, {})
    format = {"progressive": "jpeg", "tiff_lzw": "tiff"}.get(compression, compression)
    data = pillow_bytes(array, format, **options)
    path = tmp_path / "short.jpg"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(PictureError, match=r"short\.jpg: expected .* (damaged or cut short|none of these)"):
        images.read_image(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty"),
        (b"hello, I am a text file", "the content is none of these"),
        (b"GIF89a" + bytes(50), "shows nothing|damaged or cut short"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged or cut short"),
        (b"II*\0\xff\xff\xff\xff", "damaged or cut short"),
    ],
)
def test_what_is_no_picture_gets_a_sentence_with_its_name(tmp_path, content, sentence):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=rf"holiday\.jpg: expected .*{sentence}"):
        images.open_image(path)
    with pytest.raises(PictureError, match=f"the image given as bytes: .*{sentence}"):
        images.open_image(content)


def test_a_missing_file_a_folder_and_a_pipe_get_a_sentence(tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        images.open_image(tmp_path / "nothing.jpg")
    with pytest.raises(PictureError, match="this is a folder"):
        images.open_image(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PictureError, match="device or pipe"):
        images.open_image(tmp_path / "pipe")


def test_a_file_that_may_not_be_read_gets_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "private.jpg"
    path.write_bytes(photo("jpeg"))
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(Path, "open", refusing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(PictureError, match=r"private\.jpg: .*you may not read this file"):
        images.open_image(path)


def test_the_content_and_not_the_suffix_says_what_a_file_is(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(photo("png"))
    assert images.open_image(path).header.format == "png"
    assert again(path)[:4] == b"\x89PNG"
    assert "is a PNG image in spite of its suffix" in images.open_image(path).remarks[0]
    (tmp_path / "honest.PNG").write_bytes(photo("png"))
    assert images.open_image(tmp_path / "honest.PNG").remarks == images.open_image(photo("png")).remarks == ()


@pytest.mark.parametrize("name", ["brackets[Q=1].jpg", "ünïcode ☂.jpg", os.fsdecode(b"not utf-8 \xff.jpg")])
def test_any_file_name_works(tmp_path, name):
    path = tmp_path / name
    picture = images.open_image(photo("jpeg"))
    images.save_image(path, picture.bands(16), picture)
    assert images.read_image(path).shape == (64, 48, 3)


def test_damaged_files_print_nothing(tmp_path):
    data = bytearray(photo("jpeg"))
    data[-400:-300] = b"\x55" * 100
    (tmp_path / "damaged.jpg").write_bytes(data)
    (tmp_path / "short.tif").write_bytes(photo("tiff")[:-3000])
    (tmp_path / "short.png").write_bytes(photo("png")[:-300])
    code = (
        "import sys, pathlib\nfrom mirnet import images, errors\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    try:\n        images.read_image(path)\n    except errors.PictureError:\n        pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_what_libvips_says_may_hold_bytes_of_the_file():
    """pyvips, as it is, fails on such with an error of its own, or prints a traceback."""
    pyvips = libvips.vips()
    words = pyvips.ffi.new("char[]", b"no chunk \xff\xfe")
    assert pyvips._to_string(words) == pyvips.error._to_string(words) == "no chunk \ufffd\ufffd"


# Too much of a good thing --------------------------------------------------------------------------------------------


def png_with(chunk: bytes, data: bytes, size: tuple[int, int] = (64, 48)) -> bytes:
    """A PNG that says its size as given and has one more chunk behind that."""
    sound = photo("png")
    head = sound[12:16] + struct.pack(">LL", *size) + sound[24:29]
    more = struct.pack(">L", len(data)) + chunk + data + struct.pack(">L", zlib.crc32(chunk + data))
    return sound[:12] + head + struct.pack(">L", zlib.crc32(head)) + more + sound[33:]


@pytest.mark.parametrize("chunk", [b"zTXt", b"iCCP"])
def test_a_text_or_profile_that_swells_is_left_alone(chunk):
    packer = zlib.compressobj(1)
    swelling = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    data = png_with(chunk, b"name\0\0" + swelling)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(PictureError):
        images.read_image(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 150_000  # kB


def test_a_ppm_with_an_endless_head_is_refused():
    def ppm(comment: int) -> bytes:
        return b"P6\n#" + b"x" * comment + b"\n4 4 255\n" + bytes(48)

    assert images.read_image(ppm(10_000)).shape == (4, 4, 3)
    with pytest.raises(PictureError, match="its header has no end"):
        images.open_image(ppm(70_000))


@pytest.mark.parametrize("head", [b"name\0\0", b"name\0\1\0\0\0"])
def test_a_text_that_swells_is_not_handed_on(head):
    data = png_with(b"zTXt" if len(head) == 6 else b"iTXt", head + zlib.compress(bytes(5_000_000)))
    assert b"name\0" not in again(data)
    assert "its text 'name' is damaged and was dropped" in images.open_image(data).metadata.dropped
    assert b"name\0" in again(png_with(b"zTXt", b"name\0\0" + zlib.compress(bytes(4_000))))


@pytest.mark.parametrize("size", [(0, 48), (64, 0), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1)])
def test_a_size_that_no_picture_has_is_refused(size):
    with pytest.raises(PictureError, match="expected"):
        images.read_image(png_with(b"tEXt", b"a\0b", size))


@pytest.mark.parametrize(
    ("format", "most"), [("webp", 166), ("avif", 89), ("gif", 260), ("progressive", 206), ("bmp", 185)]
)
def test_what_is_decoded_whole_may_have_fewer_megapixels(format, most, monkeypatch):
    options = {"progressive": True} if format == "progressive" else {}
    data = pillow_bytes(smooth(), {"progressive": "jpeg"}.get(format, format), **options)
    share = 64 * 48 / (most * 1e6)  # as if each of its pixels were this many
    images.open_image(data, max_megapixels=500 * share)
    with pytest.raises(PictureError, match=r"of a kind that has to be decoded whole.*--max-megapixels"):
        images.open_image(data, max_megapixels=500 * share * 0.98)


@pytest.mark.parametrize("size", [(1_000_001, 1), (1, 1_000_001)])
def test_a_longer_side_than_the_network_can_take_is_refused(size):
    with pytest.raises(PictureError, match="sides of at most 1,000,000 pixels"):
        images.open_image(png_with(b"tEXt", b"a\0b", size))


def test_the_limit_that_the_sentence_names_is_enough():
    data = pillow_bytes(np.zeros((1500, 2000), np.uint8), "gif")
    with pytest.raises(PictureError) as refused:
        images.open_image(data, max_megapixels=2)
    named = float(str(refused.value).split("--max-megapixels ")[1])
    assert images.open_image(data, max_megapixels=named).header.width == 2000


# Damage of all kinds -------------------------------------------------------------------------------------------------


def samples() -> dict[str, bytes]:
    array = noise()
    stream = io.BytesIO()
    tifffile.imwrite(stream, array.astype(np.float32) / 255, photometric="rgb", tile=(16, 16))
    plain = ("jpeg", "png", "webp", "tiff", "gif", "bmp", "ppm", "avif")
    return {
        **{format: pillow_bytes(array, format) for format in plain},
        "progressive": pillow_bytes(array, "jpeg", progressive=True),
        "lossless": pillow_bytes(array, "webp", lossless=True),
        "lzw": pillow_bytes(array, "tiff", compression="tiff_lzw"),
        "float": stream.getvalue(),
        "heic": (Path(__file__).parent / "samples" / "eight-bit-turned.heic").read_bytes(),
        "text": b"P3 4 4 255\n" + b"1 2 3 " * 16,
    }


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """A file with flipped bytes, cut short, or with a number that lies."""
    broken = bytearray(data)
    match int(random.integers(4)):
        case 0:
            for place in random.integers(len(data), size=random.integers(1, 8)):
                broken[place] = random.integers(256)
        case 1:
            del broken[random.integers(1, len(data)) :]
        case 2:
            lie = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff")[random.integers(4)]
            place = random.integers(len(data))
            broken[place : place + len(lie)] = lie
        case _:
            broken[random.integers(min(120, len(data)))] = random.integers(256)
    return bytes(broken)


@pytest.mark.parametrize("name", samples())
def test_damage_is_a_sentence_or_a_picture_and_never_anything_else(name):
    data, random = samples()[name], np.random.default_rng(7)
    images.read_image(data)
    refused = 0
    for _ in range(60):
        try:
            picture = images.open_image(damaged(data, random), max_megapixels=1)
            for _ in picture.bands(256):
                pass
        except PictureError:
            refused += 1
    assert refused > 0


def test_a_heic_whose_description_is_of_no_known_kind_does_not_end_the_process(tmp_path):
    data = (Path(__file__).parent / "samples" / "eight-bit-turned.heic").read_bytes()
    (tmp_path / "odd.heic").write_bytes(data.replace(b"\0\0Exif\0", b"\0\0E\xff\xfff\0", 1))
    code = "import sys\nfrom mirnet import images\nprint(images.read_image(sys.argv[1]).shape)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "odd.heic")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "(64, 48, 3)\n"), done.stderr
