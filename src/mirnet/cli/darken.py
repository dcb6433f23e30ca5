"""`mirnet data darken`: the command, and what it says."""

from pathlib import Path
from typing import Annotated

import typer

from mirnet.cli.figure_files import check_figure
from mirnet.cli.progress import progress_bar
from mirnet.errors import DataError
from mirnet.extras import needs


def darken(
    photos: Annotated[Path, typer.Argument(help="A folder of good, bright photos.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DATA", help="A new folder for the pairs.")],
    stops: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="How much darker, in stops: from LOW to HIGH.  [default: 1 7]"),
    ] = None,
    noise_only: Annotated[
        bool, typer.Option("--noise-only", help="Make pairs for denoising: noise without a change of brightness.")
    ] = False,
    sigma: Annotated[
        float | None,
        typer.Option(help="With --noise-only: only Gaussian noise of this sigma, of 255.  [default: all kinds]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal images.")] = 0,
    sheet: Annotated[Path | None, typer.Option(help="A PNG of photos, dark images and details.")] = None,
) -> None:
    """Make pairs of good photos: a synthetic low-light image of each, as a camera would have taken it.

    DATA gets low/, high/ and darken.json, which states what was drawn for each image. The photos stay as they are.
    """
    with needs("train"):
        from mirnet.datasets import darkened_folder as darkening
        from mirnet.datasets.darkened_sheet import DarkenedSheet

    check_figure(sheet, "sheet")
    found = darkening.photos_of(photos, output)
    looked_at = DarkenedSheet(len(found))
    unusable: list[DataError] = []
    with progress_bar("darkening", 1) as bar:

        def left_out(error: DataError) -> None:
            unusable.append(error)
            bar.say(f"mirnet: {error}", failed=True)

        pairs = darkening.darken(
            found, output, seed=seed, stops=stops, noise_only=noise_only, sigma=sigma, left_out=left_out,
            progress=bar.within, seen=looked_at.add if sheet else lambda pair: None,
        )  # fmt: skip
    if sheet:
        looked_at.save(sheet)
    others = f", {len(unusable)} photos left out" if unusable else ""
    typer.echo(f"{output}: {len(pairs)} pairs{others}. Train with: mirnet train {output} --run-dir RUN")
    if unusable:
        raise typer.Exit(1)
