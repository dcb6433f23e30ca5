"""libvips, loaded at its first use, and what to say where a file cannot be read."""

import functools
from typing import Any

from mirnet.formats import FORMATS, WRITABLE, of_suffix

SUFFIXES = {suffix: name for name in WRITABLE for suffix in FORMATS[name].suffixes}


@functools.lru_cache(maxsize=1)
def vips() -> Any:
    """libvips, loaded at first use. Its cache of past operations is off: it would hold whole pictures in memory."""
    import pyvips

    pyvips.cache_set_max(0)
    pyvips.error._to_string = pyvips._to_string = _text
    return pyvips


def _text(words: Any) -> str:
    """What libvips says, which may quote bytes of a damaged file; pyvips 3.2 fails on those that are no UTF-8."""
    import pyvips

    return "NULL" if words == pyvips.ffi.NULL else str(pyvips.ffi.string(words).decode("utf-8", "replace"))


def versions() -> list[str]:
    """The version of libvips, for bug reports."""
    pyvips = vips()
    return [f"libvips {'.'.join(str(pyvips.version(part)) for part in range(3))}"]


def unreadable(name: str, error: OSError) -> str:
    """A sentence about a file that the system does not give us."""
    if isinstance(error, FileNotFoundError):
        return f"{name}: expected a picture, but there is no such file; check the path"
    if isinstance(error, PermissionError):
        return f"{name}: expected a picture, but you may not read this file; change its permissions"
    return f"{name}: expected a picture, but it could not be read ({error.strerror}); check the disk and the path"


def damaged(name: str, format: str, error: Exception) -> str:
    """A sentence about a file that its format's library does not understand."""
    reason = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"{name}: expected a whole {FORMATS[format].title} picture, but the file is damaged or cut short "
        f"({reason[-1] if reason else 'no reason given'}); get a fresh copy of it"
    )


def format_of_suffix(suffix: str) -> str | None:
    """The format that a suffix such as ".JPG" speaks of; None if it is none of ours."""
    format = of_suffix(suffix)
    return format.name if format else None
