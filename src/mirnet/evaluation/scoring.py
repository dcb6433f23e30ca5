"""Score an enhancer, or finished results in a folder, on pairs of images."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mirnet import images, metrics
from mirnet._version import __version__
from mirnet.errors import DataError
from mirnet.evaluation.scores import ColourDifference, Evaluation, Score, score_images
from mirnet.formats import find_format
from mirnet.inference.blending import Pixels, to_rgb
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.render_plan import RenderPlan, plan_image
from mirnet.inference.second_pass import SecondPass
from mirnet.inference.settings import Settings
from mirnet.inference.source import ImageSource
from mirnet.pairs import Pair

# Called with each pair and its scored images: dark, result and ground truth, upright (H, W, 3) in [0, 1].
ScoreObserver = Callable[[Pair, metrics.ImageArray, metrics.ImageArray, metrics.ImageArray], None]
Scored = tuple[
    Score, metrics.ImageArray, metrics.ImageArray, metrics.ImageArray
]  # a score, and dark, result and ground truth

# the settings that change pixels and enter the report
SHAPING = ("strength", "exposure", "keep_exposure", "denoise", "denoise_colour", "mood", "warmth")


def evaluate_enhancer(
    enhancer: Enhancer,
    pairs: Sequence[Pair],
    settings: Settings,
    *,
    method: str | None = None,
    scenes: Mapping[str, str] | None = None,
    colour: ColourDifference | None = None,
    progress: Callable[[float], None] = lambda done: None,
    observer: ScoreObserver | None = None,
) -> Evaluation:
    """Score what `mirnet enhance` writes: `enhancer` with `settings` on `pairs`, named `method` in reports.

    `progress` gets 0 to 1 after each pair, `observer` its images.
    Raises DataError where the two of a pair differ in size, PictureError, SettingsError.
    """
    enhancer.check(settings)

    def score_pair(pair: Pair) -> Scored:
        dark, truth = _open_equal_sizes(pair.dark, pair.bright)
        return _score_pair(enhancer, pair.name, dark, truth, settings, colour)

    card = enhancer.card
    origin = {
        "weights": card.name, "sha256": card.sha256, "settings": {name: getattr(settings, name) for name in SHAPING},
        "mirnet": __version__,
    }  # fmt: skip
    scores = _score_all(pairs, score_pair, progress, observer)
    return Evaluation(method or card.name, origin, scores, scenes, _folders(pairs))


def evaluate_results(folder: Path, pairs: Sequence[Pair], *, method: str | None = None,
                     scenes: Mapping[str, str] | None = None, colour: ColourDifference | None = None,
                     progress: Callable[[float], None] = lambda done: None, observer: ScoreObserver | None = None,
                     ) -> Evaluation:  # fmt: skip
    """Score finished images in `folder`, which any program may have made, with the pairs' names.

    They get no columns at the ground truth's exposure: for those the network runs again with another exposure, and to
    brighten its result afterwards would not be the same. Raises DataError, PictureError.
    """
    found = find_results(folder, pairs)

    def score_pair(pair: Pair) -> Scored:
        dark, _ = _open_equal_sizes(pair.dark, pair.bright)
        result, truth = _open_equal_sizes(found[pair.name], pair.bright)
        pictures = _upright(dark), metrics.round_to_8_bit(_upright(result)), _upright(truth)
        return score_images(pair.name, *pictures, colour), *pictures

    origin: dict[str, Any] = {"results": str(folder), "mirnet": __version__}
    return Evaluation(
        method or str(folder), origin, _score_all(pairs, score_pair, progress, observer), scenes, _folders(pairs)
    )


def find_results(folder: Path, pairs: Sequence[Pair]) -> dict[str, Path]:
    """The image in `folder` for each pair, by stem, whatever its suffix; other files are ignored. Raises DataError.

    The result of a pair `kitchen/0001` is `kitchen/0001.png` in the folder, or has another readable suffix.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of results; there is none.")
    found: dict[str, Path] = {}
    stems = {pair.name for pair in pairs}
    for parent in sorted({(folder / pair.name).parent for pair in pairs}):
        for path in sorted(parent.iterdir()) if parent.is_dir() else []:
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem not in stems or not find_format(path.suffix) or not path.is_file():
                continue
            if stem in found:
                raise DataError(f"{path} and {found[stem].name} have the same stem; keep one of them in {parent}.")
            found[stem] = path
    missing = [pair.name for pair in pairs if pair.name not in found]
    if missing:
        some = ", ".join(missing[:5]) + (" and others" if len(missing) > 5 else "")
        raise DataError(
            f"{folder}: {len(missing)} of {len(pairs)} pairs have no result there: {some}. "
            "Add images with the pairs' names or choose pairs with --names."
        )
    return found


def _score_all(
    pairs: Sequence[Pair],
    score_pair: Callable[[Pair], Scored],
    progress: Callable[[float], None],
    observer: ScoreObserver | None,
) -> list[Score]:
    scores = []
    for number, pair in enumerate(pairs):
        score, *pictures = score_pair(pair)
        scores.append(score)
        if observer:
            observer(pair, *pictures)
        progress((number + 1) / len(pairs))
    return scores


def _open_equal_sizes(one: Path, other: Path) -> tuple[images.Image, images.Image]:
    """Both images, opened. Raises DataError where their upright sizes differ, PictureError."""
    pictures = images.open_image(one), images.open_image(other)
    sizes = [images.upright_size(picture.header) for picture in pictures]
    if sizes[0] != sizes[1]:
        listed = " and ".join(f"{width}x{height}" for width, height in sizes)
        raise DataError(f"{one} and {other}: both images of a pair need one size, these have {listed}.")
    return pictures


def _folders(pairs: Sequence[Pair]) -> dict[str, str]:
    """The folder of each side that holds all of its images."""
    sides = {"dark": [pair.dark for pair in pairs], "bright": [pair.bright for pair in pairs]}
    return {side: os.path.commonpath([path.absolute().parent for path in paths]) for side, paths in sides.items()}


def _score_pair(
    enhancer: Enhancer,
    name: str,
    dark: images.Image,
    truth_file: images.Image,
    settings: Settings,
    colour: ColourDifference | None,
) -> Scored:
    """The scores of a pair, and its dark image, result and ground truth, upright (H, W, 3) in [0, 1]."""
    (stored,) = dark.bands(dark.header.height)
    source = ImageSource.from_array(stored, dark.header.orientation)
    observer, truth = _join_upright([stored], source.orientation), _upright(truth_file)

    def render_with(added_stops: float, plan: RenderPlan | None = None) -> metrics.ImageArray:
        plan = plan or plan_image(source, enhancer.runtime, enhancer.card, settings, added_stops)
        bands = SecondPass(source, plan, enhancer.runtime, enhancer.card, settings).render()
        return metrics.round_to_8_bit(_join_upright(bands, source.orientation))

    plan = plan_image(source, enhancer.runtime, enhancer.card, settings)
    result = render_with(0.0, plan)
    score = score_images(name, observer, result, truth, colour)
    if enhancer.card.takes_exposure:
        true = metrics.score_at_ground_truth_exposure(render_with, result, truth)
        score = replace(score, psnr_true_exposure=metrics.psnr(true.result, truth),
                        ssim_true_exposure=metrics.ssim(true.result, truth),
                        proposed_stops=plan.proposed_stops, stops_error=true.error_stops)  # fmt: skip
    return score, observer, result, truth


def _upright(picture: images.Image) -> metrics.ImageArray:
    """A whole image (H, W, 3) float32 in [0, 1], upright."""
    return _join_upright(picture.bands(picture.header.height), picture.header.orientation)


def _join_upright(bands: Iterable[Pixels], orientation: int) -> metrics.ImageArray:
    return images.turn_upright(to_rgb(np.concatenate(list(bands))), orientation)
