"""The methods that an evaluation compares, and the folders of pairs that it scores them on, with names that differ."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mirnet.errors import SettingsError
from mirnet.evaluation import scoring
from mirnet.evaluation.scenes import group_by_scene
from mirnet.evaluation.scores import ColourDifference, Evaluation
from mirnet.evaluation.scoring import ScoreObserver
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings
from mirnet.pairs import Pair, find_pairs


@dataclass(frozen=True)
class PairFolder:
    """A folder of pairs under the name that a report gives it; `scenes` names the scene of each pair, where known."""

    name: str
    pairs: list[Pair]
    scenes: dict[str, str] | None


class Method(Protocol):
    """A way to enhance images that can be scored on pairs."""

    @property
    def name(self) -> str: ...

    def score(self, folder: PairFolder, colour: ColourDifference | None, progress: Callable[[float], None],
              observer: ScoreObserver | None) -> Evaluation: ...  # fmt: skip


@dataclass(frozen=True)
class WeightsMethod:
    """`mirnet enhance` with some weights and settings."""

    name: str
    enhancer: Enhancer
    settings: Settings

    def score(self, folder: PairFolder, colour: ColourDifference | None, progress: Callable[[float], None],
              observer: ScoreObserver | None) -> Evaluation:  # fmt: skip
        return scoring.evaluate_enhancer(self.enhancer, folder.pairs, self.settings, method=self.name,
                                         scenes=folder.scenes, colour=colour, progress=progress,
                                         observer=observer)  # fmt: skip


@dataclass(frozen=True)
class ResultsMethod:
    """Finished images of any program, in a folder."""

    name: str
    results: Path

    def score(self, folder: PairFolder, colour: ColourDifference | None, progress: Callable[[float], None],
              observer: ScoreObserver | None) -> Evaluation:  # fmt: skip
        return scoring.evaluate_results(self.results, folder.pairs, method=self.name, scenes=folder.scenes,
                                        colour=colour, progress=progress, observer=observer)  # fmt: skip


def load_pair_folders(folders: Sequence[tuple[Path, Path | None]], names: Path | None,
                      scenes: Path | None) -> list[PairFolder]:  # fmt: skip
    """The pairs of each (folder, folder of bright partners or None), chosen by the lists `names` and `scenes`.

    Raises DataError; SettingsError where a folder is named twice.
    """
    titles = choose_distinct_names([(folder.resolve().name, str(folder)) for folder, _ in folders])
    found = []
    for title, (folder, bright) in zip(titles, folders, strict=True):
        pairs = find_pairs(folder, bright, names)
        found.append(PairFolder(title, pairs, group_by_scene(pairs, scenes)))
    return found


def load_methods(weights: Sequence[str], results: Sequence[Path], settings: Settings, device: str,
                 threads: int | None, folders: Sequence[PairFolder]) -> list[Method]:  # fmt: skip
    """The methods of a command; all that can be refused is refused here, before hours of work.

    Raises SettingsError, WeightsError, DataError.
    """
    if not weights and settings != Settings():
        raise SettingsError("Finished results stay as they are: --strength, --exposure and the like need --weights.")
    if results and len(folders) > 1:
        raise SettingsError("--results belong to one folder of pairs; leave out --also.")
    for folder in results:
        scoring.find_results(folder, folders[0].pairs)
    enhancers = [Enhancer(each, device=device, threads=threads) for each in weights]
    for enhancer in enhancers:
        enhancer.check(settings)
    names = choose_distinct_names(
        [(enhancer.card.name, given) for enhancer, given in zip(enhancers, weights, strict=True)]
        + [(folder.resolve().name, str(folder)) for folder in results]
    )
    methods: list[Method] = [WeightsMethod(*each, settings) for each in zip(names, enhancers, strict=False)]
    return methods + [ResultsMethod(*each) for each in zip(names[len(enhancers) :], results, strict=True)]


def choose_distinct_names(names: Sequence[tuple[str, str]]) -> list[str]:
    """The short name of each (short, long), or the long one where short ones are equal.

    Raises SettingsError where two of the chosen names are equal too.
    """
    count_of_short = Counter(short for short, _ in names)
    chosen = [long if count_of_short[short] > 1 else short for short, long in names]
    repeated = next((name for name, count in Counter(chosen).items() if count > 1), None)
    if repeated is not None:
        raise SettingsError(f"{repeated}: is named twice; the compared methods and folders must differ.")
    return chosen
