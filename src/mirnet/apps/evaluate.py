"""`mirnet evaluate`: the command, and the table that it prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirnet.apps.options import Denoise, Device, Exposure, KeepExposure, Strength, Threads, WeightsOption, parse_denoise
from mirnet.apps.progress import progress_bar
from mirnet.errors import SettingsError

if TYPE_CHECKING:
    from mirnet.inference.evaluate import Evaluation


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
