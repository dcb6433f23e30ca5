"""Step (5) of the pipeline: the two loops of a run, each readable from top to bottom.

Every batch is a function of (seed, step), so that a checkpoint needs no random states: a run that
was interrupted goes on bit for bit as if it had not been. Where several processes share a run, each computes
its places of the global batch; device, precision and the average of the gradients are lightning-fabric's.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor

from mirnet.datasets.pair_store import PairStore
from mirnet.errors import DataError, TrainingError
from mirnet.network import Lite, SceneNetwork
from mirnet.network.lite import apply_dead_zone
from mirnet.pairs import Pair
from mirnet.training import exposure_head
from mirnet.training.batches import Batch, NormalisedCrops, is_noise_only, make_batch
from mirnet.training.observer import ProgressObserver
from mirnet.training.optimisation import Optimisation
from mirnet.training.prefetching import BatchPrefetcher, BatchRequest
from mirnet.training.processes import mean_over_processes, share_of_batch
from mirnet.training.recipes import HEAD
from mirnet.training.runs import card, figures, progress_strip
from mirnet.training.runs.folder import RunFolder, RunPosition
from mirnet.training.settings import TrainSettings
from mirnet.training.validation import validate

LOSS_LIMIT = 10.0  # images lie in [0, 1]: beyond this the network has left that range by far
MOST_SKIPPED = 20  # updates in a row whose gradient was no number


@dataclass(frozen=True)
class TrainingContext:
    """What both training loops need: network, crops, run folder, settings, observer, and `stop()` to end them."""

    network: SceneNetwork
    crops: NormalisedCrops
    validation: Sequence[Pair]
    run: RunFolder
    settings: TrainSettings
    fabric: Fabric
    observer: ProgressObserver
    stop: Callable[[], bool]


def train_head(
    context: TrainingContext, position: RunPosition, saved: dict[str, Tensor], preparing: Callable[[float], None]
) -> bool:
    """Train the exposure head on thumbnails; a few minutes. `saved` holds a checkpoint to resume from, or is empty.

    `preparing` gets the progress of making the thumbnails, 0 to 1.
    True at its end; False when stopped, with a checkpoint.
    Several processes all compute the same here: the head is small.
    """
    assert isinstance(context.network, Lite)
    settings = context.settings
    optimisation = Optimisation({f"head.{name}": p for name, p in context.network.head.named_parameters()}, HEAD)
    if saved:
        optimisation.load(saved)
    groups = exposure_head.collect_thumbnails(context.crops.pairs, preparing)
    darkness = not is_noise_only(settings.recipe.crop_mix)
    while position.step < settings.head_steps:
        started = time.monotonic()
        thumbnails, truth = exposure_head.head_batch(
            groups, settings.seed, position.step, context.fabric.device, darkness
        )
        asked = exposure_head.propose_two_views(context.network.head, thumbnails, settings.seed, position.step)
        proposed = apply_dead_zone(asked.mean(0), exposure_head.DEAD_ZONE_STOPS)
        loss = exposure_head.head_loss(proposed, truth) + exposure_head.consistency_loss(asked)
        if darkness:
            darkened, stops = exposure_head.darken_thumbnails(thumbnails, settings.seed, position.step)
            asked = exposure_head.propose_two_views(context.network.head, darkened, settings.seed, position.step)
            loss = loss + exposure_head.slope_loss(
                proposed, apply_dead_zone(asked.mean(0), exposure_head.DEAD_ZONE_STOPS), stops
            )
        _refuse_explosion(context, float(loss.detach()), 1e6, position, "thumbnails")
        rate = HEAD.rate(position.step, position.step / settings.head_steps)
        optimisation.clear()
        loss.backward()
        norm = optimisation.update(rate)
        position.step += 1
        position.seconds += time.monotonic() - started

        context.observer.progress("head", position.step / settings.head_steps)
        if position.step % settings.log_steps == 0:
            context.run.log(position, {"loss": float(loss.detach()), "learning_rate": rate, "gradient_norm": norm})
        stopped, position.seconds = _stop_together(context, position.seconds)
        if position.step % settings.checkpoint_steps == 0 or stopped:
            _save_checkpoint(context, optimisation, position)
        if stopped:
            return False
    optimisation.adopt_average()
    context.network.head.shrink_map(exposure_head.MAP_SHARE)
    return True


def train_restorer(context: TrainingContext, position: RunPosition, saved: dict[str, Tensor]) -> bool:
    """Train the restorer on crops, with validation. `saved` holds a checkpoint to resume from, or is empty.

    True at its end; False when stopped, with a checkpoint.
    """
    settings, recipe = context.settings, context.settings.recipe
    named = {name: p for name, p in context.network.named_parameters() if not name.startswith("head.")}
    if isinstance(context.network, Lite):
        context.network.head.requires_grad_(False)  # it has no part in this loss, and processes wait for every gradient
    optimisation = Optimisation(named, recipe)
    if saved:
        optimisation.load(saved)
    else:
        context.run.save(context.network, optimisation.state(), position)  # the trained head is not lost
    restore = context.fabric.setup_module(context.network)
    pace = _Pace(position.crops, position.seconds)

    with BatchPrefetcher(functools.partial(make_share, context), torch.get_num_threads()) as prefetcher:
        while True:
            if _validation_is_due(context, position) and not _validate(context, optimisation, position):
                context.run.save(context.network, optimisation.state(), position)
                return False
            progress = _progress(settings, position)
            if progress >= 1:
                return True

            started = time.monotonic()
            stage = recipe.stage(progress)
            batch = prefetcher.take(_next_request(settings, position, 0, 0))
            if _progress(settings, position, 1) < 1:
                prefetcher.prepare(_next_request(settings, position, 1, batch.real))
            optimisation.clear()
            loss, error = backpropagate(context, restore, batch)
            _refuse_explosion(
                context, loss, LOSS_LIMIT * (1 + recipe.ssim_weight), position, _names(context.crops.pairs, batch)
            )
            rate = recipe.rate(position.step, progress)
            norm = optimisation.update(rate)
            _count_skipped(context, position, norm)
            position.step += 1
            position.crops += stage.batch
            position.crops_real += batch.real
            position.crop_pixels += stage.batch * stage.crop_px**2
            position.seconds += time.monotonic() - started

            progress = _progress(settings, position)
            context.observer.progress("train", progress)
            if position.step % settings.log_steps == 0:
                psnr = -10 * math.log10(max(error, 1e-12))
                values = {"loss": loss, "train_psnr": psnr, "learning_rate": rate, "gradient_norm": norm}
                context.run.log(position, values | pace.since(position, prefetcher.seconds_waited))
                context.observer.progress("train", progress, f"loss {loss:.4f}, {psnr:.2f} dB")
            stopped, position.seconds = _stop_together(context, position.seconds)
            progress = _progress(settings, position)
            if position.step % settings.checkpoint_steps == 0 or progress >= 1 or stopped:
                _save_checkpoint(context, optimisation, position)
            if stopped:
                return False


def make_share(context: TrainingContext, request: BatchRequest) -> Batch:
    """What this process computes of the requested global batch."""
    return make_batch(
        context.crops, context.settings.seed, request.step, context.fabric.device, crop=request.crop_px,
        index=share_of_batch(context.fabric, request.batch), crop_mix=context.settings.recipe.crop_mix,
        takes_exposure=isinstance(context.network, Lite), total=request.batch, seen=request.seen,
    )  # fmt: skip


def backpropagate(context: TrainingContext, restore: _FabricModule, batch: Batch) -> tuple[float, float]:
    """Compute the gradients of a batch's mean loss. Returns it and the mean squared error, over all processes."""
    inputs = [x.contiguous(memory_format=torch.channels_last) for x in batch.inputs]
    result = restore(*inputs)
    loss = context.settings.recipe.restoration_loss(result, batch.target)
    context.fabric.backward(loss)
    error = float(((result.detach().clamp(0, 1) - batch.target) ** 2).mean())
    mean_loss, mean_error = mean_over_processes(context.fabric, float(loss.detach()), error)
    return mean_loss, mean_error


@dataclass
class _Pace:
    """How fast the run is since the last row of the log."""

    crops: int
    seconds: float
    waited: float = 0.0

    def since(self, position: RunPosition, waited: float) -> dict[str, float]:
        """Samples a second, and the share of the time spent waiting for data; counts anew from here."""
        seconds = max(position.seconds - self.seconds, 1e-9)
        speeds = {
            "samples_per_second": (position.crops - self.crops) / seconds,
            "waiting": (waited - self.waited) / seconds,
        }
        self.crops, self.seconds, self.waited = position.crops, position.seconds, waited
        return speeds


def _progress(settings: TrainSettings, position: RunPosition, ahead: int = 0) -> float:
    """How much of the restorer's run is done, 0 to 1: by steps (`ahead` of here), or by the clock."""
    return position.seconds / (3600 * settings.hours) if settings.hours else (position.step + ahead) / settings.steps


def _next_request(settings: TrainSettings, position: RunPosition, ahead: int, real: int) -> BatchRequest:
    """The batch of this step, or of the one `ahead`, when `real` crops more are real."""
    stage = settings.recipe.stage(_progress(settings, position, ahead))
    return BatchRequest(position.step + ahead, position.crops_real + real, stage.crop_px, stage.batch)


def _stop_together(context: TrainingContext, seconds: float) -> tuple[bool, float]:
    """Whether any process was asked to stop, and the clock that they share."""
    stop, seconds = mean_over_processes(context.fabric, float(context.stop()), seconds)
    return stop > 0, seconds


def _validation_is_due(context: TrainingContext, position: RunPosition) -> bool:
    at_end = _progress(context.settings, position) >= 1
    regular = position.step > 0 and position.step % context.settings.validate_steps == 0
    if not context.validation or not (regular or at_end):
        return False
    (known,) = mean_over_processes(context.fabric, float(context.run.writes and context.run.has_scores(position)))
    return known == 0


def _validate(context: TrainingContext, optimisation: Optimisation, position: RunPosition) -> bool:
    """Score the moving average, keep it where it is the best, draw; False when stopped before that.

    The log's row comes last: whenever the process is killed, the run goes on with this validation or after it.
    """
    with optimisation.averaged():
        try:
            scores = validate(
                context.network,
                context.validation,
                context.fabric.device,
                loss=context.settings.recipe.restoration_loss,
                stop=context.stop,
                fabric=context.fabric,
                progress=functools.partial(context.observer.progress, "validate"),
            )
        except DataError as error:
            raise TrainingError(f"{error} It was there when the run began; restore it and resume the run.") from error
        if scores is None:
            return False
        if scores.deciding > position.best:
            position.best = scores.deciding
            context.run.save_best(context.network, position, scores)
        if context.run.writes:
            progress_strip.save_crops(
                context.run, context.network, context.validation, position.step, context.fabric.device
            )
    _save_checkpoint(context, optimisation, position)
    context.run.log(position, asdict(scores))
    context.observer.say(f"step {position.step}: {scores}")
    if context.run.writes:
        figures.draw(context.run.path, context.fabric.device)
        card.write(context.run)
    context.fabric.barrier()  # the others wait for the figures here, not within the next step, whose time is taken
    return True


def _save_checkpoint(context: TrainingContext, optimisation: Optimisation, position: RunPosition) -> None:
    """Write a checkpoint, unless there is nothing good to keep."""
    if not all(bool(parameter.isfinite().all()) for parameter in context.network.parameters()):
        raise TrainingError(
            f"The weights are no numbers any more at step {position.step} of the {position.phase}; the last checkpoint "
            "is kept. Go on from it with --resume --override and a lower --lr, or with --clip-norm 0.5."
        )
    context.run.save(context.network, optimisation.state(), position)


def _refuse_explosion(context: TrainingContext, loss: float, limit: float, position: RunPosition, batch: str) -> None:
    """A TrainingError where the loss is no number, or far beyond what images can differ by."""
    if not loss <= limit:
        context.run.set_aside(position)  # a checkpoint of these very weights would only explode again
        raise TrainingError(
            f"The loss became {loss:g} at step {position.step} of the {position.phase}, on a batch with {batch}; the "
            "last checkpoint is kept. Go on from it with --resume --override and a lower --lr or --clip-norm 0.5, or "
            "look for damaged pictures: mirnet data check."
        )


def _names(data: PairStore, batch: Batch, most: int = 8) -> str:
    names = [data.name(number) for number in batch.pictures.tolist()]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _count_skipped(context: TrainingContext, position: RunPosition, norm: float) -> None:
    """Report updates whose gradient is not a number; a TrainingError after too many in a row."""
    position.skipped = 0 if math.isfinite(norm) else position.skipped + 1
    if position.skipped == 1:
        context.observer.say(f"step {position.step}: the gradient is {norm:g}, so this update is left out.")
    if position.skipped >= MOST_SKIPPED:
        raise TrainingError(
            f"The last {MOST_SKIPPED} updates up to step {position.step} had no gradient that is a number; the last "
            "checkpoint is kept. Go on from it with --resume --override and --precision float32 or a lower --lr."
        )
