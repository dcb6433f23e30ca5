"""The whole of training in six steps: what `mirnet train` does, as one function of paths and settings."""

import contextlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import mirnet
from mirnet.errors import Cancelled, DataError, SettingsError
from mirnet.network import Lite, SceneNetwork, build
from mirnet.pairs import Pair, find_pairs
from mirnet.training import card, figures, warm_start
from mirnet.training.batches import is_noise_only
from mirnet.training.darken import darken
from mirnet.training.data import find_photos, fingerprint, pair_shape
from mirnet.training.inspect import split_by_scene
from mirnet.training.journal import journal
from mirnet.training.loop import Job, train_head, train_restorer
from mirnet.training.processes import launch, share_of_batch, told_once
from mirnet.training.run_folder import Place, RunFolder
from mirnet.training.settings import DEFAULTS, TrainSettings, find_device
from mirnet.training.store import Pairs
from mirnet.training.validation import Scores
from mirnet.training.watch import NOBODY, Watch

PHOTOS_SHARE = 0.5  # of the crops, where photos are given and the recipe says no share
FREE_TO_DIFFER = {
    "device",
    "threads",
    "tensorboard",
}  # settings that a resumed run may change: where it runs, not what it makes


INEXACT = (
    "The clock decides when a run with --hours ends, so this one's end is not exactly that of an uninterrupted run; "
    "with --steps it would be."
)


@dataclass(frozen=True)
class Sources:
    """Where a run's pictures and first weights come from.

    `data` holds pairs (`pairs.find_pairs`), or is the dark folder beside `bright`. Validation: `val`, laid out
    likewise; or the `val_names` of the data; or scenes that are split off. `synthetic` is a folder of good photos
    without partners, of which dark or noisy twins are made; with it `data` may be None. `start` is what the
    weights begin as (`warm_start.read`).
    """

    data: Path | None = None
    bright: Path | None = None
    val: Path | None = None
    names: Path | None = None
    val_names: Path | None = None
    synthetic: Path | None = None
    start: Path | None = None


def train(data: Path | None = None, bright: Path | None = None, *, run_dir: Path, settings: TrainSettings = DEFAULTS,
          val: Path | None = None, names: Path | None = None, val_names: Path | None = None,
          synthetic: Path | None = None, start: Path | None = None, resume: bool = False, override: bool = False,
          memory_bytes: int | None = None, watch: Watch = NOBODY, stop: Callable[[], bool] = lambda: False,
          ) -> Scores | None:  # fmt: skip
    """Train a network; everything that comes of it is in `run_dir`. The paths are those of `Sources`.

    `resume` goes on with an interrupted run, or starts; what differs from its first command is refused unless
    `override`. Pictures that do not fit into `memory_bytes` (None: a share of the memory) are read for each batch.

    Gives the best network's validation scores (None without validation). Raises SettingsError and DataError
    before any step; TrainingError where the run can't go on; Cancelled, with a checkpoint, once `stop()` is true.
    """
    sources = Sources(data, bright, val, names, val_names, synthetic, start)
    with threads_of(settings):
        fabric = launch(settings)
        watch = watch if fabric.is_global_zero else NOBODY
        run = RunFolder(Path(run_dir), writes=fabric.is_global_zero)
        with told_once(fabric, run.path), run.locked():
            fabric.barrier()
            resumed = _going_on(run, resume, watch)

            # (1) load and prepare the pairs
            preparing = _Preparing(watch, stop)
            chosen = choose(sources, run, settings, resumed, preparing.phase("load"), fabric.barrier)
            fabric.barrier()
            pairs = Pairs(chosen.training, chosen.photos, memory_bytes=memory_bytes, progress=preparing.phase("load"))
            settings = fed(settings, chosen)
            for places in (stage.batch for stage in settings.recipe.stages):
                share_of_batch(fabric, settings.recipe, places)
            warnings = _warnings(pairs, chosen.validation, settings)
            for warning in warnings:
                watch.say(f"Warning: {warning}")
            _describe(run, settings, sources, pairs, chosen.validation, warnings, resumed, override, watch)
            # (2) dimensions are made uniform and (3) values normalised where a batch is cut: batches.make_batch

            # (4) define the model
            network = define(settings, fabric.device)
            place = Place("head" if isinstance(network, Lite) and settings.head_steps else "restorer")
            saved: dict[str, Tensor] = {}
            if resumed:
                place, saved = run.load(network)
                run.rewind_log(place)
                if settings.hours:
                    watch.say(f"Going on after {place.seconds / 3600:.2f} of {settings.hours:g} hours. {INEXACT}")
            elif sources.start is not None:
                for line in warm_start.adopt(network, warm_start.read(sources.start), sources.start):
                    watch.say(line)
            fabric.barrier()  # nobody writes before everybody has read
            if isinstance(network, Lite):
                pairs.solve(preparing.phase("exposure"))

            # (5) train, first the exposure head where there is one
            job = Job(network, pairs, chosen.validation, run, settings, fabric, watch, stop)
            with journal(run, settings.tensorboard, place):
                finished = _train(job, place, saved, preparing)

            # (6) plot the result graphs
            if run.writes:
                figures.draw(run.path, fabric.device)
                card.write(run)
            if not finished:
                raise Cancelled(
                    f"Stopped, with a checkpoint in {run.checkpoints}; the same command with --resume goes on from "
                    "there."
                )
            return run.best_scores()


def _train(job: Job, place: Place, saved: dict[str, Tensor], preparing: "_Preparing") -> bool:
    if place.phase == "head":
        if not train_head(job, place, saved, preparing.phase("exposure")):
            return False
        place.phase, place.step, saved = "restorer", 0, {}
    return train_restorer(job, place, saved)


def define(settings: TrainSettings, device: torch.device) -> SceneNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build(settings.preset)
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@contextlib.contextmanager
def threads_of(settings: TrainSettings) -> Iterator[None]:
    """torch computes with that many threads inside; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class _Preparing:
    """Progress of what comes before the first step; there is nothing to keep of it when somebody stops."""

    watch: Watch
    stop: Callable[[], bool]

    def phase(self, name: str) -> Callable[[float], None]:
        def progress(done: float) -> None:
            if self.stop():
                raise Cancelled("Stopped before the first step; the same command with --resume added starts again.")
            self.watch.progress(name, done)

        return progress


# --- which data -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The pairs on both sides, and the photos without partners."""

    training: list[Pair]
    validation: list[Pair]
    photos: list[Path]


def choose(sources: Sources, run: RunFolder, settings: TrainSettings, resumed: bool,
           progress: Callable[[float], None], meet: Callable[[], None] = lambda: None) -> Chosen:  # fmt: skip
    """What a run learns from and what it is measured on; what is wrong with it is a DataError now, not later.

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
        darken(held_out, folder, seed=settings.seed, noise_only=is_noise_only(settings.recipe.feed), overwrite=True)
    meet()  # the first process has written them, all read them
    return find_pairs(folder), [photo for photo in photos if photo not in held_out]


def fed(settings: TrainSettings, chosen: Chosen) -> TrainSettings:
    """The settings with what there is to feed: without pairs everything is made of photos."""
    feed = settings.recipe.feed
    if not chosen.training and feed.real:
        feed = feed.with_synthetic(1.0)
    elif chosen.photos and feed.real >= 1:
        feed = feed.with_synthetic(PHOTOS_SHARE)
    return replace(settings, recipe=replace(settings.recipe, feed=feed))


def _warnings(pairs: Pairs, validation: Sequence[Pair], settings: TrainSettings) -> list[str]:
    found = []
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


# --- the run's description ------------------------------------------------------------------------


def _going_on(run: RunFolder, resume: bool, watch: Watch) -> bool:
    """Whether there is a checkpoint to go on from."""
    if run.last():
        if not resume:
            raise SettingsError(f"{run.path}: holds a run already; add --resume to go on, or choose another folder.")
        for line in run.set_aside_damaged():
            watch.say(line)
        return True
    if resume:
        watch.say(f"{run.path}: holds no checkpoint yet; starting at step 0.")
    run.start_over()
    return False


def _describe(run: RunFolder, settings: TrainSettings, sources: Sources, pairs: Pairs, validation: Sequence[Pair],
              warnings: Sequence[str], resumed: bool, override: bool, watch: Watch) -> None:  # fmt: skip
    """Write `run.json` and the names of both sides, or hold a resumed run against them. Raises SettingsError."""
    fresh = {
        "settings": json.loads(json.dumps(asdict(settings))),  # tuples as the lists that a file gives back
        "data": {
            "training": _described(pairs.pairs) if pairs.pairs else None,
            "validation": _described(validation) if validation else None,
            "synthetic": {"photos": len(pairs.photos), "sha256": fingerprint(pairs.photos)} if pairs.photos else None,
        },
        "start": warm_start.described(sources.start) if sources.start and not resumed else None,
        "from": str(sources.start) if sources.start else None,
        "test_set_used": is_test_set(validation) or is_test_set(pairs.pairs),
        "warnings": list(warnings),
        "versions": versions(settings),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if resumed:
        recorded = run.about()
        changed = _differences(recorded, fresh)
        if changed and not override:
            raise SettingsError(
                f"{run.path}: --resume goes on with the same settings and data, but {'; '.join(changed)}. "
                "Give what the run began with, add --override, or start another run folder."
            )
        for change in changed:
            watch.say(f"Overridden: {change}.")
        again = {"from": str(run.last()), "versions": fresh["versions"], "at": fresh["started"], "overridden": changed}
        if settings.hours:
            again["end"] = INEXACT
        now = {name: fresh[name] for name in ("settings", "data", "from")} if changed else {}
        run.write_about({**fresh, **recorded, **now, "resumed": [*recorded.get("resumed", []), again]})
    else:
        run.write_about(fresh)
    run.write("train.txt", "".join(f"{pair.name}\n" for pair in pairs.pairs).encode())
    run.write("val.txt", "".join(f"{pair.name}\n" for pair in validation).encode())


def _described(pairs: Sequence[Pair]) -> dict[str, object]:
    return {
        "dark": str(pairs[0].dark.parent.resolve()),
        "bright": str(pairs[0].bright.parent.resolve()),
        "pairs": len(pairs),
        "sha256": fingerprint(file for pair in pairs for file in (pair.dark, pair.bright)),
    }


def _differences(recorded: Mapping[str, object], fresh: Mapping[str, object]) -> list[str]:
    """How a resumed run's command and data differ from its first. What an older run didn't record isn't compared."""
    before, now = (_compared(about) for about in (recorded, fresh))
    return [
        f"{name.removeprefix('settings.')} was {before[name]} and is {now[name]}"
        for name in sorted(before.keys() & now.keys())
        if before[name] != now[name] and name.split(".")[-1] not in FREE_TO_DIFFER | {"dark", "bright"}
    ]


def _compared(about: Mapping[str, Any]) -> dict[str, object]:
    """What of a description must stay as it is; data that a run does not have counts 0."""
    data = {side: what or {"pairs": 0, "photos": 0} for side, what in about.get("data", {}).items()}
    start = {"--from": about["from"]} if "from" in about else {}
    return _flattened({"settings": about.get("settings", {}), "data": data, **start})


def _flattened(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        flat |= _flattened(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def versions(settings: TrainSettings) -> dict[str, object]:
    """What the run was made with."""
    return {
        "mirnet": mirnet.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning-fabric": version("lightning-fabric"),
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processes": int(os.environ.get("WORLD_SIZE", "1")),
        "device": str(find_device(settings.device)),
    }
