"""A large picture is rendered in tiles, and nobody can tell: the same pixels, sizes and kinds as in one piece."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mirnet import images, metrics
from mirnet.inference import first_pass, render_plan, scene_statistics, second_pass, tiles
from mirnet.inference.blending import expose_tile
from mirnet.inference.catalog import FOLDER, Card, read, read_card
from mirnet.inference.render_plan import RenderPlan
from mirnet.inference.runtimes import OpenVINORuntime, Runtime
from mirnet.inference.second_pass import SecondPass
from mirnet.inference.settings import Settings
from mirnet.inference.source import ImageSource
from mirnet.network.lite import spread
from mirnet.network.pooling import pad_to_multiple

ROOT = Path(__file__).resolve().parent.parent
CALM = Settings(denoise=1.0)


@pytest.fixture
def card(fake_weights) -> Card:
    return read_card(fake_weights().with_suffix(".json"))


def picture(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Dark on the left, bright on the right, grain everywhere; uint8."""
    ramp = np.linspace(10, 200, width)[None, :, None]
    grain = np.random.default_rng(0).normal(0, 8, (height, width, channels))
    return np.clip(ramp + grain, 0, 255).astype(np.uint8)


def rendered(
    source: ImageSource, plan: RenderPlan, runtime: Runtime, card: Card, settings: Settings = CALM
) -> np.ndarray:
    return np.concatenate(list(SecondPass(source, plan, runtime, card, settings).render()))


def tiled_and_whole(source: ImageSource, runtime: Runtime, card: Card, tile_px: int) -> tuple[np.ndarray, ...]:
    """In one piece, in tiles with the whole picture's scene, in tiles that each look at themselves."""
    plan = render_plan.plan_image(source, runtime, card, CALM)
    (whole,) = source.bands(source.height)
    stops = source.stops_in_window(plan.stops, slice(0, source.height), slice(0, source.width))
    exposed = tiles.pad_to_multiple(expose_tile(whole, stops, 0.0, None).srgb[None], card.size_multiple)
    padded_stops = None if stops is None else tiles.pad_to_multiple(stops[None, None], card.size_multiple)
    scene = runtime.restore(exposed, padded_stops, None)[1]
    kinds = (
        plan,
        RenderPlan(plan.proposal, plan.stops, scene, tile_px),
        RenderPlan(plan.proposal, plan.stops, None, tile_px),
    )
    return tuple(rendered(source, kind, runtime, card) for kind in kinds)


def mean_over_processes(a: np.ndarray, b: np.ndarray) -> bool:
    """At most one 8-bit step anywhere, and PSNR of 55 dB or more."""
    return bool(np.abs(a - b).max() <= 1 / 255 and metrics.psnr(a, b) >= 55)


@pytest.mark.parametrize("size", [(64, 64), (200, 136), (129, 70), (67, 193), (1, 200), (200, 1)])
def test_tiles_that_share_a_scene_equal_the_whole_picture(fake_runtime, card, size):
    whole, tiled, _ = tiled_and_whole(ImageSource.from_array(picture(*size) / np.float32(255)), fake_runtime, card, 64)
    assert whole.shape == (*size, 3)
    assert mean_over_processes(tiled, whole)


def test_tiles_that_look_at_themselves_do_not(fake_runtime, card):
    """The twin of the test above: what it looks for would be found."""
    whole, _, naive = tiled_and_whole(
        ImageSource.from_array(picture(200, 136) / np.float32(255)), fake_runtime, card, 64
    )
    assert not mean_over_processes(naive, whole)


def test_tiles_without_enough_overlap_do_not(fake_runtime, card, fake_weights):
    narrow = read_card(fake_weights(overlap_px=0).with_suffix(".json"))
    whole, tiled, _ = tiled_and_whole(
        ImageSource.from_array(picture(200, 136) / np.float32(255)), fake_runtime, narrow, 64
    )
    assert not mean_over_processes(tiled, whole)


def test_the_shipped_weights_tile_without_seams():
    weights = read(FOLDER / "lite.onnx")
    runtime = OpenVINORuntime(weights.read_verified(), weights.card.scene_size)
    dark = images.read_image(ROOT / "examples/cat-twin.jpg")[:197, :171]
    dark = np.concatenate([dark, 255 - dark], axis=1) / np.float32(255)  # two scenes in one
    whole, tiled, naive = tiled_and_whole(ImageSource.from_array(dark), runtime, weights.card, 96)
    assert mean_over_processes(tiled, whole)
    assert metrics.psnr(tiled, whole) > metrics.psnr(naive, whole)


@pytest.mark.parametrize("rows", [1, 7, 64, 500])
def test_the_height_of_the_bands_in_which_a_picture_comes_does_not_matter(fake_runtime, card, monkeypatch, rows):
    pixels = picture(203, 90, 4)
    asked = []

    def bands(at_most):
        asked.append(at_most)
        return (pixels[top : top + rows] for top in range(0, 203, rows))

    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    monkeypatch.setattr(tiles, "TILE_PX", 64)
    results = [
        rendered(source, render_plan.plan_image(source, fake_runtime, card, Settings()), fake_runtime, card)
        for source in (ImageSource.from_array(pixels), ImageSource(203, 90, bands))
    ]
    np.testing.assert_array_equal(*results)
    assert len(asked) == 2  # one pass to look, one to render
    np.testing.assert_array_equal(results[0][:, :, 3], pixels[:, :, 3])


def test_a_large_picture_is_surveyed_by_samples_from_all_over_it(fake_runtime, card, monkeypatch):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    monkeypatch.setattr(scene_statistics, "SAMPLE_PX", 16)
    pixels = picture(160, 240)
    plan = render_plan.plan_image(ImageSource.from_array(pixels), fake_runtime, card, Settings(keep_exposure=True))
    assert fake_runtime.calls == [(16, 3, 16, 16)]
    np.testing.assert_allclose(plan.scene_vector, (pixels / 255).mean((0, 1)), atol=0.02)


def test_of_a_very_wide_picture_few_rows_are_held_at_a_time(fake_runtime, card):
    pixels, asked = np.full((40, 2**17, 1), 9, np.uint8), []

    def bands(at_most):
        asked.append(at_most)
        return (pixels[top : top + at_most] for top in range(0, 40, at_most))

    first_pass.propose_exposure(ImageSource(40, 2**17, bands), fake_runtime, card)
    first_pass.propose_exposure(
        ImageSource(40, 64, lambda rows: asked.append(rows) or [pixels[:, :64]]), fake_runtime, card
    )
    assert asked == [32, 256]


def test_a_thin_picture_counts_as_high_as_the_network_makes_it(fake_runtime, card, monkeypatch):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    monkeypatch.setattr(scene_statistics, "SAMPLE_PX", 64)
    monkeypatch.setattr(tiles, "TILE_PX", 64)
    for size in ((1, 900), (900, 1)):
        source = ImageSource.from_array(picture(*size))
        rendered(source, render_plan.plan_image(source, fake_runtime, card, Settings()), fake_runtime, card)
    assert max(height * width for _, _, height, width in fake_runtime.calls) <= 1000


def test_a_black_picture_gets_no_exposure(fake_runtime, card):
    black = ImageSource.from_array(np.zeros((40, 60, 3), np.uint8))
    assert not first_pass.propose_exposure(black, fake_runtime, card).any()
    assert first_pass.propose_exposure(ImageSource.from_array(picture(40, 60)), fake_runtime, card).any()


def test_a_small_picture_is_one_piece(fake_runtime, card):
    source = ImageSource.from_array(picture(40, 61))
    rendered(source, render_plan.plan_image(source, fake_runtime, card, CALM), fake_runtime, card)
    assert fake_runtime.calls == [(1, 3, 40, 64)]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (3, 2), (5, 8), (16, 17)])
def test_padding_is_the_same_as_in_training(height, width):
    x = np.random.default_rng(0).random((2, 3, height, width), dtype=np.float32)
    np.testing.assert_array_equal(tiles.pad_to_multiple(x, 16), pad_to_multiple(torch.from_numpy(x), 16).numpy())


def test_stops_are_spread_as_in_training():
    cells = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    ours = tiles.interpolate_map(cells, 61, 83, slice(10, 50), slice(3, 83))
    theirs = spread(torch.from_numpy(cells)[None, None], 61, 83)[0, 0].numpy()[10:50, 3:83]
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


# What a person may ask for --------------------------------------------------------------------------------------------


def test_a_tile_larger_than_the_picture_gives_the_picture_in_one_piece(fake_runtime, card):
    source = ImageSource.from_array(picture(120, 90))
    whole, tiled, large = (
        rendered(source, render_plan.plan_image(source, fake_runtime, card, wish), fake_runtime, card, wish)
        for wish in (CALM, Settings(denoise=1.0, tile=64), Settings(denoise=1.0, tile=4000))
    )
    np.testing.assert_array_equal(whole, large)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


@pytest.mark.parametrize("size", [(129, 67), (65, 64), (200, 3), (64, 130), (193, 71)])
@pytest.mark.parametrize("tile", [64, 65, 72, 128])
def test_sizes_of_tiles_agree_and_two_runs_are_equal(fake_runtime, card, monkeypatch, size, tile):
    """Sizes that leave a last tile a few rows wide are among them."""
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 100)
    source = ImageSource.from_array(picture(*size))
    results = []
    for wish in (Settings(tile=tile), Settings(tile=tile), Settings(tile=4000)):
        plan = render_plan.plan_image(source, fake_runtime, card, wish)
        results.append(rendered(source, plan, fake_runtime, card, wish).astype(int))
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[0] - results[2]).max() <= 1


def test_a_survey_does_not_depend_on_the_tiles(fake_runtime, card, monkeypatch):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    source = ImageSource.from_array(picture(300, 260))
    scenes = [
        render_plan.plan_image(source, fake_runtime, card, Settings(tile=tile)).scene_vector for tile in (None, 64, 512)
    ]
    np.testing.assert_array_equal(scenes[0], scenes[1])
    np.testing.assert_array_equal(scenes[0], scenes[2])


def test_rows_of_a_very_wide_picture_are_held_within_bounds(fake_runtime, card, monkeypatch):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 1000)
    monkeypatch.setattr(second_pass, "MAX_HELD_BYTES", 300 * 3 * 64)
    source = ImageSource.from_array(picture(200, 300))
    plan = render_plan.plan_image(source, fake_runtime, card, CALM)
    fake_runtime.calls.clear()
    low = rendered(source, plan, fake_runtime, card)
    assert max(height for _, _, height, _ in fake_runtime.calls) <= 64
    monkeypatch.setattr(second_pass, "MAX_HELD_BYTES", 10**9)
    assert np.abs(low.astype(int) - rendered(source, plan, fake_runtime, card)).max() <= 1


def test_night_is_a_share_of_the_proposal_and_exposure_adds_to_it(fake_runtime, card):
    source = ImageSource.from_array(picture(40, 60))
    day, night, brighter = (
        render_plan.plan_image(source, fake_runtime, card, wish).stops
        for wish in (Settings(), Settings(mood="night"), Settings(mood="night", exposure=0.5))
    )
    np.testing.assert_allclose(night, day * render_plan.NIGHT_SHARE)
    np.testing.assert_allclose(brighter, night + 0.5)


@pytest.mark.parametrize("size", [(60, 80), (150, 170)])
@pytest.mark.parametrize("wanted", [0.2, 0.5, 0.7])
def test_a_picture_is_matched_to_a_mean(fake_runtime, card, monkeypatch, size, wanted):
    monkeypatch.setattr(tiles, "MAX_ONE_PIECE_PX", 20_000)
    source = ImageSource.from_array(picture(*size))
    plan = render_plan.plan_image(source, fake_runtime, card, CALM, target_mean=wanted)
    assert rendered(source, plan, fake_runtime, card).mean() / 255 == pytest.approx(wanted, abs=0.01)


@pytest.mark.parametrize("tile", [None, 64])
def test_denoising_alone_leaves_the_mean_where_it_is(fake_runtime, card, tile):
    """The fake network brightens by what its scene lies over 0.3."""
    pixels = picture(150, 170)
    source, wish = ImageSource.from_array(pixels), Settings(keep_exposure=True, tile=tile)
    result = rendered(source, render_plan.plan_image(source, fake_runtime, card, wish), fake_runtime, card, wish)
    assert result.mean() == pytest.approx(pixels.mean(), rel=0.01)
    bare = Settings(denoise=1.0, exposure=-2)
    assert rendered(
        source, render_plan.plan_image(source, fake_runtime, card, bare), fake_runtime, card, bare
    ).mean() != (pytest.approx(pixels.mean(), rel=0.01))


@pytest.mark.parametrize("tile", [None, 64])
def test_black_borders_stay_black(fake_runtime, card, tile):
    """The fake network makes everything brighter, black too."""
    pixels = np.pad(picture(120, 90), ((50, 60), (40, 41), (0, 0)))
    source, wish = ImageSource.from_array(pixels), Settings(tile=tile, denoise=1.0)
    result = rendered(source, render_plan.plan_image(source, fake_runtime, card, wish), fake_runtime, card, wish)
    assert not result[:24].any()
    assert not result[-40:].any()
    assert not result[:, :16].any()
    assert result[60:160, 50:120].all()
