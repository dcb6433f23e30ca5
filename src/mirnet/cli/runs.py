"""`mirnet runs`: what was trained, how far and how well; and two runs in one figure."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mirnet.cli.figure_files import check_figure, write_figure
from mirnet.errors import SettingsError
from mirnet.evaluation.text_table import align_columns
from mirnet.extras import needs

if TYPE_CHECKING:
    from mirnet.training.runs.summary import Run

HEADINGS = ["run", "state", "preset", "recipe", "steps", "hours", "samples", "Mpx", "PSNR", "SSIM", "GT-mean",
            "at truth's exposure"]  # fmt: skip


def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with run folders in it, at any depth.")],
    compare: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="Two runs by name below DIR, or by path.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The figure of --compare, a PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON on standard output.")] = False,
) -> None:
    """List training runs with their best validation scores; compare two in one figure.

    Scores are of a run's best network on its own validation pairs: compare those of the same pairs only.
    """
    from mirnet.training.runs.summary import NOT_COMPARABLE, differences, find_runs, same_validation

    if compare is None:
        if output:
            raise SettingsError("-o is where the figure of --compare A B goes; name two runs.")
        found, remarks = find_runs(folder)
        if as_json:
            listed = {"folder": str(folder), "runs": [run.to_json() for run in found], "remarks": remarks}
            typer.echo(json.dumps(listed, indent=2))
            return
        for line in (
            align_columns([HEADINGS, *(_cells(run) for run in found)]) if found else [f"{folder}: holds no runs."]
        ):
            typer.echo(line)
        for remark in [*remarks, *(remark for run in found for remark in run.remarks)]:
            typer.echo(f"mirnet: {remark}", err=True)
        return

    if output is None:
        raise SettingsError("--compare A B draws a figure; say where with -o FIGURE.png.")
    check_figure(output, "figure")
    with needs("evaluate"):
        from mirnet.training.runs import comparison
    a, b = (_run(folder, name) for name in compare)
    write_figure(output, comparison.draw(a, b))
    differ = list(differences(a, b))
    comparable = same_validation(a, b)
    if as_json:
        changed = {name: [one, other] for name, one, other in differ}
        both = {"runs": [a.to_json(), b.to_json()], "same_validation": comparable, "differ": changed,
                "figure": str(output)}  # fmt: skip
        typer.echo(json.dumps(both, indent=2))
        return
    lines = [*align_columns([HEADINGS, _cells(a), _cells(b)]), *([] if comparable else [NOT_COMPARABLE]), ""]
    for line in [*lines, *(f"{name}: {one} | {other}" for name, one, other in differ), f"{output}: both runs"]:
        typer.echo(line)


def _run(folder: Path, name: str) -> "Run":
    """Below the folder, else as a path. Raises SettingsError, TrainingError."""
    from mirnet.training.runs.summary import read_run

    for path in (folder / name, Path(name)):
        if path.is_dir():
            return read_run(path, name)
    raise SettingsError(f"{name}: there is no such run in {folder}; `mirnet runs {folder}` lists them.")


def _cells(run: "Run") -> list[str]:
    def score(name: str, decimals: int) -> str:
        return f"{run.best[name]:.{decimals}f}" if name in run.best else "-"

    return [
        run.name, run.state, run.preset, run.recipe, run.progress, f"{run.seconds / 3600:.2f}",
        "-" if run.samples is None else f"{run.samples}", f"{run.crop_pixels / 1e6:.1f}",
        score("psnr", 2), score("ssim", 3), score("psnr_gt_mean", 2), score("psnr_true_exposure", 2),
    ]  # fmt: skip
