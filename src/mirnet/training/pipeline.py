"""The whole of training in six steps: what `mirnet train` does, as one function of paths and settings."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mirnet.datasets.pair_store import PairStore
from mirnet.errors import Cancelled, SettingsError
from mirnet.network import Lite, SceneNetwork, build
from mirnet.training import warm_start
from mirnet.training.loop import TrainingContext, train_head, train_restorer
from mirnet.training.observer import SILENT, ProgressObserver
from mirnet.training.processes import launch, report_once, share_of_batch
from mirnet.training.runs import card, figures
from mirnet.training.runs.description import INEXACT, describe
from mirnet.training.runs.folder import RunFolder, RunPosition
from mirnet.training.runs.tensorboard_log import tensorboard_log
from mirnet.training.settings import DEFAULTS, TrainSettings
from mirnet.training.sources import Sources, choose, warnings_about, with_crop_mix
from mirnet.training.validation import Scores


def train(
    data: Path | None = None,
    bright: Path | None = None,
    *,
    run_dir: Path,
    settings: TrainSettings = DEFAULTS,
    val: Path | None = None,
    names: Path | None = None,
    val_names: Path | None = None,
    synthetic: Path | None = None,
    start: Path | None = None,
    resume: bool = False,
    override: bool = False,
    memory_bytes: int | None = None,
    observer: ProgressObserver = SILENT,
    stop: Callable[[], bool] = lambda: False,
) -> Scores | None:
    """Train a network; everything that comes of it is in `run_dir`. The paths are those of `Sources`.

    `resume` goes on with an interrupted run, or starts; what differs from its first command is refused unless
    `override`. Pictures that do not fit into `memory_bytes` (None: a share of the memory) are read for each batch.

    Gives the best network's validation scores (None without validation). Raises SettingsError and DataError
    before any step; TrainingError where the run can't go on; Cancelled, with a checkpoint, once `stop()` is true.
    """
    sources = Sources(data, bright, val, names, val_names, synthetic, start)
    with threads_of(settings):
        fabric = launch(settings)
        observer = observer if fabric.is_global_zero else SILENT
        run = RunFolder(Path(run_dir), writes=fabric.is_global_zero)
        with report_once(fabric, run.path), run.locked():
            fabric.barrier()
            resumed = _going_on(run, resume, observer)

            # (1) load and prepare the pairs
            preparing = _Preparing(observer, stop)
            chosen = choose(sources, run, settings, resumed, preparing.phase("load"), fabric.barrier)
            fabric.barrier()
            pairs = PairStore(
                chosen.training, chosen.photos, memory_bytes=memory_bytes, progress=preparing.phase("load")
            )
            settings = with_crop_mix(settings, chosen)
            for stage in settings.recipe.stages:
                share_of_batch(fabric, stage.batch)
            checking = preparing.phase("check")
            warnings = warnings_about(pairs, chosen.validation, settings, checking) if run.writes else []
            for warning in warnings:
                observer.say(f"Warning: {warning}")
            describe(run, settings, sources, pairs, chosen.validation, warnings, resumed, override, observer)
            # (2) dimensions are made uniform and (3) values normalised where a batch is cut: batches.make_batch

            # (4) define the model
            network = define(settings, fabric.device)
            position = RunPosition("head" if isinstance(network, Lite) and settings.head_steps else "restorer")
            saved: dict[str, Tensor] = {}
            if resumed:
                position, saved = run.load(network)
                run.rewind_log(position)
                if settings.hours:
                    observer.say(f"Going on after {position.seconds / 3600:.2f} of {settings.hours:g} hours. {INEXACT}")
            elif sources.start is not None:
                for line in warm_start.copy_weights(network, warm_start.read(sources.start), sources.start):
                    observer.say(line)
            fabric.barrier()  # nobody writes before everybody has read
            if isinstance(network, Lite):
                pairs.solve_exposures(preparing.phase("exposure"))

            # (5) train, first the exposure head where there is one
            context = TrainingContext(network, pairs, chosen.validation, run, settings, fabric, observer, stop)
            with tensorboard_log(run, settings.tensorboard, position):
                finished = _train(context, position, saved, preparing)

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


def _train(context: TrainingContext, position: RunPosition, saved: dict[str, Tensor], preparing: "_Preparing") -> bool:
    if position.phase == "head":
        if not train_head(context, position, saved, preparing.phase("exposure")):
            return False
        position.phase, position.step, saved = "restorer", 0, {}
    return train_restorer(context, position, saved)


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

    observer: ProgressObserver
    stop: Callable[[], bool]

    def phase(self, name: str) -> Callable[[float], None]:
        def progress(done: float) -> None:
            if self.stop():
                raise Cancelled("Stopped before the first step; the same command with --resume added starts again.")
            self.observer.progress(name, done)

        return progress


def _going_on(run: RunFolder, resume: bool, observer: ProgressObserver) -> bool:
    """Whether there is a checkpoint to go on from."""
    if run.last():
        if not resume:
            raise SettingsError(f"{run.path}: holds a run already; add --resume to go on, or choose another folder.")
        for line in run.set_aside_damaged():
            observer.say(line)
        return True
    if resume:
        observer.say(f"{run.path}: holds no checkpoint yet; starting at step 0.")
    run.start_over()
    return False
