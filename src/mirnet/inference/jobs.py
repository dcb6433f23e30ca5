"""Which files are enhanced, and where their results go; decided before anything is written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirnet.errors import MirnetError, OutputExists, PictureError, SettingsError
from mirnet.inference.enhancer import Enhancer, Report, beside
from mirnet.inference.settings import Settings

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")  # of what is taken from a folder


@dataclass(frozen=True)
class Job:
    """One file to enhance into another."""

    source: Path
    target: Path


def plan(inputs: Sequence[Path], output: Path | None) -> list[Job]:
    """The jobs for files and folders, in order.

    Without `output` results go beside their originals as NAME.bright.EXT. With one file, `output` is a
    file, or a folder (one that exists, or a name without suffix); with a folder or several inputs it is
    a folder, and names stay. A
    folder gives its pictures, not those in folders within it, and not earlier *.bright.* results.
    Raises SettingsError where an input is missing, a folder has no pictures, an output would be an
    input, or two results would be one file.
    """
    sources = [source for given in inputs for source in _sources(given)]
    several = len(inputs) > 1 or any(given.is_dir() for given in inputs)
    if several and output is not None and output.is_file():
        raise SettingsError(f"{output}: several pictures need a folder as output; this is a file. Choose a folder.")
    into_folder = output is not None and (several or output.is_dir() or not output.suffix)
    jobs = [Job(source, _target(source, output, into_folder)) for source in dict.fromkeys(sources)]
    _refuse_collisions(jobs)
    return jobs


def _sources(given: Path) -> list[Path]:
    if given.is_dir():
        found = [path for path in sorted(given.iterdir()) if _is_picture(path)]
        if not found:
            raise SettingsError(f"{given}: expected pictures in this folder ({', '.join(SUFFIXES)}); there are none.")
        return found
    if not given.exists():
        raise SettingsError(f"{given}: there is no such file or folder.")
    return [given]


def _is_picture(path: Path) -> bool:
    earlier = Path(path.stem).suffix == ".bright"
    return path.is_file() and path.suffix.lower() in SUFFIXES and not earlier and not path.name.startswith(".")


def _target(source: Path, output: Path | None, into_folder: bool) -> Path:
    if output is None:
        return beside(source)
    return output / source.name if into_folder else output


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    originals = {job.source.resolve(): job.source for job in jobs}
    taken: dict[Path, Path] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in originals:
            raise SettingsError(
                f"{job.source}: its result would replace {originals[target]}, an original; choose another output folder."
            )
        if target in taken:
            raise SettingsError(
                f"{taken[target]} and {job.source} would both become {job.target}; enhance them into different folders."
            )
        taken[target] = job.source


@dataclass(frozen=True)
class Outcome:
    """What became of one job: a report, or why there is none. An output that was there already is no failure."""

    job: Job
    report: Report | None = None
    skipped: bool = False
    error: MirnetError | None = None


def run(jobs: Sequence[Job], enhancer: Enhancer, settings: Settings) -> Iterator[Outcome]:
    """Enhance one file after the other; what fails is told and the others go on. Raises Cancelled."""
    for job in jobs:
        try:
            make_folder(job.target.parent)
            yield Outcome(job, report=enhancer.enhance_file(job.source, job.target, settings))
        except OutputExists:
            yield Outcome(job, skipped=True)
        except PictureError as error:
            yield Outcome(job, error=error)


def make_folder(folder: Path) -> None:
    """Make a folder for results where there is none. Raises PictureError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PictureError(f"{folder}: cannot be made ({error.strerror}); choose another.") from error
