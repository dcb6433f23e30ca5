"""`Settings`: what a user may choose for one image; the one declaration of defaults, ranges and help texts.

The command line, the Python API, the service and the documentation take names, defaults, ranges and texts from here:
`setting_info("exposure")` gives the parts, `describe_setting("exposure")` a line of help, `settings_table()` all rows.
"""

from dataclasses import Field, dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal

from mirnet.errors import SettingsError
from mirnet.formats import WRITABLE, find_format

ALMOST_0 = 1e-6  # as a lower limit: more than 0
INFO = "setting"  # the key of a `SettingInfo` in a field's metadata


@dataclass(frozen=True)
class SettingInfo:
    """What one setting does and which values it takes.

    `low` and `high` are the limits of a number, included; `choices` are the words that the setting takes, alone or
    instead of a number. A setting with neither is a switch, or takes a photo (`match`).
    """

    help: str  # sentences for a user, without the range
    low: float | None = None
    high: float | None = None
    unit: str = ""
    whole: bool = False  # whole numbers only
    choices: tuple[str, ...] = ()

    @property
    def range(self) -> str:
        """The allowed values in short, as in a line of help: "-4 to +4", "auto, 0 to 1"; "" for a switch."""
        return ", ".join([*self.choices, *self._limits])

    @property
    def allowed(self) -> str:
        """The allowed values in words, as in an error: "a whole number of at least 64 pixels"."""
        if len(self.choices) > 2:
            return f"one of {', '.join(self.choices)}"
        number = f"a {'whole ' if self.whole else ''}number {'of' if self.high is None else 'from'}"
        numbers = [f"{number} {limits} {self.unit}".rstrip() for limits in self._limits]
        return " or ".join([*(f'"{each}"' for each in self.choices), *numbers])

    @property
    def _limits(self) -> list[str]:
        """The limits of a number as one text; none without a number."""
        if self.low is None:
            return []
        if self.high is None:
            return ["more than 0" if self.low == ALMOST_0 else f"at least {self.low:g}"]
        return [f"{self.low:+g} to {self.high:+g}" if self.low < 0 else f"{self.low:g} to {self.high:g}"]

    def allows(self, value: object) -> bool:
        """Whether `value` is one of `choices` or a number within the limits; NaN is not. Switches allow everything."""
        if value in self.choices:
            return True
        if self.low is None:
            return not self.choices
        high = float("inf") if self.high is None else self.high
        return isinstance(value, Integral if self.whole else Real) and self.low <= float(value) <= high


@dataclass(frozen=True)
class SettingRow:
    """One row of the documentation's table of settings."""

    name: str
    default: Any
    range: str  # "" for a switch and for a photo
    unit: str
    help: str


def _about(help: str, *values: Any, **more: Any) -> dict[str, SettingInfo]:
    """The metadata of a field, with the arguments of `SettingInfo`."""
    return {INFO: SettingInfo(help, *values, **more)}


@dataclass(frozen=True)
class Settings:
    """How one image is enhanced; `settings_table` lists what each field does, its default and its range.

    `match` is a path or the bytes of an image file. Raises SettingsError that names every value out of its range.
    """

    strength: float = field(
        default=1.0,
        metadata=_about("0 gives the original, 1 the full effect; blended in the file's own encoded values.", 0, 1),
    )
    exposure: float = field(default=0.0, metadata=_about("Stops brighter or darker than proposed.", -4, 4, "stops"))
    keep_exposure: bool = field(
        default=False, metadata=_about("Start from 0 stops instead of the proposed exposure: denoise only.")
    )
    denoise: float | Literal["auto"] = field(
        default="auto",
        metadata=_about(
            "How much of the denoising is kept. auto keeps all of it where one stop or more is proposed, and less "
            "where less is, down to a share that the weights' card states; with keep-exposure all.",
            low=0,
            high=1,
            choices=("auto",),
        ),
    )
    denoise_colour: float | None = field(
        default=None,
        metadata=_about("How much of the denoising of colour is kept. Without it, as much as denoise says.", 0, 1),
    )
    mood: Literal["day", "night"] = field(
        default="day",
        metadata=_about(
            "day applies all of the proposed stops, night half of them, so that a night scene stays dark.",
            choices=("day", "night"),
        ),
    )
    match: Path | bytes | None = field(
        default=None,
        metadata=_about(
            "A photo whose mean brightness the result gets, instead of the proposed exposure; excludes mood, exposure "
            "and keep-exposure."
        ),
    )
    warmth: float = field(
        default=0.0,
        metadata=_about("Stops of red against blue: negative is colder, positive is warmer.", -2, 2, "stops"),
    )
    tile: int | None = field(
        default=None,
        metadata=_about(
            "Side of the tiles of large images; the result does not depend on it. Without it, the fastest.",
            low=64,
            unit="pixels",
            whole=True,
        ),
    )
    clip: bool = field(default=False, metadata=_about("Clip float values to [0, 1] instead of refusing those outside."))
    format: str | None = field(
        default=None,
        metadata=_about(
            "Format of the result. Without it, the source's, or as the output's suffix says.", choices=WRITABLE
        ),
    )
    quality: int = field(default=92, metadata=_about("Quality of JPEG, AVIF and lossy WebP files.", 1, 100, whole=True))
    strip_location: bool = field(default=False, metadata=_about("Leave out of the metadata where the photo was taken."))
    max_megapixels: float = field(
        default=500.0, metadata=_about("Refuse larger images before they are decoded.", low=ALMOST_0, unit="megapixels")
    )
    provenance: bool = field(
        default=True, metadata=_about("Write into the file's XMP which mirnet, weights and settings made it.")
    )
    overwrite: bool = field(default=False, metadata=_about("Replace an earlier result; never an original."))

    def __post_init__(self) -> None:
        wrong = []
        for each in fields(self):
            value, info = getattr(self, each.name), _info_of(each)
            if not info.allows(value) and not (value is None and each.default is None):
                given = f'"{value}"' if isinstance(value, str) else value
                wrong.append(f"{each.name} must be {info.allowed}, not {given}")
        if self.match is not None and (self.mood != "day" or self.exposure or self.keep_exposure):
            wrong.append("match sets the exposure by itself, so it excludes mood, exposure and keep_exposure")
        if wrong:
            raise SettingsError("These settings cannot work: " + "; ".join(wrong) + ".")

    def described(self) -> str:
        """The settings that shape the image, as the written XMP states them."""
        start = "keep-exposure " if self.keep_exposure else ""
        start += "night mood " if self.mood == "night" else ""
        start += "matched to a photo " if self.match is not None else ""
        colour = "" if self.denoise_colour is None else f" denoise-colour {self.denoise_colour:g}"
        warmth = f" warmth {self.warmth:+g}" if self.warmth else ""
        return f"{start}exposure {self.exposure:+g} denoise {self.denoise}{colour}{warmth} strength {self.strength:g}"


def setting_info(name: str) -> SettingInfo:
    """The help text, range, unit and choices of the field `name` of `Settings`. Raises KeyError for other names."""
    return {each.name: _info_of(each) for each in fields(Settings)}[name]


def describe_setting(name: str) -> str:
    """One line of help for the field `name` of `Settings`: what it does, and its range in brackets."""
    info = setting_info(name)
    return f"{info.help} [{info.range}]" if info.range else info.help


def settings_table() -> list[SettingRow]:
    """What every field of `Settings` does, with its default and range, in the order of the fields."""
    rows = ((each, _info_of(each)) for each in fields(Settings))
    return [SettingRow(each.name, each.default, info.range, info.unit, info.help) for each, info in rows]


def parse_denoise(text: str) -> float | Literal["auto"]:
    """The value of `Settings.denoise` that `text` states: "auto" or a number. Raises SettingsError."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f'denoise must be {setting_info("denoise").allowed}, not "{text}".') from error


def parse_format(text: str | None) -> str | None:
    """The name of a format for its name or a suffix: "jpg" gives "jpeg". An unknown text stays as it is."""
    known = find_format(f".{text}") if text else None
    return known.name if known else text


def _info_of(setting: "Field[Any]") -> SettingInfo:
    info: SettingInfo = setting.metadata[INFO]
    return info
