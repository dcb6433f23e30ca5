"""Step (6) of the pipeline: the result graphs of a run, drawn from what its folder holds."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mirnet import images, metrics
from mirnet.network import SceneNetwork, checkpoints
from mirnet.pairs import Pair, find_pairs
from mirnet.training.data import read_rgb, to_unit
from mirnet.training.run_folder import RunFolder
from mirnet.training.validation import renderer

SHEET_ROWS = 4
STRIP_PX = 160
SMOOTH_ROWS = 20  # of the log, averaged in the curves of training
Curve = tuple[list[float], list[float]]  # steps and values


def draw(run_dir: Path, device: torch.device = torch.device("cpu")) -> list[Path]:  # noqa: B008  a device is a constant
    """Draw the run's figures as PNG into its folder, again at any time; gives their paths.

    `curves.png`: loss and PSNR of training and validation, SSIM, learning rate. `head.png`: the exposure
    head's loss. `sheet.png`: dark | result | truth of up to four validation pairs, by the best network.
    """
    run = RunFolder(Path(run_dir))
    drawn = {}
    rows = run.rows()
    if any(row["phase"] == "restorer" for row in rows):
        drawn["curves.png"] = _curves([row for row in rows if row["phase"] == "restorer"])
    if any(row["phase"] == "head" for row in rows):
        drawn["head.png"] = _head_curves([row for row in rows if row["phase"] == "head"])
    pairs = validation_pairs(run)
    if run.best.exists() and pairs:
        drawn["sheet.png"] = _sheet(run, pairs, device)
    for name, figure in drawn.items():
        content = io.BytesIO()
        FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
        run.write(name, content.getvalue())
    return [run.path / name for name in drawn]


def add_to_strip(run: RunFolder, network: SceneNetwork, pairs: Sequence[Pair], step: int, device: torch.device) -> None:
    """Keep how the network restores the middles of up to four validation pictures at this step, for `strip.png`."""
    folder = run.path / "strip"
    folder.mkdir(exist_ok=True)
    row = []
    for pair in _chosen(pairs):
        crop = np.ascontiguousarray(_middle(to_unit(read_rgb(pair.dark))))
        result = renderer(network, crop, device)(0.0)
        row.append(np.pad(result, [(0, STRIP_PX - side) for side in result.shape[:2]] + [(0, 0)]))
    images.write_image(folder / f"{step:08d}.png", np.concatenate(row, 1), overwrite=True)


def _middle(picture: metrics.Picture) -> metrics.Picture:
    top, left = (max(0, (side - STRIP_PX) // 2) for side in picture.shape[:2])
    return picture[top : top + STRIP_PX, left : left + STRIP_PX]


def _chosen(pairs: Sequence[Pair]) -> list[Pair]:
    count = min(SHEET_ROWS, len(pairs))
    return [pairs[number * len(pairs) // count] for number in range(count)]


def validation_pairs(run: RunFolder) -> list[Pair]:
    """The pairs on which a run validates, as its folder says; none where it doesn't."""
    where = run.about().get("data", {}).get("validation")
    return find_pairs(Path(where["dark"]), Path(where["bright"]), run.path / "val.txt") if where else []


def _curves(rows: Sequence[dict[str, str]]) -> Figure:
    figure = Figure(figsize=(11, 8), layout="constrained")
    (loss, psnr), (ssim, rate) = figure.subplots(2, 2)
    _plot(loss, "training", _curve(rows, "loss"), smooth=True)
    _plot(loss, "validation", _curve(rows, "validation_loss"))
    _plot(psnr, "training crops", _curve(rows, "train_psnr"), smooth=True)
    _plot(psnr, "validation", _curve(rows, "psnr"))
    _plot(psnr, "validation, at the truth's exposure", _curve(rows, "psnr_true_exposure"))
    _plot(psnr, "validation, GT-mean", _curve(rows, "psnr_gt_mean"))
    _plot(ssim, "validation", _curve(rows, "ssim"))
    _plot(ssim, "validation, at the truth's exposure", _curve(rows, "ssim_true_exposure"))
    _plot(rate, "", _curve(rows, "learning_rate"))
    for axes, title in ((loss, "loss"), (psnr, "PSNR, dB"), (ssim, "SSIM"), (rate, "learning rate")):
        _finish(axes, title)
    if _curve(rows, "loss")[0]:
        loss.set_yscale("log")
    return figure


def _head_curves(rows: Sequence[dict[str, str]]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    loss, rate = figure.subplots(1, 2)
    _plot(loss, "training", _curve(rows, "loss"), smooth=True)
    _plot(rate, "", _curve(rows, "learning_rate"))
    _finish(loss, "loss of the exposure head")
    _finish(rate, "learning rate")
    return figure


def _curve(rows: Sequence[dict[str, str]], column: str) -> Curve:
    known = [row for row in rows if row[column]]
    return [float(row["step"]) for row in known], [float(row[column]) for row in known]


def _plot(axes: Axes, label: str, curve: Curve, smooth: bool = False) -> None:
    steps, values = curve
    if not steps:
        return
    if not smooth or len(values) < 2 * SMOOTH_ROWS:
        axes.plot(steps, values, label=label, marker="o" if len(steps) < 40 else None, markersize=3)
        return
    (line,) = axes.plot(steps, values, alpha=0.25, linewidth=0.8)  # one batch says little
    mean = np.convolve(values, np.full(SMOOTH_ROWS, 1 / SMOOTH_ROWS), "valid")
    axes.plot(steps[SMOOTH_ROWS - 1 :], mean, label=label, color=line.get_color())


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()


def _sheet(run: RunFolder, pairs: Sequence[Pair], device: torch.device) -> Figure:
    with torch.random.fork_rng(devices=[]):  # a network's first weights are drawn, before the file's replace them
        network = checkpoints.load(run.best).to(device)
    chosen = _chosen(pairs)
    count = len(chosen)
    figure = Figure(figsize=(12, 2.9 * count), layout="constrained")
    for row, pair in zip(figure.subplots(count, 3, squeeze=False), chosen, strict=True):
        dark, truth = to_unit(read_rgb(pair.dark)), to_unit(read_rgb(pair.bright))
        result = renderer(network, dark, device)(0.0)
        titles = (f"{pair.name}: dark", f"result, {metrics.psnr(result, truth):.2f} dB", "truth")
        for axes, picture, title in zip(row, (dark, result, truth), titles, strict=True):
            axes.imshow(picture)
            axes.set_title(title, fontsize=9)
            axes.set_axis_off()
    return figure
