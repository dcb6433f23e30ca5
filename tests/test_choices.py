"""The choices of a recipe do what they say: losses, the crop mix, weights to begin with, the check."""

import itertools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mirnet import network
from mirnet.datasets.pair_store import PairStore
from mirnet.errors import DataError, SettingsError, WeightsError
from mirnet.images import write_image
from mirnet.network import LiteConfig, MIRNetConfig, checkpoints
from mirnet.pairs import Pair
from mirnet.training import batches, losses, overfit_check, pipeline, recipes, sources, warm_start
from mirnet.training.batches import CropMix, make_dimensions_uniform, normalise
from mirnet.training.runs import figures, progress_strip
from mirnet.training.runs.folder import RunFolder
from mirnet.training.settings import TrainSettings


def make_batch(pairs: PairStore, *arguments: Any, **options: Any) -> batches.Batch:
    """A batch of crops of the pairs, uniform and normalised."""
    return batches.make_batch(normalise(make_dimensions_uniform(pairs)), *arguments, **options)


CPU = torch.device("cpu")
RECIPE = recipes.change_recipe(recipes.PLAIN, recipes.RecipeChanges(crop=16, batch=4, lr=1e-3))
SHORT = TrainSettings(recipe=RECIPE, steps=2, head_steps=0, validate_steps=10, device="cpu", threads=1)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(network.PRESETS, "lite", LiteConfig(features=8, head_features=2))
    monkeypatch.setitem(network.PRESETS, "paper", MIRNetConfig(features=8, rrgs=1, mrbs=1))
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    monkeypatch.setattr(progress_strip, "save_crops", lambda *_: None)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data` with six pairs of patches, `photos` with five of the bright ones."""
    folder = tmp_path_factory.mktemp("choices")
    for side in ("data/low", "data/high", "photos"):
        (folder / side).mkdir(parents=True)
    for number in range(6):
        patches = np.random.default_rng(number).integers(30, 250, (4, 5, 3), dtype=np.uint8)
        bright = patches.repeat(8, 0).repeat(8, 1)
        write_image(folder / f"data/low/{number}.png", bright // 6)
        write_image(folder / f"data/high/{number}.png", bright)
        if number:
            write_image(folder / f"photos/{number}.png", bright)
    return folder


@pytest.fixture
def pairs(pictures: Path) -> PairStore:
    loaded = PairStore(
        [Pair(str(n), pictures / f"data/low/{n}.png", pictures / f"data/high/{n}.png") for n in range(6)]
    )
    loaded.solve_exposures()
    return loaded


def trained(run_dir: Path) -> dict[str, torch.Tensor]:
    newest = RunFolder(run_dir).last()
    assert newest is not None
    return {name: tensor for name, tensor in checkpoints.read_own(newest)[1].items() if name.startswith("network/")}


# --- losses ----------------------------------------------------------------------------------------------------------


def test_l1_is_the_mean_absolute_difference() -> None:
    result, target = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    expected = float(np.abs(result.numpy() - target.numpy()).mean())
    assert float(losses.restoration_loss(result, target, kind="l1")) == pytest.approx(expected)
    assert float(losses.restoration_loss(result, target)) == float(losses.charbonnier(result, target))


def test_the_gt_mean_loss_forgives_a_difference_in_brightness() -> None:
    target = torch.rand(2, 3, 12, 12) * 0.5 + 0.1
    darken_thumbnails = target * torch.tensor([0.5, 0.8])[:, None, None, None]
    plain, half, whole = (
        float(losses.restoration_loss(darken_thumbnails, target, kind="l1", gt_mean_weight=w)) for w in (0, 0.5, 1)
    )
    assert whole == pytest.approx(0, abs=1e-6)
    assert half == pytest.approx(plain / 2)


def test_ssim_is_added_beside_the_loss() -> None:
    result, target = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    added = losses.restoration_loss(result, target, ssim_weight=0.3) - losses.restoration_loss(result, target)
    assert float(added) == pytest.approx(0.3 * float(losses.dissimilarity(result, target)))


# --- what is fed -----------------------------------------------------------------------------------------------------


def test_every_pair_comes_once_before_any_comes_again(pairs: PairStore) -> None:
    seen, order = 0, []
    for step in range(9):  # 36 crops of 6 pairs; batches of 4 straddle the epochs
        batch = make_batch(pairs, 3, step, CPU, crop=16, index=range(4), takes_exposure=False, seen=seen)
        order += (batch.pictures - len(pairs)).tolist()
        seen += batch.real
    epochs = [order[start : start + 6] for start in range(0, 36, 6)]
    assert all(sorted(epoch) == list(range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1  # in another order each time


def test_real_crops_went_through_jpeg_as_often_as_asked(pairs: PairStore) -> None:
    make = {"crop": 16, "index": range(64), "takes_exposure": False}
    plain = make_batch(pairs, 0, 0, CPU, **make).inputs[0]  # type: ignore[arg-type]
    stored = make_batch(pairs, 0, 0, CPU, crop_mix=CropMix(jpeg=0.5), **make).inputs[0]  # type: ignore[arg-type]
    changed = (stored != plain).flatten(1).any(1)
    assert 16 < int(changed.sum()) < 48
    assert (stored - plain).abs().mean() < 0.05


def test_dark_twins_come_back_duller_than_the_photo_as_often_as_asked(pairs: PairStore) -> None:
    def targets(share: float) -> torch.Tensor:
        crop_mix = CropMix(real=0.0, darkened=1.0, desaturated=share)
        return make_batch(pairs, 0, 0, CPU, crop=16, index=range(64), crop_mix=crop_mix).target

    photos = make_batch(pairs, 0, 0, CPU, crop=16, index=range(64), crop_mix=CropMix(real=0.0, bright=1.0)).target
    assert torch.equal(targets(0.0), photos)
    factors = targets(1.0).mean((1, 2, 3)) / photos.mean((1, 2, 3))
    assert factors.min() > 0.7
    assert factors.max() < 0.96
    duller = (targets(0.3) != photos).flatten(1).any(1)
    assert 8 < int(duller.sum()) < 32


def test_shares_add_up_and_keep_their_proportions() -> None:
    crop_mix = recipes.LITE.crop_mix.with_synthetic(0.5)
    assert crop_mix.real == 0.5
    assert crop_mix.darkened / crop_mix.bright == pytest.approx(
        recipes.LITE.crop_mix.darkened / recipes.LITE.crop_mix.bright
    )
    with pytest.raises(SettingsError, match="add up to 1"):
        CropMix(real=0.5)
    with pytest.raises(SettingsError, match="0 to 1"):
        recipes.change_recipe(recipes.LITE, recipes.RecipeChanges(synthetic_weight=1.5))
    with pytest.raises(SettingsError, match="--noise-only"):
        recipes.change_recipe(recipes.LITE, recipes.RecipeChanges(synthetic_weight=0.5, noise_only=True))


def test_real_crops_without_pairs_are_refused(pictures: Path) -> None:
    with pytest.raises(DataError, match="no pairs"):
        make_batch(PairStore([], [pictures / "photos/1.png"]), 0, 0, CPU, crop=16, index=range(2))


def test_noise_only_changes_no_exposure(pairs: PairStore) -> None:
    crop_mix = recipes.LITE.crop_mix.noise_only()
    batch = make_batch(pairs, 0, 0, CPU, crop=16, index=range(64), crop_mix=crop_mix)
    noisy, stops = batch.inputs
    assert torch.equal(stops, torch.zeros_like(stops))
    difference = (noisy - batch.target).abs().amax((1, 2, 3))
    assert (difference > 0.02).float().mean() > 0.5
    assert (noisy.mean((2, 3)) - batch.target.mean((2, 3))).abs().mean() < 0.02


@pytest.mark.parametrize("noise_only", [False, True])
@pytest.mark.parametrize("preset", ["lite", "paper"])
def test_good_photos_alone_are_enough(pictures: Path, tmp_path: Path, preset: str, noise_only: bool) -> None:
    recipe = recipes.change_recipe(RECIPE, recipes.RecipeChanges(noise_only=noise_only))
    settings = replace(SHORT, preset=preset, recipe=recipe, head_steps=2)
    scores = pipeline.train(run_dir=tmp_path / "run", settings=settings, synthetic=pictures / "photos")
    assert scores is not None
    held_out = {path.stem for path in (tmp_path / "run/validation/high").iterdir()}
    assert held_out == set((tmp_path / "run/val.txt").read_text().split())
    assert RunFolder(tmp_path / "run").about()["data"]["synthetic"]["photos"] == 5 - len(held_out)
    assert pipeline.train(run_dir=tmp_path / "run", settings=settings, synthetic=pictures / "photos", resume=True)


def test_nothing_to_train_on_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--synthetic"):
        pipeline.train(run_dir=tmp_path / "run", settings=SHORT)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no photos"):
        pipeline.train(run_dir=tmp_path / "run", settings=SHORT, synthetic=tmp_path / "empty")


# --- weights to begin with -------------------------------------------------------------------------------------------


def test_a_run_begins_from_a_checkpoint_and_from_a_run(pictures: Path, tmp_path: Path) -> None:
    begin = network.build("lite")
    checkpoints.save(begin, tmp_path / "begin.safetensors")
    still = replace(SHORT, recipe=replace(RECIPE, lr=1e-12, final_lr=1e-12), steps=1)
    pipeline.train(pictures / "data", run_dir=tmp_path / "a", settings=still, start=tmp_path / "begin.safetensors")
    pipeline.train(pictures / "data", run_dir=tmp_path / "b", settings=still, start=tmp_path / "a")
    for run in ("a", "b"):
        weights = trained(tmp_path / run)
        assert all(torch.allclose(weights[f"network/{n}"], p, atol=1e-6) for n, p in begin.named_parameters())
    assert RunFolder(tmp_path / "b").about()["start"]["file"].endswith("a/best.safetensors")


def test_what_does_not_fit_is_named() -> None:
    wide = network.from_config(LiteConfig(features=16, head_features=2))
    narrow = network.build("lite")
    before = {name: p.detach().clone() for name, p in wide.named_parameters()}
    told = warm_start.copy_weights(wide, checkpoints.entries(narrow), Path("narrow"))
    assert "another shape" in " ".join(told)
    assert "restorer.trunk" in " ".join(told)
    head = {name: p for name, p in wide.named_parameters() if name.startswith("head.")}
    assert all(torch.equal(p, dict(narrow.named_parameters())[name]) for name, p in head.items())
    assert any(torch.equal(p, before[name]) for name, p in wide.named_parameters() if name not in head)


def test_weights_that_do_not_fit_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="none of its"):
        warm_start.copy_weights(network.build("paper"), {"other": torch.zeros(1)}, Path("x"))
    with pytest.raises(WeightsError, match=r"shipped weights \(denoise, free, lite"):
        warm_start.read(tmp_path / "missing")
    assert warm_start.read(Path("lite"))


# --- the check on one batch ------------------------------------------------------------------------------------------


def quick_check(pictures: Path, settings: TrainSettings, monkeypatch: pytest.MonkeyPatch) -> overfit_check.Verdict:
    """Of 150 steps, whatever their time."""
    steps = iter(range(100_000))
    monkeypatch.setattr(overfit_check, "SIZES", ((16, 8),))
    monkeypatch.setattr(overfit_check.time, "monotonic", lambda: float(next(steps)))
    data = pictures / "data" if (pictures / "data").exists() else pictures
    return overfit_check.check(sources.Sources(data), settings, seconds=150.0)


def test_the_check_sees_a_sound_set_up_and_a_rate_that_is_hopeless(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = replace(SHORT, recipe=replace(RECIPE, lr=1e-2, final_lr=1e-2))
    verdict = quick_check(pictures, sound, monkeypatch)
    assert verdict.fits
    assert verdict.after_db > verdict.before_db + overfit_check.LEAST_GAIN_DB
    assert "fit together" in str(verdict)
    hopeless = replace(SHORT, recipe=replace(RECIPE, lr=1e-9, final_lr=1e-9))
    verdict = quick_check(pictures, hopeless, monkeypatch)
    assert not verdict.fits
    assert "--lr" in str(verdict)


def test_the_check_is_not_content_with_pairs_that_do_not_belong_together(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(pictures / "data/low", tmp_path / "high")
    shutil.copytree(pictures / "data/high", tmp_path / "low")  # dark and bright swapped
    sound = replace(SHORT, recipe=replace(RECIPE, lr=1e-2, final_lr=1e-2))
    verdict = quick_check(tmp_path, sound, monkeypatch)
    assert not verdict.fits
    assert "swapped" in str(verdict)


def test_a_slow_network_learns_fewer_and_smaller_crops(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    make = overfit_check.make_batch

    def watched(*arguments: Any, **options: Any) -> Any:
        asked.append(options["crop"])
        return make(*arguments, **options)

    ticks = itertools.count(step=10)
    monkeypatch.setattr(overfit_check, "make_batch", watched)
    monkeypatch.setattr(overfit_check, "SIZES", ((24, 8), (16, 4)))
    monkeypatch.setattr(overfit_check.time, "monotonic", lambda: float(next(ticks)))
    overfit_check.check(sources.Sources(pictures / "data"), SHORT, seconds=150.0)
    assert asked == [24, 16]


def test_the_check_names_weights_without_gradient(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    define: Callable[..., network.SceneNetwork] = pipeline.build_network

    def with_a_dead_part(*arguments: object) -> network.SceneNetwork:
        built = define(*arguments)
        built.dead = torch.nn.Linear(1, 1)
        return built

    monkeypatch.setattr(pipeline, "build_network", with_a_dead_part)
    verdict = quick_check(pictures, SHORT, monkeypatch)
    assert not verdict.fits
    assert "dead.weight" in str(verdict)


@pytest.mark.parametrize("name", ["lite", "free"])
def test_shipped_weights_begin_a_run_as_their_checkpoint_would(name: str) -> None:
    begun, checkpoint = warm_start.read(Path(name)), warm_start.read(warm_start.SHIPPED / f"{name}.safetensors")
    assert begun.keys() == checkpoint.keys()
    assert [key for key in begun if not torch.equal(begun[key], checkpoint[key])] == []
