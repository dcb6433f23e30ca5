"""A progress bar on standard error, for commands that process images."""

import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import typer


class Bar:
    """A progress bar over several images, with progress within each; lines are printed above it."""

    def __init__(self, progress: Any, task: Any, total: int) -> None:
        """`progress` is rich's, or None where no bar is shown."""
        self._progress, self._task, self._total, self._done = progress, task, total, 0
        self._within: dict[Hashable, float] = {}  # 0 to 1, of each image that is being processed

    def within(self, done: float, image: Hashable = None) -> None:
        """Set how much of an image is done, 0 to 1; `image` identifies it among several. Safe from any thread."""
        self._within[image] = done
        self._show()

    def show_within(self, image: Hashable, done: float) -> None:
        """`within`, in the order in which a batch reports progress."""
        self.within(done, image)

    def advance(self, image: Hashable = None) -> None:
        """Count an image as done."""
        self._within.pop(image, None)
        self._done += 1
        self._show()

    def say(self, line: str, failed: bool) -> None:
        """Print a result to standard output, a failure to standard error, without wrapping or cutting it."""
        if self._progress:
            self._progress.stop()
        typer.echo(line, err=failed)
        if self._progress:
            self._progress.start()

    def _show(self) -> None:
        if self._progress:
            done = self._done + sum(list(self._within.values()))
            self._progress.update(self._task, completed=min(done, self._total), pictures=f"{self._done}/{self._total}")


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Bar]:
    """A bar on standard error, shown on a terminal only, so that other runs need not load rich."""
    if not sys.stderr.isatty():
        yield Bar(None, None, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    count = (TextColumn("{task.fields[pictures]}"),) if total > 1 else ()
    columns = (TextColumn(what), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), *count, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield Bar(progress, progress.add_task(what, total=total, pictures=f"0/{total}"), total)
