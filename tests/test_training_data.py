"""What training is fed: pictures from disk to batches, and the split by scene."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mirnet.datasets import pair_store, scene_split, target_exposure
from mirnet.datasets.counter_rng import CounterRNG, Stream
from mirnet.datasets.low_light_synthesis import darken_images
from mirnet.datasets.pair_store import PairStore
from mirnet.datasets.reading import read_photo, read_rgb
from mirnet.errors import DataError, TrainingError
from mirnet.exposure import expose
from mirnet.images import write_image
from mirnet.network import Lite, LiteConfig
from mirnet.network.lite import AUGMENTED_VIEWS, apply_dead_zone
from mirnet.pairs import Pair
from mirnet.training import batches, exposure_head, recipes
from mirnet.training.batches import CropMix, make_dimensions_uniform, normalise


def make_batch(pairs: PairStore, *arguments: Any, **options: Any) -> batches.Batch:
    """A batch of crops of the pairs, uniform and normalised."""
    return batches.make_batch(normalise(make_dimensions_uniform(pairs)), *arguments, **options)


CPU = torch.device("cpu")
Image = NDArray[np.uint8] | NDArray[np.uint16]


def scene(seed: int, height: int = 40, width: int = 56) -> NDArray[np.uint8]:
    """A picture of large patches, (height, width, 3)."""
    patches = np.random.default_rng(seed).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return patches.repeat(8, 0).repeat(8, 1)[:height, :width]


@pytest.fixture
def pair(tmp_path: Path) -> Callable[..., Pair]:
    """`pair(name, dark, bright)` writes both pictures and gives the pair."""

    def write(name: str, dark: Image, bright: Image, suffix: str = ".png") -> Pair:
        paths = [tmp_path / side / (name + suffix) for side in ("low", "high")]
        for path, picture in zip(paths, (dark, bright), strict=True):
            path.parent.mkdir(exist_ok=True)
            write_image(path, picture)
        return Pair(name, *paths)

    return write


@pytest.fixture
def pairs(pair: Callable[..., Pair]) -> list[Pair]:
    """Four pairs of different sizes; the dark value is a quarter of the bright one."""
    bright = [scene(seed, 40 + 8 * seed, 56) for seed in range(4)]
    return [pair(str(number), picture // 4, picture) for number, picture in enumerate(bright)]


# --- pictures --------------------------------------------------------------------------------------------------------


def test_grey_becomes_rgb(pair: Callable[..., Pair]) -> None:
    grey = pair("grey", scene(0)[..., 0] // 4, scene(0)[..., 0])
    pixels = read_rgb(grey.bright)
    assert pixels.shape == (3, 40, 56)
    assert (pixels == scene(0)[..., 0]).all()


def test_an_alpha_channel_is_refused_by_name(pair: Callable[..., Pair]) -> None:
    alpha = np.dstack([scene(0), scene(1)[..., 0]])
    with pytest.raises(DataError, match=r"high/clear\.png: has an alpha channel"):
        PairStore([pair("clear", scene(0), alpha)])


def test_pictures_of_different_size_are_refused_by_name(pair: Callable[..., Pair]) -> None:
    with pytest.raises(DataError, match=r"low/odd\.png and .*high/odd\.png: .* 56x40 and 48x40"):
        PairStore([pair("odd", scene(0), scene(0)[:, :48])])


def test_a_damaged_picture_is_refused_by_name(pairs: list[Pair]) -> None:
    whole = pairs[2].dark.read_bytes()
    pairs[2].dark.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"low/2\.png"):
        PairStore(pairs)


def test_large_photos_are_halved(tmp_path: Path) -> None:
    write_image(tmp_path / "photo.png", np.full((1025, 1027, 3), 200, np.uint8))
    assert read_photo(tmp_path / "photo.png").shape == (3, 512, 513)
    assert (read_photo(tmp_path / "photo.png") == 200).all()


# --- memory ----------------------------------------------------------------------------------------------------------


def test_pictures_that_do_not_fit_give_the_same_batches(
    pairs: list[Pair], pair: Callable[..., Pair], tmp_path: Path
) -> None:
    deep = scene(7).astype(np.uint16) * 200
    pairs.append(pair("deep", deep // 4, deep))  # 16 bit beside 8 bit
    write_image(tmp_path / "photo.png", scene(9, 48, 48))
    resident = PairStore(pairs, [tmp_path / "photo.png"])
    reread = PairStore(pairs, [tmp_path / "photo.png"], memory_bytes=1000)
    assert resident.resident
    assert not reread.resident
    for loaded in (resident, reread):
        loaded.solve_exposures()
    for step in range(5):
        a, b = (
            make_batch(p, 0, step, CPU, crop=24, index=range(6), crop_mix=recipes.LITE.crop_mix)
            for p in (resident, reread)
        )
        assert all(torch.equal(x, y) for x, y in zip((*a.inputs, a.target), (*b.inputs, b.target), strict=True))


def test_pictures_in_memory_are_integers(pairs: list[Pair], pair: Callable[..., Pair]) -> None:
    loaded = PairStore(pairs)
    flat, _ = loaded.fetch(torch.tensor([0]), CPU)
    assert flat.values.dtype == torch.uint8
    assert flat.values.nbytes == pair_store.bytes_needed(loaded.shapes) == 2 * 3 * 56 * (40 + 48 + 56 + 64)
    assert all((loaded.picture(place) == read_rgb(pair.dark)).all() for place, pair in enumerate(pairs))
    deep = scene(7).astype(np.uint16) * 200
    assert (PairStore([pair("deep", deep // 4, deep)]).picture(1) == deep.transpose(2, 0, 1)).all()


def test_the_memory_limit_is_at_most_16_gib() -> None:
    assert 0 < pair_store.memory_limit() <= 16 * 2**30


def test_a_picture_that_vanishes_half_way_stops_with_its_name(pairs: list[Pair]) -> None:
    reread = PairStore(pairs, memory_bytes=0)
    pairs[1].bright.unlink()
    with pytest.raises(TrainingError, match=r"high/1\.png.*resume"):
        reread.fetch(torch.tensor([0, len(pairs) + 1]), CPU)


# --- batches ---------------------------------------------------------------------------------------------------------


def test_dark_and_bright_are_cut_alike(pairs: list[Pair]) -> None:
    batch = make_batch(PairStore(pairs), 0, 3, CPU, crop=24, index=range(16), takes_exposure=False)
    (dark,) = batch.inputs
    assert dark.shape == batch.target.shape == (16, 3, 24, 24)
    assert torch.equal((batch.target * 255).round() // 4, (dark * 255).round())
    assert len({crop.numpy().tobytes() for crop in batch.target}) > 8


def test_every_draw_is_a_function_of_seed_step_and_place(pairs: list[Pair]) -> None:
    loaded = PairStore(pairs)
    loaded.solve_exposures()

    def targets(seed: int, step: int, index: range) -> torch.Tensor:
        return make_batch(loaded, seed, step, CPU, crop=24, index=index, crop_mix=recipes.LITE.crop_mix).target

    whole = targets(1, 2, range(8))
    assert torch.equal(whole, targets(1, 2, range(8)))
    assert torch.allclose(whole, torch.cat([targets(1, 2, range(3)), targets(1, 2, range(3, 8))]), atol=1e-6)
    assert not torch.equal(whole, targets(2, 2, range(8)))
    assert not torch.equal(whole, targets(1, 3, range(8)))


def test_crops_are_flipped_and_turned_all_eight_ways(pair: Callable[..., Pair]) -> None:
    square = scene(0, 16, 16)
    loaded = PairStore([pair("square", square // 4, square)])
    target = make_batch(loaded, 0, 0, CPU, crop=16, index=range(200), takes_exposure=False).target
    seen = {(crop.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy().tobytes() for crop in target}
    turned = [np.rot90(flipped, turns) for flipped in (square, square[::-1]) for turns in range(4)]
    assert seen == {np.ascontiguousarray(picture).tobytes() for picture in turned}


def test_pictures_smaller_than_the_crop_are_padded_by_reflection(pair: Callable[..., Pair]) -> None:
    small = scene(0, 10, 7)
    loaded = PairStore([pair("small", small // 4, small)])
    target = make_batch(loaded, 0, 0, CPU, crop=16, index=range(64), takes_exposure=False).target
    padded = np.pad(small, ((0, 6), (0, 9), (0, 0)), mode="reflect")
    seen = {(crop.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy().tobytes() for crop in target}
    assert padded.tobytes() in seen
    assert len(seen) <= 8


def test_a_picture_of_one_pixel_is_repeated(pair: Callable[..., Pair]) -> None:
    dot = np.full((1, 1, 3), 80, np.uint8)
    batch = make_batch(
        PairStore([pair("dot", dot // 4, dot)]), 0, 0, CPU, crop=16, index=range(2), takes_exposure=False
    )
    assert torch.equal(batch.target, torch.full((2, 3, 16, 16), 80 / 255))


# --- exposure --------------------------------------------------------------------------------------------------------


def test_the_truths_stops_are_found() -> None:
    bright = (scene(3, 80, 120).astype(np.float64) * 0.6 + 40) / 255
    dark = expose(bright, -3.0)
    found = target_exposure.solve_target_exposure(
        *((picture * 65535).round().astype(np.uint16).transpose(2, 0, 1) for picture in (dark, bright))
    )
    assert found.stops == pytest.approx(3.0, abs=0.05)
    assert found.size == (8, 12)
    assert found.cells[:8, :12] == pytest.approx(3.0, abs=0.1)


def test_plain_and_paper_feed_the_truths_stops_and_the_truth(pairs: list[Pair]) -> None:
    loaded = PairStore(pairs)
    loaded.solve_exposures()
    assert loaded.target_exposures is not None
    assert recipes.PLAIN.crop_mix == recipes.PAPER.crop_mix == CropMix()
    batch = make_batch(loaded, 0, 0, CPU, crop=24, index=range(8))
    exposed, stops = batch.inputs
    assert set(stops.flatten().tolist()) <= set(loaded.target_exposures.stops.tolist())
    as_it_is = make_batch(loaded, 0, 0, CPU, crop=24, index=range(8), takes_exposure=False)
    assert torch.allclose(batch.target, as_it_is.target, atol=1e-6)  # exposed by 0 stops
    assert exposed.mean() > 2 * as_it_is.inputs[0].mean()


def test_lite_feeds_the_shares_that_it_says(pairs: list[Pair], tmp_path: Path) -> None:
    write_image(tmp_path / "photo.png", np.full((32, 32, 3), 128, np.uint8))  # known by its even grey
    loaded = PairStore(pairs, [tmp_path / "photo.png"])
    loaded.solve_exposures()
    crop_mix = CropMix(real=0.70, bright=0.12, darkened=0.18, local=True)
    batch = make_batch(loaded, 0, 0, CPU, crop=16, index=range(600), crop_mix=crop_mix)
    of_photo = batch.pictures == 2 * len(pairs)
    darkened = of_photo & (batch.inputs[1].amax((1, 2, 3)) != 0)
    assert batch.real == int((~of_photo).sum())
    assert (of_photo & ~darkened).float().mean() == pytest.approx(0.12, abs=0.04)
    assert darkened.float().mean() == pytest.approx(0.18, abs=0.05)
    assert torch.equal(batch.inputs[0][of_photo & ~darkened], batch.target[of_photo & ~darkened])


def test_the_target_obeys_the_exposure_error(pairs: list[Pair]) -> None:
    loaded = PairStore(pairs)
    loaded.solve_exposures()
    assert loaded.target_exposures is not None
    plain = make_batch(loaded, 0, 0, CPU, crop=24, index=range(8))
    moved = make_batch(loaded, 0, 0, CPU, crop=24, index=range(8), crop_mix=CropMix(jitter_stops=0.4))
    error = (moved.inputs[1] - plain.inputs[1])[:, 0, 0, 0]
    assert error.std() > 0.1
    for before, after, stops in zip(plain.target, moved.target, error.tolist(), strict=True):
        assert after.numpy() == pytest.approx(expose(before.numpy(), stops), abs=1e-4)


def test_local_stops_lie_between_the_number_and_the_map(pairs: list[Pair]) -> None:
    loaded = PairStore(pairs)
    loaded.solve_exposures()
    assert loaded.target_exposures is not None
    stops = make_batch(loaded, 0, 0, CPU, crop=24, index=range(8), crop_mix=CropMix(local=True)).inputs[1]
    assert stops.std((1, 2, 3)).max() > 0.01
    assert stops.min() >= loaded.target_exposures.maps.min()
    assert stops.max() <= max(loaded.target_exposures.maps.max(), loaded.target_exposures.stops.max())


def test_a_dark_twin_is_the_picture_darker_and_noisy() -> None:
    bright = torch.full((64, 3, 24, 24), 0.5)
    twin = darken_images(bright, torch.full((64, 1, 1, 1), 3.0), CounterRNG(0, 0, torch.arange(64)))
    assert float(twin.mean()) == pytest.approx(float(expose(np.array([0.5]), -3.0)[0]), abs=0.02)
    assert twin.std((1, 2, 3)).min() > 0
    assert torch.equal((twin * 255).round() / 255, twin)


def test_exposure_is_asked_for_before_it_is_fed(pairs: list[Pair]) -> None:
    with pytest.raises(DataError, match="solve"):
        make_batch(PairStore(pairs), 0, 0, CPU, crop=24, index=range(2))


def test_the_heads_batches_are_functions_of_seed_and_step(pairs: list[Pair]) -> None:
    loaded = PairStore(pairs)
    loaded.solve_exposures()
    groups = exposure_head.collect_thumbnails(loaded)
    assert sum(len(group.dark) for group in groups) == sum(len(group.bright) for group in groups) == 4
    thumbnails, cells = exposure_head.head_batch(groups, 0, 5, CPU)
    again, _ = exposure_head.head_batch(groups, 0, 5, CPU)
    assert torch.equal(thumbnails, again)
    assert thumbnails.shape[2] == 8 * cells.shape[2]
    assert thumbnails.min() >= 0
    assert thumbnails.max() <= 1


def test_darker_thumbnails_are_by_their_stops_darker() -> None:
    thumbnails = torch.rand(6, 3, 16, 24) / 2
    darkened, stops = exposure_head.darken_thumbnails(thumbnails, 0, 7)
    assert (stops.min() >= 0.1) & (stops.max() <= 1) & (len(set(stops.tolist())) == 6)
    for before, after, step in zip(thumbnails, darkened, stops.tolist(), strict=True):
        assert after.numpy() == pytest.approx(expose(before.numpy(), -step), abs=1e-5)
    assert torch.equal(exposure_head.darken_thumbnails(thumbnails, 0, 7)[0], darkened)
    assert not torch.equal(exposure_head.darken_thumbnails(thumbnails, 0, 8)[1], stops)


def test_a_proposal_shall_rise_as_a_picture_darkens_and_no_faster() -> None:
    stops = torch.tensor([0.5, 1.0])
    asked = torch.tensor([1.0, 2.0])[:, None, None, None].expand(2, 1, 2, 3)
    for rise, loss in ((0.0, 0.0), (0.4, 0.0), (1.0, 0.0), (1.5, 0.5), (-0.25, 0.25)):
        after = asked + rise * stops[:, None, None, None]
        assert float(exposure_head.slope_loss(asked, after, stops)) == pytest.approx(loss, abs=1e-6)


def test_two_of_the_heads_views_are_looked_at_and_their_contradiction_costs() -> None:
    torch.manual_seed(0)
    network, thumbnails = Lite(LiteConfig(features=8, head_features=4)), torch.rand(3, 3, 16, 24)
    with torch.no_grad():
        asked = exposure_head.propose_two_views(network.head, thumbnails, 0, 7)
        every = torch.stack([view.undo(network.head.propose_raw(view.of(thumbnails))) for view in AUGMENTED_VIEWS])
        found = [[bool(torch.allclose(look, each, atol=1e-6)) for each in every].index(True) for look in asked]
        assert found[0] != found[1]
        assert torch.equal(exposure_head.propose_two_views(network.head, thumbnails, 0, 7), asked)
        seen = {
            float(exposure_head.propose_two_views(network.head, thumbnails, 0, step)[0].mean()) for step in range(64)
        }
    assert len(seen) == len(AUGMENTED_VIEWS)
    assert float(exposure_head.consistency_loss(asked)) > 0
    assert float(exposure_head.consistency_loss(asked[:1].expand(2, -1, -1, -1, -1))) == 0
    apart = torch.tensor([1.0, 1.5])[:, None, None, None, None].expand(2, 3, 1, 2, 3)
    assert float(exposure_head.consistency_loss(apart)) == pytest.approx(0.5 * exposure_head.CONSISTENCY_WEIGHT)


@pytest.mark.parametrize("seed", range(6))
def test_a_new_head_can_begin_to_learn(seed: int) -> None:
    """Proposals near 0 are taken for none, and have no slope: a head that began there stayed there."""
    torch.manual_seed(seed)
    network = Lite(LiteConfig(features=8))
    proposed = apply_dead_zone(network.head.propose_raw(torch.rand(8, 3, 64, 96) / 4), exposure_head.DEAD_ZONE_STOPS)
    exposure_head.head_loss(proposed, 8 * torch.rand_like(proposed)).backward()
    assert 1 < float(proposed.detach().mean()) < 3
    assert all(p.grad is not None and float(p.grad.norm()) > 1e-4 for p in network.head.parameters())


def test_streams_of_random_numbers_keep_their_values() -> None:
    """A changed value would change what every seed draws."""
    values = [
        0,
        *range(2, 8),
        9,
        *range(20, 25),
        *range(100, 114),
        *range(200, 205),
        *range(210, 218),
        *range(220, 223),
    ]
    values += [*range(230, 234), *range(240, 243)]
    assert [stream.value for stream in Stream] == values
    assert (Stream.CROP_KIND, Stream.STOPS_DARKER, Stream.HEAD_KIND, Stream.SHOT_NOISE, Stream.GRAIN) == (
        0,
        4,
        101,
        203,
        230,
    )


def test_draws_are_uniform_normal_and_independent_of_the_rest_of_the_batch() -> None:
    draws = CounterRNG(3, 4, torch.arange(20_000))
    uniform, normal = draws.uniform(Stream.CROP_KIND), draws.normal(Stream.EXPOSURE_JITTER)
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(uniform.min()) > 0
    assert float(normal.mean()) == pytest.approx(0, abs=0.03)
    assert float(normal.std()) == pytest.approx(1, abs=0.03)
    assert torch.equal(CounterRNG(3, 4, torch.tensor([17])).uniform(Stream.CROP_KIND), uniform[17:18])
    assert set(draws.below(Stream.CLEAN_IMAGE, torch.full((20_000,), 3)).tolist()) == {0, 1, 2}


# --- the split -------------------------------------------------------------------------------------------------------


def photograph(seed: int) -> NDArray[np.uint8]:
    """Smooth light and shade, (90, 120, 3): what a difference hash is made for."""
    coarse = np.random.default_rng(seed).random((5, 6, 3))
    rows, columns = np.linspace(0, 3.999, 90), np.linspace(0, 4.999, 120)
    r, c = rows.astype(int), columns.astype(int)
    across = coarse[:, c] + (coarse[:, c + 1] - coarse[:, c]) * (columns - c)[:, None]
    smooth = across[r] + (across[r + 1] - across[r]) * (rows - r)[:, None, None]
    return (smooth * 255).astype(np.uint8)


def test_near_duplicates_never_straddle_the_split(pair: Callable[..., Pair]) -> None:
    everything = []
    for number in range(12):
        picture = photograph(number)
        copies = {
            "a": picture,
            "b": picture[:, ::-1],
            "c": (picture * 0.9 + 10).astype(np.uint8),
            "d": picture[::2, ::2],
        }
        for letter, copy in copies.items():
            suffix = ".jpg" if letter == "c" else ".png"
            everything.append(pair(f"{number}{letter}", copy // 4, np.ascontiguousarray(copy), suffix))
    found = scene_split.scenes(everything)
    assert sorted(len(scene) for scene in found) == [4] * 12
    training, validation = scene_split.split_by_scene(everything)
    assert len(training) + len(validation) == 48
    assert len(validation) == 4  # a tenth, in whole scenes
    assert not {pair.name[:-1] for pair in training} & {pair.name[:-1] for pair in validation}


def test_a_split_follows_from_the_names(pair: Callable[..., Pair]) -> None:
    everything = [pair(f"scene {number}", photograph(number) // 4, photograph(number)) for number in range(20)]
    split = scene_split.split_by_scene(everything)
    assert scene_split.split_by_scene(everything) == split
    assert [len(side) for side in split] == [18, 2]


def test_one_scene_is_not_divided(pair: Callable[..., Pair]) -> None:
    everything = [pair(name, photograph(0) // 4, photograph(0)) for name in "ab"]
    assert scene_split.split_by_scene(everything) == (everything, [])
