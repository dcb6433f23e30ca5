"""Pictures survive the way through `mirnet.images`: every pixel that can."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
import skimage.io
import tifffile
from sample_pictures import FORMATS, again, noise, photo, pillow_bytes, pyvips_bytes, smooth, stored_pixels

from mirnet import images
from mirnet.images import encoder


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_lossless_formats_keep_every_pixel(tmp_path, suffix, channels, dtype):
    array, path = noise(channels, dtype), tmp_path / f"picture{suffix}"
    images.write_image(path, array)
    np.testing.assert_array_equal(images.read_image(path), array)
    header = images.open_image(path).header
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
    assert images.open_image(data).header.channels == 1
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
    picture = images.open_image(stream.getvalue())
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
    np.testing.assert_array_equal(encoder.convert_depth(deep, 8), np.rint(deep / 257).astype(np.uint8))
    picture = images.open_image(pyvips_bytes(np.repeat(deep, 3, axis=2), ".png"))
    eight = images.read_image(images.encode_image(picture.bands(64), picture, format="jpeg", quality=100)[0])
    assert np.abs(eight.astype(float) - deep / 257).max() < 3


def test_jpeg_lays_transparency_on_white():
    clear = np.zeros((8, 8, 4), np.uint8)
    picture = images.open_image(pillow_bytes(clear, "png"))
    data, _ = images.encode_image(picture.bands(8), picture, format="jpeg")
    assert images.read_image(data).min() > 250


def test_floats_become_8_bit_to_the_nearest_value(tmp_path):
    images.write_image(tmp_path / "ramp.png", np.linspace(0, 1, 256).reshape(16, 16))
    np.testing.assert_array_equal(images.read_image(tmp_path / "ramp.png").ravel(), np.arange(256))


@pytest.mark.parametrize("rows", [1, 7, 48, 1000])
@pytest.mark.parametrize("format", FORMATS)
def test_bands_are_the_picture_whatever_their_height_and_as_often_as_asked(tmp_path, format, rows):
    path = tmp_path / "photo"
    path.write_bytes(photo(format))
    picture = images.open_image(path)
    bands = list(picture.bands(rows))
    assert [len(band) for band in bands] == [min(rows, 48 - top) for top in range(0, 48, rows)]
    whole = np.concatenate(bands)
    assert whole.shape == (48, 64, 3)
    np.testing.assert_array_equal(whole, np.concatenate(list(picture.bands(48))))
    next(picture.bands(5))  # a pass left half-way disturbs no other
    np.testing.assert_array_equal(whole, np.concatenate(list(picture.bands(11))))


def test_a_written_file_depends_on_the_pixels_and_not_on_the_bands():
    picture = images.open_image(photo("jpeg"))
    assert images.encode_image(picture.bands(1), picture) == images.encode_image(picture.bands(48), picture)


def test_no_open_files_are_left_behind(tmp_path, give_up):
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        give_up("open files are counted in /proc/self/fd, which Linux alone has")
    path = tmp_path / "photo.jpg"
    path.write_bytes(photo("jpeg"))
    images.read_image(path)
    before = len(list(descriptors.iterdir()))
    for _ in range(20):
        images.read_image(path)
    assert len(list(descriptors.iterdir())) <= before


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it_and_back(orientation):
    array = noise()
    tags = PIL.Image.Exif()
    tags[0x0112] = orientation
    data = pillow_bytes(array, "png", exif=tags)
    expected = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(images.turn_upright(array, orientation), expected)
    np.testing.assert_array_equal(images.turn_as_stored(expected, orientation), array)
    np.testing.assert_array_equal(images.turn_upright(array[..., 0], orientation), expected[..., 0])
    np.testing.assert_array_equal(images.read_image(data), expected)
    assert np.shares_memory(images.turn_upright(array, orientation), array)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", FORMATS)
def test_the_same_format_keeps_stored_order_and_tag(format, orientation):
    data = photo(format, orientation)
    written = again(data)
    assert images.open_image(written).header == images.open_image(data).header
    assert images.open_image(written).header.orientation == orientation
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
    header = images.open_image(written).header
    assert (header.format, header.orientation) == (target, 1)
    seen = np.asarray(PIL.ImageOps.exif_transpose(PIL.Image.open(io.BytesIO(written))).convert("RGB"))
    assert np.abs(seen.astype(int) - images.read_image(data)).mean() < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_upright_size_is_that_of_the_upright_pixels(orientation):
    data = photo("png", orientation)
    assert images.upright_size(images.open_image(data).header) == images.read_image(data).shape[1::-1]


def test_an_orientation_that_does_not_exist_counts_as_upright():
    assert images.open_image(photo("jpeg", orientation=11)).header.orientation == 1
