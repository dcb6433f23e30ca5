"""`mirnet enhance`: photos and folders of photos, brightened and denoised."""

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirnet.cli import options
from mirnet.cli.signals import terminated_like_ctrl_c
from mirnet.errors import SettingsError

if TYPE_CHECKING:
    from mirnet.batch.backend import Backend, EnhancerOptions
    from mirnet.inference.settings import Settings

FAILED = 1

WHERE = "A file, or a folder for several; - is standard output.  [default: NAME.bright.EXT beside each original]"


def enhance(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Photos, and folders of photos; - is standard input.")
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help=WHERE)] = None,
    recursive: options.Recursive = False,
    watch: options.Watch = False,
    shard: options.ShardOption = None,
    jobs: options.Jobs = 2,
    report: options.ReportOption = None,
    ray: options.Ray = None,
    strength: options.Strength = 1.0,
    exposure: options.Exposure = 0.0,
    keep_exposure: options.KeepExposure = False,
    mood: options.Mood = "day",
    match: options.Match = None,
    warmth: options.Warmth = 0.0,
    denoise: options.Denoise = "auto",
    denoise_colour: options.DenoiseColour = None,
    format: options.Format = None,
    quality: options.Quality = 92,
    strip_location: options.StripLocation = False,
    provenance: options.Provenance = True,
    overwrite: options.Overwrite = False,
    clip: options.Clip = False,
    max_megapixels: options.MaxMegapixels = 500.0,
    tile: options.Tile = None,
    weights: options.WeightsOption = "lite",
    runtime: options.Runtime = "openvino",
    device: options.Device = "cpu",
    fast: options.Fast = False,
    threads: options.Threads = None,
) -> None:
    """Brighten and denoise photos; the originals are never changed."""
    # before numpy is loaded: its threads cost more time on thumbnails than they save
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from mirnet.batch import object_urls, planning
    from mirnet.batch.backend import EnhancerOptions
    from mirnet.cli import batch_run, piping
    from mirnet.inference.settings import Settings, parse_denoise, parse_format

    settings = Settings(
        strength=strength, exposure=exposure, keep_exposure=keep_exposure, mood=mood, match=match, warmth=warmth,
        denoise=parse_denoise(denoise), denoise_colour=denoise_colour, format=parse_format(format),
        quality=quality, strip_location=strip_location, provenance=provenance, overwrite=overwrite, clip=clip,
        max_megapixels=max_megapixels, tile=tile,
    )  # fmt: skip
    if jobs < 1:
        raise SettingsError(f"jobs must be at least 1, not {jobs}.")

    enhancer = EnhancerOptions(weights, runtime, device, fast, threads)
    inputs, output = [object_urls.path_of(path) for path in inputs], output and object_urls.path_of(output)
    beyond = next((path for path in [*inputs, output] if isinstance(path, object_urls.Url)), None)
    if beyond and ray is None:
        raise SettingsError(f"{beyond}: is not a file of this machine; --ray reaches URLs, with one machine or many.")
    if isinstance(output, object_urls.Url):
        object_urls.is_folder(output)  # what makes it unreachable is then one error, and not one for each file
    with terminated_like_ctrl_c():
        if piping.is_piped(inputs, output):
            if recursive or watch or shard or report or ray:
                raise SettingsError(
                    "- stands for one image, and --recursive, --watch, --shard, --report and --ray for many."
                )
            piping.pipe(inputs, output, piping.check_pipe(inputs, output, settings), enhancer)
            return
        part = planning.Shard.parse(shard) if shard else None
        files = planning.FileSelection(inputs, output, recursive, settings.format, part)
        backend = make_backend(ray, enhancer, settings, jobs)
        failed = (batch_run.watch if watch else batch_run.enhance)(files, backend, report=report)
    if failed:
        raise typer.Exit(FAILED)


def make_backend(ray: str | None, enhancer: "EnhancerOptions", settings: "Settings",
                 at_once: int) -> "AbstractContextManager[Backend]":  # fmt: skip
    """The backend that --ray chooses; it loads and connects only when its context is entered."""
    from mirnet.batch.backend import LocalBackend
    from mirnet.cli.batch_run import warn

    if ray is None:
        return LocalBackend(enhancer, settings, at_once)
    from mirnet.batch import ray_backend

    address = None if ray == options.HERE else ray
    return ray_backend.open_ray_backend(address, enhancer, settings, at_once=at_once, warn=warn)
