"""Pairs of dark and bright pictures in folders: two files of one stem, whatever their suffixes."""

from dataclasses import dataclass
from pathlib import Path

from mirnet.errors import DataError

FOLDER_NAMES = (("low", "high"), ("input", "target"), ("Low", "Normal"))
NO_PICTURES = (".txt", ".json", ".csv", ".md")  # lists and notes that lie beside pictures


@dataclass(frozen=True)
class Pair:
    """A dark and a bright picture of one scene, named by their common stem."""

    name: str
    dark: Path
    bright: Path


def find_pairs(data: Path, bright: Path | None = None, names: Path | None = None) -> list[Pair]:
    """The pairs of `data` (a folder with low/high, our485/{low,high} or input/target), or of two folders.

    Two files of one stem are a pair, whatever their suffixes; `names` chooses by a text file, one stem a
    line. Sorted by name. Raises DataError where a folder is missing, a picture has no partner, a stem
    stands twice, a name is not there, or nothing is found.
    """
    dark_folder, bright_folder = (data, bright) if bright else _pair_folders(data)
    dark, light = _by_stem(dark_folder), _by_stem(bright_folder)
    wanted = dark.keys() | light.keys()
    if names is not None:
        wanted = _listed(names)
    unpaired = sorted(wanted - (dark.keys() & light.keys()))
    if unpaired:
        shown = ", ".join(unpaired[:5]) + (" and others" if len(unpaired) > 5 else "")
        raise DataError(
            f"{len(unpaired)} of {len(wanted)} names lack a picture in {dark_folder} or in {bright_folder}: {shown}. "
            "Add the missing partner or choose names with --names."
        )
    if not wanted:
        raise DataError(f"{dark_folder} and {bright_folder}: no pairs found; expected pictures of equal stems in both.")
    return [Pair(name, dark[name], light[name]) for name in sorted(wanted)]


def _listed(names: Path) -> set[str]:
    try:
        lines = names.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{names}: expected a text file with one name a line; it cannot be read ({error}).") from error
    return {line.strip() for line in lines if line.strip()}


def _pair_folders(data: Path) -> tuple[Path, Path]:
    if not data.is_dir():
        raise DataError(f"{data}: expected a folder of pairs; there is none.")
    for root in (data, data / "our485"):
        for low, high in FOLDER_NAMES:
            if (root / low).is_dir() and (root / high).is_dir():
                return root / low, root / high
    raise DataError(
        f"{data}: expected folders low and high (or input and target, or our485 with low and high) inside; "
        "name the two folders one after the other if theirs differ."
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of pictures; there is none.")
    found: dict[str, Path] = {}
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: this folder cannot be read ({error.strerror}); change its permissions.") from error
    for path in entries:
        if path.name.startswith(".") or not path.is_file() or path.suffix.lower() in NO_PICTURES:
            continue
        if path.stem in found:
            raise DataError(f"{path} and {found[path.stem].name} have one stem; keep one of them in {folder}.")
        found[path.stem] = path
    return found
