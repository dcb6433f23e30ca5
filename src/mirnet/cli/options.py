"""Options that say how pictures become, for the commands that share them, and how their text is read."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from mirnet.formats import WRITABLE

HERE = "here"  # what --ray says without an address

Denoise = Annotated[str, typer.Option(help='How much of the denoising is kept: 0 to 1, or "auto".')]
Strength = Annotated[float, typer.Option(help="0 gives the original, 1 the full effect.")]
Exposure = Annotated[float, typer.Option(help="Stops brighter or darker than proposed, -4 to +4.")]
KeepExposure = Annotated[bool, typer.Option("--keep-exposure", help="Start from 0 stops: denoise only.")]
DenoiseColour = Annotated[
    float | None, typer.Option(metavar="SHARE", help="The same of colour noise alone, 0 to 1. Default: as --denoise.")
]
Mood = Annotated[
    Literal["day", "night"], typer.Option(help="day takes the proposal whole, night a share of it: a night stays one.")
]
Match = Annotated[
    Path | None,
    typer.Option(metavar="PHOTO", help="A photo whose mean brightness the result gets, instead of the proposal."),
]
Warmth = Annotated[float, typer.Option(help="Stops of red against blue, -2 (colder) to +2 (warmer).")]
Tile = Annotated[
    int | None, typer.Option(metavar="PX", help="Side of the tiles of large pictures. Default: the fastest.")
]
Clip = Annotated[
    bool, typer.Option("--clip", help="Take floats outside of [0, 1] for the nearest value within, not for a mistake.")
]
Format = Annotated[
    str | None,
    typer.Option(help=f"Of the result: {', '.join(WRITABLE)}. Default: the source's, or as OUT's suffix says."),
]
Quality = Annotated[int, typer.Option(help="Of JPEG, AVIF and lossy WebP files, 1 to 100.")]
StripLocation = Annotated[bool, typer.Option("--strip-location", help="Leave out where the picture was taken.")]
MaxMegapixels = Annotated[float, typer.Option(metavar="MP", help="Refuse larger pictures before they are decoded.")]
Provenance = Annotated[bool, typer.Option(help="Say in the file's XMP what made it.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace earlier results, never an original.")]
WeightsOption = Annotated[str, typer.Option(help="The name of installed weights, or a path NAME.onnx.")]
Device = Annotated[str, typer.Option(help="Where the network runs; `mirnet info` lists what is here.")]
Recursive = Annotated[bool, typer.Option("-r", "--recursive", help="Folders within folders, too; OUT is built alike.")]
Watch = Annotated[bool, typer.Option("--watch", help="Go on with what arrives in the folders, until Ctrl-C.")]
ShardOption = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="This machine's share: 2/3 is the second of three.")
]
Jobs = Annotated[int, typer.Option("-j", "--jobs", help="Pictures in work at once: one is read while one is rendered.")]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="A JSON line about each picture is appended to it.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray", metavar="[ADDRESS]", help="On all machines of a Ray cluster, host:port or auto; of this one without."
    ),
]
Runtime = Annotated[
    Literal["openvino", "onnxruntime", "torch"], typer.Option(help="What runs the network; the others are extras.")
]
Fast = Annotated[bool, typer.Option("--fast", help="Compute in bfloat16 or int8, a bit less exactly.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads. Default: all cores.")]


class RayMayStandAlone(TyperCommand):
    """A command whose --ray may be followed by an address or by anything else: an address is known by its port."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        said = []
        for each, after in zip(args, [*args, ""][1:], strict=True):
            said.append(each)
            if each == "--ray" and not re.fullmatch(r"auto|(\w+://)?[^/]+:\d+", after):
                said.append(HERE)
        return super().parse_args(ctx, said)
