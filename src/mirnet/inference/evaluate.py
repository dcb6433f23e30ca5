"""An enhancer scored on pairs of dark and bright pictures: what `enhance` ships, in numbers that say what they are."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mirnet import images, metrics
from mirnet.errors import DataError
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.render import Pixels, Plan, Source, look, render, to_rgb
from mirnet.inference.settings import Settings
from mirnet.pairs import Pair
from mirnet.thumbnail import area_weights


@dataclass(frozen=True)
class Score:
    """One picture's scores, by `metrics.PROTOCOL`; the last four are None for weights without exposure."""

    name: str
    psnr: float
    ssim: float
    psnr_gt_mean: float
    ssim_gt_mean: float
    psnr_true_exposure: float | None = None
    ssim_true_exposure: float | None = None
    proposed_stops: float | None = None
    stops_error: float | None = None  # of the proposal; positive: too dark


@dataclass(frozen=True)
class Mean:
    """A mean over pictures and its 95 % interval (percentile bootstrap over pictures, 10,000 draws)."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of all pictures, what they were made with, and the protocol in words."""

    weights: str
    sha256: str
    settings: dict[str, Any]
    scores: list[Score]

    protocol: ClassVar[str] = (
        f"{metrics.PROTOCOL}; in means, equal pictures count as 100 dB, and pictures under 11 pixels have no SSIM; "
        "the interval holds 95 % of the means of pictures drawn again (bootstrap, 10,000 draws)"
    )

    @property
    def means(self) -> dict[str, Mean]:
        """Per column that these weights have; plus `stops_error_rms`."""
        columns = {
            f.name: np.array([getattr(score, f.name) for score in self.scores], dtype=np.float64)  # None becomes NaN
            for f in fields(Score)
            if f.name != "name"
        }
        means = {name: _mean(values) for name, values in columns.items() if not np.isnan(values).all()}
        if "stops_error" in means:
            squares = _mean(columns["stops_error"] ** 2)
            means["stops_error_rms"] = Mean(*(float(np.sqrt(x)) for x in asdict(squares).values()))
        return means

    def to_json(self) -> dict[str, Any]:
        """Plain data; a number that is none (the PSNR of equal pictures, the SSIM of tiny ones) is None."""
        scores = [asdict(score) for score in self.scores]
        return {
            "weights": self.weights, "sha256": self.sha256, "settings": self.settings, "protocol": self.protocol,
            "pictures": len(scores), "means": {name: asdict(mean) for name, mean in self.means.items()},
            "scores": [{name: _finite(value) for name, value in score.items()} for score in scores],
        }  # fmt: skip


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _mean(values: metrics.Picture) -> Mean:
    finite = np.where(np.isinf(values), 100.0, values)  # equal pictures: 100 dB, so that a mean exists
    finite = finite[~np.isnan(finite)]
    draws = np.random.default_rng(0).integers(0, len(finite), (10_000, len(finite)))
    low, high = np.percentile(finite[draws].mean(1), [2.5, 97.5])
    return Mean(float(finite.mean()), float(low), float(high))


def evaluate(enhancer: Enhancer, pairs: Sequence[Pair], settings: Settings, *,
             progress: Callable[[float], None] = lambda done: None,
             seen: Callable[[Pair, metrics.Picture, metrics.Picture, metrics.Picture], None] | None = None,
             ) -> Evaluation:  # fmt: skip
    """Scores of `enhancer` on `pairs`; `seen(pair, dark, result, truth)` is shown every picture, (H, W, 3) in [0, 1].

    Raises DataError where the two of a pair differ in size, PictureError, SettingsError.
    """
    enhancer.check(settings)
    scores = []
    for number, pair in enumerate(pairs):
        dark, truth = images.open_picture(pair.dark), images.open_picture(pair.bright)
        sizes = images.upright_size(dark.header), images.upright_size(truth.header)
        if sizes[0] != sizes[1]:
            said = " and ".join(f"{width}x{height}" for width, height in sizes)
            raise DataError(f"{pair.dark} and {pair.bright}: a pair needs one size, these are {said}.")
        score, *pictures = _score(enhancer, pair.name, dark, truth, settings)
        scores.append(score)
        if seen:
            seen(pair, *pictures)
        progress((number + 1) / len(pairs))
    chosen = {name: getattr(settings, name) for name in ("strength", "exposure", "keep_exposure", "denoise")}
    return Evaluation(enhancer.card.name, enhancer.card.sha256, chosen, scores)


def _score(enhancer: Enhancer, name: str, dark: images.Picture, truth_file: images.Picture, settings: Settings,
           ) -> tuple[Score, metrics.Picture, metrics.Picture, metrics.Picture]:  # fmt: skip
    """Scores, and what was scored: dark, result and truth, upright (H, W, 3)."""
    (stored,) = dark.bands(dark.header.height)
    source = Source.of(stored, dark.header.orientation)
    truth = _upright(truth_file.bands(truth_file.header.height), truth_file.header.orientation)

    def shown(added_stops: float, plan: Plan | None = None) -> metrics.Picture:
        plan = plan or look(source, enhancer.runtime, enhancer.card, settings, added_stops)
        bands = render(source, plan, enhancer.runtime, enhancer.card, settings)
        return metrics.rounded(_upright(bands, source.orientation))

    plan = look(source, enhancer.runtime, enhancer.card, settings)
    result = shown(0.0, plan)
    calibrated = metrics.with_gt_mean(result, truth)
    score = Score(name, metrics.psnr(result, truth), metrics.ssim(result, truth),
                  metrics.psnr(calibrated, truth), metrics.ssim(calibrated, truth))  # fmt: skip
    if enhancer.card.takes_exposure:
        true = metrics.at_truths_exposure(shown, result, truth)
        score = replace(score, psnr_true_exposure=metrics.psnr(true.result, truth),
                        ssim_true_exposure=metrics.ssim(true.result, truth),
                        proposed_stops=plan.proposed_stops, stops_error=true.error_stops)  # fmt: skip
    return score, _upright([stored], source.orientation), result, truth


def _upright(bands: Iterable[Pixels], orientation: int) -> metrics.Picture:
    """A whole picture (H, W, 3) float32 in [0, 1], as a person sees it."""
    return images.upright(to_rgb(np.concatenate(list(bands))), orientation)


class Sheet:
    """Collects small copies of what was scored, for one picture to look at: rows of dark | result | truth."""

    HEIGHT_PX = 200
    ROWS = 12

    def __init__(self) -> None:
        self._rows: dict[str, metrics.Picture] = {}

    def add(self, pair: Pair, dark: metrics.Picture, result: metrics.Picture, truth: metrics.Picture) -> None:
        self._rows[pair.name] = np.concatenate(
            [_small(picture, self.HEIGHT_PX) for picture in (dark, result, truth)], axis=1
        )

    def save(self, path: Path, evaluation: Evaluation) -> None:
        """At most twelve rows, evenly chosen from the worst PSNR down to the best, as a PNG. PictureError."""
        ordered = sorted(evaluation.scores, key=lambda score: score.psnr)
        chosen = sorted({round(place) for place in np.linspace(0, len(ordered) - 1, min(self.ROWS, len(ordered)))})
        rows = [self._rows[ordered[place].name] for place in chosen]
        width = max(row.shape[1] for row in rows)
        padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=1) for row in rows]
        images.write_image(path, metrics.rounded(np.concatenate(padded)))


def _small(picture: metrics.Picture, height: int) -> metrics.Picture:
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    rows, columns = area_weights(picture.shape[0], height), area_weights(picture.shape[1], width)
    return np.asarray(np.einsum("tr,rwc,uw->tuc", rows, picture, columns, optimize=True), dtype=np.float32)
