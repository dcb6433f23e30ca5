"""The same few crops of validation images at each validation, and the figure that shows them over time."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from mirnet import metrics
from mirnet.datasets.reading import read_rgb, to_unit
from mirnet.network import SceneNetwork
from mirnet.pairs import Pair
from mirnet.training.runs.folder import RunFolder
from mirnet.training.validation import renderer

CROPS = 4
CROP_PX = 160
MOST_STEPS = 8  # in the figure; the folder keeps all
GAP_PX, TEXT_PX, LABELS_PX = 8, 18, 96
DOTS_PER_INCH = 100

Rows = dict[str, list[metrics.ImageArray]]  # crops by what they show


def add(run: RunFolder, network: SceneNetwork, pairs: Sequence[Pair], step: int, device: torch.device) -> None:
    """Keep how the network restores the middles of up to four validation images at this step.

    The whole image is restored and then cut, for its exposure is proposed and its statistics are pooled from all of
    it: the crop is what a person would get. That costs at most as much as to validate four images.
    """
    if not run.writes:
        return
    pairs = _chosen(pairs)
    _remember(run, pairs)
    crops = [_square(_middle(renderer(network, _picture(pair.dark), device)(0.0))) for pair in pairs]
    content = io.BytesIO()
    Image.fromarray(np.round(np.concatenate(crops, 1) * 255).astype(np.uint8)).save(content, "PNG")
    run.write(f"strip/{step:08d}.png", content.getvalue())


def shown(run: RunFolder) -> list[Pair]:
    """The validation pairs that the figures show; none before the first validation, or where an image has moved."""
    index = run.path / "strip" / "pairs.json"
    if not index.exists():
        return []
    pairs = [Pair(name, Path(dark), Path(bright)) for name, dark, bright in json.loads(index.read_text("utf-8"))]
    return pairs if all(pair.dark.exists() and pair.bright.exists() for pair in pairs) else []


def figure(run: RunFolder) -> Figure | None:
    """A column for each crop: dark, then up to eight steps down to the newest, then the target; None before the first.

    Only steps whose validation is in the log are shown: a run that was killed and went back has no other past.
    """
    pairs, files = shown(run), _evenly(_logged(run))
    if not pairs or not files:
        return None
    truth = [_middle(_picture(pair.bright)) for pair in pairs]
    rows: Rows = {"dark": [_middle(_picture(pair.dark)) for pair in pairs]}
    for file in files:
        squares = np.split(_picture(file), len(pairs), axis=1)
        rows[f"step {int(file.stem)}"] = [
            square[: true.shape[0], : true.shape[1]] for square, true in zip(squares, truth, strict=True)
        ]
    return _laid_out([pair.name for pair in pairs], rows | {"truth": truth}, truth)


def _laid_out(names: Sequence[str], rows: Rows, truth: Sequence[metrics.ImageArray]) -> Figure:
    """Crops pixel for pixel, since noise is what one looks for, each with its PSNR."""
    column_px, row_px, head_px = CROP_PX + GAP_PX, CROP_PX + TEXT_PX + GAP_PX, TEXT_PX + GAP_PX
    width, height = LABELS_PX + column_px * len(names) + GAP_PX, head_px + row_px * len(rows) - TEXT_PX
    drawn = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)

    def write(text: str, left: float, top: float, **style: object) -> None:
        drawn.text(left / width, 1 - top / height, text, va="center", **style)  # type: ignore[arg-type]

    for column, name in enumerate(names):
        middle = LABELS_PX + column * column_px + CROP_PX / 2
        write(name if len(name) <= 24 else f"…{name[-23:]}", middle, head_px / 2, ha="center", fontsize=8)
    for row, (label, crops) in enumerate(rows.items()):
        top = head_px + row * row_px
        write(label, LABELS_PX - 10, top + CROP_PX / 2, ha="right", fontsize=9)
        for column, (crop, true) in enumerate(zip(crops, truth, strict=True)):
            left = LABELS_PX + column * column_px
            down, across = ((CROP_PX - side) // 2 for side in crop.shape[:2])  # smaller images stand in the middle
            drawn.figimage(crop, left + across, height - top - down - crop.shape[0], origin="upper")
            if crop is not true:
                said = f"{metrics.psnr(crop, true):.2f} dB"
                write(said, left + CROP_PX / 2, top + CROP_PX + TEXT_PX / 2, ha="center", fontsize=8, color="0.35")
    return drawn


def _remember(run: RunFolder, pairs: Sequence[Pair]) -> None:
    """Write down which pairs are shown; crops of other images, shown before an --override, are dropped."""
    folder = run.path / "strip"
    folder.mkdir(exist_ok=True)
    if [pair.name for pair in shown(run)] != [pair.name for pair in pairs]:
        for file in folder.glob("*.png"):
            file.unlink()
    index = [(pair.name, str(pair.dark.resolve()), str(pair.bright.resolve())) for pair in pairs]
    run.write("strip/pairs.json", json.dumps(index, indent=1, ensure_ascii=False).encode())


def _logged(run: RunFolder) -> list[Path]:
    """The rows of crops whose validation is in the log, by step."""
    steps = {row["step"].zfill(8) for row in run.rows() if row["phase"] == "restorer" and row["psnr"]}
    return [file for file in sorted((run.path / "strip").glob("*.png")) if file.stem in steps]


def _evenly(files: Sequence[Path]) -> list[Path]:
    return [files[round(place)] for place in np.linspace(0, len(files) - 1, min(MOST_STEPS, len(files)))]


def _chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """Up to four, evenly."""
    count = min(CROPS, len(pairs))
    return [pairs[number * len(pairs) // count] for number in range(count)]


def _picture(path: Path) -> metrics.ImageArray:
    return to_unit(read_rgb(path))


def _middle(picture: metrics.ImageArray) -> metrics.ImageArray:
    top, left = (max(0, (side - CROP_PX) // 2) for side in picture.shape[:2])
    return picture[top : top + CROP_PX, left : left + CROP_PX]


def _square(crop: metrics.ImageArray) -> metrics.ImageArray:
    return np.pad(crop, [(0, CROP_PX - side) for side in crop.shape[:2]] + [(0, 0)])
