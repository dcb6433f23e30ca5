"""Two methods on the same images: how much better one is, and whether the difference could be chance."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mirnet.evaluation.intervals import Mean, Numbers, mean_with_interval
from mirnet.evaluation.scores import Evaluation, replace_non_finite

# The compared columns: the unit after a number, decimals, and whether a higher value is better.
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
    "differences are means of the differences image by image, with the interval of that mean by the same, paired "
    "bootstrap; the intervals are not corrected for multiple comparisons"
)


@dataclass(frozen=True)
class Difference:
    """The mean of method a minus method b in one column, over the images that have both, with its interval."""

    column: str
    a: str
    b: str
    mean: Mean

    @property
    def better(self) -> str | None:
        """The name of the better method; None where the interval holds 0 or there is no interval."""
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
                return f"{self.a} and {self.b} can't be compared: {found}, but one image or scene has no interval"
            return f"{self.a} and {self.b} can't be told apart: {found}, 95 % {low:.{decimals}f} to {high:.{decimals}f}"
        ends = sorted((abs(low), abs(high)))
        worse = self.b if self.better == self.a else self.a
        return (
            f"{self.better} is better than {worse} by {abs(mean):.{decimals}f}{unit}, "
            f"95 % {ends[0]:.{decimals}f} to {ends[1]:.{decimals}f}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON; None for missing interval ends."""
        return {**replace_non_finite(asdict(self.mean)), "better": self.better, "sentence": self.sentence}


def compare(a: Evaluation, b: Evaluation) -> list[Difference]:
    """The differences of every column that both have; both must score the same images in the same order."""
    assert [score.name for score in a.scores] == [score.name for score in b.scores]
    found = (
        _difference(name, a.method, a.column(name), b.method, b.column(name), a.scenes_in_order) for name in COLUMNS
    )
    return [difference for difference in found if difference]


def compare_every_two(evaluations: Sequence[Evaluation]) -> list[list[Difference]]:
    """`compare` for every two evaluations, in their order."""
    return [compare(a, b) for a, b in combinations(evaluations, 2)]


def compare_with_input(evaluation: Evaluation) -> list[Difference]:
    """How much a method improves its input: PSNR and SSIM after minus before."""
    found = (
        _difference(name, evaluation.method, evaluation.column(name), "its input", evaluation.column(f"{name}_input"),
                    evaluation.scenes_in_order)
        for name in ("psnr", "ssim")
    )  # fmt: skip
    return [difference for difference in found if difference]


def _difference(column: str, a: str, of_a: Numbers, b: str, of_b: Numbers, scenes: Sequence[str] | None,
                ) -> Difference | None:  # fmt: skip
    """None where no image has both."""
    values = of_a - of_b
    return None if np.isnan(values).all() else Difference(column, a, b, mean_with_interval(values, scenes))
