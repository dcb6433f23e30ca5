"""Do data, loss and network fit together? One batch, learnt by heart, before hours are spent on all of them.

A network that cannot even learn eight crops by heart will learn nothing from more: then the learning rate is wrong, or
a part of the network gets no gradient. What it can learn by heart may still be nonsense (48 pairs of LOL with each
other's partners: from 7.6 to 21.3 dB, where the true ones go from 15.5 to 25.0), so the pairs are looked at, too.
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mirnet.datasets.checks import check_sample
from mirnet.datasets.pair_store import PairStore
from mirnet.errors import Cancelled
from mirnet.network import Lite, SceneNetwork
from mirnet.training import pipeline, warm_start
from mirnet.training.batches import Batch, make_batch, make_dimensions_uniform, normalise
from mirnet.training.observer import SILENT, ProgressObserver
from mirnet.training.optimisation import Optimisation
from mirnet.training.runs.folder import RunFolder
from mirnet.training.settings import TrainSettings, find_device
from mirnet.training.sources import Sources, choose, with_crop_mix

SECONDS = 180.0
SIZES = ((64, 8), (32, 4))  # pixels and number of crops: the first with which enough steps fit into the time
LEAST_STEPS = 100
LEAST_GAIN_DB = 3.0  # half the squared error; on LOL `lite` gains 9.5 dB, `paper` 5.0


@dataclass(frozen=True)
class Verdict:
    """What came of learning one batch by heart."""

    fits: bool
    before_db: float  # PSNR of what the network gives for the batch, range 1
    after_db: float
    steps: int
    seconds: float
    without_gradient: tuple[str, ...]  # weights that the loss does not reach
    findings: tuple[str, ...] = ()  # what would spoil training (`check.quick`)

    def __str__(self) -> str:
        result = (
            f"One batch: {self.before_db:.2f} dB before, {self.after_db:.2f} dB after {self.steps} steps in "
            f"{self.seconds:.0f} s."
        )
        if self.without_gradient:
            names = ", ".join(self.without_gradient[:5])
            return f"{result} No gradient reaches {len(self.without_gradient)} weights, among them {names}."
        if self.findings:
            return "\n".join([*self.findings, f"{result} But the data would spoil the training: mirnet data check."])
        if self.fits:
            return f"{result} Data, loss and network fit together."
        return (
            f"{result} That is less than the {LEAST_GAIN_DB:g} dB that a sound set-up gains: look at the learning rate "
            "(--lr) and at the loss."
        )


def check(sources: Sources, settings: TrainSettings, *, seconds: float = SECONDS, observer: ProgressObserver = SILENT,
          stop: Callable[[], bool] = lambda: False) -> Verdict:  # fmt: skip
    """Learn one batch of the first stage's feed by heart, for `seconds`; nothing is written.

    Raises as `pipeline.train` does; Cancelled once `stop()` is true.
    """
    device = find_device(settings.device)
    with tempfile.TemporaryDirectory() as folder, pipeline.threads_of(settings):
        chosen = choose(sources, RunFolder(Path(folder)), settings, resumed=False, progress=_silent)
        settings = with_crop_mix(settings, chosen)
        findings = check_sample(chosen.training, chosen.validation)
        few = PairStore(chosen.training[: SIZES[0][1]], chosen.photos[: SIZES[0][1]])
    network = pipeline.build_network(settings, device)
    if sources.start is not None:
        warm_start.copy_weights(network, warm_start.read(sources.start), sources.start)
    if isinstance(network, Lite):
        few.solve_exposures(_silent)
        network.head.requires_grad_(False)
    recipe = settings.recipe
    with pipeline.threads_of(settings):
        batch = _batch(few, network, settings, seconds)
    named = {name: p for name, p in network.named_parameters() if p.requires_grad}
    optimisation = Optimisation(named, replace(recipe, ema=0.0))
    started, steps, before = time.monotonic(), 0, -math.inf
    unreached: list[str] = []
    with pipeline.threads_of(settings):
        while True:
            result = network(*batch.inputs)
            psnr = -10 * math.log10(max(float(((result.detach() - batch.target) ** 2).mean()), 1e-12))
            before = psnr if steps == 0 else before
            spent = time.monotonic() - started
            if spent >= seconds or not math.isfinite(psnr):
                break
            if stop():
                raise Cancelled("Stopped; nothing was written.")
            optimisation.clear()
            recipe.restoration_loss(result, batch.target).backward()
            unreached = [name for name, parameter in named.items() if parameter.grad is None]
            optimisation.update(recipe.rate(steps, 0.0))
            steps += 1
            observer.progress("train", spent / seconds, f"{psnr:.2f} dB")
    fits = psnr - before >= LEAST_GAIN_DB and not unreached and not findings
    return Verdict(fits, before, psnr, steps, spent, tuple(unreached), tuple(findings))


def _batch(few: PairStore, network: SceneNetwork, settings: TrainSettings, seconds: float) -> Batch:
    """As many crops as the network can learn by heart in the time."""
    device = next(network.parameters()).device
    normalised = normalise(make_dimensions_uniform(few))
    for crop_px, crops in SIZES:
        batch = make_batch(normalised, settings.seed, 0, device, crop=crop_px, index=range(crops),
                           crop_mix=settings.recipe.crop_mix, takes_exposure=isinstance(network, Lite))  # fmt: skip
        started = time.monotonic()
        settings.recipe.restoration_loss(network(*batch.inputs), batch.target).backward()
        if time.monotonic() - started < seconds / LEAST_STEPS:
            break
    return batch


def _silent(done: float) -> None:
    pass
