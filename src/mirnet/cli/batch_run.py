"""A batch as the terminal shows it: a line for each file, a progress bar, a report, and a summary at the end."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import typer

from mirnet.batch import jobs
from mirnet.batch.backend import Backend
from mirnet.batch.folder_watch import arrivals
from mirnet.batch.jobs import BatchJob, Outcome
from mirnet.batch.planning import FileSelection
from mirnet.batch.reports import ReportFile
from mirnet.cli.progress import progress_bar
from mirnet.cli.signals import Interrupted
from mirnet.errors import SettingsError

OpensBackend = AbstractContextManager[Backend]


def enhance(files: FileSelection, backend: OpensBackend, *, report: Path | None) -> bool:
    """Enhance the selected files and print what becomes of each. Returns whether any failed."""
    planned = files.plan(warn)
    with _open_run(backend, report, several=len(planned) != 1) as run:
        run.process(planned)
    return run.tally.failed > 0


def watch(files: FileSelection, backend: OpensBackend, *, report: Path | None) -> bool:
    """Enhance what is in folders and what arrives there, until the user interrupts. Returns whether any failed."""
    if not all(folder.is_dir() for folder in files.inputs):
        raise SettingsError("--watch needs folders that exist.")
    plan_again = _Replanning(files)
    try:
        with _open_run(backend, report, several=True) as run:
            for batch in arrivals(plan_again, warn):
                run.process(batch)
    except Interrupted:  # the way in which watching ends
        pass
    return run.tally.failed > 0


def warn(sentence: str) -> None:
    """Print a warning to standard error."""
    typer.echo(f"mirnet: {to_printable(sentence)}", err=True)


class _Replanning:
    """Plans a selection of files again and again, and prints each warning once."""

    def __init__(self, files: FileSelection) -> None:
        self._files, self._warned = files, set[str]()

    def __call__(self) -> Sequence[BatchJob]:
        return self._files.plan(self._warn_once, may_be_empty=True)

    def _warn_once(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            warn(sentence)


class _Run:
    """One command's batches: runs them on a backend, prints and reports each outcome, counts them all."""

    def __init__(self, backend: Backend, report: ReportFile | None, several: bool) -> None:
        self._backend, self._report, self._several = backend, report, several
        self.tally = Tally()

    def process(self, batch: Sequence[BatchJob]) -> None:
        jobs.clear_output(batch)
        with (
            progress_bar("enhancing", len(batch)) as bar,
            closing(self._backend.run(batch, bar.show_within)) as outcomes,
        ):
            for outcome in outcomes:
                self._add(outcome, bar.say)
                bar.advance(outcome.job)

    def _add(self, outcome: Outcome, say: Callable[..., None]) -> None:
        if self._report:
            self._report.add(outcome)
        self.tally.add(outcome)
        for line in format_outcome(outcome, self._several):
            say(line, failed=outcome.failed)


class Tally:
    """Counts enhanced, skipped and failed images, megapixels and seconds."""

    def __init__(self) -> None:
        self.enhanced = self.skipped = self.failed = 0
        self._megapixels, self._began = 0.0, time.monotonic()

    def add(self, outcome: Outcome) -> None:
        self.enhanced += outcome.report is not None
        self.skipped += outcome.skipped
        self.failed += outcome.failed
        if outcome.report:
            self._megapixels += outcome.report.width * outcome.report.height / 1e6

    def summary(self) -> str:
        """ "3 enhanced, 1 there already, 1 failed; 36.0 megapixels in 12.0 s, 3.00 a second"."""
        seconds = max(time.monotonic() - self._began, 1e-3)
        there = f", {self.skipped} there already (--overwrite replaces them)" if self.skipped else ""
        failed = f", {self.failed} failed" if self.failed else ""
        speed = f"; {self._megapixels:.1f} megapixels in {seconds:.1f} s, {self._megapixels / seconds:.2f} a second"
        return f"{self.enhanced} enhanced{there}{failed}" + (speed if self.enhanced else "")


@contextmanager
def _open_run(backend: OpensBackend, report: Path | None, several: bool) -> Iterator[_Run]:
    """A run with its report, and with a summary at its end, also where the user interrupts it."""
    with backend as opened:
        file = ReportFile(report, opened.weights) if report else None
        run = _Run(opened, file, several)
        try:
            yield run
        except Interrupted:
            if several:
                typer.echo(run.tally.summary())
            raise
        else:
            if several:
                typer.echo(run.tally.summary())
        finally:
            if file:
                file.close()


def format_outcome(outcome: Outcome, several: bool = False) -> Iterator[str]:
    """The lines to print for one file; among `several`, files whose output was there already have only remarks."""
    job, report = outcome.job, outcome.report
    source, target = to_printable(job.source), to_printable(job.target)
    if outcome.error:
        yield f"mirnet: {to_printable(outcome.error)}"
    elif report:
        size = f"{report.width}x{report.height}"
        yield f"{source} -> {target}  {size}  {report.stops:+.1f} stops  {report.seconds:.2f} s"
    elif not several:
        yield f"{target}: is there already, left alone (--overwrite replaces it)"
    for remark in report.remarks if report else outcome.remarks:
        yield f"  {to_printable(remark)}"


def to_printable(text: object) -> str:
    """Text on one line and in letters, whatever a file's name holds: a line break becomes \\n."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text))
