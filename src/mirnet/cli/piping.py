"""`mirnet enhance -`: an image from standard input, or one to standard output, for pipes between programs."""

import sys
from dataclasses import replace
from pathlib import Path

import typer

from mirnet.batch.backend import EnhancerOptions
from mirnet.cli.progress import progress_bar
from mirnet.errors import PictureError, SettingsError
from mirnet.files import write_whole
from mirnet.formats import find_format
from mirnet.inference.settings import Settings

PIPE = Path("-")


def is_piped(inputs: list[Path], output: Path | None) -> bool:
    """Whether - is among the paths. A file of that name is reached by a path with its folder's name."""
    return PIPE in inputs or output == PIPE


def check_pipe(inputs: list[Path], output: Path | None, settings: Settings) -> Settings:
    """The settings for an image that goes through a pipe. Raises SettingsError for what cannot work."""
    source, target = inputs[0], output or PIPE
    if len(inputs) > 1 or source.is_dir():
        raise SettingsError("- stands for one image alone; name one file, or - for standard input.")
    if source == PIPE and sys.stdin.isatty():
        raise SettingsError("Expected an image on standard input, and this is a terminal: mirnet enhance - < in.jpg")
    if target == PIPE:
        if sys.stdout.isatty():
            raise SettingsError(
                "An image cannot be shown in a terminal: mirnet enhance - < in.jpg > out.jpg, or -o FILE."
            )
        return settings
    known = find_format(target.suffix)
    if known is None or not known.writable or settings.format not in (None, known.name):
        raise SettingsError(f"{target}: expected a name that ends in the suffix of a format to write, as .jpg.")
    if target.exists() and not settings.overwrite:
        raise SettingsError(f"{target}: is there already and was left alone (--overwrite replaces it).")
    return replace(settings, format=known.name)


def pipe(inputs: list[Path], output: Path | None, settings: Settings, enhancer: EnhancerOptions) -> None:
    """Enhance one image with settings from `check_pipe`; remarks go to standard error.

    Raises PictureError, BrokenPipeError.
    """
    content = _read(inputs[0])
    with progress_bar("enhancing", 1) as bar:
        enhanced = enhancer.make(settings, bar.within).enhance_bytes(content, settings)
    for remark in enhanced.remarks:
        typer.echo(f"mirnet: {remark}", err=True)
    _write(output or PIPE, enhanced.content, settings.overwrite)


def _read(source: Path) -> bytes:
    if source == PIPE:
        content = sys.stdin.buffer.read()
        if not content:
            raise PictureError("Expected an image on standard input, and it was empty.")
        return content
    try:
        return source.read_bytes()
    except OSError as error:
        raise PictureError(
            f"{source}: cannot be read ({error.strerror}); check the path and its permissions."
        ) from error


def _write(target: Path, content: bytes, overwrite: bool) -> None:
    if target == PIPE:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        write_whole(target, content, overwrite=overwrite)
    except OSError as error:
        raise PictureError(f"{target}: could not be written ({error.strerror}), nothing was left behind.") from error
