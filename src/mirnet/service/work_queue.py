"""The queue before the network: bounded, what a person waits for first, worked on by threads of its own."""

import itertools
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from mirnet.errors import Cancelled, MirnetError
from mirnet.service import failure_log

T = TypeVar("T")
Progress = Callable[[float], None]
Work = Callable[[Progress], T]

RENDER_LEVEL, OPEN_LEVEL, WHOLE_LEVEL = range(3)  # a render behind a slider; a picture that is opened; whole pictures
MEMORY_OF_SECONDS = 0.2  # the weight of the newest picture in what one takes
LONGEST_RETRY_SECONDS = 600


class QueueFull(MirnetError):
    """The queue takes no more; `retry_seconds` is when it may."""

    def __init__(self, sentence: str, retry_seconds: int) -> None:
        super().__init__(sentence)
        self.retry_seconds = retry_seconds


class TimedOut(MirnetError):
    """The time limit has passed."""


class ShuttingDown(MirnetError):
    """The service is told to end."""

    retry_seconds = 10  # about what a start again takes


class QueuedJob(Generic[T]):
    """One piece of work: it waits, is in work, and ends in `outcome`. Made by `Engine.submit`."""

    def __init__(self, work: Work[T], level: int, number: int, now: float) -> None:
        self.outcome: Future[T] = Future()
        self.order = (level, number)
        self.created, self.began, self.ended = now, math.nan, math.nan  # by the engine's clock
        self.progress = 0.0
        self._work: Work[T] | None = work
        self._finishing = threading.Lock()

    @property
    def waiting(self) -> bool:
        return math.isnan(self.began) and not self.outcome.done()

    @property
    def working(self) -> bool:
        return not math.isnan(self.began) and not self.outcome.done()

    def finish(self, result: T | None = None, error: BaseException | None = None) -> bool:
        """The first word is the last; whether this was the first."""
        with self._finishing:
            if self.outcome.done():
                return False
            self._work = None  # it holds a picture
            if error is not None:
                self.outcome.set_exception(_without_frames(error))
            else:
                self.outcome.set_result(result)  # type: ignore[arg-type]
            return True

    def run(self) -> None:
        """Do the work, in the thread that asks."""
        work = self._work
        if work is None:
            return
        try:
            result = work(self._report)
        except BaseException as error:  # noqa: BLE001  told where the outcome is awaited
            self.finish(error=error)
        else:
            self.finish(result)

    def _report(self, done: float) -> None:
        if self.outcome.done():
            raise Cancelled("Nobody waits for this picture any more.")
        self.progress = done


class WorkQueue:
    """Works on tickets: `workers` threads take all of them in order, one more takes what is wanted NOW.

    Two workers, since one picture is read and written while the other is in the network. At most `waiting` tickets
    wait. `told(stage, seconds)` hears how long each waited and was worked on. Safe to use from several threads.
    """

    def __init__(
        self,
        workers: int = 2,
        waiting: int = 64,
        observe: Callable[[str, float], None] = lambda stage, s: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._observe, self._clock = waiting, observe, clock
        self._workers = workers
        self._waiting: list[QueuedJob[Any]] = []
        self._working: set[QueuedJob[Any]] = set()
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._usual_seconds = 1.0  # of a whole picture
        self._closed = self._stopped = False
        levels = [WHOLE_LEVEL] * workers + [RENDER_LEVEL]
        # daemons: a decoder that does not come back shall not keep the process from ending
        self._threads = [
            threading.Thread(target=self._serve, args=(level,), name=f"mirnet-{number}", daemon=True)
            for number, level in enumerate(levels)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def working(self) -> int:
        return len(self._working)

    @property
    def idle(self) -> bool:
        with self._changed:
            return not self._waiting and not self._working

    def refuse_if_full(self) -> None:
        """Raises Full or Ending where nothing would be taken now."""
        with self._changed:
            self._refuse()

    def submit(self, work: Work[T], level: int = WHOLE_LEVEL) -> QueuedJob[T]:
        """Put work into the queue; it is called with a progress that raises once nobody wants it. Full, Ending."""
        with self._changed:
            self._refuse()
            job = QueuedJob(work, level, next(self._numbers), self._clock())
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def cancel(self, job: QueuedJob[Any], reason: MirnetError) -> None:
        """End a ticket with a reason, if it has not ended: at once where it waits, at its next progress where not."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
        job.finish(error=reason)

    def position(self, job: QueuedJob[Any]) -> int:
        """How many waiting tickets will be taken before it."""
        with self._changed:
            return sum(other.order < job.order for other in self._waiting) if job in self._waiting else 0

    def retry_seconds(self) -> int:
        """When somebody who was refused may try again: about when half of what waits is done, by recent pictures."""
        seconds = self._usual_seconds * (len(self._waiting) / 2 + 1) / self._workers
        return max(1, min(LONGEST_RETRY_SECONDS, math.ceil(seconds)))

    def close(self) -> None:
        """Take nothing more; what waits and is in work goes on."""
        self._closed = True

    def stop(self, reason: MirnetError, seconds: float = 5.0) -> bool:
        """End all with a reason, and the threads; whether they ended in time."""
        self.close()
        with self._changed:
            self._stopped = True
            left = [*self._waiting, *self._working]
            self._waiting.clear()
            self._changed.notify_all()
        for job in left:
            job.finish(error=reason)
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _refuse(self) -> None:
        if self._closed:
            raise ShuttingDown("The service is ending and takes nothing more; try again when it is back.")
        if len(self._waiting) >= self._limit:
            seconds = self.retry_seconds()
            raise QueueFull(
                f"{len(self._waiting)} requests wait already, which is all there is room for; try again in "
                f"{seconds} s.",
                seconds,
            )

    def _serve(self, least: int) -> None:
        while (job := self._next(least)) is not None:
            self._observe("wait", job.began - job.created)
            job.run()
            with self._changed:
                self._working.discard(job)
                job.ended = self._clock()
                if job.order[0] == WHOLE_LEVEL:
                    newest = job.ended - job.began
                    self._usual_seconds += MEMORY_OF_SECONDS * (newest - self._usual_seconds)
            self._observe("work", job.ended - job.began)
            del job  # it holds a result, and the next one may be long in coming

    def _next(self, least: int) -> QueuedJob[Any] | None:
        with self._changed:
            while True:
                if self._stopped:
                    return None
                job = min(self._waiting, key=lambda each: each.order, default=None)
                if job is not None and job.order[0] <= least:
                    self._waiting.remove(job)
                    self._working.add(job)
                    job.began = self._clock()
                    return job
                self._changed.wait()


def _without_frames(error: BaseException) -> BaseException:
    """An error without the frames that it came from, which hold a picture; who made it is in the log, if not we."""
    if not isinstance(error, MirnetError):
        failure_log.note(error)
    chain: list[BaseException] = [error]
    for each in chain:
        each.__traceback__ = None
        chain += [within for within in (each.__cause__, each.__context__) if within and within not in chain]
    return error
