"""Diagrams of MIRNet's parts as SVG: boxes and arrows, with the widths, sizes and counts of a real network."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

# The streams' colours, here and in all figures: full, half, quarter resolution. Colour-blind people can
# tell them apart, and no mixture of two looks like the third.
STREAM_COLOURS = ("#0072B2", "#E69F00", "#B5367A")
STREAM_NAMES = ("full", "half", "quarter")
STREAM_FILLS = ("#D6E8F4", "#FBECC9", "#F5DDE9")  # the same, pale
INK, QUIET, PAPER, GREY = "#222222", "#777777", "#FFFFFF", "#EDEDED"
UNITS_PER_INCH = 10


@dataclass(frozen=True)
class Box:
    """A drawn box, by its centre and size, with the points where arrows start and end."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> tuple[float, float]:
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y

    @property
    def top(self) -> tuple[float, float]:
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> tuple[float, float]:
        return self.x, self.y - self.height / 2


class Sheet:
    """A white sheet, measured in tenths of an inch from its lower left corner."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width / UNITS_PER_INCH, height / UNITS_PER_INCH), facecolor=PAPER)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()

    def box(self, x: float, y: float, text: str, *, width: float = 9, height: float = 5, fill: str = GREY,
            edge: str = INK, size: float = 9, bold: bool = False) -> Box:  # fmt: skip
        corner = (x - width / 2, y - height / 2)
        style = "round,pad=0,rounding_size=0.8"
        self.axes.add_patch(FancyBboxPatch(corner, width, height, style, facecolor=fill, edgecolor=edge, linewidth=1))
        self.text(x, y, text, size=size, bold=bold)
        return Box(x, y, width, height)

    def frame(self, x: float, y: float, width: float, height: float, title: str, fill: str = "#FAFAFA") -> None:
        """Draws a pale area behind a group of parts; `x`, `y` is its lower left corner."""
        style = "round,pad=0,rounding_size=1.2"
        self.axes.add_patch(
            FancyBboxPatch((x, y), width, height, style, facecolor=fill, edgecolor="#BBBBBB", linewidth=1, zorder=0)
        )
        self.text(x + 1.2, y + height - 1.8, title, size=8.5, colour=QUIET, align="left")

    def dot(self, x: float, y: float, sign: str) -> Box:
        """Draws a circle with the sign of an operation: sum or product."""
        self.axes.add_patch(Circle((x, y), 1.3, facecolor=PAPER, edgecolor=INK, linewidth=1, zorder=2))
        self.text(x, y, sign, size=11)
        return Box(x, y, 2.6, 2.6)

    def text(self, x: float, y: float, text: str, *, size: float = 8.5, colour: str = INK, bold: bool = False,
             align: str = "center") -> None:  # fmt: skip
        weight = "bold" if bold else "normal"
        self.axes.text(x, y, text, fontsize=size, color=colour, weight=weight, ha=align, va="center", linespacing=1.25)

    def line(self, *points: tuple[float, float], colour: str = INK, style: str = "-") -> None:
        """Draws a line through all points, behind the boxes."""
        columns, rows = zip(*points, strict=True)
        self.axes.plot(columns, rows, color=colour, linewidth=1.1, linestyle=style, zorder=0.9)

    def arrow(self, *points: tuple[float, float], colour: str = INK) -> None:
        """Draws a line with an arrowhead at the last point."""
        self.line(*points[:-1], colour=colour)
        tip = FancyArrowPatch(points[-2], points[-1], arrowstyle="-|>", mutation_scale=9, color=colour,
                              linewidth=1.1, shrinkA=0, shrinkB=0, zorder=0.9)  # fmt: skip
        self.axes.add_patch(tip)

    def chain(self, boxes: Sequence[Box]) -> None:
        """Draws an arrow from each box to the next, left to right."""
        for one, other in pairwise(boxes):
            self.arrow(one.right, other.left)

    def svg(self) -> bytes:
        """The drawing as SVG; the same drawing gives the same bytes."""
        content = io.BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mirnet"}):
            self.figure.savefig(content, format="svg", metadata={"Date": None})
        return content.getvalue()


@dataclass(frozen=True)
class Shape:
    """Of one stream: channels, height, width."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels} × {self.height} × {self.width}"


def group(parameters: int) -> bytes:
    """The whole of MIRNet with its RRGs."""
    sheet = Sheet(104, 42)
    sheet.text(2, 40, "MIRNet, as the paper has it", bold=True, align="left")
    dark = sheet.box(6, 31, "dark\nimage", width=8, fill=PAPER)
    first = sheet.box(19, 31, "3×3", width=7)
    rrgs = [sheet.box(34 + 15 * n, 31, f"RRG {n + 1}", width=11, fill="#E4E0F2", bold=True) for n in range(3)]
    last = sheet.box(78, 31, "3×3", width=7)
    plus = sheet.dot(87, 31, "+")
    bright = sheet.box(97, 31, "bright\nimage", width=9, fill=PAPER)
    sheet.chain([dark, first, *rrgs, last, plus, bright])
    sheet.arrow(dark.top, (dark.x, 37), (plus.x, 37), plus.top, colour=QUIET)
    sheet.text(46, 38.2, "skip connection: the blocks in between only compute the difference", colour=QUIET)

    sheet.frame(25, 3, 77, 21, "inside an RRG (recursive residual group)")
    sheet.line((28.6, 28.3), (25.6, 23.8), colour="#AAAAAA", style=":")
    sheet.line((39.4, 28.3), (101.4, 23.8), colour="#AAAAAA", style=":")
    enter = sheet.box(33, 11, "features", width=10, fill=PAPER)
    mrbs = [sheet.box(48 + 15 * n, 11, f"MRB {n + 1}", width=11, fill="#E0EFDF", bold=True) for n in range(2)]
    conv = sheet.box(77, 11, "3×3", width=7)
    total = sheet.dot(86, 11, "+")
    leave = sheet.box(96, 11, "features", width=9, fill=PAPER)
    sheet.chain([enter, *mrbs, conv, total, leave])
    sheet.arrow(enter.top, (enter.x, 17), (total.x, 17), total.top, colour=QUIET)
    sheet.text(60, 18.3, "skip connection of the group", colour=QUIET)
    sheet.text(63, 5.5, "each MRB has a skip connection of its own", colour=QUIET)
    sheet.text(12.5, 15.5, f"3 RRGs\nof 2 MRBs each,\n64 features:\n{parameters:,}\nparameters", colour=QUIET)
    return sheet.svg()


def lite(shape: Shape, parameters: int, height: int, width: int) -> bytes:
    """lite: the same RRG, once, behind exposure and stem."""
    sheet = Sheet(104, 22)
    size = f"3 × {height} × {width}"
    dark = sheet.box(6, 12, "dark\nimage", width=9, fill=PAPER)
    exposed = sheet.box(19.5, 12, "expose\nby the stops", width=12, fill="#FFF6D8")
    stem = sheet.box(34.5, 12, "2×2 pixels\nto channels", width=11)
    first = sheet.box(46, 12, "3×3", width=6)
    rrg = sheet.box(58, 12, "RRG\nof one MRB", width=12, fill="#E4E0F2", bold=True)
    last = sheet.box(70, 12, "3×3", width=6)
    shuffle = sheet.box(81, 12, "channels to\n2×2 pixels", width=11)
    plus = sheet.dot(90.5, 12, "+")
    bright = sheet.box(98.5, 12, "bright\nimage", width=9, fill=PAPER)
    sheet.chain([dark, exposed, stem, first, rrg, last, shuffle, plus, bright])
    sheet.arrow((27.3, 12), (27.3, 18), (plus.x, 18), plus.top, colour=QUIET)
    sheet.text(58, 19.3, "skip connection at full resolution", colour=QUIET)
    head = sheet.box(19.5, 4, "head (thumbnail → stops), or the user", width=27, height=3.6, fill="#FFF6D8", size=8)
    sheet.arrow((19.5, head.top[1]), exposed.bottom)
    sheet.text(6, 8, size, size=7, colour=QUIET)
    sheet.text(58, 7.6, str(shape), size=7, colour=QUIET)
    sheet.text(77, 4, f"{parameters:,} parameters, with the head", colour=QUIET)
    return sheet.svg()


def mrb(shapes: Sequence[Shape]) -> bytes:
    """The multi-scale residual block, with the sizes in `shapes`."""
    sheet = Sheet(104, 50)
    rows = (37, 23, 9)
    enter = sheet.box(6, rows[0], "features", width=9, fill=PAPER)
    first, fusions, second = [], [], []
    for row, name, fill, edge, shape in zip(rows, STREAM_NAMES, STREAM_FILLS, STREAM_COLOURS, shapes, strict=True):
        first.append(sheet.box(21, row, "DAU", width=9, height=5.5, fill=fill, edge=edge, bold=True))
        fusions.append(sheet.box(47, row, "SKFF", width=9, height=5.5, fill=fill, edge=edge, bold=True))
        second.append(sheet.box(60, row, "DAU", width=9, height=5.5, fill=fill, edge=edge, bold=True))
        below = row - 4 if row == rows[0] else row + 1
        sheet.text(6, below, name, size=9, colour=edge, bold=True)
        sheet.text(6, below - 2.2, str(shape), size=7, colour=QUIET)
    for source, start in enumerate(first):
        for fusion in fusions:
            sheet.arrow(start.right, (fusion.left[0], fusion.y + 1.5 - 1.5 * source), colour=STREAM_COLOURS[source])
    sheet.arrow(enter.right, first[0].left)
    for upper, lower in pairwise(first):
        down = sheet.box(21, (upper.y + lower.y) / 2, "down ÷2", width=7.5, height=3, fill=PAPER, size=7.5)
        sheet.arrow(upper.bottom, down.top)
        sheet.arrow(down.bottom, lower.top)
    sheet.text(34, 3, "an arrow to another row resizes: ÷2, ÷4, ×2 or ×4", size=7.5, colour=QUIET)
    for fusion, dau in zip(fusions, second, strict=True):
        sheet.arrow(fusion.right, dau.left)
    last = sheet.box(81, rows[0], "SKFF", width=9, height=5.5, fill=STREAM_FILLS[0], edge=STREAM_COLOURS[0], bold=True)
    sheet.arrow(second[0].right, last.left, colour=STREAM_COLOURS[0])
    for stream, factor, place in ((1, 2, 80), (2, 4, 82.5)):
        up = sheet.box(71, rows[stream], f"up ×{factor}", width=7, height=3, fill=PAPER, size=7.5)
        sheet.arrow(second[stream].right, up.left, colour=STREAM_COLOURS[stream])
        sheet.arrow(up.right, (place, up.y), (place, last.bottom[1]), colour=STREAM_COLOURS[stream])
    conv = sheet.box(91, rows[0], "3×3", width=5.5)
    plus = sheet.dot(98, rows[0], "+")
    sheet.chain([last, conv, plus])
    sheet.arrow(plus.right, (103.5, rows[0]))
    sheet.arrow(enter.top, (enter.x, 44), (plus.x, 44), plus.top, colour=QUIET)
    sheet.text(52, 45.2, "skip connection of the block", colour=QUIET)
    for x, title in ((21, "first column"), (34, "full exchange"), (47, "fusion"), (60, "second column")):
        sheet.text(x, 48, title, colour=QUIET)
    sheet.text(86, 48, "all together, at full size", colour=QUIET)
    return sheet.svg()


def skff() -> bytes:
    """Selective kernel feature fusion."""
    sheet = Sheet(104, 34)
    rows = (26, 17, 8)
    streams = [
        sheet.box(9, row, f"{name}\n(resized to\none size)", width=13, height=6.5, fill=fill, edge=edge, size=8)
        for row, name, fill, edge in zip(rows, STREAM_NAMES, STREAM_FILLS, STREAM_COLOURS, strict=True)
    ]
    added, fused = sheet.dot(22, 17, "+"), sheet.dot(96, 17, "+")
    mean = sheet.box(32, 17, "mean over\nall pixels", width=11)
    squeeze = sheet.box(45, 17, "1×1\nPReLU", width=8)
    sheet.chain([added, mean, squeeze])
    sheet.text(32, 20.8, "C numbers", size=7, colour=QUIET)
    sheet.text(45, 20.8, "C / 8", size=7, colour=QUIET)
    softmax = sheet.box(68, 17, "softmax\nacross the\nstreams,\nchannel\nby channel", width=12, height=23)
    ways = ((32, 1), (12.4, -1), (2, -1))  # how the streams go round: at what height, into the product from which side
    for number, (stream, fill, colour) in enumerate(zip(streams, STREAM_FILLS, STREAM_COLOURS, strict=True)):
        row, (height, side) = rows[number], ways[number]
        head = sheet.box(56, row, "1×1", width=6, height=4, fill=fill, edge=colour)
        times = sheet.dot(85, row, "×")
        sheet.arrow(squeeze.right, head.left)
        sheet.arrow(head.right, (softmax.left[0], row))
        sheet.arrow((softmax.right[0], row), times.left, colour=colour)
        sheet.text(78.7, row + 1.5, "weights", size=7.5, colour=colour)
        edge = stream.top if side > 0 else stream.bottom
        sheet.arrow(edge, (stream.x, height), (times.x, height), (times.x, row + 1.3 * side), colour=colour)
        for start, total in ((stream.right, added), (times.right, fused)):
            corner = [(total.x, row)] if row != total.y else []
            sheet.arrow(start, *corner, (total.top, total.left, total.bottom)[number], colour=colour)
    sheet.arrow(fused.right, (102.5, 17))
    return sheet.svg()


def dau() -> bytes:
    """The dual attention unit."""
    sheet = Sheet(104, 34)
    enter = sheet.box(5.5, 17, "features", width=9, fill=PAPER)
    body = [sheet.box(x, 17, text, width=6.5) for x, text in ((16, "3×3"), (24.5, "PReLU"), (33, "3×3"))]
    sheet.chain([enter, *body])
    split = (40, 17)
    sheet.line(body[-1].right, split)
    sheet.frame(42, 18.5, 41, 13, "spatial attention: H × W weights", fill="#EEF5FA")
    sheet.frame(42, 2.5, 41, 13, "channel attention: C weights", fill="#FBF3EE")
    where = [
        sheet.box(x, 24, text, width=width, height=5, fill=PAPER, size=8)
        for x, text, width in ((50, "max, mean of\nthe channels", 12), (62, "5×5", 6), (71, "sigmoid", 7.5))
    ]
    what = [
        sheet.box(x, 8, text, width=width, height=5, fill=PAPER, size=8)
        for x, text, width in ((49, "mean over\nall pixels", 10), (60.5, "1×1, ReLU,\n1×1", 9), (71, "sigmoid", 7.5))
    ]
    for row, parts, edge in ((24, where, 27.9), (8, what, 4.1)):
        times = sheet.dot(79.5, row, "×")
        sheet.arrow(split, (split[0], row), parts[0].left)
        sheet.chain([*parts, times])
        sheet.arrow((41.5, row), (41.5, edge), (times.x, edge), times.top if row == 24 else times.bottom)
        sheet.arrow(times.right, (88, row), (88, 17 + (1.6 if row == 24 else -1.6)))
    merge = sheet.box(88, 17, "1×1", width=6, height=3.6)
    plus = sheet.dot(96, 17, "+")
    sheet.chain([merge, plus])
    sheet.arrow(plus.right, (102.5, 17))
    sheet.arrow(enter.top, (enter.x, 33), (plus.x, 33), plus.top, colour=QUIET)
    return sheet.svg()


def resizing() -> bytes:
    """The paper's residual resizing modules, and lite's."""
    sheet = Sheet(104, 46)
    paper_down = ("1×1", "PReLU", "3×3", "PReLU", "blur ÷2", "1×1")
    paper_up = ("1×1", "PReLU", "3×3ᵀ ×2", "PReLU", "1×1")
    sheet.text(2, 44.3, "as in the paper", bold=True, align="left")
    _branches(sheet, 2, 35.3, "down: half the size, twice the channels", paper_down, ("blur ÷2", "1×1"))
    _branches(sheet, 54, 35.3, "up: twice the size, half the channels", paper_up, ("bilinear ×2", "1×1"))
    sheet.text(2, 21.3, "light resizing, used by lite", bold=True, align="left")
    light_down = ("3×3", "PReLU", "mean 2×2", "1×1")
    _branches(sheet, 2, 12, "down", light_down, ("mean 2×2", "1×1"))
    _branches(sheet, 54, 12, "up: one branch", ("1×1", "bilinear ×2"), None)
    return sheet.svg()


def _branches(sheet: Sheet, x: float, y: float, title: str, main: Sequence[str], skip: Sequence[str] | None) -> None:
    """One module, 48 wide, `x` its left edge and `y` the middle: the main branch below, the skip above."""
    sheet.frame(x, y - 9, 48, 16, title)
    low = y - 4.5 if skip else y - 1.5
    places = [x + 6 + (34 / len(main)) * (n + 0.5) for n in range(len(main))]
    width = min(34 / len(main) - 1.4, 9)
    parts = [
        sheet.box(place, low, text.replace(" ", "\n"), width=width, height=4.6, size=7, fill=PAPER)
        for place, text in zip(places, main, strict=True)
    ]
    sheet.chain(parts)
    start = (x + 2.5, y - 1.5)
    if skip is None:
        sheet.arrow((x + 1.5, low), parts[0].left)
        sheet.arrow(parts[-1].right, (x + 47, low))
        return
    plus = sheet.dot(x + 43, y - 1.5, "+")
    above = [
        sheet.box(x + 17 + 12 * n, y + 1.8, text.replace(" ", "\n"), width=9, height=4.2, size=7, fill=PAPER)
        for n, text in enumerate(skip)
    ]
    sheet.line((x + 0.8, start[1]), start)
    sheet.arrow(start, (start[0], low), parts[0].left)
    sheet.arrow(start, (start[0], y + 1.8), above[0].left, colour=QUIET)
    sheet.chain(above)
    sheet.arrow(above[-1].right, (plus.x, y + 1.8), plus.top, colour=QUIET)
    sheet.arrow(parts[-1].right, (plus.x, low), plus.bottom)
    sheet.arrow(plus.right, (x + 47.5, y - 1.5))
