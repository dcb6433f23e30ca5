"""The queue before the network: bounded, ordered by how urgent a job is, worked on by threads of its own."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, Generic, TypeVar

from mirnet.errors import MirnetError
from mirnet.service import failure_log

T = TypeVar("T")
Progress = Callable[[float], None]
ShouldStop = Callable[[], bool]
Work = Callable[[Progress, ShouldStop], T]

RENDER_LEVEL, OPEN_LEVEL, WHOLE_LEVEL = range(3)  # a render behind a slider; an image that is opened; whole images
MEMORY_OF_SECONDS = 0.2  # the weight of the newest image in the usual time
LONGEST_RETRY_SECONDS = 600


class QueueFull(MirnetError):
    """The queue takes no more; `retry_seconds` is when a client may try again."""

    def __init__(self, sentence: str, retry_seconds: int) -> None:
        super().__init__(sentence)
        self.retry_seconds = retry_seconds


class TimedOut(MirnetError):
    """The time limit has passed."""


class ShuttingDown(MirnetError):
    """The service is shutting down."""

    retry_seconds = 10  # about what a restart takes


class QueuedJob(Generic[T]):
    """One piece of work: it waits, is worked on, and ends in `outcome`. Made by `WorkQueue.submit`."""

    def __init__(self, work: Work[T], level: int, number: int, now: float) -> None:
        self.outcome: Future[T] = Future()
        self.order = (level, number)
        self.created, self.began, self.ended = now, math.nan, math.nan  # by the queue's clock
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
        """Set the outcome, unless it is set already. Returns whether this call set it."""
        with self._finishing:
            if self.outcome.done():
                return False
            self._work = None  # it holds an image
            if error is not None:
                self.outcome.set_exception(_without_frames(error))
            else:
                self.outcome.set_result(result)  # type: ignore[arg-type]
            return True

    def run(self) -> Callable[[], bool]:
        """Do the work in the calling thread. Returns a call that sets the outcome."""
        work = self._work
        if work is None:
            return lambda: False
        try:
            result = work(self._report, self.outcome.done)
        except BaseException as error:  # noqa: BLE001  raised where the outcome is awaited
            return partial(self.finish, error=error)
        return partial(self.finish, result)

    def _report(self, done: float) -> None:
        self.progress = done


class WorkQueue:
    """Works on jobs: `workers` threads take all of them in order, one more thread takes only those of RENDER_LEVEL.

    Two workers, since one image is read and written while the other is in the network. At most `waiting` jobs wait
    beside those that an idle thread takes at once. `observe(stage, seconds)` gets the time that each job waited and
    was worked on. Safe to use from several threads.
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
        self._usual_seconds = 1.0  # of a whole image
        self._idle = {WHOLE_LEVEL: workers, RENDER_LEVEL: 1}  # threads without a job, by the level that they take
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
        """Raises QueueFull or ShuttingDown where a whole image would be refused now."""
        with self._changed:
            self._refuse(WHOLE_LEVEL)

    def submit(self, work: Work[T], level: int = WHOLE_LEVEL) -> QueuedJob[T]:
        """Queue some work, which is called as `work(progress, should_stop)`; stop once the job has ended.

        Raises QueueFull, ShuttingDown.
        """
        with self._changed:
            self._refuse(level)
            job = QueuedJob(work, level, next(self._numbers), self._clock())
            self._waiting.append(job)
            self._changed.notify_all()
        return job

    def cancel(self, job: QueuedJob[Any], reason: MirnetError) -> None:
        """End a job with a reason, if it has not ended: a waiting one at once, another when its work next polls."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
        job.finish(error=reason)

    def position(self, job: QueuedJob[Any]) -> int:
        """The number of waiting jobs that will be taken before this one."""
        with self._changed:
            return sum(other.order < job.order for other in self._waiting) if job in self._waiting else 0

    def retry_seconds(self) -> int:
        """Seconds until a refused client may try again: about when half of the waiting jobs are done."""
        seconds = self._usual_seconds * (len(self._waiting) / 2 + 1) / self._workers
        return max(1, min(LONGEST_RETRY_SECONDS, math.ceil(seconds)))

    def close(self) -> None:
        """Refuse new jobs; those that wait or are worked on go on."""
        self._closed = True

    def stop(self, reason: MirnetError, seconds: float = 5.0) -> bool:
        """End all jobs with a reason, and the threads. Returns whether the threads ended in time."""
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

    def _refuse(self, level: int) -> None:
        """Raises QueueFull, ShuttingDown where a job of this level cannot be queued now."""
        if self._closed:
            raise ShuttingDown("The service is shutting down and takes nothing more; try again when it is back.")
        levels = [job.order[0] for job in self._waiting]
        if self._count_left_waiting([*levels, level]) > self._limit:
            seconds = self.retry_seconds()
            waiting = self._count_left_waiting(levels)
            raise QueueFull(f"{waiting} requests are waiting, the most allowed; try again in {seconds} s.", seconds)

    def _count_left_waiting(self, levels: Sequence[int]) -> int:
        """How many jobs of these levels stay in the queue once every idle thread has taken one.

        A job that a thread has not picked up yet does not count as waiting: else the third of three jobs for an idle
        worker and a queue of two would be refused, though there is a place for it.
        """
        by_render_thread = min(sum(level <= RENDER_LEVEL for level in levels), self._idle[RENDER_LEVEL])
        return max(0, len(levels) - by_render_thread - self._idle[WHOLE_LEVEL])

    def _serve(self, level: int) -> None:
        """Work on jobs of this level and more urgent ones, until the queue stops."""
        while (job := self._next(level)) is not None:
            self._observe("wait", job.began - job.created)
            finish = job.run()
            with self._changed:  # before the outcome: a client that has its result finds the thread idle
                self._working.discard(job)
                self._idle[level] += 1
                job.ended = self._clock()
                if job.order[0] == WHOLE_LEVEL:
                    newest = job.ended - job.began
                    self._usual_seconds += MEMORY_OF_SECONDS * (newest - self._usual_seconds)
            finish()
            self._observe("work", job.ended - job.began)
            del job, finish  # they hold a result, and the next job may come much later

    def _next(self, level: int) -> QueuedJob[Any] | None:
        with self._changed:
            while True:
                if self._stopped:
                    return None
                job = min(self._waiting, key=lambda each: each.order, default=None)
                if job is not None and job.order[0] <= level:
                    self._waiting.remove(job)
                    self._working.add(job)
                    self._idle[level] -= 1
                    job.began = self._clock()
                    return job
                self._changed.wait()


def _without_frames(error: BaseException) -> BaseException:
    """The error without its stack frames, which hold an image. Errors that are not ours go to the log first."""
    if not isinstance(error, MirnetError):
        failure_log.note(error)
    chain: list[BaseException] = [error]
    for each in chain:
        each.__traceback__ = None
        chain += [within for within in (each.__cause__, each.__context__) if within and within not in chain]
    return error
