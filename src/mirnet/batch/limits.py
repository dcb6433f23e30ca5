"""What several pictures at once must share: memory, and room on the disk."""

import errno
import io
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mirnet import images
from mirnet.errors import MirnetError, PictureError
from mirnet.formats import find_format
from mirnet.images.file_format import detect_format

MEGAPIXELS_AT_ONCE = 50.0  # of all pictures in work together; a larger one is in work alone
POLL_SECONDS = 0.2  # how often who waits looks whether to stop


class MemoryShare:
    """Lets pictures begin as long as those in work stay within a budget of megapixels, and one always."""

    def __init__(self, megapixels: float = MEGAPIXELS_AT_ONCE) -> None:
        self._budget, self._used = megapixels, 0.0
        self._door = threading.Lock()  # one waits, the others behind it: a large picture is not overtaken for ever
        self._changed = threading.Condition()

    @contextmanager
    def share(self, source: Path | bytes, stopped: Callable[[], bool]) -> Iterator[None]:
        """Wait until there is room for a picture, and take it as long as the context lasts.

        `stopped()`, asked again and again meanwhile, ends the waiting; it may raise.
        """
        megapixels = min(megapixels_of(source), self._budget)
        with self._door, self._changed:
            while self._used + megapixels > self._budget and not stopped():
                self._changed.wait(POLL_SECONDS)
            self._used += megapixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= megapixels
                self._changed.notify_all()


def megapixels_of(source: Path | bytes) -> float:
    """What a picture will hold when it is decoded; 0 where nobody can tell, which its decoder will say better."""
    try:
        if _is_raw(source):  # opening one decodes it; a pixel takes a byte or two
            return (len(source) if isinstance(source, bytes) else source.stat().st_size) / 1e6
        header = images.open_image(source).header
    except (PictureError, OSError):
        return 0.0
    return header.width * header.height / 1e6


def _is_raw(source: Path | bytes) -> bool:
    if isinstance(source, bytes):
        return detect_format(io.BytesIO(source), source) == "raw"
    known = find_format(source.suffix)
    return known is not None and known.name == "raw"


class DiskSpace:
    """Remembers that a disk was full, so that a night is not spent on results that have no room."""

    def __init__(self) -> None:
        self._was_full = False

    def note_error(self, error: MirnetError) -> None:
        """From what went wrong with a picture."""
        self._was_full |= isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC

    def refuse_full_disk(self, source: Path, folder: Path) -> None:
        """Raises PictureError where a disk was full before, and has less room than the source takes."""
        if not self._was_full or not folder.is_dir():
            return
        free, needed = shutil.disk_usage(folder).free, source.stat().st_size
        if free < needed:
            raise PictureError(
                f"{source}: not begun, for the disk of {folder} has room for {free / 1e6:.1f} MB, and this picture "
                f"takes {needed / 1e6:.1f}; make room and repeat the command."
            )
