"""`mirnet enhance`: pictures and folders of them, brightened and denoised."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mirnet.apps import options
from mirnet.apps.progress import progress_bar

FAILED = 1

WHERE = "A file, or a folder for several.  [default: NAME.bright.EXT beside each original]"


def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures, and folders of pictures.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help=WHERE)] = None,
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
    device: options.Device = "cpu",
    threads: options.Threads = None,
) -> None:
    """Brighten and denoise pictures; the originals are never touched."""
    from mirnet.inference import jobs
    from mirnet.inference.enhancer import Enhancer
    from mirnet.inference.settings import Settings

    settings = Settings(
        strength=strength, exposure=exposure, keep_exposure=keep_exposure, mood=mood, match=match, warmth=warmth,
        denoise=options.parse_denoise(denoise), denoise_colour=denoise_colour, format=options.parse_format(format),
        quality=quality, strip_location=strip_location, provenance=provenance, overwrite=overwrite, clip=clip,
        max_megapixels=max_megapixels, tile=tile,
    )  # fmt: skip
    planned = jobs.plan(inputs, output)
    failures = 0
    with progress_bar("enhancing", len(planned)) as bar:
        enhancer = Enhancer(weights, device=device, threads=threads, progress=bar.within)
        enhancer.check(settings)
        for outcome in jobs.run(planned, enhancer, settings):
            bar.advance()
            failures += outcome.error is not None
            bar.say(told(outcome), failed=outcome.error is not None)
    if failures:
        raise typer.Exit(FAILED)


def told(outcome: Any) -> str:
    """One line about what became of a file, and one for each remark about it."""
    job, report = outcome.job, outcome.report
    if outcome.error:
        return f"mirnet: {outcome.error}"
    if outcome.skipped:
        return f"{job.target}: is there already, left alone (--overwrite replaces it)"
    line = (
        f"{job.source} -> {job.target}  {report.width}x{report.height}  "
        f"{report.stops:+.1f} stops  {report.seconds:.2f} s"
    )
    return "\n".join([line, *(f"  {remark}" for remark in report.remarks)])
