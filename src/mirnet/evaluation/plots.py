"""A scatter plot of PSNR, a point for each image: one method against another, or against its input's brightness."""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from mirnet.evaluation.intervals import Numbers
from mirnet.evaluation.scores import Evaluation

LABELS = 3  # images named at either end


def draw_psnr(folders: Mapping[str, Sequence[Evaluation]]) -> bytes:
    """The PNG of a scatter plot, for the evaluations of each folder of pairs, with the same methods in the same order.

    One method: PSNR against the mean of the input. Several: a panel for each but the first, against the first.
    """
    methods = [evaluation.method for evaluation in next(iter(folders.values()))]
    panels = max(1, len(methods) - 1)
    figure = Figure(figsize=(6.5 * panels, 7), layout="constrained")
    for number, axes in enumerate(figure.subplots(1, panels, squeeze=False)[0]):
        if len(methods) == 1:
            _against_input(axes, methods[0], {folder: each[0] for folder, each in folders.items()})
        else:
            two = {folder: (each[0], each[number + 1]) for folder, each in folders.items()}
            _against_another(axes, methods[0], methods[number + 1], two)
        axes.grid(alpha=0.3)
        if len(folders) > 1:
            axes.legend()
    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a name with $ in it is not a formula
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # characters that the font lacks become boxes
        FigureCanvasAgg(figure).print_png(content)  # type: ignore[no-untyped-call]
    return content.getvalue()


def _against_input(axes: Axes, method: str, folders: Mapping[str, Evaluation]) -> None:
    for folder, evaluation in folders.items():
        across, up = evaluation.column("mean_input") * 255, evaluation.column("psnr")
        axes.scatter(across, up, s=18, alpha=0.7, label=folder)
    for evaluation in folders.values():  # the axes' limits are known now
        up = evaluation.column("psnr")
        _name(axes, evaluation, evaluation.column("mean_input") * 255, up, _ends(up))
    axes.set_xlabel("mean of the input, 0 to 255")
    axes.set_ylabel(f"PSNR of {method}, dB")
    axes.set_title(f"{_count(folders.values())} images, the {LABELS} worst and best by name", fontsize=11)


def _against_another(axes: Axes, a: str, b: str, folders: Mapping[str, tuple[Evaluation, Evaluation]]) -> None:
    for folder, (of_a, of_b) in folders.items():
        across, up = of_a.column("psnr"), of_b.column("psnr")
        axes.scatter(across, up, s=18, alpha=0.7, label=folder)
    low, high = (min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1]))
    axes.plot([low, high], [low, high], color="black", linewidth=0.8)
    axes.set_xlim(low, high)
    axes.set_ylim(low, high)
    axes.set_box_aspect(1)
    for of_a, of_b in folders.values():
        across, up = of_a.column("psnr"), of_b.column("psnr")
        _name(axes, of_a, across, up, [*_ends(up - across), *_ends(across, 1)])
    axes.set_xlabel(f"PSNR of {a}, dB")
    axes.set_ylabel(f"PSNR of {b}, dB")
    above = sum(int((of_b.column("psnr") > of_a.column("psnr")).sum()) for of_a, of_b in folders.values())
    count = _count(of_a for of_a, _ in folders.values())
    axes.set_title(f"{b} is better on {above} of {count} images, those above the line", fontsize=11)


def _count(evaluations: Iterable[Evaluation]) -> int:
    return sum(len(evaluation.scores) for evaluation in evaluations)


def _ends(values: Numbers, count: int = LABELS) -> list[int]:
    """The indices of the lowest and the highest values."""
    order = np.argsort(values, kind="stable")
    return [int(place) for place in {*order[:count], *order[-count:]}]


def _name(axes: Axes, evaluation: Evaluation, across: Numbers, up: Numbers, places: Iterable[int]) -> None:
    """Write the names of some points, on the side that has room."""
    middle = sum(axes.get_xlim()) / 2
    for place in sorted(set(places)):
        left = across[place] > middle
        axes.annotate(
            evaluation.scores[place].name, (float(across[place]), float(up[place])), xytext=(-5 if left else 5, 2),
            textcoords="offset points", ha="right" if left else "left", fontsize=8,
        )  # fmt: skip
