"""Pictures of every kind come back enhanced and otherwise as they were; what is asked for is what happens."""

import io
import itertools
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mirnet
from mirnet import images
from mirnet.errors import Cancelled, OutputExists, PictureError, SettingsError
from mirnet.exposure import expose
from mirnet.inference import tiles
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings, describe_setting, setting_info, settings_table


@pytest.fixture
def enhancer(fake_weights, fake_runtime) -> Enhancer:
    return Enhancer(fake_weights(), runtime=fake_runtime)


class Constant:
    """A network that restores everything to one value, and proposes the same stops everywhere."""

    def __init__(self, value: float, stops: float = 2.0) -> None:
        self.value, self.stops = value, stops

    def restore(self, image, stops, scene_vector, should_stop=None):
        return np.full_like(image, self.value), np.zeros(3, np.float32)

    def propose(self, thumbnail):
        return np.full((1, 1, *(side // 8 for side in thumbnail.shape[2:])), self.stops, np.float32)


def dark(height: int = 24, width: int = 37, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    random = np.random.default_rng(0).random((height, width, channels)) ** 2
    random[..., :3] *= 0.5
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return (random * white).astype(dtype)[..., 0] if channels == 1 else (random * white).astype(dtype)


# In this order: clip, denoise, strength, round -----------------------------------------------------------------------


@pytest.mark.parametrize("restored", [-0.5, 0.25, 1.5])
@pytest.mark.parametrize(("strength", "denoise", "exposure"), [(1, 1, 0), (0.3, 1, 0), (1, 0.25, -1), (0.6, 0.5, 1.5)])
def test_the_order_of_all_that_happens(fake_weights, restored, strength, denoise, exposure):
    x = dark(dtype=np.float64)
    exposed = expose(x, 2.0 + exposure)
    blended = exposed + denoise * (np.clip(restored, 0, 1) - exposed)
    expected = x + strength * (blended - x)
    for dtype, white in ((np.float64, 1), (np.uint16, 65535), (np.uint8, 255)):
        mine = Enhancer(fake_weights(), runtime=Constant(restored))
        given = x if white == 1 else np.round(x * white).astype(dtype)
        result = mine.enhance(given, strength=strength, denoise=denoise, exposure=exposure)
        assert result.dtype == dtype
        # half a step for rounding the input (times the slope of expose, at most 12), half a step for the output's
        step = 1e-5 if white == 1 else 8 / white
        np.testing.assert_allclose(result / white, expected, atol=step)


def test_rounding_comes_last(fake_weights):
    """Half of a step up, and half of that: rounded before the blend it would be lost, or a whole step."""
    mine = Enhancer(fake_weights(), runtime=Constant(100.6 / 255))
    x = np.full((8, 8, 3), 100, np.uint8)
    assert np.all(mine.enhance(x, denoise=1.0, strength=0.5) == 100)  # 100.3; of a rounded 101 it were 100.5
    assert np.all(mine.enhance(x, denoise=1.0) == 101)


# Exposure and denoise ------------------------------------------------------------------------------------------------


def test_keep_exposure_starts_at_no_stops(fake_weights):
    x = dark(dtype=np.float32)
    mine = Enhancer(fake_weights(), runtime=Constant(0.0))
    np.testing.assert_allclose(mine.enhance(x, keep_exposure=True, denoise=0), x, atol=3e-7)
    exactly_one = mine.enhance(x, keep_exposure=True, denoise=0, exposure=1)
    np.testing.assert_allclose(exactly_one, expose(x, 1.0), atol=1e-6)
    np.testing.assert_allclose(mine.enhance(x, denoise=0), expose(x, 2.0), atol=1e-6)
    np.testing.assert_allclose(mine.enhance(x, denoise=0, exposure=1), expose(x, 3.0), atol=1e-6)


@pytest.mark.parametrize(("proposed", "share"), [(-1, 0.2), (0, 0.2), (0.25, 0.4), (0.5, 0.6), (1, 1), (3, 1)])
def test_automatic_denoising_fades_to_the_share_on_the_card(fake_weights, proposed, share):
    weights = fake_weights(denoise_at_zero_stops=0.2)
    mine = Enhancer(weights, runtime=Constant(1.0, stops=proposed))
    x = np.full((8, 8, 3), 0.1, np.float32)
    exposed = expose(x, np.float32(proposed))
    np.testing.assert_allclose(mine.enhance(x), exposed + share * (1 - exposed), atol=1e-6)
    # what a person adds is no reason to denoise more or less
    brighter = expose(x, np.float32(proposed + 1))
    np.testing.assert_allclose(mine.enhance(x, exposure=1), brighter + share * (1 - brighter), atol=1e-6)
    # with keep_exposure all of it is kept
    grainy = np.tile(np.array([0.05, 0.15], np.float32)[:, None], (4, 8))
    smooth = Enhancer(weights, runtime=Constant(0.1, stops=proposed))
    np.testing.assert_allclose(smooth.enhance(grainy, keep_exposure=True), np.full_like(grainy, 0.1), atol=1e-6)


def test_weights_without_exposure_are_exposed_afterwards(fake_weights):
    mine = Enhancer(fake_weights(takes_exposure=False), runtime=Constant(0.3))
    x = dark(dtype=np.float32)
    np.testing.assert_allclose(mine.enhance(x), np.full_like(x, 0.3), atol=1e-6)
    np.testing.assert_allclose(mine.enhance(x, exposure=-1.5), expose(np.full_like(x, 0.3), -1.5), atol=1e-6)
    half = x + 0.5 * (expose(np.full_like(x, 0.3), 1.0) - x)
    np.testing.assert_allclose(mine.enhance(x, exposure=1, strength=0.5), half, atol=1e-6)
    assert mine.propose(x) == 0


@pytest.mark.parametrize(
    "wish",
    [{"keep_exposure": True}, {"denoise": 0.5}, {"denoise": 1}, {"denoise_colour": 1}, {"mood": "night"},
     {"match": Path("photo.jpg")}, {"warmth": 1}],
)  # fmt: skip
def test_weights_without_exposure_refuse_what_they_cannot_do(fake_weights, fake_runtime, wish):
    mine = Enhancer(fake_weights(takes_exposure=False), runtime=fake_runtime)
    for strength in (0, 1):
        with pytest.raises(SettingsError, match=" cannot be chosen"):
            mine.enhance(dark(), strength=strength, **wish)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_proposal_is_of_the_upright_picture(enhancer, tmp_path, monkeypatch, orientation):
    """A file that is stored turned gets the stops that the same picture gets upright, and is stored as before."""
    thumbnails, answer = [], enhancer.runtime.propose
    monkeypatch.setattr(enhancer.runtime, "propose", lambda seen: thumbnails.append(seen) or answer(seen))
    upright = dark(40, 64)
    path = tmp_path / "in.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(images.turn_as_stored(upright, orientation))
    Image.fromarray(stored).save(path, exif=exif)
    assert enhancer.propose(path) == pytest.approx(2.0, abs=1e-6)
    result = enhancer.enhance(path)
    assert images.open_image(result).header.orientation == orientation
    assert images.open_image(result).header.width == stored.shape[1]
    np.testing.assert_allclose(images.read_image(result).astype(int), enhancer.enhance(upright), atol=1)
    # a PIL image says how it is stored, too
    with Image.open(path) as image:
        turned = enhancer.enhance(image)
    assert turned.getexif()[0x0112] == orientation
    np.testing.assert_array_equal(images.turn_upright(np.asarray(turned), orientation), images.read_image(result))
    assert len(thumbnails) == 4
    assert all(np.allclose(seen, thumbnails[0], atol=1e-6) for seen in thumbnails)


def test_propose_takes_all_that_enhance_takes(enhancer, tmp_path):
    mirnet.write_image(tmp_path / "in.png", dark())
    path = tmp_path / "in.png"
    for x in (path, str(path), path.read_bytes(), dark(), dark(channels=1), Image.fromarray(dark())):
        assert enhancer.propose(x) == pytest.approx(2.0, abs=1e-6)
    with pytest.raises(SettingsError, match="Expected a path, bytes, a numpy array or a PIL image, not list"):
        enhancer.propose([1])


# Kinds of pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_arrays_come_back_alike(enhancer, dtype, channels):
    x = dark(channels=channels, dtype=dtype)
    before = x.copy()
    result = enhancer.enhance(x)
    assert (result.shape, result.dtype) == (x.shape, x.dtype)
    assert result[..., :3].mean() > x[..., :3].mean()
    if channels in (2, 4):
        np.testing.assert_array_equal(result[..., -1], x[..., -1])
    np.testing.assert_array_equal(x, before)  # what was given is not written to
    np.testing.assert_array_equal(enhancer.enhance(x, strength=0), x)
    assert enhancer.enhance(x, strength=0) is not x


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3), (7, 129)])
def test_any_size_works_and_stays(enhancer, monkeypatch, size):
    assert enhancer.enhance(dark(*size)).shape == (*size, 3)
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 0)
    monkeypatch.setattr(tiles, "TILE_PX", 16)
    assert enhancer.enhance(dark(*size)).shape == (*size, 3)


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (np.zeros((3, 3, 3, 3), np.uint8), "of shape"),
        (np.zeros((3, 3, 5), np.uint8), "of shape"),
        (np.zeros((0, 3), np.uint8), "of shape"),
        (np.zeros((3, 3), np.int64), "not int64"),
        (np.zeros((3, 3), bool), "not bool"),
        (np.full((3, 3), 1.01), "these lie in 1.01 to 1.01. Scale or clip"),
        (np.full((3, 3), -0.01), "lie in -0.01"),
        (np.full((3, 3), np.nan), "lie in nan"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(enhancer, x, sentence):
    for call in (enhancer.enhance, enhancer.propose):
        with pytest.raises(PictureError, match=sentence):
            call(x)


@pytest.mark.parametrize(
    ("mode", "after"),
    [("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("I;16", "I;16"), ("1", "L"), ("P", "RGB"),
     ("CMYK", "RGB")],
)  # fmt: skip
def test_pil_images_come_back_as_pil_images(enhancer, mode, after):
    image = Image.fromarray(dark(dtype=np.uint16, channels=1)) if mode == "I;16" else Image.fromarray(dark())
    image = image.convert(mode)
    image.info["icc_profile"] = b"profile"
    result = enhancer.enhance(image)
    assert isinstance(result, Image.Image)
    assert (result.mode, result.size, result.info["icc_profile"]) == (after, image.size, b"profile")


def test_pil_images_of_other_numbers_are_refused(enhancer):
    with pytest.raises(PictureError, match="not of mode F; convert it first"):
        enhancer.enhance(Image.fromarray(dark(channels=1, dtype=np.float32)))


def encoded(format: str, pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **({"lossless": True} if format == "webp" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["jpeg", "png", "webp", "tiff"])
def test_bytes_come_back_in_their_format(enhancer, format):
    content = encoded(format, dark())
    result = enhancer.enhance(content)
    header = images.open_image(result).header
    assert (header.format, header.width, header.height) == (format, 37, 24)
    assert enhancer.enhance(content, strength=0) == content


@pytest.mark.parametrize("x", [b"", b"no picture", encoded("png", dark())[:200]])
def test_bytes_that_are_no_picture_are_refused(enhancer, x):
    with pytest.raises(PictureError, match="the image given as bytes"):
        enhancer.enhance(x)


# Files ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    mirnet.write_image(tmp_path / "in.png", dark())
    return tmp_path / "in.png"


@pytest.mark.parametrize("name", ["in.jpg", "in.png", "in.webp", "in.tif", "in.TIFF"])
@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.uint8, 1), (np.uint8, 4), (np.uint16, 3)])
def test_a_file_is_enhanced_beside_itself(enhancer, tmp_path, name, dtype, channels):
    path = tmp_path / name
    mirnet.write_image(path, dark(dtype=dtype, channels=channels))
    before = path.read_bytes(), images.open_image(path).header
    result = enhancer.enhance(path)
    assert result == tmp_path / name.replace(".", ".bright.")
    assert images.open_image(result).header == before[1]
    assert path.read_bytes() == before[0]
    assert len(list(tmp_path.iterdir())) == 2


def test_an_existing_output_is_left_alone_unless_told_otherwise(enhancer, photo):
    result = enhancer.enhance(str(photo))
    first = result.read_bytes()
    with pytest.raises(OutputExists, match=r"in\.bright\.png: is there already"):
        enhancer.enhance(photo, exposure=1)
    assert result.read_bytes() == first
    enhancer.enhance(photo, exposure=1, overwrite=True)
    assert result.read_bytes() != first


def test_an_original_is_never_replaced(enhancer, photo, tmp_path):
    (tmp_path / "link.png").hardlink_to(photo)
    for target in (photo, tmp_path / "link.png"):
        with pytest.raises(SettingsError, match="the original itself, which is never replaced"):
            enhancer.enhance_file(photo, target, Settings(overwrite=True))


def test_at_strength_0_a_file_is_copied_to_the_byte(enhancer, tmp_path):
    path = tmp_path / "in.jpg"
    mirnet.write_image(path, dark(), quality=60)
    assert enhancer.enhance(path, strength=0).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 1), (np.uint8, 4), (np.uint16, 3), (np.uint16, 1)])
def test_at_strength_0_another_lossless_format_keeps_every_pixel(enhancer, tmp_path, dtype, channels):
    x = dark(dtype=dtype, channels=channels)
    mirnet.write_image(tmp_path / "in.png", x)
    enhancer.enhance_file(tmp_path / "in.png", tmp_path / "out.tif", Settings(strength=0))
    np.testing.assert_array_equal(mirnet.read_image(tmp_path / "out.tif"), x)


def test_at_strength_0_a_damaged_file_is_not_copied(enhancer, photo):
    photo.write_bytes(photo.read_bytes()[:-300])
    with pytest.raises(PictureError, match="damaged or cut short"):
        enhancer.enhance(photo, strength=0)
    assert list(photo.parent.iterdir()) == [photo]


def test_a_wrong_suffix_is_said_and_the_format_stays(enhancer, photo):
    lying = photo.rename(photo.with_suffix(".jpg"))
    report = enhancer.enhance_file(lying, lying.with_name("out.jpg"), Settings())
    assert images.open_image(report.output).header.format == "png"
    (remark,) = report.remarks
    assert "is a PNG image in spite of its suffix" in remark


def test_another_suffix_of_the_output_is_another_format_and_turned_upright(enhancer, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(dark()).save(tmp_path / "in.jpg", exif=exif)
    report = enhancer.enhance_file(tmp_path / "in.jpg", tmp_path / "out.png", Settings())
    header = images.open_image(report.output).header
    assert (header.format, header.orientation, header.width, header.height) == ("png", 1, 24, 37)
    assert (report.width, report.height) == (24, 37)


def test_a_report_says_the_stops(enhancer, photo):
    report = enhancer.enhance_file(photo, photo.with_name("a.png"), Settings(exposure=0.5))
    assert (report.proposed_stops, report.stops) == (pytest.approx(2), pytest.approx(2.5))
    kept = enhancer.enhance_file(photo, photo.with_name("b.png"), Settings(keep_exposure=True, exposure=1))
    assert (kept.proposed_stops, kept.stops) == (pytest.approx(2), 1)
    assert kept.settings == Settings(keep_exposure=True, exposure=1)


def test_xmp_says_what_made_the_file_unless_it_should_not(enhancer, photo, require_tool):
    said = subprocess.run(
        [require_tool("exiftool"), "-XMP:all", enhancer.enhance(photo, exposure=0.5)], capture_output=True, text=True
    ).stdout
    for part in (f"mirnet {mirnet.__version__}", enhancer.card.sha256, "exposure +0.5", "strength 1", "denoise auto"):
        assert part in said
    silent = enhancer.enhance(photo, provenance=False, overwrite=True)
    assert images.open_image(silent).metadata.xmp is None
    for wished in (True, False):
        content = enhancer.enhance(photo.read_bytes(), provenance=wished)
        assert bool(images.open_image(content).metadata.xmp) == wished


def test_what_was_computed_less_exactly_says_so(enhancer, photo, fake_runtime, monkeypatch):
    monkeypatch.setattr(fake_runtime, "precision", "bf16")
    enhanced = enhancer.enhance_bytes(photo.read_bytes(), Settings())
    assert enhanced.precision == "bf16"
    xmp = images.open_image(enhanced.content).metadata.xmp
    assert xmp is not None
    assert f"{enhancer.card.sha256} in bf16".encode() in xmp


@pytest.mark.parametrize("strength", [0, 1])
@pytest.mark.parametrize("at", [0.3, 1.0])
def test_who_cancels_leaves_nothing(fake_weights, fake_runtime, photo, monkeypatch, strength, at):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 0)
    monkeypatch.setattr(tiles, "TILE_PX", 8)
    told = []

    def progress(done):
        told.append(done)
        if done >= at:
            raise Cancelled("enough")

    mine = Enhancer(fake_weights(), runtime=fake_runtime, progress=progress)
    with pytest.raises(Cancelled):
        mine.enhance(photo, strength=strength)
    assert list(photo.parent.iterdir()) == [photo]
    assert told == sorted(told)
    with pytest.raises(Cancelled):
        mine.enhance(dark(), strength=strength)


def test_progress_goes_from_0_to_1(fake_weights, fake_runtime, monkeypatch):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 0)
    monkeypatch.setattr(tiles, "TILE_PX", 16)
    told = []
    Enhancer(fake_weights(), runtime=fake_runtime, progress=told.append).enhance(dark(40, 40))
    assert len(told) >= 9
    assert told == sorted(told)
    assert told[0] == 0
    assert told[-1] == 1


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [{"strength": 1.1}, {"strength": -0.1}, {"strength": float("nan")}, {"strength": "all"}, {"exposure": 4.1},
     {"exposure": -4.1}, {"denoise": "none"}, {"denoise": 1.1}, {"quality": 0}, {"quality": 101}, {"quality": 9.5}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(enhancer, wrong):
    ((name, _),) = wrong.items()
    with pytest.raises(SettingsError, match=f"These settings cannot work: {name} "):
        enhancer.enhance(dark(), **wrong)


def test_all_that_is_wrong_is_said_together():
    with pytest.raises(SettingsError, match=r"strength .*; exposure .*; denoise .*; quality "):
        Settings(strength=2, exposure=9, denoise=3, quality=0)


def test_an_unknown_setting_is_answered_with_the_known_ones(enhancer):
    with pytest.raises(SettingsError, match="no setting gamma; expected some of strength, exposure, keep_exposure"):
        enhancer.enhance(dark(), gamma=2)


def test_zero_threads_are_refused(fake_weights):
    with pytest.raises(SettingsError, match="threads must be at least 1"):
        Enhancer(fake_weights(), threads=0)


# The network itself --------------------------------------------------------------------------------------------------


def test_several_threads_give_what_one_gives(tiny_lite):
    mine = Enhancer(tiny_lite, threads=1)
    pictures = [dark(16 + 8 * number, 40) for number in range(6)]
    alone = [mine.enhance(x) for x in pictures]
    together = threading.Barrier(4)
    with ThreadPoolExecutor(4, initializer=together.wait) as pool:
        for _ in range(3):
            for one, other in zip(alone, pool.map(mine.enhance, pictures), strict=True):
                np.testing.assert_array_equal(one, other)


def test_the_shipped_weights_brighten_from_one_call(repository):
    x = images.read_image(repository / "examples/cat-twin.jpg")[:96, :120]
    bright = mirnet.enhance(x)
    assert bright.mean() > 1.5 * x.mean()
    assert mirnet.enhance(x, exposure=1).mean() > bright.mean() > mirnet.enhance(x, exposure=-1).mean()


def test_every_setting_has_a_help_text_and_a_default_within_its_range():
    rows = {row.name: row for row in settings_table()}
    assert list(rows) == [field.name for field in fields(Settings)]
    for name, row in rows.items():
        assert row.help.endswith("."), name
        assert row.default is None or setting_info(name).allows(row.default), name
    assert (rows["exposure"].range, rows["exposure"].unit) == ("-4 to +4", "stops")
    assert describe_setting("denoise").endswith("[auto, 0 to 1]")
    assert describe_setting("clip") == rows["clip"].help


@pytest.mark.parametrize("name", [row.name for row in settings_table() if setting_info(row.name).low is not None])
def test_the_limits_of_a_setting_are_what_settings_accept(name):
    info = setting_info(name)
    for limit, beyond in ((info.low, -1), (info.high, 1)):
        if limit is not None:
            Settings(**{name: limit})
            with pytest.raises(SettingsError, match=f"{name} must be"):
                Settings(**{name: limit + beyond})


@pytest.mark.parametrize("polls", [0, 3, 8])
def test_a_caller_who_stops_leaves_nothing(fake_weights, fake_runtime, photo, monkeypatch, polls):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 0)
    monkeypatch.setattr(tiles, "TILE_PX", 8)
    done, count = [], itertools.count()
    mine = Enhancer(fake_weights(), runtime=fake_runtime)
    target = photo.with_name("out.jpg")
    with pytest.raises(Cancelled, match="nothing is left half-done"):
        mine.enhance_file(photo, target, Settings(), done.append, lambda: next(count) >= polls)
    with pytest.raises(Cancelled):
        mine.enhance_bytes(photo.read_bytes(), Settings(), should_stop=lambda: True)
    assert list(photo.parent.iterdir()) == [photo]
    assert 1 not in done
