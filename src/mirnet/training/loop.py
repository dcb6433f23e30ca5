"""Step (5) of the pipeline: the two loops of a run, each readable from top to bottom.

Every batch is a function of (seed, step), so that a checkpoint needs no random states: a run that
was interrupted goes on bit for bit as if it hadn't been.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from mirnet.errors import DataError, TrainingError
from mirnet.network import Lite, SceneNetwork
from mirnet.pairs import Pair
from mirnet.training import figures, head
from mirnet.training.batches import make_batch
from mirnet.training.losses import restoration_loss
from mirnet.training.optimisation import Optimisation
from mirnet.training.recipes import HEAD
from mirnet.training.run_folder import Place, RunFolder
from mirnet.training.settings import TrainSettings
from mirnet.training.store import Pairs
from mirnet.training.validation import validate
from mirnet.training.watch import Watch


@dataclass(frozen=True)
class Job:
    """All that both loops need: what is trained, on what, where it is kept, who watches, who may stop it."""

    network: SceneNetwork
    data: Pairs
    validation: Sequence[Pair]
    run: RunFolder
    settings: TrainSettings
    device: torch.device
    watch: Watch
    stop: Callable[[], bool]


def train_head(job: Job, place: Place, saved: dict[str, Tensor], preparing: Callable[[float], None]) -> bool:
    """The exposure head, on thumbnails; a few minutes. `saved` is a checkpoint to go on from, or empty.

    `preparing` is told how far the thumbnails are made. True at its end; False when stopped, with a checkpoint.
    """
    assert isinstance(job.network, Lite)
    settings = job.settings
    optimisation = Optimisation({f"head.{name}": p for name, p in job.network.head.named_parameters()}, HEAD)
    if saved:
        optimisation.load(saved)
    groups = head.collect(job.data, preparing)
    while place.step < settings.head_steps:
        started = time.monotonic()
        thumbnails, truth = head.head_batch(groups, settings.seed, place.step, job.device)
        loss = head.head_loss(job.network.propose(thumbnails), truth)
        rate = HEAD.rate(place.step, place.step / settings.head_steps)
        norm = optimisation.update(_finite(loss, place), rate)
        place.step += 1
        place.seconds += time.monotonic() - started

        job.watch.progress("head", place.step / settings.head_steps)
        if place.step % settings.log_steps == 0:
            job.run.log(place, {"loss": float(loss.detach()), "learning_rate": rate, "gradient_norm": norm})
        stopped = job.stop()
        if place.step % settings.checkpoint_steps == 0 or stopped:
            job.run.save(job.network, optimisation.state(), place)
        if stopped:
            return False
    optimisation.adopt_average()
    return True


def train_restorer(job: Job, place: Place, saved: dict[str, Tensor]) -> bool:
    """The restoration network itself, on crops. `saved` is a checkpoint to go on from, or empty.

    True at its end; False when stopped, with a checkpoint.
    """
    settings, recipe = job.settings, job.settings.recipe
    named = {name: p for name, p in job.network.named_parameters() if not name.startswith("head.")}
    optimisation = Optimisation(named, recipe)
    if saved:
        optimisation.load(saved)
    else:
        job.run.save(job.network, optimisation.state(), place)  # the trained head is not lost
    while True:
        if _validation_is_due(job, place) and not _validate(job, optimisation, place):
            job.run.save(job.network, optimisation.state(), place)
            return False
        progress = _progress(settings, place)
        if progress >= 1:
            return True

        started = time.monotonic()
        stage = recipe.stage(progress)
        batch = make_batch(job.data, settings.seed, place.step, job.device, crop=stage.crop_px,
                           index=range(stage.batch), feed=recipe.feed,
                           takes_exposure=isinstance(job.network, Lite))  # fmt: skip
        inputs = [x.contiguous(memory_format=torch.channels_last) for x in batch.inputs]
        with torch.autocast(job.device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            result = job.network(*inputs).float()
        loss = restoration_loss(result, batch.target, recipe.ssim_weight)
        rate = recipe.rate(place.step, progress)
        norm = optimisation.update(_finite(loss, place), rate)
        place.step += 1
        place.crop_pixels += stage.batch * stage.crop_px**2
        place.seconds += time.monotonic() - started

        progress = _progress(settings, place)
        job.watch.progress("train", progress)
        if place.step % settings.log_steps == 0:
            error = float(((result.detach().clamp(0, 1) - batch.target) ** 2).mean())
            psnr = -10 * math.log10(max(error, 1e-12))
            values = {"loss": float(loss.detach()), "train_psnr": psnr, "learning_rate": rate, "gradient_norm": norm}
            job.run.log(place, values)
            job.watch.progress("train", progress, f"loss {values['loss']:.4f}, {psnr:.2f} dB")
        stopped = job.stop()
        if place.step % settings.checkpoint_steps == 0 or progress >= 1 or stopped:
            job.run.save(job.network, optimisation.state(), place)
        if stopped:
            return False


def _progress(settings: TrainSettings, place: Place) -> float:
    """How much of the restorer's run is done, 0 to 1: by steps, or by the clock."""
    return place.seconds / (3600 * settings.hours) if settings.hours else place.step / settings.steps


def _validation_is_due(job: Job, place: Place) -> bool:
    at_end = _progress(job.settings, place) >= 1
    regular = place.step > 0 and place.step % job.settings.validate_steps == 0
    return bool(job.validation) and (regular or at_end) and not job.run.has_scores(place)


def _validate(job: Job, optimisation: Optimisation, place: Place) -> bool:
    """Score the moving average, keep it where it is the best, draw; False when stopped before that.

    The log's row comes last: whenever the process is killed, the run goes on with this validation or after it.
    """
    loss = functools.partial(restoration_loss, ssim_weight=job.settings.recipe.ssim_weight)
    with optimisation.averaged():
        try:
            scores = validate(job.network, job.validation, job.device, loss=loss, stop=job.stop,
                              progress=functools.partial(job.watch.progress, "validate"))  # fmt: skip
        except DataError as error:
            raise TrainingError(f"{error} It was there when the run began; restore it and resume the run.") from error
        if scores is None:
            return False
        if scores.deciding > place.best:
            place.best = scores.deciding
            job.run.save_best(job.network, place, scores)
    job.run.save(job.network, optimisation.state(), place)
    job.run.log(place, asdict(scores))
    job.watch.say(f"step {place.step}: {scores}")
    figures.draw(job.run.path, job.device)
    return True


def _finite(loss: Tensor, place: Place) -> Tensor:
    """The loss, or a TrainingError where it is no number."""
    if not math.isfinite(float(loss.detach())):
        raise TrainingError(
            f"The loss became {float(loss.detach()):g} at step {place.step} of the {place.phase}; the last checkpoint "
            "is kept. Lower the learning rate, or look for damaged pictures in the data."
        )
    return loss
