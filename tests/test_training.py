"""Training runs: they learn, survive interruptions, obey their options, and say what they did. Tiny networks, CPU."""

import contextlib
import csv
import functools
import itertools
import json
import math
import shutil
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.metrics
import torch
import typer
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from mirnet import network
from mirnet.cli import train as command
from mirnet.errors import Cancelled, DataError, MirnetError, SettingsError, TrainingError
from mirnet.images import read_image, write_image
from mirnet.network import LiteConfig, MIRNetConfig, MIRNetV2Config, checkpoints
from mirnet.training import exposure_head, loop, losses, pipeline, recipes
from mirnet.training.batches import CropMix
from mirnet.training.observer import Silent
from mirnet.training.optimisation import Optimisation
from mirnet.training.recipes import Recipe, Stage
from mirnet.training.runs import figures
from mirnet.training.runs.folder import RunFolder
from mirnet.training.settings import TrainSettings, find_device
from mirnet.training.validation import Scores

RECIPE = Recipe(
    optimiser="adamw", lr=3e-3, final_lr=1e-4, warmup_steps=2, clip_norm=0.5, ema=0.9,
    ssim_weight=0.1, stages=(Stage(0.5, 16, 2), Stage(0.5, 24, 1)),
    crop_mix=CropMix(real=0.7, bright=0.12, darkened=0.18, jitter_stops=0.4, local=True),
)  # fmt: skip
SHORT = TrainSettings(
    recipe=RECIPE, steps=8, head_steps=4, checkpoint_steps=3, validate_steps=4, log_steps=1, device="cpu", threads=1
)


def make_small(patch: pytest.MonkeyPatch) -> None:
    """The presets under their names and the head's batches, as small as they can be."""
    patch.setattr(exposure_head, "BATCH", 4)
    patch.setitem(network.PRESETS, "lite", LiteConfig(features=8, head_features=2))
    patch.setitem(network.PRESETS, "paper", MIRNetConfig(features=8, rrgs=1, mrbs=1))
    patch.setitem(network.PRESETS, "v2-paper", MIRNetV2Config(features=16, mrbs=1))


@pytest.fixture(autouse=True)
def _small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    make_small(monkeypatch)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes longer than these runs do."""
    monkeypatch.setattr(figures, "draw", lambda *_: [])


def write_pair(folder: Path, name: str, seed: int, height: int = 24, width: int = 32) -> None:
    patches = np.random.default_rng(seed).integers(30, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    bright = patches.repeat(8, 0).repeat(8, 1)
    for side, picture in (("low", bright // 8), ("high", bright)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        write_image(folder / side / f"{name}.png", picture, overwrite=True)


@pytest.fixture(scope="session")
def original_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(4):
        write_pair(folder / "data", f"pair {seed}", seed)
    write_pair(folder / "val", "unseen", 10)
    (folder / "photos").mkdir()
    shutil.copy(folder / "val/high/unseen.png", folder / "photos/photo.png")
    return folder


@pytest.fixture
def pictures(original_pictures: Path, tmp_path: Path) -> Path:
    """A folder with `data` (four pairs), `val` (one) and `photos` (one)."""
    return Path(shutil.copytree(original_pictures, tmp_path / "pictures"))


def train(pictures: Path, run_dir: Path, settings: TrainSettings = SHORT, **more: Any) -> Scores | None:
    return pipeline.train(pictures / "data", run_dir=run_dir, settings=settings, **{"val": pictures / "val", **more})


def last(run_dir: Path) -> dict[str, torch.Tensor]:
    newest = RunFolder(run_dir).last()
    assert newest is not None
    return load_file(newest)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


CLOCK = ("seconds", "samples_per_second", "waiting")  # columns that no two runs share


def log(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "log.csv").open(newline="") as file:
        return [{name: row[name] for name in row if name not in CLOCK} for row in csv.DictReader(file)]


# --- learning --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("preset", ["lite", "paper", "v2-paper"])
@pytest.mark.parametrize("recipe", ["plain", "paper", "lite"])
def test_every_preset_trains_with_every_recipe(pictures: Path, tmp_path: Path, preset: str, recipe: str) -> None:
    settings = replace(
        SHORT,
        preset=preset,
        recipe=recipes.change_recipe(recipes.find_recipe(recipe), recipes.RecipeChanges(crop=16, batch=2)),
        steps=2,
    )
    scores = train(pictures, tmp_path / "run", settings)
    assert scores is not None
    assert math.isnan(scores.psnr_true_exposure) == (preset != "lite")
    assert [row["phase"] for row in log(tmp_path / "run")].count("head") == (4 if preset == "lite" else 0)
    assert scores.deciding == (scores.psnr_true_exposure if preset == "lite" else scores.psnr)


@pytest.mark.usefixtures("no_figures")
def test_the_loss_falls_and_the_best_is_kept(pictures: Path, tmp_path: Path) -> None:
    recipe = recipes.change_recipe(recipes.PLAIN, recipes.RecipeChanges(crop=16, batch=4, lr=2e-3))
    settings = replace(SHORT, recipe=recipe, steps=40, head_steps=0, validate_steps=10, checkpoint_steps=100)
    best = train(pictures, tmp_path / "run", settings)
    rows = log(tmp_path / "run")
    losses_ = [float(row["loss"]) for row in rows if row["loss"]]
    assert np.mean(losses_[-5:]) < 0.6 * np.mean(losses_[:5])
    validated = [float(row["psnr_true_exposure"]) for row in rows if row["psnr"]]
    assert len(validated) == 4
    assert best is not None
    assert best.deciding == pytest.approx(max(validated), abs=1e-3)
    assert validated[-1] > validated[0]


@pytest.mark.usefixtures("no_figures")
def test_scores_are_those_of_the_shipped_picture(pictures: Path, tmp_path: Path) -> None:
    scores = train(pictures, tmp_path / "run", replace(SHORT, preset="paper", steps=1))
    assert scores is not None
    dark, truth = (read_image(pictures / f"val/{side}/unseen.png") for side in ("low", "high"))
    with torch.no_grad():
        best = checkpoints.load(tmp_path / "run/best.safetensors")
        (result,) = best(torch.from_numpy(dark.transpose(2, 0, 1).astype(np.float32) / 255)[None])
    shipped = (result.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert scores.psnr == pytest.approx(skimage.metrics.peak_signal_noise_ratio(truth, shipped), abs=1e-4)
    expected = losses.restoration_loss(
        *(torch.from_numpy(x.astype(np.float32) / 255).permute(2, 0, 1)[None] for x in (shipped, truth)),
        ssim_weight=0.1,
    )
    assert scores.validation_loss == pytest.approx(float(expected), abs=1e-5)


def test_the_ssim_loss_agrees_with_scikit_image() -> None:
    random = np.random.default_rng(0)
    a = random.random((40, 30, 3))
    b = np.clip(a + 0.2 * random.standard_normal(a.shape), 0, 1)
    _, similarity = skimage.metrics.structural_similarity(
        a, b, data_range=1.0, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    ours = losses.dissimilarity(*(torch.from_numpy(x).permute(2, 0, 1)[None] for x in (a, b)))
    assert 1 - float(ours) == pytest.approx(similarity[5:-5, 5:-5].mean(), abs=1e-6)
    assert float(losses.charbonnier(torch.zeros(1), torch.zeros(1))) == pytest.approx(1e-3)


@pytest.fixture
def three_torch_threads() -> Iterator[int]:
    """Another number than the one of SHORT."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield 3
    torch.set_num_threads(before)


@pytest.mark.usefixtures("no_figures")
def test_two_runs_of_one_seed_are_equal_and_leave_torch_alone(
    pictures: Path, tmp_path: Path, three_torch_threads: int
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    for name in "ab":
        train(pictures, tmp_path / name, replace(SHORT, steps=2))
    assert same(last(tmp_path / "a"), last(tmp_path / "b"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == three_torch_threads


# --- interruptions ---------------------------------------------------------------------------------------------------


class Killed(Exception):
    """As sudden as a kill: nothing in the run knows it."""


class Counter(Silent):
    """Counts the reports of each phase, and kills the run at the one that is named."""

    def __init__(self, phase: str = "", times: int = 0) -> None:
        self.phase, self.times = phase, times
        self.seen: dict[str, int] = {}

    def progress(self, phase: str, done: float, note: str = "") -> None:
        self.seen[phase] = self.seen.get(phase, 0) + 1
        if (phase, self.seen[phase]) == (self.phase, self.times):
            raise Killed


@pytest.fixture(scope="session")
def whole_run(original_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of SHORT."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        patch.setattr(figures, "draw", lambda *_: [])
        train(original_pictures, folder, synthetic=original_pictures / "photos")
    return folder


def assert_equal_runs(run_dir: Path, other: Path) -> None:
    assert log(run_dir) == log(other)
    assert same(last(run_dir), last(other))
    assert same(load_file(run_dir / "best.safetensors"), load_file(other / "best.safetensors"))


# A step of the restorer is reported twice where it is logged, as each of these is; checkpoints follow steps 3 and 6,
# validations 4 and 8.
KILLS = [
    ("load", 2), ("head", 2), ("head", 4), ("train", 4), ("train", 9), ("train", 10), ("validate", 1), ("validate", 2),
]  # fmt: skip


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("phase", "times"), KILLS)
def test_a_killed_run_goes_on_bit_for_bit(
    pictures: Path, tmp_path: Path, whole_run: Path, phase: str, times: int
) -> None:
    run = functools.partial(train, pictures, tmp_path / "run", synthetic=pictures / "photos", resume=True)
    with pytest.raises(Killed):
        run(observer=Counter(phase, times))
    run()
    assert_equal_runs(tmp_path / "run", whole_run)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("phase", "times"), [("exposure", 1), ("head", 3), ("train", 10), ("train", 16)])
def test_a_stopped_run_goes_on_bit_for_bit(
    pictures: Path, tmp_path: Path, whole_run: Path, phase: str, times: int
) -> None:
    run = functools.partial(train, pictures, tmp_path / "run", synthetic=pictures / "photos", resume=True)
    counter = Counter()
    with pytest.raises(Cancelled, match="--resume"):
        run(observer=counter, stop=lambda: counter.seen.get(phase, 0) >= times)
    run()
    assert_equal_runs(tmp_path / "run", whole_run)


@pytest.mark.usefixtures("no_figures")
def test_a_stop_during_validation_loses_nothing(pictures: Path, tmp_path: Path, whole_run: Path) -> None:
    run = functools.partial(train, pictures, tmp_path / "run", synthetic=pictures / "photos")
    counter = Counter()
    asked: list[int] = []

    def stop() -> bool:
        asked.append(counter.seen.get("train", 0))
        return asked.count(8) == 2  # after the fourth step, and then inside the validation that follows it

    with pytest.raises(Cancelled):
        run(observer=counter, stop=stop)
    assert "validate" not in counter.seen
    run(resume=True)
    assert_equal_runs(tmp_path / "run", whole_run)


@pytest.mark.usefixtures("no_figures")
def test_by_the_clock_a_run_of_a_second_a_step_is_the_run_of_so_many_steps(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = itertools.count()
    monkeypatch.setattr(loop, "time", types.SimpleNamespace(monotonic=lambda: float(next(ticks))))
    by_steps = replace(SHORT, head_steps=0, validate_steps=1000, checkpoint_steps=1000)
    train(pictures, tmp_path / "steps", by_steps)
    train(pictures, tmp_path / "clock", replace(by_steps, hours=8 / 3600, steps=1))
    assert_equal_runs(tmp_path / "clock", tmp_path / "steps")


@pytest.mark.usefixtures("no_figures")
def test_resume_goes_on_only_with_the_same_settings_and_data(pictures: Path, tmp_path: Path) -> None:
    train(pictures, tmp_path / "run")
    before = last(tmp_path / "run")
    with pytest.raises(SettingsError, match="holds a run already; add --resume"):
        train(pictures, tmp_path / "run")
    changed = replace(SHORT, seed=1, recipe=replace(RECIPE, lr=0.1))
    with pytest.raises(SettingsError, match=r"recipe\.learning_rate was 0\.003 and is 0\.1; seed was 0 and is 1"):
        train(pictures, tmp_path / "run", changed, resume=True)
    write_pair(pictures / "data", "pair 0", 77)
    with pytest.raises(SettingsError, match=r"data\.training\.sha256"):
        train(pictures, tmp_path / "run", resume=True)
    write_pair(pictures / "data", "pair 0", 0)
    train(pictures, tmp_path / "run", replace(SHORT, threads=2), resume=True)  # where it runs may change
    assert same(last(tmp_path / "run"), before)
    assert len(json.loads((tmp_path / "run/run.json").read_text())["resumed"]) == 1


@pytest.mark.usefixtures("no_figures")
def test_resuming_nothing_says_so_and_starts(pictures: Path, tmp_path: Path) -> None:
    said: list[str] = []

    class Listener(Silent):
        def say(self, line: str) -> None:
            said.append(line)

    train(pictures, tmp_path / "run", replace(SHORT, steps=1), resume=True, observer=Listener())
    assert "starting at step 0" in said[0]


@pytest.mark.usefixtures("no_figures")
def test_a_folder_in_use_is_refused_and_a_dead_process_does_not_hold_it(pictures: Path, tmp_path: Path) -> None:
    holder = subprocess.Popen(  # holds what a run holds, and needs not load torch for it
        [
            sys.executable,
            "-c",
            "import fcntl, pathlib, sys, time; run = pathlib.Path(sys.argv[1]); run.mkdir()\n"
            "lock = (run / 'lock').open('w'); fcntl.flock(lock, fcntl.LOCK_EX); print('held', flush=True)\n"
            "time.sleep(99)",
            str(tmp_path / "run"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SettingsError, match="another process trains there"):
            train(pictures, tmp_path / "run")
    finally:
        holder.kill()
        holder.communicate()
    train(pictures, tmp_path / "run", replace(SHORT, steps=1))


def test_a_folder_that_holds_other_things_is_left_alone(pictures: Path) -> None:
    with pytest.raises(SettingsError, match=r"holds (high|low); choose another"):
        train(pictures, pictures / "data")
    assert sorted(entry.name for entry in (pictures / "data").iterdir()) == ["high", "low"]


@pytest.mark.usefixtures("no_figures")
def test_drafts_of_a_killed_process_are_cleared(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "run/checkpoints").mkdir(parents=True)
    drafts = [tmp_path / "run" / name for name in (".mirnet-00ff.part", "checkpoints/.mirnet-11ee.part")]
    for draft in drafts:
        draft.write_bytes(b"half a file")
    train(pictures, tmp_path / "run", replace(SHORT, steps=1, head_steps=0))
    assert not any(draft.exists() for draft in drafts)


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_figures")
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(pictures: Path, tmp_path: Path) -> None:
    recipe = recipes.change_recipe(
        RECIPE, recipes.RecipeChanges(lr=1e30, clip_norm=0.0, warmup_steps=0, crop=16, batch=2)
    )
    with pytest.raises(
        TrainingError, match=r"at step \d+ of the restorer, on a batch with pair .*; the last checkpoint is kept"
    ):
        train(pictures, tmp_path / "run", replace(SHORT, recipe=recipe, head_steps=0, checkpoint_steps=1))
    assert last(tmp_path / "run")


@pytest.mark.usefixtures("no_figures")
def test_a_full_disk_is_a_sentence(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    train(pictures, tmp_path / "run", replace(SHORT, steps=1))
    monkeypatch.setattr("mirnet.training.runs.folder.write_whole", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        train(pictures, tmp_path / "other")


def test_wrong_settings_are_said_together() -> None:
    with pytest.raises(SettingsError, match=r'preset "large".*steps must.*hours must.*seed.*"half".*threads'):
        TrainSettings(preset="large", steps=0, hours=-1.0, seed=-1, precision="half", threads=0)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"optimiser.*learning rates.*moving average"):
        Recipe(optimiser="sgd", lr=-1.0, ema=1.0)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="choose one of plain, paper, lite"):
        recipes.find_recipe("best")
    with pytest.raises(SettingsError, match='"quantum" cannot be used here'):
        find_device("quantum")
    assert find_device("auto").type in ("cpu", "cuda", "mps")


def test_unpaired_pictures_and_empty_folders_are_refused(pictures: Path, tmp_path: Path) -> None:
    (pictures / "data/low/pair 2.png").unlink()
    with pytest.raises(DataError, match="pair 2"):
        train(pictures, tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no photos found"):
        train(pictures, tmp_path / "run", names=two_names(tmp_path), synthetic=tmp_path / "empty")


def two_names(folder: Path) -> Path:
    """A names file that chooses two of the four pairs."""
    path = folder / "names.txt"
    path.write_text("pair 1\n\npair 3\n")
    return path


@pytest.mark.usefixtures("no_figures")
def test_photos_beside_a_recipe_that_knows_none_are_half_of_the_crops(pictures: Path, tmp_path: Path) -> None:
    plain = recipes.change_recipe(recipes.PLAIN, recipes.RecipeChanges(crop=16, batch=2))
    train(pictures, tmp_path / "run", replace(SHORT, recipe=plain, steps=1), synthetic=pictures / "photos")
    feed = RunFolder(tmp_path / "run").about()["settings"]["recipe"]["feed"]
    assert feed["real"] == 0.5
    assert feed["darkened"] == pytest.approx(0.4)


@pytest.mark.usefixtures("no_figures")
def test_few_pairs_and_large_crops_warn_and_train(pictures: Path, tmp_path: Path) -> None:
    recipe = recipes.change_recipe(RECIPE, recipes.RecipeChanges(crop=48, batch=5))
    assert train(pictures, tmp_path / "run", replace(SHORT, recipe=recipe, steps=1, head_steps=0)) is not None
    warnings = json.loads((tmp_path / "run/run.json").read_text())["warnings"]
    assert "4 pairs are fewer than a batch of 5" in warnings[0]
    assert "No picture holds a crop of 48 px" in warnings[1]


@pytest.mark.usefixtures("no_figures")
def test_pictures_that_do_not_fit_in_memory_train_alike(pictures: Path, tmp_path: Path) -> None:
    for name, limit in (("resident", None), ("read again", 0)):
        train(pictures, tmp_path / name, memory_bytes=limit, synthetic=pictures / "photos")
    assert same(last(tmp_path / "resident"), last(tmp_path / "read again"))


# --- which data ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_figures")
def test_without_val_a_split_by_scene_is_made_and_written_down(pictures: Path, tmp_path: Path) -> None:
    train(pictures, tmp_path / "run", replace(SHORT, steps=1), val=None)
    training, validation = ((tmp_path / "run" / name).read_text().splitlines() for name in ("train.txt", "val.txt"))
    assert sorted(training + validation) == [f"pair {seed}" for seed in range(4)]
    assert len(validation) == 1
    again = {"names": tmp_path / "run/train.txt", "val_names": tmp_path / "run/val.txt", "val": None}
    train(pictures, tmp_path / "again", replace(SHORT, steps=1), **again)
    assert same(last(tmp_path / "run"), last(tmp_path / "again"))


@pytest.mark.usefixtures("no_figures")
def test_names_choose_pairs(pictures: Path, tmp_path: Path) -> None:
    names = two_names(tmp_path)
    train(pictures, tmp_path / "run", replace(SHORT, steps=1), names=names)
    assert (tmp_path / "run/train.txt").read_text().splitlines() == ["pair 1", "pair 3"]
    train(pictures, tmp_path / "rest", replace(SHORT, steps=1), val=None, val_names=names)
    assert (tmp_path / "rest/train.txt").read_text().splitlines() == ["pair 0", "pair 2"]
    assert (tmp_path / "rest/val.txt").read_text().splitlines() == ["pair 1", "pair 3"]


@pytest.mark.usefixtures("no_figures")
def test_the_published_test_set_is_used_only_when_named_and_then_said(pictures: Path, tmp_path: Path) -> None:
    lol = tmp_path / "LOLdataset"
    shutil.copytree(pictures / "data", lol / "our485")
    shutil.copytree(pictures / "val", lol / "eval15")

    def run(name: str, **more: Any) -> dict[str, Any]:
        pipeline.train(lol, run_dir=tmp_path / name, settings=replace(SHORT, steps=1, head_steps=0), **more)
        return dict(json.loads((tmp_path / name / "run.json").read_text()))

    about = run("plain")
    assert "unseen" not in (tmp_path / "plain/val.txt").read_text()
    assert about["test_set_used"] is False
    assert run("named", val=lol / "eval15")["test_set_used"] is True


# --- what is written -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_figures")
def test_the_run_folder_tells_what_made_it(pictures: Path, tmp_path: Path) -> None:
    train(pictures, tmp_path / "run")
    about = json.loads((tmp_path / "run/run.json").read_text())
    assert about["settings"]["recipe"]["learning_rate"] == 3e-3
    assert about["settings"]["seed"] == 0
    assert about["data"]["training"]["pairs"] == 4
    assert len(about["data"]["training"]["sha256"]) == 64
    assert about["versions"]["torch"] == torch.__version__
    assert about["versions"]["threads"] == 1
    assert len(list((tmp_path / "run/checkpoints").iterdir())) == 2


def test_figures_are_drawn_of_what_the_run_left(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(figures, "draw", lambda *_: [])  # when a run draws, the next test asks
        train(pictures, tmp_path / "run", replace(SHORT, steps=4))
    names = {"curves.png", "head.png", "sheet.png", "strip.png"}
    assert {path.name for path in figures.draw(tmp_path / "run")} == names
    assert all(read_image(tmp_path / "run" / name).std() > 10 for name in names)


def test_figures_are_redrawn_at_each_validation(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(figures, "draw", lambda run_dir, device: drawn.append(len(log(run_dir))))
    train(pictures, tmp_path / "run")
    assert drawn == [9, 14, 14]  # 4 rows of the head, 4 steps and a validation; 4 more and another; the end


# --- recipes and the optimiser ---------------------------------------------------------------------------------------


def test_the_recipes_are_as_published() -> None:
    assert recipes.PLAIN.rate(0, 0) == recipes.PLAIN.rate(19_999, 1) == 1e-4
    assert recipes.PAPER.rate(89, 0.0) == pytest.approx(2e-4)
    assert recipes.PAPER.rate(0, 0.0) == pytest.approx(2e-4 / 90)
    assert recipes.PAPER.rate(20_000, 1.0) == pytest.approx(1e-6)
    assert [recipes.LITE.stage(progress).crop_px for progress in (0.0, 0.44, 0.46, 0.74, 0.76, 1.0)] == [
        128, 128, 192, 192, 320, 320,
    ]  # fmt: skip


def test_an_adapted_recipe_changes_what_is_given() -> None:
    assert recipes.change_recipe(recipes.LITE, recipes.RecipeChanges()) == recipes.LITE
    halved = recipes.change_recipe(recipes.LITE, recipes.RecipeChanges(lr=5e-4))
    assert halved.final_lr == pytest.approx(5e-6)  # the cosine keeps its shape
    assert recipes.change_recipe(recipes.LITE, recipes.RecipeChanges(schedule="constant")).rate(10_000, 1.0) == 1e-3
    assert recipes.change_recipe(recipes.PLAIN, recipes.RecipeChanges(schedule="cosine")).rate(
        10_000, 1.0
    ) == pytest.approx(1e-6)
    assert recipes.change_recipe(recipes.LITE, recipes.RecipeChanges(crop=64)).stages == (Stage(1.0, 64, 8),)
    with pytest.raises(SettingsError, match="constant"):
        recipes.change_recipe(recipes.PLAIN, recipes.RecipeChanges(schedule="linear"))


def test_the_moving_average_follows_the_weights() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimisation = Optimisation({"weight": weight}, Recipe(lr=0.1, final_lr=0.1, ema=0.5))
    expected = 0.0
    for updates in range(1, 21):
        optimisation.clear()
        (-weight.sum()).backward()
        optimisation.update(0.1)
        decay = min(0.5, updates / (10 + updates))
        expected = decay * expected + (1 - decay) * float(weight.detach())
    trained = float(weight.detach())
    with optimisation.averaged():
        assert float(weight.detach()) == pytest.approx(expected, abs=1e-6)
    assert float(weight.detach()) == trained
    optimisation.clear()
    (weight.sum() * math.inf).backward()
    optimisation.update(0.1)  # an infinite gradient changes nothing
    assert float(weight.detach()) == trained


# --- the command -----------------------------------------------------------------------------------------------------


def mirnet_train(*arguments: object) -> MirnetError | None:
    """Run the command; what it raised, None where it ended well."""
    app = typer.Typer()
    app.command()(command.train)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, MirnetError), (result.output, result.exception)
    return result.exception


TINY = ["--preset", "lite", "--recipe", "lite", "--steps", 3, "--head-steps", 2, "--crop", 16, "--batch", 2,
        "--warmup-steps", 0, "--threads", 1, "--checkpoint-steps", 2, "--validate-steps", 3,
        "--log-steps", 1]  # fmt: skip


@pytest.fixture(scope="session")
def plain_command(original_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain") / "run"
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        patch.setattr(figures, "draw", lambda *_: [])
        data, val = original_pictures / "data", original_pictures / "val"
        assert mirnet_train(data, "--val", val, "--run-dir", folder, *TINY) is None
    return folder


OPTIONS = [
    "--preset paper", "--recipe plain", "--steps 4", "--head-steps 1", "--crop 24", "--batch 3", "--lr 0.0001",
    "--seed 1", "--schedule constant", "--final-lr 0.0009", "--warmup-steps 2", "--weight-decay 0.5",
    "--clip-norm 0.001", "--ema 0.1", "--ssim-weight 0.9", "--precision bf16", "--synthetic photos",
    "--names names.txt", "--optimiser adam --weight-decay 0.5", "--loss l1", "--gt-mean-weight 0.5",
    "--jitter-stops 2", "--synthetic photos --synthetic-weight 0.9",
    "--synthetic photos --noise-only", "--from start.safetensors",
]  # fmt: skip


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("option", ["--desaturated", "--dulled"])
def test_an_option_keeps_its_earlier_name(pictures: Path, tmp_path: Path, option: str) -> None:
    run = tmp_path / "run"
    assert mirnet_train(pictures / "data", "--val", pictures / "val", "--run-dir", run, *TINY, option, 0.25) is None
    assert RunFolder(run).about()["settings"]["recipe"]["feed"]["dulled"] == 0.25  # the stored name stays


@pytest.mark.parametrize("option", ["--mixup", "--jitter-gamma", "--accumulate", "--loss"])
def test_an_option_that_was_removed_is_answered_with_a_sentence(pictures: Path, tmp_path: Path, option: str) -> None:
    value = "psnr" if option == "--loss" else "1"
    error = mirnet_train(pictures / "data", "--run-dir", tmp_path / "run", option, value)
    assert isinstance(error, SettingsError)
    assert ('"charbonnier" or "l1"' if option == "--loss" else f"{option} was removed") in str(error)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize(("mixup", "refused"), [(0.0, False), (0.5, True)])
def test_a_run_that_stores_a_removed_setting_resumes_where_it_is_the_default(
    pictures: Path, tmp_path: Path, mixup: float, refused: bool
) -> None:
    train(pictures, tmp_path / "run", replace(SHORT, steps=1))
    run = RunFolder(tmp_path / "run")
    about = run.about()
    about["settings"]["recipe"]["accumulate"] = 1
    about["settings"]["recipe"]["feed"] |= {"mixup": mixup, "gamma": 0.0}
    run.write_about(about)
    with pytest.raises(SettingsError, match=r"feed\.mixup was 0\.5") if refused else contextlib.nullcontext():
        train(pictures, tmp_path / "run", replace(SHORT, steps=1), resume=True)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_changes_what_is_trained(
    pictures: Path, tmp_path: Path, plain_command: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures)
    two_names(pictures)
    checkpoints.save(network.build("lite"), pictures / "start.safetensors")
    assert mirnet_train("data", "--val", "val", "--run-dir", tmp_path / "run", *TINY, *option.split()) is None
    assert not same(last(tmp_path / "run"), last(plain_command))


def test_adam_and_adamw_differ_in_how_weights_decay() -> None:
    weights = {}
    for optimiser in ("adam", "adamw"):
        weight = nn.Parameter(torch.ones(1))
        recipe = recipes.change_recipe(RECIPE, recipes.RecipeChanges(optimiser=optimiser, weight_decay=0.5))
        weight.sum().backward()
        Optimisation({"weight": weight}, recipe).update(0.1)
        weights[optimiser] = float(weight.detach())
    assert weights["adam"] == pytest.approx(0.9)
    assert weights["adamw"] == pytest.approx(0.9 - 0.1 * 0.5)


@pytest.mark.usefixtures("no_figures")
def test_checkpoints_validations_and_rows_come_as_often_as_asked(pictures: Path, tmp_path: Path) -> None:
    options = ("--checkpoint-steps", 1, "--validate-steps", 1, "--log-steps", 3)
    data, bright = pictures / "data/low", pictures / "data/high"  # the two folders by name
    val = pictures / "val"
    assert mirnet_train(data, bright, "--val", val, "--run-dir", tmp_path / "run", *TINY, *options) is None
    rows = log(tmp_path / "run")
    assert [row["step"] for row in rows if row["psnr"]] == ["1", "2", "3"]
    assert [row["step"] for row in rows if row["loss"]] == ["3"]
    kept = sorted(file.name for file in (tmp_path / "run/checkpoints").iterdir())
    assert kept == ["1-restorer-00000002.safetensors", "1-restorer-00000003.safetensors"]


@pytest.mark.usefixtures("no_figures")
def test_threads_and_device_reach_torch(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[object] = []

    def look(job: loop.TrainingContext, *_: object) -> bool:
        used.extend((torch.get_num_threads(), job.fabric.device))
        return True

    monkeypatch.setattr(pipeline, "train_model", look)
    arguments = [pictures / "data", "--run-dir", tmp_path / "run", *TINY, "--threads", 3, "--device"]
    assert mirnet_train(*arguments, "cpu") is None
    assert used == [3, torch.device("cpu")]
    assert isinstance(mirnet_train(*arguments, "meta"), SettingsError)


@pytest.mark.usefixtures("no_figures")
def test_the_command_ends_by_the_clock(pictures: Path, tmp_path: Path) -> None:
    clock = [*TINY[:4], *TINY[6:], "--hours", 0.00005, "--validate-steps", 10_000]  # without --steps
    assert mirnet_train(pictures / "data", "--val", pictures / "val", "--run-dir", tmp_path / "run", *clock) is None
    both = mirnet_train(pictures / "data", "--run-dir", tmp_path / "both", *TINY, "--hours", 1)
    assert isinstance(both, SettingsError)


@pytest.mark.usefixtures("no_figures")
def test_val_names_choose_what_is_validated(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("pair 2\n")
    assert (
        mirnet_train(pictures / "data", "--val-names", tmp_path / "val.txt", "--run-dir", tmp_path / "run", *TINY)
        is None
    )
    assert (tmp_path / "run/val.txt").read_text() == "pair 2\n"


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_with_a_checkpoint_and_says_how_to_go_on(
    pictures: Path, tmp_path: Path, plain_command: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def press(bars: command.Bars, phase: str, done: float, note: str = "") -> None:
        if phase == "train" and note and done < 0.5:
            signal.raise_signal(number)

    arguments = (pictures / "data", "--val", pictures / "val", "--run-dir", tmp_path / "run", *TINY)
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(command.Bars, "progress", press)
        stopped = mirnet_train(*arguments)
    assert isinstance(stopped, Cancelled)
    assert "--resume" in str(stopped)
    newest = RunFolder(tmp_path / "run").last()
    assert newest is not None
    assert newest.name == "1-restorer-00000001.safetensors"
    assert signal.getsignal(number) == before
    assert mirnet_train(*arguments, "--resume") is None
    assert same(last(tmp_path / "run"), last(plain_command))


def press_twice() -> None:
    with command.interruptions() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop()
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_twice_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        press_twice()


def test_bars_show_each_phase_and_its_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with command.Bars() as bars:
        for phase in command.BARS:
            bars.progress(phase, 0.5, "loss 0.1")
        bars.say("Warning: [something]")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Warning: [something]" in shown.err
    assert "validating" in shown.err
