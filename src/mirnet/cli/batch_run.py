"""A run over files as a person sees it: a line for each, a bar, a report, and a summary at the end."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import typer

from mirnet.batch import jobs
from mirnet.batch.folder_watch import arrivals
from mirnet.batch.jobs import BatchJob, Outcome, Progress
from mirnet.batch.planning import Shard, plan
from mirnet.batch.reports import ReportFile
from mirnet.cli.progress import progress_bar
from mirnet.cli.signals import Interrupted
from mirnet.errors import SettingsError
from mirnet.inference.catalog import Weights
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings


@dataclass(frozen=True)
class FileSelection:
    """Which files a command is about, in the words of `planning.plan`."""

    inputs: list[Path]
    output: Path | None
    recursive: bool
    format: str | None
    shard: Shard | None

    def plan(self, say: Callable[[str], None], may_be_empty: bool = False) -> Sequence[BatchJob]:
        return plan(self.inputs, self.output, recursive=self.recursive, format=self.format, shard=self.shard,
                    may_be_empty=may_be_empty, say=say)  # fmt: skip


class Backend(Protocol):
    """Who does the work: this process, or a cluster's."""

    @property
    def weights(self) -> Weights: ...

    def run(self, jobs: Sequence[BatchJob], progress: Progress) -> Generator[Outcome, None, None]: ...


@dataclass(frozen=True)
class LocalBackend:
    """The engine that is this process."""

    enhancer: Enhancer
    settings: Settings
    at_once: int

    @property
    def weights(self) -> Weights:
        return self.enhancer.weights

    def run(self, batch: Sequence[BatchJob], progress: Progress) -> Generator[Outcome, None, None]:
        return jobs.run(batch, self.enhancer, self.settings, at_once=self.at_once, progress=progress)


OpensBackend = Callable[[], AbstractContextManager[Backend]]


def enhance(files: FileSelection, engine: OpensBackend, *, report: Path | None) -> bool:
    """Enhance files and say what becomes of each; whether any failed."""
    planned = files.plan(say=warn)
    with _run(engine, report, several=len(planned) != 1) as run:
        run.batch(planned)
    return run.tally.failed > 0


def watch(files: FileSelection, engine: OpensBackend, *, report: Path | None) -> bool:
    """Enhance what is in folders and what arrives there, until somebody asks to stop; whether any failed."""
    if not all(folder.is_dir() for folder in files.inputs):
        raise SettingsError("--watch looks after folders; name some that are there.")
    noted: set[str] = set()

    def note_once(sentence: str) -> None:
        if sentence not in noted:
            noted.add(sentence)
            warn(sentence)

    try:
        with _run(engine, report, several=True) as run:
            for batch in arrivals(lambda: files.plan(note_once, may_be_empty=True), warn):
                run.batch(batch)
    except Interrupted:  # the way in which watching ends
        pass
    return run.tally.failed > 0


def warn(sentence: str) -> None:
    typer.echo(f"mirnet: {to_printable(sentence)}", err=True)


class _Run:
    """One command's work: batches of jobs with everything that is said about them."""

    def __init__(self, engine: Backend, report: ReportFile | None, several: bool) -> None:
        self._engine, self._report, self._several = engine, report, several
        self.tally = Tally()

    def batch(self, batch: Sequence[BatchJob]) -> None:
        jobs.clear_output(batch)
        with progress_bar("enhancing", len(batch)) as bar:
            outcomes = self._engine.run(batch, lambda job, done: bar.within(done, job))
            with closing(outcomes):
                for outcome in outcomes:
                    if self._report:
                        self._report.add(outcome)
                    self.tally.add(outcome)
                    bar.advance(outcome.job)
                    for line in format_outcome(outcome, self._several):
                        bar.say(line, failed=outcome.failed)


@contextmanager
def _run(opens_engine: OpensBackend, report: Path | None, several: bool) -> Iterator[_Run]:
    """A run with its report, and with a summary at its end, even one that somebody asked for."""
    with opens_engine() as engine:
        file = ReportFile(report, engine.weights) if report else None
        run = _Run(engine, file, several)
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


class Tally:
    """Counts what became of pictures."""

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


def format_outcome(outcome: Outcome, several: bool = False) -> Iterator[str]:
    """Lines about what became of a file; of `several`, those that were there already have only their remarks."""
    job, report = outcome.job, outcome.report
    if outcome.error:
        yield f"mirnet: {to_printable(outcome.error)}"
    elif report:
        size = f"{report.width}x{report.height}"
        source, target = to_printable(job.source), to_printable(job.target)
        yield f"{source} -> {target}  {size}  {report.stops:+.1f} stops  {report.seconds:.2f} s"
    elif not several:
        yield f"{to_printable(job.target)}: is there already, left alone (--overwrite replaces it)"
    for remark in report.remarks if report else outcome.remarks:
        yield f"  {to_printable(remark)}"


def to_printable(text: object) -> str:
    """On one line and in letters, whatever a file's name holds: a line break in it is shown as \\n."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text))
