"""Scores side by side: paired intervals, scenes, finished results, the colour difference, the sheet and the plot."""

import io
import json
import math
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mirnet
from mirnet import metrics
from mirnet.errors import DataError
from mirnet.evaluation import comparison, plots
from mirnet.evaluation.colour_difference import ciede2000
from mirnet.evaluation.intervals import mean_with_interval
from mirnet.evaluation.scenes import group_by_scene
from mirnet.evaluation.score_sheet import ScoreSheet
from mirnet.evaluation.scores import Evaluation, Score
from mirnet.evaluation.scoring import evaluate_results
from mirnet.pairs import Pair, find_pairs

pytestmark = pytest.mark.usefixtures("fake_networks")


def of(values, method="A", ssim=0.5, scenes=None, **more) -> Evaluation:
    """An evaluation with that PSNR for each picture."""
    scores = [Score(str(n), float(x), ssim, 10.0, 0.1, 0.0, 0.0, **more) for n, x in enumerate(values)]
    return Evaluation(method, {}, scores, scenes)


def by_column(differences):
    return {difference.column: difference for difference in differences}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pairs: bright noise, and the same much darker."""
    random = np.random.default_rng(0)
    for side in ("low", "high"):
        (tmp_path / "data" / side).mkdir(parents=True)
    for number in range(4):
        bright = random.integers(40, 256, (24, 32, 3), dtype=np.uint8)
        mirnet.write_image(tmp_path / f"data/high/{number}.png", bright)
        mirnet.write_image(tmp_path / f"data/low/{number}.png", bright // (6 + number))
    return tmp_path / "data"


def finished(data: Path, name: str, change) -> Path:
    """A folder of results: the truth with something done to it."""
    folder = data.parent / name
    folder.mkdir()
    for path in (data / "high").iterdir():
        mirnet.write_image(folder / path.name, change(mirnet.read_image(path)))
    return folder


# Intervals -----------------------------------------------------------------------------------------------------------


def test_a_paired_difference_is_much_surer_than_the_two_means():
    random = np.random.default_rng(3)
    b = random.normal(20, 5, 40)
    a = b + random.normal(0.3, 0.2, 40)
    difference = by_column(comparison.compare(of(a), of(b, "B")))["psnr"]
    assert difference.mean.mean == pytest.approx((a - b).mean())
    half = 1.96 * (a - b).std() / math.sqrt(40)
    assert difference.mean.high - difference.mean.low == pytest.approx(2 * half, rel=0.1)
    assert of(a).means["psnr"].high - of(a).means["psnr"].low > 10 * half


def test_the_sentence_says_who_is_better_by_how_much_and_how_sure_that_is():
    better, worse = of([20.31, 22.5, 25.0]), of([20.0, 22.0, 24.9], "B")
    for two in ((better, worse), (worse, better)):
        difference = by_column(comparison.compare(*two))["psnr"]
        assert difference.better == "A"
        assert difference.sentence == "A is better than B by 0.30 dB, 95 % 0.10 to 0.50"


def test_an_interval_that_holds_zero_is_said_not_to_tell_them_apart():
    difference = by_column(comparison.compare(of([20, 21, 22]), of([21, 20, 21.5], "B")))["psnr"]
    assert difference.better is None
    assert difference.sentence == "A and B can't be told apart: A minus B is +0.17 dB, 95 % -1.00 to 1.00"
    same = by_column(comparison.compare(of([20, 21]), of([20, 21], "B")))["psnr"]
    assert "can't be told apart" in same.sentence


def test_a_smaller_colour_difference_is_the_better_one():
    a, b = of([20, 21], ciede2000=3.0), of([20, 21], "B", ciede2000=4.0)
    assert by_column(comparison.compare(a, b))["ciede2000"].better == "A"


def test_one_picture_has_no_interval_and_says_so():
    difference = by_column(comparison.compare(of([20]), of([21], "B")))["psnr"]
    assert math.isnan(of([20]).means["psnr"].low)
    assert difference.better is None
    assert "has no interval" in difference.sentence
    assert difference.to_json()["low"] is None


def test_pictures_of_one_scene_are_drawn_together():
    values = np.repeat([18.0, 20.0, 22.0, 24.0], 25)
    scenes = [str(int(x)) for x in values]
    alone, together = mean_with_interval(values), mean_with_interval(values, scenes)
    assert together.mean == alone.mean == 21.0
    four = mean_with_interval(np.array([18.0, 20.0, 22.0, 24.0]))
    assert (together.low, together.high) == pytest.approx((four.low, four.high))
    assert together.high - together.low > 4 * (alone.high - alone.low)


def test_a_large_scene_weighs_as_much_as_it_has_pictures():
    mean = mean_with_interval(np.array([10.0, 20.0, 20.0, 20.0]), ["a", "b", "b", "b"])
    assert mean.mean == 17.5
    assert (mean.low, mean.high) == (10.0, 20.0)


def test_many_pictures_are_drawn_in_parts_and_give_the_same_interval(monkeypatch):
    values = np.random.default_rng(0).normal(size=30)
    whole = mean_with_interval(values)
    monkeypatch.setattr("mirnet.evaluation.intervals.RESAMPLED_AT_ONCE", 1000)
    assert mean_with_interval(values) == whole


# Scenes --------------------------------------------------------------------------------------------------------------


def pair_of(name: str, dark: str, bright: str) -> Pair:
    return Pair(name, Path(dark), Path(bright))


def test_scenes_are_the_folders_below_the_dark_ones():
    def nested(*names):
        return group_by_scene([pair_of(name, f"low/{name}.png", f"high/{name}.png") for name in names])

    assert nested("kitchen/1", "kitchen/2", "hall/1") == {
        "kitchen/1": "kitchen", "kitchen/2": "kitchen", "hall/1": "hall"
    }  # fmt: skip
    assert nested("kitchen/1", "kitchen/2", "loose") == {
        "kitchen/1": "kitchen", "kitchen/2": "kitchen", "loose": "loose"
    }  # fmt: skip
    assert nested("all/1", "all/2") is None
    assert nested("1", "2") is None


def test_the_parts_of_a_data_set_are_no_scenes():
    pairs = [
        pair_of(f"{part}/{n}", f"{part}/Low/low{n}.png", f"{part}/Normal/normal{n}.png")
        for part in ("Real", "Synthetic")
        for n in range(3)
    ]
    assert group_by_scene(pairs) is None


def test_pairs_that_share_a_bright_picture_are_one_scene():
    pairs = [pair_of(f"short/{n}", f"short/{n}.png", f"long/{n // 2}.png") for n in range(4)]
    assert group_by_scene(pairs) == {"short/0": "0", "short/1": "0", "short/2": "1", "short/3": "1"}
    alike = [pair_of(f"{n}", f"{n}.png", f"{'ab'[n // 2]}/truth.png") for n in range(4)]
    assert set(group_by_scene(alike).values()) == {str(Path("a/truth.png")), str(Path("b/truth.png"))}


def named(*names):
    return [pair_of(name, f"low/{name}.png", f"high/{name}.png") for name in names]


def test_scenes_may_be_listed_as_spreadsheets_save_them(tmp_path):
    listed = tmp_path / "scenes.csv"
    listed.write_text("\ufeffName,Scene\n1, sea\n2,sea\n3,wood\n\n", encoding="utf-8")
    assert group_by_scene(named("1", "3"), listed) == {"1": "sea", "3": "wood"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("1,sea\n", "1 of 2 images have no scene there: 2."),
        ("1,sea,3\n", 'not "1,sea,3"'),
        ("1,\n", 'not "1,"'),
        ("1,sea\n1,wood\n2,sea\n", "1 has the scenes sea and wood"),
    ],
)
def test_a_list_of_scenes_that_cannot_be_used_is_a_sentence(tmp_path, content, sentence):
    (tmp_path / "scenes.csv").write_text(content)
    with pytest.raises(DataError) as error:
        group_by_scene(named("1", "2"), tmp_path / "scenes.csv")
    assert sentence in str(error.value)


def test_a_list_of_scenes_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(DataError, match="expected a CSV of names and scenes; it cannot be read"):
        group_by_scene(named("1"), tmp_path / "none.csv")


def test_means_are_given_for_every_scene_and_the_protocol_says_what_is_drawn():
    result = of([10, 20, 40], scenes={"0": "a", "1": "a", "2": "b"})
    assert {scene: (count, means["psnr"]) for scene, (count, means) in result.means_by_scene.items()} == {
        "a": (2, 15.0),
        "b": (1, 40.0),
    }
    assert "means of scenes, each with all its images, drawn again" in result.protocol
    assert "means of images drawn again" in of([10]).protocol
    said = result.to_json()
    assert said["scenes"]["a"]["pictures"] == 2
    assert [score["scene"] for score in said["scores"]] == ["a", "a", "b"]
    assert (said["worst"], said["best"]) == ("0", "2")


# The colour difference -----------------------------------------------------------------------------------------------


def test_the_colour_difference_is_zero_for_equals_and_a_hundred_from_black_to_white():
    random = np.random.default_rng(0).random((20, 30, 3))
    assert ciede2000(random, random) == 0
    white, black = np.ones((4, 4, 3)), np.zeros((4, 4, 3))
    assert ciede2000(white, black) == pytest.approx(100, abs=0.01)  # by the formula, L from 100 to 0
    half = np.concatenate([white, black])
    assert ciede2000(half, np.zeros((8, 4, 3))) == pytest.approx(50, abs=0.01)


def test_the_colour_difference_of_strips_is_that_of_the_whole(monkeypatch):
    one, other = np.random.default_rng(0).random((2, 21, 30, 3), dtype=np.float32)
    whole = ciede2000(one, other)
    monkeypatch.setattr("mirnet.evaluation.colour_difference.STRIP_PX", 120)
    assert ciede2000(one, other) == pytest.approx(whole)


# Finished results ----------------------------------------------------------------------------------------------------


def test_finished_results_are_scored_by_the_same_protocol_whatever_their_suffix(data):
    folder = finished(data, "others", lambda truth: truth // 2)
    (folder / "2.png").rename(folder / "2.bak")
    with Image.open(folder / "2.bak") as picture:
        picture.save(folder / "2.tif", format="TIFF")
    (folder / "notes.txt").write_text("mine")
    result = evaluate_results(folder, find_pairs(data), colour=ciede2000)
    for score in result.scores:
        truth = mirnet.read_image(data / f"high/{score.name}.png")
        assert score.psnr == pytest.approx(metrics.psnr(truth // 2 / 255, truth / 255), abs=1e-4)
        dark = mirnet.read_image(data / f"low/{score.name}.png")
        assert score.psnr_input == pytest.approx(metrics.psnr(dark / 255, truth / 255), abs=1e-4)
        assert score.ssim_input == pytest.approx(metrics.ssim(dark / 255, truth / 255), abs=1e-5)
        assert score.mean_input == pytest.approx(dark.mean() / 255, abs=1e-6)
        assert score.ciede2000 == pytest.approx(ciede2000(truth // 2 / 255, truth / 255), abs=1e-3)
        assert score.psnr_true_exposure is None
    assert "finished results have no columns at the ground truth's exposure" in result.protocol


def test_results_of_nested_names_lie_in_the_same_folders(data, tmp_path):
    pairs = [Pair(f"room/{n}", data / f"low/{n}.png", data / f"high/{n}.png") for n in range(2)]
    (tmp_path / "out/room").mkdir(parents=True)
    for n in range(2):
        shutil.copy(data / f"high/{n}.png", tmp_path / f"out/room/{n}.png")
    assert [score.psnr for score in evaluate_results(tmp_path / "out", pairs).scores] == [math.inf, math.inf]


def test_results_that_are_missing_doubled_or_of_another_size_are_sentences(data, tmp_path):
    with pytest.raises(DataError, match="expected a folder of results; there is none"):
        evaluate_results(tmp_path / "none", find_pairs(data))
    folder = finished(data, "others", lambda truth: truth)
    shutil.copy(folder / "3.png", folder / "3.jpg")
    with pytest.raises(DataError, match=r"3\.png and 3\.jpg have the same stem; keep one of them"):
        evaluate_results(folder, find_pairs(data))
    (folder / "3.jpg").unlink()
    mirnet.write_image(folder / "3.png", np.zeros((5, 5, 3), np.uint8), overwrite=True)
    with pytest.raises(DataError, match="5x5 and 32x24"):
        evaluate_results(folder, find_pairs(data))
    (folder / "3.png").unlink()
    with pytest.raises(DataError, match="1 of 4 pairs have no result there: 3"):
        evaluate_results(folder, find_pairs(data))


# The sheet and the plot ----------------------------------------------------------------------------------------------


def test_the_sheet_has_a_column_for_each_method_and_captions_that_name_worst_and_best(monkeypatch, tmp_path):
    written = []
    fitting = "mirnet.evaluation.contact_sheet.shorten"
    monkeypatch.setattr(fitting, lambda text, width, font: written.append(text) or text)
    sheet, greys = ScoreSheet(), {"A": 0.5, "B": 0.75}
    evaluations = [of([30, 10, 20], "A"), of([11, 12, 13], "B")]
    for name in ("0", "1", "2"):
        for method, grey in greys.items():
            pictures = [np.full((40, 48, 3), level, np.float32) for level in (0.25, grey, 1.0)]
            sheet.add("data", method, Pair(name, Path(), Path()), *pictures)
    sheet.save(tmp_path / "sheet.png", {"data": evaluations})
    pixels = mirnet.read_image(tmp_path / "sheet.png")
    assert [round(pixels[60, 246 * place + 100].mean()) for place in range(4)] == [64, 128, 191, 255]
    assert pixels.shape == (20 + 3 * 240, 4 * 246, 3)  # 48 x 40 pixels become 240 x 200
    assert written[1:5] == ["data: dark", "A", "B", "ground truth"]
    assert [text for text in written if text[:1] in "012" and "dB" not in text and text] == [
        "1 (worst)",
        "2",
        "0 (best)",
    ]
    assert written[5:8] == ["10.00 dB  SSIM 0.100", "10.00 dB  SSIM 0.500", "12.00 dB  SSIM 0.500"]
    assert (pixels[:20, :100] < 100).any()  # the name is really drawn, over the first row
    assert (pixels[240:260, :100] < 200).any()  # and the numbers under it


def test_the_sheet_shows_twelve_pictures_at_most_and_shortens_long_names(tmp_path):
    sheet = ScoreSheet()
    names = [f"{'long' * 30}{number}" for number in range(14)]
    scores = [Score(name, float(number), 0.5, 0, 0, 0, 0) for number, name in enumerate(names)]
    for name in names:
        sheet.add("data", "A", Pair(name, Path(), Path()), *np.zeros((3, 20, 400, 3), np.float32))
    sheet.save(tmp_path / "sheet.png", {"data": [Evaluation("A", {}, scores)]})
    assert mirnet.read_image(tmp_path / "sheet.png").shape == (20 + 12 * (20 + 20 + 20), 3 * 406, 3)


def test_the_plot_has_a_panel_for_every_method_but_the_first_and_names_the_outliers(monkeypatch):
    named = []
    name = plots._name
    monkeypatch.setattr(plots, "_name", lambda axes, *rest: named.append(rest[-1]) or name(axes, *rest))
    first = of([20, 21, 22, 23, 24, 25, 26, 27, math.inf], "A")
    second = of([20, 21, 22, 23, 30, 25, 26, 27, 40], "B")
    one = Image.open(io.BytesIO(plots.draw_psnr({"data": [of([20, 30], mean_input=0.1)]})))
    three = Image.open(io.BytesIO(plots.draw_psnr({"data": [first, second, second], "more": [first, second, second]})))
    assert three.width == 2 * one.width
    assert len(named) == 5  # one method on one folder, two panels of two folders
    assert {0, 4, 8} <= set(named[1])  # the worst, the one that gained most, the best


def test_names_with_any_signs_in_them_are_drawn_as_they_are():
    scores = [Score(name, 20.0, 0.5, 0, 0, 0, 0, mean_input=0.1) for name in ("$\\frac$", "夜", "a_b^c")]
    assert plots.draw_psnr({"$x": [Evaluation("$\\bad$", {}, scores)], "夜": [Evaluation("$\\bad$", {}, scores)]})


# The command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def others(data: Path) -> Path:
    return finished(data, "others", lambda truth: truth - truth // 16)


def test_weights_and_results_stand_side_by_side(command, fake_weights, data, others, tmp_path):
    options = ["--weights", fake_weights(), "--weights", fake_weights(name="second"), "--results", others]
    drawn = ["--sheet", tmp_path / "sheet.png", "--plot", tmp_path / "plot.png"]
    done = command("evaluate", data, *options, *drawn)
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "3 methods on 4 pairs of data: means, and their 95 % intervals"
    assert lines[2].split() == ["fake", "second", "others"]
    assert any(line.startswith("psnr_true_exposure ") and line.endswith(" -") for line in lines)
    assert any(line.startswith("psnr ") and "others is better than fake by" in line for line in lines)
    assert any("fake and second can't be told apart" in line for line in lines)
    assert lines[-7].split() == ["image", "input", "fake", "second", "others"]
    assert "bootstrap" in lines[-1]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("sheet.png", "plot.png"))


def test_json_has_all_of_a_comparison(command, fake_weights, data, others):
    done = command("evaluate", data, "--weights", fake_weights(), "--results", others, "--json")
    said = json.loads(done.out)
    fake, other = said["evaluations"]
    assert (fake["method"], fake["weights"], len(fake["sha256"])) == ("fake", "fake", 64)
    assert (other["method"], other["results"]) == ("others", str(others))
    assert fake["data"] == {"dark": str(data / "low"), "bright": str(data / "high")}
    assert fake["over_input"]["psnr"]["sentence"].startswith("fake is better than its input by")
    (two,) = said["differences"]
    assert (two["a"], two["b"]) == ("fake", "others")
    assert two["columns"]["psnr"]["mean"] == pytest.approx(
        fake["means"]["psnr"]["mean"] - other["means"]["psnr"]["mean"]
    )
    assert two["columns"]["ciede2000"]["better"] == "others"
    assert "psnr_true_exposure" not in two["columns"]
    assert said["not_measured"] == {}


def test_several_folders_of_pairs_are_tables_and_an_overview(command, fake_weights, data, tmp_path):
    shutil.copytree(data, tmp_path / "more")
    (tmp_path / "more/low/0.png").unlink()
    (tmp_path / "more/high/0.png").unlink()
    done = command("evaluate", data, "--also", tmp_path / "more", "--weights", fake_weights(), "--no-colour")
    lines = done.out.splitlines()
    assert {"fake on 4 pairs of data", "fake on 3 pairs of more"} <= set(lines)
    start = next(number for number, line in enumerate(lines) if line.startswith("PSNR, dB "))
    assert [line.split()[:2] for line in lines[start + 1 : start + 3]] == [["data", "4"], ["more", "3"]]
    assert "was not measured: --no-colour was given." in done.out


def test_scenes_are_grouped_and_counted(command, fake_weights, data, tmp_path):
    (tmp_path / "scenes.csv").write_text("0,sea\n1,sea\n2,wood\n3,wood\n")
    options = ("--scenes", tmp_path / "scenes.csv", "--weights", fake_weights())
    lines = command("evaluate", data, *options).out.splitlines()
    assert lines[0] == "fake on 4 pairs in 2 scenes"
    start = next(number for number, line in enumerate(lines) if line.startswith("scene "))
    assert [line.split()[:2] for line in lines[start + 1 : start + 3]] == [["sea", "2"], ["wood", "2"]]
    assert json.loads(command("evaluate", data, *options, "--json").out)["scenes"]["sea"]["pictures"] == 2


def test_pure_noise_shows_what_was_gained(command, fake_weights, data):
    done = command("evaluate", data / "high", data / "high", "--keep-exposure", "--weights", fake_weights(), "--json")
    said = json.loads(done.out)
    assert said["means"]["psnr_input"]["mean"] == 100  # the input is the truth here
    assert "its input is better than fake by" in said["over_input"]["psnr"]["sentence"]


def without_the_extra(monkeypatch) -> None:
    for module in ("matplotlib", "skimage", "mirnet.evaluation.colour_difference", "mirnet.evaluation.plots"):
        monkeypatch.setitem(sys.modules, module, None)
    for name in ("colour_difference", "plots"):
        monkeypatch.delattr(f"mirnet.evaluation.{name}", raising=False)


def test_without_the_extra_scores_are_there_and_what_is_missing_is_said(command, fake_weights, data, monkeypatch):
    without_the_extra(monkeypatch)
    done = command("evaluate", data, "--weights", fake_weights(), "--sheet", data.parent / "sheet.png")
    assert (done.code, done.err) == (0, "")
    assert "CIEDE2000) was not measured: this needs the extra `evaluate`" in done.out
    assert "ciede2000 " not in done.out
    said = json.loads(command("evaluate", data, "--weights", fake_weights(), "--json").out)
    assert 'pip install "mirnet[evaluate]"' in said["not_measured"]["ciede2000"]


@pytest.mark.parametrize("asked", [["--colour"], ["--plot", "plot.png"]])
def test_what_needs_the_extra_is_answered_with_the_line_that_installs_it(
    command, fake_weights, data, monkeypatch, asked
):
    monkeypatch.chdir(data)
    without_the_extra(monkeypatch)
    done = command("evaluate", data, "--weights", fake_weights(), *asked)
    assert (done.code, done.out) == (2, "")
    assert 'pip install "mirnet[evaluate]"' in done.err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--results", "others", "--results", "others"], "others: is named twice"),
        (["--results", "others", "--also", "data"], "--results belong to one folder of pairs"),
        (["--results", "others", "--strength", "0.5"], "Finished results stay as they are"),
        (["--results", "data"], "4 of 4 pairs have no result there"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(command, data, others, monkeypatch, options, sentence):
    monkeypatch.chdir(data.parent)
    done = command("evaluate", data, *options)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err


def test_weights_of_one_name_are_told_apart_by_their_paths(command, fake_weights, data):
    one, other = fake_weights(), fake_weights()
    said = json.loads(command("evaluate", data, "--weights", one, "--weights", other, "--json").out)
    assert [each["method"] for each in said["evaluations"]] == [str(one), str(other)]
