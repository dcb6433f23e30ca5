"""Options that several commands share, and how their text is read."""

from typing import Annotated, Literal

import typer

from mirnet.errors import SettingsError

Denoise = Annotated[str, typer.Option(help='How much of the denoising is kept: 0 to 1, or "auto".')]
Strength = Annotated[float, typer.Option(help="0 gives the original, 1 the full effect.")]
Exposure = Annotated[float, typer.Option(help="Stops brighter or darker than proposed, -4 to +4.")]
KeepExposure = Annotated[bool, typer.Option("--keep-exposure", help="Start from 0 stops: denoise only.")]
WeightsOption = Annotated[str, typer.Option(help="The name of installed weights, or a path NAME.onnx.")]
Device = Annotated[str, typer.Option(help="Where the network runs; `mirnet info` lists what is here.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads. Default: all cores.")]


def parse_denoise(text: str) -> float | Literal["auto"]:
    """ "auto" or a number. Raises SettingsError."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f'denoise is "auto" or a number from 0 to 1, not "{text}".') from error
