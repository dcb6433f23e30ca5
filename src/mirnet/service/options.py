"""The options of a request: text in a query or in form fields, read into `Settings`; what they are, for OpenAPI too."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mirnet.errors import SettingsError
from mirnet.formats import FORMATS, WRITABLE, find_format
from mirnet.inference.settings import Settings, parse_denoise, parse_format, setting_info
from mirnet.inference.view import MAX_REGION_PX, MAX_VIEW_PX, View

LARGEST_TILE_PX = 1024  # a tile is in memory with all that the network makes of it: strangers choose no giants


@dataclass(frozen=True)
class Option:
    """How one option is read, and what is said of it; `schema` is JSON Schema."""

    read: Callable[[str], Any]
    schema: Mapping[str, Any]
    says: str


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f'expected a number, not "{_short(text)}"') from error


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise SettingsError(f'expected a whole number, not "{_short(text)}"') from error


def _truth(text: str) -> bool:
    try:
        return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
    except KeyError as error:
        raise SettingsError(f'expected true or false, not "{_short(text)}"') from error


def _tile(text: str) -> int:
    tile = _whole(text)
    if tile > LARGEST_TILE_PX:
        raise SettingsError(f"expected at most {LARGEST_TILE_PX} pixels, not {tile}")
    return tile


def _format(text: str) -> str:
    return parse_format(_short(text)) or text


def _region(text: str) -> tuple[int, int, int, int]:
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError as error:
        raise SettingsError(f'expected x,y,width,height in pixels, not "{_short(text)}"') from error
    return x, y, width, height


def _between(low: float, high: float, default: float | None = None) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "number", "minimum": low, "maximum": high}
    return said if default is None else said | {"default": default}


def _limits(name: str, default: float) -> dict[str, Any]:
    info = setting_info(name)
    return {"type": "number", "minimum": info.low, "maximum": info.high, "default": default}


_SUFFIXES = [suffix[1:] for name in WRITABLE for suffix in FORMATS[name].suffixes]
_FORMATS = [*WRITABLE, *(each for each in _SUFFIXES if each not in WRITABLE and find_format(f".{each}"))]
_BOOLEAN = {"type": "boolean", "default": False}
SHARE = {"oneOf": [{"const": "auto"}, _between(0, 1)], "default": "auto"}

SETTINGS: Mapping[str, Option] = {  # named as the fields of Settings
    "strength": Option(_number, _between(0, 1, 1), "0 gives the original back, 1 the full effect."),
    "exposure": Option(_number, _limits("exposure", 0), "Stops brighter or darker than proposed."),
    "keep_exposure": Option(_truth, _BOOLEAN, "Start from 0 stops instead of the proposal: denoise only."),
    "denoise": Option(parse_denoise, SHARE, "How much of the denoising is kept."),
    "denoise_colour": Option(_number, _between(0, 1), "The same of colour noise alone; without it as denoise."),
    "mood": Option(str, {"enum": ["day", "night"], "default": "day"},
                   "day takes the proposal whole, night a share of it: a night stays one."),
    "warmth": Option(_number, _limits("warmth", 0), "Stops of red against blue."),
    "tile": Option(_tile, {"type": "integer", "minimum": setting_info("tile").low, "maximum": LARGEST_TILE_PX},
                   "Side of the tiles of large pictures; the result does not depend on it."),
    "clip": Option(_truth, _BOOLEAN, "Take floats outside [0, 1] for the nearest value within, not for a mistake."),
    "format": Option(_format, {"enum": _FORMATS}, "Of the result; without it the source's, or what comes of it."),
    "quality": Option(_whole, {"type": "integer", "minimum": 1, "maximum": 100, "default": 92},
                      "Of JPEG, AVIF and lossy WebP files."),
    "strip_location": Option(_truth, _BOOLEAN, "Leave out where the picture was taken."),
    "max_megapixels": Option(_number, {"type": "number", "exclusiveMinimum": 0},
                             "Refuse larger pictures before they are decoded; the service's own limit holds too."),
    "provenance": Option(_truth, {"type": "boolean", "default": True}, "Say in the file's XMP what made it."),
}  # fmt: skip
WEIGHTS: Mapping[str, Option] = {
    "weights": Option(str, {"type": "string"}, "A name of GET /v1/weights; without it the service's default."),
}
VIEW: Mapping[str, Option] = {
    "pixels": Option(_whole, {"type": "integer", "minimum": 1, "maximum": MAX_VIEW_PX, "default": View().pixels},
                     "Show the whole picture with at most so many pixels, never enlarged."),
    "region": Option(_region, {"type": "string", "pattern": r"^\d+,\d+,\d+,\d+$", "examples": ["0,0,640,480"]},
                     "Show x,y,width,height of the upright picture at its own pixels, at most "
                     f"{MAX_REGION_PX:,} of them."),
}  # fmt: skip
LAYERS: Mapping[str, Option] = {
    "layers": Option(_truth, _BOOLEAN, "Three pictures below one another: exposed, restored, and with denoise auto."),
}
PREVIEW: Mapping[str, Option] = {
    "preview": Option(str, {"type": "string"}, "Instead of a file: the id of a preview whose picture is meant."),
}
ENHANCE = {**SETTINGS, **WEIGHTS}


def chosen(known: Mapping[str, Option], query: Iterable[tuple[str, str]],
           fields: Mapping[str, str] | None = None) -> dict[str, Any]:  # fmt: skip
    """What a request chose, read. An empty text is no choice. Raises SettingsError with everything that is wrong."""
    said: dict[str, str] = {}
    wrong = []
    for name, text in [*query, *(fields or {}).items()]:
        if name not in known:
            wrong.append(f"there is no option {_short(name)}, but {', '.join(known)}")
        elif text and said.setdefault(name, text) != text:
            wrong.append(f'{name} is said twice, "{_short(said[name])}" and "{_short(text)}"')
    found = {}
    for name, text in said.items():
        try:
            found[name] = known[name].read(text)
        except SettingsError as error:
            wrong.append(f"{name}: {error}".rstrip("."))
    if wrong:
        raise SettingsError("These options cannot work: " + "; ".join(dict.fromkeys(wrong)) + ".")
    return found


def settings_of(found: Mapping[str, Any], max_megapixels: float, match: bytes | None = None) -> Settings:
    """The settings among what was chosen; `max_megapixels` is the most that the service takes. SettingsError."""
    wished = {name: value for name, value in found.items() if name in SETTINGS}
    asked = wished.get("max_megapixels", max_megapixels)
    wished["max_megapixels"] = min(asked, max_megapixels) if asked == asked else asked  # not a number: refused below
    return Settings(**wished, match=match)


def view_of(found: Mapping[str, Any]) -> View:
    """Raises SettingsError."""
    return View(**{name: found[name] for name in VIEW if name in found})


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
