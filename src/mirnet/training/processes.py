"""Where a run computes: device, precision and processes, by lightning-fabric under our own loop.

One process alone, or several that `torchrun --nproc-per-node N -m mirnet train ...` starts: they share each
global batch, average their gradients, and only the first writes.
"""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor
from torch.distributed import DistError, TCPStore  # type: ignore[attr-defined]  # documented, but not in its __all__

from mirnet.errors import MirnetError, SettingsError, TrainingError
from mirnet.training.settings import TrainSettings, find_device


def launch(settings: TrainSettings) -> Fabric:
    """The fabric of this process, which has found its partners. Raises SettingsError for a device that is not there."""
    device = find_device(settings.device)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if settings.precision == "bf16" else "32-true"
    if count == 1:
        chosen = 1 if device.index is None else [device.index]
        fabric = Fabric(accelerator=device.type, devices=chosen, precision=precision)
    else:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", count))
        strategy = DDPStrategy(process_group_backend="nccl" if device.type == "cuda" else "gloo")
        # its greetings are for administrators of processes, not for the user
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        fabric = Fabric(
            accelerator=device.type, devices=here, num_nodes=count // here, strategy=strategy, precision=precision
        )
    fabric.launch()
    return fabric


def share_of_batch(fabric: Fabric, batch: int) -> range:
    """The places in a global batch that this process computes.

    Raises SettingsError where the processes cannot share a batch equally.
    """
    if batch % fabric.world_size:
        raise SettingsError(
            f"{fabric.world_size} processes cannot share a batch of {batch} equally; choose a multiple with --batch."
        )
    mine = batch // fabric.world_size
    first = fabric.global_rank * mine
    return range(first, first + mine)


def mean_over_processes(fabric: Fabric, *values: float) -> list[float]:
    """The means of the processes' values: each of them goes on with the same numbers."""
    if fabric.world_size == 1:
        return list(values)
    together = torch.tensor(values, dtype=torch.float64 if fabric.device.type != "mps" else torch.float32)
    reduced = fabric.all_reduce(together.to(fabric.device), reduce_op="mean")
    assert isinstance(reduced, Tensor)
    return [float(value) for value in reduced]


@contextlib.contextmanager
def report_once(fabric: Fabric, run: Path) -> Iterator[None]:
    """Of the processes that an error ends, the first one reports it; the others' errors are marked as reported.

    A process that fails alone ends the others as well: they lose their partner. Where it could say nothing any more,
    because it was killed, a TrainingError says that it is gone.
    """
    if fabric.world_size == 1:
        yield
        return
    # reached now, while it is there for certain: torchrun keeps it
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    try:
        yield
    except MirnetError as error:
        error.is_reported = not _is_first_to_report(store, run)
        raise
    except RuntimeError as error:
        if not (isinstance(error, DistError) or "onnection" in str(error)):
            raise
        lost = TrainingError(
            "Another process of this run is gone: killed, perhaps, or out of memory. The last checkpoint is kept; the "
            "same command with --resume goes on from there."
        )
        lost.is_reported = not _is_first_to_report(store, run)
        raise lost from error


def _is_first_to_report(store: TCPStore, run: Path) -> bool:
    """Whether no process of the run has asked this before; in doubt True."""
    try:
        return store.add(f"told of {run}, start {os.environ.get('TORCHELASTIC_RESTART_COUNT')}", 1) == 1
    except DistError:  # the process that kept the store is gone
        return True
