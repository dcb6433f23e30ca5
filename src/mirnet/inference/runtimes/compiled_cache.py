"""Compiled networks in the user's cache folder, so that a start need not compile; nothing of an image is stored.

The cache may be missing, full, old, shared or damaged: then networks are compiled as without one. A file holds a
digest and the content, which is checked before anything else uses it: OpenVINO trusts its input.
"""

import hashlib
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from mirnet._version import __version__
from mirnet.files import clear_drafts, write_whole

VARIABLE = "MIRNET_CACHE"  # a folder, or empty for no cache
MAX_FILES = 16  # about 5 MB each: several weights, precisions and numbers of threads
DIGEST_BYTES = 32


def cache_folder() -> Path | None:
    """The folder of this release's compiled networks; None where MIRNET_CACHE is empty or the user has no home."""
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen) / "compiled" / __version__ if chosen else None
    try:
        return _user_cache_folder() / "mirnet" / "compiled" / __version__
    except RuntimeError:  # no home
        return None


def _user_cache_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def load(key: str) -> bytes | None:
    """The content that was stored under a key; None where there is none or it is damaged."""
    path = _path(key)
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, stored = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return stored if hashlib.sha256(stored).digest() == digest else None


def store(key: str, content: bytes) -> None:
    """Store content under a key, where the disk allows; delete the oldest files and those of other releases."""
    path = _path(key)
    if path is None:
        return
    with suppress(OSError):  # a full disk, a home that cannot be written
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(content).digest() + content)
        _delete_old(path.parent)


def _path(key: str) -> Path | None:
    folder = cache_folder()
    return folder and folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.blob"


def _delete_old(folder: Path) -> None:
    clear_drafts(folder)
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    files = sorted(folder.glob("*.blob"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[MAX_FILES:]:
        file.unlink(missing_ok=True)
