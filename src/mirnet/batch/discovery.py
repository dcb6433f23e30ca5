"""The pictures below a folder: the same ones in the same order on every machine, wherever links lead."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mirnet.formats import find_format

Identity = tuple[int, int]  # of a file or folder, whatever names and links lead to it

LINKS_NOWHERE = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A picture, or what could not be looked at: then `problem` is a sentence about it."""

    path: Path
    relative: str  # path below the folder that was searched, with slashes
    problem: str | None = None


def file_identity(path: Path) -> Identity | None:
    """Of a file or folder; None where there is none, or none that may be looked at."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def find_images(
    top: Path,
    *,
    recursive: bool = False,
    outside: Path | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Iterator[FoundImage]:
    """The pictures in a folder, by name; with `recursive` those in folders within it, too.

    A picture is what has a picture's suffix; hidden files and folders and earlier *.bright.* results are left out, and
    so is the folder `outside`. Links are followed after all that really lies here, and into no folder twice; `say`
    gets a sentence about each that is not. Raises OSError where `top` itself cannot be read.
    """
    entered = {file_identity(top), file_identity(outside) if outside else None}
    waiting, links = [""], list[str]()
    while waiting or links:
        relative = waiting.pop() if waiting else links.pop(0)
        path = top / relative
        if path.is_symlink() and relative:
            here = file_identity(path)
            if not path.is_dir():
                yield from _linked_file(path, relative)
                continue
            if here in entered:
                say(f"{path}: links to a folder that is searched already or takes the results; not entered.")
                continue
            entered.add(here)
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            if not relative:
                raise
            yield FoundImage(path, relative, f"{path}: cannot be looked at ({error.strerror}); check its permissions.")
            continue
        below: list[str] = []
        for entry in entries:
            name = f"{relative}/{entry.name}" if relative else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                if recursive or is_image_name(entry.name):
                    links.append(name)
            elif entry.is_dir():
                if recursive and _enter(path / entry.name, entered):
                    below.append(name)
            elif is_image_name(entry.name) and entry.is_file():
                yield FoundImage(path / entry.name, name)
        waiting.extend(reversed(below))


def is_image_name(name: str) -> bool:
    """Whether a file's name speaks of a picture that is no earlier result of ours."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and find_format(f".{suffix}") is not None and not stem.endswith(".bright")


def _enter(folder: Path, entered: set[Identity | None]) -> bool:
    """Whether a real folder is one to search; it lies in one place only, so that only results are left out here."""
    here = file_identity(folder)
    if here is not None and here in entered:
        return False
    entered.add(here)
    return True


def _linked_file(path: Path, relative: str) -> Iterator[FoundImage]:
    if not is_image_name(path.name):
        return
    if path.is_file():
        yield FoundImage(path, relative)
    elif not path.exists():
        yield FoundImage(path, relative, f"{path}: is a link that leads nowhere; mend or delete it.")


def is_case_sensitive(folder: Path) -> bool:
    """Whether a.jpg and A.jpg would be two files in a folder, which may not exist yet; no where nobody can tell.

    Looked up, not tried: nothing is written.
    """
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    try:
        known = [folder / name for name in os.listdir(folder)]  # noqa: PTH208  names alone
        if folder.stat().st_dev == folder.parent.stat().st_dev:
            known.append(folder.resolve())
        for path in known:
            other = path.with_name(path.name.swapcase())
            if other.name != path.name and path.exists():
                return not (other.exists() and other.samefile(path))
    except OSError:
        pass
    return False
