"""Previews: what a screen shows of a picture, with the stops of all of it."""

import gc
import io
import sys
import threading

import numpy as np
import PIL.Image
import pytest
from profiles import ADOBE_RGB, profile
from sample_pictures import exif, pillow_bytes, tiff_bytes

from mirnet import images
from mirnet.errors import Cancelled, SettingsError, TooManyPixels
from mirnet.exposure import to_encoded, to_linear
from mirnet.inference import preview as previews
from mirnet.inference import restored_view, tiles
from mirnet.inference.downscaling import Downscaler, downscaled_size
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.preview import Preview
from mirnet.inference.settings import Settings
from mirnet.inference.source import ImageSource
from mirnet.inference.view import MAX_VIEW_PX, View

HEIGHT, WIDTH = 60, 90


@pytest.fixture
def enhancer(fake_weights, fake_runtime) -> Enhancer:
    return Enhancer(fake_weights(), runtime=fake_runtime)


def dark(height: int = HEIGHT, width: int = WIDTH, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, 60, shape, dtype=np.uint8)


def opened(content: bytes, enhancer: Enhancer, **settings: object) -> Preview:
    return Preview(content, enhancer, Settings(**settings))


def shown(content: bytes) -> np.ndarray:
    """The pixels of a file as a person sees them, 8 bit RGB."""
    return np.asarray(images.read_image(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_original_is_shown_upright_whole_or_in_part(enhancer, orientation):
    content = pillow_bytes(dark(), "png", exif=exif(orientation).tobytes())
    preview, upright = opened(content, enhancer), shown(content)
    assert (preview.height, preview.width) == upright.shape[:2]
    np.testing.assert_array_equal(preview.render_original(View(MOST)), upright)
    part = preview.render_original(View(region=(5, 7, 20, 11)))
    np.testing.assert_array_equal(part, upright[7:18, 5:25])


MOST = MAX_VIEW_PX


@pytest.mark.parametrize("orientation", [1, 6])
def test_what_is_shown_of_a_small_picture_is_what_comes_out_of_it(enhancer, orientation):
    content = pillow_bytes(dark(), "png", exif=exif(orientation).tobytes())
    wish = Settings(exposure=0.5, strength=0.75, denoise=0.25)
    result = shown(enhancer.enhance_bytes(content, wish).content)
    preview = opened(content, enhancer)
    np.testing.assert_array_equal(preview.render(View(MOST), wish).pixels, result)
    part = preview.render(View(region=(5, 7, 20, 11)), wish).pixels
    np.testing.assert_array_equal(part, result[7:18, 5:25])


@pytest.mark.parametrize("orientation", [1, 3, 8])
def test_a_region_of_a_large_picture_is_that_region_of_the_result(fake_weights, fake_runtime, monkeypatch, orientation):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    monkeypatch.setattr(tiles, "TILE_PX", 32)
    enhancer = Enhancer(fake_weights(), runtime=fake_runtime)
    content = pillow_bytes(dark(200, 300), "png", exif=exif(orientation).tobytes())
    result = shown(enhancer.enhance_bytes(content, Settings(exposure=1)).content)
    part = opened(content, enhancer).render(View(region=(33, 41, 50, 60)), Settings(exposure=1)).pixels
    assert np.abs(part.astype(int) - result[41:101, 33:83]).max() <= 1


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("denoise", ["auto", 0.0, 0.6, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_blended_layers_are_what_the_server_renders(enhancer, denoise, strength, channels):
    preview = opened(pillow_bytes(dark(channels=channels), "png"), enhancer)
    view, wish = View(2000), Settings(exposure=-0.5, denoise=denoise, strength=strength)
    layers = preview.render_layers(view, wish)
    exposed, restored, automatic = (each.astype(float) for each in (layers.exposed, layers.restored, layers.automatic))
    assert np.abs(restored - exposed).max() > 0
    original = preview.render_original(view).astype(float)
    mixed = automatic if denoise == "auto" else exposed + denoise * (restored - exposed)
    blended = np.round(original + strength * (mixed - original))
    rendered = preview.render(view, wish)
    assert np.abs(blended - rendered.pixels).max() <= 1
    assert rendered.stops == layers.stops


def test_all_views_have_the_stops_of_the_full_picture(enhancer):
    content = pillow_bytes(dark(), "png")
    full = enhancer.enhance_bytes(content, Settings(exposure=1))
    preview = opened(content, enhancer)
    assert preview.proposed_stops == full.proposed_stops
    for view in (View(), View(500), View(region=(0, 0, 8, 8))):
        assert preview.render(view, Settings(exposure=1)).stops == full.stops


def test_a_smaller_view_is_averaged_in_linear_light(enhancer):
    columns = np.zeros((64, 64, 3), dtype=np.uint8)
    columns[:, ::2] = 255
    small = opened(pillow_bytes(columns, "png"), enhancer).render_original(View(16 * 16))
    assert small.shape == (16, 16, 3)
    assert set(np.unique(small)) == {round(255 * float(to_encoded(np.array([0.5], dtype=np.float32))[0]))}


def test_a_picture_is_shrunk_by_area_to_any_size():
    pixels = np.random.default_rng(1).integers(0, 256, (53, 71, 3), dtype=np.uint8)
    source = ImageSource.from_array(pixels)
    shrunk = Downscaler(source, 1000)
    for top in range(0, 53, 10):
        shrunk.add(top, pixels[top : top + 10])
    (small,) = shrunk.to_source().bands(53)
    assert small.shape == (27, 37, 3)
    light = to_linear(pixels.astype(np.float32) / 255)
    finer = light.repeat(27, axis=0).repeat(37, axis=1)  # of which each new pixel covers whole ones
    expected = to_encoded(finer.reshape(27, 53, 37, 71, 3).mean((1, 3))) * 255
    assert np.abs(small - expected).max() <= 0.51


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (4000, 3000), (3, 100_000), (600, 400)])
@pytest.mark.parametrize("most", [1, 100, 350_000])
def test_a_shrunk_size_is_within_its_limit_and_never_larger(size, most):
    height, width = downscaled_size(*size, most)
    assert 1 <= height <= size[0]
    assert 1 <= width <= size[1]
    assert height * width <= max(most, 1)


def test_a_wide_gamut_picture_is_shown_in_srgb_and_not_blendable(enhancer):
    adobe = profile(*ADOBE_RGB)
    preview = opened(pillow_bytes(np.full((20, 30, 3), (60, 120, 60), np.uint8), "png", icc_profile=adobe), enhancer)
    assert not preview.blendable
    red, green, blue = preview.render_original(View())[10, 10]
    assert green > 120 > red  # the same green is a purer one in sRGB
    assert red < 60
    assert abs(int(blue) - 60) < 12
    with pytest.raises(SettingsError, match="8 bit in sRGB"):
        preview.render_layers(View(), Settings())
    assert preview.render(View(), Settings()).pixels.shape == (20, 30, 3)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_pictures_are_shown_in_8_bit_and_not_blendable(enhancer, dtype):
    values = dark().astype(np.float32) / 255
    deep = values if dtype == np.float32 else np.round(values * 65535).astype(dtype)
    preview = opened(tiff_bytes(deep, photometric="rgb"), enhancer)
    assert not preview.blendable
    assert np.abs(preview.render_original(View()).astype(int) - dark()).max() <= 1
    assert preview.render(View(1000), Settings()).pixels.dtype == np.uint8


def test_alpha_stays_in_what_is_shown(enhancer):
    preview = opened(pillow_bytes(dark(channels=4), "png"), enhancer)
    assert not preview.blendable
    view = View(region=(3, 4, 30, 20))
    np.testing.assert_array_equal(preview.render_original(view), dark(channels=4)[4:24, 3:33])
    np.testing.assert_array_equal(preview.render(view, Settings()).pixels[:, :, 3], dark(channels=4)[4:24, 3:33, 3])
    assert preview.render(View(500), Settings()).pixels.shape[2] == 4


def test_other_shares_of_the_same_exposure_need_no_network(enhancer, fake_runtime, monkeypatch):
    preview = opened(pillow_bytes(dark(), "png"), enhancer)
    preview.render_layers(View(), Settings(exposure=1))
    monkeypatch.setattr(fake_runtime, "restore", lambda *inputs: pytest.fail("the network was asked again"))
    for strength in (0.1, 0.9):
        preview.render(View(), Settings(exposure=1, strength=strength, denoise=0.5))
    with pytest.raises(pytest.fail.Exception):
        preview.render(View(), Settings(exposure=2))


def test_a_small_view_of_a_large_picture_needs_no_survey(fake_weights, fake_runtime, monkeypatch):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    preview = opened(pillow_bytes(dark(200, 300), "png"), Enhancer(fake_weights(), runtime=fake_runtime))
    asked, restore = [], fake_runtime.restore
    monkeypatch.setattr(fake_runtime, "restore", lambda p, *rest: asked.append(len(p)) or restore(p, *rest))
    stops = preview.render(View(900), Settings(exposure=1)).stops
    assert asked == [1]
    assert preview.render(View(region=(0, 0, 40, 40)), Settings(exposure=1)).stops == stops
    assert len(asked) == 3
    assert asked[1] > 1


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_view_too_large_for_one_piece_is_made_in_tiles_that_do_not_show(enhancer, fake_runtime, monkeypatch, channels,
                                                                          orientation):  # fmt: skip
    content = pillow_bytes(dark(200, 300, channels), "png", exif=exif(orientation).tobytes())
    settings, view = Settings(exposure=1, denoise=0.7), View(20_000)
    expected = opened(content, enhancer).render(view, settings)
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    monkeypatch.setattr(tiles, "TILE_PX", 64)
    preview, done = opened(content, enhancer), []
    fake_runtime.calls.clear()
    found = preview.render(view, settings, done.append)
    assert len(fake_runtime.calls) > 6
    assert found.stops == pytest.approx(expected.stops)
    np.testing.assert_allclose(found.pixels.astype(int), expected.pixels, atol=2)
    assert done == sorted(done)
    assert len(set(done)) > 6
    assert preview.render_layers(view, settings).restored.shape == found.pixels.shape


def test_views_are_kept_by_their_size(enhancer, fake_runtime, monkeypatch):
    preview = opened(pillow_bytes(dark(60, 90), "png"), enhancer)
    monkeypatch.setattr(previews, "MAX_VIEWS_PX", 6000)
    for view in (View(5000), View(2000), View(5000)):
        preview.render(view, Settings())
    assert len(fake_runtime.calls) == 3
    preview.render(View(500), Settings())
    preview.render(View(5000), Settings())
    assert len(fake_runtime.calls) == 4


def test_a_view_may_match_another_photo(enhancer):
    preview = opened(pillow_bytes(dark(), "png"), enhancer)
    gentle = preview.render(View(), Settings(match=pillow_bytes(np.full((9, 9, 3), 70, np.uint8), "png")))
    bright = preview.render(View(), Settings(match=pillow_bytes(np.full((9, 9, 3), 180, np.uint8), "png")))
    assert bright.stops > gentle.stops
    assert bright.pixels.mean() > gentle.pixels.mean()


def test_a_photo_to_match_is_neither_kept_nor_read_again(enhancer, monkeypatch):
    preview = opened(pillow_bytes(dark(), "png"), enhancer)
    photo = pillow_bytes(np.full((9, 9, 3), 70, np.uint8), "png")
    first = preview.render(View(), Settings(match=photo))
    monkeypatch.setattr(previews, "target_mean_of", lambda settings: pytest.fail("the photo was read again"))
    again = preview.render(View(500), Settings(match=bytes(bytearray(photo)), warmth=1))
    assert again.stops == pytest.approx(first.stops, abs=0.5)
    before = sys.getrefcount(photo)
    del first, again
    gc.collect()
    assert photo not in [each for each in gc.get_referrers(photo) if isinstance(each, Settings)]
    assert sys.getrefcount(photo) == before


def test_who_waits_for_another_view_may_give_up(enhancer, fake_runtime, monkeypatch):
    preview = opened(pillow_bytes(dark(), "png"), enhancer)
    restore, begun, go_on = fake_runtime.restore, threading.Event(), threading.Event()

    def slow(*inputs):
        begun.set()
        assert go_on.wait(10)
        return restore(*inputs)

    def stop() -> bool:
        return True

    monkeypatch.setattr(fake_runtime, "restore", slow)
    other = threading.Thread(target=preview.render, args=(View(), Settings()))
    other.start()
    assert begun.wait(10)
    with pytest.raises(Cancelled):
        preview.render(View(500), Settings(), should_stop=stop)
    go_on.set()
    other.join()


def test_what_a_preview_holds_grows_with_the_views_asked_for(enhancer):
    content = pillow_bytes(dark(), "png")
    preview = opened(content, enhancer)
    before = preview.nbytes
    assert before >= len(content) + dark().nbytes
    preview.render(View(), Settings())
    assert preview.nbytes >= before + dark().size * 8


@pytest.mark.parametrize(("height", "width"), [(1, 50_000), (50_000, 1), (3, 40_000)])
def test_a_view_of_a_very_thin_picture_is_no_more_for_the_network_than_others(enhancer, fake_runtime, height, width,
                                                                              monkeypatch):  # fmt: skip
    asked, restore = [], fake_runtime.restore
    monkeypatch.setattr(fake_runtime, "restore", lambda p, *rest: asked.append(p.size // 3) or restore(p, *rest))
    opened(pillow_bytes(dark(height, width), "png"), enhancer).render(View(10_000), Settings())
    assert max(asked[-1:]) <= 11_000


def test_a_region_that_would_show_the_network_too_much_is_refused(enhancer, monkeypatch):
    monkeypatch.setattr(restored_view, "MAX_REGION_INPUT_PX", 4000)
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    preview = opened(pillow_bytes(dark(60, 900), "png"), enhancer)
    with pytest.raises(SettingsError, match="too narrow for its length"):
        preview.render(View(region=(0, 30, 900, 1)), Settings())
    assert preview.render(View(region=(0, 30, 9, 1)), Settings()).pixels.shape == (1, 9, 3)


def test_a_look_may_be_broken_off_and_a_picture_too_large(enhancer):
    def stop() -> bool:
        return True

    content = pillow_bytes(dark(), "png")
    with pytest.raises(Cancelled):
        Preview(content, enhancer, Settings(), should_stop=stop)
    with pytest.raises(TooManyPixels):
        opened(content, enhancer, max_megapixels=0.001)
    preview = opened(content, enhancer)
    with pytest.raises(Cancelled):
        preview.render(View(), Settings(), should_stop=stop)
    assert preview.render(View(), Settings()).pixels.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    "view", [{"pixels": 0}, {"pixels": 10**8}, {"region": (-1, 0, 5, 5)}, {"region": (0, 0, 0, 5)},
             {"region": (0, 0, 5000, 5000)}],
)  # fmt: skip
def test_what_is_no_view_is_refused(view):
    with pytest.raises(SettingsError):
        View(**view)


def test_a_region_outside_of_the_picture_is_refused(enhancer):
    preview = opened(pillow_bytes(dark(), "png"), enhancer)
    with pytest.raises(SettingsError, match="within 90 x 60"):
        preview.render_original(View(region=(80, 0, 11, 5)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_for_the_screen_holds_the_values(channels):
    pixels = dark(channels=channels).reshape(HEIGHT, WIDTH, channels)
    found = np.asarray(PIL.Image.open(io.BytesIO(images.encode_screen_png(pixels))))
    np.testing.assert_array_equal(found.reshape(pixels.shape), pixels)
