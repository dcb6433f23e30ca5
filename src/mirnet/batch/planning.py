"""Planning a batch: which files are enhanced, and where their results go, before anything is written."""

import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from mirnet.batch.discovery import FoundImage, file_identity, find_images, is_case_sensitive
from mirnet.batch.jobs import BatchJob
from mirnet.batch.object_urls import Url, is_folder, path_of, pictures_of
from mirnet.errors import SettingsError
from mirnet.formats import FORMATS, WRITABLE, find_format, make_output_name
from mirnet.inference.enhancer import default_target_path


@dataclass(frozen=True)
class Shard:
    """One machine's share of the files, `number` of `count`, from 1; by name, so that new files move no other."""

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
            raise SettingsError(f'A shard is written as "2/3", the second of three, not "{text}".')
        return Shard(number, count)

    def holds(self, relative: str) -> bool:
        """Whether a file belongs to this share; `relative` is its path below the named folder."""
        name = unicodedata.normalize("NFC", relative).encode("utf-8", "surrogateescape")
        return zlib.crc32(name) % self.count == self.number - 1


@dataclass(frozen=True)
class FileSelection:
    """The files that a command names, in the terms of `plan`."""

    inputs: list[Path]
    output: Path | None
    recursive: bool
    format: str | None
    shard: Shard | None

    def plan(self, warn: Callable[[str], None], may_be_empty: bool = False) -> "JobList":
        """The jobs for these files as they are now. Raises SettingsError."""
        return plan(self.inputs, self.output, recursive=self.recursive, format=self.format, shard=self.shard,
                    may_be_empty=may_be_empty, warn=warn)  # fmt: skip


def plan(inputs: Sequence[Path], output: Path | None, *, recursive: bool = False, format: str | None = None,
         shard: Shard | None = None, may_be_empty: bool = False,
         warn: Callable[[str], None] = lambda sentence: None) -> "JobList":  # fmt: skip
    """The jobs for files and folders, in order; a file that is named twice is enhanced once.

    Without `output`, results go beside their originals as NAME.bright.EXT. With a folder or several
    inputs, `output` is a folder, and names stay, but for the suffix where the result has another format. With one file
    it is a file, or a folder (one that exists, or a name without suffix). A folder gives its images, not earlier
    *.bright.* results, and with `recursive` those in its subfolders, which the results keep. `warn` gets a
    sentence about each link that is passed over.

    What cannot work for some files is their jobs' `problem`: two results that would be one file, a result that would
    be an original, a folder that may not be read. Raises SettingsError where nothing is left to do, an input is
    missing, or a folder has no images, unless it `may_be_empty`.
    """
    several = len(inputs) > 1 or is_folder(inputs[0])
    _refuse_output(output, several, format)
    places, jobs, mine = _Places(), JobList(), list[int]()
    known = _Index(lambda index: places.of(jobs[index].source))
    for given in inputs:
        for found in _found(given, output, recursive, may_be_empty, warn):
            first = known.setdefault(places.of(found.path), len(jobs))
            if first < len(jobs):
                if found.path.is_symlink():
                    warn(f"{found.path}: links to {jobs[first].source}, which is enhanced once.")
                continue
            if shard is None or shard.holds(found.relative):
                mine.append(len(jobs))
            jobs.append(BatchJob(found.path, _target(found, output, several, format), found.problem))
    _mark_collisions(jobs, places)
    if jobs and not may_be_empty and all(job.problem for job in jobs):
        raise SettingsError(jobs[0].problem)
    return jobs if shard is None else jobs.only(mine)


def _found(given: Path, output: Path | None, recursive: bool, may_be_empty: bool,
           warn: Callable[[str], None]) -> Iterator[FoundImage]:  # fmt: skip
    try:
        if not is_folder(given):
            if not isinstance(given, Url):
                given.stat()
            yield FoundImage(given, given.name)
            return
        empty = True
        below = (
            pictures_of(given, recursive=recursive, outside=output)
            if isinstance(given, Url)
            else find_images(given, recursive=recursive, outside=output, warn=warn)
        )
        for found in below:
            empty = False
            yield found
    except FileNotFoundError as error:
        raise SettingsError(f"{given}: there is no such file or folder; check the path.") from error
    except OSError as error:
        raise SettingsError(f"{given}: cannot be read ({error.strerror}); check its permissions.") from error
    if empty and not may_be_empty:
        suffixes = ", ".join(each.suffixes[0] for each in FORMATS.values())
        within = "" if recursive else "; --recursive looks into its subfolders"
        raise SettingsError(f"{given}: expected images in this folder ({suffixes}), and there are none{within}.")


def _refuse_output(output: Path | None, several: bool, format: str | None) -> None:
    """Raises SettingsError where `output` cannot be the name of the output."""
    if output is None or output.is_dir():
        return
    known = find_format(output.suffix)
    if several and output.is_file():
        raise SettingsError(f"{output}: expected a folder for several images; this is a file. Choose a folder.")
    if several and known is not None:
        raise SettingsError(f"{output}: names one image, but several are to be enhanced; name a folder.")
    if not several and known is not None and (not known.writable or format not in (None, known.name)):
        raise SettingsError(f"{output}: expected a name that ends in {_suffixes(format)}; choose one of these.")


def _suffixes(format: str | None) -> str:
    return ", ".join(suffix for name in ([format] if format else WRITABLE) for suffix in FORMATS[name].suffixes)


def _target(found: FoundImage, output: Path | None, several: bool, format: str | None) -> Path:
    source = found.path
    if output is None:
        return default_target_path(source, format)
    if several:
        *folders, name = found.relative.split("/")
        return output.joinpath(*folders, make_output_name(name, format))
    if output.is_dir() or not (output.suffix or output.is_file()):
        return output / make_output_name(source.name, format)
    if find_format(output.suffix) is None and output.suffix.lower() != source.suffix.lower():
        raise SettingsError(f"{output}: expected a name that ends in {_suffixes(format)}; choose one of these.")
    return output


class JobList(Sequence[BatchJob]):
    """Jobs, stored as the texts of their paths: path objects need three times the memory of up to a million jobs."""

    def __init__(self, texts: list[tuple[str, str, str | None]] | None = None) -> None:
        self._texts = texts or []

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> BatchJob: ...
    @overload
    def __getitem__(self, index: slice) -> "JobList": ...
    def __getitem__(self, index: int | slice) -> "BatchJob | JobList":
        if isinstance(index, slice):
            return JobList(self._texts[index])
        source, target, problem = self._texts[index]
        return BatchJob(path_of(source), path_of(target), problem)

    def append(self, job: BatchJob) -> None:
        self._texts.append((str(job.source), str(job.target), job.problem))

    def set_problem(self, problem: str, *indices: int) -> None:
        """State why some jobs cannot be done, where no problem is stated yet."""
        for index in indices:
            source, target, known = self._texts[index]
            self._texts[index] = (source, target, known or problem)

    def only(self, indices: Iterable[int]) -> "JobList":
        return JobList([self._texts[index] for index in indices])


class _Index:
    """Finds the first index that had a text, by the text's hash alone; `text_of` gives the text of an index again."""

    def __init__(self, text_of: Callable[[int], str]) -> None:
        self._text_of = text_of
        self._first: dict[int, int] = {}

    def setdefault(self, text: str, index: int) -> int:
        """The first index with this text; `index` where it is new."""
        first = self._first.setdefault(hash(text), index)
        return first if first == index or self._text_of(first) == text else index


class _Places:
    """Resolved paths: equal for two paths to one name in one folder, whatever links lead there."""

    def __init__(self) -> None:
        self._folders: dict[Path, str] = {}  # resolved once: files are many, folders few

    def of(self, path: Path) -> str:
        real = path.resolve() if path.is_symlink() and path.exists() else path
        return f"{self.folder(real.parent)}/{real.name}"

    def folder(self, folder: Path) -> str:
        if folder not in self._folders:
            try:
                self._folders[folder] = str(folder.resolve())
            except (OSError, RuntimeError):  # a loop of links; making the folder reports it
                self._folders[folder] = str(folder)
        return self._folders[folder]


def _mark_collisions(jobs: JobList, places: _Places) -> None:
    """Set the problem of each job whose result would be an original, or the same file as another job's result."""

    def name_of(target: Path) -> str:
        """A name that is equal where a Mac or Windows sees one file: whatever its case and the form of its accents."""
        return unicodedata.normalize("NFC", f"{places.folder(target.parent)}/{target.name}").casefold()

    originals: set[object] = set()
    taken = _Index(lambda index: name_of(jobs[index].target))
    for index, job in enumerate(jobs):
        there = file_identity(job.target)
        if there is not None:
            originals = originals or {file_identity(each.source) for each in jobs}
        if there is not None and there in originals:
            original = next(each.source for each in jobs if file_identity(each.source) == there)
            jobs.set_problem(
                f"{job.source}: its result would replace {original}, an original; choose another output.", index
            )
        first = taken.setdefault(name_of(job.target), index)
        if first != index:
            other = jobs[first].target
            same = places.folder(other.parent) == places.folder(job.target.parent) and other.name == job.target.name
            if same or not is_case_sensitive(job.target.parent):
                jobs.set_problem(_describe_collision(jobs[first], job, same), first, index)


def _describe_collision(first: BatchJob, second: BatchJob, same: bool) -> str:
    both = f"{first.source} and {second.source} would"
    if same:
        return f"{both} both become {second.target}; enhance them into different folders."
    return f"{both} be one file where names do not differ by case, as it seems in {second.target.parent}; rename one."
