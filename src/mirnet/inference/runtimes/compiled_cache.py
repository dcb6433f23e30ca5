"""Compiled networks on disk, so that a start need not compile: in the user's cache folder, never anything of a picture.

A cache is allowed to be gone, full, old, shared or damaged: then it is as if there were none. A file holds
the digest of what follows, which is read back before anything else looks at it: OpenVINO trusts its input.
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
MOST_FILES = 16  # about 5 MB each: several weights, precisions and numbers of threads
DIGEST_BYTES = 32


def folder() -> Path | None:
    """Where compiled networks of this release lie; None where the person wants none, or has no home."""
    wished = os.environ.get(VARIABLE)
    if wished is not None:
        return Path(wished) / "compiled" / __version__ if wished else None
    try:
        return _users_caches() / "mirnet" / "compiled" / __version__
    except RuntimeError:  # no home
        return None


def _users_caches() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def read(key: str) -> bytes | None:
    """What was kept under a key, whole; None where there is nothing, or it is damaged."""
    path = _path(key)
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, kept = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    return kept if hashlib.sha256(kept).digest() == digest else None


def keep(key: str, content: bytes) -> None:
    """Keep something under a key, and forget what is oldest and what other releases kept; where possible."""
    path = _path(key)
    if path is None:
        return
    with suppress(OSError):  # a full disk, a home that cannot be written
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, hashlib.sha256(content).digest() + content)
        _tidy(path.parent)


def _path(key: str) -> Path | None:
    place = folder()
    return place and place / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.blob"


def _tidy(place: Path) -> None:
    clear_drafts(place)
    for other in place.parent.iterdir():
        if other != place:
            shutil.rmtree(other, ignore_errors=True)
    files = sorted(place.glob("*.blob"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[MOST_FILES:]:
        file.unlink(missing_ok=True)
