"""Images that no file system has: objects by their URL (s3://, gs://, ...), as fsspec's packages reach them."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PosixPath, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from mirnet.batch.discovery import FoundImage, is_image_name
from mirnet.batch.jobs import BatchJob, Outcome
from mirnet.errors import MirnetError, PictureError, SettingsError
from mirnet.extras import needs

Result = TypeVar("Result")

WITHIN_ONE_PROCESS = ("memory", "file", "local")  # protocols that mean something else, or nothing, elsewhere


class Url(PosixPath):
    """The URL of an object, which has the name, suffix and parents of a path, and is none: nothing lies there."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)  # a path forgets the second slash


def path_of(given: str | Path) -> Path:
    """A path, or the URL that a path's text is: two letters at least before the colon, for C: is a disk."""
    text = str(given)
    return Url(text) if re.match(r"[a-z][a-z0-9+]+:/", text) else Path(given)


def is_folder(path: Path) -> bool:
    """Whether this is a folder, or a prefix of objects. Raises SettingsError where that cannot be found out."""
    return (
        query_file_system(path, lambda system, name: bool(system.isdir(name)))
        if isinstance(path, Url)
        else path.is_dir()
    )


def pictures_of(url: Url, *, recursive: bool = False, outside: Path | None = None) -> Iterator[FoundImage]:
    """The images below a URL, by name, as `folders.pictures` finds those below a folder. Raises SettingsError."""

    def look(system: Any, top: str) -> list[str]:
        system.invalidate_cache()
        names = system.find(top, maxdepth=None if recursive else 1)
        return sorted(str(PurePosixPath(name).relative_to(top)) for name in names)

    for name in query_file_system(url, look):
        path = url / name
        hidden = any(part.startswith(".") for part in name.split("/"))
        if is_image_name(path.name) and not hidden and (outside is None or outside not in path.parents):
            yield FoundImage(path, name)


def process_copies(job: BatchJob, overwrite: bool, work: Callable[[BatchJob], Outcome]) -> Outcome:
    """What becomes of a job whose source or target is an object: `work` does it with copies on this machine's disk.

    The result is put in its place whole, as object stores do. What goes wrong is in the outcome.
    """
    with TemporaryDirectory(prefix="mirnet-") as folder:
        here = BatchJob(_here(job.source, f"{folder}/from"), _here(job.target, f"{folder}/to"))
        try:
            there = None if overwrite else _size(job.target)
            if there is not None:
                return Outcome(job, skipped=True, bytes=(_size(job.source), there))
            if here.source != job.source:
                here.source.parent.mkdir()
                query_file_system(job.source, lambda system, name: system.get_file(name, str(here.source)))
            outcome = work(here)
            sizes = bytes_of(here)
            if outcome.report and here.target != job.target:
                query_file_system(job.target, lambda system, name: system.put_file(str(here.target), name))
        except MirnetError as error:
            return Outcome(job, error=PictureError(str(error)))
    return replace(renamed(outcome, here, job), bytes=sizes)


def bytes_of(job: BatchJob) -> tuple[int | None, int | None]:
    """Of source and target, None where there is none."""
    sizes = [path.stat().st_size if path.is_file() else None for path in (job.source, job.target)]
    return sizes[0], sizes[1]


def _here(path: Path, folder: str) -> Path:
    return Path(folder) / path.name if isinstance(path, Url) else path


def renamed(outcome: Outcome, here: BatchJob, job: BatchJob) -> Outcome:
    """The outcome of a job `here`, in the words of the job that was asked for."""

    def sentence(text: str) -> str:
        return text.replace(str(here.source), str(job.source)).replace(str(here.target), str(job.target))

    report, error = outcome.report, outcome.error
    return replace(
        outcome, job=job, remarks=tuple(map(sentence, outcome.remarks)),
        report=replace(report, output=job.target, remarks=tuple(map(sentence, report.remarks))) if report else None,
        error=PictureError(sentence(str(error))) if error else None,
    )  # fmt: skip


def _size(path: Path) -> int | None:
    """The bytes of a file or object, None where there is none. Raises SettingsError."""
    if not isinstance(path, Url):
        return path.stat().st_size if path.is_file() else None

    def look(system: Any, name: str) -> int | None:
        try:
            return int(system.info(name)["size"] or 0)
        except FileNotFoundError:
            return None

    return query_file_system(path, look)


def query_file_system(url: Path, ask: Callable[[Any, str], Result]) -> Result:
    """What `ask(file system, name)` says of an object, whose name there has no protocol. Raises SettingsError."""
    protocol = str(url).split(":")[0]
    with needs("ray", who=f"{url}"):
        import fsspec
    if protocol in WITHIN_ONE_PROCESS or protocol not in fsspec.available_protocols():
        raise SettingsError(f"{url}: {protocol}:// is nothing that all machines could reach; use a path, or s3://, ...")
    try:
        return ask(*fsspec.core.url_to_fs(str(url)))
    except ImportError as error:
        raise SettingsError(f"{url}: a package is missing ({error}); install it on every node.") from error
    except FileNotFoundError as error:
        raise SettingsError(f"{url}: there is no such object; check the URL.") from error
    except Exception as error:  # each protocol has errors of its own
        raise SettingsError(f"{url}: cannot be reached ({type(error).__name__}: {error}).") from error
