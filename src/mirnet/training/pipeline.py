"""The whole of training in six steps: what `mirnet train` does, as one function of paths and settings."""

import contextlib
import json
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import mirnet
from mirnet.errors import Cancelled, DataError, SettingsError
from mirnet.network import Lite, SceneNetwork, build
from mirnet.pairs import Pair, find_pairs
from mirnet.training import figures
from mirnet.training.data import find_photos, fingerprint, pair_shape
from mirnet.training.inspect import split_by_scene
from mirnet.training.loop import Job, train_head, train_restorer
from mirnet.training.run_folder import Place, RunFolder
from mirnet.training.settings import DEFAULTS, TrainSettings, find_device
from mirnet.training.store import Pairs
from mirnet.training.validation import Scores
from mirnet.training.watch import NOBODY, Watch

FREE_TO_DIFFER = {"device", "threads"}  # settings that a resumed run may change: where it runs, not what it makes


def train(data: Path, bright: Path | None = None, *, run_dir: Path, settings: TrainSettings = DEFAULTS,
          val: Path | None = None, names: Path | None = None, val_names: Path | None = None,
          synthetic: Path | None = None, resume: bool = False, memory_bytes: int | None = None,
          watch: Watch = NOBODY, stop: Callable[[], bool] = lambda: False) -> Scores | None:  # fmt: skip
    """Train a network on pairs of dark and bright pictures; everything that comes of it is in `run_dir`.

    `data` holds two folders (`data.find_pairs`), or is the dark one beside `bright`. Validation: `val`, laid
    out likewise; or the `val_names` of the data; or scenes that are split off. `synthetic` is a folder of good
    photos without partners, for recipes that feed some. `resume` goes on with an interrupted run, or starts.

    Gives the best network's validation scores (None without validation). Raises SettingsError and DataError
    before any step; TrainingError where the run can't go on; Cancelled, with a checkpoint, once `stop()` is true.
    """
    device = find_device(settings.device)
    run = RunFolder(Path(run_dir))
    with run.locked(), _threads(settings.threads):
        resumed = _going_on(run, resume, watch)

        # (1) load and prepare the pairs
        preparing = _Preparing(watch, stop)
        training, validation = _choose(run, data, bright, val, names, val_names, resumed, preparing)
        photos = _photos(synthetic, settings)
        for pair in validation:
            pair_shape(pair)  # what is wrong with them is said now, not at the first validation
        pairs = Pairs(training, photos, memory_bytes=memory_bytes, progress=preparing.phase("load"))
        warnings = _warnings(pairs, validation, settings)
        for warning in warnings:
            watch.say(f"Warning: {warning}")
        _describe(run, settings, pairs, validation, warnings, resumed)
        # (2) dimensions are made uniform and (3) values normalised where a batch is cut: batches.make_batch

        # (4) define the model
        network = _define(settings, device)
        place = Place("head" if isinstance(network, Lite) and settings.head_steps else "restorer")
        saved: dict[str, Tensor] = {}
        if resumed:
            place, saved = run.load(network)
            run.rewind_log(place)
        if isinstance(network, Lite):
            pairs.solve(preparing.phase("exposure"))

        # (5) train, first the exposure head where there is one
        job = Job(network, pairs, validation, run, settings, device, watch, stop)
        finished = _train(job, place, saved, preparing)

        # (6) plot the result graphs
        figures.draw(run.path, device)
        if not finished:
            raise Cancelled(
                f"Stopped, with a checkpoint in {run.checkpoints}; the same command with --resume goes on from there."
            )
        return run.best_scores()


def _train(job: Job, place: Place, saved: dict[str, Tensor], preparing: "_Preparing") -> bool:
    if place.phase == "head":
        if not train_head(job, place, saved, preparing.phase("exposure")):
            return False
        place.phase, place.step, saved = "restorer", 0, {}
    return train_restorer(job, place, saved)


def _define(settings: TrainSettings, device: torch.device) -> SceneNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build(settings.preset)
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """torch computes with that many threads inside; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
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


def _choose(run: RunFolder, data: Path, bright: Path | None, val: Path | None, names: Path | None,
            val_names: Path | None, resumed: bool, preparing: _Preparing) -> tuple[list[Pair], list[Pair]]:  # fmt: skip
    """Training and validation pairs."""
    if val is not None:
        return find_pairs(data, bright, names), find_pairs(val, names=val_names)
    if val_names is not None:
        validation = find_pairs(data, bright, val_names)
        held_out = {pair.name for pair in validation}
        training = [pair for pair in find_pairs(data, bright, names) if names or pair.name not in held_out]
        if not training:
            raise DataError(f"{val_names}: names all pairs of {data}; leave some to train on.")
        return training, validation
    if resumed and (run.path / "val.txt").exists():  # as it was split when the run began
        return find_pairs(data, bright, run.path / "train.txt"), find_pairs(data, bright, run.path / "val.txt")
    return split_by_scene(find_pairs(data, bright, names), preparing.phase("load"))


def _photos(synthetic: Path | None, settings: TrainSettings) -> list[Path]:
    if synthetic is None:
        return []
    if settings.recipe.feed.real >= 1:
        raise SettingsError(
            "This recipe feeds pairs alone, so photos for --synthetic would not be used; try --recipe lite."
        )
    return find_photos(synthetic)


def _warnings(pairs: Pairs, validation: Sequence[Pair], settings: TrainSettings) -> list[str]:
    found = []
    batch = max(stage.batch for stage in settings.recipe.stages)
    if len(pairs) < batch:
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
        return True
    if resume:
        watch.say(f"{run.path}: holds no checkpoint yet; starting at step 0.")
    run.start_over()
    return False


def _describe(run: RunFolder, settings: TrainSettings, pairs: Pairs, validation: Sequence[Pair],
              warnings: Sequence[str], resumed: bool) -> None:  # fmt: skip
    """Write `run.json` and the names of both sides, or hold a resumed run against them. Raises SettingsError."""
    fresh = {
        "settings": json.loads(json.dumps(asdict(settings))),  # tuples as the lists that a file gives back
        "data": {
            "training": _described(pairs.pairs),
            "validation": _described(validation) if validation else None,
            "synthetic": {"photos": len(pairs.photos), "sha256": fingerprint(pairs.photos)} if pairs.photos else None,
        },
        "test_set_used": is_test_set(validation) or is_test_set(pairs.pairs),
        "warnings": list(warnings),
        "versions": versions(settings),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    if resumed:
        recorded = run.about()
        _refuse_differences(run, recorded, fresh)
        again = {"from": str(run.last()), "versions": fresh["versions"], "at": fresh["started"]}
        run.write_about({**fresh, **recorded, "resumed": [*recorded.get("resumed", []), again]})
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


def _refuse_differences(run: RunFolder, recorded: Mapping[str, object], fresh: Mapping[str, object]) -> None:
    """A resumed run must be the same command on the same data. What an older run didn't record isn't compared."""
    before, now = (
        _flattened({"settings": about.get("settings", {}), "data": about.get("data", {})})
        for about in (recorded, fresh)
    )
    differ = [
        f"{name.removeprefix('settings.')} was {before[name]} and is {now[name]}"
        for name in sorted(before.keys() & now.keys())
        if before[name] != now[name] and name.split(".")[-1] not in FREE_TO_DIFFER | {"dark", "bright"}
    ]
    if differ:
        raise SettingsError(
            f"{run.path}: --resume goes on with the same settings and data, but {'; '.join(differ)}. "
            "Give what the run began with, or start another run folder."
        )


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
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": str(find_device(settings.device)),
    }
