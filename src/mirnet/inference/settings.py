"""What a person may ask of one picture: shared by the command line, Python, the service and reports."""

from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Literal

from mirnet.errors import SettingsError
from mirnet.formats import WRITABLE, of_suffix

LARGEST_STOPS = 4.0
LARGEST_WARMTH = 2.0
SMALLEST_TILE_PX = 64


@dataclass(frozen=True)
class Settings:
    """How one picture is enhanced. Raises SettingsError with everything that is wrong.

    strength: 0 gives the original back, 1 the full effect; blended in the file's own encoded values.
    exposure: stops brighter or darker than proposed, -4 to +4.
    keep_exposure: start from 0 stops instead of the proposal: denoise only.
    denoise: how much of what the restorer changes is kept, 0 to 1; "auto" is 1 from one stop of
        proposal up and fades to a share named on the weights' card at 0 stops (1 with keep_exposure).
    denoise_colour: the same of colour noise alone, 0 to 1; None: as `denoise`.
    mood: "day" takes the proposal whole, "night" a share of it, so that a night stays one.
    match: a photo (its path or bytes) whose mean brightness the result gets, instead of the proposal; then
        neither mood nor exposure nor keep_exposure may be given.
    warmth: stops of red against blue, -2 (colder) to +2 (warmer); given with the exposure.
    tile: side of the tiles of large pictures in pixels, None for the fastest. The result does not depend on it.
    clip: take floats outside [0, 1] for the nearest value within, instead of refusing them.
    format: of the result, a name of `mirnet.formats.WRITABLE`; None: the source's, or as the output's suffix says.
    quality: of JPEG, AVIF and lossy WebP files, 1 to 100.
    strip_location: leave out where the picture was taken.
    max_megapixels: refuse pictures with more, before decoding them.
    provenance: say in the file's XMP which mirnet, weights and settings made it.
    overwrite: replace an earlier output; never an input.
    """

    strength: float = 1.0
    exposure: float = 0.0
    keep_exposure: bool = False
    denoise: float | Literal["auto"] = "auto"
    denoise_colour: float | None = None
    mood: Literal["day", "night"] = "day"
    match: Path | bytes | None = None
    warmth: float = 0.0
    tile: int | None = None
    clip: bool = False
    format: str | None = None
    quality: int = 92
    strip_location: bool = False
    max_megapixels: float = 500.0
    provenance: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        wrong = []
        if not _is_within(self.strength, 0, 1):
            wrong.append(f"strength lies in 0 to 1, not at {self.strength}")
        if not _is_within(self.exposure, -LARGEST_STOPS, LARGEST_STOPS):
            wrong.append(f"exposure lies in -4 to +4 stops, not at {self.exposure}")
        if self.denoise != "auto" and not _is_within(self.denoise, 0, 1):
            wrong.append(f'denoise is "auto" or lies in 0 to 1, not at {self.denoise}')
        if self.denoise_colour is not None and not _is_within(self.denoise_colour, 0, 1):
            wrong.append(f"denoise_colour lies in 0 to 1, not at {self.denoise_colour}")
        if self.mood not in ("day", "night"):
            wrong.append(f'mood is "day" or "night", not "{self.mood}"')
        if self.match is not None and (self.mood != "day" or self.exposure or self.keep_exposure):
            wrong.append("match gives the exposure by itself, so mood, exposure and keep_exposure exclude it")
        if not _is_within(self.warmth, -LARGEST_WARMTH, LARGEST_WARMTH):
            wrong.append(f"warmth lies in -2 to +2 stops, not at {self.warmth}")
        if self.tile is not None and not (isinstance(self.tile, Integral) and self.tile >= SMALLEST_TILE_PX):
            wrong.append(f"tile is a whole number of at least {SMALLEST_TILE_PX} pixels, not {self.tile}")
        if self.format is not None and self.format not in WRITABLE:
            wrong.append(f'format is one of {", ".join(WRITABLE)}, not "{self.format}"')
        if not _is_within(self.max_megapixels, 1e-6, float("inf")):
            wrong.append(f"max_megapixels is a positive number, not {self.max_megapixels}")
        if not (isinstance(self.quality, Integral) and 1 <= self.quality <= 100):
            wrong.append(f"quality is a whole number from 1 to 100, not {self.quality}")
        if wrong:
            raise SettingsError("These settings cannot work: " + "; ".join(wrong) + ".")

    def described(self) -> str:
        """The settings that shape the picture, in words for its XMP."""
        start = "keep-exposure " if self.keep_exposure else ""
        start += "night mood " if self.mood == "night" else ""
        start += "matched to a photo " if self.match is not None else ""
        colour = "" if self.denoise_colour is None else f" denoise-colour {self.denoise_colour:g}"
        warmth = f" warmth {self.warmth:+g}" if self.warmth else ""
        return f"{start}exposure {self.exposure:+g} denoise {self.denoise}{colour}{warmth} strength {self.strength:g}"


def _is_within(value: object, low: float, high: float) -> bool:
    """Whether it is a number from `low` to `high`; NaN is not."""
    return isinstance(value, Real) and low <= float(value) <= high


def parse_denoise(text: str) -> float | Literal["auto"]:
    """ "auto" or a number. Raises SettingsError."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f'denoise is "auto" or a number from 0 to 1, not "{text}".') from error


def parse_format(text: str | None) -> str | None:
    """The name of a format; what people call it by its suffix ("jpg", "tif") is understood."""
    known = of_suffix(f".{text}") if text else None
    return known.name if known else text
