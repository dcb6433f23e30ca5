"""Files that are whole or not there: written beside their place, then moved into it."""

import os
import secrets
from pathlib import Path


def write_whole(path: Path, content: bytes, *, overwrite: bool = True) -> None:
    """Write `path`; a reader, a crash or a full disk never meets half a file, and none is left behind.

    Raises FileExistsError where there is a file, even one made this moment, and `overwrite` is false; OSError.
    """
    draft = path.parent / f".mirnet-{secrets.token_hex(8)}.part"
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _move(draft, path, overwrite)
    finally:
        draft.unlink(missing_ok=True)


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
