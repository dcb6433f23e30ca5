"""Limits that images processed at once share: memory, and space on the disk."""

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

MEGAPIXELS_AT_ONCE = 50.0  # of all images processed at once; a larger one is processed alone
POLL_SECONDS = 0.2  # how often a waiting thread checks whether to stop


class MemoryShare:
    """Lets images begin while those being processed stay within a budget of megapixels; one image always may."""

    def __init__(self, megapixels: float = MEGAPIXELS_AT_ONCE) -> None:
        self._budget, self._used = megapixels, 0.0
        self._door = threading.Lock()  # one waits at a time: a large image is not overtaken for ever
        self._changed = threading.Condition()

    @contextmanager
    def share(self, source: Path | bytes, should_stop: Callable[[], bool]) -> Iterator[None]:
        """Wait until the budget has room for an image, and reserve it while the context lasts.

        `should_stop()` is polled meanwhile; it ends the wait, and it may raise.
        """
        megapixels = min(megapixels_of(source), self._budget)
        with self._door, self._changed:
            while self._used + megapixels > self._budget and not should_stop():
                self._changed.wait(POLL_SECONDS)
            self._used += megapixels
        try:
            yield
        finally:
            with self._changed:
                self._used -= megapixels
                self._changed.notify_all()


def megapixels_of(source: Path | bytes) -> float:
    """The megapixels of an image; 0 where its header cannot be read, which the decoder reports later."""
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
    """Remembers that a disk was full, so that no time is spent on results that will not fit."""

    def __init__(self) -> None:
        self._was_full = False

    def note_error(self, error: MirnetError) -> None:
        """Note the error of one image."""
        self._was_full |= isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.ENOSPC

    def refuse_full_disk(self, source: Path, folder: Path) -> None:
        """Raises PictureError where a disk was full before and has less free space than the size of the source."""
        if not self._was_full or not folder.is_dir():
            return
        free, needed = shutil.disk_usage(folder).free, source.stat().st_size
        if free < needed:
            raise PictureError(
                f"{source}: not begun: the disk of {folder} has {free / 1e6:.1f} MB free, and this image "
                f"takes {needed / 1e6:.1f} MB; free space and repeat the command."
            )
