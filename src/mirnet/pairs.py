"""Pairs of dark and bright images, in the layouts in which people have them.

* Two folders in one: `low` and `high`, `input` and `target`, `Low` and `Normal`. Two files of one relative path are a
  pair, whatever their suffixes, also in nested folders: `low/kitchen/1.png` and `high/kitchen/1.jpg` are the pair
  `kitchen/1`. What is left over pairs up without its folder's name in front, as in LOL v2: `Low/low001.png` and
  `Normal/normal001.png` are the pair `001`.
* Two folders of any names, one after the other.
* A folder that holds such folders: LOL v1 (`our485`), a folder `train`, or any number of folders, at most three deep,
  such as LOL v2's `Real_captured/Train` and `Synthetic/Train`, where a pair's name begins with its folder. Folders
  of test and validation images are never taken up that way: name them to use them.
* A list as of SID: a CSV file of two columns, dark and bright, relative to the list. Many dark images may share one
  bright one; a pair is named by its dark image's path.

Hidden files, and files that are plainly no images, are passed over.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mirnet.errors import DataError

FOLDER_NAMES = (("low", "high"), ("input", "target"), ("Low", "Normal"))
TRAINING_FOLDERS = ("our485", "train", "Train")  # the part of a published data set that is for training
HELD_OUT_FOLDERS = {"eval15", "test", "testing", "eval", "val", "valid", "validation"}  # in lower case
DEEPEST = 3  # folders between DATA and its low and high
NO_PICTURES = (
    ".txt", ".json", ".csv", ".tsv", ".md", ".db", ".ini", ".log", ".xml", ".html", ".pdf", ".yaml", ".yml", ".xmp",
    ".py", ".sh", ".zip", ".tar", ".gz", ".mat", ".npy", ".npz", ".onnx",
)  # fmt: skip  # lists, notes and what else lies beside images
NO_FOLDERS = {"__MACOSX", "@eaDir"}  # made by systems, full of files named like images


@dataclass(frozen=True)
class Pair:
    """A dark and a bright image of one scene; the name is theirs alone among the pairs of a data set."""

    name: str
    dark: Path
    bright: Path


@dataclass(frozen=True)
class Unpaired:
    """An image without a partner, or a listed name or file without an image (then `file` is not there)."""

    name: str
    file: Path
    wanted: str  # where or what the partner should be, for a sentence
    is_bright: bool = False


@dataclass(frozen=True)
class DuplicateName:
    """Two files that claim one name on one side."""

    name: str
    files: tuple[Path, Path]
    is_bright: bool = False


@dataclass(frozen=True)
class PairListing:
    """All that data holds, broken or not; each list sorted by name."""

    source: str  # where the pairs are from, for a sentence
    pairs: list[Pair]
    lone: list[Unpaired] = field(default_factory=list)
    duplicates: list[DuplicateName] = field(default_factory=list)


def find_pairs(data: Path, bright: Path | None = None, names: Path | None = None) -> list[Pair]:
    """The pairs of `data`, a folder or list as above, or of the two folders `data` and `bright`; sorted by name.

    `names` chooses by a text file, one name a line. Raises DataError where a folder or list is missing, an image has
    no partner, a name stands twice or is not there, or nothing is found.
    """
    found = list_pairs(data, bright, names)
    if found.duplicates:
        one, other = found.duplicates[0].files
        raise DataError(f"{one} and {other} have one stem; keep one of them in {one.parent}.")
    if found.lone:
        lone = sorted({each.name for each in found.lone})
        shown = ", ".join(lone[:5]) + (" and others" if len(lone) > 5 else "")
        raise DataError(
            f"{len(lone)} of {len(lone) + len(found.pairs)} names lack a picture in {found.source}: {shown}. "
            "Add the missing partner or choose names with --names."
        )
    refuse_empty(found)
    return found.pairs


def list_pairs(data: Path, bright: Path | None = None, names: Path | None = None) -> PairListing:
    """All files that `find_pairs` would read, with those that it would refuse listed beside the pairs.

    Raises DataError only where a folder, a list or `names` cannot be read, or `data` is laid out in no known way.
    """
    if bright is None and data.is_file():
        found = _from_list(data)
    elif bright is not None:
        found = _from_folders([("", data, bright)])
    else:
        found = _from_folders(_sides(data))
    return found if names is None else _chosen(found, names)


def refuse_empty(found: PairListing) -> None:
    """Raises DataError where there is nothing, not even something broken."""
    if not found.pairs and not found.lone and not found.duplicates:
        raise DataError(f"no pairs found in {found.source}; expected a dark and a bright picture of equal stems.")


def image_files(folder: Path) -> Iterator[Path]:
    """The files of a folder and of folders in it that may be images; each folder's own first, sorted by name.

    Links are followed, but never back into a folder that one is in. Raises DataError.
    """
    yield from _walk(folder, frozenset())


def _walk(folder: Path, within: frozenset[Path]) -> Iterator[Path]:
    within |= {folder.resolve()}
    entries = [path for path in _entries(folder) if not path.name.startswith(".")]
    yield from (path for path in entries if path.is_file() and path.suffix.lower() not in NO_PICTURES)
    for path in entries:
        if path.is_dir() and path.name not in NO_FOLDERS and path.resolve() not in within:
            yield from _walk(path, within)


def _entries(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of pictures; there is none.")
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: this folder cannot be read ({error.strerror}); change its permissions.") from error


# Folders -------------------------------------------------------------------------------------------------------------


def _sides(data: Path) -> list[tuple[str, Path, Path]]:
    """Of each part of `data`: what its pairs' names begin with, the dark and the bright folder."""
    if data.exists() and not data.is_dir():
        raise DataError(f"{data}: expected a folder of pairs, or a list of them (CSV, two columns); this is neither.")
    if not data.is_dir():
        raise DataError(f"{data}: expected a folder of pairs; there is none.")
    found = list(_parts(data, data, 0))
    if not found:
        raise DataError(
            f"{data}: expected folders low and high (or input and target, Low and Normal, or our485 or train with such "
            "two) inside; name the two folders one after the other if theirs differ."
        )
    return found


def _parts(root: Path, folder: Path, depth: int) -> Iterator[tuple[str, Path, Path]]:
    for low, high in FOLDER_NAMES:
        if (folder / low).is_dir() and (folder / high).is_dir():
            yield _prefix(root, folder), folder / low, folder / high
            return
    if depth == DEEPEST:
        return
    for name in TRAINING_FOLDERS:
        part = list(_parts(folder / name, folder / name, depth + 1)) if (folder / name).is_dir() else []
        if part:
            yield from ((_prefix(root, folder) + prefix, low, high) for prefix, low, high in part)
            return
    for child in _entries(folder):
        if child.is_dir() and not child.name.startswith(".") and child.name.lower() not in HELD_OUT_FOLDERS:
            yield from _parts(root, child, depth + 1)


def _prefix(root: Path, folder: Path) -> str:
    relative = folder.relative_to(root).as_posix()
    return "" if relative == "." else f"{relative}/"


def _from_folders(parts: list[tuple[str, Path, Path]]) -> PairListing:
    pairs: list[Pair] = []
    lone: list[Unpaired] = []
    duplicates: list[DuplicateName] = []
    for prefix, *folders in parts:
        sides: list[dict[str, Path]] = [{}, {}]
        for is_bright, (side, folder) in enumerate(zip(sides, folders, strict=True)):
            for name, file in _by_name(folder):
                if name in side:
                    duplicates.append(DuplicateName(prefix + name, (side[name], file), bool(is_bright)))
                side.setdefault(name, file)
        _drop_folder_names(sides, folders)
        dark, bright = sides
        pairs += [Pair(prefix + name, dark[name], bright[name]) for name in dark.keys() & bright.keys()]
        for is_bright, (ours, theirs) in enumerate(((dark, bright), (bright, dark))):
            wanted = f"in {folders[1 - is_bright]}"
            alone = ours.keys() - theirs.keys()
            lone += [Unpaired(prefix + name, ours[name], wanted, bool(is_bright)) for name in alone]
    source = ", ".join(f"{dark} or in {bright}" for _, dark, bright in parts)
    return PairListing(source, sorted(pairs, key=_name), sorted(lone, key=_name), sorted(duplicates, key=_name))


def _name(named: Pair | Unpaired | DuplicateName) -> str:
    return named.name


def _by_name(folder: Path) -> Iterator[tuple[str, Path]]:
    """The images of a folder with their relative path without suffix."""
    for path in image_files(folder):
        yield path.relative_to(folder).with_suffix("").as_posix(), path


def _drop_folder_names(sides: list[dict[str, Path]], folders: list[Path]) -> None:
    """`Low/low001` and `Normal/normal001` become `001`, where neither has a partner as it is, and 001 is not taken."""
    spare = []
    for mine, other, folder in zip(sides, reversed(sides), folders, strict=True):
        alone = mine.keys() - other.keys()
        spare.append({short: name for name in sorted(alone) if (short := _shorter(name, folder.name)) is not None})
    for short in (spare[0].keys() & spare[1].keys()) - sides[0].keys() - sides[1].keys():
        for side, names in zip(sides, spare, strict=True):
            side[short] = side.pop(names[short])


def _shorter(name: str, folder_name: str) -> str | None:
    """ "attic/low_01" without "low" is "attic/01"; None where the name does not begin so, or nothing would be left."""
    path = PurePosixPath(name)
    if not path.name.lower().startswith(folder_name.lower()):
        return None
    rest = path.name[len(folder_name) :].lstrip("-_. ")
    return path.with_name(rest).as_posix() if rest else None


# Lists ---------------------------------------------------------------------------------------------------------------


def _from_list(path: Path) -> PairListing:
    """The pairs of a CSV file of two columns; its files are relative to it."""
    pairs: list[Pair] = []
    lone: list[Unpaired] = []
    duplicates: list[DuplicateName] = []
    seen: dict[str, Path] = {}
    for dark, bright in _rows(path):
        pair = Pair(_listed_name(dark), path.parent / dark, path.parent / bright)
        if pair.name in seen:
            duplicates.append(DuplicateName(pair.name, (seen[pair.name], pair.dark)))
            continue
        seen[pair.name] = pair.dark
        there = [file.is_file() for file in (pair.dark, pair.bright)]
        if all(there):
            pairs.append(pair)
        else:
            missing, other = (pair.bright, pair.dark) if there[0] else (pair.dark, pair.bright)
            lone.append(Unpaired(pair.name, other, f"as {path} says, {missing}", is_bright=not there[0]))
    source = f"the files that {path} names"
    return PairListing(source, sorted(pairs, key=_name), sorted(lone, key=_name), sorted(duplicates, key=_name))


def _listed_name(file: str) -> str:
    return PurePosixPath(file).with_suffix("").as_posix().lstrip("/")


def _rows(path: Path) -> list[tuple[str, str]]:
    """Dark and bright of every line, without a header. Raises DataError."""
    text = _text(path, "a list of pairs, CSV with two columns, dark and bright")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines(), delimiter=delimiter)]
    rows = [row for row in rows if any(row)]
    odd = next((row for row in rows if len(row) != 2 or not all(row)), None)
    if odd is not None:
        raise DataError(
            f"{path}: expected two columns, dark and bright, in every line of the list; "
            f'"{delimiter.join(odd)}" has {len(odd)}.'
        )
    if rows and not any(PurePosixPath(cell).suffix or (path.parent / cell).exists() for cell in rows[0]):
        rows = rows[1:]  # a header: neither a file nor named like one
    return [(dark, bright) for dark, bright in rows]


# Names ---------------------------------------------------------------------------------------------------------------


def _listed(names: Path) -> set[str]:
    return {line.strip() for line in _text(names, "a text file with one name a line").splitlines() if line.strip()}


def _text(path: Path, expected: str) -> str:
    try:
        return path.read_text("utf-8-sig")  # spreadsheets write the mark of UTF-8
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected {expected}; it cannot be read ({error}).") from error


def _chosen(found: PairListing, names: Path) -> PairListing:
    wanted = _listed(names)
    pairs = [pair for pair in found.pairs if pair.name in wanted]
    lone = [each for each in found.lone if each.name in wanted]
    there = {pair.name for pair in pairs} | {each.name for each in lone}
    absent = [Unpaired(name, names, f"in {found.source}") for name in wanted - there]
    duplicates = [each for each in found.duplicates if each.name in wanted]
    return PairListing(found.source, pairs, sorted(lone + absent, key=_name), duplicates)
