"""`Service`: the parts of one running service, and how a request's work goes through its queue."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from starlette.requests import ClientDisconnect, Request

from mirnet.batch.limits import MemoryShare
from mirnet.errors import Cancelled
from mirnet.inference.enhancer import EnhancedBytes
from mirnet.inference.settings import Settings
from mirnet.service import options, uploads
from mirnet.service.enhancer_pool import EnhancerPool
from mirnet.service.expiring_store import ExpiringStore
from mirnet.service.options import Option
from mirnet.service.prometheus import ServiceMetrics
from mirnet.service.stored_items import OpenedPreview, StoredJob
from mirnet.service.uploads import MemoryBudget, Reader, Upload
from mirnet.service.work_queue import (
    RENDER_LEVEL,
    WHOLE_LEVEL,
    Progress,
    QueuedJob,
    ShouldStop,
    ShuttingDown,
    TimedOut,
    Work,
    WorkQueue,
)

T = TypeVar("T")

SWEEP_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """What one service takes on."""

    at_once: int = 2  # images in work; while one is in the network the other is read or written
    queue: int = 64  # requests that wait
    time_limit_seconds: float = 300.0  # from a request's first byte; of a job from where its work begins
    max_bytes: int = 100_000_000  # of one upload
    max_megapixels: float = 100.0
    stall_seconds: float = 30.0  # without a byte of a head, a body or an answer
    keep_seconds: float = 600.0  # previews and finished jobs, after their last use
    uploads_bytes: int = 1_000_000_000  # of all that was uploaded and of all answers on their way
    previews_bytes: int = 1_000_000_000
    results_bytes: int = 1_000_000_000  # of finished jobs
    connections: int = 256
    grace_seconds: float = 10.0  # for running jobs when the service shuts down


class Service:
    """One network of networks, one queue, and what is kept in memory. Nothing of it ever lies on a disk."""

    def __init__(self, enhancers: EnhancerPool, limits: Limits, *, token_needed: bool = False) -> None:
        self.enhancers, self.limits, self.token_needed = enhancers, limits, token_needed
        self.metrics = ServiceMetrics()
        self.queue = WorkQueue(limits.at_once, limits.queue, self.metrics.stage)
        self.upload_memory, self.memory = MemoryBudget(limits.uploads_bytes), MemoryShare()
        self.reader = Reader(limits.max_bytes, limits.stall_seconds, self.upload_memory)
        self.previews: ExpiringStore[OpenedPreview] = ExpiringStore(
            limits.previews_bytes, limits.keep_seconds, lambda each: each.nbytes
        )
        self.jobs: ExpiringStore[StoredJob] = ExpiringStore(
            limits.results_bytes, limits.keep_seconds, lambda each: each.nbytes, lambda each: not each.over
        )
        self.ready = self.ending = self.ended = False
        for name, says, value in (
            ("queue_waiting", "Pictures that wait.", lambda: self.queue.waiting),
            ("queue_working", "Pictures in work.", lambda: self.queue.working),
            ("upload_bytes", "Bytes of uploads and answers in memory.", lambda: self.upload_memory.used),
            ("previews", "Previews in memory.", lambda: len(self.previews)),
            ("preview_bytes", "About what previews hold in memory.", lambda: self.previews.bytes),
            ("jobs", "Jobs in memory.", lambda: len(self.jobs)),
        ):
            self.metrics.watch(name, says, value)

    # --- its life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Warm up, then drop what is too old, until cancelled."""
        with suppress(Exception):  # the log says which; /readyz says no, and what is kept is still to be dropped
            await asyncio.wrap_future(self.queue.submit(self._warm_up, RENDER_LEVEL).outcome)
            self.ready = True
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.previews.sweep()
            self.jobs.sweep()

    def _warm_up(self, *_: Any) -> None:
        """The first image takes longest: let it be none of anybody's."""
        self.enhancers.get(self.enhancers.default).enhance(np.full((64, 64, 3), 60, np.uint8))

    async def end(self, idle: Callable[[], bool]) -> None:
        """Refuse what is new; let what can finish in time finish, until `idle()`; answer the rest."""
        self.ending = True
        self.queue.close()
        began = time.monotonic()
        while time.monotonic() < began + self.limits.grace_seconds:
            if self.queue.idle and idle() and not self._waited_for(began):
                break
            await asyncio.sleep(0.02)
        self.ended = True
        reason = ShuttingDown("The service ended before this was done; try again when it is back.")
        self.queue.stop(reason, seconds=0)

    def _waited_for(self, since: float) -> bool:
        """Whether a job has ended since then whose result the client has not fetched yet."""
        return any(job.enhanced and not job.fetched and job.queued.ended >= since for job in self.jobs.items())

    # --- a request --------------------------------------------------------------------------------

    def choose(self, known: Mapping[str, Option], request: Request, upload: Upload | None = None) -> dict[str, Any]:
        """The options of a request. Raises SettingsError, WeightsError."""
        found = options.chosen(known, request.query_params.multi_items(), upload.fields if upload else {})
        if "weights" in known:
            found["weights"] = self.enhancers.name(found.get("weights"))
        return found

    def settings(self, found: Mapping[str, Any], upload: Upload) -> Settings:
        """Raises SettingsError."""
        return options.settings_of(found, self.limits.max_megapixels, upload.match)

    async def read(self, request: Request) -> Upload:
        """The body, where there is room in the queue for what it asks. Raises Problem, Full, Ending."""
        self.reader.refuse_early(request)
        self.queue.refuse_if_full()
        started = time.monotonic()
        upload = await self.reader.read(request, self.limits.time_limit_seconds)
        self.metrics.stage("upload", time.monotonic() - started)
        return upload

    def deadline(self) -> float:
        """By `time.monotonic`, of a request that begins now."""
        return time.monotonic() + self.limits.time_limit_seconds

    def enhancing(self, content: bytes, settings: Settings, weights: str,
                  seconds: float = math.inf) -> Work[EnhancedBytes]:  # fmt: skip
        """The work of enhancing an image, which ends late after so many seconds of it."""

        def work(progress: Progress, should_stop: ShouldStop) -> EnhancedBytes:
            deadline = time.monotonic() + seconds

            def stop() -> bool:
                return should_stop() or time.monotonic() > deadline

            try:
                with self.memory.share(content, stop):
                    enhanced = self.enhancers.get(weights).enhance_bytes(content, settings, progress, stop)
            except Cancelled:
                if time.monotonic() > deadline:
                    raise self._late() from None
                raise
            self.metrics.pixels(enhanced.width * enhanced.height)
            return replace(enhanced, settings=replace(settings, match=None))  # a photo to match is not kept

        return work

    async def done(self, request: Request, work: Work[T], deadline: float, level: int = WHOLE_LEVEL,
                   submitted: Callable[[QueuedJob[T]], None] = lambda queued: None) -> T:  # fmt: skip
        """Put work into the queue and wait for it; a client that hangs up, or the time limit, ends it.

        To be called when the body was read. Raises Full, Late, Ending, ClientDisconnect, and what the work raises.
        """
        queued = self.queue.submit(work, level)
        submitted(queued)
        outcome: asyncio.Future[T] = asyncio.wrap_future(queued.outcome)
        gone = asyncio.create_task(uploads.gone(request.receive))
        try:
            either: list[asyncio.Future[Any]] = [outcome, gone]
            await asyncio.wait(either, timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
            if outcome.done():
                return outcome.result()
            if gone.done():
                raise ClientDisconnect
            raise self._late()
        finally:
            gone.cancel()
            _listen(outcome)
            if not queued.outcome.done():
                self.queue.cancel(queued, Cancelled("The client no longer waits for this image."))

    def _late(self) -> TimedOut:
        return TimedOut(
            f"The picture was not done within {self.limits.time_limit_seconds:g} s; send a smaller one, or "
            "send it to /v1/jobs, where waiting does not count."
        )


def _listen(outcome: "asyncio.Future[Any]") -> None:
    """Retrieve the outcome of a future that no code awaits, which asyncio would warn about."""
    outcome.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception())
