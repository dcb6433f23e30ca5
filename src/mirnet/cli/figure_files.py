"""Figures that commands write: refused before any work where they cannot be, and never over a file."""

from pathlib import Path

from mirnet.errors import OutputExists, PictureError, SettingsError
from mirnet.files import write_whole


def check_figure(path: Path | None, what: str) -> None:
    """Whether a PNG that was asked for can be written there. Raises SettingsError."""
    if path is None:
        return
    if path.suffix.lower() != ".png":
        raise SettingsError(f"{path}: the {what} is a PNG; choose a name that ends in .png.")
    if path.exists():
        raise SettingsError(f"{path}: is there already and is not replaced; choose another name for the {what}.")
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: there is no folder {path.parent} for the {what}; make it first.")


def write_figure(path: Path, content: bytes) -> None:
    """Write a PNG, whole or not at all. Raises OutputExists, PictureError."""
    try:
        write_whole(path, content, overwrite=False)
    except FileExistsError as error:
        raise OutputExists(f"{path}: has appeared meanwhile and was left alone; choose another name.") from error
    except OSError as error:
        raise PictureError(f"{path}: could not be written ({error.strerror}); make room or choose another.") from error
