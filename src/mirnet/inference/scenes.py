"""Which pictures show one scene: from a list, or from the folders in which they lie."""

import csv
from collections.abc import Sequence
from pathlib import Path

from mirnet.errors import DataError


def scenes_of(names: Sequence[str], listed: Path | None = None) -> dict[str, str] | None:
    """The scene of each picture by its name, None where nothing is known about scenes.

    `listed` is a CSV of two columns, a picture's name and its scene; a first row `name,scene` is a heading. Without
    it `kitchen/0001` is of the scene `kitchen`, unless all pictures lie in one folder, which says nothing about
    scenes. Raises DataError where the list cannot be read or lacks a picture.
    """
    if listed is not None:
        return _chosen(names, _read(listed), listed)
    scenes = {name: name.rpartition("/")[0] or name for name in names}
    nested = any("/" in name for name in names)
    return scenes if nested and len(set(scenes.values())) > 1 else None


def _chosen(names: Sequence[str], known: dict[str, str], listed: Path) -> dict[str, str]:
    missing = [name for name in names if name not in known]
    if missing:
        shown = ", ".join(missing[:5]) + (" and others" if len(missing) > 5 else "")
        raise DataError(f"{listed}: {len(missing)} of {len(names)} pictures have no scene there: {shown}. Add them.")
    return {name: known[name] for name in names}


def _read(listed: Path) -> dict[str, str]:
    try:
        with listed.open(newline="", encoding="utf-8-sig") as file:  # -sig: as spreadsheets save it
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{listed}: expected a CSV of names and scenes; it cannot be read ({error}).") from error
    wrong = next((row for row in rows if len(row) != 2 or not all(row)), None)
    if wrong is not None:
        raise DataError(f'{listed}: expected rows of a picture\'s name and its scene, not "{",".join(wrong)}".')
    if rows and [cell.lower() for cell in rows[0]] == ["name", "scene"]:
        rows = rows[1:]
    scenes: dict[str, str] = {}
    for name, scene in rows:
        if scenes.setdefault(name, scene) != scene:
            raise DataError(f"{listed}: {name} is of the scene {scenes[name]} and of {scene}; keep one of the rows.")
    return scenes
