"""Step (5) of the pipeline: the two loops of a run, each readable from top to bottom.

Every batch is a function of (seed, step), so that a checkpoint needs no random states: a run that
was interrupted goes on bit for bit as if it hadn't been. Where several processes share a run, each computes
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

from mirnet.datasets.pair_store import Pairs
from mirnet.errors import DataError, TrainingError
from mirnet.network import Lite, SceneNetwork
from mirnet.network.lite import settle
from mirnet.pairs import Pair
from mirnet.training import exposure_head
from mirnet.training.batches import Batch, is_noise_only, make_batch
from mirnet.training.observer import Watch
from mirnet.training.optimisation import Optimisation
from mirnet.training.prefetching import Feeder, Order
from mirnet.training.processes import agree, share_of_batch
from mirnet.training.recipes import HEAD
from mirnet.training.runs import card, figures, progress_strip
from mirnet.training.runs.folder import Place, RunFolder
from mirnet.training.settings import TrainSettings
from mirnet.training.validation import validate

LOSS_LIMIT = 10.0  # pictures lie in [0, 1]: beyond this the network has left that range by far
MOST_SKIPPED = 20  # updates in a row whose gradient was no number


@dataclass(frozen=True)
class Job:
    """All that both loops need: what is trained, on what, where it is kept, who watches, who may stop it."""

    network: SceneNetwork
    data: Pairs
    validation: Sequence[Pair]
    run: RunFolder
    settings: TrainSettings
    fabric: Fabric
    watch: Watch
    stop: Callable[[], bool]


def train_head(job: Job, place: Place, saved: dict[str, Tensor], preparing: Callable[[float], None]) -> bool:
    """The exposure head, on thumbnails; a few minutes. `saved` is a checkpoint to go on from, or empty.

    `preparing` is told how far the thumbnails are made. True at its end; False when stopped, with a checkpoint.
    Several processes all compute the same here: the head is small.
    """
    assert isinstance(job.network, Lite)
    settings = job.settings
    optimisation = Optimisation({f"head.{name}": p for name, p in job.network.head.named_parameters()}, HEAD)
    if saved:
        optimisation.load(saved)
    groups = exposure_head.collect(job.data, preparing)
    darkness = not is_noise_only(settings.recipe.feed)
    while place.step < settings.head_steps:
        started = time.monotonic()
        thumbnails, truth = exposure_head.head_batch(groups, settings.seed, place.step, job.fabric.device, darkness)
        asked = exposure_head.two_looks(job.network.head, thumbnails, settings.seed, place.step)
        proposed = settle(asked.mean(0), exposure_head.ZONE_STOPS)
        loss = exposure_head.head_loss(proposed, truth) + exposure_head.unrest(asked)
        if darkness:
            darkened, stops = exposure_head.darker(thumbnails, settings.seed, place.step)
            asked = exposure_head.two_looks(job.network.head, darkened, settings.seed, place.step)
            loss = loss + exposure_head.slope_loss(proposed, settle(asked.mean(0), exposure_head.ZONE_STOPS), stops)
        _refuse_explosion(job, float(loss.detach()), 1e6, place, "thumbnails")
        rate = HEAD.rate(place.step, place.step / settings.head_steps)
        optimisation.clear()
        loss.backward()
        norm = optimisation.update(rate)
        place.step += 1
        place.seconds += time.monotonic() - started

        job.watch.progress("head", place.step / settings.head_steps)
        if place.step % settings.log_steps == 0:
            job.run.log(place, {"loss": float(loss.detach()), "learning_rate": rate, "gradient_norm": norm})
        stopped, place.seconds = _agreed(job, place.seconds)
        if place.step % settings.checkpoint_steps == 0 or stopped:
            _keep(job, optimisation, place)
        if stopped:
            return False
    optimisation.adopt_average()
    job.network.head.soften(exposure_head.KEPT_OF_MAP)
    return True


def train_restorer(job: Job, place: Place, saved: dict[str, Tensor]) -> bool:
    """The restoration network, on crops, with validation. `saved` is a checkpoint to go on from, or empty.

    True at its end; False when stopped, with a checkpoint.
    """
    settings, recipe = job.settings, job.settings.recipe
    named = {name: p for name, p in job.network.named_parameters() if not name.startswith("head.")}
    if isinstance(job.network, Lite):
        job.network.head.requires_grad_(False)  # it has no part in this loss, and processes wait for every gradient
    optimisation = Optimisation(named, recipe)
    if saved:
        optimisation.load(saved)
    else:
        job.run.save(job.network, optimisation.state(), place)  # the trained head is not lost
    restore = job.fabric.setup_module(job.network)
    pace = _Pace(place.crops, place.seconds)

    with Feeder(functools.partial(crops, job), torch.get_num_threads()) as feeder:
        while True:
            if _validation_is_due(job, place) and not _validate(job, optimisation, place):
                job.run.save(job.network, optimisation.state(), place)
                return False
            progress = _progress(settings, place)
            if progress >= 1:
                return True

            started = time.monotonic()
            stage = recipe.stage(progress)
            batches = feeder.take(_order(settings, place, 0, 0))
            if _progress(settings, place, 1) < 1:
                feeder.prepare(_order(settings, place, 1, batches[0].real))
            optimisation.clear()
            loss, error = descend(job, restore, batches)
            _refuse_explosion(job, loss, LOSS_LIMIT * (1 + recipe.ssim_weight), place, _names(job.data, batches))
            rate = recipe.rate(place.step, progress)
            norm = optimisation.update(rate)
            _count_skipped(job, place, norm)
            place.step += 1
            place.crops += stage.batch * recipe.accumulate
            place.crops_real += batches[0].real
            place.crop_pixels += stage.batch * recipe.accumulate * stage.crop_px**2
            place.seconds += time.monotonic() - started

            progress = _progress(settings, place)
            job.watch.progress("train", progress)
            if place.step % settings.log_steps == 0:
                psnr = -10 * math.log10(max(error, 1e-12))
                values = {"loss": loss, "train_psnr": psnr, "learning_rate": rate, "gradient_norm": norm}
                job.run.log(place, values | pace.since(place, feeder.seconds_waited))
                job.watch.progress("train", progress, f"loss {loss:.4f}, {psnr:.2f} dB")
            stopped, place.seconds = _agreed(job, place.seconds)
            progress = _progress(settings, place)
            if place.step % settings.checkpoint_steps == 0 or progress >= 1 or stopped:
                _keep(job, optimisation, place)
            if stopped:
                return False


def crops(job: Job, order: Order) -> list[Batch]:
    """The batches of one update: what this process computes of the global batch, one for each accumulation."""
    recipe = job.settings.recipe
    return [
        make_batch(job.data, job.settings.seed, order.step, job.fabric.device, crop=order.crop_px, index=places,
                   feed=recipe.feed, takes_exposure=isinstance(job.network, Lite),
                   total=order.batch * recipe.accumulate, seen=order.seen)
        for places in share_of_batch(job.fabric, recipe, order.batch)
    ]  # fmt: skip


def descend(job: Job, restore: _FabricModule, batches: Sequence[Batch]) -> tuple[float, float]:
    """Sum up the gradients of the batches' mean loss; gives it and the mean squared error, over all processes."""
    total, error = 0.0, 0.0
    for number, batch in enumerate(batches):
        inputs = [x.contiguous(memory_format=torch.channels_last) for x in batch.inputs]
        with job.fabric.no_backward_sync(restore, enabled=number + 1 < len(batches)):
            result = restore(*inputs)
            loss = job.settings.recipe.restoration_loss(result, batch.target) / len(batches)
            job.fabric.backward(loss)
        total += float(loss.detach())
        error += float(((result.detach().clamp(0, 1) - batch.target) ** 2).mean()) / len(batches)
    total, error = agree(job.fabric, total, error)
    return total, error


@dataclass
class _Pace:
    """How fast the run is since the last row of the log."""

    crops: int
    seconds: float
    waited: float = 0.0

    def since(self, place: Place, waited: float) -> dict[str, float]:
        """Samples a second, and the share of the time spent waiting for data; counts anew from here."""
        seconds = max(place.seconds - self.seconds, 1e-9)
        speeds = {
            "samples_per_second": (place.crops - self.crops) / seconds,
            "waiting": (waited - self.waited) / seconds,
        }
        self.crops, self.seconds, self.waited = place.crops, place.seconds, waited
        return speeds


def _progress(settings: TrainSettings, place: Place, ahead: int = 0) -> float:
    """How much of the restorer's run is done, 0 to 1: by steps (`ahead` of here), or by the clock."""
    return place.seconds / (3600 * settings.hours) if settings.hours else (place.step + ahead) / settings.steps


def _order(settings: TrainSettings, place: Place, ahead: int, real: int) -> Order:
    """The batch of this step, or of the one `ahead`, when `real` crops more are real."""
    stage = settings.recipe.stage(_progress(settings, place, ahead))
    return Order(place.step + ahead, place.crops_real + real, stage.crop_px, stage.batch)


def _agreed(job: Job, seconds: float) -> tuple[bool, float]:
    """Whether any process was asked to stop, and the clock that they share."""
    stop, seconds = agree(job.fabric, float(job.stop()), seconds)
    return stop > 0, seconds


def _validation_is_due(job: Job, place: Place) -> bool:
    at_end = _progress(job.settings, place) >= 1
    regular = place.step > 0 and place.step % job.settings.validate_steps == 0
    if not job.validation or not (regular or at_end):
        return False
    (known,) = agree(job.fabric, float(job.run.writes and job.run.has_scores(place)))
    return known == 0


def _validate(job: Job, optimisation: Optimisation, place: Place) -> bool:
    """Score the moving average, keep it where it is the best, draw; False when stopped before that.

    The log's row comes last: whenever the process is killed, the run goes on with this validation or after it.
    """
    with optimisation.averaged():
        try:
            scores = validate(job.network, job.validation, job.fabric.device, loss=job.settings.recipe.restoration_loss,
                              stop=job.stop, fabric=job.fabric,
                              progress=functools.partial(job.watch.progress, "validate"))  # fmt: skip
        except DataError as error:
            raise TrainingError(f"{error} It was there when the run began; restore it and resume the run.") from error
        if scores is None:
            return False
        if scores.deciding > place.best:
            place.best = scores.deciding
            job.run.save_best(job.network, place, scores)
        if job.run.writes:
            progress_strip.add(job.run, job.network, job.validation, place.step, job.fabric.device)
    _keep(job, optimisation, place)
    job.run.log(place, asdict(scores))
    job.watch.say(f"step {place.step}: {scores}")
    if job.run.writes:
        figures.draw(job.run.path, job.fabric.device)
        card.write(job.run)
    job.fabric.barrier()  # the others wait for the figures here, not within the next step, whose time is taken
    return True


def _keep(job: Job, optimisation: Optimisation, place: Place) -> None:
    """Write a checkpoint, unless there is nothing good to keep."""
    if not all(bool(parameter.isfinite().all()) for parameter in job.network.parameters()):
        raise TrainingError(
            f"The weights are no numbers any more at step {place.step} of the {place.phase}; the last checkpoint is "
            "kept. Go on from it with --resume --override and a lower --lr, or with --clip-norm 0.5."
        )
    job.run.save(job.network, optimisation.state(), place)


def _refuse_explosion(job: Job, loss: float, limit: float, place: Place, batch: str) -> None:
    """A TrainingError where the loss is no number, or far beyond what pictures can differ by."""
    if not loss <= limit:
        job.run.set_aside(place)  # a checkpoint of these very weights would only explode again
        raise TrainingError(
            f"The loss became {loss:g} at step {place.step} of the {place.phase}, on a batch with {batch}; the last "
            "checkpoint is kept. Go on from it with --resume --override and a lower --lr or --clip-norm 0.5, or "
            "look for damaged pictures: mirnet data check."
        )


def _names(data: Pairs, batches: Sequence[Batch], most: int = 8) -> str:
    names = [data.name(place) for batch in batches for place in batch.pictures.tolist()]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _count_skipped(job: Job, place: Place, norm: float) -> None:
    """Updates without a gradient that is a number are told, and end a run that makes no other."""
    place.skipped = 0 if math.isfinite(norm) else place.skipped + 1
    if place.skipped == 1:
        job.watch.say(f"step {place.step}: the gradient is {norm:g}, so this update is left out.")
    if place.skipped >= MOST_SKIPPED:
        raise TrainingError(
            f"The last {MOST_SKIPPED} updates up to step {place.step} had no gradient that is a number; the last "
            "checkpoint is kept. Go on from it with --resume --override and --precision float32 or a lower --lr."
        )
