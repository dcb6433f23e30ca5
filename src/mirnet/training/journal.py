"""The log of a run once more, for those who watch it in TensorBoard."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mirnet.errors import SettingsError
from mirnet.training.run_folder import Place, RunFolder


@contextmanager
def journal(run: RunFolder, wanted: bool, place: Place) -> Iterator[None]:
    """Inside this context every row of the log also goes to `tensorboard/`, where that is wanted."""
    if not (wanted and run.writes):
        yield
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError(
            'TensorBoard is asked for and not installed; run: pip install "mirnet[tensorboard]", or leave it out.'
        ) from error
    # what an interrupted process wrote after its checkpoint is hidden
    writer = SummaryWriter(run.path / "tensorboard", purge_step=place.step)

    def echo(here: Place, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(f"{here.phase}/{name}", value, here.step)

    run.echo = echo
    try:
        yield
    finally:
        run.echo = None
        writer.close()
