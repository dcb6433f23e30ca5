"""Two methods on the same pictures: how much better one is, and whether that could be chance."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mirnet.evaluation.intervals import Mean, Numbers, mean_of
from mirnet.evaluation.scores import Evaluation, finite

# What is compared: the column, its unit after a number, decimals, and whether more of it is better.
COLUMNS = {
    "psnr": (" dB", 2, True),
    "ssim": ("", 3, True),
    "psnr_gt_mean": (" dB", 2, True),
    "ssim_gt_mean": ("", 3, True),
    "psnr_true_exposure": (" dB", 2, True),
    "ssim_true_exposure": ("", 3, True),
    "ciede2000": ("", 2, False),
}
PROTOCOL = (
    "differences are means of the differences picture by picture, with the interval of their means, drawn likewise "
    "(paired bootstrap); each interval stands for itself, they are not corrected for being several"
)


@dataclass(frozen=True)
class Difference:
    """One column's a minus b in the mean over the pictures that have both, with its interval."""

    column: str
    a: str
    b: str
    mean: Mean

    @property
    def better(self) -> str | None:
        """Which of the two is better; None where the interval holds 0 or there is none."""
        if not self.mean.has_interval or self.mean.low <= 0 <= self.mean.high:
            return None
        return self.a if (self.mean.mean > 0) == COLUMNS[self.column][2] else self.b

    @property
    def sentence(self) -> str:
        """For instance "A is better than B by 0.31 dB, 95 % 0.12 to 0.52"."""
        unit, decimals, _ = COLUMNS[self.column]
        mean, low, high = (round(x, decimals) + 0.0 for x in (self.mean.mean, self.mean.low, self.mean.high))
        if self.better is None:
            found = f"{self.a} minus {self.b} is {mean:+.{decimals}f}{unit}"
            if not self.mean.has_interval:
                return f"{self.a} and {self.b} can't be compared: {found}, but one picture or scene has no interval"
            return f"{self.a} and {self.b} can't be told apart: {found}, 95 % {low:.{decimals}f} to {high:.{decimals}f}"
        ends = sorted((abs(low), abs(high)))
        worse = self.b if self.better == self.a else self.a
        return (
            f"{self.better} is better than {worse} by {abs(mean):.{decimals}f}{unit}, "
            f"95 % {ends[0]:.{decimals}f} to {ends[1]:.{decimals}f}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data; ends that are none are None."""
        return {**finite(asdict(self.mean)), "better": self.better, "sentence": self.sentence}


def compare(a: Evaluation, b: Evaluation) -> list[Difference]:
    """The differences of every column that both have; both of the same pictures in the same order."""
    assert [score.name for score in a.scores] == [score.name for score in b.scores]
    found = (_difference(name, a.method, a.column(name), b.method, b.column(name), a.scene_of_each) for name in COLUMNS)
    return [difference for difference in found if difference]


def compare_all(evaluations: Sequence[Evaluation]) -> list[list[Difference]]:
    """`compare` of every two, in their order."""
    return [compare(a, b) for a, b in combinations(evaluations, 2)]


def gain(evaluation: Evaluation) -> list[Difference]:
    """What a method does for its input: PSNR and SSIM after and before."""
    found = (
        _difference(name, evaluation.method, evaluation.column(name), "its input", evaluation.column(f"{name}_input"),
                    evaluation.scene_of_each)
        for name in ("psnr", "ssim")
    )  # fmt: skip
    return [difference for difference in found if difference]


def _difference(column: str, a: str, of_a: Numbers, b: str, of_b: Numbers, scenes: Sequence[str] | None,
                ) -> Difference | None:  # fmt: skip
    """None where no picture has both."""
    values = of_a - of_b
    return None if np.isnan(values).all() else Difference(column, a, b, mean_of(values, scenes))
