"""The command line: `mirnet enhance`, `evaluate`, `train`, `export`, `weights`, `info`.

Only typer is loaded here; what a command needs is imported inside it, so that `mirnet --help` answers at once.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from mirnet.apps.train import train
from mirnet.errors import Cancelled, DataError, MirnetError, SettingsError, WeightsError

if TYPE_CHECKING:
    from mirnet.inference.evaluate import Evaluation

app = typer.Typer(
    name="mirnet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would take longer to load than the rest together
)

REFUSED, FAILED, INTERRUPTED = 2, 1, 130

WHERE = "A file, or a folder for several.  [default: NAME.bright.EXT beside each original]"
Denoise = Annotated[str, typer.Option(help='How much of the denoising is kept: 0 to 1, or "auto".')]
Strength = Annotated[float, typer.Option(help="0 gives the original, 1 the full effect.")]
Exposure = Annotated[float, typer.Option(help="Stops brighter or darker than proposed, -4 to +4.")]
KeepExposure = Annotated[bool, typer.Option("--keep-exposure", help="Start from 0 stops: denoise only.")]
WeightsOption = Annotated[str, typer.Option(help="The name of installed weights, or a path NAME.onnx.")]
Device = Annotated[str, typer.Option(help="Where the network runs; `mirnet info` lists what is here.")]
Threads = Annotated[int | None, typer.Option(help="Processor threads. Default: all cores.")]


class _Interrupted(BaseException):
    """Ctrl-C. No Exception, so that no library on the way takes it for a failure of its own."""


def main() -> NoReturn:
    """Run the command line and end the process: 0 done, 1 failed on the way, 2 refused before work, 130 interrupted."""
    signal.signal(signal.SIGINT, _interrupted)
    try:
        app()
    except (Cancelled, _Interrupted) as error:
        _end(f"{error}" or "Interrupted; what was finished stays, nothing is left half-done.", INTERRUPTED)
    except (SettingsError, WeightsError, DataError) as error:
        _end(f"{error}", REFUSED)
    except MirnetError as error:
        _end(f"{error}", FAILED)
    except OSError as error:  # of a file that nobody thought of: still a sentence
        _end(f"{error.filename or 'a file'}: {error.strerror}; check the disk and the path.", FAILED)
    sys.exit(0)


def _end(sentence: str, code: int) -> NoReturn:
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

    settings = Settings(strength, exposure, keep_exposure, parse_denoise(denoise), quality, provenance, overwrite)
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
def evaluate(
    dark: Annotated[Path, typer.Argument(help="Dark pictures, or a folder with low/high, input/target or our485.")],
    bright: Annotated[Path | None, typer.Argument(help="Their bright partners, of the same stems.")] = None,
    names: Annotated[Path | None, typer.Option(help="A text file that chooses pairs, one stem a line.")] = None,
    strength: Strength = 1.0,
    exposure: Exposure = 0.0,
    keep_exposure: KeepExposure = False,
    denoise: Denoise = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON on standard output.")] = False,
    sheet: Annotated[Path | None, typer.Option(help="A PNG of pictures, dark | result | truth, worst first.")] = None,
    weights: WeightsOption = "lite",
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Score `enhance` on pairs of pictures.

    Every number by a stated protocol, which is printed with them.
    """
    import json

    from mirnet.inference import evaluate as evaluation
    from mirnet.inference.enhancer import Enhancer
    from mirnet.inference.settings import Settings
    from mirnet.pairs import find_pairs

    settings = Settings(strength, exposure, keep_exposure, parse_denoise(denoise))
    pairs = find_pairs(dark, bright, names)
    if sheet:
        _check_sheet(sheet)
    enhancer = Enhancer(weights, device=device, threads=threads)
    collector = evaluation.Sheet()
    with progress_bar("evaluating", 1) as bar:
        result = evaluation.evaluate(enhancer, pairs, settings, progress=bar.within, seen=collector.add)
    typer.echo(json.dumps(result.to_json(), indent=2, allow_nan=False) if as_json else _table(result))
    if sheet:
        collector.save(sheet, result)


def _check_sheet(path: Path) -> None:
    """Before hours of work: can the sheet be written? Raises SettingsError."""
    if path.suffix.lower() != ".png":
        raise SettingsError(f"{path}: the sheet is a PNG; choose a name that ends in .png.")
    if path.exists():
        raise SettingsError(f"{path}: is there already and is not replaced; choose another name for the sheet.")
    if not path.parent.is_dir():
        raise SettingsError(f"{path}: there is no folder {path.parent} for the sheet; make it first.")


def _table(result: "Evaluation") -> str:
    """Mean and 95 % interval of every column, then every picture, then the protocol."""
    means = result.means
    columns = [name for name in means if name != "stops_error_rms"]  # which no single picture has
    return "\n".join([
        f"{result.weights} on {len(result.scores)} pairs", "",
        *(f"{name:20}{m.mean:9.3f}   95 %: {m.low:.3f} to {m.high:.3f}" for name, m in means.items()), "",
        "  ".join([f"{'picture':20}", *columns]),
        *("  ".join([f"{score.name:20}", *(f"{getattr(score, name):{len(name)}.3f}" for name in columns)])
          for score in result.scores), "",
        f"Protocol: {result.protocol}.",
    ])  # fmt: skip


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


app.command()(train)


def parse_denoise(text: str) -> float | Literal["auto"]:
    """ "auto" or a number. Raises SettingsError."""
    if text == "auto":
        return "auto"
    try:
        return float(text)
    except ValueError as error:
        raise SettingsError(f'denoise is "auto" or a number from 0 to 1, not "{text}".') from error


class Bar:
    """A progress bar over several pictures, with progress within each; lines go above it."""

    def __init__(self, progress: Any, task: Any, total: int) -> None:
        self._progress, self._task, self._total, self._done = progress, task, total, 0

    def within(self, done: float) -> None:
        self._progress.update(self._task, completed=min(self._done + done, self._total))

    def advance(self) -> None:
        self._done += 1
        self.within(0)

    def say(self, line: str, failed: bool) -> None:
        """A result goes to standard output as it is, a failure to standard error; nothing is wrapped or cut."""
        self._progress.stop()
        typer.echo(line, err=failed)
        self._progress.start()


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Bar]:
    """A bar on standard error, shown on a terminal only."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task(what, total=total), total)
