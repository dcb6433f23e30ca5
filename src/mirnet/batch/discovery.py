"""Discovery: the images below a folder, in the same order on every machine, wherever links lead."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mirnet.formats import find_format

Identity = tuple[int, int]  # of a file or folder, whatever names and links lead to it


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image, or a path that could not be read: then `problem` is a sentence about it."""

    path: Path
    relative: str  # path below the folder that was searched, with slashes
    problem: str | None = None


def file_identity(path: Path) -> Identity | None:
    """What identifies a file or folder whatever its name; None where there is none, or none that may be read."""
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
    warn: Callable[[str], None] = lambda sentence: None,
) -> Iterator[FoundImage]:
    """The images in a folder, by name; with `recursive` those in its subfolders, too.

    An image is a file with an image's suffix; hidden files and folders, earlier *.bright.* results and the folder
    `outside` are left out. Links are followed after all real files, and into no folder twice; `warn` gets a sentence
    about each that is not followed. Raises OSError where `top` itself cannot be read.
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
                warn(f"{path}: links to a folder that is searched already or takes the results; not entered.")
                continue
            entered.add(here)
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            if not relative:
                raise
            yield FoundImage(path, relative, f"{path}: cannot be read ({error.strerror}); check its permissions.")
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
                if recursive and _is_to_enter(path / entry.name, entered):
                    below.append(name)
            elif is_image_name(entry.name) and entry.is_file():
                yield FoundImage(path / entry.name, name)
        waiting.extend(reversed(below))


def is_image_name(name: str) -> bool:
    """Whether a file's name is that of an image, and not of an earlier result (*.bright.*)."""
    stem, _, suffix = name.rpartition(".")
    return bool(stem) and find_format(f".{suffix}") is not None and not stem.endswith(".bright")


def _is_to_enter(folder: Path, entered: set[Identity | None]) -> bool:
    """Whether a real folder is to be searched. It has one path only, so this leaves out the folder of results alone."""
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
    """Whether a.jpg and A.jpg would be two files in a folder, which may not exist yet; False where this is unknown.

    Nothing is written to find out.
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
