"""Dark and noisy twins: noise as the model states it, JPEG as libjpeg makes it, and the folder that `darken` writes."""

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from mirnet.datasets import low_light_synthesis
from mirnet.datasets.counter_rng import CounterRNG, Stream
from mirnet.datasets.darkened_folder import SyntheticPair, darken, photos_of
from mirnet.datasets.darkened_sheet import DarkenedSheet
from mirnet.datasets.low_light_synthesis import (
    GRAINS,
    Camera,
    Rendering,
    add_camera_noise,
    compress_as_drawn_jpeg,
    compress_as_jpeg,
    darken_images,
    photograph,
)
from mirnet.datasets.pair_store import PairStore
from mirnet.datasets.reading import find_photos
from mirnet.datasets.target_exposure import solve_stops
from mirnet.errors import DataError, SettingsError
from mirnet.images import open_image, read_image, write_image
from mirnet.pairs import find_pairs

pytestmark = pytest.mark.usefixtures("one_torch_thread")

Photo = NDArray[np.uint8] | NDArray[np.uint16]


def draws_of(count: int, seed: int = 0, step: int = 0) -> CounterRNG:
    return CounterRNG(seed, step, torch.arange(count))


def make_photo(seed: int, height: int = 60, width: int = 80) -> NDArray[np.uint8]:
    """Smooth light and shade with some texture, (height, width, 3)."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(30, 240, (5, 6, 3), dtype=np.uint8)).resize((width, height))
    return np.clip(np.asarray(coarse) + random.normal(0, 6, (height, width, 1)), 0, 255).astype(np.uint8)


def batch(*pictures: NDArray[np.uint8]) -> Tensor:
    return torch.stack([torch.from_numpy(picture.copy()).permute(2, 0, 1) / 255 for picture in pictures])


# --- the noise -------------------------------------------------------------------------------------------------------


def test_the_noise_has_the_variance_of_the_model_in_the_cameras_own_colours() -> None:
    levels, count = torch.tensor([0.02, 0.1, 0.3, 0.6]), 200
    draws = draws_of(count)
    camera = Camera.draw(draws, torch.zeros(count))
    steps = levels.repeat_interleave(16).expand(count, 3, 16, 64)  # columns of four greys
    noise = torch.einsum("bij,bjhw->bihw", camera.from_srgb, photograph(steps, camera, draws) - steps)
    free = low_light_synthesis.draw_grain_kind(draws) == GRAINS.index("free")
    white = camera.from_srgb.sum(2)  # of each channel, what a grey of 1 gives
    for number, level in enumerate(levels):
        measured = noise[free, :, :, 16 * number : 16 * (number + 1)].pow(2).mean((2, 3))
        stated = camera.shot[free, None] * level * white[free] + camera.read[free, None] ** 2
        assert (measured / stated).mean() == pytest.approx(1, abs=0.02)
        assert (measured / stated).std() < 0.15  # in every picture and channel, not in the mean alone


@pytest.mark.parametrize(("grain", "spread", "like_the_neighbour"), [
    ("free", (0.97, 1.03), (-0.03, 0.03)), ("interpolated", (0.73, 0.82), (0.38, 0.7)),
    ("coarse", (0.9, 1.0), (0.7, 0.8)),
])  # fmt: skip
def test_grain_is_as_fine_as_it_is_called(
    grain: str, spread: tuple[float, float], like_the_neighbour: tuple[float, float]
) -> None:
    draws = draws_of(60)
    noise = low_light_synthesis._draw_grain(draws, 41, 50)[
        low_light_synthesis.draw_grain_kind(draws) == GRAINS.index(grain)
    ]
    assert noise.shape[1:] == (3, 41, 50)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean((0, 2, 3)) / noise.pow(2).mean((0, 2, 3))
    assert ((spread[0] < noise.std((0, 2, 3))) & (noise.std((0, 2, 3)) < spread[1])).all()
    assert ((like_the_neighbour[0] < neighbours) & (neighbours < like_the_neighbour[1])).all()
    border = torch.cat([noise[..., :2, :], noise[..., -3:-1, :]], 2).std()  # two rows have all of the pattern
    assert float(border) == pytest.approx(float(noise.std()), rel=0.04)


def test_pictures_begin_at_any_pixel_of_the_grains_pattern() -> None:
    """Networks learn a single phase by heart, and then restore a picture worse that was cropped by one pixel."""
    draws = draws_of(400)
    noise, kind = low_light_synthesis._draw_grain(draws, 32, 32)[:, 0], low_light_synthesis.draw_grain_kind(draws)
    interpolated = noise[kind == GRAINS.index("interpolated")]  # red is strongest where it was measured
    strength = interpolated.unflatten(1, (16, 2)).unflatten(3, (16, 2)).pow(2).mean((1, 3)).flatten(1)
    begins = torch.bincount(strength.argmax(1), minlength=4) / len(interpolated)
    assert begins.tolist() == pytest.approx([0.25] * 4, abs=0.12)
    coarse = noise[kind == GRAINS.index("coarse")]  # two rows of one large pixel are more alike than neighbours
    even, odd = ((coarse[:, first + 1 : 31 : 2] - coarse[:, first:30:2]).pow(2).mean((1, 2)) for first in (0, 1))
    assert float((even < odd).float().mean()) == pytest.approx(0.5, abs=0.2)


def test_half_of_the_grain_is_free_and_more_of_the_rest_interpolated_than_coarse() -> None:
    shares = torch.bincount(low_light_synthesis.draw_grain_kind(draws_of(4000))) / 4000
    assert shares.tolist() == pytest.approx([0.3, 0.2, 0.5], abs=0.03)


def test_noise_loses_its_colour_and_keeps_its_luminance() -> None:
    noise = draws_of(3).normal(Stream.GRAIN, 3, 8, 8)
    none, half, whole = low_light_synthesis._scale_noise(noise, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.allclose(none, none[:1].expand(3, 8, 8))
    assert torch.allclose(whole, noise[2], atol=1e-6)
    luminance = torch.tensor([0.2126729, 0.7151522, 0.0721750])[:, None, None]
    assert torch.allclose((half * luminance).sum(0), (noise[1] * luminance).sum(0), atol=1e-5)
    assert torch.allclose(half[0] - half[1], (noise[1, 0] - noise[1, 1]) / 2, atol=1e-6)
    kept = low_light_synthesis.draw_noise_colour(draws_of(4000))
    assert (float(kept.min()), float(kept.max())) == pytest.approx((0, 1), abs=0.01)


def test_shot_and_read_noise_lie_on_the_published_line() -> None:
    """Brooks et al., section 3.1: 2.18 x + 1.20 +- 0.26 in natural logarithms of variances, shot noise up to 0.012."""
    camera = Camera.draw(draws_of(4000), torch.zeros(4000))
    assert 0.0115 < camera.shot.max() <= 0.012
    assert 1e-5 <= camera.shot.min() < 1.1e-5
    off = (2 * camera.read.log() - 2.18 * camera.shot.log() - 1.20) / 0.26
    assert float(off.mean()) == pytest.approx(0, abs=0.05)
    assert float(off.std()) == pytest.approx(1, abs=0.05)


def test_noise_that_would_hide_a_pushed_picture_is_not_drawn() -> None:
    for stops in (0.0, 4.0, 7.0):
        shot = Camera.draw(draws_of(2000), torch.full((2000,), stops)).shot
        assert float(shot.max()) == pytest.approx(min(0.012, 0.15 / 2**stops), rel=0.02)


def test_cameras_colours_lead_back_and_keep_grey() -> None:
    camera = Camera.draw(draws_of(500), torch.zeros(500))
    assert torch.allclose(camera.to_srgb @ camera.from_srgb, torch.eye(3).expand(500, 3, 3), atol=1e-4)
    assert torch.linalg.cond(camera.from_srgb).max() < 20  # noise is not blown up on the way back
    white = camera.from_srgb.sum(2)
    assert white[:, 1] == pytest.approx(1, abs=1e-5)
    assert ((white[:, 0] >= 1 / 2.4) & (white[:, 0] <= 1 / 1.9)).all()
    assert ((white[:, 2] >= 1 / 1.9) & (white[:, 2] <= 1 / 1.5)).all()
    silent = Camera(camera.from_srgb, camera.to_srgb, torch.zeros(500), torch.zeros(500))
    grey = torch.linspace(0, 1, 8).expand(500, 3, 1, 8)
    assert torch.allclose(photograph(grey, silent, draws_of(500)), grey, atol=1e-4)


def test_the_tone_curve_and_the_white_balance_vary_as_they_say() -> None:
    rendering = Rendering.draw(draws_of(4000), torch.full((4000,), 5.0))
    assert rendering.balance.mean(0) == pytest.approx(0, abs=0.02)
    assert rendering.balance.std(0) == pytest.approx(0.25, abs=0.01)
    assert rendering.curve.min() == pytest.approx(-0.3, abs=0.01)
    assert rendering.curve.max() == pytest.approx(0.6, abs=0.01)
    assert rendering.bend.std(0) == pytest.approx(math.hypot(0.2, 0.05), abs=0.01)
    beside = rendering.bend - rendering.bend.mean(1, keepdim=True)
    assert float(beside.std()) == pytest.approx(0.05 * math.sqrt(2 / 3), abs=0.003)
    pushed = rendering.black * 2**5
    assert pushed.mean(0) == pytest.approx(0, abs=0.002)
    assert float(pushed.std()) == pytest.approx(math.sqrt((0.04**2 - 0.001**2) / (2 * math.log(40))), rel=0.06)


def test_a_bent_tone_curve_changes_contrast_and_leaves_the_middle() -> None:
    ramp = torch.linspace(0, 0.2, 41).expand(2, 3, 1, 41)
    bent = low_light_synthesis._apply_exponent(ramp, torch.tensor([0.8, 1.25])[:, None, None, None])
    assert torch.equal(bent[:, :, :, [0, 20]], ramp[:, :, :, [0, 20]])
    assert (bent[0, 0, 0, 40] < 0.19) & (bent[1, 0, 0, 40] > 0.21)
    assert (bent.diff(dim=3) > 0).all()


# --- twins -----------------------------------------------------------------------------------------------------------


def test_a_dark_twin_is_darker_by_its_stops_in_the_mean() -> None:
    bright = batch(*[make_photo(seed, 40, 40) for seed in range(4)]).repeat(40, 1, 1, 1)
    for stops in (1.0, 3.0, 5.0, 7.0):
        twins = darken_images(bright, torch.full((160, 1, 1, 1), stops), draws_of(160))
        found = solve_stops(twins, bright)
        assert float(found.mean()) == pytest.approx(stops, abs=0.25)
        assert 0.1 < float(found.std()) < 1.0  # white balance and tone curve differ


def test_noisy_twins_are_as_bright_as_the_picture_and_half_of_them_gaussian() -> None:
    draws = draws_of(400)
    clean = torch.full((400, 3, 24, 24), 0.5)
    noise = add_camera_noise(clean, draws) - clean
    gaussian, sigma = low_light_synthesis.draw_sigma(draws)
    assert float(gaussian.float().mean()) == pytest.approx(0.5, abs=0.08)
    assert float(noise.mean()) == pytest.approx(0, abs=0.01)
    assert sigma.max() == pytest.approx(55 / 255, abs=0.005)
    measured = noise[gaussian].std((1, 2, 3))
    assert torch.allclose(measured, sigma[gaussian], rtol=0.1, atol=0.002)
    assert noise[~gaussian].std((1, 2, 3)).max() < 0.25


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (17, 30)])
def test_twins_are_8_bit_of_the_pictures_size_and_functions_of_seed_step_and_place(size: tuple[int, int]) -> None:
    bright = batch(*[make_photo(seed, *size) for seed in range(6)])
    stops = torch.full((6, 1, 1, 1), 2.0)
    makers: dict[str, Callable[[Tensor, CounterRNG], Tensor]] = {
        "dark": lambda x, draws: darken_images(x, stops[: len(x)], draws),
        "noisy": add_camera_noise,
        "jpeg": compress_as_drawn_jpeg,
    }
    for name, make in makers.items():
        whole = make(bright, draws_of(6))
        assert whole.shape == bright.shape
        assert torch.equal((whole * 255).round() / 255, whole), name
        assert whole.min() >= 0
        assert whole.max() <= 1
        assert torch.equal(whole, make(bright, draws_of(6))), name
        assert torch.allclose(make(bright[2:3], CounterRNG(0, 0, torch.tensor([2]))), whole[2:3], atol=1.01 / 255), name
        if size == (17, 30):
            assert not torch.equal(whole, make(bright, draws_of(6, seed=1))), name
            assert not torch.equal(whole, make(bright, draws_of(6, step=1))), name


# --- JPEG ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("quality", [25, 60, 75, 90, 98])
def test_jpeg_is_what_libjpeg_makes_of_it(quality: int, halved: bool) -> None:
    picture = make_photo(3, 64, 80)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "jpeg", quality=quality, subsampling=2 if halved else 0)
    theirs = np.asarray(Image.open(file)).astype(np.float32)
    made = [
        compress_as_jpeg(
            batch(picture), torch.tensor([float(quality)]), torch.tensor([choice]), torch.zeros(1, 2).long()
        )
        for choice in (halved, not halved)
    ]
    ours, other = (float(np.abs(theirs - each[0].permute(1, 2, 0).numpy() * 255).mean()) for each in made)
    assert ours < (0.75 if halved else 0.5)  # half a step of 255, and what rounding colour twice adds
    assert other > 1.5 * ours


def test_blocks_of_a_jpeg_begin_where_they_are_told_to() -> None:
    ramp = torch.linspace(0, 1, 60).expand(1, 3, 50, 60).contiguous()
    for shift in ((0, 0), (5, 3), (0, 14)):
        for picture, start in ((ramp, shift[1]), (ramp.mT.contiguous(), shift[0])):
            coarse = compress_as_jpeg(picture, torch.tensor([1.0]), torch.tensor([False]), torch.tensor([shift]))
            assert (coarse - picture).abs().mean() < 0.1  # it lies where it lay
            line = coarse[0, 1, 20] if picture is ramp else coarse[0, 1, :, 20]
            # of so coarse a ramp nothing but the blocks' means is left
            steps = line.diff().nonzero().flatten() + 1
            assert len(steps) >= 6
            assert {int(place + start) % 8 for place in steps} == {0}


def test_drawn_jpegs_have_the_qualities_that_they_say() -> None:
    quality, halved = low_light_synthesis.draw_jpeg_quality(draws_of(2000))
    assert quality.min() == 60
    assert quality.max() == 98
    assert float(halved.float().mean()) == pytest.approx(0.5, abs=0.05)


# --- the folder ------------------------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(("beach.png", "café.jpg", "dog.png")):
        write_image(folder / name, make_photo(seed, 30 + seed, 40))
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def made_of(photos: Path, folder: Path, **wish: Any) -> dict[str, bytes]:
    darken(find_photos(photos), folder, **wish)
    return content(folder)


def test_darken_makes_pairs_that_train_takes(photos: Path, tmp_path: Path) -> None:
    pairs = darken(find_photos(photos), tmp_path / "data")
    assert pairs == find_pairs(tmp_path / "data")
    assert [pair.name for pair in pairs] == ["beach", "café", "dog"]
    loaded = PairStore(pairs)
    loaded.solve_exposures()
    for pair in pairs:
        dark, bright = read_image(pair.dark), read_image(pair.bright)
        assert dark.mean() < 0.8 * bright.mean()
    about = json.loads((tmp_path / "data/darken.json").read_text())
    stops = [twin["stops"] for twin in about["twins"].values()]
    assert loaded.target_exposures is not None
    assert loaded.target_exposures.stops.numpy() == pytest.approx(
        stops, abs=1.2
    )  # noise at black, white balance and tone curve


def test_the_bright_picture_is_the_photo_and_mostly_a_little_duller(photos: Path, tmp_path: Path) -> None:
    for number in range(8):
        write_image(photos / f"{number}.png", make_photo(number, 8, 9))
    darken(find_photos(photos), tmp_path / "data")
    twins = json.loads((tmp_path / "data/darken.json").read_text())["twins"]
    for name, about in twins.items():
        if (photos / f"{name}.png").exists():
            photo, bright = read_image(photos / f"{name}.png"), read_image(tmp_path / f"data/high/{name}.png")
            luminance = photo @ np.array([0.2126, 0.7152, 0.0722])
            duller = luminance[..., None] + about["colour_kept"] * (photo - luminance[..., None])
            assert bright == pytest.approx(duller * about["dimmed_to"], abs=0.52)
    assert any(about["dimmed_to"] == about["colour_kept"] == 1 for about in twins.values())
    assert any(0.75 < about["dimmed_to"] < 0.95 and 0.3 < about["colour_kept"] < 1 for about in twins.values())


def test_equal_seeds_give_equal_files_and_others_others(photos: Path, tmp_path: Path) -> None:
    first = made_of(photos, tmp_path / "first")
    assert first == made_of(photos, tmp_path / "second")
    other = made_of(photos, tmp_path / "third", seed=1)
    assert first.keys() == other.keys()
    assert all(first[f"low/{name}.png"] != other[f"low/{name}.png"] for name in ("beach", "café", "dog"))


def test_a_twin_depends_on_no_other_photo(photos: Path, tmp_path: Path) -> None:
    before = made_of(photos, tmp_path / "before")
    write_image(photos / "a first one.png", make_photo(9))
    after = made_of(photos, tmp_path / "after")
    assert {name: after[name] for name in before if name != "darken.json"} == {
        name: file for name, file in before.items() if name != "darken.json"
    }


def test_stops_lie_where_they_are_asked_for(photos: Path, tmp_path: Path) -> None:
    darken(find_photos(photos), tmp_path / "data", stops=(2.0, 2.5))
    about = json.loads((tmp_path / "data/darken.json").read_text())
    assert about["stops"] == [2.0, 2.5]
    assert all(2.0 <= twin["stops"] <= 2.5 for twin in about["twins"].values())


def test_noise_only_keeps_photo_and_brightness(photos: Path, tmp_path: Path) -> None:
    for pair in darken(find_photos(photos), tmp_path / "data", noise_only=True):
        dark, bright = read_image(pair.dark).astype(float), read_image(pair.bright)
        assert dark.mean() == pytest.approx(bright.mean(), abs=4)
        assert (dark != bright).any()
    assert (read_image(tmp_path / "data/high/beach.png") == read_image(photos / "beach.png")).all()


def test_a_sigma_is_that_of_the_noise(photos: Path, tmp_path: Path) -> None:
    write_image(photos / "grey.png", np.full((100, 100, 3), 128, np.uint8))
    darken(find_photos(photos), tmp_path / "data", noise_only=True, sigma=25)
    noisy = read_image(tmp_path / "data/low/grey.png").astype(float)
    assert noisy.std() == pytest.approx(25, rel=0.03)
    assert json.loads((tmp_path / "data/darken.json").read_text())["twins"]["grey"]["gaussian_sigma"] == 25


def test_what_was_drawn_is_written_down(photos: Path, tmp_path: Path) -> None:
    darken(find_photos(photos), tmp_path / "data", seed=5)
    about = json.loads((tmp_path / "data/darken.json").read_text())
    assert about["seed"] == 5
    twin = about["twins"]["café"]
    assert (twin["photo"], twin["width"], twin["height"]) == ("café.jpg", 40, 31)
    assert {
        "stops",
        "shot_variance_per_signal",
        "read_spread",
        "grain",
        "noise_colour_kept",
        "tone_curve",
        "white_balance_stops",
    } <= set(twin)
    seen: list[SyntheticPair] = []
    darken(find_photos(photos), tmp_path / "noisy", noise_only=True, seen=seen.append)
    about = json.loads((tmp_path / "noisy/darken.json").read_text())
    for each in seen:
        noise = each.dark.astype(float) - each.bright
        said = about["twins"][each.name]
        if "gaussian_sigma" in said:
            assert noise.std() == pytest.approx(said["gaussian_sigma"], rel=0.15, abs=0.5)


def test_grey_16_bit_and_tiny_photos_have_twins(photos: Path, tmp_path: Path) -> None:
    write_image(photos / "grey.png", make_photo(4)[..., 0])
    write_image(photos / "deep.png", make_photo(5).astype(np.uint16) * 257)
    write_image(photos / "dot.png", np.full((1, 1, 3), 200, np.uint8))
    pairs = darken(find_photos(photos), tmp_path / "data")
    headers = {pair.name: [open_image(side).header for side in (pair.dark, pair.bright)] for pair in pairs}
    assert [header.depth for header in headers["deep"]] == [8, 16]
    assert [header.channels for header in headers["grey"]] == [3, 3]
    assert [(header.width, header.height) for header in headers["dot"]] == [(1, 1), (1, 1)]
    PairStore(pairs).solve_exposures()


def test_a_photo_that_cannot_be_used_is_named_and_the_others_go_on(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes((photos / "dog.png").read_bytes()[:-500])
    (photos / "dog.cr2").write_bytes(b"a camera's raw file, which we cannot read")
    write_image(photos / "clear.png", np.dstack([make_photo(0), make_photo(1)[..., 0]]))
    left_out: list[DataError] = []
    pairs = darken(find_photos(photos), tmp_path / "data", left_out=left_out.append)
    assert (
        [pair.name for pair in pairs]
        == ["beach", "café", "dog"]
        == [pair.name for pair in find_pairs(tmp_path / "data")]
    )
    assert {Path(str(error).split(":")[0]).name for error in left_out} == {"broken.png", "dog.cr2", "clear.png"}
    with pytest.raises(DataError, match=r"clear\.png: has an alpha channel"):
        darken(find_photos(photos), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_without_a_photo_that_can_be_used_there_is_no_folder(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none/note.jpg").write_text("no picture")
    with pytest.raises(DataError, match="None of the 1 photos"):
        darken(find_photos(tmp_path / "none"), tmp_path / "data", left_out=lambda error: None)
    assert not (tmp_path / "data").exists()


def test_photos_of_one_stem_are_refused(photos: Path, tmp_path: Path) -> None:
    write_image(photos / "Beach.jpg", make_photo(7))
    with pytest.raises(DataError, match=r"Beach\.jpg and .*beach\.png have one stem.*rename"):
        darken(find_photos(photos), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_folder_with_anything_in_it_is_left_alone(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    darken(find_photos(photos), tmp_path / "data")  # an empty one is fine
    before = content(tmp_path / "data")
    with pytest.raises(SettingsError, match="is not empty"):
        darken(find_photos(photos), tmp_path / "data", seed=1)
    assert content(tmp_path / "data") == before
    with pytest.raises(SettingsError, match="is a file"):
        darken(find_photos(photos), photos / "dog.png")
    darken(find_photos(photos), tmp_path / "data", seed=1, overwrite=True)
    assert content(tmp_path / "data").keys() == before.keys()
    assert content(tmp_path / "data") != before


def test_pairs_among_the_photos_are_refused(photos: Path) -> None:
    for inside in (photos, photos / "data", photos.parent / "other" / ".." / "photos" / "deep" / "data"):
        with pytest.raises(DataError, match="lies among the photos"):
            photos_of(photos, inside)


@pytest.mark.parametrize(("wish", "wrong"), [
    ({"stops": (3.0, 2.0)}, "the lower first, not 3 and 2"), ({"stops": (0.0, 11.0)}, "from 0 to 10"),
    ({"stops": (1.0, float("nan"))}, "from 0 to 10"), ({"stops": (1.0, 2.0), "noise_only": True}, "noise alone has no"),
    ({"sigma": 25.0}, "--noise-only"), ({"sigma": -1.0, "noise_only": True}, "sigma is a number"),
    ({"seed": -1}, "seed"),
])  # fmt: skip
def test_wishes_that_cannot_be_are_refused_together(
    photos: Path, tmp_path: Path, wish: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(SettingsError, match=wrong):
        darken(find_photos(photos), tmp_path / "data", **wish)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("there", [True, False])
def test_what_stops_half_way_leaves_nothing_behind(photos: Path, tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "data").mkdir()

    def stop(done: float) -> None:
        assert list((tmp_path / "data").glob(".mirnet-*/low/*.png"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        darken(find_photos(photos), tmp_path / "data", progress=stop)
    assert (tmp_path / "data").exists() == there
    assert not there or not list((tmp_path / "data").iterdir())


def test_what_was_killed_half_way_is_not_taken_for_pairs(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(draft: Path, folder: Path, overwrite: bool) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mirnet.datasets.darkened_folder._move", killed)
    monkeypatch.setattr(shutil, "rmtree", lambda *ignored, **also: None)  # nobody tidies up after a killed process
    with pytest.raises(KeyboardInterrupt):
        darken(find_photos(photos), tmp_path / "data")
    assert len(list((tmp_path / "data").rglob("*.png"))) == 6
    with pytest.raises(DataError):
        find_pairs(tmp_path / "data")
    monkeypatch.undo()
    with pytest.raises(SettingsError, match="is not empty"):
        darken(find_photos(photos), tmp_path / "data")
    darken(find_photos(photos), tmp_path / "data", overwrite=True)
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["darken.json", "high", "low"]


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_pairs_and_a_sheet(command: Callable[..., Any], photos: Path, tmp_path: Path) -> None:
    before = content(photos)
    done = command("data", "darken", photos, "-o", tmp_path / "data", "--sheet", tmp_path / "sheet.png", "--seed", 3,
                   "--stops", 2, 4)  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "3 pairs" in done.out
    assert content(photos) == before
    pairs = darken(find_photos(photos), tmp_path / "again", seed=3, stops=(2.0, 4.0))
    assert len(pairs) == 3
    assert content(tmp_path / "data") == content(tmp_path / "again")
    sheet = read_image(tmp_path / "sheet.png")
    assert sheet.shape[1] >= 5 * 240
    assert sheet.shape[0] > 3 * 60
    refused = command("data", "darken", photos, "-o", tmp_path / "other", "--sheet", tmp_path / "sheet.png")
    assert refused.code == 2
    assert "is not replaced" in refused.err
    assert not (tmp_path / "other").exists()


def test_the_commands_noisy_pairs_can_be_trained_on_and_evaluated(
    command: Callable[..., Any], photos: Path, tmp_path: Path, fake_networks: None, fake_weights: Callable[..., Path]
) -> None:
    done = command("data", "darken", photos, "-o", tmp_path / "data", "--noise-only", "--sigma", 25,
                   "--sheet", tmp_path / "sheet.png")  # fmt: skip
    assert done.code == 0
    assert read_image(tmp_path / "sheet.png").shape[1] >= 4 * 240
    weights = fake_weights()
    done = command("evaluate", tmp_path / "data", "--weights", weights, "--keep-exposure", "--denoise", 1, "--json")
    assert done.code == 0, done.err
    before = json.loads(done.out)["means"]["psnr_input"]["mean"]
    assert before == pytest.approx(20.3, abs=0.5)  # 20 log10(255 / 25), a little more where noise is clipped


def test_the_command_names_what_it_leaves_out(command: Callable[..., Any], photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes((photos / "dog.png").read_bytes()[:-500])
    done = command("data", "darken", photos, "-o", tmp_path / "data")
    assert done.code == 1
    assert "broken.png" in done.err
    assert "3 pairs, 1 photos left out" in done.out
    assert len(find_pairs(tmp_path / "data")) == 3


def test_the_sheet_shows_eight_twins_evenly_and_noise_pixel_for_pixel(tmp_path: Path) -> None:
    sheet = DarkenedSheet(20)
    grey = np.full((3, 600, 800), 128, np.uint8)
    checks = grey + (np.indices((600, 800)).sum(0) % 2 * 40).astype(np.uint8)
    for number in range(20):
        sheet.add(SyntheticPair(f"{number}", grey, checks if number == 17 else grey, {"gaussian_sigma": 20.0}))
    sheet.save(tmp_path / "sheet.png")
    picture = read_image(tmp_path / "sheet.png")
    assert len(picture) == 8 * 280  # a title, captions, and a detail of 240 px
    rows = picture.reshape(8, 280, -1, 3)[:, 40:280]
    small, detail = rows[:, :, 326:640], rows[:, :, 2 * 326 + 246 : 2 * 326 + 486]
    noisy = [number * 20 // 8 for number in range(8)].index(17)
    assert detail.std((1, 2, 3)).nonzero()[0].tolist() == [noisy]
    assert detail[noisy].std() == pytest.approx(20)
    assert small[noisy].std() < 12  # a mean of several pixels
