"""Which images show one scene: from a list, from a shared ground truth, or from the folders in which they lie."""

import csv
from collections.abc import Sequence
from pathlib import Path

from mirnet.errors import DataError
from mirnet.pairs import Pair


def group_by_scene(pairs: Sequence[Pair], listed: Path | None = None) -> dict[str, str] | None:
    """The scene of each pair, by the pair's name; None where nothing is known about scenes.

    `listed` is a CSV of two columns, a pair's name and its scene; rows of other names, a heading for instance, are
    ignored. Without it, pairs that share a bright image are one scene; where none do, `low/kitchen/1.png` belongs to
    the scene `kitchen`. A single scene for all, or one for each, counts as unknown.

    Raises DataError where the list cannot be read or lacks a pair.
    """
    if listed is not None:
        return _chosen([pair.name for pair in pairs], _read(listed), listed)
    scenes = _by_ground_truth(pairs) or {pair.name: _folder(pair) or pair.name for pair in pairs}
    several = 1 < len(set(scenes.values())) < len(pairs)  # as many scenes as images: nothing was grouped
    return scenes if several else None


def _by_ground_truth(pairs: Sequence[Pair]) -> dict[str, str]:
    """Scenes named by their bright images; empty where no two pairs share one."""
    truths = {pair.bright for pair in pairs}
    if len(truths) == len(pairs):
        return {}
    short = len({truth.stem for truth in truths}) == len(truths)
    return {pair.name: pair.bright.stem if short else str(pair.bright) for pair in pairs}


def _folder(pair: Pair) -> str:
    """The folder of the pair below the folder of its side; a part of a data set above it, as in LOL v2, is no scene."""
    folder = pair.name.rpartition("/")[0]
    return folder if folder.rpartition("/")[2] == pair.dark.parent.name else ""


def _chosen(names: Sequence[str], known: dict[str, str], listed: Path) -> dict[str, str]:
    missing = [name for name in names if name not in known]
    if missing:
        shown = ", ".join(missing[:5]) + (" and others" if len(missing) > 5 else "")
        raise DataError(f"{listed}: {len(missing)} of {len(names)} images have no scene there: {shown}. Add them.")
    return {name: known[name] for name in names}


def _read(listed: Path) -> dict[str, str]:
    try:
        with listed.open(newline="", encoding="utf-8-sig") as file:  # -sig: as spreadsheets save it
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{listed}: expected a CSV of names and scenes; it cannot be read ({error}).") from error
    wrong = next((row for row in rows if len(row) != 2 or not all(row)), None)
    if wrong is not None:
        raise DataError(f'{listed}: expected rows of a pair\'s name and its scene, not "{",".join(wrong)}".')
    scenes: dict[str, str] = {}
    for name, scene in rows:
        if scenes.setdefault(name, scene) != scene:
            raise DataError(f"{listed}: {name} has the scenes {scenes[name]} and {scene}; keep one of the rows.")
    return scenes
