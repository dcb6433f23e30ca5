"""Which files are enhanced, and where their results go; decided before anything is written."""

import unicodedata
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mirnet.errors import SettingsError
from mirnet.formats import FORMATS, WRITABLE, of_suffix, result_name
from mirnet.inference.enhancer import beside
from mirnet.inference.folders import Found, identity, pictures, tells_case_apart
from mirnet.inference.jobs import Job


@dataclass(frozen=True)
class Shard:
    """One machine's share of the files, `number` of `count`, from 1; by names alone, so that new files move none."""

    number: int
    count: int

    @staticmethod
    def parse(text: str) -> "Shard":
        """ "2/3" is the second of three. Raises SettingsError."""
        try:
            number, count = (int(part) for part in text.split("/"))
        except ValueError:
            number, count = 0, 0
        if not 1 <= number <= count:
            raise SettingsError(f'A shard is said as "2/3", the second of three, not "{text}".')
        return Shard(number, count)

    def holds(self, relative: str) -> bool:
        """Whether a file belongs to this share; `relative` is its path below the folder that was named."""
        name = unicodedata.normalize("NFC", relative).encode("utf-8", "surrogateescape")
        return zlib.crc32(name) % self.count == self.number - 1


def plan(inputs: Sequence[Path], output: Path | None, *, recursive: bool = False, format: str | None = None,
         shard: Shard | None = None, may_be_empty: bool = False,
         say: Callable[[str], None] = lambda sentence: None) -> list[Job]:  # fmt: skip
    """The jobs for files and folders, in order; a file that is named twice is enhanced once.

    Without `output` results go beside their originals as NAME.bright.EXT. With a folder or several
    inputs, `output` is a folder, and names stay, but for the suffix where the result has another format. With one file
    it is a file, or a folder (one that exists, or a name without suffix). A folder gives its pictures, not earlier
    *.bright.* results, and with `recursive` those in folders within it, which the results keep. `say` gets a
    sentence about each link that is passed over.

    What cannot work for some files is their jobs' `problem`: two results that would be one file, a result that would
    be an original, a folder that may not be read. Raises SettingsError where nothing is left to do, an input is
    missing, or a folder has no pictures, unless it `may_be_empty`.
    """
    several = len(inputs) > 1 or inputs[0].is_dir()
    _refuse_output(output, several, format)
    places, jobs, mine = _Places(), dict[str, Job](), list[bool]()
    for given in inputs:
        for found in _found(given, output, recursive, may_be_empty, say):
            place = places.of(found.path)
            if place in jobs:
                if found.path.is_symlink():
                    say(f"{found.path}: links to {jobs[place].source}, which is enhanced once.")
                continue
            jobs[place] = Job(found.path, _target(found, output, several, format), found.problem)
            mine.append(shard is None or shard.holds(found.relative))
    checked = _with_collisions(list(jobs.values()), places)
    if checked and not may_be_empty and all(job.problem for job in checked):
        raise SettingsError(checked[0].problem)
    return [job for job, is_mine in zip(checked, mine, strict=True) if is_mine]


def _found(given: Path, output: Path | None, recursive: bool, may_be_empty: bool,
           say: Callable[[str], None]) -> Iterator[Found]:  # fmt: skip
    try:
        if not given.is_dir():
            given.stat()
            yield Found(given, given.name)
            return
        empty = True
        for found in pictures(given, recursive=recursive, outside=output, say=say):
            empty = False
            yield found
    except FileNotFoundError as error:
        raise SettingsError(f"{given}: there is no such file or folder; check the path.") from error
    except OSError as error:
        raise SettingsError(f"{given}: cannot be looked at ({error.strerror}); check its permissions.") from error
    if empty and not may_be_empty:
        suffixes = ", ".join(each.suffixes[0] for each in FORMATS.values())
        within = "" if recursive else "; --recursive looks into folders within it"
        raise SettingsError(f"{given}: expected pictures in this folder ({suffixes}), and there are none{within}.")


def _refuse_output(output: Path | None, several: bool, format: str | None) -> None:
    """Raises SettingsError where a name cannot be that of the output."""
    if output is None or output.is_dir():
        return
    known = of_suffix(output.suffix)
    if several and output.is_file():
        raise SettingsError(f"{output}: expected a folder for several pictures; this is a file. Choose a folder.")
    if several and known is not None:
        raise SettingsError(f"{output}: names a picture, but several are to be enhanced; name a folder.")
    if not several and known is not None and (not known.writable or format not in (None, known.name)):
        raise SettingsError(f"{output}: expected a name that ends in {_suffixes(format)}; choose one of these.")


def _suffixes(format: str | None) -> str:
    return ", ".join(suffix for name in ([format] if format else WRITABLE) for suffix in FORMATS[name].suffixes)


def _target(found: Found, output: Path | None, several: bool, format: str | None) -> Path:
    source = found.path
    if output is None:
        return beside(source, format)
    if several:
        *folders, name = found.relative.split("/")
        return output.joinpath(*folders, result_name(name, format))
    if output.is_dir() or not (output.suffix or output.is_file()):
        return output / result_name(source.name, format)
    if of_suffix(output.suffix) is None and output.suffix.lower() != source.suffix.lower():
        raise SettingsError(f"{output}: expected a name that ends in {_suffixes(format)}; choose one of these.")
    return output


class _Places:
    """Where a path really lies: equal for two paths to one name in one folder, whatever links lead there."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}  # asked once: files are many, folders few

    def of(self, path: Path) -> str:
        real = path.resolve() if path.is_symlink() else path
        return f"{self.folder(real.parent)}/{real.name}"

    def folder(self, folder: Path) -> str:
        if folder not in self._folders:
            self._folders[folder] = str(folder.resolve())
        return self._folders[folder]


def _with_collisions(jobs: list[Job], places: _Places) -> list[Job]:
    """The jobs, with a sentence for each whose result would be an original, or the same file as another's result."""
    originals: dict[object, Path] = {}
    taken: dict[str, int] = {}
    for index, job in enumerate(jobs):
        there = identity(job.target)
        if there is not None:
            originals = originals or {identity(each.source): each.source for each in jobs}
        if there in originals:
            replaced = f"{job.source}: its result would replace {originals[there]}, an original; choose another output."
            _tell(jobs, replaced, index)
        # one name on a Mac or Windows: letters may differ in case, or in how an accent is put together
        key = unicodedata.normalize("NFC", f"{places.folder(job.target.parent)}/{job.target.name}").casefold()
        first = taken.setdefault(key, index)
        if first != index:
            same_folder = places.folder(jobs[first].target.parent) == places.folder(job.target.parent)
            _tell(jobs, _collision(jobs[first], job, same_folder), first, index)
    return jobs


def _collision(first: Job, second: Job, same_folder: bool) -> str | None:
    both = f"{first.source} and {second.source} would"
    if same_folder and first.target.name == second.target.name:
        return f"{both} both become {second.target}; enhance them into different folders."
    if tells_case_apart(second.target.parent):
        return None
    return f"{both} be one file where case makes no difference, as it seems in {second.target.parent}; rename one."


def _tell(jobs: list[Job], problem: str | None, *indices: int) -> None:
    for index in indices:
        jobs[index] = replace(jobs[index], problem=jobs[index].problem or problem)
