"""Pictures survive the way through `mirnet.images`: every pixel that can, and all that they say beside their pixels."""

import dataclasses
import errno
import functools
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import pyvips
import skimage.io
import tifffile
from PIL.TiffImagePlugin import IFDRational

from mirnet import images, metadata
from mirnet.errors import OutputExists, PictureError, SettingsError
from mirnet.images import describing, encoding

FORMATS = ("jpeg", "png", "webp", "tiff")
WAYS = [*zip(FORMATS, FORMATS, strict=True), ("jpeg", "tiff"), ("tiff", "jpeg"), ("webp", "png"), ("jpeg", "webp")]
SHAPES = {1: (23, 17), 2: (23, 17, 2), 3: (23, 17, 3), 4: (23, 17, 4)}
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6">'
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Hütte</rdf:li></rdf:Alt></dc:title></rdf:Description>'
    '</rdf:RDF></x:xmpmeta>  \n  <?xpacket end="w"?>'
).encode()


# Test pictures -------------------------------------------------------------------------------------------------------


def noise(channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    """(23, 17[, C]) of every value, so that one wrong pixel shows."""
    return np.random.default_rng(channels).integers(0, np.iinfo(dtype).max, SHAPES[channels], dtype, endpoint=True)


def smooth(height: int = 48, width: int = 64) -> np.ndarray:
    """(H, W, 3) uint8 that lossy formats keep nearly."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.rint(255 * np.stack([down, across, (down + across) / 2], axis=-1)).astype(np.uint8)


@functools.cache
def icc() -> bytes:
    return PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()


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


@functools.cache  # the colour profile would tell the time of each call
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
    picture = images.open_picture(source)
    return images.write_picture(picture.bands(7), picture, **options)


def stored_pixels(source: Path | bytes) -> np.ndarray:
    return np.concatenate(list(images.open_picture(source).bands(5)))


needs_exiftool = pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")


def exiftool(data: bytes, *arguments: str) -> str:
    """What exiftool prints about a file; a real one, since it complains of offsets that lead back in a pipe."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return subprocess.run(["exiftool", *arguments, file.name], capture_output=True).stdout.decode()


def told(data: bytes, *groups: str) -> dict[str, object]:
    """What exiftool reads from a file in the groups named."""
    read = json.loads(exiftool(data, "-json", "-n", "-G1", "-a", *(f"-{group}:all" for group in groups)))[0]
    read.pop("SourceFile")
    return read


@functools.cache
def told_of_photo(data: bytes) -> dict[str, object]:
    """What exiftool reads of our test camera's EXIF and of the XMP, under one name in every format."""
    read = told(data, "EXIF", "XMP")
    own = {"IFD0": "Make Model Copyright XPTitle", "GPS": "GPSLatitudeRef GPSLatitude", "XMP-dc": "Title"}
    own["ExifIFD"] = "ExposureTime ISO DateTimeOriginal ExposureCompensation FocalLengthIn35mmFormat LensModel"
    names = [f"{group}:{name}" for group, line in own.items() for name in line.split()]
    return {name: read[name] for name in names if name in read}


# Pixels --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix, channels, dtype):
    array, path = noise(channels, dtype), tmp_path / f"picture{suffix}"
    images.write_image(path, array)
    np.testing.assert_array_equal(images.read_image(path), array)
    header = images.open_picture(path).header
    assert (header.channels, header.depth, header.height, header.width) == (channels, 8 * dtype().itemsize, 23, 17)
    np.testing.assert_array_equal(images.read_image(again(path)), array)


@pytest.mark.parametrize("format", FORMATS)
def test_what_another_program_wrote_is_read_as_that_program_reads_it(format):
    data = photo(format)
    expected = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))))
    np.testing.assert_allclose(images.read_image(data).astype(int), expected, atol=3 if format == "jpeg" else 0)


def test_16_bit_is_written_as_other_programs_read_it(tmp_path):
    images.write_image(tmp_path / "deep.tif", noise(3, np.uint16))
    np.testing.assert_array_equal(skimage.io.imread(tmp_path / "deep.tif"), noise(3, np.uint16))
    images.write_image(tmp_path / "grey.png", noise(1, np.uint16))
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(tmp_path / "grey.png")), noise(1, np.uint16))


@pytest.mark.parametrize(
    "layout",
    [
        {"byteorder": ">", "rowsperstrip": 5},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"planarconfig": "separate"},
    ],
)
def test_tiff_of_any_layout_is_read_with_its_tags(layout):
    stream = io.BytesIO()
    array = np.moveaxis(smooth(), 2, 0) if "planarconfig" in layout else smooth()
    tifffile.imwrite(stream, array, photometric="rgb", extratags=[(271, 2, 0, "Acme", True)], **layout)
    np.testing.assert_array_equal(images.read_image(stream.getvalue()), smooth())
    written = again(stream.getvalue())
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(written)), smooth())
    assert PIL.Image.open(io.BytesIO(written)).getexif()[271] == "Acme"


def test_premultiplied_tiff_looks_the_same_afterwards():
    stream = io.BytesIO()
    array = noise(4)
    array[..., :3] = np.minimum(array[..., :3], array[..., 3:])
    tifffile.imwrite(stream, array, photometric="rgb", extrasamples=["assocalpha"])
    data = stream.getvalue()
    np.testing.assert_array_equal(images.read_image(again(data)), images.read_image(data))


def test_a_tiff_where_black_is_the_highest_value_looks_the_same_afterwards():
    stream = io.BytesIO()
    tifffile.imwrite(stream, noise(1), photometric="miniswhite")
    np.testing.assert_array_equal(images.read_image(again(stream.getvalue())), 255 - noise(1))


@pytest.mark.parametrize("channels", [3, 4])
def test_lossless_webp_stays_lossless_even_where_it_is_transparent(channels):
    array = noise(channels)
    if channels == 4:
        array[:9, :, 3] = 0
    data = pillow_bytes(array, "webp", lossless=True, exact=True)
    np.testing.assert_array_equal(images.read_image(again(data)), array)


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_lossy_formats_come_back_nearly_and_quality_matters(format):
    data = pillow_bytes(smooth(), format, quality=95)
    fine, coarse = again(data), again(data, quality=20)
    assert np.abs(images.read_image(fine).astype(int) - smooth()).mean() < 2
    assert len(coarse) < len(fine)


def test_jpeg_keeps_colour_at_full_resolution():
    for quality in (50, 92):
        written = PIL.Image.open(io.BytesIO(again(photo("jpeg"), quality=quality)))
        assert written.layer[0][1:3] == (1, 1)


def test_grey_jpeg_stays_grey():
    data = again(pillow_bytes(smooth()[..., 0], "jpeg", quality=95))
    assert images.open_picture(data).header.channels == 1
    assert images.read_image(data).ndim == 2


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
@pytest.mark.parametrize("format", FORMATS)
def test_the_smallest_pictures_work(format, size):
    data = pillow_bytes(np.full((*size, 3), 90, np.uint8), format)
    assert images.read_image(again(data)).shape == (*size, 3)


def test_a_palette_is_expanded():
    palette = PIL.Image.fromarray(smooth()).convert("P")
    stream = io.BytesIO()
    palette.save(stream, "png", transparency=3)
    picture = images.open_picture(stream.getvalue())
    assert picture.header.channels == 4
    np.testing.assert_array_equal(images.read_image(stream.getvalue()), np.asarray(palette.convert("RGBA")))
    plain = io.BytesIO()
    palette.save(plain, "png")
    np.testing.assert_array_equal(images.read_image(again(plain.getvalue())), np.asarray(palette.convert("RGB")))


def test_one_bit_becomes_8_bit_grey():
    stream = io.BytesIO()
    PIL.Image.fromarray(smooth()[..., 0]).convert("1").save(stream, "png")
    assert set(np.unique(images.read_image(stream.getvalue()))) == {0, 255}


def test_16_bit_is_rounded_to_the_nearest_8_bit_value():
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    np.testing.assert_array_equal(encoding.as_depth(deep, 8), np.rint(deep / 257).astype(np.uint8))
    picture = images.open_picture(pyvips_bytes(np.repeat(deep, 3, axis=2), ".png"))
    eight = images.read_image(images.write_picture(picture.bands(64), picture, format="jpeg", quality=100))
    assert np.abs(eight.astype(float) - deep / 257).max() < 3


def pyvips_bytes(array: np.ndarray, suffix: str) -> bytes:
    image = pyvips.Image.new_from_memory(array.copy(), array.shape[1], array.shape[0], array.shape[2], "ushort")
    return image.copy(interpretation="rgb16").write_to_buffer(suffix)


def test_jpeg_lays_transparency_on_white():
    clear = np.zeros((8, 8, 4), np.uint8)
    picture = images.open_picture(pillow_bytes(clear, "png"))
    data = images.write_picture(picture.bands(8), picture, format="jpeg")
    assert images.read_image(data).min() > 250


def test_floats_become_8_bit_to_the_nearest_value(tmp_path):
    images.write_image(tmp_path / "ramp.png", np.linspace(0, 1, 256).reshape(16, 16))
    np.testing.assert_array_equal(images.read_image(tmp_path / "ramp.png").ravel(), np.arange(256))


# Bands ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 7, 48, 1000])
@pytest.mark.parametrize("format", FORMATS)
def test_bands_are_the_picture_whatever_their_height_and_as_often_as_asked(tmp_path, format, rows):
    path = tmp_path / "photo"
    path.write_bytes(photo(format))
    picture = images.open_picture(path)
    bands = list(picture.bands(rows))
    assert [len(band) for band in bands] == [min(rows, 48 - top) for top in range(0, 48, rows)]
    whole = np.concatenate(bands)
    assert whole.shape == (48, 64, 3)
    np.testing.assert_array_equal(whole, np.concatenate(list(picture.bands(48))))
    next(picture.bands(5))  # a pass left half-way disturbs no other
    np.testing.assert_array_equal(whole, np.concatenate(list(picture.bands(11))))


def test_a_written_file_depends_on_the_pixels_and_not_on_the_bands():
    picture = images.open_picture(photo("jpeg"))
    assert images.write_picture(picture.bands(1), picture) == images.write_picture(picture.bands(48), picture)


def test_no_open_files_are_left_behind(tmp_path):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("counts open files in /proc")
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo("jpeg"))
    images.read_image(path)
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        images.read_image(path)
    assert len(list(descriptors.iterdir())) <= before


# Orientation ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it_and_back(orientation):
    array = noise()
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    data = pillow_bytes(array, "png", exif=tags)
    expected = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(images.upright(array, orientation), expected)
    np.testing.assert_array_equal(images.stored(expected, orientation), array)
    np.testing.assert_array_equal(images.upright(array[..., 0], orientation), expected[..., 0])
    np.testing.assert_array_equal(images.read_image(data), expected)
    assert np.shares_memory(images.upright(array, orientation), array)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", FORMATS)
def test_the_same_format_keeps_stored_order_and_tag(format, orientation):
    data = photo(format, orientation)
    written = again(data)
    assert images.open_picture(written).header == images.open_picture(data).header
    assert images.open_picture(written).header.orientation == orientation
    difference = stored_pixels(written).astype(int) - stored_pixels(data)
    assert np.abs(difference).max() <= (8 if format == "jpeg" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("format", FORMATS)
def test_another_format_is_turned_upright(format, target, orientation):
    if format == target:
        return
    data = photo(format, orientation)
    written = again(data, format=target)
    header = images.open_picture(written).header
    assert (header.format, header.orientation) == (target, 1)
    seen = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(written))).convert("RGB"))
    assert np.abs(seen.astype(int) - images.read_image(data)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_that_of_the_upright_pixels(orientation):
    data = photo("png", orientation)
    assert images.upright_size(images.open_picture(data).header) == images.read_image(data).shape[1::-1]


def test_an_orientation_that_does_not_exist_counts_as_upright():
    assert images.open_picture(photo("jpeg", orientation=11)).header.orientation == 1


# What files say beside their pixels ----------------------------------------------------------------------------------


@needs_exiftool
@pytest.mark.parametrize(("format", "target"), WAYS)
def test_exif_and_xmp_stay_in_every_format_and_between_formats(format, target):
    data = photo(format)
    before, after = told_of_photo(data), told_of_photo(again(data, format=target))
    assert len(before) == (12 if format == "png" else 13)
    assert after == before


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("format", FORMATS)
def test_a_third_reader_finds_every_tag_of_exposure_and_place_and_the_maker_note(format, target):
    def directories(data):
        tags = PIL.Image.open(io.BytesIO(data)).getexif()
        return dict(tags.get_ifd(0x8769)), dict(tags.get_ifd(0x8825)), tags[0x8298]

    data = photo(format)
    assert directories(again(data, format=target)) == directories(data)
    assert directories(data)[0][0x927C] == b"maker\0\1\2\3" * 9


@needs_exiftool
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_the_same_format_gains_and_loses_no_exif_at_all(format):
    data = photo(format)
    assert told(again(data), "EXIF") == told(data, "EXIF")


@needs_exiftool
@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_without_exif_gets_none(format):
    assert "ExifIFD" not in str(told(again(pillow_bytes(smooth(), format)), "EXIF"))


@functools.cache
def complaints(data: bytes) -> set[str]:
    """What exiftool finds wrong with a file."""
    return set(exiftool(data, "-validate", "-warning", "-error", "-a", "-s3").splitlines()[1:])


@needs_exiftool
@pytest.mark.parametrize(("format", "target"), WAYS)
def test_exiftool_finds_nothing_wrong_that_was_right_before(format, target):
    before = complaints(photo(format)) | complaints(photo(target))
    new = complaints(again(photo(format), format=target, provenance="mirnet 1")) - before
    # our camera says little, and deflate has been in TIFF since 2002 but not in the EXIF standard
    assert not {line for line in new if "Missing required" not in line and "Compression" not in line}


@pytest.mark.parametrize("format", FORMATS)
def test_the_colour_profile_stays(format):
    for target in FORMATS:
        written = again(photo(format), format=target)
        assert PIL.Image.open(io.BytesIO(written)).info["icc_profile"] == icc()


@pytest.mark.parametrize("target", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("format", ["jpeg", "png", "tiff"])
def test_the_resolution_stays_and_turns_with_the_picture(format, target):
    across, down = PIL.Image.open(io.BytesIO(again(photo(format), format=target))).info["dpi"]
    expected = (240, 120) if format == target else (120, 240)
    assert (float(across), float(down)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_no_resolution_is_made_up(format):
    assert "dpi" not in PIL.Image.open(io.BytesIO(again(pillow_bytes(smooth(), format)))).info


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_the_stale_thumbnail_is_removed_and_nothing_else(format):
    thumbnail = pillow_bytes(smooth(12, 16), "jpeg")
    block = exif().tobytes().removeprefix(b"Exif\0\0")
    data = pillow_bytes(smooth(), format, exif=with_thumbnail(block, thumbnail))
    assert thumbnail in data
    written = again(data)
    assert thumbnail[20:200] not in written
    image = PIL.Image.open(io.BytesIO(written))
    assert not image.getexif().get_ifd(1)
    assert dict(image.getexif()) == dict(PIL.Image.open(io.BytesIO(data)).getexif())


def test_a_thumbnail_in_the_middle_of_the_block_is_blanked():
    block = (
        with_thumbnail(exif().tobytes().removeprefix(b"Exif\0\0"), b"\xff\xd8secret\xff\xd9") + b"maker data behind it"
    )
    cleaned = metadata.clean_exif(block)
    assert b"secret" not in cleaned
    assert len(cleaned) == len(block)
    assert cleaned.endswith(b"maker data behind it")
    endian = "<" if block[:2] == b"II" else ">"
    (first,) = struct.unpack_from(endian + "L", cleaned, 4)
    (count,) = struct.unpack_from(endian + "H", cleaned, first)
    assert struct.unpack_from(endian + "L", cleaned, first + 2 + 12 * count) == (0,)  # no second directory follows


def test_iptc_stays_and_the_thumbnail_beside_it_goes():
    def resource(kind, data):
        return b"8BIM" + struct.pack(">HHL", kind, 0, len(data)) + data + bytes(len(data) % 2)

    caption = b"\x1c\x02\x78\0\x05H\xc3\xbctte"
    block = b"Photoshop 3.0\0" + resource(1036, b"old thumbnail") + resource(1028, caption) + resource(1033, b"older")
    data = photo("jpeg")
    data = data[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + data[2:]
    written = again(data)
    assert PIL.Image.open(io.BytesIO(written)).info["photoshop"] == {1028: caption}
    assert b"thumbnail" not in written
    assert b"older" not in written
    assert PIL.Image.open(io.BytesIO(again(data, format="tiff"))).getexif()[33723] == caption


@pytest.mark.parametrize(
    "block", [b"", b"IPTC as in TIFF", b"Photoshop 3.0\0", b"Photoshop 3.0\08BIM\4\0\xff\0\0\0\0\0"]
)
def test_photoshop_blocks_that_are_built_otherwise_stay(block):
    assert metadata.clean_photoshop(block) == block


@pytest.mark.parametrize("block", [b"", b"nonsense", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_an_exif_block_that_nobody_can_read_is_left_out(block):
    assert metadata.clean_exif(block) is None


@pytest.mark.parametrize("format", FORMATS)
def test_provenance_joins_the_xmp_that_is_there(format):
    data = again(photo(format), provenance='mirnet 1 <"&> weights abc')
    packet = images.open_picture(data).metadata.xmp.decode()
    assert packet.count("mirnet:provenance>") == 2
    assert "mirnet 1 &lt;" in packet
    assert ("Hütte" in packet) == (format != "png")  # the PNG had no XMP
    if format != "png":
        ours = packet.index("<rdf:Description", packet.index("Hütte"))
        theirs = packet[:ours] + packet[packet.index("</rdf:RDF>") :]
        assert theirs.encode() == XMP


def test_provenance_is_said_once_however_often_a_picture_is_made():
    once = again(photo("jpeg"), provenance="first")
    twice = images.open_picture(again(once, provenance="second")).metadata.xmp
    assert twice == images.open_picture(again(photo("jpeg"), provenance="second")).metadata.xmp
    assert twice.count(b"<mirnet:provenance>") == 1


def test_without_provenance_the_xmp_is_the_very_same():
    assert images.open_picture(again(photo("jpeg"))).metadata.xmp == XMP


@needs_exiftool
@pytest.mark.parametrize("format", FORMATS)
def test_another_program_reads_the_provenance(format):
    for data in (photo(format), pillow_bytes(smooth(), format)):
        read = told(again(data, provenance="mirnet 1 ü"), "XMP-mirnet")
        assert read == {"XMP-mirnet:Provenance": "mirnet 1 ü"}


def test_xmp_that_is_no_text_stays_as_it_is():
    assert metadata.with_provenance(b"\xff\xfe<\0x\0", "mirnet") == b"\xff\xfe<\0x\0"
    assert metadata.with_provenance(b"<other/>", "mirnet") == b"<other/>"


def test_xmp_of_64_kb_stays_in_jpeg():
    full = XMP.replace(b"tte</rdf:li>", b"tte" + b"x" * (65504 - len(XMP)) + b"</rdf:li>")
    data = again(pillow_bytes(smooth(), "jpeg", xmp=full))
    assert images.open_picture(data).metadata.xmp == full


def test_the_blank_room_in_xmp_gives_way_to_provenance_in_jpeg():
    roomy = XMP.replace(b"  \n  <?xpacket", b" " * (65504 - len(XMP)) + b"<?xpacket")
    data = again(pillow_bytes(smooth(), "jpeg", xmp=roomy), provenance="mirnet")
    assert b"mirnet:provenance" in images.open_picture(data).metadata.xmp


def test_exif_alone_hides_no_alpha_in_webp():
    data = pillow_bytes(noise(4), "webp", lossless=True, exif=exif(1).tobytes())
    written = again(data)
    assert PIL.Image.open(io.BytesIO(written)).mode == "RGBA"
    assert written[20] & 0x18 == 0x18  # the head's flags of alpha and EXIF
    np.testing.assert_array_equal(images.read_image(written)[..., 3], noise(4)[..., 3])


def test_a_grey_profile_goes_where_grey_becomes_rgb():
    profile = bytearray(icc())
    profile[16:20] = b"GRAY"
    picture = images.open_picture(pillow_bytes(noise(1), "png"))
    grey = dataclasses.replace(picture, metadata=images.Metadata(icc=bytes(profile)))
    assert describing.described(grey, "webp", None)[0].icc is None
    assert describing.described(grey, "tiff", None)[0].icc == bytes(profile)


def test_exif_too_long_for_jpeg_loses_the_makers_notes_and_says_so(tmp_path):
    tags = exif()
    tags.get_ifd(0x8769)[0x927C] = bytes(70_000)
    picture = images.open_picture(pillow_bytes(smooth(), "png", exif=tags))
    remarks = images.save_picture(tmp_path / "out.jpg", picture.bands(9), picture, format="jpeg")
    assert "the camera maker's own notes were left behind" in remarks[0]
    assert PIL.Image.open(io.BytesIO((tmp_path / "out.jpg").read_bytes())).getexif()[0x010F] == "Acme"


# Bad input -----------------------------------------------------------------------------------------------------------


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
        images.open_picture(path)
    with pytest.raises(PictureError, match=f"the picture given as bytes: .*{sentence}"):
        images.open_picture(content)


def test_a_missing_file_a_folder_and_a_pipe_get_a_sentence(tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        images.open_picture(tmp_path / "nothing.jpg")
    with pytest.raises(PictureError, match="this is a folder"):
        images.open_picture(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PictureError, match="device or pipe"):
        images.open_picture(tmp_path / "pipe")


def test_a_file_that_may_not_be_read_gets_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "private.jpg"
    path.write_bytes(photo("jpeg"))
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(Path, "open", refusing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(PictureError, match=r"private\.jpg: .*you may not read this file"):
        images.open_picture(path)


def refusing(error: OSError):
    def refuse(*arguments, **options):
        raise error

    return refuse


def test_the_content_and_not_the_suffix_says_what_a_file_is(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(photo("png"))
    assert images.open_picture(path).header.format == "png"
    assert again(path)[:4] == b"\x89PNG"
    assert "is a PNG picture in spite of its suffix" in images.open_picture(path).remarks[0]
    (tmp_path / "honest.PNG").write_bytes(photo("png"))
    assert images.open_picture(tmp_path / "honest.PNG").remarks == images.open_picture(photo("png")).remarks == ()


@pytest.mark.parametrize("name", ["brackets[Q=1].jpg", "ünïcode ☂.jpg", os.fsdecode(b"not utf-8 \xff.jpg")])
def test_any_file_name_works(tmp_path, name):
    path = tmp_path / name
    picture = images.open_picture(photo("jpeg"))
    images.save_picture(path, picture.bands(16), picture)
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


# Writing files -------------------------------------------------------------------------------------------------------


@pytest.fixture
def picture() -> images.Picture:
    return images.open_picture(photo("jpeg"))


def test_a_saved_file_is_what_write_picture_gives_and_stands_alone(tmp_path, picture):
    images.save_picture(tmp_path / "out.jpg", picture.bands(9), picture)
    assert (tmp_path / "out.jpg").read_bytes() == images.write_picture(picture.bands(9), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]


def test_a_copy_has_the_very_bytes_and_replaces_nothing_unasked(tmp_path):
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    source.write_bytes(photo("jpeg"))
    images.copy_file(source, target)
    assert target.read_bytes() == photo("jpeg")
    target.write_bytes(b"precious")
    with pytest.raises(OutputExists):
        images.copy_file(source, target)
    assert target.read_bytes() == b"precious"
    with pytest.raises(PictureError, match="no such file"):
        images.copy_file(tmp_path / "nothing.jpg", tmp_path / "new.jpg")
    assert len(list(tmp_path.iterdir())) == 2


def test_an_existing_file_is_left_alone_unless_told_otherwise(tmp_path, picture):
    path = tmp_path / "out.jpg"
    path.write_bytes(b"precious")

    def never():
        pytest.fail("bands were asked for though there is nowhere to write them")
        yield

    with pytest.raises(OutputExists, match=r"out\.jpg: is already there and was left alone"):
        images.save_picture(path, never(), picture)
    with pytest.raises(OutputExists):
        images.write_image(tmp_path / "out.jpg", smooth())
    assert path.read_bytes() == b"precious"
    images.save_picture(path, picture.bands(9), picture, overwrite=True)
    assert images.read_image(path).shape == (64, 48, 3)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path, picture, monkeypatch, links):
    path = tmp_path / "out.jpg"
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refusing(OSError(errno.EPERM, "no links here")))

    def bands():
        yield from picture.bands(9)
        path.write_bytes(b"precious")

    with pytest.raises(OutputExists, match="appeared meanwhile"):
        images.save_picture(path, bands(), picture)
    assert path.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_without_links_works(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(Path, "hardlink_to", refusing(OSError(errno.EPERM, "no links here")))
    images.save_picture(tmp_path / "out.jpg", picture.bands(9), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_nothing_behind(tmp_path, picture, monkeypatch, overwrite):
    path = tmp_path / "out.jpg"
    if overwrite:
        path.write_bytes(b"earlier output")
    before = list(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", refusing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(
        PictureError, match=r"out\.jpg: could not be written \(No space left on device\).* free some space"
    ):
        images.save_picture(path, picture.bands(9), picture, overwrite=overwrite)
    assert list(tmp_path.iterdir()) == before
    assert not overwrite or path.read_bytes() == b"earlier output"


def test_a_really_full_disk_leaves_nothing_behind(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("only root may mount a tiny disk")
    try:
        with pytest.raises(PictureError, match="No space left on device"):
            images.write_image(disk / "out.png", np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8))
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, PictureError])
def test_whatever_stops_the_bands_leaves_nothing_behind(tmp_path, picture, error):
    def bands():
        yield next(picture.bands(9))
        raise error

    with pytest.raises(error):
        images.save_picture(tmp_path / "out.jpg", bands(), picture)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_while_writing_leaves_nothing_behind(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(os, "fsync", refusing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        images.save_picture(tmp_path / "out.jpg", picture.bands(9), picture)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_or_closed_gets_a_sentence(tmp_path, picture, monkeypatch):
    with pytest.raises(PictureError, match="there is no folder"):
        images.save_picture(tmp_path / "nowhere" / "out.jpg", picture.bands(9), picture)
    monkeypatch.setattr(Path, "open", refusing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(PictureError, match="you may not write in"):
        images.save_picture(tmp_path / "out.jpg", picture.bands(9), picture)


def test_new_files_have_the_usual_permissions(tmp_path):
    images.write_image(tmp_path / "ours.png", smooth())
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_webp_says_how_large_a_picture_it_holds(tmp_path):
    with pytest.raises(PictureError, match="WebP holds at most 16383 pixels a side, but the picture has 16384 x 1"):
        images.write_image(tmp_path / "wide.webp", np.zeros((1, 16384), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.full((4, 4), 1.5), r"floats in \[0, 1\], but they reach from 1.5 to 1.5"),
        (np.full((4, 4), np.nan), r"floats in \[0, 1\]"),
        (np.zeros((4, 4), np.int64), "int64"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(tmp_path, array, sentence):
    with pytest.raises(SettingsError, match=sentence):
        images.write_image(tmp_path / "out.png", array)


def test_an_unknown_suffix_format_or_quality_is_refused(tmp_path, picture):
    with pytest.raises(SettingsError, match=r"expected a name that ends in \.jpg"):
        images.write_image(tmp_path / "out.gif", smooth())
    with pytest.raises(SettingsError, match="expected one of jpeg, png, webp, tiff"):
        images.write_picture(picture.bands(9), picture, format="gif")
    with pytest.raises(SettingsError, match="quality 0: expected a whole number from 1 to 100"):
        images.write_picture(picture.bands(9), picture, quality=0)
