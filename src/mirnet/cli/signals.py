"""Being asked to stop: Ctrl-C, and the signal by which systems end what they began."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Interrupted(BaseException):
    """Somebody asked to stop. No Exception, so that no library on the way takes it for a failure of its own."""


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """For `signal.signal`."""
    raise Interrupted


@contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM ends this context as Ctrl-C does, instead of ending the process where it stands."""
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
