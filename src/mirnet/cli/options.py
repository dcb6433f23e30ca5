"""Options that several commands share; those of one image come from `inference.Settings`, which declares them."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from mirnet.inference.settings import describe_setting

HERE = "here"  # what --ray says without an address

Denoise = Annotated[str, typer.Option(help=describe_setting("denoise"))]
Strength = Annotated[float, typer.Option(help=describe_setting("strength"))]
Exposure = Annotated[float, typer.Option(help=describe_setting("exposure"))]
KeepExposure = Annotated[bool, typer.Option("--keep-exposure", help=describe_setting("keep_exposure"))]
DenoiseColour = Annotated[float | None, typer.Option(metavar="SHARE", help=describe_setting("denoise_colour"))]
Mood = Annotated[Literal["day", "night"], typer.Option(help=describe_setting("mood"))]
Match = Annotated[Path | None, typer.Option(metavar="PHOTO", help=describe_setting("match"))]
Warmth = Annotated[float, typer.Option(help=describe_setting("warmth"))]
Tile = Annotated[int | None, typer.Option(metavar="PX", help=describe_setting("tile"))]
Clip = Annotated[bool, typer.Option("--clip", help=describe_setting("clip"))]
Format = Annotated[str | None, typer.Option(help=describe_setting("format"))]
Quality = Annotated[int, typer.Option(help=describe_setting("quality"))]
StripLocation = Annotated[bool, typer.Option("--strip-location", help=describe_setting("strip_location"))]
MaxMegapixels = Annotated[float, typer.Option(metavar="MP", help=describe_setting("max_megapixels"))]
Provenance = Annotated[bool, typer.Option(help=describe_setting("provenance"))]
Overwrite = Annotated[bool, typer.Option("--overwrite", help=describe_setting("overwrite"))]
WeightsOption = Annotated[str, typer.Option(help="The name of installed weights, or a path NAME.onnx.")]
Device = Annotated[str, typer.Option(help="Where the network runs; `mirnet info` lists the devices.")]
Recursive = Annotated[bool, typer.Option("-r", "--recursive", help="Process subfolders, too; OUT gets the same ones.")]
Watch = Annotated[bool, typer.Option("--watch", help="Process what arrives in the folders, until Ctrl-C.")]
ShardOption = Annotated[
    str | None, typer.Option("--shard", metavar="I/N", help="This machine's share: 2/3 is the second of three.")
]
Jobs = Annotated[int, typer.Option("-j", "--jobs", help="Images processed at once: one is read while one is rendered.")]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Append a JSON line about each image to this file.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="[ADDRESS]",
        help="Use all machines of a Ray cluster: host:port or auto. Without an address, a cluster on this machine.",
    ),
]
Runtime = Annotated[
    Literal["openvino", "onnxruntime", "torch"],
    typer.Option(help="What runs the network; onnxruntime and torch are extras."),
]
Fast = Annotated[bool, typer.Option("--fast", help="Compute in bfloat16 or int8, slightly less exact.")]
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
