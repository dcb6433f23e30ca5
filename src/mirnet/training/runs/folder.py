"""The folder of one training run: its files, its lock, and its checkpoints to resume from.

run.json                   settings, data with its hash, versions
train.txt, val.txt         the names of the pairs on both sides of the split
log.csv                    a row for every few steps, and one for each validation
checkpoints/               the newest two, with all that going on exactly needs; what turned out bad is *.set-aside
best.safetensors           the network that validated best
curves.png, head.png, sheet.png, strip.png
strip/                     a row of the same validation crops at each validation
card.json                  what exported weights will say of their origin, for a person to complete
tensorboard/               the log once more, where it was asked for
lock                       held by the process that trains here
"""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mirnet.errors import SettingsError, TrainingError, WeightsError
from mirnet.files import write_whole
from mirnet.network import SceneNetwork, checkpoints
from mirnet.training.runs.lock import hold_lock
from mirnet.training.validation import Scores

PHASES = ("head", "restorer")  # in this order
STEP_COLUMNS = ("loss", "train_psnr", "learning_rate", "gradient_norm", "samples_per_second", "waiting")
LOG_COLUMNS = ("phase", "step", "seconds", "crop_pixels", *STEP_COLUMNS, *Scores.__dataclass_fields__)
OURS = {"run.json", "card.json", "train.txt", "val.txt", "log.csv", "checkpoints", "best.safetensors", "lock",
        "curves.png", "head.png", "sheet.png", "strip.png", "strip", "tensorboard", "validation"}  # fmt: skip


@dataclass
class RunPosition:
    """Where a run is; saved with every checkpoint."""

    phase: str = "head"
    step: int = 0  # within the phase
    seconds: float = 0.0  # of training alone, without validation
    crops: int = 0
    crops_real: int = 0  # of these, cut from real pairs: says which pair comes next
    crop_pixels: int = 0
    skipped: int = 0  # the last so many updates were left out: their gradient was no number
    best: float = -math.inf  # the highest `Scores.deciding` so far


class RunFolder:
    """A run folder. Everything in it is written beside its target and renamed, but for the log, which grows.

    Of several processes that share a run, one `writes`; for the others, what writes does nothing.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.echo: Callable[[RunPosition, Mapping[str, float]], None] | None = None  # gets every row of the log
        self.checkpoints = path / "checkpoints"
        self.best = path / "best.safetensors"
        self.log_file = path / "log.csv"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder where it is missing, and keep other runs out. Raises SettingsError."""
        if not self.writes:
            yield
            return
        if self.path.is_dir() and not (self.path / "run.json").exists():
            entries = (entry.name for entry in self.path.iterdir())
            foreign = sorted(name for name in entries if name not in OURS and not name.startswith("."))
            if foreign:
                raise SettingsError(
                    f"{self.path}: expected a run folder or an empty one; it holds {foreign[0]}; choose another."
                )
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{self.path}: cannot be a run folder ({error.strerror}); choose another.") from error
        with hold_lock(self.path):
            for draft in self.path.rglob(".mirnet-*.part"):  # of a process that was killed while it wrote
                draft.unlink()
            yield

    def start_over(self) -> None:
        """Forget what a run left behind that ended before its first checkpoint."""
        for name in ("log.csv", "best.safetensors", "card.json", "curves.png", "head.png", "sheet.png", "strip.png"):
            if self.writes:
                (self.path / name).unlink(missing_ok=True)

    # --- what the run is ---

    def write(self, name: str, content: bytes) -> None:
        """A file of the run."""
        if self.writes:
            _write(self.path / name, content)

    def write_about(self, about: Mapping[str, object]) -> None:
        """`run.json`."""
        self.write("run.json", (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode())

    def about(self) -> dict[str, Any]:
        """What `run.json` says. Raises SettingsError."""
        path = self.path / "run.json"
        try:
            about = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"{path}: expected the description of a training run; it cannot be read.") from error
        if not isinstance(about, dict):
            raise SettingsError(f"{path}: expected the description of a training run; it holds something else.")
        return about

    # --- checkpoints ---

    def all(self) -> list[Path]:
        """The checkpoints, the newest last."""
        return sorted(self.checkpoints.glob("[!.]*.safetensors"))

    def last(self) -> Path | None:
        """The newest checkpoint, None before the first."""
        return next(reversed(self.all()), None)

    def save(self, network: SceneNetwork, optimiser_state: dict[str, Tensor], position: RunPosition) -> None:
        """A checkpoint; the newest two are kept."""
        if not self.writes:
            return
        tensors = {f"network/{name}": tensor for name, tensor in checkpoints.entries(network).items()}
        header = {**checkpoints.describe(network.config), "place": asdict(position)}  # type: ignore[arg-type]
        _write(self._checkpoint(position), checkpoints.to_bytes(tensors | optimiser_state, header))
        for old in self.all()[:-2]:
            old.unlink()

    def _checkpoint(self, position: RunPosition) -> Path:
        return self.checkpoints / f"{PHASES.index(position.phase)}-{position.phase}-{position.step:08d}.safetensors"

    def set_aside(self, position: RunPosition) -> None:
        """Not to go on from the checkpoint of this place, if there is one and an older one too."""
        if self.writes and self.all()[1:] and self.last() == self._checkpoint(position):
            _set_aside(self._checkpoint(position))

    def set_aside_damaged(self) -> list[str]:
        """Not to go on from a newest checkpoint that cannot be read; a sentence says so. WeightsError without another.

        A killed process or a full disk damages none; a failing disk does, or a copy that was not finished.
        """
        if not self.writes:
            return []
        sentences: list[str] = []
        found = self.all()
        while found:
            try:
                checkpoints.read_own(found[-1])
                break
            except WeightsError as error:
                if len(found) == 1:
                    raise WeightsError(
                        f"{error} It is the last of this run's checkpoints that is left; begin a new run, perhaps "
                        "--from this one's best.safetensors."
                    ) from error
                _set_aside(found[-1])
                sentences.append(f"{found[-1]}: is damaged and set aside; going on from {found[-2].name}.")
                found.pop()
        return sentences

    def load(self, network: SceneNetwork) -> tuple[RunPosition, dict[str, Tensor]]:
        """Put the newest checkpoint's weights into the network; gives its place and all its tensors.

        Raises SettingsError where it is of another network.
        """
        newest = self.last()
        assert newest is not None
        header, tensors = checkpoints.read_own(newest)
        if checkpoints.config_of(header, newest) != network.config:
            raise SettingsError(
                f"{newest}: holds another network than the one that is asked for; no --override can change a run's "
                f"--preset. Begin a new run --from {self.path} instead."
            )
        position = header["place"]
        assert isinstance(position, dict)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(tensors[f"network/{name}"])
        return RunPosition(**position), tensors

    def save_best(self, network: SceneNetwork, position: RunPosition, scores: Scores) -> None:
        """The network as it is now validated best."""
        if not self.writes:
            return
        header = {**checkpoints.describe(network.config), "place": asdict(position), "scores": asdict(scores)}  # type: ignore[arg-type]
        _write(self.best, checkpoints.to_bytes(checkpoints.entries(network), header))

    def best_scores(self) -> Scores | None:
        """How the best network validated; None where there is none."""
        if not self.best.exists():
            return None
        scores = checkpoints.read_own(self.best)[0]["scores"]
        assert isinstance(scores, dict)
        return Scores(**scores)

    # --- the log ---

    def log(self, position: RunPosition, values: Mapping[str, float]) -> None:
        """Append a row; numbers that are none stay empty."""
        if not self.writes:
            return
        if self.echo:
            self.echo(position, values)
        row = {
            "phase": position.phase,
            "step": position.step,
            "seconds": f"{position.seconds:.1f}",
            "crop_pixels": position.crop_pixels,
        }
        numbers = {name: f"{value:.6g}" for name, value in values.items() if not math.isnan(value)}
        new = not self.log_file.exists()
        try:
            with self.log_file.open("a", newline="") as file:
                writer = csv.DictWriter(file, LOG_COLUMNS)
                if new:
                    writer.writeheader()
                writer.writerow(row | numbers)
        except OSError as error:
            raise _unwritten(self.log_file, error) from error

    def rows(self) -> list[dict[str, str]]:
        """All rows of the log, a number that was not measured is an empty string."""
        if not self.log_file.exists():
            return []
        with self.log_file.open(newline="") as file:
            # a column that an older log does not have is empty, and so is the tail of a half-written last row
            return [{name: row.get(name) or "" for name in LOG_COLUMNS} for row in csv.DictReader(file)]

    def rewind_log(self, position: RunPosition) -> None:
        """Drop what an interrupted process logged after the checkpoint from which the run goes on."""
        if not self.writes:
            return
        here = (PHASES.index(position.phase), position.step)
        if self.log_file.exists():  # a full disk may have cut the last row
            whole = self.log_file.read_bytes()
            _write(self.log_file, whole[: whole.rfind(b"\n") + 1])
        kept = [row for row in self.rows() if (PHASES.index(row["phase"]), int(row["step"])) <= here]
        lines = [",".join(LOG_COLUMNS), *(",".join(row.values()) for row in kept)]
        _write(self.log_file, "".join(line + "\r\n" for line in lines).encode())
        for crops in (self.path / "strip").glob("*.png"):  # they follow the restorer's steps
            if crops.stem > f"{position.step if position.phase == 'restorer' else 0:08d}":
                crops.unlink()

    def has_scores(self, position: RunPosition) -> bool:
        """Whether the log says how the network validated at this place."""
        return any(
            row["phase"] == position.phase and row["step"] == str(position.step) and row["psnr"] for row in self.rows()
        )


def _set_aside(checkpoint: Path) -> None:
    checkpoint.rename(checkpoint.with_name(f"{checkpoint.name}.set-aside"))


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as error:
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> TrainingError:
    return TrainingError(
        f"{path}: could not be written ({error.strerror}); make room or change permissions, then add --resume. "
        "The last checkpoint is kept."
    )
