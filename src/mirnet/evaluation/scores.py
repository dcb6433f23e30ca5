"""Scores as plain values: those of one image, and those of many with their means, intervals and protocol."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from mirnet import metrics
from mirnet.evaluation.intervals import RESAMPLES, Mean, Numbers, mean_with_interval

EQUAL_DB = 100.0  # equal images, whose PSNR is infinite, count as this, so that a mean exists

ColourDifference = Callable[
    [metrics.ImageArray, metrics.ImageArray], float
]  # of result and ground truth (H, W, 3) in [0, 1]


@dataclass(frozen=True)
class Score:
    """The scores of one image, by `Evaluation.protocol`; None where a score was not measured or does not apply."""

    name: str
    psnr: float
    ssim: float
    psnr_input: float  # of the dark or noisy input itself, for comparison
    ssim_input: float
    psnr_gt_mean: float
    ssim_gt_mean: float
    psnr_true_exposure: float | None = None  # this and the next: only of networks that take an exposure
    ssim_true_exposure: float | None = None
    ciede2000: float | None = None  # needs scikit-image
    proposed_stops: float | None = None
    stops_error: float | None = None  # ground truth minus result, in stops; positive: the result is too dark
    mean_input: float | None = None  # of the input's R, G and B values, 0 to 1


def score_images(
    name: str,
    dark: metrics.ImageArray,
    result: metrics.ImageArray,
    truth: metrics.ImageArray,
    colour: ColourDifference | None = None,
) -> Score:
    """The scores that need no second run of a network, of upright images (H, W, 3) in [0, 1].

    `result` is rounded to 8 bit.
    """
    calibrated, shown = metrics.scale_to_gt_mean(result, truth), metrics.round_to_8_bit(dark)
    return Score(
        name, metrics.psnr(result, truth), metrics.ssim(result, truth),
        psnr_input=metrics.psnr(shown, truth), ssim_input=metrics.ssim(shown, truth),
        psnr_gt_mean=metrics.psnr(calibrated, truth), ssim_gt_mean=metrics.ssim(calibrated, truth),
        ciede2000=colour(result, truth) if colour else None, mean_input=float(dark.mean(dtype=np.float64)),
    )  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """The scores of one method on pairs of images, with what is needed to read them.

    method: the name of the method in reports.
    origin: what made the results: weights, sha256 and settings of a network, or a folder of results.
    scenes: the scene of each image by name, where scenes are known.
    folders: the folders of the `dark` and the `bright` images.
    """

    method: str
    origin: dict[str, Any]
    scores: list[Score]
    scenes: Mapping[str, str] | None = None
    folders: dict[str, str] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """How every number is measured, in words."""
        return describe_protocol([self])

    def column(self, name: str) -> Numbers:
        """(N,) scores of that name as they enter a mean: NaN where there is none, 100 dB for equal images."""
        values = np.array([getattr(score, name) for score in self.scores], dtype=np.float64)  # None becomes NaN
        return np.where(np.isinf(values), EQUAL_DB, values)

    @property
    def scenes_in_order(self) -> list[str] | None:
        """The scene of each score, in the order of `scores`; None where scenes are not known."""
        return None if self.scenes is None else [self.scenes[score.name] for score in self.scores]

    @cached_property
    def means(self) -> dict[str, Mean]:
        """The mean and interval of each measured column, and of `stops_error_rms`."""
        columns = {f.name: self.column(f.name) for f in fields(Score) if f.name != "name"}
        known = {name: values for name, values in columns.items() if not np.isnan(values).all()}
        means = {name: mean_with_interval(values, self.scenes_in_order) for name, values in known.items()}
        if "stops_error" in means:
            squares = mean_with_interval(columns["stops_error"] ** 2, self.scenes_in_order)
            means["stops_error_rms"] = Mean(*(float(np.sqrt(x)) for x in asdict(squares).values()))
        return means

    @property
    def means_by_scene(self) -> dict[str, tuple[int, dict[str, float]]]:
        """By scene: the number of its images, and the mean of every column; empty where scenes are not known."""
        scenes = np.array(self.scenes_in_order or [])
        columns = {name: self.column(name) for name in self.means if name != "stops_error_rms"}
        return {
            scene: (int((scenes == scene).sum()),
                    {name: _mean_or_nan(values[scenes == scene]) for name, values in columns.items()})
            for scene in sorted(set(scenes.tolist()))
        }  # fmt: skip

    @property
    def from_worst_to_best(self) -> list[Score]:
        """The scores from the lowest PSNR to the highest."""
        return sorted(self.scores, key=lambda score: score.psnr)

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; None in place of infinite and missing numbers, as the PSNR of equal images."""
        ordered = self.from_worst_to_best
        scenes = {scene: {"pictures": count, "means": means} for scene, (count, means) in self.means_by_scene.items()}
        plain: dict[str, Any] = replace_non_finite({
            "method": self.method, **self.origin, "data": self.folders, "protocol": self.protocol,
            "pictures": len(self.scores), "means": {name: asdict(mean) for name, mean in self.means.items()},
            "scenes": None if self.scenes is None else scenes,
            "worst": ordered[0].name, "best": ordered[-1].name,
            "scores": [asdict(score) | ({"scene": self.scenes[score.name]} if self.scenes else {})
                       for score in self.scores],
        })  # fmt: skip
        return plain


EvaluationsByFolder = dict[str, list[Evaluation]]  # by the name of the folder of pairs; the same methods in each


def describe_protocol(evaluations: Sequence[Evaluation]) -> str:
    """How every number of some evaluations is measured, in words; only the columns that they have."""
    resampled = "scenes, each with all its images," if any(each.scenes for each in evaluations) else "images"
    parts = [
        metrics.PROTOCOL,
        "input columns score the dark or noisy input itself, rounded to 8 bit",
        f"in means, equal images count as {EQUAL_DB:.0f} dB, and images under 11 pixels have no SSIM",
        f"the interval holds 95 % of the means of {resampled} drawn again (percentile bootstrap, {RESAMPLES:,} draws)",
    ]
    if any("ciede2000" in each.means for each in evaluations):
        parts.append(
            "ciede2000 is the colour difference CIEDE2000 of sRGB under D65 (scikit-image), the mean over all pixels, "
            "0 where they are equal"
        )
    if any("results" in each.origin for each in evaluations):
        parts.append(
            "finished results have no columns at the ground truth's exposure, for which a network is run again"
        )
    return "; ".join(parts)


def replace_non_finite(value: Any) -> Any:
    """Plain data with None in place of every infinite number and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {name: replace_non_finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [replace_non_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean_or_nan(values: Numbers) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
