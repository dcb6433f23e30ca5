"""`card.json` of a run: what its weights' card will say of their origin, for a person to complete before the export.

What the run knows is filled in and follows the run; what a person changes stays as the person wrote it. To tell these
apart, `.card.json` beside it keeps what was filled in the last two times: a process may be killed between two files.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mirnet.errors import SettingsError
from mirnet.network import checkpoints
from mirnet.training.recipes import RECIPES
from mirnet.training.runs.folder import RunFolder
from mirnet.training.stored_names import to_stored

WORDS: dict[str, type | tuple[type, ...]] = {  # what no program can know, and as what it stands in JSON
    "data": list, "uses": dict, "known_failures": list, "licence": str, "source": str,
    "denoise_at_zero_stops": (int, float),
}  # fmt: skip
NOT_STATED = "not stated"
FILL_IN = f"{NOT_STATED}: fill in"

Words = dict[str, Any]


def write(run: RunFolder) -> None:
    """Write what the run knows of its best weights (before there are any, of its newest) into `card.json`.

    A file that is damaged, say because a person is in the middle of writing it, is left alone.
    """
    checkpoint = run.best if run.best.exists() else run.last()
    if checkpoint is None or not run.writes:
        return
    known = filled_in(run, checkpoint)
    try:
        words = known | changed(run)
    except SettingsError:
        return
    for name, content in ((".card.json", [*_filled_before(run)[-1:], known]), ("card.json", words)):
        run.write(name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def answered(words: Words) -> Words:
    """The words as they are published: what a person was asked to fill in, and did not, is not stated."""
    data = [{name: _answered(said) for name, said in part.items()} for part in words.get("data", [])]
    return {name: data if name == "data" else _answered(said) for name, said in words.items()}


def changed(run: RunFolder) -> Words:
    """The words of `card.json` that a person wrote. Raises SettingsError where it cannot be read."""
    path, before = run.path / "card.json", _filled_before(run)
    words = read(path) if path.exists() else {}
    return {name: said for name, said in words.items() if all(said != filled.get(name) for filled in before)}


def read(path: Path) -> Words:
    """The words in a file of a person's. Raises SettingsError: no JSON object, unknown words, or of another kind."""
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: expected a JSON object for the card; it cannot be read ({error}).") from error
    if not isinstance(words, dict) or words.keys() - WORDS.keys():
        raise SettingsError(f"{path}: expected a JSON object with some of {', '.join(WORDS)}.")
    wrong = [f"{name} is {json.dumps(said)}" for name, said in words.items() if not isinstance(said, WORDS[name])]
    if not wrong and not all(isinstance(part, dict) for part in words.get("data", [])):
        wrong = ["data is no list of objects, each with a name and a licence"]
    if wrong:
        raise SettingsError(f"{path}: expected a JSON object in the form of a weights card, but {'; '.join(wrong)}.")
    return words


def filled_in(run: RunFolder, checkpoint: Path) -> Words:
    """What the run knows of a checkpoint of its own, with the places that a person should fill in."""
    about, place = run.about(), checkpoints.read_own(checkpoint)[0].get("place")
    return {
        "data": [{"name": name, "licence": FILL_IN} for name in _data(about)],
        "licence": FILL_IN,
        "known_failures": [],
        "uses": {},
        "source": _source(about, dict(place) if isinstance(place, Mapping) else {}),
    }


def _filled_before(run: RunFolder) -> list[Words]:
    path = run.path / ".card.json"
    return list(json.loads(path.read_text("utf-8"))) if path.exists() else []


def _answered(said: Any) -> Any:
    return NOT_STATED if said == FILL_IN else said


def _data(about: Mapping[str, Any]) -> Iterator[str]:
    """Each part of a run's data by what identifies it anywhere: no path, which may hold a person's name."""
    for kind, part in (about.get("data") or {}).items():
        if part:
            count = ", ".join(f"{part[name]} {name}" for name in ("pairs", "photos") if name in part)
            yield f"{kind}: {count}, sha256 {part.get('sha256', 'unknown')}"
    if about.get("start"):
        yield f"first weights: sha256 {about['start']['sha256']}"


def _source(about: Mapping[str, Any], place: Mapping[str, Any]) -> str:
    """How the weights were made, as far as it was recorded."""
    settings = about.get("settings", {})
    said = [f"trained with mirnet {about.get('versions', {}).get('mirnet', 'of unknown version')}"]
    said += [f"{name} {settings[name]}" for name in ("preset", "precision", "seed") if name in settings]
    if "recipe" in settings:
        said.append(_recipe(settings["recipe"]))
    if place:
        length = f"{settings['hours']:g} hours" if settings.get("hours") else settings.get("steps", "unknown")
        length = length if place["phase"] == "restorer" else "the exposure head, which comes first"
        said.append(f"step {place['step']} of {length}, {place['crop_pixels'] / 1e9:.3g} gigapixels of crops")
    for again in about.get("resumed", []):
        said += [f"overridden on the way: {change}" for change in again.get("overridden", [])]
    return ", ".join(said)


def _recipe(recipe: Mapping[str, Any]) -> str:
    """A recipe in numbers, and by its name where at most its crops and its crop mix were changed."""
    apart = {"stages", "feed"}
    known = {name: to_stored(ours) for name, ours in RECIPES.items()}
    names = [name for name, ours in known.items() if all(recipe.get(key) == ours[key] for key in ours.keys() - apart)]
    rates = dict.fromkeys(f"{recipe[name]:g}" for name in ("learning_rate", "final_learning_rate"))
    crops = ", then ".join(f"{stage['crop_px']} px in batches of {stage['batch']}" for stage in recipe["stages"])
    return (
        f"recipe {names[0] if names else 'of its own'} ({recipe['optimiser']}, {' to '.join(rates)}, crops of {crops})"
    )
