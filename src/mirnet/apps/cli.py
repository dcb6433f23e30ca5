"""The command line: `mirnet enhance`, `evaluate`, `train`, `runs`, `data`, `export`, `weights`, `info`.

Only typer is loaded here; what a command needs is imported inside it, so that `mirnet --help` answers at once.
"""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer

from mirnet.apps.data import data
from mirnet.apps.evaluate import evaluate
from mirnet.apps.options import Denoise, Device, Exposure, KeepExposure, Strength, Threads, WeightsOption, parse_denoise
from mirnet.apps.progress import progress_bar
from mirnet.apps.runs import runs
from mirnet.apps.train import train
from mirnet.errors import Cancelled, DataError, MirnetError, SettingsError, WeightsError

app = typer.Typer(
    name="mirnet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would take longer to load than the rest together
)

REFUSED, FAILED, INTERRUPTED = 2, 1, 130

WHERE = "A file, or a folder for several.  [default: NAME.bright.EXT beside each original]"


class _Interrupted(BaseException):
    """Ctrl-C. No Exception, so that no library on the way takes it for a failure of its own."""


def main() -> NoReturn:
    """Run the command line and end the process: 0 done, 1 failed on the way, 2 refused before work, 130 interrupted."""
    signal.signal(signal.SIGINT, _interrupted)
    try:
        app()
    except (Cancelled, _Interrupted) as error:
        _end(error, INTERRUPTED)
    except (SettingsError, WeightsError, DataError) as error:
        _end(error, REFUSED)
    except MirnetError as error:
        _end(error, FAILED)
    except OSError as error:  # of a file that nobody thought of: still a sentence
        _end(MirnetError(f"{error.filename or 'a file'}: {error.strerror}; check the disk and the path."), FAILED)
    sys.exit(0)


def _end(error: MirnetError | _Interrupted, code: int) -> NoReturn:
    if not (isinstance(error, MirnetError) and error.told):
        sentence = f"{error}" or "Interrupted; what was finished stays, nothing is left half-done."
        typer.echo(f"mirnet: {sentence}", err=True)
    sys.exit(code)


def _interrupted(number: int, frame: FrameType | None) -> NoReturn:
    raise _Interrupted


def _show_version(asked: bool) -> None:
    if asked:
        import mirnet

        typer.echo(f"mirnet {mirnet.__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Brighten and denoise dark photographs with MIRNet, on your own machine."""


@app.command()
def enhance(
    inputs: Annotated[list[Path], typer.Argument(metavar="IN...", help="Pictures, and folders of pictures.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="OUT", help=WHERE)] = None,
    strength: Strength = 1.0,
    exposure: Exposure = 0.0,
    keep_exposure: KeepExposure = False,
    denoise: Denoise = "auto",
    quality: Annotated[int, typer.Option(help="Of JPEG and lossy WebP files, 1 to 100.")] = 92,
    provenance: Annotated[bool, typer.Option(help="Say in the file's XMP what made it.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier results, never an original.")] = False,
    weights: WeightsOption = "lite",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:  # fmt: skip
    """Brighten and denoise pictures; the originals are never touched."""
    from mirnet.inference import jobs
    from mirnet.inference.enhancer import Enhancer
    from mirnet.inference.settings import Settings

    settings = Settings(
        strength=strength, exposure=exposure, keep_exposure=keep_exposure, denoise=parse_denoise(denoise),
        quality=quality, provenance=provenance, overwrite=overwrite,
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


@app.command()
def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, or a checkpoint file, ours or published.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.onnx; the card NAME.json goes beside it.")],
    last: Annotated[bool, typer.Option("--last", help="The newest weights of a run instead of its best.")] = False,
    about: Annotated[Path | None, typer.Option(help="JSON for the card: data, licence, known_failures, …")] = None,
) -> None:
    """Turn a run or a checkpoint into weights.

    They are two files, NAME.onnx and its card NAME.json, for `mirnet enhance --weights NAME.onnx`.
    """
    from mirnet.apps.extras import needs

    with needs("train"):
        from mirnet.training import export as exporting
    exported = exporting.export(source, output, last=last, about=about)
    card = exported.card
    typer.echo(
        f"{exported.onnx}  {exported.onnx.stat().st_size / 1e6:.1f} MB  {card.parameters:,} parameters  "
        f"{card.kflop_per_px:g} kFLOP/px  overlap {card.overlap_px} px  parity {card.export['parity']:.1g}"
    )


@app.command()
def weights() -> None:
    """List the installed weights and what their cards say."""
    from mirnet.inference.catalog import FOLDER, list_weights

    found = list_weights()
    if not found:
        raise WeightsError(f"There are no weights in {FOLDER}; reinstall mirnet.")
    for each in found:
        card, megabytes = each.card, each.path.stat().st_size / 1e6
        typer.echo(f"{card.name}  {card.parameters:,} parameters  {megabytes:.1f} MB  {card.kflop_per_px:g} kFLOP/px")
        for name, score in card.scores.items():
            typer.echo(f"  {name:20} {score:.3f}")
        for what, said in (("protocol", card.protocol), ("licence", card.licence), ("source", card.source)):
            typer.echo(f"  {what}: {said or 'not stated'}")
        for failure in card.known_failures:
            typer.echo(f"  weak: {failure}")


@app.command()
def info() -> None:
    """Versions, runtime and devices, for bug reports."""
    import platform

    import mirnet
    from mirnet import images
    from mirnet.inference import runtimes

    typer.echo(f"mirnet {mirnet.__version__}")
    typer.echo(f"python {platform.python_version()} on {platform.platform()}, {runtimes.cores()} cores")
    for line in (*runtimes.versions(), *images.versions()):
        typer.echo(line)


app.command()(evaluate)
app.command()(train)
app.command()(runs)
app.add_typer(data, name="data")
