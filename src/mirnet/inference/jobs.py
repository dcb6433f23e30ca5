"""Which files are enhanced, and where their results go; decided before anything is written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirnet import images
from mirnet.errors import MirnetError, OutputExists, PictureError, SettingsError
from mirnet.inference.enhancer import Enhancer, Report, beside
from mirnet.inference.settings import Settings


@dataclass(frozen=True)
class Job:
    """One file to enhance into another."""

    source: Path
    target: Path


def plan(inputs: Sequence[Path], output: Path | None) -> list[Job]:
    """The jobs for files and folders, in order; a file that is named twice is enhanced once.

    Without `output` results go beside their originals as NAME.bright.EXT. With a folder or several
    inputs, `output` is a folder, and names stay. With one file it is a file, or a folder (one that
    exists, or a name without suffix). A folder gives its pictures, not those in folders within it, and
    not earlier *.bright.* results. Raises SettingsError where an input is missing, a folder has no
    pictures, an output would be an input, or two results would be one file.
    """
    sources = list({_identity(source): source for given in inputs for source in _sources(given)}.values())
    several = len(inputs) > 1 or inputs[0].is_dir()
    if several and output is not None and output.suffix.lower() in images.SUFFIXES and not output.is_dir():
        raise SettingsError(f"{output}: names a picture, but several are to be enhanced; name a folder.")
    jobs = [Job(source, _target(source, output, several)) for source in sources]
    _refuse_collisions(jobs)
    return jobs


def _sources(given: Path) -> list[Path]:
    try:
        if not given.is_dir():
            given.stat()
            return [given]
        found = [path for path in sorted(given.iterdir()) if _is_picture(path)]
    except FileNotFoundError as error:
        raise SettingsError(f"{given}: there is no such file or folder; check the path.") from error
    except OSError as error:
        raise SettingsError(f"{given}: cannot be looked at ({error.strerror}); check its permissions.") from error
    if not found:
        raise SettingsError(
            f"{given}: expected pictures in this folder ({', '.join(images.SUFFIXES)}), and there are none."
        )
    return found


def _is_picture(path: Path) -> bool:
    earlier = Path(path.stem).suffix == ".bright"
    return images.format_of_suffix(path.suffix) is not None and not earlier and path.name[0] != "." and path.is_file()


def _target(source: Path, output: Path | None, several: bool) -> Path:
    if output is None:
        return beside(source)
    if several and output.is_file():
        raise SettingsError(f"{output}: expected a folder for several pictures; this is a file. Choose a folder.")
    if several or output.is_dir() or not (output.suffix or output.is_file()):
        return output / source.name
    if output.suffix.lower() != source.suffix.lower() and images.format_of_suffix(output.suffix) is None:
        raise SettingsError(
            f"{output}: expected a name that ends in {', '.join(images.SUFFIXES)}; choose one of these."
        )
    return output


def _identity(path: Path) -> object:
    """Equal for two names of one file, whatever links lead there."""
    try:
        found = path.stat()
    except OSError:
        return path.resolve()
    return found.st_dev, found.st_ino


def _refuse_collisions(jobs: Sequence[Job]) -> None:
    originals = {_identity(job.source): job.source for job in jobs}
    taken: dict[object, Path] = {}
    for job in jobs:
        target = _identity(job.target)
        if target in originals:
            raise SettingsError(
                f"{job.source}: its result would replace {originals[target]}, an original; choose another output."
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
