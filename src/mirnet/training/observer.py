"""Observers of a run's progress: the command line with its progress bars, or none."""

from typing import Protocol


class ProgressObserver(Protocol):
    """`phase` is one of "load", "check", "exposure", "head", "train", "validate"; `done` runs from 0 to 1."""

    def progress(self, phase: str, done: float, note: str = "") -> None:
        """How far a phase has come, and a few words on how it goes."""
        ...

    def say(self, line: str) -> None:
        """A sentence to keep: a warning, or what a validation found."""
        ...


class Silent:
    """An observer that shows nothing."""

    def progress(self, phase: str, done: float, note: str = "") -> None:
        pass

    def say(self, line: str) -> None:
        pass


SILENT = Silent()
