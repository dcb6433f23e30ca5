"""The same few crops of validation images at each validation, and the figure that shows them over time."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mirnet import metrics
from mirnet.datasets.reading import read_rgb, to_unit
from mirnet.evaluation.contact_sheet import (
    Cell,
    Row,
    draw_contact_sheet,
    middle_of,
    spread_evenly,
    to_8_bit,
    to_png,
)
from mirnet.network import SceneNetwork
from mirnet.pairs import Pair
from mirnet.training.runs.folder import RunFolder
from mirnet.training.validation import renderer

CROPS = 4
CROP_PX = 160
MOST_STEPS = 8  # in the figure; the folder keeps all


def save_crops(run: RunFolder, network: SceneNetwork, pairs: Sequence[Pair], step: int, device: torch.device) -> None:
    """Keep how the network restores the middles of up to four validation images at this step.

    The whole image is restored and then cut, for its exposure is proposed and its statistics are pooled from all of
    it: the crop is what a person would get. That costs at most as much as to validate four images.
    """
    if not run.writes:
        return
    pairs = _chosen(pairs)
    _remember(run, pairs)
    crops = [_square(_middle(renderer(network, _image(pair.dark), device)(0.0))) for pair in pairs]
    run.write(f"strip/{step:08d}.png", to_png(to_8_bit(np.concatenate(crops, 1))))


def shown_pairs(run: RunFolder) -> list[Pair]:
    """The validation pairs that the figures show; none before the first validation, or where an image has moved."""
    index = run.path / "strip" / "pairs.json"
    if not index.exists():
        return []
    pairs = [Pair(name, Path(dark), Path(bright)) for name, dark, bright in json.loads(index.read_text("utf-8"))]
    return pairs if all(pair.dark.exists() and pair.bright.exists() for pair in pairs) else []


def draw_strip(run: RunFolder) -> bytes | None:
    """The PNG of the crops over time; None before the first validation."""
    rows = make_rows(run)
    return None if rows is None else to_png(draw_contact_sheet(rows))


def make_rows(run: RunFolder) -> list[Row] | None:
    """The rows of the strip: a column for each crop, from dark over up to eight steps to the ground truth.

    Only steps whose validation is in the log are shown: a run that was killed and went back has no other past. None
    before the first.
    """
    pairs, files = shown_pairs(run), _logged(run)
    files = [files[place] for place in spread_evenly(len(files), MOST_STEPS)] if files else []
    if not pairs or not files:
        return None
    truth = [_middle(_image(pair.bright)) for pair in pairs]
    rows = [Row([Cell(to_8_bit(_middle(_image(pair.dark))), f"{pair.name}: dark") for pair in pairs])]
    for file in files:
        squares = np.split(_image(file), len(pairs), axis=1)
        crops = [square[: true.shape[0], : true.shape[1]] for square, true in zip(squares, truth, strict=True)]
        captions = [f"{metrics.psnr(crop, true):.2f} dB" for crop, true in zip(crops, truth, strict=True)]
        rows.append(Row([Cell(to_8_bit(crop), "", caption) for crop, caption in zip(crops, captions, strict=True)],
                        f"step {int(file.stem)}"))  # fmt: skip
    rows.append(Row([Cell(to_8_bit(crop)) for crop in truth], "ground truth"))
    return rows


def _remember(run: RunFolder, pairs: Sequence[Pair]) -> None:
    """Write down which pairs are shown; crops of other images, shown before an --override, are dropped."""
    folder = run.path / "strip"
    folder.mkdir(exist_ok=True)
    if [pair.name for pair in shown_pairs(run)] != [pair.name for pair in pairs]:
        for file in folder.glob("*.png"):
            file.unlink()
    index = [(pair.name, str(pair.dark.resolve()), str(pair.bright.resolve())) for pair in pairs]
    run.write("strip/pairs.json", json.dumps(index, indent=1, ensure_ascii=False).encode())


def _logged(run: RunFolder) -> list[Path]:
    """The rows of crops whose validation is in the log, by step."""
    steps = {row["step"].zfill(8) for row in run.rows() if row["phase"] == "restorer" and row["psnr"]}
    return [file for file in sorted((run.path / "strip").glob("*.png")) if file.stem in steps]


def _chosen(pairs: Sequence[Pair]) -> list[Pair]:
    """Up to four, evenly."""
    count = min(CROPS, len(pairs))
    return [pairs[number * len(pairs) // count] for number in range(count)]


def _image(path: Path) -> metrics.ImageArray:
    return to_unit(read_rgb(path))


def _middle(image: metrics.ImageArray) -> metrics.ImageArray:
    return middle_of(image, CROP_PX)


def _square(crop: metrics.ImageArray) -> metrics.ImageArray:
    return np.pad(crop, [(0, CROP_PX - side) for side in crop.shape[:2]] + [(0, 0)])
