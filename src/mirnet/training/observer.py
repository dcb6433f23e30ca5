"""Observers of a run's progress: the command line with its progress bars, or none."""

from typing import Protocol


class ProgressObserver(Protocol):
    """`phase` is one of "load", "check", "exposure", "head", "train", "validate"; `done` runs from 0 to 1."""

    def progress(self, phase: str, done: float, note: str = "") -> None:
        """Show how far a phase has come, 0 to 1, with a short note."""
        ...

    def say(self, line: str) -> None:
        """Show a sentence: a warning, or the scores of a validation."""
        ...


class Silent:
    """An observer that shows nothing."""

    def progress(self, phase: str, done: float, note: str = "") -> None:
        pass

    def say(self, line: str) -> None:
        pass


SILENT = Silent()
