"""Pixels of every kind reach the network as sRGB and come back as what they were."""

import numpy as np
import pytest
from profiles import ADOBE_RGB, DISPLAY_P3, PROPHOTO, grey_profile, profile

from mirnet.exposure import expose, to_encoded, to_linear
from mirnet.images.colour_space import Space, read_colour_space
from mirnet.inference.blending import BlendWeights, ExposedTile, blend_tile, expose_tile, find_black_blocks, to_rgb

UNCHANGED = BlendWeights()


def shown(pixels: np.ndarray, change: float = 0.0, stops: float | None = None, wishes: BlendWeights = UNCHANGED,
          space: Space | None = None, warmth: float = 0.0) -> np.ndarray:  # fmt: skip
    """Through a network that adds `change` to everything."""
    map_ = None if stops is None else np.full(pixels.shape[:2], stops, np.float32)
    tile = expose_tile(pixels, map_, warmth, space)
    return blend_tile(pixels, tile, tile.srgb + np.float32(change), wishes, space)


def noise(channels: int, dtype: type, rows: int = 40, width: int = 31) -> np.ndarray:
    white = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return (np.random.default_rng(0).random((rows, width, channels)) * white).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_kind_of_pixel_survives_the_way_to_the_network_and_back(dtype, channels):
    pixels = noise(channels, dtype)
    back = shown(pixels)
    assert back.dtype == pixels.dtype
    np.testing.assert_allclose(back, pixels, atol=0 if pixels.dtype.kind == "u" else 2e-6)


def test_grey_is_the_luminance_of_linear_light():
    grey = np.zeros((1, 1, 1), np.uint8)
    red = np.array([1, 0, 0], np.float32).reshape(3, 1, 1)
    # 0.2126 of linear light is 0.4984 encoded
    assert blend_tile(grey, expose_tile(grey, None, 0, None), red, UNCHANGED, None).item() == round(0.4984 * 255)


@pytest.mark.parametrize("width", [1, 31, 60_000])
def test_strips_do_not_show(width):
    pixels = noise(3, np.uint8, rows=5, width=width)
    seen = expose_tile(pixels, np.full(pixels.shape[:2], 3, np.float32), 0, None).srgb
    np.testing.assert_allclose(seen.transpose(1, 2, 0), expose(to_rgb(pixels), 3.0), atol=3e-7)


def test_warmth_gives_red_and_takes_from_blue():
    grey = np.full((1, 1, 3), 40, np.uint8)
    red, green, blue = expose_tile(grey, np.ones((1, 1), np.float32), 1.0, None).srgb.ravel()
    light = np.float32(40 / 255)
    assert (red, green, blue) == pytest.approx([expose(light, stops) for stops in (1.5, 1.0, 0.5)], abs=1e-6)


def test_what_is_kept_of_a_change_may_differ_between_luma_and_colour():
    pixels = noise(3, np.float32)
    tile = expose_tile(pixels, None, 0, None)
    change = np.random.default_rng(1).normal(0, 0.01, tile.srgb.shape).astype(np.float32)
    seen = np.clip(tile.srgb, 0.1, 0.9)
    tile = ExposedTile(seen, None)
    kept = blend_tile(pixels, tile, seen + change, BlendWeights(1.0, 0.0, 1.0), None).transpose(2, 0, 1) - seen
    luma = np.tensordot([0.2126, 0.7152, 0.0722], kept, 1)
    assert np.abs(luma).max() < 1e-6
    assert np.abs(kept - (change - np.tensordot([0.2126, 0.7152, 0.0722], change, 1))).max() < 1e-6
    both = blend_tile(pixels, tile, seen + change, BlendWeights(1.0, 0.3, 0.3), None)
    np.testing.assert_allclose(both, blend_tile(pixels, tile, seen + change, BlendWeights(1.0, 0.3), None), atol=1e-6)


# Colour spaces -------------------------------------------------------------------------------------------------------


SPACES = {"Adobe RGB": ADOBE_RGB, "ProPhoto": PROPHOTO, "Display P3": DISPLAY_P3}


@pytest.fixture(params=SPACES, scope="module")
def wide(request) -> Space:
    found = read_colour_space(profile(*SPACES[request.param], name=request.param), 3)
    assert found is not None
    assert found.name == request.param
    return found


def ramp(dtype: type = np.uint16) -> np.ndarray:
    """Every mixture of full, half and no red, green and blue, from black up: most lie beyond sRGB."""
    mixtures = np.stack(np.meshgrid(*[[0, 0.5, 1]] * 3), -1).reshape(-1, 1, 3)
    values = mixtures * np.linspace(0, 1, 300)[None, :, None]
    return np.round(values * np.iinfo(dtype).max).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_wide_gamut_picture_that_nothing_changes_stays_to_the_bit(wide, dtype):
    np.testing.assert_array_equal(shown(ramp(dtype), space=wide), ramp(dtype))


def test_a_wide_gamut_picture_is_exposed_in_its_own_primaries(wide):
    light = wide.to_linear(np.moveaxis(ramp(), -1, 0)).astype(np.float64)
    gained = 4 * light
    expected = gained / np.sqrt((1 - light) * (1 + light) + gained**2)
    found = wide.to_linear(np.moveaxis(shown(ramp(), stops=2.0, space=wide), -1, 0))
    assert np.abs(found - expected).max() < 5e-5


def test_the_network_sees_a_wide_gamut_picture_as_srgb_clipped(wide):
    white_and_green = np.array([[[1, 1, 1], [0, 1, 0]]], np.float32)
    seen = expose_tile(white_and_green, None, 0, wide).srgb[:, 0].T
    np.testing.assert_allclose(seen[0], 1, atol=1e-3)
    assert seen[1, 0] == 0  # such a green has less than no red


def test_what_the_network_changes_comes_back_in_the_own_primaries_of_a_picture(wide):
    """Within sRGB: as if the whole picture had been converted, changed, and converted back."""
    grey = np.full((2, 2, 3), 0.4, np.float32)
    out = shown(grey, change=0.1, space=wide)
    light = to_linear(expose_tile(grey, None, 0, wide).srgb[:, 0, 0] + np.float32(0.1))
    expected = wide.to_encoded((wide.from_srgb @ light)[:, None])[:, 0]
    np.testing.assert_allclose(out[0, 0], expected, atol=2e-4)


def test_srgb_by_a_profile_is_srgb_without_one(wide):
    from PIL import ImageCms

    assert read_colour_space(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), 3) is None


def test_a_grey_profile_has_its_own_curve_and_no_primaries():
    space = read_colour_space(grey_profile(1.8), 1)
    assert space is not None
    pixels = noise(1, np.uint16)
    np.testing.assert_array_equal(shown(pixels, space=space), pixels)
    assert expose_tile(np.full((1, 1, 1), 0.5, np.float32), None, 0, space).srgb[0, 0, 0] == pytest.approx(
        to_encoded(np.float32(0.5**1.8)), abs=1e-3
    )


@pytest.mark.parametrize("damage", ["empty", "other kind", "no curves", "cut", "text"])
def test_a_profile_that_cannot_be_used_says_so(damage):
    whole = profile(*DISPLAY_P3)
    damaged = {
        "empty": b"", "other kind": grey_profile(2.2), "no curves": whole.replace(b"rTRC", b"A2B0"),
        "cut": whole[:200], "text": b"no profile at all " * 20,
    }[damage]  # fmt: skip
    with pytest.raises(ValueError, match="is "):
        read_colour_space(damaged, 3)


def test_16_bit_stays_smooth():
    """A dark ramp of 20,000 levels, three stops brighter, keeps them apart."""
    pixels = np.repeat(np.arange(20_000, dtype=np.uint16).reshape(1, -1, 1), 3, axis=2)
    assert len(np.unique(shown(pixels, stops=3.0))) >= 19_990


# Black borders -------------------------------------------------------------------------------------------------------


def test_what_is_black_all_around_is_found_and_nothing_else():
    pixels = noise(3, np.uint8, 120, 90) // 8 + 1
    pixels[:48] = 0
    pixels[:, 70:] = 0
    pixels[100, 80] = [0, 1, 0]
    found = find_black_blocks(pixels, 8)
    assert not found[pixels.any(2)].any()
    assert found[:40].all()  # a block from what is lit
    assert not found[40:48, :70].any()
    assert not found[88:112, 72:].any()  # near the one pixel that is lit
    assert not find_black_blocks(noise(1, np.float32) * 0.1 + 0.001, 8).any()
