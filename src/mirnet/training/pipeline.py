"""Training in six steps, as one function of paths and settings: what `mirnet train` does.

(1) load and prepare, (2) uniform dimensions, (3) normalise, (4) define the model, (5) train, (6) plot the results.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from lightning_fabric import Fabric
from torch import Tensor

from mirnet.datasets.pair_store import PairStore
from mirnet.errors import Cancelled, SettingsError
from mirnet.network import Lite, SceneNetwork, build
from mirnet.pairs import Pair
from mirnet.training import warm_start
from mirnet.training.batches import make_dimensions_uniform, normalise
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
    `override`. Images that do not fit into `memory_bytes` (None: a share of the memory) are read for each batch.

    Gives the best network's validation scores (None without validation). Raises SettingsError and DataError
    before any step; TrainingError where the run cannot go on; Cancelled, with a checkpoint, once `stop()` is true.
    """
    sources = Sources(data, bright, val, names, val_names, synthetic, start)
    with threads_of(settings):
        fabric = launch(settings)
        observer = observer if fabric.is_global_zero else SILENT
        run = RunFolder(Path(run_dir), writes=fabric.is_global_zero)
        with report_once(fabric, run.path), run.locked():
            fabric.barrier()
            resumed = _open_run(run, resume, observer)
            preparation = _Preparation(observer, stop)

            prepared = load_and_prepare(
                sources,
                run,
                settings,
                fabric,
                preparation,
                resumed=resumed,
                override=override,
                memory_bytes=memory_bytes,
            )  # (1)
            uniform = make_dimensions_uniform(prepared.pairs)  # (2)
            crops = normalise(uniform)  # (3)
            model = define_model(prepared.settings, run, fabric, sources.start, observer, resumed=resumed)  # (4)
            context = TrainingContext(
                model.network, crops, prepared.validation, run, prepared.settings, fabric, observer, stop
            )
            finished = train_model(context, model, preparation)  # (5)
            plot_results(run, fabric)  # (6)

            if not finished:
                raise Cancelled(
                    f"Stopped, with a checkpoint in {run.checkpoints}; the same command with --resume goes on from "
                    "there."
                )
            return run.best_scores()


@dataclass(frozen=True)
class Prepared:
    """The data of a run, and its settings with a crop mix that the data allow."""

    pairs: PairStore
    validation: list[Pair]
    settings: TrainSettings


def load_and_prepare(sources: Sources, run: RunFolder, settings: TrainSettings, fabric: Fabric,
                     preparation: "_Preparation", *, resumed: bool, override: bool,
                     memory_bytes: int | None) -> Prepared:  # fmt: skip
    """Step (1): choose the pairs, read them into memory, check them, and describe the run in its folder."""
    chosen = choose(sources, run, settings, resumed, preparation.phase("load"), fabric.barrier)
    fabric.barrier()
    pairs = PairStore(chosen.training, chosen.photos, memory_bytes=memory_bytes, progress=preparation.phase("load"))
    settings = with_crop_mix(settings, chosen)
    for stage in settings.recipe.stages:
        share_of_batch(fabric, stage.batch)  # refuses what processes cannot share
    checking = preparation.phase("check")
    warnings = warnings_about(pairs, chosen.validation, settings, checking) if run.writes else []
    for warning in warnings:
        preparation.observer.say(f"Warning: {warning}")
    describe(run, settings, sources, pairs, chosen.validation, warnings, resumed, override, preparation.observer)
    return Prepared(pairs, chosen.validation, settings)


@dataclass
class Model:
    """A network, where its run goes on, and the tensors of the checkpoint that it resumes from."""

    network: SceneNetwork
    position: RunPosition
    saved: dict[str, Tensor] = field(default_factory=dict)


def define_model(settings: TrainSettings, run: RunFolder, fabric: Fabric, start: Path | None,
                 observer: ProgressObserver, *, resumed: bool) -> Model:  # fmt: skip
    """Step (4): build the network of the preset, with the weights of a checkpoint or of `start` where there are any."""
    network = build_network(settings, fabric.device)
    model = Model(network, RunPosition("head" if isinstance(network, Lite) and settings.head_steps else "restorer"))
    if resumed:
        model.position, model.saved = run.load(network)
        run.rewind_log(model.position)
        if settings.hours:
            hours = model.position.seconds / 3600
            observer.say(f"Going on after {hours:.2f} of {settings.hours:g} hours. {INEXACT}")
    elif start is not None:
        for line in warm_start.copy_weights(network, warm_start.read(start), start):
            observer.say(line)
    fabric.barrier()  # no process writes before all have read
    return model


def train_model(context: TrainingContext, model: Model, preparation: "_Preparation") -> bool:
    """Step (5): train the exposure head, where the network has one, then the restorer.

    True at the end; False when stopped, with a checkpoint.
    """
    position, saved = model.position, model.saved
    if isinstance(model.network, Lite):
        context.crops.pairs.solve_exposures(preparation.phase("exposure"))
    with tensorboard_log(context.run, context.settings.tensorboard, position):
        if position.phase == "head":
            if not train_head(context, position, saved, preparation.phase("exposure")):
                return False
            position.phase, position.step, saved = "restorer", 0, {}
        return train_restorer(context, position, saved)


def plot_results(run: RunFolder, fabric: Fabric) -> None:
    """Step (6): draw the result graphs of the run, and write the card that its weights will have."""
    if run.writes:
        figures.draw(run.path, fabric.device)
        card.write(run)


def build_network(settings: TrainSettings, device: torch.device) -> SceneNetwork:
    """The network of the preset on a device, with weights that the seed decides."""
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
class _Preparation:
    """Progress and cancellation before the first step, when there is no checkpoint to write yet."""

    observer: ProgressObserver
    stop: Callable[[], bool]

    def phase(self, name: str) -> Callable[[float], None]:
        def progress(done: float) -> None:
            if self.stop():
                raise Cancelled("Stopped before the first step; the same command with --resume added starts again.")
            self.observer.progress(name, done)

        return progress


def _open_run(run: RunFolder, resume: bool, observer: ProgressObserver) -> bool:
    """Make the folder ready for a new run or a resumed one. Returns whether there is a checkpoint to resume from."""
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
