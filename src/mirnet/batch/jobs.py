"""Batch jobs: files to enhance into other files, the worker pool that processes them, and their outcomes."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from mirnet.batch.limits import DiskSpace, MemoryShare
from mirnet.errors import Cancelled, MirnetError, OutputExists, PictureError, SettingsError
from mirnet.files import clear_drafts
from mirnet.inference.enhancer import EnhancedFile, Enhancer
from mirnet.inference.settings import Settings


@dataclass(frozen=True, slots=True)
class BatchJob:
    """One file to enhance into another; `problem` is a sentence where that cannot be."""

    source: Path
    target: Path
    problem: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of one job: a report, or why there is none. A job whose output exists already is not a failure."""

    job: BatchJob
    report: EnhancedFile | None = None
    skipped: bool = False
    error: MirnetError | None = None
    remarks: tuple[str, ...] = ()  # of a skipped job; a report has its own
    bytes: tuple[int | None, int | None] | None = (
        None  # sizes of source and target as a node saw them; None: read them here
    )

    @property
    def failed(self) -> bool:
        return self.error is not None


Progress = Callable[[BatchJob, float], None]
Stamp = tuple[int, ...] | None  # changes with the file; None where there is none


def run(jobs: Sequence[BatchJob], enhancer: Enhancer, settings: Settings, *, at_once: int = 1,
        progress: Progress = lambda job, done: None) -> Generator[Outcome, None, None]:  # fmt: skip
    """Enhance files, `at_once` of them in threads of their own; outcomes come as jobs end, failures among them.

    While one image is in the network, others are read and written; large images wait for memory. `progress(job, done)`
    is called from those threads with 0 to 1. Closing the iterator, or an exception in it, ends all running jobs with
    nothing half-written. Raises Cancelled.
    """
    pool = WorkerPool(jobs, enhancer, settings, progress)
    try:
        yield from pool.run(min(at_once, len(jobs)))
    finally:
        pool.stop()


def clear_output(jobs: Sequence[BatchJob]) -> None:
    """Delete files that killed processes left half-written where these jobs will write."""
    for folder in dict.fromkeys(job.target.parent for job in jobs):
        clear_drafts(folder)


def make_folder(folder: Path) -> None:
    """Make a folder for results where there is none. Raises PictureError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"{folder}: cannot be made ({error.strerror}); choose another.") from error


class WorkerPool:
    """Threads that take one job after the other until there are none left, or until `stop`."""

    def __init__(self, jobs: Sequence[BatchJob], enhancer: Enhancer, settings: Settings, progress: Progress) -> None:
        self._waiting, self._taking = iter(jobs), threading.Lock()
        self._enhancer, self._settings, self._progress = enhancer, settings, progress
        self._ended: SimpleQueue[Outcome | BaseException | None] = SimpleQueue()
        self._memory, self._disk = MemoryShare(), DiskSpace()
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def run(self, threads: int) -> Iterator[Outcome]:
        """Start the threads and yield the outcome of each job as it ends. Raises what a thread raised."""
        self._threads = [threading.Thread(target=self._take_jobs, name=f"mirnet-{n}") for n in range(threads)]
        for thread in self._threads:
            thread.start()
        working = threads
        while working:
            ended = self._ended.get()
            if isinstance(ended, BaseException):
                raise ended
            if ended is None:
                working -= 1
            else:
                yield ended

    def stop(self) -> None:
        """End the running jobs with nothing half-written; returns when all threads have ended."""
        self._stopped = True
        for thread in self._threads:
            thread.join()

    def _take_jobs(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._ended.put(self.process(job))
        except BaseException as error:  # noqa: BLE001  raised where the outcomes are awaited
            self._ended.put(error)
        self._ended.put(None)

    def _next(self) -> BatchJob | None:
        with self._taking:
            return None if self._stopped else next(self._waiting, None)

    def process(self, job: BatchJob) -> Outcome:
        """Do one job in the calling thread. Raises Cancelled where the pool was stopped."""
        try:
            return self._enhance(job)
        except OutputExists:
            return _skipped(job)
        except (PictureError, SettingsError) as error:
            self._disk.note_error(error)
            return Outcome(job, error=without_frames(error))
        except OSError as error:  # of a file that no other handler covers
            sentence = f"{error.filename or job.source}: {error.strerror}; check the disk and the path."
            return Outcome(job, error=PictureError(sentence))
        except MemoryError:
            sentence = f"{job.source}: needs more memory than there is; fewer --jobs, or a smaller --tile, need less."
            return Outcome(job, error=PictureError(sentence))

    def _enhance(self, job: BatchJob) -> Outcome:
        if job.problem:
            raise PictureError(job.problem)
        if job.target.exists() and not self._settings.overwrite:
            return _skipped(job)
        self._disk.refuse_full_disk(job.source, job.target.parent)
        make_folder(job.target.parent)
        with self._memory.share(job.source, lambda: self._stopped):
            try:
                return Outcome(job, self._attempt(job))
            except _Changed:  # try once more: the result may mix two images
                return Outcome(job, self._attempt(job))

    def _attempt(self, job: BatchJob) -> EnhancedFile:
        before = read_stamp(job.source)
        changed = _Changed(
            f"{job.source}: changed while it was read, twice; repeat the command when it no longer changes."
        )

        def progress(done: float) -> None:
            if done >= 1 and read_stamp(job.source) != before:  # all is read, nothing is written yet
                raise changed
            self._progress(job, done)

        try:
            if self._stopped:
                raise Cancelled
            return self._enhancer.enhance_file(job.source, job.target, self._settings, progress, lambda: self._stopped)
        except (OutputExists, _Changed):
            raise
        except PictureError as error:
            if read_stamp(job.source) != before:
                raise changed from error
            raise


def without_frames(error: MirnetError) -> MirnetError:
    """The error without its stack frames, which would keep an image and its open files in memory."""
    chain: list[BaseException] = [error]
    for each in chain:
        each.__traceback__ = None
        chain += [within for within in (each.__cause__, each.__context__) if within and within not in chain]
    return error


class _Changed(PictureError):
    """The source became another file while it was read."""


def read_stamp(path: Path) -> Stamp:
    """A value that differs after any change of the file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _skipped(job: BatchJob) -> Outcome:
    """The outcome where the output exists already, which is whole, since it was renamed into place."""
    if not job.target.is_file():
        return Outcome(job, error=PictureError(f"{job.target}: expected a free name for a file, and there is a "
                                               "folder or a broken link; move it away."))  # fmt: skip
    changed = job.source.stat().st_mtime_ns > job.target.stat().st_mtime_ns
    newer = (f"{job.source}: is newer than its result {job.target}, which was left alone (--overwrite replaces it)",)
    return Outcome(job, skipped=True, remarks=newer if changed else ())
