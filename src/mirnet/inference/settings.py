"""What a person may ask of one picture: shared by the command line, Python, the service and reports."""

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal

from mirnet.errors import SettingsError

LARGEST_STOPS = 4.0


@dataclass(frozen=True)
class Settings:
    """How one picture is enhanced. Raises SettingsError with everything that is wrong.

    strength: 0 gives the original back, 1 the full effect; blended in the file's own encoded values.
    exposure: stops brighter or darker than proposed, -4 to +4.
    keep_exposure: start from 0 stops instead of the proposal: denoise only.
    denoise: how much of what the restorer changes is kept, 0 to 1; "auto" is 1 from one stop of
        proposal up and fades to a share named on the weights' card at 0 stops (1 with keep_exposure).
    quality: of JPEG and lossy WebP files, 1 to 100.
    provenance: say in the file's XMP which mirnet, weights and settings made it.
    overwrite: replace an earlier output; never an input.
    """

    strength: float = 1.0
    exposure: float = 0.0
    keep_exposure: bool = False
    denoise: float | Literal["auto"] = "auto"
    quality: int = 92
    provenance: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        wrong = []
        if not _lies(self.strength, 0, 1):
            wrong.append(f"strength lies in 0 to 1, not at {self.strength}")
        if not _lies(self.exposure, -LARGEST_STOPS, LARGEST_STOPS):
            wrong.append(f"exposure lies in -4 to +4 stops, not at {self.exposure}")
        if self.denoise != "auto" and not _lies(self.denoise, 0, 1):
            wrong.append(f'denoise is "auto" or lies in 0 to 1, not at {self.denoise}')
        if not (isinstance(self.quality, Integral) and 1 <= self.quality <= 100):
            wrong.append(f"quality is a whole number from 1 to 100, not {self.quality}")
        if wrong:
            raise SettingsError("These settings cannot work: " + "; ".join(wrong) + ".")

    def described(self) -> str:
        """The settings that shape the picture, in words for its XMP."""
        start = "keep-exposure " if self.keep_exposure else ""
        return f"{start}exposure {self.exposure:+g} denoise {self.denoise} strength {self.strength:g}"


def _lies(value: object, low: float, high: float) -> bool:
    """Whether it is a number from `low` to `high`; NaN is not."""
    return isinstance(value, Real) and low <= float(value) <= high
