"""Writes files that appear whole or not at all: under another name in the same folder first, then renamed."""

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
    """Writes a file at once: no reader, crash or full disk ever leaves or sees half of it.

    Raises FileExistsError where there is a file, even one made a moment ago, and `overwrite` is false; OSError.
    """
    with open_draft(path, overwrite=overwrite) as file:
        file.write(content)


@contextmanager
def open_draft(path: Path, *, overwrite: bool = True) -> Iterator[BinaryIO]:
    """Opens a draft in the folder of `path`: becomes `path` where the context ends well, and is deleted otherwise.

    Its path is its `name`. It stays locked meanwhile, so that `clear_drafts` can tell it from one of a killed process.
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
        with suppress(OSError):  # a full disk was reported already, but close writes the rest again
            file.close()
        draft.unlink(missing_ok=True)


def clear_drafts(folder: Path) -> None:
    """Deletes the drafts in a folder that killed processes left behind; drafts that are being written stay.

    A draft that no process has locked is dead. The lock of another machine may not be visible here, so a draft of
    another machine is dead only if it has not changed for a day either. A folder that cannot be read or written is
    left as it is.
    """
    for draft in folder.glob(".mirnet-*.part") if folder.is_dir() else ():
        with suppress(OSError):
            is_local = draft.name.startswith(f".mirnet-{machine_id()}-") and fcntl is not None
            if is_local or time.time() - draft.stat().st_mtime > FOREIGN_DRAFT_SECONDS:
                _delete_unlocked(draft)


def _locked_draft(folder: Path) -> BinaryIO:
    while True:
        file = (folder / f".mirnet-{machine_id()}-{secrets.token_hex(8)}.part").open("x+b")
        _lock(file, wait=True)
        if Path(file.name).exists():  # no other process deleted it as dead before it was locked
            return file
        file.close()


def _lock(file: BinaryIO, wait: bool) -> None:
    """Locks a file, if its file system has locks. Raises BlockingIOError where another process holds the lock."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            if not wait:  # without locks a dead draft cannot be told from a live one
                raise


def _delete_unlocked(draft: Path) -> None:
    with draft.open("r+b") as file:
        _lock(file, wait=False)
        draft.unlink()


def _move(draft: Path, path: Path, overwrite: bool) -> None:
    if not overwrite:
        try:
            path.hardlink_to(draft)  # unlike a rename it never replaces a file, not even one made a moment ago
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without links, as on memory cards
            if os.path.lexists(path):
                raise FileExistsError(path) from None
    draft.replace(path)
