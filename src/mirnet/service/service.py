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

from mirnet.batch.limits import Memory
from mirnet.errors import Cancelled
from mirnet.inference.enhancer import Enhanced
from mirnet.inference.settings import Settings
from mirnet.service import options, uploads
from mirnet.service.enhancer_pool import Networks
from mirnet.service.expiring_store import Shelf
from mirnet.service.options import Option
from mirnet.service.prometheus import Measures
from mirnet.service.stored_items import Job, Opened
from mirnet.service.uploads import Reader, Room, Upload
from mirnet.service.work_queue import LATER, NOW, Ending, Engine, Late, Ticket, Work

T = TypeVar("T")

SWEEP_SECONDS = 1.0


@dataclass(frozen=True)
class Limits:
    """What one service takes on."""

    at_once: int = 2  # pictures in work; while one is in the network the other is read or written
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
    grace_seconds: float = 10.0  # for what is in work when the service is told to end


class Service:
    """One network of networks, one queue, and what is kept in memory. Nothing of it ever lies on a disk."""

    def __init__(self, networks: Networks, limits: Limits, *, token_needed: bool = False) -> None:
        self.networks, self.limits, self.token_needed = networks, limits, token_needed
        self.measures = Measures()
        self.engine = Engine(limits.at_once, limits.queue, self.measures.stage)
        self.room, self.memory = Room(limits.uploads_bytes), Memory()
        self.reader = Reader(limits.max_bytes, limits.stall_seconds, self.room)
        self.previews: Shelf[Opened] = Shelf(limits.previews_bytes, limits.keep_seconds, lambda each: each.nbytes)
        self.jobs: Shelf[Job] = Shelf(limits.results_bytes, limits.keep_seconds, lambda each: each.nbytes,
                                      lambda each: not each.over)  # fmt: skip
        self.ready = self.ending = self.ended = False
        for name, says, value in (
            ("queue_waiting", "Pictures that wait.", lambda: self.engine.waiting),
            ("queue_working", "Pictures in work.", lambda: self.engine.working),
            ("upload_bytes", "Bytes of uploads and answers in memory.", lambda: self.room.used),
            ("previews", "Previews in memory.", lambda: len(self.previews)),
            ("preview_bytes", "About what previews hold in memory.", lambda: self.previews.bytes),
            ("jobs", "Jobs in memory.", lambda: len(self.jobs)),
        ):
            self.measures.watch(name, says, value)

    # --- its life ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Warm up, then drop what is too old, until cancelled."""
        with suppress(Exception):  # the log says which; /readyz says no, and what is kept is still to be dropped
            await asyncio.wrap_future(self.engine.submit(self._warm_up, NOW).outcome)
            self.ready = True
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.previews.sweep()
            self.jobs.sweep()

    def _warm_up(self, _: Callable[[float], None]) -> None:
        """The first picture takes longest: let it be none of anybody's."""
        self.networks.get(self.networks.default).enhance(np.full((64, 64, 3), 60, np.uint8))

    async def end(self, idle: Callable[[], bool]) -> None:
        """Refuse what is new; let what can finish in time finish, until `idle()`; answer the rest."""
        self.ending = True
        self.engine.close()
        began = time.monotonic()
        while time.monotonic() < began + self.limits.grace_seconds:
            if self.engine.idle and idle() and not self._waited_for(began):
                break
            await asyncio.sleep(0.02)
        self.ended = True
        reason = Ending("The service ended before this was done; try again when it is back.")
        self.engine.stop(reason, seconds=0)

    def _waited_for(self, since: float) -> bool:
        """Whether a job was done since then, and nobody has come for its result yet."""
        return any(job.enhanced and not job.fetched and job.ticket.ended >= since for job in self.jobs.items())

    # --- a request --------------------------------------------------------------------------------

    def choose(self, known: Mapping[str, Option], request: Request, upload: Upload | None = None) -> dict[str, Any]:
        """The options of a request. Raises SettingsError, WeightsError."""
        found = options.chosen(known, request.query_params.multi_items(), upload.fields if upload else {})
        if "weights" in known:
            found["weights"] = self.networks.name(found.get("weights"))
        return found

    def settings(self, found: Mapping[str, Any], upload: Upload) -> Settings:
        """Raises SettingsError."""
        return options.settings_of(found, self.limits.max_megapixels, upload.match)

    async def read(self, request: Request) -> Upload:
        """The body, where there is room in the queue for what it asks. Raises Problem, Full, Ending."""
        self.reader.refuse_early(request)
        self.engine.refuse_if_full()
        started = time.monotonic()
        upload = await self.reader.read(request, self.limits.time_limit_seconds)
        self.measures.stage("upload", time.monotonic() - started)
        return upload

    def deadline(self) -> float:
        """By `time.monotonic`, of a request that begins now."""
        return time.monotonic() + self.limits.time_limit_seconds

    def enhancing(self, content: bytes, settings: Settings, weights: str,
                  seconds: float = math.inf) -> Work[Enhanced]:  # fmt: skip
        """The work of enhancing a picture, which ends late after so many seconds of it."""

        def work(progress: Callable[[float], None]) -> Enhanced:
            deadline = time.monotonic() + seconds

            def report(done: float) -> None:
                progress(done)
                if time.monotonic() > deadline:
                    raise self._late()

            def told_to_stop() -> bool:
                report(0.0)  # raises
                return False

            with self.memory.share(content, told_to_stop):
                enhanced = self.networks.get(weights).enhance_bytes(content, settings, report)
            self.measures.pixels(enhanced.width * enhanced.height)
            return replace(enhanced, settings=replace(settings, match=None))  # a photo to match is not kept

        return work

    async def done(self, request: Request, work: Work[T], deadline: float, level: int = LATER,
                   submitted: Callable[[Ticket[T]], None] = lambda ticket: None) -> T:  # fmt: skip
        """Put work into the queue and wait for it; a client that hangs up, or the time limit, ends it.

        To be called when the body was read. Raises Full, Late, Ending, ClientDisconnect, and what the work raises.
        """
        ticket = self.engine.submit(work, level)
        submitted(ticket)
        outcome: asyncio.Future[T] = asyncio.wrap_future(ticket.outcome)
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
            if not ticket.outcome.done():
                self.engine.cancel(ticket, Cancelled("Nobody waits for this picture any more."))

    def _late(self) -> Late:
        return Late(f"The picture was not done within {self.limits.time_limit_seconds:g} s; send a smaller one, or "
                    "send it to /v1/jobs, where waiting does not count.")  # fmt: skip


def _listen(outcome: "asyncio.Future[Any]") -> None:
    """Take note of how something ends that nobody awaits, which asyncio would complain about."""
    outcome.add_done_callback(lambda ended: None if ended.cancelled() else ended.exception())
