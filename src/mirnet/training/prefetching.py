"""The next batch is made in a thread of its own while the network learns from this one."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import torch

from mirnet.training.batches import Batch


@dataclass(frozen=True)
class BatchRequest:
    """Which batch to make: its step, the real crops of all batches before it, and the recipe's crop and batch size."""

    step: int
    seen: int
    crop_px: int
    batch: int


class BatchPrefetcher:
    """Makes batches by `make(request)`, one ahead of its use; a batch that is not taken is dropped."""

    def __init__(self, make: Callable[[BatchRequest], Batch], threads: int) -> None:
        self._make = make
        # a thread's computations use all cores unless torch is given a number
        self._pool = ThreadPoolExecutor(1, "prefetcher", initializer=torch.set_num_threads, initargs=(threads,))
        self._ahead: tuple[BatchRequest, Future[Batch]] | None = None
        self.seconds_waited = 0.0

    def __enter__(self) -> "BatchPrefetcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self, request: BatchRequest) -> Batch:
        """The requested batch; raises what `make` raised."""
        started = time.monotonic()
        if self._ahead is None or self._ahead[0] != request:
            self.prepare(request)
        assert self._ahead is not None
        batch = self._ahead[1].result()
        self._ahead = None
        self.seconds_waited += time.monotonic() - started
        return batch

    def prepare(self, request: BatchRequest) -> None:
        """Begin to make a batch that will probably be requested next."""
        self._ahead = request, self._pool.submit(self._make_without_gradients, request)

    def _make_without_gradients(self, request: BatchRequest) -> Batch:
        with torch.no_grad():
            return self._make(request)
