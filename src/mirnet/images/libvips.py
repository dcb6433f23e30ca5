"""libvips, loaded at its first use, and the messages about files that cannot be read."""

import functools
from typing import Any

from mirnet.formats import FORMATS


@functools.lru_cache(maxsize=1)
def vips() -> Any:
    """Returns pyvips, loaded at first use. Its cache of operations is off: it would hold whole images in memory."""
    import pyvips

    pyvips.cache_set_max(0)
    pyvips.error._to_string = pyvips._to_string = _to_text
    return pyvips


def _to_text(message: Any) -> str:
    """A message of libvips, which may quote bytes of a damaged file; pyvips 3.2 fails on those that are no UTF-8."""
    import pyvips

    return "NULL" if message == pyvips.ffi.NULL else str(pyvips.ffi.string(message).decode("utf-8", "replace"))


def versions() -> list[str]:
    """The version of libvips, for bug reports."""
    pyvips = vips()
    return [f"libvips {'.'.join(str(pyvips.version(part)) for part in range(3))}"]


def describe_unreadable(name: str, error: OSError) -> str:
    """The message about a file that the system does not let us read."""
    if isinstance(error, FileNotFoundError):
        return f"{name}: expected an image, but there is no such file; check the path"
    if isinstance(error, PermissionError):
        return f"{name}: expected an image, but you may not read this file; change its permissions"
    return f"{name}: expected an image, but it could not be read ({error.strerror}); check the disk and the path"


def describe_damaged(name: str, format: str, error: Exception) -> str:
    """The message about a file that the library of its format cannot decode."""
    reason = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"{name}: expected a whole {FORMATS[format].title} image, but the file is damaged or cut short "
        f"({reason[-1] if reason else 'no reason given'}); get a fresh copy of it"
    )
