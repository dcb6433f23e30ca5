"""The command line: `mirnet enhance`, `evaluate`, `train`, `runs`, `data`, `export`, `serve`, `weights`, `info`.

Only typer is loaded here; what a command needs is imported inside it, so that `mirnet --help` answers at once.
"""

import io
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mirnet.cli.data import data
from mirnet.cli.enhance import enhance
from mirnet.cli.evaluate import evaluate
from mirnet.cli.options import RayMayStandAlone
from mirnet.cli.runs import runs
from mirnet.cli.serve import serve
from mirnet.cli.signals import Interrupted, interrupt
from mirnet.cli.train import train
from mirnet.errors import Cancelled, DataError, MirnetError, SettingsError, WeightsError

app = typer.Typer(
    name="mirnet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would take longer to load than the rest together
)

REFUSED, FAILED, INTERRUPTED = 2, 1, 130


def main() -> NoReturn:
    """Run the command line and end the process: 0 done, 1 failed on the way, 2 refused before work, 130 interrupted."""
    signal.signal(signal.SIGINT, interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what a terminal cannot show
    try:
        app()
    except (Cancelled, Interrupted) as error:
        _end(error, INTERRUPTED)
    except (SettingsError, WeightsError, DataError) as error:
        _end(error, REFUSED)
    except MirnetError as error:
        _end(error, FAILED)
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python's last flush shall not fail, too
        sys.exit(FAILED)
    except OSError as error:  # of a file that no other handler covers: still a sentence
        _end(MirnetError(f"{error.filename or 'a file'}: {error.strerror}; check the disk and the path."), FAILED)
    sys.exit(0)


def _end(error: MirnetError | Interrupted, code: int) -> NoReturn:
    if not (isinstance(error, MirnetError) and error.is_reported):
        sentence = f"{error}" or "Interrupted; what was finished stays, nothing is left half-done."
        typer.echo(f"mirnet: {sentence}", err=True)
    sys.exit(code)


def _show_version(asked: bool) -> None:
    if asked:
        from mirnet._version import __version__

        typer.echo(f"mirnet {__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Brighten and denoise dark photos with MIRNet, on your own machine."""


app.command(cls=RayMayStandAlone)(enhance)  # first in the help, since most people want nothing else
app.command()(serve)


@app.command()
def export(
    source: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, or a checkpoint file, ours or published.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="NAME.onnx; the card NAME.json goes beside it.")],
    last: Annotated[bool, typer.Option("--last", help="The newest weights of a run instead of its best.")] = False,
    about: Annotated[Path | None, typer.Option(help="JSON for the card: data, licence, known_failures, …")] = None,
    int8: Annotated[Path | None, typer.Option(metavar="PICTURES", help="RUN is NAME.onnx: make its int8 weights "
                                              "NAME.int8.onnx, calibrated on a folder of dark images.")] = None,
) -> None:  # fmt: skip
    """Turn a run or a checkpoint into weights.

    They are two files, NAME.onnx and its card NAME.json, for `mirnet enhance --weights NAME.onnx`.
    """
    from mirnet.extras import needs

    with needs("train"):
        from mirnet.export import onnx_export
        from mirnet.export.int8 import quantise
    if int8:
        from mirnet.inference import catalog

        rounded = quantise(catalog.find(source), int8, output)
        typer.echo(f"{rounded.onnx}  {rounded.onnx.stat().st_size / 1e6:.1f} MB")
        return
    exported = onnx_export.export(source, output, last=last, about=about)
    card = exported.card
    typer.echo(
        f"{exported.onnx}  {exported.onnx.stat().st_size / 1e6:.1f} MB  {card.parameters:,} parameters  "
        f"{card.kflop_per_px:g} kFLOP/px  overlap {card.overlap_px} px  parity {card.export['parity']:.1g}"
    )


@app.command(hidden=True, context_settings={"ignore_unknown_options": True})
def average(arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None) -> None:
    """Refuse a command that an earlier version had."""
    raise SettingsError(
        "mirnet average was removed: on our data the mean of two trainings was no better than one of them. Train on "
        "with mirnet train --from RUN instead."
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
        for use, settings in card.uses.items():
            typer.echo(f"  for {use}: mirnet enhance {_as_options(settings)}")
        for failure in card.known_failures:
            typer.echo(f"  weak: {failure}")


def _as_options(settings: dict[str, Any]) -> str:
    """Settings as one types them; a name alone where it is true."""
    given = {f"--{name.replace('_', '-')}": value for name, value in settings.items()}
    return " ".join(name if value is True else f"{name} {value}" for name, value in given.items())


@app.command()
def info() -> None:
    """Versions, runtime and devices, for bug reports."""
    import platform

    from mirnet import images
    from mirnet._version import __version__
    from mirnet.inference import runtimes

    typer.echo(f"mirnet {__version__}")
    typer.echo(f"python {platform.python_version()} on {platform.platform()}, {runtimes.cores()} cores")
    for line in (*runtimes.versions(), *images.versions()):
        typer.echo(line)


app.command()(evaluate)
app.command()(train)
app.command()(runs)
app.add_typer(data, name="data")
