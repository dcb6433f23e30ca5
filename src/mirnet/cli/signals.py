"""Interruption: Ctrl-C, and SIGTERM, by which a system ends a process."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Interrupted(BaseException):
    """The user asked to stop. Not an Exception, so that no library takes it for a failure of its own."""


def interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """A handler for `signal.signal` that raises Interrupted."""
    raise Interrupted


@contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM ends this context as Ctrl-C does, instead of ending the process where it stands."""
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
