"""The log of a run, written for TensorBoard as well."""

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from mirnet.errors import SettingsError
from mirnet.images import read_image
from mirnet.training.runs.folder import PHASES, RunFolder, RunPosition


@contextmanager
def tensorboard_log(run: RunFolder, wanted: bool, position: RunPosition) -> Iterator[None]:
    """Inside this context every row of the log also goes to `tensorboard/`, where that is wanted.

    A folder for each phase: TensorBoard hides what an interrupted process wrote after its checkpoint, by the step
    alone, and each phase counts its own steps. With a validation go the crops of the strip.
    """
    if not (wanted and run.writes):
        yield
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            'TensorBoard is asked for and not installed; run: pip install "mirnet[tensorboard]", or leave it out.'
        ) from error
    hidden = {phase: _hidden_from(position, phase) for phase in PHASES}  # now: the place moves on with the run
    with ExitStack() as stack:
        writers: dict[str, SummaryWriter] = {}

        def echo(here: RunPosition, values: Mapping[str, float]) -> None:
            if here.phase not in writers:
                folder = run.path / "tensorboard" / here.phase
                writers[here.phase] = stack.enter_context(SummaryWriter(folder, purge_step=hidden[here.phase]))
            writer = writers[here.phase]
            for name, value in values.items():
                if not math.isnan(value):
                    writer.add_scalar(f"{here.phase}/{name}", value, here.step)
            crops = run.path / "strip" / f"{here.step:08d}.png"
            if "psnr" in values and crops.exists():
                writer.add_image("validation", read_image(crops), here.step, dataformats="HWC")

        run.echo = echo
        try:
            yield
        finally:
            run.echo = None


def _hidden_from(position: RunPosition, phase: str) -> int | None:
    """The step from which on a phase's older values are no more true, when a run goes on at `place`."""
    return (
        position.step + 1
        if phase == position.phase
        else 0
        if PHASES.index(phase) > PHASES.index(position.phase)
        else None
    )
