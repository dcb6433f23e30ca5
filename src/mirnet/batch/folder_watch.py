"""What arrives in a folder, once it is complete: by looking again and again, which works on any disk and share."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mirnet.batch.jobs import BatchJob, Stamp, read_stamp
from mirnet.errors import MirnetError

POLL_SECONDS = 1.0
REST_SECONDS = 2.0  # a file that has not changed for so long, and that nobody writes, is complete
SHARE_OF_TIME = 0.1  # that looking may take, where a folder is large


def arrivals(look: Callable[[], Sequence[BatchJob]], say: Callable[[str], None], look_seconds: float = POLL_SECONDS,
             rest_seconds: float = REST_SECONDS) -> Iterator[list[BatchJob]]:  # fmt: skip
    """The jobs of `look()` whose sources are complete, for ever: what is there at first, then what comes or changes.

    Each comes once, and again when its source has changed. `say` gets a sentence where a later `look()` fails, and
    another look follows; the first may raise.
    """
    jobs, failing = look(), False
    resting: dict[Path, tuple[Stamp, float]] = {}  # since when each file has been as it is
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
            jobs, failing = look(), False
        except MirnetError as error:
            if not failing:
                say(f"{error} Looking again every {look_seconds:g} s.")
            failing = True


def is_being_written(path: Path) -> bool:
    """Whether a process has a file open to write; no where the system cannot tell, as on shares and beyond Linux.

    Asked by a lease, which Linux grants to readers of what nobody writes, and which is given back at once.
    """
    try:
        import fcntl
        import signal

        lease, kind = fcntl.F_SETLEASE, fcntl.F_RDLCK
    except (ImportError, AttributeError):
        return False
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # would end us where somebody opens the file at that very moment
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
