"""Pictures of every format come in, and go out in their own or the next best one; a line says what changed."""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import pyvips
import tifffile
from sample_pictures import again, dng, icc, noise, photo, pillow_bytes, smooth, tiff_bytes

from mirnet import images
from mirnet.errors import PictureError, SettingsError
from mirnet.exposure import to_encoded

SAMPLES = Path(__file__).parent / "samples"


def floats(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(channels).random((23, 17, channels), np.float32)


# TIFF ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_float_tiff_stays_float_to_the_last_bit(channels, tmp_path):
    photometric = {"photometric": "rgb"} if channels > 2 else {}
    extra = {"extrasamples": ["unassalpha"]} if channels in (2, 4) else {}
    data = tiff_bytes(floats(channels).squeeze(), planarconfig="contig", **photometric, **extra)
    picture = images.open_image(data)
    assert (picture.header.depth, picture.header.channels) == (32, channels)
    written, _ = images.encode_image(picture.bands(7), picture)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(written)), floats(channels).squeeze())


@pytest.mark.parametrize(
    ("value", "sentence"),
    [(1.5, "from 0 to 1.5"), (-0.25, "from -0.25 to 0.5"), (np.nan, "1 values are NaN"), (np.inf, "NaN or infinite")],
)
def test_floats_outside_of_0_to_1_are_refused_with_the_range_of_the_whole_picture(value, sentence):
    array = np.linspace(0, 0.5, 40 * 30 * 3, dtype=np.float32).reshape(40, 30, 3)
    array[30, 4, 1] = value
    picture = images.open_image(tiff_bytes(array, photometric="rgb"))
    with pytest.raises(PictureError, match=rf"expected floats in \[0, 1\], but they reach .*{sentence}.*--clip"):
        list(picture.bands(8))


def test_clip_takes_the_nearest_value_within():
    array = np.array([[-1, 0.25, 2], [np.nan, np.inf, -np.inf]], np.float32)[..., None].repeat(3, axis=2)
    picture = images.open_image(tiff_bytes(array, photometric="rgb"), clip=True)
    (band,) = picture.bands(2)
    np.testing.assert_array_equal(band[..., 0], [[0, 0.25, 1], [0, 1, 0]])


def test_floats_become_what_another_format_holds_and_a_line_says_so(tmp_path):
    picture = images.open_image(tiff_bytes(floats(), photometric="rgb"))
    for format, depth in (("png", 65535), ("webp", 255)):
        remarks = images.save_image(tmp_path / "out", picture.bands(9), picture, format=format, overwrite=True)
        assert f"float values became {16 if depth > 255 else 8} bit" in remarks[0]
        if format == "png":
            seen = images.read_image((tmp_path / "out").read_bytes())
            np.testing.assert_array_equal(seen, np.rint(floats() * depth).astype(int))


@pytest.mark.parametrize(
    ("array", "options", "sentence"),
    [
        (np.zeros((4, 4, 3), np.float64), {"photometric": "rgb"}, "at most 32 bits a value"),
        (np.zeros((4, 4, 3), np.int16), {"photometric": "rgb"}, "holds short values"),
        (np.zeros((4, 4, 3), np.uint32), {"photometric": "rgb"}, "holds uint values"),
        (np.zeros((6, 7, 5), np.uint8), {"photometric": "rgb", "planarconfig": "contig"}, "holds 5 channels of srgb"),
        (np.zeros((4, 4, 3), np.uint8), {"photometric": "cielab"}, "holds CIELab"),
    ],
)
def test_a_tiff_that_would_come_back_changed_is_refused_with_a_sentence(array, options, sentence):
    with pytest.raises(PictureError, match=f"expected .*{sentence}.*; convert it"):
        images.open_image(tiff_bytes(array, **options))


@pytest.mark.parametrize(("format", "word"), [("webp", "frames"), ("tiff", "pages"), ("gif", "frames")])
def test_of_several_pictures_in_one_file_the_first_is_taken_and_a_line_says_so(format, word):
    options = {"lossless": True} if format == "webp" else {}
    first = np.asarray(PIL.Image.fromarray(smooth()).quantize(16).convert("RGB"))
    frames = [PIL.Image.fromarray(255 - first)]
    data = pillow_bytes(first, format, save_all=True, append_images=frames, **options)
    picture = images.open_image(data)
    assert f"the first of its 2 {word} is taken" in " ".join(picture.remarks)
    np.testing.assert_array_equal(images.read_image(data)[..., :3], first)


# CMYK ----------------------------------------------------------------------------------------------------------------


def cmyk(format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(smooth()).convert("CMYK").save(stream, format, **options)
    return stream.getvalue()


@pytest.mark.parametrize("format", ["jpeg", "tiff"])
def test_cmyk_becomes_rgb_in_its_own_format_and_a_line_says_so(format):
    data = cmyk(format)
    picture = images.open_image(data)
    assert "CMYK became sRGB by a common profile of print" in picture.remarks[0]
    written = images.open_image(again(data))
    assert (written.header.format, written.header.channels, written.metadata.icc) == (format, 3, None)
    ours, theirs = images.read_image(data).astype(int), smooth().astype(int)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.9  # printed colours are duller, and still the same


def test_cmyk_is_converted_by_the_profile_that_it_brings():
    block = bytes(pyvips.Operation.call("profile_load", "cmyk"))
    data = cmyk("tiff", icc_profile=block)
    picture = images.open_image(data)
    assert picture.remarks == ("CMYK became sRGB by its profile",)
    source = PIL.ImageCms.ImageCmsProfile(io.BytesIO(block))
    target = PIL.ImageCms.createProfile("sRGB")
    image = PIL.Image.open(io.BytesIO(data))
    expected = np.asarray(PIL.ImageCms.profileToProfile(image, source, target, 1, outputMode="RGB")).astype(int)
    assert np.abs(images.read_image(data) - expected).mean() < 3


# AVIF ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_avif_keeps_its_bits_and_a_lossless_one_every_pixel(bits):
    values = np.random.default_rng(bits).integers(0, 2**bits, (24, 18, 3)).astype(np.uint16) << (16 - bits)
    image = pyvips.Image.new_from_memory(values, 18, 24, 3, "ushort").copy(interpretation="rgb16")
    data = image.heifsave_buffer(compression="av1", lossless=True, bitdepth=bits, subsample_mode="off")
    picture = images.open_image(data)
    assert (picture.bits, picture.header.depth, picture.metadata.lossless) == (bits, 8 if bits == 8 else 16, True)
    whole = images.read_image(data)
    expected = np.rint((values >> (16 - bits)).astype(int) * (65535 if bits > 8 else 255) / (2**bits - 1))
    np.testing.assert_array_equal(whole, expected)
    written = again(data)
    assert images.open_image(written).bits == bits
    np.testing.assert_array_equal(images.read_image(written), whole)


def test_lossy_avif_comes_back_nearly_and_quality_matters():
    data = pillow_bytes(smooth(), "avif", quality=95)
    fine, coarse = again(data), again(data, quality=20)
    assert images.open_image(fine).metadata.lossless is False
    assert np.abs(images.read_image(fine).astype(int) - smooth()).mean() < 2
    assert len(coarse) < len(fine)
    assert np.asarray(PIL.Image.open(io.BytesIO(fine))).shape == (48, 64, 3)


def test_16_bit_becomes_10_bit_in_avif(tmp_path):
    picture = images.open_image(pillow_bytes(noise(1, np.uint16), "png"))
    remarks = images.save_image(tmp_path / "out.avif", picture.bands(9), picture, format="avif")
    assert "16 bit became 10 bit" in remarks[0]
    assert images.open_image(tmp_path / "out.avif").bits == 10


# What becomes PNG ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["gif", "bmp", "ppm"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_gif_bmp_and_ppm_become_png_with_every_pixel_and_a_line_says_so(format, mode, tmp_path):
    original = PIL.Image.fromarray(smooth()).convert(mode)
    if format == "gif" and mode == "RGB":
        original = original.quantize(200)
    if format == "ppm" and mode == "P":
        original = original.convert("RGB")
    data = io.BytesIO()
    original.save(data, format)
    picture = images.open_image(data.getvalue())
    remarks = images.save_image(tmp_path / "out.png", picture.bands(7), picture)
    assert f"{format.upper()} is not written: the result is a PNG image" in remarks
    result = PIL.Image.open(io.BytesIO((tmp_path / "out.png").read_bytes()))
    np.testing.assert_array_equal(np.asarray(result.convert("RGB")), np.asarray(original.convert("RGB")))


@pytest.mark.parametrize(("magic", "channels"), [(b"P5", 1), (b"P6", 3)])
@pytest.mark.parametrize("largest", [65535, 1023])
def test_ppm_of_16_bit_keeps_them(magic, channels, largest):
    values = np.random.default_rng(1).integers(0, largest, (5, 4, channels), endpoint=True)
    data = magic + b"\n# made by hand\n4 5\n%d\n" % largest + values.astype(">u2").tobytes()
    np.testing.assert_array_equal(images.read_image(data), (values * 65535 // largest).squeeze())


def test_a_transparent_palette_is_named_in_full():
    stream = io.BytesIO()
    PIL.Image.fromarray(smooth()).convert("P").save(stream, "png", transparency=3)
    assert images.open_image(stream.getvalue()).remarks == ("its palette became RGB and transparency",)


# HEIC and RAW --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bits", "tolerance"), [("eight-bit-turned.heic", 8, 3), ("ten-bit.heic", 10, 1.5)])
def test_heic_comes_upright_as_16_bit_over_the_whole_range_and_becomes_tiff(name, bits, tolerance, tmp_path):
    picture = images.open_image(SAMPLES / name)
    assert (picture.header.depth, picture.header.orientation, picture.bits) == (16, 1, bits)
    expected = np.rot90(smooth(), -1) if bits == 8 else smooth()
    seen = images.read_image(SAMPLES / name)
    assert seen.max() == 65535
    assert np.abs(seen / 257 - expected).max() < tolerance
    remarks = images.save_image(tmp_path / "out.tif", picture.bands(7), picture)
    assert remarks == ("HEIC is not written: the result is a TIFF image",)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), seen)


def test_heic_keeps_its_exif_but_for_the_turn_that_was_done():
    written, _ = images.encode_image(
        (picture := images.open_image(SAMPLES / "eight-bit-turned.heic")).bands(9), picture
    )
    tags = PIL.Image.open(io.BytesIO(written)).getexif()
    assert (tags[0x010F], tags.get(0x0112, 1)) == ("Acme", 1)


def test_raw_is_developed_with_the_cameras_white_to_srgb_and_not_made_brighter():
    developed = images.read_image(dng())
    light = np.mgrid[0 : 1 : 48 * 1j, 0 : 1 : 64 * 1j].transpose(1, 2, 0) @ [[1, 0, 0.5], [0, 1, 0.5]]
    expected = 65535 * to_encoded(light.astype(np.float32))
    assert developed.dtype == np.uint16
    assert np.abs(developed - expected)[4:-4, 4:-4].max() < 0.2 * 257


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_raw_comes_upright_and_becomes_tiff_or_jpeg(orientation, tmp_path):
    picture = images.open_image(dng(orientation))
    straight = images.read_image(dng())
    turned = images.turn_upright(straight, orientation)
    assert picture.header.orientation == 1
    assert np.abs(np.concatenate(list(picture.bands(9))).astype(int) - turned)[4:-4, 4:-4].max() < 300
    images.save_image(tmp_path / "out.tif", picture.bands(9), picture)
    assert tifffile.imread(tmp_path / "out.tif").dtype == np.uint16
    assert images.open_image(images.encode_image(picture.bands(9), picture, format="jpeg")[0]).header.depth == 8


def test_a_raw_file_in_the_dress_of_a_tiff_is_known_by_what_it_holds(tmp_path):
    for name in ("photo.dng", "photo.tif", "photo"):
        (tmp_path / name).write_bytes(dng())
        assert images.open_image(tmp_path / name).header.format == "raw"
    assert images.open_image(photo("tiff")).header.format == "tiff"


def test_a_raw_file_cut_short_is_refused():
    with pytest.raises(PictureError, match="camera RAW image, but the file is damaged or cut short"):
        images.open_image(dng()[:-500])


@pytest.mark.parametrize(
    ("extra", "module", "data"),
    [("heic", "pi_heif", (SAMPLES / "ten-bit.heic").read_bytes()), ("raw", "rawpy", dng())],
)
def test_a_missing_extra_is_answered_with_the_line_that_installs_it(extra, module, data, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(PictureError, match=rf'pip install "mirnet\[{extra}\]"'):
        images.open_image(data)


# All of them ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["jpeg", "png", "webp", "tiff", "avif"])
@pytest.mark.parametrize("orientation", [2, 5, 8])
def test_rows_that_wait_on_disk_make_the_same_file(orientation, target, tmp_path, monkeypatch):
    from mirnet.images import row_buffer

    picture = images.open_image(photo("tiff", orientation))
    expected, _ = images.encode_image(picture.bands(5), picture, format=target)
    monkeypatch.setattr(row_buffer, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(row_buffer, "_TURNED_BYTES", 1000)
    images.save_image(tmp_path / "out", picture.bands(5), picture, format=target)
    assert (tmp_path / "out").read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_rows_that_wait_on_disk_come_back_upright(orientation, channels, dtype, tmp_path, monkeypatch):
    from mirnet.images import row_buffer

    monkeypatch.setattr(row_buffer, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(row_buffer, "_TURNED_BYTES", 200)
    array = (200 * floats(channels)).astype(dtype)
    with row_buffer.RowBuffer(array.shape, dtype, orientation, tmp_path) as rows:
        for top in range(0, 23, 5):
            rows.add(array[top : top + 5])
        image = rows.image()
        seen = np.frombuffer(image.write_to_memory(), dtype).reshape(image.height, image.width, image.bands)
    np.testing.assert_array_equal(seen, images.turn_upright(array, orientation))
    assert not list(tmp_path.iterdir())


def test_a_side_too_long_for_a_format_is_refused_before_the_work(tmp_path):
    wide = images.open_image(pillow_bytes(np.zeros((1, 65_501), np.uint8), "png"))

    def never():
        pytest.fail("bands were asked for though no file can hold them")
        yield

    for format, title, limit in (("jpeg", "JPEG", 65500), ("webp", "WebP", 16383), ("avif", "AVIF", 16384)):
        with pytest.raises(PictureError, match=f"{title} holds at most {limit} pixels a side"):
            images.save_image(tmp_path / "out", never(), wide, format=format)
        with pytest.raises(PictureError, match="pixels a side"):
            images.refuse_unwritable(wide, format)
    assert images.refuse_unwritable(wide) == "png"
    with pytest.raises(SettingsError, match="expected one of"):
        images.refuse_unwritable(wide, "heic")


def test_a_wide_display_p3_picture_keeps_its_profile_in_avif():
    picture = images.open_image(pillow_bytes(smooth(), "png", icc_profile=icc()))
    written, _ = images.encode_image(picture.bands(9), picture, format="avif")
    assert images.open_image(written).metadata.icc == icc()


def test_more_megapixels_than_allowed_are_refused_before_decoding():
    rows = struct.pack(">LL", 30_000, 20_000)
    data = pillow_bytes(smooth(), "png")
    bomb = data[:16] + rows + data[24:]
    bomb = bomb[:29] + struct.pack(">L", zlib.crc32(bomb[12:29])) + bomb[33:]
    with pytest.raises(
        PictureError, match=r"at most 500 megapixels, but .* 600.0 \(30000 x 20000\).*--max-megapixels 600"
    ):
        images.open_image(bomb)
    assert images.open_image(bomb, max_megapixels=600).header.width == 30_000
    with pytest.raises(PictureError, match="damaged or cut short"):
        list(images.open_image(bomb, max_megapixels=600).bands(8))
