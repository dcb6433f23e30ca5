"""The next batch is made while the network learns from this one."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import torch

from mirnet.training.batches import Batch


@dataclass(frozen=True)
class BatchRequest:
    """Which batch: the step, the real crops that came before it, and the recipe's stage by its crop and size."""

    step: int
    seen: int
    crop_px: int
    batch: int


Batches = list[Batch]  # the batches of one update


class BatchPrefetcher:
    """Makes batches by `make(order)`, one ahead, in a thread of its own; what was made in vain is dropped."""

    def __init__(self, make: Callable[[BatchRequest], Batches], threads: int) -> None:
        self._make = make
        # a thread's computations use all cores unless it is told otherwise
        self._pool = ThreadPoolExecutor(1, "feeder", initializer=torch.set_num_threads, initargs=(threads,))
        self._ahead: tuple[BatchRequest, Future[Batches]] | None = None
        self.seconds_waited = 0.0

    def __enter__(self) -> "BatchPrefetcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, request: BatchRequest) -> Batches:
        """The batches of that order; raises what their making raised."""
        started = time.monotonic()
        if self._ahead is None or self._ahead[0] != request:
            self.prepare(request)
        assert self._ahead is not None
        batches = self._ahead[1].result()
        self._ahead = None
        self.seconds_waited += time.monotonic() - started
        return batches

    def prepare(self, request: BatchRequest) -> None:
        """Begin with a batch that will probably be asked for next."""
        self._ahead = request, self._pool.submit(self._made, request)

    def _made(self, request: BatchRequest) -> Batches:
        with torch.no_grad():
            return self._make(request)
