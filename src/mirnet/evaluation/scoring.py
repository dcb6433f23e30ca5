"""An enhancer, or results that lie in a folder, scored on pairs of pictures: in numbers that say what they are."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mirnet import images, metrics
from mirnet._version import __version__
from mirnet.errors import DataError
from mirnet.evaluation.scores import Colour, Evaluation, Score, score_of
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.second_pass import Pixels, Plan, Source, look, render, to_rgb
from mirnet.inference.settings import Settings
from mirnet.pairs import Pair

# Is shown every pair with what was scored: dark, result and truth, upright (H, W, 3) in [0, 1].
Seen = Callable[[Pair, metrics.Picture, metrics.Picture, metrics.Picture], None]
Scored = tuple[Score, metrics.Picture, metrics.Picture, metrics.Picture]  # a score, and what `Seen` is shown

# the settings that change pixels
SHAPING = ("strength", "exposure", "keep_exposure", "denoise", "denoise_colour", "mood", "warmth")


def evaluate(enhancer: Enhancer, pairs: Sequence[Pair], settings: Settings, *, method: str | None = None,
             scenes: Mapping[str, str] | None = None, colour: Colour | None = None,
             progress: Callable[[float], None] = lambda done: None, seen: Seen | None = None,
             ) -> Evaluation:  # fmt: skip
    """Scores of what `enhance` ships: `enhancer` with `settings` on `pairs`, called `method` beside others.

    Raises DataError where the two of a pair differ in size, PictureError, SettingsError.
    """
    enhancer.check(settings)

    def scored(pair: Pair) -> Scored:
        dark, truth = _two_of_one_size(pair.dark, pair.bright)
        return _score(enhancer, pair.name, dark, truth, settings, colour)

    card = enhancer.card
    origin = {
        "weights": card.name, "sha256": card.sha256, "settings": {name: getattr(settings, name) for name in SHAPING},
        "mirnet": __version__,
    }  # fmt: skip
    scores = _all(pairs, scored, progress, seen)
    return Evaluation(method or card.name, origin, scores, scenes, _folders(pairs))


def evaluate_results(folder: Path, pairs: Sequence[Pair], *, method: str | None = None,
                     scenes: Mapping[str, str] | None = None, colour: Colour | None = None,
                     progress: Callable[[float], None] = lambda done: None, seen: Seen | None = None,
                     ) -> Evaluation:  # fmt: skip
    """Scores of finished pictures in `folder`, named as the pairs are, whatever program made them.

    They have no columns at the truth's exposure: those ask a network again, at another exposure, and brightening
    its result afterwards would be another question. Raises DataError, PictureError.
    """
    found = find_results(folder, pairs)

    def scored(pair: Pair) -> Scored:
        dark, _ = _two_of_one_size(pair.dark, pair.bright)
        finished, truth = _two_of_one_size(found[pair.name], pair.bright)
        pictures = _upright(dark), metrics.rounded(_upright(finished)), _upright(truth)
        return score_of(pair.name, *pictures, colour), *pictures

    origin: dict[str, Any] = {"results": str(folder), "mirnet": __version__}
    return Evaluation(method or str(folder), origin, _all(pairs, scored, progress, seen), scenes, _folders(pairs))


def find_results(folder: Path, pairs: Sequence[Pair]) -> dict[str, Path]:
    """The picture in `folder` of each pair, by stem, whatever its suffix; others may lie there too. Raises DataError.

    A pair `kitchen/0001` has its result at `kitchen/0001.png`, or another suffix that we read, in the folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of results; there is none.")
    found: dict[str, Path] = {}
    stems = {pair.name for pair in pairs}
    for parent in sorted({(folder / pair.name).parent for pair in pairs}):
        for path in sorted(parent.iterdir()) if parent.is_dir() else []:
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem not in stems or not images.format_of_suffix(path.suffix) or not path.is_file():
                continue
            if stem in found:
                raise DataError(f"{path} and {found[stem].name} have one stem; keep one of them in {parent}.")
            found[stem] = path
    missing = [pair.name for pair in pairs if pair.name not in found]
    if missing:
        shown = ", ".join(missing[:5]) + (" and others" if len(missing) > 5 else "")
        raise DataError(
            f"{folder}: {len(missing)} of {len(pairs)} pairs have no result there: {shown}. "
            "Add pictures of the pairs' names or choose pairs with --names."
        )
    return found


def _all(pairs: Sequence[Pair], scored: Callable[[Pair], Scored], progress: Callable[[float], None],
         seen: Seen | None) -> list[Score]:  # fmt: skip
    scores = []
    for number, pair in enumerate(pairs):
        score, *pictures = scored(pair)
        scores.append(score)
        if seen:
            seen(pair, *pictures)
        progress((number + 1) / len(pairs))
    return scores


def _two_of_one_size(one: Path, other: Path) -> tuple[images.Picture, images.Picture]:
    """Both, opened. Raises DataError where a person sees them in different sizes, PictureError."""
    pictures = images.open_picture(one), images.open_picture(other)
    sizes = [images.upright_size(picture.header) for picture in pictures]
    if sizes[0] != sizes[1]:
        said = " and ".join(f"{width}x{height}" for width, height in sizes)
        raise DataError(f"{one} and {other}: a pair needs one size, these are {said}.")
    return pictures


def _folders(pairs: Sequence[Pair]) -> dict[str, str]:
    """The folder of either side, under which all its pictures lie."""
    sides = {"dark": [pair.dark for pair in pairs], "bright": [pair.bright for pair in pairs]}
    return {side: os.path.commonpath([path.absolute().parent for path in paths]) for side, paths in sides.items()}


def _score(enhancer: Enhancer, name: str, dark: images.Picture, truth_file: images.Picture, settings: Settings,
           colour: Colour | None) -> Scored:  # fmt: skip
    """Scores, and what was scored: dark, result and truth, upright (H, W, 3)."""
    (stored,) = dark.bands(dark.header.height)
    source = Source.of(stored, dark.header.orientation)
    seen, truth = _shown([stored], source.orientation), _upright(truth_file)

    def shown(added_stops: float, plan: Plan | None = None) -> metrics.Picture:
        plan = plan or look(source, enhancer.runtime, enhancer.card, settings, added_stops)
        bands = render(source, plan, enhancer.runtime, enhancer.card, settings)
        return metrics.rounded(_shown(bands, source.orientation))

    plan = look(source, enhancer.runtime, enhancer.card, settings)
    result = shown(0.0, plan)
    score = score_of(name, seen, result, truth, colour)
    if enhancer.card.takes_exposure:
        true = metrics.at_truths_exposure(shown, result, truth)
        score = replace(score, psnr_true_exposure=metrics.psnr(true.result, truth),
                        ssim_true_exposure=metrics.ssim(true.result, truth),
                        proposed_stops=plan.proposed_stops, stops_error=true.error_stops)  # fmt: skip
    return score, seen, result, truth


def _upright(picture: images.Picture) -> metrics.Picture:
    """A whole picture (H, W, 3) float32 in [0, 1], as a person sees it."""
    return _shown(picture.bands(picture.header.height), picture.header.orientation)


def _shown(bands: Iterable[Pixels], orientation: int) -> metrics.Picture:
    return images.upright(to_rgb(np.concatenate(list(bands))), orientation)
