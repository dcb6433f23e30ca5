"""What a run says of itself, `run.json`, and whether a command that would go on with it is the same."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from mirnet._version import __version__
from mirnet.datasets.pair_store import PairStore
from mirnet.datasets.reading import fingerprint
from mirnet.errors import SettingsError
from mirnet.pairs import Pair
from mirnet.training import warm_start
from mirnet.training.observer import ProgressObserver
from mirnet.training.runs.folder import RunFolder
from mirnet.training.settings import TrainSettings, find_device
from mirnet.training.sources import Sources, is_test_set
from mirnet.training.stored_names import to_stored

FREE_TO_DIFFER = {"device", "threads", "tensorboard"}  # a resumed run may change where it runs, not what it makes
REMOVED = {
    "settings.recipe.accumulate": 1,
    "settings.recipe.feed.gamma": 0.0,
    "settings.recipe.feed.mixup": 0.0,
}  # by default
INEXACT = (
    "The clock decides when a run with --hours ends, so this one's end is not exactly that of an uninterrupted run; "
    "with --steps it would be."
)


def describe(run: RunFolder, settings: TrainSettings, sources: Sources, pairs: PairStore, validation: Sequence[Pair],
             warnings: Sequence[str], resumed: bool, override: bool, observer: ProgressObserver) -> None:  # fmt: skip
    """Write `run.json` and the names of both sides, or hold a resumed run against them. Raises SettingsError."""
    fresh = {
        "settings": to_stored(settings),
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
            observer.say(f"Overridden: {change}.")
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
    """How a resumed run's command and data differ from its first. What an older run didn't record is not compared."""
    before, now = (_compared(about) for about in (recorded, fresh))
    removed = [f"{name.removeprefix('settings.')} was {before[name]}, which this version does not have"
               for name, default in REMOVED.items() if before.get(name, default) != default]  # fmt: skip
    return removed + [
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
        "mirnet": __version__,
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
