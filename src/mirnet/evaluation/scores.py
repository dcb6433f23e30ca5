"""What scoring yields, as plain values: one picture's scores, and those of many with their means and protocol."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from mirnet import metrics
from mirnet.evaluation.intervals import DRAWS, Mean, Numbers, mean_of

EQUAL_DB = 100.0  # what equal pictures, whose PSNR is infinite, count as, so that a mean exists

Colour = Callable[[metrics.Picture, metrics.Picture], float]  # result and truth (H, W, 3) in [0, 1]


@dataclass(frozen=True)
class Score:
    """One picture's scores, by `Evaluation.protocol`; None is what was not measured or does not apply."""

    name: str
    psnr: float
    ssim: float
    psnr_input: float  # of the dark or noisy picture as it came: what the result must be held against
    ssim_input: float
    psnr_gt_mean: float
    ssim_gt_mean: float
    psnr_true_exposure: float | None = None  # this and the next: of networks that take an exposure
    ssim_true_exposure: float | None = None
    ciede2000: float | None = None  # needs scikit-image
    proposed_stops: float | None = None
    stops_error: float | None = None  # of the stops that it got; positive: too dark
    mean_input: float | None = None  # of the input's R, G and B, 0 to 1


def score_of(name: str, dark: metrics.Picture, result: metrics.Picture, truth: metrics.Picture,
             colour: Colour | None = None) -> Score:  # fmt: skip
    """The scores that ask no network, of upright pictures (H, W, 3) in [0, 1]; `result` is rounded to 8 bit."""
    calibrated, shown = metrics.with_gt_mean(result, truth), metrics.rounded(dark)
    return Score(
        name, metrics.psnr(result, truth), metrics.ssim(result, truth),
        psnr_input=metrics.psnr(shown, truth), ssim_input=metrics.ssim(shown, truth),
        psnr_gt_mean=metrics.psnr(calibrated, truth), ssim_gt_mean=metrics.ssim(calibrated, truth),
        ciede2000=colour(result, truth) if colour else None, mean_input=float(dark.mean(dtype=np.float64)),
    )  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """The scores of one method on pairs of pictures, and all that says what they are.

    method: how it is called beside others.
    origin: what made the results: weights, sha256, settings and device of a network, or a folder of results.
    scenes: the scene of each picture by name, where scenes are known.
    """

    method: str
    origin: dict[str, Any]
    scores: list[Score]
    scenes: Mapping[str, str] | None = None
    folders: dict[str, str] = field(default_factory=dict)  # dark and bright

    @property
    def protocol(self) -> str:
        """How every number came about, in words."""
        return protocol_of([self])

    def column(self, name: str) -> Numbers:
        """(N,) scores of that name as they enter a mean: NaN where there is none, 100 dB for equal pictures."""
        values = np.array([getattr(score, name) for score in self.scores], dtype=np.float64)  # None becomes NaN
        return np.where(np.isinf(values), EQUAL_DB, values)

    @property
    def scene_of_each(self) -> list[str] | None:
        """The scene of each score, in their order."""
        return None if self.scenes is None else [self.scenes[score.name] for score in self.scores]

    @cached_property
    def means(self) -> dict[str, Mean]:
        """Per column that there is; plus `stops_error_rms`."""
        columns = {f.name: self.column(f.name) for f in fields(Score) if f.name != "name"}
        known = {name: values for name, values in columns.items() if not np.isnan(values).all()}
        means = {name: mean_of(values, self.scene_of_each) for name, values in known.items()}
        if "stops_error" in means:
            squares = mean_of(columns["stops_error"] ** 2, self.scene_of_each)
            means["stops_error_rms"] = Mean(*(float(np.sqrt(x)) for x in asdict(squares).values()))
        return means

    @property
    def by_scene(self) -> dict[str, tuple[int, dict[str, float]]]:
        """How many pictures each scene has, and the mean of every column; empty where scenes are not known."""
        scenes = np.array(self.scene_of_each or [])
        columns = {name: self.column(name) for name in self.means if name != "stops_error_rms"}
        return {
            scene: (int((scenes == scene).sum()),
                    {name: _mean_or_nan(values[scenes == scene]) for name, values in columns.items()})
            for scene in sorted(set(scenes.tolist()))
        }  # fmt: skip

    @property
    def ordered(self) -> list[Score]:
        """From the worst PSNR to the best."""
        return sorted(self.scores, key=lambda score: score.psnr)

    def to_json(self) -> dict[str, Any]:
        """Plain data; a number that is none (the PSNR of equal pictures, the SSIM of tiny ones) is None."""
        ordered = self.ordered
        plain: dict[str, Any] = finite({
            "method": self.method, **self.origin, "data": self.folders, "protocol": self.protocol,
            "pictures": len(self.scores), "means": {name: asdict(mean) for name, mean in self.means.items()},
            "scenes": {scene: {"pictures": count, "means": means} for scene, (count, means) in self.by_scene.items()}
            if self.scenes is not None else None,
            "worst": ordered[0].name, "best": ordered[-1].name,
            "scores": [asdict(score) | ({"scene": self.scenes[score.name]} if self.scenes else {})
                       for score in self.scores],
        })  # fmt: skip
        return plain


def protocol_of(evaluations: Sequence[Evaluation]) -> str:
    """How every number of them came about, in words; what none of them has is left out."""
    drawn = "scenes, each with all its pictures," if any(each.scenes for each in evaluations) else "pictures"
    parts = [
        metrics.PROTOCOL,
        "input columns score the dark or noisy picture itself, rounded to 8 bit",
        f"in means, equal pictures count as {EQUAL_DB:.0f} dB, and pictures under 11 pixels have no SSIM",
        f"the interval holds 95 % of the means of {drawn} drawn again (percentile bootstrap, {DRAWS:,} draws)",
    ]
    if any("ciede2000" in each.means for each in evaluations):
        parts.append(
            "ciede2000 is the colour difference CIEDE2000 of sRGB under D65 (scikit-image), the mean over all pixels, "
            "0 where they are equal"
        )
    if any("results" in each.origin for each in evaluations):
        parts.append("finished results have no columns at the truth's exposure: for these a network is asked again")
    return "; ".join(parts)


def finite(value: Any) -> Any:
    """Plain data with None for every number that JSON does not know."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean_or_nan(values: Numbers) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
