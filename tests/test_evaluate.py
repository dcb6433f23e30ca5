"""`mirnet evaluate` scores what `enhance` ships, by the protocol that it states."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mirnet
from mirnet import images, metrics
from mirnet.errors import DataError
from mirnet.evaluation.scores import Evaluation, Score
from mirnet.evaluation.scoring import evaluate_enhancer
from mirnet.exposure import expose, solve_stops
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings
from mirnet.pairs import find_pairs

pytestmark = pytest.mark.usefixtures("fake_networks")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pairs: bright noise, and the same three stops darker; the last one is stored turned."""
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
    random = np.random.default_rng(0)
    for number in range(4):
        coarse = random.random((5, 6, 3), dtype=np.float32).repeat(8, axis=0).repeat(8, axis=1)
        bright = np.clip(coarse * 0.7 + random.normal(0.1, 0.02, coarse.shape), 0, 1).astype(np.float32)
        low = np.round(expose(bright, np.float32(-3)) * 255).astype(np.uint8)
        if number == 3:
            exif = Image.Exif()
            exif[0x0112] = 6
            Image.fromarray(np.ascontiguousarray(images.turn_as_stored(low, 6))).save(tmp_path / "low/3.png", exif=exif)
        else:
            mirnet.write_image(tmp_path / f"low/{number}.png", low)
        mirnet.write_image(tmp_path / f"high/{number}.png", bright)
    return tmp_path


@pytest.fixture
def enhancer(fake_weights) -> Enhancer:
    return Enhancer(fake_weights())


def scored(enhancer: Enhancer, data: Path, settings: Settings = Settings()) -> Evaluation:  # noqa: B008
    return evaluate_enhancer(enhancer, find_pairs(data), settings)


@pytest.mark.parametrize("wish", [{}, {"strength": 0.5}, {"exposure": -1.0, "denoise": 0.5}, {"keep_exposure": True}])
def test_scores_are_of_what_enhance_gives(enhancer, data, wish):
    for score in scored(enhancer, data, Settings(**wish)).scores:
        shipped = images.read_image(enhancer.enhance(data / f"low/{score.name}.png", overwrite=True, **wish))
        result, truth = shipped / 255, images.read_image(data / f"high/{score.name}.png") / 255
        psnr = -10 * math.log10(((result - truth) ** 2).mean())
        assert score.psnr == pytest.approx(psnr, abs=1e-4)
        assert score.ssim == pytest.approx(metrics.ssim(result, truth), abs=1e-6)
        scaled = np.clip(result * truth.mean() / result.mean(), 0, 1)
        assert score.psnr_gt_mean == pytest.approx(-10 * math.log10(((scaled - truth) ** 2).mean()), abs=1e-3)
        assert score.ssim_gt_mean == pytest.approx(metrics.ssim(scaled, truth), abs=1e-5)


def test_the_exposure_is_moved_twice_to_the_truths(enhancer, data):
    for score in scored(enhancer, data).scores:
        low, truth = (images.read_image(data / f"{side}/{score.name}.png") for side in ("low", "high"))
        mean = (truth / 255).mean()
        first = solve_stops(enhancer.enhance(low) / 255, mean)
        second = first + solve_stops(enhancer.enhance(low, exposure=first) / 255, mean)
        result = enhancer.enhance(low, exposure=second) / 255
        # a thousandth: solving goes to 1e-4 stops, and a rotated picture is proposed the same to 1e-6
        assert score.stops_error == pytest.approx(first, abs=1e-3)
        assert score.proposed_stops == pytest.approx(2.0, abs=1e-6)
        assert score.psnr_true_exposure == pytest.approx(metrics.psnr(result, truth / 255), abs=0.02)
        assert score.ssim_true_exposure == pytest.approx(metrics.ssim(result, truth / 255), abs=1e-3)
        assert score.stops_error > 0.2  # two stops are proposed, the picture lacks three: too dark is positive


def test_means_their_interval_and_the_error_of_the_exposure():
    errors = (-1.0, 0.5, 2.0)
    scores = [Score(str(x), 20 + x, 0.5, 5, 0.1, 25, 0.6, stops_error=x) for x in errors]
    means = Evaluation("w", {}, scores).means
    assert means["psnr"].mean == pytest.approx(20.5)
    assert 19 <= means["psnr"].low < 20.5 < means["psnr"].high <= 22
    assert (means["ssim"].low, means["ssim"].high) == (0.5, 0.5)
    assert means["stops_error"].mean == pytest.approx(0.5)
    assert means["stops_error_rms"].mean == pytest.approx(math.sqrt((1 + 0.25 + 4) / 3))


def test_the_interval_is_that_of_the_normal_distribution_where_there_are_many_pictures():
    values = np.random.default_rng(1).normal(20, 2, 400)
    mean = Evaluation("w", {}, [Score(str(x), float(x), 0, 0, 0, 0, 0) for x in values]).means["psnr"]
    half = 1.96 * values.std() / math.sqrt(400)
    assert mean.high - mean.mean == pytest.approx(half, rel=0.1)
    assert mean.mean - mean.low == pytest.approx(half, rel=0.1)


def test_equal_and_tiny_pictures_have_means_and_valid_json(fake_weights, tmp_path):
    for side in ("low", "high"):
        (tmp_path / side).mkdir()
        mirnet.write_image(tmp_path / side / "a.png", np.full((5, 5, 3), 128, np.uint8))
    result = evaluate_enhancer(Enhancer(fake_weights()), find_pairs(tmp_path), Settings(strength=0))
    assert result.means["psnr"].mean == 100
    assert "ssim" not in result.means
    (score,) = json.loads(json.dumps(result.to_json(), allow_nan=False))["scores"]
    assert (score["psnr"], score["ssim"]) == (None, None)


def test_weights_without_exposure_have_no_columns_for_it(fake_weights, data):
    result = scored(Enhancer(fake_weights(takes_exposure=False)), data)
    without = ["psnr", "ssim", "psnr_input", "ssim_input", "psnr_gt_mean", "ssim_gt_mean", "mean_input"]
    assert list(result.means) == without
    assert result.scores[0].psnr_true_exposure is None


def test_a_pair_of_two_sizes_is_refused_by_name(enhancer, data):
    mirnet.write_image(data / "high/1.png", np.zeros((9, 8, 3), np.uint8), overwrite=True)
    with pytest.raises(DataError, match=r"low/1\.png and .*high/1\.png: .*48x40 and 8x9"):
        scored(enhancer, data)


# The command ---------------------------------------------------------------------------------------------------------


def test_json_is_all_there_is_on_standard_output(command, fake_weights, data):
    done = command("evaluate", data, "--json", "--weights", fake_weights())
    assert (done.code, done.err) == (0, "")
    said = json.loads(done.out)
    assert said["pictures"] == len(said["scores"]) == 4
    assert said["settings"] == {
        "strength": 1.0, "exposure": 0.0, "keep_exposure": False, "denoise": "auto", "denoise_colour": None,
        "mood": "day", "warmth": 0.0,
    }  # fmt: skip
    assert set(said["means"]["psnr_true_exposure"]) == {"mean", "low", "high"}
    assert {"stops_error", "stops_error_rms", "proposed_stops"} <= set(said["means"])
    assert said["protocol"].startswith(metrics.PROTOCOL)


def test_the_table_has_every_mean_and_picture_and_the_protocol(command, fake_weights, data):
    done = command("evaluate", data / "low", data / "high", "--weights", fake_weights(), "--strength", "0.5")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0] == "fake on 4 pairs"
    for name in ("psnr", "ssim_gt_mean", "psnr_true_exposure", "stops_error_rms"):
        assert any(line.startswith(f"{name} ") and "95 %: " in line for line in lines)
    assert [line.split()[0] for line in lines[-6:-2]] == ["0", "1", "2", "3"]
    assert lines[-1].startswith("Protocol: whole pictures")


def test_names_choose_pairs(command, fake_weights, data):
    (data / "some.txt").write_text("2\n0\n")
    done = command("evaluate", data, "--names", data / "some.txt", "--json", "--weights", fake_weights())
    assert [score["name"] for score in json.loads(done.out)["scores"]] == ["0", "2"]


@pytest.mark.parametrize("option", ["--sheet", "--plot"])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.jpg", "choose a name that ends in .png"),
        ("there.png", "is there already"),
        ("no/a.png", "there is no folder"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_before_hours_of_work(
    command, fake_weights, data, tmp_path, option, name, sentence
):
    (tmp_path / "there.png").write_bytes(b"precious")
    done = command("evaluate", data, option, tmp_path / name, "--weights", fake_weights())
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert (tmp_path / "there.png").read_bytes() == b"precious"


def test_unpaired_and_missing_pictures_are_sentences(command, fake_weights, data, tmp_path):
    (data / "low/0.png").unlink()
    unpaired = command("evaluate", data, "--weights", fake_weights())
    assert unpaired.code == 2
    assert "1 of 4 names lack a picture in" in unpaired.err
    (tmp_path / "empty/low").mkdir(parents=True)
    (tmp_path / "empty/high").mkdir()
    nothing = command("evaluate", tmp_path / "empty", "--weights", fake_weights())
    assert (nothing.code, "no pairs found" in nothing.err) == (2, True)


def test_a_damaged_picture_is_a_failure_on_the_way(command, fake_weights, data):
    (data / "low/2.png").write_bytes((data / "low/2.png").read_bytes()[:-400])
    done = command("evaluate", data, "--json", "--weights", fake_weights())
    assert (done.code, done.out) == (1, "")
    assert "2.png: expected a whole PNG image, but the file is damaged" in done.err
