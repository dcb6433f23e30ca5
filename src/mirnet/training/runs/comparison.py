"""Two runs in one figure: how good each was after as many crop pixels, and after as many steps."""

import io
import textwrap
import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mirnet.training.runs.summary import NOT_COMPARABLE, Run, differences, number, read_log, same_validation

PANELS = {"psnr": "validation PSNR, dB", "psnr_true_exposure": "validation PSNR at the truth's exposure, dB",
          "ssim": "validation SSIM", "loss": "loss, training (thin) and validation"}  # fmt: skip
ACROSS = {"crop_pixels": ("megapixels of crops", 1e6), "step": ("steps", 1)}
SMOOTH_SHARE = 40  # of a curve's points, averaged: one batch says little
CELL = 54  # characters of a setting on a line

Rows = Sequence[dict[str, str]]


def draw(a: Run, b: Run) -> bytes:
    """A PNG: four panels over crop pixels, four over steps, and beneath them what differs. TrainingError."""
    beneath = _beneath(a, b)
    height, text_height = 12.0, 0.155 * (len(beneath) + 2)
    figure = Figure(figsize=(12, height + text_height))
    grid = figure.subplots(
        len(PANELS), len(ACROSS),
        gridspec_kw={"left": 0.07, "right": 0.98, "top": 1 - 0.4 / (height + text_height),
                     "bottom": (text_height + 0.7) / (height + text_height), "hspace": 0.32, "wspace": 0.16},
    )  # fmt: skip
    logs = [(run.name, [row for row in read_log(run.path) if row.get("phase") == "restorer"]) for run in (a, b)]
    for axes, (column, title) in zip(grid, PANELS.items(), strict=True):
        for panel, (across, (unit, scale)) in zip(axes, ACROSS.items(), strict=True):
            _panel(panel, logs, column, across, scale)
            panel.set_title(title, fontsize=10)
            panel.set_xlabel(unit, fontsize=9)
    figure.text(
        0.02, text_height / (height + text_height), "\n".join(beneath), va="top", family="monospace", fontsize=8,
        parse_math=False,
    )  # fmt: skip
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # signs of a run's name that the font lacks are boxes
        FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def _panel(axes: Axes, logs: Sequence[tuple[str, Rows]], column: str, across: str, scale: float) -> None:
    drawn = 0
    for place, (name, rows) in enumerate(logs):
        colour = f"C{place}"
        if column == "loss":
            xs, ys = _curve(rows, "loss", across, scale)
            drawn += len(xs)
            axes.plot(_smooth(xs), _smooth(ys), color=colour, linewidth=0.7, alpha=0.7, label=None)
        xs, ys = _curve(rows, "validation_loss" if column == "loss" else column, across, scale)
        drawn += len(xs)
        axes.plot(xs, ys, color=colour, marker="o", markersize=3, label=name)
    axes.grid(alpha=0.3)
    axes.tick_params(which="both", labelsize=8)
    if not drawn:
        axes.text(0.5, 0.5, "not measured in these runs", ha="center", va="center", transform=axes.transAxes)
        return
    for text in axes.legend(fontsize=8).get_texts():
        text.set_parse_math(False)  # a name with $ in it is no formula
    if column == "loss":
        axes.set_yscale("log")


def _curve(rows: Rows, column: str, across: str, scale: float) -> tuple[list[float], list[float]]:
    points = [(number(row, across), number(row, column)) for row in rows]
    known = [(x / scale, y) for x, y in points if x is not None and y is not None]
    return [x for x, _ in known], [y for _, y in known]


def _smooth(values: Sequence[float]) -> Sequence[float]:
    width = max(1, len(values) // SMOOTH_SHARE)
    mean: list[float] = np.convolve(values, np.full(width, 1 / width), "valid").tolist() if values else []
    return mean


def _beneath(a: Run, b: Run) -> list[str]:
    """Lines of what differs, in three columns."""
    found = [*differences(a, b)]
    if not found:
        return [f"{a.name} and {b.name} were given the same settings and data."]
    warned = [] if same_validation(a, b) else [NOT_COMPARABLE, ""]
    width = max(len(name) for name, _, _ in found) + 2
    lines = [*warned, f"{'what differs':{width}}{a.name[-CELL:]:{CELL + 2}}{b.name[-CELL:]}"]
    for name, *both in found:
        cells = [textwrap.wrap(value, CELL) or [""] for value in both]
        for row in range(max(map(len, cells))):
            one, other = (cell[row] if row < len(cell) else "" for cell in cells)
            lines.append(f"{name if row == 0 else '':{width}}{one:{CELL + 2}}{other}")
    return lines
