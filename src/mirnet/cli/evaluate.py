"""`mirnet evaluate`: scores of weights and of other programs' results on pairs of images."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirnet.cli.figure_files import check_figure, write_figure
from mirnet.cli.options import Denoise, Device, Exposure, KeepExposure, Strength, Threads
from mirnet.cli.progress import progress_bar
from mirnet.errors import SettingsError
from mirnet.extras import needs

if TYPE_CHECKING:
    from mirnet.evaluation.methods import Method, PairFolder
    from mirnet.evaluation.score_sheet import ScoreSheet
    from mirnet.evaluation.scores import ColourDifference, EvaluationsByFolder


def evaluate(
    dark: Annotated[Path, typer.Argument(help="Dark photos; or a folder, or a list, of pairs, as for training.")],
    bright: Annotated[Path | None, typer.Argument(help="Their bright partners, with the same stems.")] = None,
    also: Annotated[list[Path] | None, typer.Option(help="Another folder of pairs; may be repeated.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Names of installed weights, or paths NAME.onnx; repeat to compare.  [default: lite]"),
    ] = None,
    results: Annotated[
        list[Path] | None, typer.Option(help="A folder of finished images, by any program; may be repeated.")
    ] = None,
    names: Annotated[Path | None, typer.Option(help="A text file that chooses pairs, one name a line.")] = None,
    scenes: Annotated[
        Path | None, typer.Option(help="A CSV of pair names and their scenes.  [default: folders below the dark ones]")
    ] = None,
    strength: Strength = 1.0,
    exposure: Exposure = 0.0,
    keep_exposure: KeepExposure = False,
    denoise: Denoise = "auto",
    colour: Annotated[
        bool | None,
        typer.Option("--colour/--no-colour", help="Measure the colour difference.  [default: if installed]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON on standard output.")] = False,
    sheet: Annotated[
        Path | None, typer.Option(help="A PNG of dark images, results and ground truth, worst first.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="A PNG with a point for each image: two methods' PSNR.")] = None,
    device: Device = "cpu",
    threads: Threads = None,
) -> None:
    """Score `enhance` on pairs of images: several weights, folders and other programs' results side by side.

    Every number follows a stated protocol, which is printed with them.
    """
    from mirnet.evaluation.json_report import to_json
    from mirnet.evaluation.methods import load_methods, load_pair_folders
    from mirnet.evaluation.score_sheet import ScoreSheet
    from mirnet.evaluation.text_report import to_text
    from mirnet.inference.settings import Settings, parse_denoise

    settings = Settings(strength, exposure, keep_exposure, parse_denoise(denoise))
    folders = load_pair_folders([(dark, bright), *((folder, None) for folder in also or [])], names, scenes)
    for path, what in ((sheet, "sheet"), (plot, "plot")):
        check_figure(path, what)
    if plot:
        with needs("evaluate"):
            from mirnet.evaluation import plots
    difference, missing = _load_colour_difference(colour)
    weights = weights or ([] if results else ["lite"])
    methods = load_methods(weights, results or [], settings, device, threads, folders)
    score_sheet = ScoreSheet() if sheet else None
    scored = _score(folders, methods, difference, score_sheet)
    typer.echo(json.dumps(to_json(scored, missing), indent=2, allow_nan=False) if as_json else to_text(scored, missing))
    if sheet and score_sheet:
        score_sheet.save(sheet, scored)
    if plot:
        write_figure(plot, plots.draw_psnr(scored))


def _load_colour_difference(wanted: bool | None) -> "tuple[ColourDifference | None, str]":
    """The colour difference, or why it is not measured. Raises SettingsError where it is wanted but not installed."""
    if wanted is False:
        return None, "--no-colour was given"
    try:
        with needs("evaluate"):
            from mirnet.evaluation.colour_difference import ciede2000
    except SettingsError as error:
        if wanted:
            raise
        return None, f"{error}"
    return ciede2000, ""


def _score(folders: "Sequence[PairFolder]", methods: "Sequence[Method]", colour: "ColourDifference | None",
           sheet: "ScoreSheet | None") -> "EvaluationsByFolder":  # fmt: skip
    """Score every method on every folder of pairs, with a progress bar."""
    scored: EvaluationsByFolder = {}
    with progress_bar("evaluating", len(folders) * len(methods)) as bar:
        for folder in folders:
            scored[folder.name] = []
            for method in methods:
                observer = partial(sheet.add, folder.name, method.name) if sheet else None
                scored[folder.name].append(method.score(folder, colour, bar.within, observer))
                bar.advance()
    return scored
