"""Files that are whole or not there: written beside their place, then moved into it."""

import os
import platform
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FOREIGN_DRAFT_SECONDS = 24 * 3600


@cache
def machine_id() -> str:
    """Eight digits that name this machine in drafts: locks of another one may not be visible here."""
    return f"{zlib.crc32(platform.node().encode()):08x}"


def write_whole(path: Path, content: bytes, *, overwrite: bool = True) -> None:
    """Write `path`; a reader, a crash or a full disk never meets half a file, and none is left behind.

    Raises FileExistsError where there is a file, even one made this moment, and `overwrite` is false; OSError.
    """
    with draft_of(path, overwrite=overwrite) as file:
        file.write(content)


@contextmanager
def draft_of(path: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """A file to fill, beside `path`: becomes `path` where the context ends well, and is gone where it does not.

    Its path is its `name`. It stays locked until then, by which `clear_drafts` knows it from a killed process's.
    Raises FileExistsError as `write_whole` does; OSError.
    """
    file = _locked_draft(path.parent)
    draft = Path(file.name)
    try:
        yield file
        file.flush()
        os.fsync(file.fileno())
        if fcntl is None:
            file.close()  # Windows moves no open file
        _move(draft, path, overwrite)
    finally:
        with suppress(OSError):  # what a full disk could not take is told already, and tried again by close
            file.close()
        draft.unlink(missing_ok=True)


def clear_drafts(folder: Path) -> None:
    """Delete the drafts in a folder that killed processes left behind; those that are being written stay.

    A draft that nobody has locked is dead. One of another machine, whose locks may not reach us, is dead when it has
    not changed for a day, too. A folder that cannot be read or written is left as it is.
    """
    for draft in folder.glob(".mirnet-*.part") if folder.is_dir() else ():
        with suppress(OSError):
            ours = draft.name.startswith(f".mirnet-{machine_id()}-") and fcntl is not None
            if ours or time.time() - draft.stat().st_mtime > FOREIGN_DRAFT_SECONDS:
                _delete_unlocked(draft)


def _locked_draft(folder: Path) -> BinaryIO:
    while True:
        file = (folder / f".mirnet-{machine_id()}-{secrets.token_hex(8)}.part").open("x+b")
        _lock(file, wait=True)
        if Path(file.name).exists():  # nobody took it for a dead one before we had locked it
            return file
        file.close()


def _lock(file: BinaryIO, wait: bool) -> None:
    """Raises BlockingIOError where somebody else holds the lock. A file system without locks knows none."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            if not wait:  # whether it is dead cannot be known
                raise


def _delete_unlocked(draft: Path) -> None:
    with draft.open("r+b") as file:
        _lock(file, wait=False)
        draft.unlink()


def _move(draft: Path, path: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            path.hardlink_to(draft)  # unlike a rename it never replaces a file, not even one made this moment
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without links, as on memory cards
            if os.path.lexists(path):
                raise FileExistsError(path) from None
    draft.replace(path)
