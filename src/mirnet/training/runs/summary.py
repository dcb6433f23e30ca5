"""What lies in run folders, read from outside and without torch: how far each run is, and how good.

The trainer itself uses `run_folder`, which writes these files; here nothing is written.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mirnet.errors import SettingsError, TrainingError
from mirnet.training.runs.lock import is_locked

State = Literal["running", "finished", "interrupted"]
LARGEST_HEADER = 100_000_000  # bytes, as the format's own readers have it
NOT_COMPARABLE = "These runs are not known to validate on the same pictures: their scores don't say which is better."
WORK_OF_A_RUN = ("log.csv", "checkpoints", "best.safetensors")


@dataclass(frozen=True)
class Run:
    """One run folder. `remarks` are sentences about what in it could not be read."""

    name: str  # its path below the folder that was searched
    path: Path
    about: dict[str, Any]  # run.json
    state: State
    phase: str
    step: int  # within the phase
    seconds: float  # of training
    crop_pixels: int
    samples: int | None  # crops; None where the run did not count them
    best: dict[str, float]  # scores of the network that validated best, empty where there is none
    remarks: tuple[str, ...] = ()

    @property
    def settings(self) -> dict[str, Any]:
        return _mapping(self.about.get("settings"))

    @property
    def preset(self) -> str:
        return str(self.settings.get("preset", "-"))

    @property
    def recipe(self) -> str:
        """Its name, where the run wrote it down; else the optimiser and the learning rate, which tell most apart."""
        recipe = _mapping(self.settings.get("recipe"))
        said = f"{recipe.get('optimiser', '-')} {recipe.get('learning_rate', '')}"
        return str(recipe.get("name") or self.about.get("recipe") or said.strip())

    @property
    def progress(self) -> str:
        """Steps, or hours where the run goes by the clock, done of those that were planned."""
        hours, steps = self.settings.get("hours"), self.settings.get("steps", "?")
        if self.phase == "head":
            return f"head {self.step} of {self.settings.get('head_steps', '?')}"
        return f"{self.step}, {self.seconds / 3600:.1f} of {hours:g} h" if hours else f"{self.step} of {steps}"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "path": str(self.path), "state": self.state, "preset": self.preset,
            "recipe": self.recipe, "phase": self.phase, "step": self.step, "steps": self.settings.get("steps"),
            "hours_planned": self.settings.get("hours"), "hours": self.seconds / 3600, "samples": self.samples,
            "crop_pixels": self.crop_pixels, "best": self.best or None, "started": self.about.get("started"),
            "settings": self.settings, "remarks": list(self.remarks),
        }  # fmt: skip


def find_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """All runs in `folder`, at any depth, by name; and a sentence for each folder that cannot be listed.

    Links are followed, each place once. Raises SettingsError where there is no such folder.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder}: expected a folder with runs in it; there is none.")
    if _is_run(folder):
        return _search(folder, folder, set())
    found: list[Run] = []
    remarks: list[str] = []
    without: list[str] = []
    seen: set[tuple[int, int]] = set()
    for child in _subfolders(folder, remarks):
        runs, said = _search(child, folder, seen)
        found += runs
        remarks += said
        if not runs and not said:
            without.append(child.name)
    if without:
        remarks.append(f"{folder}: no runs in {', '.join(without)}; a run folder holds a run.json.")
    return sorted(found, key=lambda run: run.name), remarks


def _search(folder: Path, top: Path, seen: set[tuple[int, int]]) -> tuple[list[Run], list[str]]:
    """The runs in `folder` and below, named by their path below `top`; and what is to be said."""
    here = folder.stat()
    if (here.st_dev, here.st_ino) in seen:  # a link in a circle, or to what is listed already
        return [], []
    seen.add((here.st_dev, here.st_ino))
    if _is_run(folder):
        try:
            return [read_run(folder, folder.relative_to(top).as_posix() if folder != top else folder.name)], []
        except TrainingError as error:
            return [], [f"{error}"]
    remarks: list[str] = []
    searched = [_search(child, top, seen) for child in _subfolders(folder, remarks)]
    return [run for runs, _ in searched for run in runs], [*remarks, *(line for _, said in searched for line in said)]


def _is_run(folder: Path) -> bool:
    work = [name for name in WORK_OF_A_RUN if (folder / name).exists()]
    return (folder / "run.json").exists() or len(work) > 1  # the second: a run that lost its description


def _subfolders(folder: Path, remarks: list[str]) -> list[Path]:
    """Folders in a folder, by name, hidden ones left out; a remark where it cannot be read."""
    try:
        return sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    except OSError as error:
        remarks.append(f"{folder}: this folder cannot be read ({error.strerror}); change its permissions.")
        return []


def read_run(folder: Path, name: str | None = None) -> Run:
    """The run in a folder. Raises TrainingError where its description cannot be read; the rest becomes remarks."""
    about = _description(folder / "run.json")
    remarks: list[str] = []
    place = _place(folder, remarks)
    best = _header(folder / "best.safetensors", remarks)
    scores = {name: float(value) for name, value in _mapping(best.get("scores")).items() if value is not None}
    at = {"step": _mapping(best.get("place")).get("step", 0)} if scores else {}
    settings = _mapping(about.get("settings"))
    phase, step, seconds = str(place.get("phase", "head")), int(place.get("step", 0)), float(place.get("seconds", 0))
    over = phase == "restorer" and _share(settings, step, seconds) >= 1
    return Run(
        name or folder.name, folder, about, "running" if is_locked(folder) else "finished" if over else "interrupted",
        phase, step, seconds, int(place.get("crop_pixels", 0)), place.get("crops"),
        {name: value for name, value in (scores | at).items() if value == value}, tuple(remarks),
    )  # fmt: skip


def _share(settings: Mapping[str, Any], step: int, seconds: float) -> float:
    """How much of the restorer's run is done, as the trainer counts it."""
    hours, steps = settings.get("hours"), settings.get("steps")
    return seconds / (3600 * hours) if hours else step / steps if steps else 0.0


def _description(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TrainingError(f"{path.parent}: has no run.json that can be read ({error.strerror}).") from error
    except ValueError as error:
        raise TrainingError(f"{path.parent}: its run.json is damaged ({error}); restore it.") from error
    if not isinstance(about, dict) or not isinstance(about.get("settings"), dict):
        raise TrainingError(f"{path.parent}: its run.json is no description of a training run.")
    return about


def _place(folder: Path, remarks: list[str]) -> dict[str, Any]:
    """Where the run is: by its newest checkpoint, or the log's last row where that is further."""
    saved: dict[str, Any] = {}
    newest = max((folder / "checkpoints").glob("[!.]*.safetensors"), default=None)
    if newest:
        saved = _mapping(_header(newest, remarks).get("place"))
    try:
        rows = [row for row in read_log(folder) if row.get("step", "").isdigit()]
    except TrainingError as error:
        remarks.append(f"{error}")
        rows = []
    if not rows:
        return saved
    last = rows[-1]
    order = {"head": 0, "restorer": 1}
    logged = (order.get(last.get("phase", ""), 0), int(last["step"]))
    if saved and logged <= (order.get(str(saved.get("phase")), 0), int(saved.get("step", 0))):
        return saved
    numbers = {name: number(last, name) for name in ("seconds", "crop_pixels")}
    known = {name: value for name, value in numbers.items() if value is not None}
    return saved | {"phase": last["phase"], "step": int(last["step"])} | known


def read_log(folder: Path) -> list[dict[str, str]]:
    """The rows of `log.csv`; what was not measured is an empty string. Raises TrainingError."""
    path = folder / "log.csv"
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise TrainingError(f"{path}: the log cannot be read ({error}).") from error
    return [row for row in rows if None not in row.values()]  # a row that is being written lacks its end


def number(row: Mapping[str, str], column: str) -> float | None:
    """A row's number; None where it was not measured, or the row was cut off in it."""
    try:
        return float(row.get(column, ""))
    except ValueError:
        return None


def _header(path: Path, remarks: list[str]) -> dict[str, Any]:
    """What mirnet wrote into the header of a safetensors file; empty where there is no file, or none of ours."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(LARGEST_HEADER, path.stat().st_size):
                raise ValueError("it is shorter than it says")
            header = json.loads(file.read(length))
        return _mapping(json.loads(header["__metadata__"]["mirnet"]))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        remarks.append(f"{path}: is damaged or no file of mirnet's ({error}); what it says is left out.")
        return {}


def differences(a: Run, b: Run) -> Iterator[tuple[str, str, str]]:
    """Settings and data in which two runs differ: the name, and what it is in either."""
    one, other = (_flattened({**run.settings, "data": _mapping(run.about.get("data"))}) for run in (a, b))
    for name in dict.fromkeys([*one, *other]):
        if one.get(name, "-") != other.get(name, "-"):
            yield name, one.get(name, "-"), other.get(name, "-")


def same_validation(a: Run, b: Run) -> bool:
    """Whether both say that they validate on the very same files."""
    one, other = (_mapping(_mapping(run.about.get("data")).get("validation")).get("sha256") for run in (a, b))
    return one is not None and one == other


def _flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
