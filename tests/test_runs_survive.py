"""Runs survive: kills, full disks, lost files, exploding losses, closed terminals. Tiny networks, but for the kills."""

import csv
import functools
import io
import json
import math
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from mirnet import network
from mirnet.cli import train as command
from mirnet.errors import Cancelled, SettingsError, TrainingError, WeightsError
from mirnet.images import write_image
from mirnet.network import LiteConfig, MIRNetConfig, MIRNetV2Config, checkpoints
from mirnet.training import exposure_head, loop, pipeline, recipes
from mirnet.training.batches import CropMix
from mirnet.training.observer import Silent
from mirnet.training.recipes import Recipe, Stage
from mirnet.training.runs import figures, progress_strip
from mirnet.training.runs.folder import RunFolder, RunPosition
from mirnet.training.settings import TrainSettings

RECIPE = Recipe(
    optimiser="adamw", lr=3e-3, final_lr=1e-4, warmup_steps=2, clip_norm=0.5, ema=0.9,
    stages=(Stage(0.5, 16, 2), Stage(0.5, 24, 1)),
    crop_mix=CropMix(real=0.9, darkened=0.1, jitter_stops=0.4, local=True),
)  # fmt: skip
SHORT = TrainSettings(
    recipe=RECIPE, steps=8, head_steps=3, checkpoint_steps=3, validate_steps=4, log_steps=1, device="cpu", threads=1
)
CLOCK = ("seconds", "samples_per_second", "waiting")  # columns that no two runs share


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "real_presets" not in request.fixturenames:
        make_small(monkeypatch)


def make_small(patch: pytest.MonkeyPatch) -> None:
    """Presets and the head's batches as small as they can be; nothing drawn, which takes longer than these runs do."""
    patch.setattr(exposure_head, "BATCH", 4)
    patch.setitem(network.PRESETS, "lite", LiteConfig(features=8, head_features=2))
    patch.setitem(network.PRESETS, "paper", MIRNetConfig(features=8, rrgs=1, mrbs=1))
    patch.setitem(network.PRESETS, "v2-paper", MIRNetV2Config(features=16, mrbs=1))
    patch.setattr(figures, "draw", lambda *_: [])
    patch.setattr(progress_strip, "save_crops", lambda *_: None)


@pytest.fixture
def real_presets() -> None:
    """The presets as they are."""


def write_pair(folder: Path, name: str, seed: int, height: int = 24, width: int = 32) -> None:
    patches = np.random.default_rng(seed).integers(30, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    bright = patches.repeat(8, 0).repeat(8, 1)[:height, :width]
    for side, picture in (("low", bright // 8), ("high", bright)):
        (folder / side).mkdir(parents=True, exist_ok=True)
        write_image(folder / side / f"{name}.png", picture, overwrite=True)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(4):
        write_pair(folder / "data", f"pair {seed}", seed)
    write_pair(folder / "val", "unseen", 10)
    return folder


@pytest.fixture
def pictures(original: Path, tmp_path: Path) -> Path:
    """A folder with `data` (four pairs) and `val` (one), to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "pictures"))


@pytest.fixture(scope="module")
def undisturbed(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of SHORT to which nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch)
        train(original, folder)
    return folder


def train(pictures: Path, run_dir: Path, settings: TrainSettings = SHORT, **more: Any) -> None:
    pipeline.train(pictures / "data", run_dir=run_dir, settings=settings, **{"val": pictures / "val", **more})


def last(run_dir: Path) -> Path:
    newest = RunFolder(run_dir).last()
    assert newest is not None
    return newest


def same(one: Path, other: Path) -> bool:
    a, b = load_file(one), load_file(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def log(run_dir: Path) -> list[dict[str, str]]:
    with (run_dir / "log.csv").open(newline="") as file:
        return [{name: row[name] for name in row if name not in CLOCK} for row in csv.DictReader(file)]


def assert_equal_runs(run_dir: Path, other: Path) -> None:
    assert log(run_dir) == log(other)
    assert [file.name for file in RunFolder(run_dir).all()] == [file.name for file in RunFolder(other).all()]
    for ours, theirs in zip(RunFolder(run_dir).all(), RunFolder(other).all(), strict=True):
        assert same(ours, theirs)
    assert same(run_dir / "best.safetensors", other / "best.safetensors")


class At(Silent):
    """Does something at the n-th report of a phase; keeps what is said. A logged step of the restorer reports twice."""

    def __init__(self, phase: str = "", times: int = 0, act: Callable[[], object] = lambda: None) -> None:
        self.phase, self.left, self.act = phase, times, act
        self.said: list[str] = []

    def progress(self, phase: str, done: float, note: str = "") -> None:
        self.left -= phase == self.phase
        if phase == self.phase and self.left == 0:
            self.act()

    def say(self, line: str) -> None:
        self.said.append(line)


# --- kills -----------------------------------------------------------------------------------------------------------


def test_a_run_that_is_killed_ends_as_if_it_had_not_been(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, repository / "benchmarks/kill_runs.py", "--kills", "1", "--steps", "6"],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kills in 1 runs" in done.stdout
    assert "0 runs differ" in done.stdout


def test_half_precision_goes_on_bit_for_bit(pictures: Path, tmp_path: Path) -> None:
    recipe = recipes.change_recipe(RECIPE, recipes.RecipeChanges(crop=16, batch=2))
    settings = replace(SHORT, recipe=recipe, precision="bf16", head_steps=0, steps=6, checkpoint_steps=2)
    train(pictures, tmp_path / "whole", settings)
    reports = iter(range(100))
    with pytest.raises(Cancelled):
        train(pictures, tmp_path / "run", settings, stop=lambda: next(reports) > 4)
    train(pictures, tmp_path / "run", settings, resume=True)
    assert_equal_runs(tmp_path / "run", tmp_path / "whole")


def test_a_row_that_was_cut_off_is_dropped(pictures: Path, tmp_path: Path, undisturbed: Path) -> None:
    for cut in ("rest", "restorer,3", "restorer,3,0.1,0,0.123"):
        run = tmp_path / cut
        with pytest.raises(Cancelled):
            train(pictures, run, stop=lambda run=run: (run / "checkpoints/1-restorer-00000003.safetensors").exists())
        with (run / "log.csv").open("a") as file:
            file.write(cut)
        train(pictures, run, resume=True)
        assert_equal_runs(run, undisturbed)


def test_a_damaged_newest_checkpoint_is_set_aside(pictures: Path, tmp_path: Path, undisturbed: Path) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    newest = last(run)
    newest.write_bytes(newest.read_bytes()[:-1000])
    watch = At()
    train(pictures, run, resume=True, observer=watch)
    assert "00000008.safetensors: is damaged and set aside; going on from 1-restorer-00000006" in watch.said[0]
    assert (run / "checkpoints" / f"{newest.name}.set-aside").exists()
    assert_equal_runs(run, undisturbed)


def test_damaged_checkpoints_alone_start_nothing_over(pictures: Path, tmp_path: Path, undisturbed: Path) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "run"))
    for file in RunFolder(run).all():
        file.write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"last of this run's checkpoints .* --from this one's best\.safetensors"):
        train(pictures, run, resume=True)
    assert same(run / "best.safetensors", undisturbed / "best.safetensors")


# --- a full disk -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tiny_disk: Callable[..., Path]) -> Path:
    """A file system that the test can fill."""
    return tiny_disk("32m")


def fill(disk: Path) -> None:
    def write_on() -> NoReturn:
        while True:
            file.write(b"\0" * 4096)

    with (disk / "filling").open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        write_on()


@pytest.mark.parametrize(("phase", "times"), [("head", 2), ("train", 3), ("validate", 1)])
def test_a_full_disk_is_a_sentence_and_costs_nothing_once_there_is_room(
    pictures: Path, small_disk: Path, undisturbed: Path, phase: str, times: int
) -> None:
    run = small_disk / "run"
    with pytest.raises(TrainingError, match=r"No space left on device\); make room .* --resume"):
        train(pictures, run, observer=At(phase, times, lambda: fill(small_disk)))
    assert not list(run.rglob("*.part"))
    (small_disk / "filling").unlink()
    train(pictures, run, resume=True)
    assert_equal_runs(run, undisturbed)


def test_a_log_that_cannot_grow_is_a_sentence(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.log_file = Path("/dev/full")
    with pytest.raises(TrainingError, match=r"/dev/full: could not be written \(No space left on device\)"):
        run.log(RunPosition(), {"loss": 1.0})


# --- pictures that go away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["data/low/pair 2.png", "val/high/unseen.png"])
def test_a_picture_that_is_deleted_half_way_is_named_and_the_run_goes_on_when_it_is_back(
    pictures: Path, original: Path, tmp_path: Path, undisturbed: Path, lost: str
) -> None:
    run = functools.partial(train, pictures, tmp_path / "run", memory_bytes=0)
    with pytest.raises(TrainingError, match=rf"{Path(lost).name}.* restore it and resume the run"):
        run(observer=At("train", 3, (pictures / lost).unlink))
    assert checkpoints.load(last(tmp_path / "run"))
    shutil.copy(original / lost, pictures / lost)
    run(resume=True)
    assert_equal_runs(tmp_path / "run", undisturbed)


@pytest.mark.parametrize("preset", ["lite", "paper", "v2-paper"])
def test_pictures_of_odd_sizes_are_validated(pictures: Path, tmp_path: Path, preset: str) -> None:
    for number, (height, width) in enumerate([(37, 53), (24, 33), (11, 90)]):
        write_pair(pictures / "val", f"odd {number}", number, height, width)
    train(pictures, tmp_path / "run", replace(SHORT, preset=preset, steps=1, head_steps=0))
    (row,) = (row for row in log(tmp_path / "run") if row["psnr"])
    assert math.isfinite(float(row["psnr"]))
    assert math.isfinite(float(row["validation_loss"]))


# --- losses that are no numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1e4])
def test_a_loss_beyond_all_pictures_names_step_and_batch_and_the_run_can_go_on(
    pictures: Path, tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    backpropagate, steps = loop.backpropagate, []

    def wrong_at_the_fifth(*arguments: Any) -> tuple[float, float]:
        steps.append(1)
        right = backpropagate(*arguments)
        return (loss, right[1]) if len(steps) == 5 else right

    with monkeypatch.context() as patch:
        patch.setattr(loop, "backpropagate", wrong_at_the_fifth)
        with pytest.raises(TrainingError, match=rf"became {loss:g} at step 4 of the restorer, on a batch with pair \d"):
            train(pictures, tmp_path / "run")
    train(pictures, tmp_path / "run", resume=True)
    assert_equal_runs(tmp_path / "run", undisturbed)


def test_a_run_that_exploded_goes_on_from_before_with_a_lower_rate(pictures: Path, tmp_path: Path) -> None:
    wild = recipes.change_recipe(recipes.PLAIN, recipes.RecipeChanges(lr=1e30, crop=16, batch=2))
    settings = replace(SHORT, recipe=wild, head_steps=0, checkpoint_steps=1)
    with pytest.raises(TrainingError, match="The loss became"):
        train(pictures, tmp_path / "run", settings)
    tame = replace(settings, recipe=replace(wild, lr=1e-3, final_lr=1e-3))
    watch = At()
    train(pictures, tmp_path / "run", tame, resume=True, override=True, observer=watch)
    assert any("Overridden: recipe.learning_rate was 1e+30 and is 0.001." in line for line in watch.said)
    assert last(tmp_path / "run").name == "1-restorer-00000008.safetensors"


# --- going on otherwise ----------------------------------------------------------------------------------------------


def test_what_is_overridden_is_said_and_written_down(pictures: Path, tmp_path: Path) -> None:
    run = functools.partial(train, pictures, tmp_path / "run", resume=True)
    run(replace(SHORT, steps=2))
    with pytest.raises(SettingsError, match=r"seed was 0 and is 3; steps was 2 and is 4.* add --override"):
        run(replace(SHORT, steps=4, seed=3))
    run(replace(SHORT, steps=4, seed=3), override=True)
    about = json.loads((tmp_path / "run/run.json").read_text())
    assert about["resumed"][-1]["overridden"] == ["seed was 0 and is 3", "steps was 2 and is 4"]
    assert (about["settings"]["steps"], about["settings"]["seed"]) == (4, 3)
    run(replace(SHORT, steps=4, seed=3))  # from now on these are the run's own


def test_data_and_first_weights_that_a_run_had_or_had_not_are_compared(pictures: Path, tmp_path: Path) -> None:
    run = functools.partial(train, pictures, tmp_path / "run", replace(SHORT, steps=1, head_steps=0), resume=True)
    run()
    with pytest.raises(SettingsError, match=r"data\.synthetic\.photos was 0 and is 4"):
        run(synthetic=pictures / "data/high")
    with pytest.raises(SettingsError, match="--from was None and is lite"):
        run(start=Path("lite"))


def test_another_network_cannot_be_overridden(pictures: Path, tmp_path: Path) -> None:
    train(pictures, tmp_path / "run", replace(SHORT, steps=1, head_steps=0))
    with pytest.raises(SettingsError, match=r"holds another network .* Begin a new run --from"):
        train(pictures, tmp_path / "run", replace(SHORT, preset="paper"), resume=True, override=True)


def test_by_the_clock_a_resumed_run_says_that_its_end_is_not_exact(pictures: Path, tmp_path: Path) -> None:
    settings = replace(SHORT, hours=1.0, head_steps=0)
    asked: list[int] = []
    with pytest.raises(Cancelled):
        train(
            pictures,
            tmp_path / "run",
            settings,
            observer=At("train", 3, lambda: asked.append(1)),
            stop=lambda: bool(asked),
        )
    before = json.loads(checkpoint_header(last(tmp_path / "run"))["mirnet"])["place"]["seconds"]
    asked.clear()
    watch = At("train", 3, lambda: asked.append(1))
    with pytest.raises(Cancelled):
        train(pictures, tmp_path / "run", settings, resume=True, observer=watch, stop=lambda: bool(asked))
    assert any("Going on after 0.00 of 1 hours" in line and "not exactly" in line for line in watch.said)
    assert "not exactly" in json.loads((tmp_path / "run/run.json").read_text())["resumed"][-1]["end"]
    assert json.loads(checkpoint_header(last(tmp_path / "run"))["mirnet"])["place"]["seconds"] > before > 0


def checkpoint_header(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    return dict(json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"])


def test_any_name_that_a_file_can_have_works(pictures: Path, tmp_path: Path) -> None:
    odd = tmp_path / "Ünser Ördner, 夜 & #1"
    shutil.copytree(pictures / "data", odd / "die Bilder")
    for number, name in enumerate(("Käse é", "夜景 1", "a, b; 'c'", "100% #2")):
        write_pair(odd / "die Bilder", name, 20 + number)
    chosen = odd / "ausgewählt.txt"
    chosen.write_text("夜景 1\nKäse é\n", encoding="utf-8")
    run = functools.partial(pipeline.train, odd / "die Bilder", run_dir=odd / "ein Läuf", val_names=chosen, resume=True)
    run(settings=replace(SHORT, steps=2))
    run(settings=replace(SHORT, steps=2))
    assert set((odd / "ein Läuf/val.txt").read_text("utf-8").splitlines()) == {"Käse é", "夜景 1"}
    assert last(odd / "ein Läuf").name == "1-restorer-00000002.safetensors"


# --- weights to begin with -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "preset"), [("mirnet_v1_nfeat8", "paper"), ("mirnet_v2_nfeat16", "v2-paper")])
def test_a_published_checkpoint_is_where_a_run_begins(
    pictures: Path, tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch, name: str, preset: str
) -> None:
    published = repository / f"tests/golden/{name}.pth"
    weights = checkpoints.load(published)
    monkeypatch.setitem(network.PRESETS, preset, weights.config)
    began: list[dict[str, torch.Tensor]] = []

    def look(job: loop.TrainingContext, *_: object) -> bool:
        began.append({entry: tensor.clone() for entry, tensor in checkpoints.entries(job.network).items()})
        return True

    monkeypatch.setattr(pipeline, "train_model", look)
    watch = At()
    train(pictures, tmp_path / "run", replace(SHORT, preset=preset), start=published, observer=watch)
    expected = checkpoints.entries(weights)
    assert began[0].keys() == expected.keys()
    assert all(torch.equal(began[0][entry], expected[entry]) for entry in expected)
    assert not [line for line in watch.said if "stay as they were" in line or "not used" in line]


@pytest.mark.usefixtures("real_presets")
def test_the_shipped_weights_are_where_a_run_begins(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[loop.TrainingContext] = []
    monkeypatch.setattr(pipeline, "train_model", lambda job, *_: bool(began.append(job)) or True)
    monkeypatch.setattr(figures, "draw", lambda *_: [])
    train(pictures, tmp_path / "run", start=Path("lite"))
    shipped = load_file(Path(network.__file__).parents[1] / "weights/lite.safetensors")
    assert all(torch.equal(tensor, shipped[entry]) for entry, tensor in checkpoints.entries(began[0].network).items())


def test_weights_of_a_deeper_network_are_named_and_wrong_files_refused(
    pictures: Path, tmp_path: Path, repository: Path
) -> None:
    run = functools.partial(train, pictures, tmp_path / "run", replace(SHORT, preset="paper", steps=1, head_steps=0))
    watch = At()
    run(start=repository / "tests/golden/mirnet_v1_nfeat8.pth", observer=watch)  # of three groups, here there is one
    assert "weights taken over" in watch.said[0]
    assert "of the file are not used, for this network has none of that name" in watch.said[1]
    assert not [line for line in watch.said if "stay as they were drawn" in line]
    (tmp_path / "weights.pth").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="a web page"):
        train(pictures, tmp_path / "other", SHORT, start=tmp_path / "weights.pth")
    assert RunFolder(tmp_path / "other").last() is None


# --- terminals and signals -------------------------------------------------------------------------------------------


def test_a_closed_terminal_ends_a_run_with_a_checkpoint(pictures: Path, tmp_path: Path) -> None:
    master, terminal = pty.openpty()
    run = tmp_path / "run"
    its_own = (  # and hung up on, also where the tests themselves run under nohup
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "os.login_tty(0); os.execv(sys.executable, sys.argv[1:])"
    )
    options = ["--crop", "16", "--batch", "1", "--head-steps", "0", "--log-steps", "1", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-c", its_own, sys.executable, "-m", "mirnet", "train", pictures / "data",
         "--val", pictures / "val", "--run-dir", run, *options], stdin=terminal,
    )  # fmt: skip
    os.close(terminal)
    try:
        read_until(lambda: (run / "log.csv").exists(), master, process)
        with pytest.raises(SettingsError, match="another process trains there"):
            train(pictures, run, resume=True)
        os.close(master)
        assert process.wait(timeout=120) == 130
    finally:
        process.kill()
        process.wait()
    assert last(run).name == f"1-restorer-{int(log(run)[-1]['step']):08d}.safetensors"
    assert not list(run.rglob("*.part"))


def read_until(done: Callable[[], bool], master: int, process: "subprocess.Popen[bytes]") -> None:
    """Read what goes to the terminal, as one that is open does."""
    os.set_blocking(master, False)
    deadline = time.monotonic() + 300
    while not done():
        assert process.poll() is None
        assert time.monotonic() < deadline
        try:
            os.read(master, 65536)
        except BlockingIOError:
            time.sleep(0.05)


@pytest.fixture
def hang_up_ignored() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up_ignored")
def test_under_nohup_the_terminal_may_close() -> None:
    with command.interruptions() as stop:
        signal.raise_signal(signal.SIGHUP)
        assert not stop()


def test_a_shutdown_that_asks_twice_still_gets_its_checkpoint() -> None:
    with command.interruptions() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stop()


def test_torchrun_may_pass_on_the_ctrl_c_that_all_processes_have_got(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with command.interruptions() as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert stop()


def test_a_process_whose_torchrun_is_gone_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with command.interruptions() as stop:
        monkeypatch.setattr(os, "getppid", lambda: 1)
        assert stop()


def test_bars_outlive_those_who_read_them(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = io.TextIOWrapper(io.FileIO(write, "w", closefd=False), write_through=True)
    monkeypatch.setattr(sys, "stderr", stream)
    with command.Bars() as bars:
        for phase in command.BARS:
            bars.progress(phase, 0.5, "note")
        bars.say("step 3: 20 dB")
    with pytest.raises(BrokenPipeError):  # it was gone indeed
        stream.write("anything")
    stream.detach()
    os.close(write)


def test_other_processes_of_a_run_show_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANK", "1")
    with command.bars() as bars:
        bars.say("step 3: 20 dB")
    assert capsys.readouterr() == ("", "")
