"""What happens inside a real network, as pictures: each function draws one figure of docs/how-it-works.md."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from diagrams import STREAM_COLOURS, STREAM_NAMES
from listen import FREEZES, Observed, with_frozen
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from torch import Tensor, nn

from mirnet.network import Lite
from mirnet.network.mirnet import BlurAndHalve, Down, LightDown

COLUMNS = ("first", "second")
FUSIONS = {
    "exchange.0": "exchange, full stream",
    "exchange.1": "exchange, half stream",
    "exchange.2": "exchange, quarter stream",
    "fuse": "the block's last fusion",
}


def exposure(observed: Observed, square: Sequence[int]) -> Figure:
    """Dark, exposed, what the network adds, restored; below, a square (top, left, side) of each."""
    seen = observed.seen
    added = observed.restored - seen.exposed
    stops = float(seen.stops.mean())
    panels = {
        "the photograph as it is": seen.dark,
        f"exposed by {stops:+.1f} stops": seen.exposed,
        "added by the network, ×3": (0.5 + 3 * added).clamp(0, 1),
        "restored: the sum of both": observed.restored,
    }
    top, left, side = square
    figure, rows = _grid(2, 4, 10.5, 4.7, heights=(2, 3))
    for column, (title, picture) in enumerate(panels.items()):
        _show(rows[0][column], picture, title)
        rows[0][column].add_patch(Rectangle((left, top), side, side, fill=False, edgecolor="white", linewidth=1))
        _show(rows[1][column], picture[:, top : top + side, left : left + side])
    return figure


def streams(observed: Observed) -> Figure:
    """How loud each stream is where, behind both columns of the MRB."""
    figure, rows = _grid(2, 3, 11, 5.2)
    for row, column in zip(rows, COLUMNS, strict=True):
        for stream, axes in enumerate(row):
            left = observed.passages[f"{column}.{stream}"].left
            channels, height, width = left.shape
            title = f"{STREAM_NAMES[stream]}, {column} column: {channels} × {height} × {width}"
            _map(axes, figure, loudness(left), title, colour=STREAM_COLOURS[stream])
    return figure


def residuals(observed: Observed) -> Figure:
    """What enters the RRG and what each skip connection lets its block add, down to the picture."""
    figure, ((entered, block, group, picture),) = _grid(1, 4, 12, 2.2)
    _map(entered, figure, loudness(observed.passages["rrg"].entered), "features that enter the RRG")
    _map(block, figure, loudness(observed.passages["mrb"].added), "what the MRB adds")
    _map(group, figure, loudness(observed.passages["rrg"].added), "what the RRG adds")
    change = (observed.restored - observed.seen.exposed).square().mean(0).sqrt()
    _map(picture, figure, change, "what the network adds")
    return figure


def votes(observed: Observed) -> Figure:
    """The votes of all four SKFFs, a column for a channel, sorted by the full stream's."""
    figure, rows = _grid(2, 2, 11, 4.6)
    for axes, (name, title) in zip((*rows[0], *rows[1]), FUSIONS.items(), strict=True):
        shares = observed.fusions[name].votes.numpy()  # (S, C)
        shares = shares[:, np.argsort(-shares[0], kind="stable")]
        edges = np.arange(shares.shape[1] + 1) - 0.5
        below = np.zeros(shares.shape[1])
        for share, colour in zip(shares, STREAM_COLOURS, strict=True):
            axes.stairs(below + share, edges, baseline=below, fill=True, color=colour)
            below = below + share
        wins = np.bincount(shares.argmax(0), minlength=len(shares))
        axes.hlines((1 / 3, 2 / 3), edges[0], edges[-1], color="white", linewidth=1.2, linestyle=":")
        axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1), yticks=(0, 1 / 3, 2 / 3, 1), xlabel="channel")
        axes.set_yticklabels(("0", "⅓", "⅔", "1"))
        won = ", ".join(f"{name} {count}" for name, count in zip(STREAM_NAMES, wins, strict=True))
        axes.set_title(f"{title}\nmost votes in so many channels: {won}", fontsize=9)
        _bare(axes)
    return _with_legend(figure)


def where(photos: Sequence[Observed]) -> Figure:
    """Which stream each place of the last fusion comes from: mixed in the streams' colours, and one by one."""
    figure, rows = _grid(len(photos), 5, 14, 2.25 * len(photos) + 0.4)
    for row, observed in zip(rows, photos, strict=True):
        shares = _cropped(observed.fusions["fuse"].shares(), observed)
        _show(row[0], observed.seen.exposed, "exposed photograph")
        colours = torch.tensor([to_rgb(colour) for colour in STREAM_COLOURS])
        _show(row[1], torch.einsum("shw,sc->chw", shares, colours), "all three, mixed")
        for axes, name, share, colour in zip(row[2:], STREAM_NAMES, shares, STREAM_COLOURS, strict=True):
            title = f"{name}: {share.mean():.0%} of the whole"
            _map(axes, figure, share, title, colour=colour, limits=(0, 1), map_name="gray")
    return _with_legend(figure)


def spatial_attention(observed: Observed) -> Figure:
    """The spatial attention of all six DAUs."""
    figure, rows = _grid(2, 3, 11, 5.2)
    for row, column in zip(rows, COLUMNS, strict=True):
        for stream, axes in enumerate(row):
            weights = _cropped(observed.spatial[f"{column}.{stream}"], observed)
            title = f"{STREAM_NAMES[stream]}, {column} column"
            _map(axes, figure, weights, title, colour=STREAM_COLOURS[stream], map_name="inferno")
    return figure


def channel_attention(observed: Observed) -> Figure:
    """The channel attention of all six DAUs, sorted, on the whole scale that a sigmoid has."""
    figure, rows = _grid(2, 3, 11, 3)
    for row, column in zip(rows, COLUMNS, strict=True):
        for stream, axes in enumerate(row):
            weights = np.sort(observed.channel[f"{column}.{stream}"].numpy())[::-1]
            axes.stairs(weights, fill=True, color=STREAM_COLOURS[stream])
            axes.set(xlim=(0, len(weights)), ylim=(0, 1), yticks=(0, 0.5, 1))
            axes.axhline(0.5, color="white", linewidth=1, linestyle=":")
            axes.set_title(
                f"{STREAM_NAMES[stream]}, {column} column: {weights.min():.2f} to {weights.max():.2f}", fontsize=9
            )
            _bare(axes)
    return figure


def branches(network: Lite, observed: Observed) -> Figure:
    """The two branches of a real down-sampler, from the full stream to the half one."""
    down = network.get_submodule("restorer.trunk.rrgs.0.mrbs.0.resize.0_1.0")
    assert isinstance(down, Down | LightDown)
    entered = observed.passages["resize.0_1"].entered
    with torch.inference_mode():
        main, skip = down.main(entered[None])[0], down.skip(entered[None])[0]
    figure, ((first, second, third, fourth),) = _grid(1, 4, 12, 2.2)
    for axes, features, title in (
        (first, entered, "enters"), (second, main, "main branch"), (third, skip, "skip branch"),
        (fourth, main + skip, "leaves: their sum"),
    ):  # fmt: skip
        _map(axes, figure, loudness(features), f"{title}: {' × '.join(map(str, features.shape))}")
    return figure


def aliasing(picture: Tensor, square: Sequence[int]) -> Figure:
    """A detail (top, left, side) of a picture (3, H, W), and halved twice in three ways."""
    top, left, side = square
    detail = picture[None, :, top : top + side, left : left + side]
    ways: Mapping[str, Callable[[Tensor], Tensor] | None] = {
        "a detail": None,
        "every second pixel, twice": lambda x: x[:, :, ::2, ::2],
        "2×2 means, twice (light resizing)": nn.AvgPool2d(2),
        "blur and halve, twice (the paper's)": BlurAndHalve(3),
    }
    figure, (row,) = _grid(1, 4, 13, 3.6)
    for axes, (title, way) in zip(row, ways.items(), strict=True):
        _show(axes, detail[0] if way is None else way(way(detail))[0], title)
    return figure


def switched_off(network: Lite, photos: Mapping[str, Observed]) -> Figure:
    """What changes with one mechanism held still: the difference on the first photo, and the numbers on all."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, len(FREEZES), height_ratios=(1, 1.1))
    changes = {
        name: {what: with_frozen(network, observed.seen, what) - observed.restored for what in FREEZES}
        for name, observed in photos.items()
    }
    for column, (what, change) in enumerate(next(iter(changes.values())).items()):
        mechanism, _, how = what.partition(": ")
        _show(figure.add_subplot(grid[0, column]), (0.5 + 4 * change).clamp(0, 1), f"{mechanism}\n{how}".strip())
    axes = figure.add_subplot(grid[1, :])
    rows = ["all that the network changes", *FREEZES]
    for number, (name, observed) in enumerate(photos.items()):
        whole = levels(observed.restored - observed.seen.exposed)
        values = [whole, *(levels(change) for change in changes[name].values())]
        places = np.arange(len(rows)) + (number - 1) * 0.27
        bars = axes.barh(places, values, height=0.25, color=("#444444", "#888888", "#BBBBBB")[number], label=name)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("root mean square change of the result, in levels of 255", fontsize=9)
    axes.margins(x=0.08)
    axes.legend(fontsize=8, frameon=False)
    _bare(axes)
    return figure


def loudness(features: Tensor) -> Tensor:
    """(C, h, w) to (h, w): the root mean square of the channels."""
    return features.square().mean(0).sqrt()


def levels(change: Tensor) -> float:
    """The root mean square of a difference of pictures, in levels of 255."""
    return 255 * math.sqrt(float(change.square().mean()))


# --- how panels look ------------------------------------------------------------------------------


def _grid(rows: int, columns: int, width: float, height: float,
          heights: Sequence[float] | None = None) -> tuple[Figure, NDArray[np.object_]]:  # fmt: skip
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights})


def _show(axes: Axes, picture: Tensor, title: str = "") -> None:  # (3, H, W) in [0, 1]
    axes.imshow(picture.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _map(axes: Axes, figure: Figure, values: Tensor, title: str, *, colour: str = "black", map_name: str = "viridis",
         limits: tuple[float, float] | None = None) -> None:  # fmt: skip
    """(h, w) with its scale beside it: from least to most, or between limits."""
    low, high = limits or (float(values.min()), float(values.max()))
    image = axes.imshow(values.numpy(), cmap=map_name, vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=9, color=colour)
    axes.set_axis_off()
    scale = figure.colorbar(image, ax=axes, ticks=(low, high), shrink=0.8, pad=0.02)
    scale.ax.set_yticklabels([f"{low:.2f}", f"{high:.2f}"], fontsize=7)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_fontsize(8)


def _with_legend(figure: Figure) -> Figure:
    patches = [Rectangle((0, 0), 1, 1, color=colour) for colour in STREAM_COLOURS]
    figure.legend(patches, [f"{name} stream" for name in STREAM_NAMES], loc="outside lower center", ncols=3,
                  fontsize=9, frameon=False)  # fmt: skip
    return figure


def _cropped(maps: Tensor, observed: Observed) -> Tensor:
    """Maps (…, h, w) without what was padded to a multiple of the network's coarsest pixel."""
    height, width = observed.seen.dark.shape[1:]
    full = observed.passages["mrb"].entered.shape[1]  # rows of the full stream, padding included
    pixel = 2 * full / maps.shape[-2]
    return maps[..., : math.ceil(height / pixel), : math.ceil(width / pixel)]
