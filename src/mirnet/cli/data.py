"""`mirnet data`: what concerns the images themselves, before anything is trained on them."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirnet.cli.darken import darken
from mirnet.cli.progress import progress_bar
from mirnet.errors import DataError, SettingsError
from mirnet.extras import needs
from mirnet.files import write_whole
from mirnet.pairs import Pair, PairListing, find_pairs, list_pairs, refuse_empty

if TYPE_CHECKING:
    from mirnet.datasets.checks import Finding

data = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Check and split data sets before training, or make pairs of good photos.",
)

Data = Annotated[Path, typer.Argument(help="A folder of pairs, a list of them (CSV), or the dark images.")]
Bright = Annotated[Path | None, typer.Argument(help="The bright images, where DATA has the dark ones.")]
Names = Annotated[Path | None, typer.Option(help="A text file that chooses pairs of DATA, one name a line.")]


@data.command()
def check(
    data: Data,
    bright: Bright = None,
    names: Names = None,
    val: Annotated[Path | None, typer.Option(help="Pairs to validate on; scenes on both sides are found.")] = None,
    val_names: Annotated[Path | None, typer.Option(help="The same for validation; without --val, of DATA.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="A folder for a page, sheets and JSON; replaces a report.")
    ] = None,
) -> None:
    """Find what would spoil training: broken, swapped, shifted and wrong pairs, duplicates, leaks.

    Each finding is one line. The exit code is 1 if there is an error among them, 0 if there are warnings at most.
    """
    with needs("train"):
        from mirnet.datasets import check_report as reports
        from mirnet.datasets import checks as checking

    training = list_pairs(data, bright, names)
    validation = None
    if val is not None or val_names is not None:
        validation = list_pairs(data, bright, val_names) if val is None else list_pairs(val, names=val_names)
    if val is None and validation is not None and names is None:  # as `train` has it: what validates is not trained on
        held_out = {pair.name for pair in validation.pairs} | {lone.name for lone in validation.lone}
        training = _without(training, held_out)
    for side in (training, *([validation] if validation else [])):
        refuse_empty(side)
    if report is not None:
        _refuse_inside(report, [data, bright, val], training, validation)
        reports.check_folder(report)
    with progress_bar("checking", 1) as bar:
        findings = checking.check(training, validation, bar.within)
    for finding in findings:
        typer.echo(finding.line)
    typer.echo(_summary(training, validation, findings), err=True)
    if report is not None:
        about: dict[str, object] = {"training": str(data), "training_pairs": len(training.pairs)}
        if validation is not None:
            about |= {"validation": str(val or data), "validation_pairs": len(validation.pairs)}
        with progress_bar("drawing sheets", 1) as bar:
            reports.write_report(report, findings, about, bar.within)
        typer.echo(f"Report: {report / reports.PAGE}", err=True)
    if checking.counts(findings)["errors"]:
        raise typer.Exit(1)


def _without(found: PairListing, names: set[str]) -> PairListing:
    return PairListing(
        found.source,
        [pair for pair in found.pairs if pair.name not in names],
        [lone for lone in found.lone if lone.name not in names],
        [duplicates for duplicates in found.duplicates if duplicates.name not in names],
    )


def _refuse_inside(output: Path, given: list[Path | None], *listings: PairListing | None) -> None:
    """Nothing is written where the images are: not in DATA, nor in the folders that a list names. SettingsError."""
    pairs = [pair for found in listings if found for pair in found.pairs]
    folders = {path for path in given if path and path.is_dir()}
    folders |= {file.parent for pair in pairs for file in (pair.dark, pair.bright)}
    place = output.resolve()
    for folder in sorted(folders):
        if place.is_relative_to(folder.resolve()):
            raise SettingsError(
                f"{output}: lies in the data, {folder}, where nothing is written; choose another folder."
            )


def _summary(training: PairListing, validation: PairListing | None, findings: "list[Finding]") -> str:
    from mirnet.datasets.checks import counts

    counted = counts(findings)
    more = f" and {len(validation.pairs)} to validate on" if validation else ""
    return f"{len(training.pairs)} pairs{more}: {counted['errors']} errors, {counted['warnings']} warnings."


@data.command()
def split(
    data: Data,
    bright: Bright = None,
    names: Names = None,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where train.txt and val.txt go.")
    ] = Path(),
) -> None:
    """Split pairs into training and validation so that no scene is on both sides: train.txt and val.txt.

    For `mirnet train DATA --names train.txt --val-names val.txt`. A tenth validates; the choice depends on the
    images and their names alone.
    """
    with needs("train"):
        from mirnet.datasets.scene_split import split_by_scene

    pairs = find_pairs(data, bright, names)
    _refuse_inside(output, [data, bright], PairListing("", pairs))
    targets = [output / name for name in ("train.txt", "val.txt")]
    _refuse_unwritable(output, targets)
    with progress_bar("looking for scenes", 1) as bar:
        training, validation = split_by_scene(pairs, bar.within)
    if not validation:
        raise DataError(f"{data}: all {len(pairs)} pairs show one scene, which can't be split; add other scenes.")
    for target, side in zip(targets, (training, validation), strict=True):
        _write_names(target, side)
        typer.echo(f"{target}: {len(side)} pairs")


def _refuse_unwritable(folder: Path, targets: list[Path]) -> None:
    """Raises SettingsError before images are read for nothing."""
    if not folder.is_dir():
        raise SettingsError(f"{folder}: there is no such folder for train.txt and val.txt; make it first.")
    there = [str(target) for target in targets if os.path.lexists(target)]
    if there:
        raise SettingsError(f"{' and '.join(there)}: already there, left alone; choose another folder with -o.")


def _write_names(target: Path, pairs: list[Pair]) -> None:
    """One name a line. Raises SettingsError where a file has appeared meanwhile, DataError for a name of two lines."""
    odd = next((pair for pair in pairs if pair.name.splitlines() != [pair.name]), None)
    if odd is not None:
        raise DataError(f"{odd.dark!r}: its name holds a line break, so no list can name it; rename the pair.")
    try:
        write_whole(target, "".join(f"{pair.name}\n" for pair in pairs).encode(), overwrite=False)
    except FileExistsError as error:
        raise SettingsError(f"{target}: has appeared meanwhile, left alone; choose another folder with -o.") from error


data.command()(darken)
