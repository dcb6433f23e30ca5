"""`mirnet enhance`: pictures and folders of them, brightened and denoised."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from mirnet.cli import options
from mirnet.cli.signals import terminated_like_ctrl_c
from mirnet.errors import SettingsError

FAILED = 1

WHERE = "A file, or a folder for several; - is standard output.  [default: NAME.bright.EXT beside each original]"


def enhance(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="IN...", help="Pictures, and folders of pictures; - is standard input.")
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
    """Brighten and denoise pictures; the originals are never touched."""
    # before numpy is loaded: threads that wait for one another over thumbnails cost more than the pictures do
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from mirnet.batch import object_urls, planning
    from mirnet.cli import batch_run, piping
    from mirnet.inference.enhancer import Enhancer
    from mirnet.inference.settings import Settings, parse_denoise, parse_format

    settings = Settings(
        strength=strength, exposure=exposure, keep_exposure=keep_exposure, mood=mood, match=match, warmth=warmth,
        denoise=parse_denoise(denoise), denoise_colour=denoise_colour, format=parse_format(format),
        quality=quality, strip_location=strip_location, provenance=provenance, overwrite=overwrite, clip=clip,
        max_megapixels=max_megapixels, tile=tile,
    )  # fmt: skip
    if jobs < 1:
        raise SettingsError(f"jobs must be at least 1, not {jobs}.")

    def enhancer(progress: Callable[[float], None] = lambda done: None) -> Enhancer:
        # made last: loading a network takes longer than refusing
        made = Enhancer(weights, runtime=runtime, device=device, threads=threads, fast=fast, progress=progress)
        made.check(settings)
        return made

    @contextmanager
    def engine() -> Iterator[batch_run.Backend]:
        if ray is None:
            yield batch_run.LocalBackend(enhancer(), settings, jobs)
            return
        from mirnet.batch import ray_backend

        address = None if ray == options.HERE else ray
        with ray_backend.open_ray_backend(
            address,
            weights,
            settings,
            runtime=runtime,
            device=device,
            fast=fast,
            threads=threads,
            at_once=jobs,
            say=batch_run.warn,
        ) as pool:
            yield pool

    inputs, output = [object_urls.path_of(path) for path in inputs], output and object_urls.path_of(output)
    beyond = next((path for path in [*inputs, output] if isinstance(path, object_urls.Url)), None)
    if beyond and ray is None:
        raise SettingsError(f"{beyond}: is no file of this machine; --ray reaches URLs, of one machine or many.")
    if isinstance(output, object_urls.Url):
        object_urls.is_folder(output)  # so that what keeps us from it is told once
    with terminated_like_ctrl_c():
        if piping.is_piped(inputs, output):
            if recursive or watch or shard or report or ray:
                raise SettingsError(
                    "- stands for one picture, and --recursive, --watch, --shard, --report and --ray for many."
                )
            piping.pipe(inputs, output, piping.checked(inputs, output, settings), enhancer)
            return
        part = planning.Shard.parse(shard) if shard else None
        files = batch_run.FileSelection(inputs, output, recursive, settings.format, part)
        failed = (batch_run.watch if watch else batch_run.enhance)(files, engine, report=report)
    if failed:
        raise typer.Exit(FAILED)
