"""The lock of a run folder: one process at a time trains there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirnet.errors import SettingsError

try:
    import fcntl
except ImportError:  # Windows: runs are not kept apart there
    fcntl = None  # type: ignore[assignment]

NAME = "lock"


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of an existing run folder. Raises SettingsError where another process has it.

    It is the operating system's lock, so that it ends with the process, however that ends.
    """
    try:
        file = (folder / NAME).open("w")
    except OSError as error:
        raise SettingsError(f"{folder}: cannot be a run folder ({error.strerror}); choose another.") from error
    with file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(f"{folder}: another process trains there; choose another folder.") from error
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process trains in the folder now; False where locks are not supported."""
    if fcntl is None:
        return False
    try:
        with (folder / NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
