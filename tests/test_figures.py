"""What a run's folder shows: curves that hide nothing, a strip with one past, and TensorBoard as the log has it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.metrics
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mirnet import metrics
from mirnet.errors import SettingsError
from mirnet.images import read_image, write_image
from mirnet.pairs import Pair
from mirnet.training import recipes
from mirnet.training.runs import figures, progress_strip
from mirnet.training.runs.folder import LOG_COLUMNS, RunFolder, RunPosition
from mirnet.training.runs.tensorboard_log import tensorboard_log
from mirnet.training.settings import TrainSettings
from mirnet.training.validation import Scores

CPU = torch.device("cpu")
STEP = {"loss": 0.5, "train_psnr": 20.0, "learning_rate": 1e-3, "gradient_norm": 0.25, "samples_per_second": 8.0,
        "waiting": 0.125}  # fmt: skip
SCORES = Scores(21.0, 0.75, 25.0, 26.0, 0.8, 0.625, 0.0625)
SETTINGS = TrainSettings(recipe=replace(recipes.LITE, clip_norm=0.5), steps=100, validate_steps=20, log_steps=10)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """The folder of a run of 100 steps that has done nothing yet."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    describe(run)
    return run


def describe(run: RunFolder, settings: TrainSettings = SETTINGS, **data: Any) -> None:
    run.write_about({"settings": asdict(settings), "data": {"validation": {"pairs": 2}} | data})


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were drawn, in their order: curves, head, sheet, strip."""
    seen: list[Figure] = []

    class Canvas:
        def __init__(self, figure: Figure) -> None:
            seen.append(figure)

        def print_png(self, file: Any) -> None:
            file.write(b"a picture")

    monkeypatch.setattr(figures, "FigureCanvasAgg", Canvas)
    return seen


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(): axes for axes in figure.axes}


def curves(axes: Axes) -> list[list[float]]:
    """The values of what is drawn over data, marks and thresholds apart."""
    return [list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "-"]


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


# Curves --------------------------------------------------------------------------------------------------------------


def test_all_that_the_log_says_is_in_a_curve(run, drawn):
    for step in (10, 20):
        run.log(RunPosition("restorer", step), STEP)
    run.log(RunPosition("restorer", 20), asdict(SCORES))
    assert [path.name for path in figures.draw(run.path)] == ["curves.png"]
    shown = [value for axes in drawn[0].axes for curve in curves(axes) for value in curve]
    once = {"waiting": 12.5, **asdict(SCORES)}  # waiting in per cent, each score at one step
    assert sorted(shown) == sorted(
        value for name, value in {**STEP, **once}.items() for _ in range(2 if name in STEP else 1)
    )
    assert set(LOG_COLUMNS) == {"phase", "step", "seconds", "crop_pixels", *STEP, *asdict(SCORES)}
    assert panels(drawn[0])["loss"].get_yscale() == "log"
    for axes in drawn[0].axes:  # and nothing lies outside
        left, bottom, right, top = axes.viewLim.extents
        inside = [left <= x <= right and bottom <= y <= top for line in axes.lines for x, y in line.get_xydata()]
        assert inside == [True] * len(inside)


def test_updates_that_were_left_out_are_marked(run, drawn):
    for step, norm in ((10, 0.25), (20, float("nan")), (30, float("inf")), (40, 0.5)):
        run.log(RunPosition("restorer", step), STEP | {"gradient_norm": norm})
    figures.draw(run.path)
    axes = panels(drawn[0])["norm of the gradient, before clipping"]
    assert axes.get_yscale() == "log"
    assert curves(axes) == [[0.25, 0.5]]
    (marks,) = (line for line in axes.lines if line.get_marker() == "x")
    assert list(marks.get_xdata()) == [20, 30]
    assert [text.get_text() for text in axes.get_legend().texts] == ["update left out: no number", "clipped to 0.5"]


@pytest.mark.parametrize(
    ("settings", "data", "title", "reason"),
    [
        ({"log_steps": 200}, {}, "loss", "no row: --log-steps 200 is larger than the run of 100 steps"),
        ({"log_steps": 200, "hours": 1.0}, {}, "loss", "no row yet: one comes every 200 steps (--log-steps)"),
        ({}, {}, "samples per second", "no row yet: one comes every 10 steps (--log-steps)"),
        ({}, {}, "SSIM", "no validation yet: it comes every 20 steps (--validate-steps)"),
        ({}, {"validation": None}, "SSIM", "nothing was left for validation"),
    ],
)
def test_an_empty_panel_says_why(run, drawn, settings, data, title, reason):
    describe(run, replace(SETTINGS, **settings), **data)
    figures.draw(run.path)
    assert [text.get_text() for text in panels(drawn[0])[title].texts] == [reason]


def test_a_network_without_exposure_says_so(run, drawn):
    run.log(RunPosition("restorer", 20), asdict(Scores(21.0, 0.75, 25.0)))
    figures.draw(run.path)
    (said,) = panels(drawn[0])["error of the proposed exposure, stops (RMS)"].texts
    assert said.get_text() == "this network takes no exposure"


def test_an_older_log_is_drawn_and_so_is_one_cut_off_in_a_number(run, drawn):
    run.log_file.write_text(
        "phase,step,loss,psnr\nrestorer,10,0.5,\nrestorer,20,0.25,\nrestorer,20,,21\nrestorer,30,1e-"
    )
    figures.draw(run.path)
    shown = panels(drawn[0])
    assert curves(shown["loss"]) == [[0.5, 0.25]]
    assert curves(shown["PSNR, dB"]) == [[21]]
    (said,) = shown["waiting for data, % of the time"].texts
    assert said.get_text() == "not measured by the mirnet that wrote this log"


def test_larger_crops_are_marked_where_they_begin_and_not_before_the_run_is_there(run, drawn):
    run.log(RunPosition("restorer", 50), STEP)
    figures.draw(run.path)
    axes = panels(drawn[0])["samples per second"]
    assert [(text.get_position()[0], text.get_text().strip()) for text in axes.texts] == [(45, "192 px")]


def test_the_head_has_its_own_figure(run, drawn):
    run.log(RunPosition("head", 10), {name: STEP[name] for name in ("loss", "learning_rate", "gradient_norm")})
    assert [path.name for path in figures.draw(run.path)] == ["curves.png", "head.png"]
    assert sorted(curve for axes in drawn[1].axes for curve in curves(axes)) == [[1e-3], [0.25], [0.5]]
    assert not any(curves(axes) for axes in drawn[0].axes)


# The strip -----------------------------------------------------------------------------------------------------------


def make_pairs(folder: Path, *names: str, side: int = 200) -> list[Pair]:
    """Pairs in nested folders, the truth a chequered pattern of its own in each."""
    pairs = []
    for seed, name in enumerate(names):
        truth = np.random.default_rng(seed).integers(0, 256, (side, side + 20, 3), dtype=np.uint8)
        pair = Pair(name, folder / "low" / f"{name}.png", folder / "high" / f"{name}.png")
        for path, picture in ((pair.dark, truth // 8), (pair.bright, truth)):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, picture, overwrite=True)
        pairs.append(pair)
    return pairs


@pytest.fixture
def restore(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Networks that multiply what they are shown by the one number in the list, where they see the whole of it."""
    factor = [4.0]

    def renderer(
        network: object, dark: metrics.ImageArray, device: torch.device
    ) -> Callable[[float], metrics.ImageArray]:
        whole = dark.shape[1] == dark.shape[0] + 20
        return lambda stops: metrics.round_to_8_bit(dark * np.float32(factor[0] if whole else 0))

    monkeypatch.setattr(progress_strip, "renderer", renderer)
    return factor


def validated(run: RunFolder, pairs: list[Pair], *steps: int) -> None:
    for step in steps:
        progress_strip.save_crops(run, None, pairs, step, CPU)  # type: ignore[arg-type]
        run.log(RunPosition("restorer", step), asdict(SCORES))


def titles(run: RunFolder) -> list[str]:
    """The steps that the strip shows."""
    rows = progress_strip.make_rows(run)
    assert rows is not None
    return [row.title for row in rows if row.title.startswith("step")]


def test_the_strip_shows_dark_a_choice_of_steps_and_the_ground_truth(run, tmp_path, restore):
    validated(run, make_pairs(tmp_path, "kitchen/1", "kitchen/2", "hall"), *range(10, 131, 10))
    rows = progress_strip.make_rows(run)
    steps = [int(title.removeprefix("step ")) for title in titles(run)]
    assert (rows[-1].title, len(rows), len(steps), steps[0], steps[-1]) == ("ground truth", 10, 8, 10, 130)
    assert max(np.diff(steps)) - min(np.diff(steps)) <= 10
    assert [cell.above for cell in rows[0].cells] == ["kitchen/1: dark", "kitchen/2: dark", "hall: dark"]


@pytest.mark.parametrize("side", [200, 50])
def test_the_strip_holds_the_middles_of_whole_pictures_pixel_for_pixel(run, tmp_path, restore, side):
    (pair,) = make_pairs(tmp_path, "only", side=side)
    validated(run, [pair], 10)
    size = min(side, 160)
    middle = np.s_[(side - size) // 2 :, max(0, (side + 20 - 160) // 2) :, :]
    dark, truth = (read_image(path)[middle][:160, :160] for path in (pair.dark, pair.bright))
    cells = [row.cells[0] for row in progress_strip.make_rows(run)]
    np.testing.assert_array_equal([cell.image for cell in cells], [dark, dark * 4, truth])
    known = skimage.metrics.peak_signal_noise_ratio(truth, dark * 4)
    assert [cell.below for cell in cells] == ["", f"{known:.2f} dB", ""]
    # nothing is scaled, and nothing lies over another
    figures.draw(run.path)
    pixels = read_image(run.path / "strip.png")
    height, width = dark.shape[:2]
    for crop in (dark, dark * 4, truth):
        corners = np.argwhere((pixels[..., :3] == crop[0, 0]).all(-1))
        assert any(np.array_equal(pixels[y : y + height, x : x + width, :3], crop) for y, x in corners)


def test_a_run_that_went_back_shows_no_lost_future(run, tmp_path, restore):
    pairs = make_pairs(tmp_path, "a", "b")
    validated(run, pairs, 20, 40)
    progress_strip.save_crops(run, None, pairs, 60, CPU)  # and killed before the log's row
    assert titles(run) == ["step 20", "step 40"]
    run.rewind_log(RunPosition("restorer", 30))
    assert [file.name for file in sorted((run.path / "strip").iterdir())] == ["00000020.png", "pairs.json"]
    validated(run, pairs, 60)
    assert titles(run) == ["step 20", "step 60"]
    run.rewind_log(RunPosition("head", 70))
    assert progress_strip.make_rows(run) is None
    assert [file.name for file in (run.path / "strip").iterdir()] == ["pairs.json"]


def test_crops_of_other_pictures_are_not_shown_as_their_past(run, tmp_path, restore):
    validated(run, make_pairs(tmp_path, "a", "b"), 20)
    validated(run, make_pairs(tmp_path, "a", "c"), 40)
    assert titles(run) == ["step 40"]


def test_pictures_that_have_moved_are_left_out_until_they_are_validated_again(run, tmp_path, restore, drawn):
    pairs = make_pairs(tmp_path, "a")
    validated(run, pairs, 20)
    (tmp_path / "high").rename(tmp_path / "elsewhere")
    assert [path.name for path in figures.draw(run.path)] == ["curves.png"]
    validated(run, [replace(pairs[0], bright=tmp_path / "elsewhere/a.png")], 40)
    assert "strip.png" in [path.name for path in figures.draw(run.path)]


# TensorBoard ---------------------------------------------------------------------------------------------------------


def events(run: RunFolder, phase: str) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run.path / "tensorboard" / phase)).Reload()


def scalars(run: RunFolder, phase: str) -> dict[str, list[tuple[int, float]]]:
    read = events(run, phase)
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


@contextmanager
def going_on(run: RunFolder, phase: str, step: int) -> Iterator[RunPosition]:
    """As the pipeline does: one place, which moves on with the run."""
    place = RunPosition(phase, step)
    with tensorboard_log(run, True, place):
        yield place


def test_tensorboard_has_what_the_log_has(run, tmp_path, restore):
    with going_on(run, "head", 0) as place:
        place.step = 50
        run.log(place, {"loss": 0.75})
        place.phase, place.step = "restorer", 20
        run.log(place, STEP)
        progress_strip.save_crops(run, None, make_pairs(tmp_path, "a"), 20, CPU)  # type: ignore[arg-type]
        run.log(place, asdict(replace(SCORES, stops_error_rms=float("nan"))))
    for phase in ("head", "restorer"):
        logged = {
            f"{phase}/{name}": [(int(row["step"]), pytest.approx(float(row[name]), rel=1e-5))]
            for row in run.rows() for name in LOG_COLUMNS[4:] if row["phase"] == phase and row[name]
        }  # fmt: skip
        assert scalars(run, phase) == logged
    (image,) = events(run, "restorer").Images("validation")
    (tmp_path / "shown.png").write_bytes(image.encoded_image_string)
    np.testing.assert_array_equal(read_image(tmp_path / "shown.png"), read_image(run.path / "strip/00000020.png"))


def test_a_resumed_run_hides_from_tensorboard_what_came_after_its_checkpoint_and_no_more(run):
    with going_on(run, "head", 0) as place:
        for phase, steps in (("head", (10, 20, 30)), ("restorer", (10, 20, 30))):
            for step in steps:
                place.phase, place.step = phase, step
                run.log(place, {"loss": 0.5})
    with going_on(run, "restorer", 20) as place:
        place.step = 40
        run.log(place, {"loss": 0.25})
    assert scalars(run, "head") == {"head/loss": [(10, 0.5), (20, 0.5), (30, 0.5)]}
    assert scalars(run, "restorer") == {"restorer/loss": [(10, 0.5), (20, 0.5), (40, 0.25)]}
    with going_on(run, "head", 20) as place:  # its later checkpoints are gone
        for place.phase, place.step in (("head", 50), ("restorer", 10)):
            run.log(place, {"loss": 0.125})
    assert scalars(run, "head") == {"head/loss": [(10, 0.5), (20, 0.5), (50, 0.125)]}
    assert scalars(run, "restorer") == {"restorer/loss": [(10, 0.125)]}


def test_without_the_package_a_wish_for_tensorboard_is_answered_with_the_line_that_installs_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with (
        pytest.raises(SettingsError, match=r'pip install "mirnet\[tensorboard\]"'),
        tensorboard_log(run, True, RunPosition()),
    ):
        pass
    with tensorboard_log(run, False, RunPosition()):
        run.log(RunPosition("head", 1), {"loss": 1.0})
    assert not (run.path / "tensorboard").exists()
