"""Brighten and denoise dark photographs with MIRNet, on your own machine.

    import mirnet
    mirnet.enhance("party.jpg")                   # writes party.bright.jpg beside it
    bright = mirnet.enhance(array, exposure=-0.5)  # uint8, uint16 or float in [0, 1]

Importing this package loads nothing; what is used is loaded when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mirnet._version import __version__
from mirnet.errors import (
    Cancelled,
    DataError,
    MirnetError,
    OutputExists,
    PictureError,
    SettingsError,
    TooManyPixels,
    TrainingError,
    UnknownFormat,
    WeightsError,
)

if TYPE_CHECKING:
    from mirnet.images import read_image, write_image
    from mirnet.inference.catalog import list_weights
    from mirnet.inference.enhancer import Enhancer, enhance

__all__ = [
    "Cancelled", "DataError", "Enhancer", "MirnetError", "OutputExists", "PictureError", "SettingsError",
    "TooManyPixels", "TrainingError", "UnknownFormat", "WeightsError", "__version__", "enhance", "list_weights",
    "read_image", "write_image",
]  # fmt: skip

_HOMES = {
    "Enhancer": "mirnet.inference.enhancer",
    "enhance": "mirnet.inference.enhancer",
    "list_weights": "mirnet.inference.catalog",
    "read_image": "mirnet.images",
    "write_image": "mirnet.images",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mirnet' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
