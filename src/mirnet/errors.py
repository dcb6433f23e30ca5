"""Every error that mirnet raises on purpose, one small tree.

    MirnetError
    ├── SettingsError        a setting or combination of settings that cannot work
    ├── WeightsError         a weights file or card that is missing, damaged or too new
    ├── DataError            training or evaluation data that cannot be used
    ├── PictureError         an image that cannot be read or written
    │   ├── OutputExists     an output is already there and was left alone
    │   ├── UnknownFormat    the content is of none of the formats that we read
    │   └── TooManyPixels    more pixels than allowed, refused before decoding
    ├── TrainingError        a training run that cannot go on
    └── Cancelled            the work was cancelled

Each message is a sentence to a person: what was expected, what came, what to do.
"""


class MirnetError(Exception):
    """Base of every error that mirnet raises on purpose."""

    is_reported = False  # another process of the same run has printed its error; one sentence is enough


class SettingsError(MirnetError, ValueError):
    """A setting, or a combination of settings, that cannot work; nothing was done."""


class WeightsError(MirnetError):
    """A weights file or its card is missing, damaged, too new or of another kind."""


class DataError(MirnetError):
    """Training or evaluation data that cannot be used as it is."""


class PictureError(MirnetError):
    """An image that cannot be read or written."""


class OutputExists(PictureError):
    """The output is already there; it was left alone."""


class UnknownFormat(PictureError):
    """The content is of none of the formats that we read."""


class TooManyPixels(PictureError):
    """More pixels than allowed; nothing was decoded."""


class TrainingError(MirnetError):
    """A training run that cannot go on; its last good state is kept."""


class Cancelled(MirnetError):
    """The work was cancelled; nothing half-done is left behind."""

    def __init__(self, message: str = "Cancelled; nothing is left half-done.") -> None:
        super().__init__(message)
