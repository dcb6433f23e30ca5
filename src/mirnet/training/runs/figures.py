"""Step (6) of the pipeline: the result graphs of a run, drawn from what its folder holds."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mirnet import metrics
from mirnet.datasets.reading import read_rgb, to_unit
from mirnet.evaluation.contact_sheet import Cell, Row, draw_contact_sheet, fit_into, to_png
from mirnet.network import checkpoints
from mirnet.pairs import Pair
from mirnet.training import recipes
from mirnet.training.runs import progress_strip
from mirnet.training.runs.folder import STEP_COLUMNS, RunFolder
from mirnet.training.runs.summary import number
from mirnet.training.validation import renderer

SHEET_PX = 400  # of the box that each image of sheet.png fits
SMOOTH_ROWS = 20  # of the log, averaged in the curves of training
FEW = 40  # points that are worth a mark each

Rows = Sequence[Mapping[str, str]]  # of the log
About = Mapping[str, Any]  # run.json
Curve = tuple[list[float], list[float]]  # steps and values


@dataclass(frozen=True)
class Panel:
    """One graph over steps: the log's columns in it, by their names in the legend, each times `factor`."""

    title: str
    curves: Mapping[str, str]
    scale: Literal["free", "logarithmic", "from zero", "percent"] = "free"
    factor: float = 1.0


GRADIENT = Panel("norm of the gradient, before clipping", {"": "gradient_norm"}, "logarithmic")
RATE = Panel("learning rate", {"": "learning_rate"}, "from zero")
RESTORER = (
    Panel("loss", {"training": "loss", "validation": "validation_loss"}, "logarithmic"),
    Panel("PSNR, dB", {"training crops": "train_psnr", "validation": "psnr",
                       "validation, at the truth's exposure": "psnr_true_exposure",
                       "validation, GT-mean": "psnr_gt_mean"}),
    Panel("SSIM", {"validation": "ssim", "validation, at the truth's exposure": "ssim_true_exposure"}),
    Panel("error of the proposed exposure, stops (RMS)", {"validation": "stops_error_rms"}),
    RATE,
    GRADIENT,
    Panel("samples per second", {"": "samples_per_second"}, "from zero"),
    Panel("waiting for data, % of the time", {"": "waiting"}, "percent", 100),
)  # fmt: skip
HEAD = (Panel("loss of the exposure head", {"training": "loss"}), RATE, GRADIENT)


def draw(run_dir: Path, device: torch.device = torch.device("cpu")) -> list[Path]:  # noqa: B008  a device is a constant
    """Draw the run's figures as PNG into its folder, again at any time; gives their paths.

    `curves.png`: loss, PSNR, SSIM, learning rate, gradient, speed. `head.png`: the same of the exposure head.
    `sheet.png`: dark | result | target of up to four validation pairs, by the best network. `strip.png`: crops of
    these pairs as they came out over time. A panel for which there is nothing yet says why.
    """
    run = RunFolder(Path(run_dir))
    about, pairs = run.about(), progress_strip.shown_pairs(run)
    restorer, head = ([row for row in run.rows() if row["phase"] == phase] for phase in ("restorer", "head"))
    drawn = {
        "curves.png": _curves(RESTORER, 2, restorer, about, "steps", _recipe(about).get("clip_norm", 0)),
        "head.png": _curves(HEAD, 3, head, about, "head_steps", recipes.HEAD.clip_norm) if head else None,
    }
    written = {name: _to_png(figure) for name, figure in drawn.items() if figure is not None}
    if pairs and run.best.exists():
        written["sheet.png"] = _draw_sheet(run, pairs, device)
    strip = progress_strip.draw_strip(run)
    if strip is not None:
        written["strip.png"] = strip
    for name, content in written.items():
        run.write(name, content)
    return [run.path / name for name in written]


def _to_png(figure: Figure) -> bytes:
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


# --- curves ---------------------------------------------------------------------------------------


def _curves(panels: Sequence[Panel], columns: int, rows: Rows, about: About, length: str, clip_norm: float) -> Figure:
    """The panels of one phase, which is as long as the setting `length` says."""
    lines = len(panels) // columns
    figure = Figure(figsize=(13, 3.5 * lines), layout="constrained")
    stages = _stages(rows, about) if length == "steps" else []
    grid = figure.subplots(lines, columns, sharex=True)
    for axes, panel in zip(grid.flat, panels, strict=True):
        _draw_panel(axes, panel, rows)
        if panel is GRADIENT:
            _mark_gradients(axes, rows, clip_norm)
        if not axes.has_data():
            axes.set_yticks([])
            axes.text(0.5, 0.5, _why_empty(panel, rows, about, length), transform=axes.transAxes, ha="center",
                      va="center", color="0.4", fontsize=9)  # fmt: skip
        if axes.get_legend_handles_labels()[1]:
            axes.legend(fontsize=8)
        for step, crop_px in stages:
            axes.axvline(step, color="0.6", linewidth=0.8, linestyle=":")
            axes.text(step, 0.01, f" {crop_px} px", transform=axes.get_xaxis_transform(), fontsize=7, color="0.5")
    newest = max((number(row, "step") or 0 for row in rows), default=0)
    grid.flat[0].set_xlim(0, 1.02 * newest or 1)  # and with it all others
    return figure


def _draw_panel(axes: Axes, panel: Panel, rows: Rows) -> None:
    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel("step", fontsize=8)
    axes.tick_params(which="both", labelsize=8, labelbottom=True)
    axes.grid(alpha=0.3)
    axes.ticklabel_format(axis="y", scilimits=(-3, 5), useOffset=False)
    for label, column in panel.curves.items():
        # the rate is no measurement: there is nothing to smooth
        _plot(axes, label, _curve(rows, column, panel.factor), column in STEP_COLUMNS and panel is not RATE)
    if panel.scale == "logarithmic" and axes.has_data():
        axes.set_yscale("log")
    elif panel.scale == "from zero":
        axes.set_ylim(bottom=0)
    elif panel.scale == "percent":
        axes.set_ylim(-2, 102)


def _curve(rows: Rows, column: str, factor: float = 1.0) -> Curve:
    """What can be drawn of a column: finite numbers. A row may have been cut off in the middle of one."""
    points = [(number(row, "step"), number(row, column)) for row in rows]
    known = [(x, factor * y) for x, y in points if x is not None and y is not None and math.isfinite(y)]
    return [x for x, _ in known], [y for _, y in known]


def _plot(axes: Axes, label: str, curve: Curve, smooth: bool) -> None:
    steps, values = curve
    if not steps:
        return
    if not smooth or len(values) < 2 * SMOOTH_ROWS:
        axes.plot(steps, values, label=label, marker="o" if len(steps) < FEW else None, markersize=3)
        return
    (line,) = axes.plot(steps, values, alpha=0.25, linewidth=0.8)  # one batch says little
    mean = np.convolve(values, np.full(SMOOTH_ROWS, 1 / SMOOTH_ROWS), "valid")
    axes.plot(steps[SMOOTH_ROWS - 1 :], mean, label=label, color=line.get_color())


def _mark_gradients(axes: Axes, rows: Rows, clip_norm: float) -> None:
    """Where updates were left out because their gradient was no number, and from where gradients are shortened."""
    finite = set(_curve(rows, "gradient_norm")[0])
    left_out = [step for step in _curve(rows, "loss")[0] if step not in finite]  # infinite, or empty where it was NaN
    if left_out:
        axes.plot(left_out, [0.03] * len(left_out), "x", color="C3", label="update left out: no number",
                  transform=axes.get_xaxis_transform())  # fmt: skip
    if clip_norm and finite:
        axes.axhline(clip_norm, color="0.4", linewidth=0.8, linestyle="--", label=f"clipped to {clip_norm:g}")


def _stages(rows: Rows, about: About) -> list[tuple[float, int]]:
    """The steps at which the crops change their size, and to which; as far as the run has come.

    A run by the clock does not know its steps beforehand.
    """
    settings, stages = about.get("settings", {}), _recipe(about).get("stages", [])
    if settings.get("hours"):
        return []
    newest = max((number(row, "step") or 0 for row in rows), default=0)
    begun = np.cumsum([stage["share"] for stage in stages])[:-1] * settings.get("steps", 0)
    return [(step, stage["crop_px"]) for step, stage in zip(begun, stages[1:], strict=True) if step <= newest]


def _recipe(about: About) -> Mapping[str, Any]:
    recipe: Mapping[str, Any] = about.get("settings", {}).get("recipe", {})
    return recipe


def _why_empty(panel: Panel, rows: Rows, about: About, length: str) -> str:
    settings = about.get("settings", {})
    if not set(STEP_COLUMNS) & set(panel.curves.values()):
        if any(row["psnr"] for row in rows):
            return "this network takes no exposure"
        if not about.get("data", {}).get("validation"):
            return "nothing was left for validation"
        return f"no validation yet: it comes every {settings.get('validate_steps', '?')} steps (--validate-steps)"
    if any(row["loss"] for row in rows):
        return "not measured by the mirnet that wrote this log"
    every, steps = settings.get("log_steps", 1), math.inf if settings.get("hours") else settings.get(length, math.inf)
    if every > steps:
        return f"no row: --log-steps {every} is larger than the run of {steps} steps"
    return f"no row yet: one comes every {every} steps (--log-steps)"


# --- images -------------------------------------------------------------------------------------


def _draw_sheet(run: RunFolder, pairs: Sequence[Pair], device: torch.device) -> bytes:
    """The PNG of dark image, result of the best network, and ground truth of the pairs that the figures show."""
    with torch.random.fork_rng(devices=[]):  # a network's first weights are drawn, before the file's replace them
        network = checkpoints.load(run.best).to(device)
    rows = []
    for pair in pairs:
        dark, truth = to_unit(read_rgb(pair.dark)), to_unit(read_rgb(pair.bright))
        result = renderer(network, dark, device)(0.0)
        captions = ("dark", f"result, {metrics.psnr(result, truth):.2f} dB", "ground truth")
        small = (fit_into(image, SHEET_PX, SHEET_PX) for image in (dark, result, truth))
        rows.append(Row([Cell(*each) for each in zip(small, captions, strict=True)], pair.name))
    return to_png(draw_contact_sheet(rows))
