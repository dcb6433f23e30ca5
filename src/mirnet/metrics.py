"""Scores of a result against its ground truth: PSNR, SSIM and their variants. Range, channels and window are set here.

Images are (H, W, 3) float in [0, 1] (range 1), R, G and B, everywhere. A result is scored as it would be saved, rounded
to 8 bit (`round_to_8_bit`), unless a docstring says otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import solve_stops

PROTOCOL = (
    "whole pictures, R, G and B, range 1, result rounded to 8 bit; PSNR from the mean squared error over all pixels "
    "and channels; SSIM with a Gaussian window of 11 (sigma 1.5), population covariance, mean over channels; "
    "GT-mean columns scale the 8-bit result by mean(truth)/mean(result) and clip it, not rounded again; columns at the "
    "truth's exposure move the stops twice until the result's mean is the truth's"
)

ImageArray = NDArray[np.floating]


def round_to_8_bit(image: ImageArray) -> ImageArray:
    """The image clipped to [0, 1] and rounded to 8 bit, as it would be saved; still float, of the same dtype."""
    return np.asarray(np.round(np.clip(image, 0, 1) * 255) / 255, dtype=image.dtype)


def psnr(result: ImageArray, ground_truth: ImageArray) -> float:
    """Peak signal-to-noise ratio in dB, range 1, over all pixels and channels; infinity for equal images."""
    error = float(np.mean((result.astype(np.float64) - ground_truth.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else -10 * float(np.log10(error))


def ssim(result: ImageArray, ground_truth: ImageArray) -> float:
    """Structural similarity (Wang et al. 2004): Gaussian 11, sigma 1.5, range 1, population covariance.

    The mean over pixels and over R, G and B, higher is better, 1 for equal images. Windows lie inside the image, so
    that both sides need at least 11 pixels; smaller images give NaN.
    """
    if min(result.shape[:2]) < 11:
        return float("nan")
    a, b = result.astype(np.float64), ground_truth.astype(np.float64)
    mean_a, mean_b = _window(a), _window(b)
    variance_a, variance_b = _window(a * a) - mean_a**2, _window(b * b) - mean_b**2
    covariance = _window(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    )
    return float(similarity.mean())


def _window(x: ImageArray) -> ImageArray:  # (H, W, C) -> (H - 10, W - 10, C)
    weights = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    height, width = x.shape[0] - 10, x.shape[1] - 10
    x = np.asarray(sum(weight * x[i : i + height] for i, weight in enumerate(weights)))
    return np.asarray(sum(weight * x[:, i : i + width] for i, weight in enumerate(weights)))


def scale_to_gt_mean(result: ImageArray, ground_truth: ImageArray) -> ImageArray:
    """The result scaled so that its mean is that of the ground truth, then clipped: the field's "GT-mean"."""
    scaled = result * (ground_truth.mean(dtype=np.float64) / max(result.mean(dtype=np.float64), 1e-12))
    return np.asarray(np.clip(scaled, 0, 1))


@dataclass(frozen=True)
class AtGroundTruthExposure:
    """A result with the exposure of its ground truth, and the error of the proposed stops (positive: too dark)."""

    result: ImageArray
    error_stops: float


def score_at_ground_truth_exposure(
    render: Callable[[float], ImageArray], proposed: ImageArray, ground_truth: ImageArray
) -> AtGroundTruthExposure:
    """Render a result twice more, with the exposure moved until its mean is that of the ground truth.

    `render(stops)` gives the 8-bit rounded result with `stops` added to the proposal, `proposed` is
    `render(0)`. Each time the stops are solved that `expose` needs to bring the last result's mean to that of the
    ground truth; the first of these numbers is the error of the proposed exposure.
    """
    mean = float(ground_truth.mean(dtype=np.float64))
    error = solve_stops(proposed, mean)
    second = render(error)
    return AtGroundTruthExposure(render(error + solve_stops(second, mean)), error)
