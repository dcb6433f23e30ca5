"""libvips, loaded at its first use, and what to say where a file cannot be read."""

import functools
from typing import Any

SUFFIXES = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".tif": "tiff", ".tiff": "tiff"}
NAMES = {"jpeg": "JPEG", "png": "PNG", "webp": "WebP", "tiff": "TIFF"}


@functools.lru_cache(maxsize=1)
def vips() -> Any:
    """libvips, loaded at first use. Its cache of past operations is off: it would hold whole pictures in memory."""
    import pyvips

    pyvips.cache_set_max(0)
    return pyvips


def versions() -> list[str]:
    """The version of libvips, for bug reports."""
    pyvips = vips()
    return [f"libvips {'.'.join(str(pyvips.version(part)) for part in range(3))}"]


def unreadable(name: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{name}: expected a picture, but there is no such file; check the path"
    if isinstance(error, PermissionError):
        return f"{name}: expected a picture, but you may not read this file; change its permissions"
    return f"{name}: expected a picture, but it could not be read ({error.strerror}); check the disk and the path"


def damaged(name: str, format: str, error: Exception) -> str:
    reason = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (
        f"{name}: expected a whole {NAMES[format]} picture, but the file is damaged or cut short "
        f"({reason[-1] if reason else 'no reason given'}); get a fresh copy of it"
    )


def format_of_suffix(suffix: str) -> str | None:
    """The format that a suffix such as ".JPG" speaks of; None if it is none of ours."""
    return SUFFIXES.get(suffix.lower())
