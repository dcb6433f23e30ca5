"""One training run, readable from top to bottom: data, network, steps, checkpoints, validation."""

import contextlib
import csv
import fcntl
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from mirnet import metrics
from mirnet.errors import DataError, SettingsError, TrainingError
from mirnet.exposure import expose
from mirnet.network import Lite, SceneNetwork, build, checkpoints
from mirnet.thumbnail import thumbnail
from mirnet.training import head
from mirnet.training.data import Pair, Pairs, make_batch, read_pair
from mirnet.training.losses import charbonnier, dissimilarity
from mirnet.training.recipes import HEAD, PLAIN, Recipe


@dataclass(frozen=True)
class TrainSettings:
    """All that decides a run's result, beside its data."""

    preset: str = "lite"
    recipe: Recipe = PLAIN
    steps: int = 20_000
    hours: float | None = None  # instead of steps: the schedule follows the clock
    head_steps: int = 2_500
    seed: int = 0
    checkpoint_steps: int = 500
    validate_steps: int = 2_000
    log_steps: int = 50
    precision: Literal["float32", "bf16"] = "float32"
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        counts = (self.steps, self.checkpoint_steps, self.validate_steps, self.log_steps)
        if min(counts) < 1 or self.head_steps < 0 or (self.hours is not None and self.hours <= 0):
            raise SettingsError("Steps, hours and intervals must be positive.")
        if self.precision not in ("float32", "bf16"):
            raise SettingsError(f'precision is "float32" or "bf16", not "{self.precision}".')


@dataclass(frozen=True)
class Scores:
    """Validation on whole pictures, 8-bit rounded, range 1; the last four are NaN without exposure."""

    psnr: float
    ssim: float
    psnr_gt_mean: float
    psnr_true_exposure: float = math.nan
    ssim_true_exposure: float = math.nan
    stops_error_rms: float = math.nan

    @property
    def deciding(self) -> float:
        """What makes a checkpoint the best: PSNR at the truth's exposure, without exposure plain PSNR."""
        return self.psnr if math.isnan(self.psnr_true_exposure) else self.psnr_true_exposure


@dataclass
class Place:
    """Where a run is; saved with every checkpoint."""

    phase: str = "head"
    step: int = 0  # within the phase
    seconds: float = 0.0
    crop_pixels: int = 0
    best: float = -math.inf


LOG_COLUMNS = [
    "phase", "step", "seconds", "crop_pixels", "loss", "train_psnr", "learning_rate", "gradient_norm",
    *Scores.__dataclass_fields__,
]  # fmt: skip


class Report(Protocol):
    """Who watches a run: the command line's progress bar, or nobody."""

    def __call__(self, phase: str, progress: float, line: str) -> None: ...


def silent(phase: str, progress: float, line: str) -> None:
    """Nobody watches."""


class Optimisation:
    """The weights of one phase on their way: optimiser, clipping, moving average."""

    def __init__(self, parameters: dict[str, torch.nn.Parameter], recipe: Recipe) -> None:
        self.parameters, self.recipe = parameters, recipe
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimiser]
        self._optimiser = kind(
            parameters.values(), lr=recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay
        )
        self._updates = 0
        self._average = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def update(self, loss: Tensor, rate: float) -> float:
        """One step down the gradient of `loss`; gives the gradient's norm before clipping."""
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        limit = self.recipe.clip_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), limit))
        if not math.isfinite(norm):
            return norm
        self._optimiser.step()
        self._updates += 1
        # a young average forgets faster, or it would remember the random start
        decay = min(self.recipe.average, self._updates / (10 + self._updates))
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                self._average[name].lerp_(parameter, 1 - decay)
        return norm

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The network carries the moving average inside this context."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for name, parameter in self.parameters.items():
            parameter.data, self._average[name] = self._average[name], parameter.data

    def state(self) -> dict[str, Tensor]:
        """All tensors that going on exactly needs, beside the weights themselves."""
        tensors = {f"average/{name}": tensor for name, tensor in self._average.items()}
        states = self._optimiser.state_dict()["state"]
        for number, name in enumerate(self.parameters):
            tensors |= {f"optimiser/{key}/{name}": torch.as_tensor(v) for key, v in states.get(number, {}).items()}
        tensors["updates"] = torch.tensor(self._updates)
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        self._updates = int(tensors["updates"])
        state: dict[int, dict[str, Tensor]] = {}
        for number, name in enumerate(self.parameters):
            self._average[name].copy_(tensors[f"average/{name}"])
            keys = [key.split("/")[1] for key in tensors if key.startswith("optimiser/") and key.endswith("/" + name)]
            if keys:
                state[number] = {key: tensors[f"optimiser/{key}/{name}"] for key in keys}
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})


@dataclass
class Run:
    """A run folder, locked for this process: `checkpoints/`, `best.safetensors`, `log.csv`, `run.json`."""

    folder: Path
    _lock: Any = field(default=None, repr=False)

    def open(self) -> None:
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            # the operating system's lock: it goes with the process, however that ends
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(f"{self.folder}: another process trains there; choose another run folder.") from error

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    def last(self) -> Path | None:
        """The newest checkpoint, None before the first."""
        found = sorted(self.checkpoints.glob("*.safetensors"))
        return found[-1] if found else None

    def save(self, network: SceneNetwork, optimisation: Optimisation, place: Place) -> None:
        tensors = {f"network/{name}": tensor for name, tensor in checkpoints.entries(network).items()}
        header = {**checkpoints.describe(network.config), "place": asdict(place)}  # type: ignore[arg-type]
        number = {"head": 0, "restorer": 1}[place.phase]
        path = self.checkpoints / f"{number}-{place.phase}-{place.step:08d}.safetensors"
        write_atomically(path, checkpoints.to_bytes(tensors | optimisation.state(), header))
        for old in sorted(self.checkpoints.glob("*.safetensors"))[:-2]:
            old.unlink()

    def save_best(self, network: SceneNetwork, place: Place, scores: Scores) -> None:
        header = {**checkpoints.describe(network.config), "place": asdict(place), "scores": asdict(scores)}  # type: ignore[arg-type]
        write_atomically(self.best, checkpoints.to_bytes(checkpoints.entries(network), header))

    def log(self, row: dict[str, object]) -> None:
        path = self.folder / "log.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, LOG_COLUMNS, restval="")
            if new:
                writer.writeheader()
            writer.writerow(row)

    def rewind_log(self, place: Place) -> None:
        """Drop what an interrupted process logged after the checkpoint from which the run goes on."""
        path = self.folder / "log.csv"
        if path.exists():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if float(row["seconds"]) <= place.seconds]
            path.unlink()
            for row in rows:
                self.log(dict(row))


def write_atomically(path: Path, content: bytes) -> None:
    """Written beside the target and renamed into place: a reader never sees half a file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def train(pairs: Sequence[Pair], validation: Sequence[Pair], folder: Path, settings: TrainSettings, *,
          photos: Sequence[Path] = (), resume: bool = False, provenance: dict[str, object] | None = None,
          report: Report = silent, stop: Callable[[], bool] = lambda: False) -> bool:  # fmt: skip
    """Train on `pairs`, choose on `validation`, keep everything in `folder`; True when the run came to its end.

    `stop()` true ends it after the step at hand, with a checkpoint. Raises DataError, SettingsError
    (the folder is in use, or holds a run and `resume` is false) and TrainingError (the loss is no number).
    """
    run = Run(folder)
    run.open()
    if run.last() and not resume:
        raise SettingsError(f"{folder}: holds a run already; add --resume to go on with it, or choose another folder.")
    if resume and not run.last():
        report("start", 0, f"{folder}: nothing to resume yet; starting at step 0.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    if not run.last():
        about = {"settings": asdict(settings), **(provenance or {})}
        write_atomically(folder / "run.json", json.dumps(about, indent=2, default=str).encode())

    # (1) load and prepare the pairs, (2) sizes and (3) values are made uniform as batches are cut
    device = torch.device(settings.device)
    data = Pairs(pairs, photos, solve=takes_exposure(settings.preset), progress=lambda p: report("load", p, ""))

    # (4) define the model
    torch.manual_seed(settings.seed)
    network = build(settings.preset).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    # (5) train
    place = Place(phase="head" if isinstance(network, Lite) and settings.head_steps else "restorer")
    saved: dict[str, Tensor] = {}
    if newest := run.last():
        header, saved = checkpoints.read_own(newest)
        place = Place(**header["place"])  # type: ignore[arg-type]
        run.rewind_log(place)
        load_entries(network, {name[8:]: tensor for name, tensor in saved.items() if name.startswith("network/")})
    if place.phase == "head":
        assert isinstance(network, Lite)
        if not train_head(network, data, run, settings, place, saved, report, stop, device):
            return False
        place, saved = replace_phase(place), {}
    return train_restorer(network, data, validation, run, settings, place, saved, report, stop, device)


def replace_phase(place: Place) -> Place:
    """The head is done; the restorer starts, the clock goes on."""
    return replace(place, phase="restorer", step=0)


def takes_exposure(preset: str) -> bool:
    return preset == "lite"


def load_entries(network: SceneNetwork, tensors: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(tensors[name])


def train_head(network: Lite, data: Pairs, run: Run, settings: TrainSettings, place: Place, saved: dict[str, Tensor],
               report: Report, stop: Callable[[], bool], device: torch.device) -> bool:  # fmt: skip
    """The exposure head, on thumbnails; a few minutes."""
    groups = head.collect(data)
    named = {f"head.{name}": parameter for name, parameter in network.head.named_parameters()}
    optimisation = Optimisation(named, HEAD)
    if saved:
        optimisation.load(saved)
    started = time.monotonic() - place.seconds
    while place.step < settings.head_steps:
        progress = place.step / settings.head_steps
        thumbnails, truth = head.head_batch(groups, settings.seed, place.step, device)
        loss = head.head_loss(network.propose(thumbnails), truth)
        rate = HEAD.rate(place.step, progress)
        norm = optimisation.update(guarded(loss, place), rate)
        place.step += 1
        place.seconds = time.monotonic() - started
        if place.step % settings.log_steps == 0:
            run.log(log_row(place, loss, rate, norm))
            report("head", progress, f"loss {float(loss.detach()):.4f}")
        if place.step % settings.checkpoint_steps == 0 or stop():
            run.save(network, optimisation, place)
        if stop():
            return False
    with torch.no_grad():
        for name, tensor in optimisation._average.items():
            named[name].copy_(tensor)
    return True


def train_restorer(network: SceneNetwork, data: Pairs, validation: Sequence[Pair], run: Run, settings: TrainSettings,
                   place: Place, saved: dict[str, Tensor], report: Report, stop: Callable[[], bool],
                   device: torch.device) -> bool:  # fmt: skip
    """The restoration network itself, on crops."""
    recipe = settings.recipe
    named = {name: p for name, p in network.named_parameters() if not name.startswith("head.")}
    optimisation = Optimisation(named, recipe)
    if saved:
        optimisation.load(saved)
    if not saved:
        run.save(network, optimisation, place)
    started = time.monotonic() - place.seconds
    budget_seconds = settings.hours * 3600 if settings.hours else None
    while True:
        progress = place.seconds / budget_seconds if budget_seconds else place.step / settings.steps
        if progress >= 1:
            break
        stage = recipe.stage(progress)
        batch = make_batch(data, settings.seed, place.step, device, crop=stage.crop_px, index=range(stage.batch),
                           feed=recipe.feed, takes_exposure=isinstance(network, Lite))  # fmt: skip
        inputs = [x.contiguous(memory_format=torch.channels_last) for x in batch.inputs]
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            result = network(*inputs).float()
        loss = charbonnier(result, batch.target)
        if recipe.ssim_weight:
            loss = loss + recipe.ssim_weight * dissimilarity(result, batch.target)
        rate = recipe.rate(place.step, progress)
        norm = optimisation.update(guarded(loss, place), rate)
        place.step += 1
        place.crop_pixels += stage.batch * stage.crop_px**2
        place.seconds = time.monotonic() - started

        if place.step % settings.log_steps == 0:
            error = float(((result.detach().clamp(0, 1) - batch.target) ** 2).mean())
            run.log(log_row(place, loss, rate, norm) | {"train_psnr": f"{-10 * math.log10(max(error, 1e-12)):.4f}"})
            report("train", progress, f"step {place.step} loss {float(loss.detach()):.4f}")
        last_step = budget_seconds is None and place.step == settings.steps
        if validation and (place.step % settings.validate_steps == 0 or last_step):
            with optimisation.averaged():
                scores = validate(network, validation, device)
                run.log(log_row(place) | {k: f"{v:.4f}" for k, v in asdict(scores).items() if not math.isnan(v)})
                if scores.deciding > place.best:
                    place.best = scores.deciding
                    run.save_best(network, place, scores)
            report("validate", progress, f"step {place.step} {scores}")
            started = time.monotonic() - place.seconds  # validation is not training time
        if place.step % settings.checkpoint_steps == 0 or last_step or stop():
            run.save(network, optimisation, place)
        if stop():
            return False
    return True


def guarded(loss: Tensor, place: Place) -> Tensor:
    """The loss, or a TrainingError where it is no number."""
    if not math.isfinite(float(loss.detach())):
        raise TrainingError(
            f"The loss became {float(loss):g} at step {place.step} of the {place.phase}; the last checkpoint is kept. "
            "Lower the learning rate, or look for damaged pictures in the data."
        )
    return loss


def log_row(place: Place, loss: Tensor | None = None, rate: float | None = None, norm: float | None = None) -> dict[str, object]:
    row: dict[str, object] = {"phase": place.phase, "step": place.step, "seconds": f"{place.seconds:.1f}",
                              "crop_pixels": place.crop_pixels}  # fmt: skip
    if loss is not None and rate is not None and norm is not None:
        row |= {"loss": f"{float(loss.detach()):.6f}", "learning_rate": f"{rate:.3e}", "gradient_norm": f"{norm:.4f}"}
    return row


@torch.inference_mode()
def validate(network: SceneNetwork, pairs: Sequence[Pair], device: torch.device) -> Scores:
    """Scores of a network on whole pictures: with the head's proposal, and at the truth's exposure."""
    rows = []
    for pair in pairs:
        dark, truth = (to_unit(picture) for picture in read_pair(pair))
        if isinstance(network, Lite):
            proposal = network.propose(to_tensor(thumbnail(dark), device)).cpu()
            rows.append(_scores_with_exposure(network, dark, truth, proposal, device))
        else:
            result = metrics.rounded(to_array(network(to_tensor(dark, device))))
            rows.append((*_plain_scores(result, truth), math.nan, math.nan, math.nan))
    columns = np.array(rows).T
    means = [float(column.mean()) for column in columns]
    means[-1] = float(np.sqrt((columns[-1] ** 2).mean()))
    return Scores(*means)


def _plain_scores(result: metrics.Picture, truth: metrics.Picture) -> tuple[float, float, float]:
    return metrics.psnr(result, truth), metrics.ssim(result, truth), metrics.psnr(metrics.with_gt_mean(result, truth), truth)


def _scores_with_exposure(network: Lite, dark: metrics.Picture, truth: metrics.Picture, proposal: Tensor,
                          device: torch.device) -> tuple[float, ...]:  # fmt: skip
    from mirnet.network.lite import spread

    stops_map = spread(proposal, *dark.shape[:2])[0, 0].numpy()

    def render(added: float) -> metrics.Picture:
        stops = stops_map + np.float32(added)
        exposed = expose(dark, stops[:, :, None])
        result = network(to_tensor(exposed, device), torch.from_numpy(stops)[None, None].to(device))
        return metrics.rounded(to_array(result))

    proposed = render(0.0)
    true = metrics.at_truths_exposure(render, proposed, truth)
    return (*_plain_scores(proposed, truth), metrics.psnr(true.result, truth), metrics.ssim(true.result, truth),
            true.error_stops)  # fmt: skip


def to_unit(picture: np.ndarray[Any, Any]) -> metrics.Picture:  # (3, H, W) integers -> (H, W, 3) float32 in [0, 1]
    return np.ascontiguousarray(picture.transpose(1, 2, 0)).astype(np.float32) / np.float32(np.iinfo(picture.dtype).max)


def to_tensor(picture: metrics.Picture, device: torch.device) -> Tensor:  # (H, W, 3) -> (1, 3, H, W)
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32))[None].to(device)


def to_array(pictures: Tensor) -> metrics.Picture:  # (1, 3, H, W) -> (H, W, 3)
    return pictures[0].permute(1, 2, 0).cpu().numpy()
