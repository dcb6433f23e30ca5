"""Images that arrive in a folder, once they are complete: found by polling, which works on any disk and share."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mirnet.batch.jobs import BatchJob, Stamp, read_stamp
from mirnet.errors import MirnetError

POLL_SECONDS = 1.0
REST_SECONDS = 2.0  # a file that has not changed for this long, and that no process writes, is complete
SHARE_OF_TIME = 0.1  # that polling may take, where a folder is large


def arrivals(
    plan_jobs: Callable[[], Sequence[BatchJob]], warn: Callable[[str], None], look_seconds: float = POLL_SECONDS,
    rest_seconds: float = REST_SECONDS,
) -> Iterator[list[BatchJob]]:  # fmt: skip
    """The jobs of `plan_jobs()` whose sources are complete, without end: at first all, then new and changed ones.

    Each job comes once, and again when its source has changed. `warn` gets a sentence where a later `plan_jobs()`
    fails, and polling goes on; the first call may raise.
    """
    jobs, failing = plan_jobs(), False
    resting: dict[Path, tuple[Stamp, float]] = {}  # since when each file is unchanged
    done: dict[Path, Stamp] = {}
    while True:
        started = time.monotonic()
        stamps = {job.source: read_stamp(job.source) for job in jobs}
        resting = {
            source: resting[source] if source in resting and resting[source][0] == stamp else (stamp, started)
            for source, stamp in stamps.items()
        }
        done = {source: stamp for source, stamp in done.items() if source in stamps}
        ready = [
            job for job in jobs
            if done.get(job.source, ()) != stamps[job.source]
            and started - resting[job.source][1] >= rest_seconds
            and not is_being_written(job.source)
        ]  # fmt: skip
        if ready:
            done |= {job.source: stamps[job.source] for job in ready}
            yield ready
        time.sleep(max(look_seconds, (time.monotonic() - started) * (1 / SHARE_OF_TIME - 1) if not ready else 0))
        try:
            jobs, failing = plan_jobs(), False
        except MirnetError as error:
            if not failing:
                warn(f"{error} Trying again every {look_seconds:g} s.")
            failing = True


def is_being_written(path: Path) -> bool:
    """Whether a process has a file open for writing; False where the system cannot tell, as on shares and beyond Linux.

    Uses a read lease, which Linux grants only while no process writes the file, and which is returned at once.
    """
    try:
        import fcntl
        import signal

        lease, kind = fcntl.F_SETLEASE, fcntl.F_RDLCK
    except (ImportError, AttributeError):
        return False
    signal.signal(
        signal.SIGIO, signal.SIG_IGN
    )  # its default would end this process where the file is opened at that moment
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.fcntl(file, lease, kind)
        fcntl.fcntl(file, lease, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False
