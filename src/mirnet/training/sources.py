"""The data of a run: training pairs, validation pairs, photos, and warnings about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mirnet.datasets import checks
from mirnet.datasets.darkened_folder import darken
from mirnet.datasets.pair_store import PairStore
from mirnet.datasets.reading import find_photos, pair_shape
from mirnet.datasets.scene_split import split_by_scene
from mirnet.errors import DataError, SettingsError
from mirnet.pairs import Pair, find_pairs
from mirnet.training.batches import is_noise_only
from mirnet.training.runs.folder import RunFolder
from mirnet.training.settings import TrainSettings

PHOTOS_SHARE = 0.5  # of the crops, where photos are given and the recipe says no share


@dataclass(frozen=True)
class Sources:
    """Where a run's images and first weights come from.

    `data` holds pairs (`pairs.find_pairs`), or is the dark folder beside `bright`. Validation: `val`, laid out
    likewise; or the `val_names` of the data; or scenes that are split off. `synthetic` is a folder of good photos
    without partners, of which dark or noisy copies are made; with it `data` may be None. `start` is what the
    weights begin as (`warm_start.read`).
    """

    data: Path | None = None
    bright: Path | None = None
    val: Path | None = None
    names: Path | None = None
    val_names: Path | None = None
    synthetic: Path | None = None
    start: Path | None = None


@dataclass(frozen=True)
class Chosen:
    """The pairs on both sides, and the photos without partners."""

    training: list[Pair]
    validation: list[Pair]
    photos: list[Path]


def choose(sources: Sources, run: RunFolder, settings: TrainSettings, resumed: bool,
           progress: Callable[[float], None], meet: Callable[[], None] = lambda: None) -> Chosen:  # fmt: skip
    """Choose training pairs, validation pairs and photos. Raises DataError, SettingsError for data that cannot be used.

    Where several processes do this, `meet` lets each of them wait for the others.
    """
    photos = find_photos(sources.synthetic) if sources.synthetic else []
    if sources.data is None:
        if not photos:
            raise SettingsError(
                "There is nothing to train on: name a folder of pairs, or good photos with --synthetic."
            )
        training: list[Pair] = []
        validation, photos = _without_pairs(sources, run, settings, photos, resumed, meet)
    else:
        training, validation = _with_pairs(sources, sources.data, run, resumed, progress)
    for pair in validation:
        pair_shape(pair)
    return Chosen(training, validation, photos)


def _with_pairs(sources: Sources, data: Path, run: RunFolder, resumed: bool,
                progress: Callable[[float], None]) -> tuple[list[Pair], list[Pair]]:  # fmt: skip
    bright, names, val_names = sources.bright, sources.names, sources.val_names
    if sources.val is not None:
        return find_pairs(data, bright, names), find_pairs(sources.val, names=val_names)
    if val_names is not None:
        validation = find_pairs(data, bright, val_names)
        held_out = {pair.name for pair in validation}
        training = [pair for pair in find_pairs(data, bright, names) if names or pair.name not in held_out]
        if not training:
            raise DataError(f"{val_names}: names all pairs of {data}; leave some to train on.")
        return training, validation
    if resumed and (run.path / "val.txt").exists():  # as it was split when the run began
        return find_pairs(data, bright, run.path / "train.txt"), find_pairs(data, bright, run.path / "val.txt")
    return split_by_scene(find_pairs(data, bright, names), progress)


def _without_pairs(sources: Sources, run: RunFolder, settings: TrainSettings, photos: list[Path],
                   resumed: bool, meet: Callable[[], None]) -> tuple[list[Pair], list[Path]]:  # fmt: skip
    """Validation pairs, and the photos to train on: without --val a tenth of the photos is set apart, darkened."""
    if sources.val is not None:
        return find_pairs(sources.val, names=sources.val_names), photos
    if len(photos) < 2:
        return [], photos
    folder = run.path / "validation"
    held_out = photos[:: max(2, min(10, len(photos) // 2))]
    if run.writes and not resumed:
        darken(held_out, folder, seed=settings.seed, noise_only=is_noise_only(settings.recipe.crop_mix), overwrite=True)
    meet()  # the first process has written them, all read them
    return find_pairs(folder), [photo for photo in photos if photo not in held_out]


def with_crop_mix(settings: TrainSettings, chosen: Chosen) -> TrainSettings:
    """The settings with a crop mix that the data allow: without pairs every crop is made of photos."""
    crop_mix = settings.recipe.crop_mix
    if not chosen.training and crop_mix.real:
        crop_mix = crop_mix.with_synthetic(1.0)
    elif chosen.photos and crop_mix.real >= 1:
        crop_mix = crop_mix.with_synthetic(PHOTOS_SHARE)
    return replace(settings, recipe=replace(settings.recipe, crop_mix=crop_mix))


def warnings_about(pairs: PairStore, validation: Sequence[Pair], settings: TrainSettings,
                   progress: Callable[[float], None]) -> list[str]:  # fmt: skip
    """Sentences about what may spoil the run or its scores; nothing is refused."""
    found = checks.check_sample(pairs.pairs, validation, progress)
    batch = max(stage.batch for stage in settings.recipe.stages)
    if 0 < len(pairs) < batch:
        found.append(
            f"{len(pairs)} pairs are fewer than a batch of {batch}; crops of one picture will meet in a batch."
        )
    crop = max(stage.crop_px for stage in settings.recipe.stages)
    if all(min(shape.height, shape.width) < crop for shape in pairs.shapes):
        found.append(f"No picture holds a crop of {crop} px; all are padded by reflection. Consider a smaller --crop.")
    if not pairs.resident:
        found.append(
            "The pictures don't fit into their share of the memory; each batch reads its own, which is slower."
        )
    if not validation:
        found.append("There is only one scene, so nothing is left for validation; name other pairs with --val.")
    if {pair.dark.resolve() for pair in pairs.pairs} & {pair.dark.resolve() for pair in validation}:
        found.append("Some validation pairs are trained on too; their scores say little about other pictures.")
    if is_test_set(validation) or is_test_set(pairs.pairs):
        found.append("eval15 is the published test set; the run's description says that it was used.")
    return found


def is_test_set(pairs: Sequence[Pair]) -> bool:
    """Whether pairs lie in the folder of the published LOL test set."""
    return any("eval15" in (part.lower() for part in pair.dark.resolve().parts) for pair in pairs)
