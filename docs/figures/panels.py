"""The figures of docs/how-it-works.md that show features of a network; each function draws one figure."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from diagrams import STREAM_COLOURS, STREAM_NAMES
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from recording import CONSTANTS, Recording, restore_with_constant
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


def exposure(recording: Recording, square: Sequence[int]) -> Figure:
    """Dark, exposed, residual of the network, restored; below, a square (top, left, side) of each."""
    photo = recording.photo
    added = recording.restored - photo.exposed
    stops = float(photo.stops.mean())
    panels = {
        "the photo as it is": photo.dark,
        f"exposed by {stops:+.1f} stops": photo.exposed,
        "added by the network, ×3": (0.5 + 3 * added).clamp(0, 1),
        "restored: the sum of both": recording.restored,
    }
    top, left, side = square
    figure, rows = _grid(2, 4, 10.5, 4.7, heights=(2, 3))
    for column, (title, image) in enumerate(panels.items()):
        _show(rows[0][column], image, title)
        rows[0][column].add_patch(Rectangle((left, top), side, side, fill=False, edgecolor="white", linewidth=1))
        _show(rows[1][column], image[:, top : top + side, left : left + side])
    return figure


def streams(recording: Recording) -> Figure:
    """The strength of each stream at each pixel, behind both columns of the MRB."""
    figure, rows = _grid(2, 3, 11, 5.2)
    for row, column in zip(rows, COLUMNS, strict=True):
        for stream, axes in enumerate(row):
            output = recording.modules[f"{column}.{stream}"].output
            channels, height, width = output.shape
            title = f"{STREAM_NAMES[stream]}, {column} column: {channels} × {height} × {width}"
            _map(axes, figure, strength(output), title, colour=STREAM_COLOURS[stream])
    return figure


def residuals(recording: Recording) -> Figure:
    """The features that enter the RRG, and the residuals of the MRB, the RRG and the network."""
    figure, ((entered, block, group, image),) = _grid(1, 4, 12, 2.2)
    _map(entered, figure, strength(recording.modules["rrg"].input), "features that enter the RRG")
    _map(block, figure, strength(recording.modules["mrb"].residual), "residual of the MRB")
    _map(group, figure, strength(recording.modules["rrg"].residual), "residual of the RRG")
    change = (recording.restored - recording.photo.exposed).square().mean(0).sqrt()
    _map(image, figure, change, "residual of the network")
    return figure


def skff_weights(recording: Recording) -> Figure:
    """The weights of all four SKFFs, a column for a channel, sorted by the full stream's."""
    figure, rows = _grid(2, 2, 11, 4.6)
    for axes, (name, title) in zip((*rows[0], *rows[1]), FUSIONS.items(), strict=True):
        shares = recording.fusions[name].weights.numpy()  # (S, C)
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
        axes.set_title(f"{title}\nchannels in which a stream has the largest weight: {won}", fontsize=9)
        _bare(axes)
    return _with_legend(figure)


def where(photos: Sequence[Recording]) -> Figure:
    """The share of each stream in the last fusion: mixed in the streams' colours, and one by one."""
    figure, rows = _grid(len(photos), 5, 14, 2.25 * len(photos) + 0.4)
    for row, recording in zip(rows, photos, strict=True):
        shares = _cropped(recording.fusions["fuse"].shares(), recording)
        _show(row[0], recording.photo.exposed, "exposed photo")
        colours = torch.tensor([to_rgb(colour) for colour in STREAM_COLOURS])
        _show(row[1], torch.einsum("shw,sc->chw", shares, colours), "all three, mixed")
        for axes, name, share, colour in zip(row[2:], STREAM_NAMES, shares, STREAM_COLOURS, strict=True):
            title = f"{name}: {share.mean():.0%} of the whole"
            _map(axes, figure, share, title, colour=colour, limits=(0, 1), map_name="gray")
    return _with_legend(figure)


def spatial_attention(recording: Recording) -> Figure:
    """The spatial attention of all six DAUs."""
    figure, rows = _grid(2, 3, 11, 5.2)
    for row, column in zip(rows, COLUMNS, strict=True):
        for stream, axes in enumerate(row):
            weights = _cropped(recording.spatial[f"{column}.{stream}"], recording)
            title = f"{STREAM_NAMES[stream]}, {column} column"
            _map(axes, figure, weights, title, colour=STREAM_COLOURS[stream], map_name="inferno")
    return figure


def channel_attention(recording: Recording) -> Figure:
    """The channel attention of all six DAUs, sorted, on the whole scale that a sigmoid has."""
    figure, rows = _grid(2, 3, 11, 3)
    for row, column in zip(rows, COLUMNS, strict=True):
        for stream, axes in enumerate(row):
            weights = np.sort(recording.channel[f"{column}.{stream}"].numpy())[::-1]
            axes.stairs(weights, fill=True, color=STREAM_COLOURS[stream])
            axes.set(xlim=(0, len(weights)), ylim=(0, 1), yticks=(0, 0.5, 1))
            axes.axhline(0.5, color="white", linewidth=1, linestyle=":")
            axes.set_title(
                f"{STREAM_NAMES[stream]}, {column} column: {weights.min():.2f} to {weights.max():.2f}", fontsize=9
            )
            _bare(axes)
    return figure


def branches(network: Lite, recording: Recording) -> Figure:
    """The two branches of a real down-sampler, from the full stream to the half one."""
    down = network.get_submodule("restorer.trunk.rrgs.0.mrbs.0.resize.0_1.0")
    assert isinstance(down, Down | LightDown)
    entered = recording.modules["resize.0_1"].input
    with torch.inference_mode():
        main, skip = down.main(entered[None])[0], down.skip(entered[None])[0]
    figure, ((first, second, third, fourth),) = _grid(1, 4, 12, 2.2)
    for axes, features, title in (
        (first, entered, "input"), (second, main, "main branch"), (third, skip, "skip branch"),
        (fourth, main + skip, "output: their sum"),
    ):  # fmt: skip
        _map(axes, figure, strength(features), f"{title}: {' × '.join(map(str, features.shape))}")
    return figure


def aliasing(image: Tensor, square: Sequence[int]) -> Figure:
    """A detail (top, left, side) of an image (3, H, W), and the detail halved twice in three ways."""
    top, left, side = square
    detail = image[None, :, top : top + side, left : left + side]
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


def switched_off(network: Lite, photos: Mapping[str, Recording]) -> Figure:
    """The change with one mechanism replaced by a constant: as an image for the first photo, as a number for all."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    grid = figure.add_gridspec(2, len(CONSTANTS), height_ratios=(1, 1.1))
    changes = {
        name: {what: restore_with_constant(network, recording.photo, what) - recording.restored for what in CONSTANTS}
        for name, recording in photos.items()
    }
    for column, (what, change) in enumerate(next(iter(changes.values())).items()):
        mechanism, _, how = what.partition(": ")
        _show(figure.add_subplot(grid[0, column]), (0.5 + 4 * change).clamp(0, 1), f"{mechanism}\n{how}".strip())
    axes = figure.add_subplot(grid[1, :])
    rows = ["the whole change by the network", *CONSTANTS]
    for number, (name, recording) in enumerate(photos.items()):
        whole = levels(recording.restored - recording.photo.exposed)
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


def strength(features: Tensor) -> Tensor:
    """(C, h, w) to (h, w): the root mean square of the channels."""
    return features.square().mean(0).sqrt()


def levels(change: Tensor) -> float:
    """The root mean square of a difference of images, in levels of 255."""
    return 255 * math.sqrt(float(change.square().mean()))


# --- layout ------------------------------------------------------------------------------


def _grid(rows: int, columns: int, width: float, height: float,
          heights: Sequence[float] | None = None) -> tuple[Figure, NDArray[np.object_]]:  # fmt: skip
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, gridspec_kw={"height_ratios": heights})


def _show(axes: Axes, image: Tensor, title: str = "") -> None:  # (3, H, W) in [0, 1]
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def _map(axes: Axes, figure: Figure, values: Tensor, title: str, *, colour: str = "black", map_name: str = "viridis",
         limits: tuple[float, float] | None = None) -> None:  # fmt: skip
    """Draws (h, w) with its scale: from the smallest to the largest value, or between limits."""
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


def _cropped(maps: Tensor, recording: Recording) -> Tensor:
    """Maps (…, h, w) without the padding to a multiple of the network's coarsest pixel."""
    height, width = recording.photo.dark.shape[1:]
    full = recording.modules["mrb"].input.shape[1]  # rows of the full stream, padding included
    pixel = 2 * full / maps.shape[-2]
    return maps[..., : math.ceil(height / pixel), : math.ceil(width / pixel)]
