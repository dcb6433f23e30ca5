"""The metrics against scikit-image, and what their variants promise."""

import math

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mirnet.exposure import expose
from mirnet.metrics import (
    PROTOCOL,
    ImageArray,
    psnr,
    round_to_8_bit,
    scale_to_gt_mean,
    score_at_ground_truth_exposure,
    ssim,
)


def pair(height: int, width: int, seed: int = 0) -> tuple[ImageArray, ImageArray]:
    """A smooth picture with some texture, and a noisy copy, 8-bit rounded."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width][..., None]
    smooth = 0.5 + 0.4 * np.sin(rows / 7) * np.cos(columns / np.array([5, 9, 13]))
    truth = round_to_8_bit(np.clip(smooth + 0.05 * draws.standard_normal((height, width, 3)), 0, 1).astype(np.float32))
    return round_to_8_bit((0.8 * truth + 0.06 * draws.standard_normal(truth.shape)).astype(np.float32)), truth


SIZES = [(11, 11), (12, 40), (37, 23), (64, 80)]


@pytest.mark.parametrize("size", SIZES)
def test_psnr_is_scikit_image_s(size: tuple[int, int]) -> None:
    result, truth = pair(*size)
    expected = peak_signal_noise_ratio(truth.astype(np.float64), result.astype(np.float64), data_range=1)
    assert psnr(result, truth) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_ssim_is_scikit_image_s(size: tuple[int, int]) -> None:
    result, truth = pair(*size)
    expected = structural_similarity(
        truth.astype(np.float64), result.astype(np.float64), data_range=1, channel_axis=2,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(result, truth) == pytest.approx(expected, abs=1e-6)


def test_a_picture_is_like_itself() -> None:
    _, truth = pair(20, 30)
    assert psnr(truth, truth) == math.inf
    assert ssim(truth, truth) == pytest.approx(1, abs=1e-12)


def test_psnr_of_a_known_error() -> None:
    truth = np.zeros((4, 5, 3), dtype=np.float32)
    assert psnr(truth + np.float32(0.1), truth) == pytest.approx(20, abs=1e-5)


@pytest.mark.parametrize("size", [(10, 40), (40, 10), (1, 1)])
def test_ssim_of_a_picture_smaller_than_its_window_is_no_number(size: tuple[int, int]) -> None:
    assert math.isnan(ssim(*pair(*size)))


def test_rounding_is_what_saving_in_8_bit_does() -> None:
    x = np.array([-0.2, 0.0, 0.4 / 255, 0.6 / 255, 0.5, 254.6 / 255, 1.0, 1.3], dtype=np.float32)
    assert np.array_equal(np.round(round_to_8_bit(x) * 255), [0, 0, 0, 1, 128, 255, 255, 255])
    assert round_to_8_bit(x).dtype == np.float32
    assert np.array_equal(round_to_8_bit(round_to_8_bit(x)), round_to_8_bit(x))


def test_gt_mean_brings_the_mean_to_the_truth_s_where_nothing_clips() -> None:
    result, truth = pair(30, 40)
    scaled = scale_to_gt_mean(0.25 * result, 0.5 * truth)
    assert scaled.mean(dtype=np.float64) == pytest.approx(0.5 * truth.mean(dtype=np.float64), rel=1e-6)
    # one factor for all pixels and channels
    factor = scaled[result > 0] / (0.25 * result[result > 0])
    assert np.ptp(factor) < 1e-5


def test_gt_mean_forgives_a_wrong_gain_and_clips() -> None:
    _, truth = pair(30, 40)
    assert psnr(scale_to_gt_mean(0.4 * truth, truth), truth) > 120
    bright = scale_to_gt_mean(truth, np.ones_like(truth))
    assert bright.max() == 1
    assert bright.min() >= 0


def test_gt_mean_of_a_black_result_is_a_number() -> None:
    black = np.zeros((4, 4, 3), dtype=np.float32)
    assert np.isfinite(scale_to_gt_mean(black, np.ones_like(black))).all()


@pytest.mark.parametrize("error_stops", [-1.5, -0.4, 0.0, 0.7, 2.0])
def test_a_known_error_of_the_exposure_is_found_and_taken_back(error_stops: float) -> None:
    _, truth = pair(40, 50)

    def render(stops: float) -> ImageArray:  # the proposal is `error_stops` too dark
        return round_to_8_bit(expose(truth, stops - error_stops))

    found = score_at_ground_truth_exposure(render, render(0), truth)
    assert found.error_stops == pytest.approx(error_stops, abs=0.05)
    assert found.result.mean() == pytest.approx(truth.mean(), abs=1e-3)
    assert psnr(found.result, truth) > 45


def test_a_renderer_that_answers_with_half_the_stops_is_asked_twice() -> None:
    _, truth = pair(40, 50)
    asked: list[float] = []

    def render(stops: float) -> ImageArray:
        asked.append(stops)
        return round_to_8_bit(expose(truth, 0.7 * stops - 1.0))

    found = score_at_ground_truth_exposure(render, round_to_8_bit(expose(truth, -1.0)), truth)
    assert len(asked) == 2
    assert asked[0] == found.error_stops == pytest.approx(1.0, abs=0.05)
    assert asked[1] == pytest.approx(1.3, abs=0.05)  # what is left of the error, added to it


def test_the_protocol_says_range_window_rounding_and_gt_mean() -> None:
    for word in ("range 1", "11", "1.5", "population", "8 bit", "GT-mean", "truth's exposure"):
        assert word in PROTOCOL
