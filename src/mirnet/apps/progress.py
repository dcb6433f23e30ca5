"""A progress bar on standard error, for commands that work through pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


class Bar:
    """A progress bar over several pictures, with progress within each; lines go above it."""

    def __init__(self, progress: Any, task: Any, total: int) -> None:
        self._progress, self._task, self._total, self._done = progress, task, total, 0

    def within(self, done: float) -> None:
        self._progress.update(self._task, completed=min(self._done + done, self._total))

    def advance(self) -> None:
        self._done += 1
        self.within(0)

    def say(self, line: str, failed: bool) -> None:
        """A result goes to standard output as it is, a failure to standard error; nothing is wrapped or cut."""
        self._progress.stop()
        typer.echo(line, err=failed)
        self._progress.start()


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Bar]:
    """A bar on standard error, shown on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task(what, total=total), total)
