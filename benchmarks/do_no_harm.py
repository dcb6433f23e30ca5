"""Measures what `enhance` changes in good photos, and in photos that are darkened step by step.

    python benchmarks/do_no_harm.py PHOTOS... [--sheet sheet.png]        # good photos, which should not change
    python benchmarks/do_no_harm.py PHOTOS... --gradual gradual.png      # six of them, darkened step by step

PHOTOS are files and folders. Tables are Markdown on standard output. Protocol: whole images, R, G and B, range 1,
rounded to 8 bit, default settings; *newly clipped*: a channel at 254 or more that was below 250, in percent of the
pixels. Photos are darkened by `mirnet.exposure.expose`, with shot and read noise of a phone at ISO 800, rounded to
8 bit.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageDraw, ImageOps

from mirnet import Enhancer, metrics
from mirnet.exposure import expose, to_encoded, to_linear
from mirnet.formats import find_format

LONGEST_PX = 1200  # photographs are made smaller, so that a hundred of them take minutes
GRADUAL_PX, STEPS, DARKEST_STOPS, PHOTOS = 480, 25, 6.0, 6
SHOT, READ = 4e-4, 6e-6  # of linear light: variance = SHOT · light + READ
SMALL_PX = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--gradual", type=Path)
    parser.add_argument("--weights", default="lite")
    given = parser.parse_args()
    paths = list(files(given.photos))
    enhancer = Enhancer(given.weights)
    if given.gradual:
        gradual(enhancer, paths[:: max(1, len(paths) // PHOTOS)][:PHOTOS], given.gradual)
    else:
        left_alone(enhancer, paths, given.sheet)


def files(given: list[Path]) -> Iterator[Path]:
    for path in given:
        if path.is_dir():
            yield from (each for each in sorted(path.iterdir()) if find_format(each.suffix))
        else:
            yield path


def opened(path: Path, longest_px: int) -> np.ndarray:
    """(H, W, 3) uint8, upright, no longer than that."""
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    image.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    return np.asarray(image)


# Good photographs ----------------------------------------------------------------------------------------------------


def left_alone(enhancer: Enhancer, paths: list[Path], sheet: Path | None) -> None:
    print("| photo | stops | PSNR to itself | SSIM | newly clipped |\n|---|---|---|---|---|")
    rows, numbers = [], []
    for path in paths:
        photo = opened(path, LONGEST_PX)
        result = enhancer.enhance(photo)
        before, after = photo / np.float32(255), result / np.float32(255)
        measured = (
            enhancer.propose(photo), metrics.psnr(after, before), metrics.ssim(after, before),
            100 * newly_clipped(photo, result),
        )  # fmt: skip
        numbers.append(measured)
        print("| {} | {:+.2f} | {:.1f} dB | {:.3f} | {:.2f} % |".format(path.name, *measured), flush=True)
        rows.append((f"{path.name}  {measured[0]:+.2f} stops  {measured[1]:.1f} dB", photo, result))
    means = [float(np.mean([min(each, 99.0) for each in column])) for column in zip(*numbers, strict=True)]
    print("| **mean of {}** | {:+.2f} | {:.1f} dB | {:.3f} | {:.2f} % |".format(len(numbers), *means))
    if sheet:
        save_sheet(rows, sheet)


def newly_clipped(before: np.ndarray, after: np.ndarray) -> float:
    """The share of pixels with a channel at 254 or more that was below 250."""
    return float(((after >= 254) & (before < 250)).any(2).mean())


def save_sheet(rows: list[tuple[str, np.ndarray, np.ndarray]], path: Path, columns: int = 3) -> None:
    """Each photo before and after, with its name and numbers, several to a row."""
    cell = (2 * SMALL_PX + 10, SMALL_PX + 20)
    page = Image.new("RGB", (columns * cell[0], -(-len(rows) // columns) * cell[1]), "white")
    for index, (label, *pictures) in enumerate(rows):
        left, top = index % columns * cell[0], index // columns * cell[1]
        ImageDraw.Draw(page).text((left, top + 2), label, fill="black")
        for number, picture in enumerate(pictures):
            small = Image.fromarray(picture)
            small.thumbnail((SMALL_PX, SMALL_PX))
            page.paste(small, (left + number * (SMALL_PX + 2), top + 18))
    page.save(path)


# From fine to dark ---------------------------------------------------------------------------------------------------


def gradual(enhancer: Enhancer, paths: list[Path], plot: Path) -> None:
    darkened = np.linspace(0, DARKEST_STOPS, STEPS)
    curves = {}
    print(
        f"| photo | proposed stops at 0, 1, 2 ... {DARKEST_STOPS:g} stops darker | PSNR to the photo "
        "| largest step of the result's mean brightness | of the input's |\n|---|---|---|---|---|"
    )
    for path in paths:
        photo = opened(path, GRADUAL_PX) / np.float32(255)
        rows = [measured(enhancer, photo, stops) for stops in darkened]
        curves[path.stem] = np.array(rows)
        stops, psnr, mean, mean_input = curves[path.stem].T
        whole = slice(None, None, round((STEPS - 1) / DARKEST_STOPS))
        print(
            f"| {path.name} | {' '.join(f'{each:.1f}' for each in stops[whole])} "
            f"| {' '.join(f'{min(each, 99):.0f}' for each in psnr[whole])} "
            f"| {np.abs(np.diff(mean)).max():.3f} | {np.abs(np.diff(mean_input)).max():.3f} |",
            flush=True,
        )
    draw(darkened, curves, plot)


def measured(enhancer: Enhancer, photo: np.ndarray, stops: float) -> tuple[float, float, float, float]:
    """Stops proposed, PSNR of the result to the photo, mean brightness of the result and of its input."""
    light = to_linear(expose(photo, -stops))
    noise = np.random.default_rng(0).normal(size=light.shape).astype(np.float32) if stops else 0
    noisy = light + noise * np.sqrt(SHOT * light + READ)
    dark = np.rint(to_encoded(np.clip(noisy, 0, 1)) * 255).astype(np.uint8)
    result = enhancer.enhance(dark) / np.float32(255)
    return enhancer.propose(dark), metrics.psnr(result, photo), float(result.mean()), float(dark.mean() / 255)


def draw(darkened: np.ndarray, curves: dict[str, np.ndarray], path: Path) -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(15, 4.5), layout="constrained")
    for name, curve in curves.items():
        for axis, column in zip(axes, (0, 2, 1), strict=True):
            axis.plot(darkened, np.minimum(curve[:, column], 60), label=name[:24])
    axes[0].plot(darkened, darkened, "k:", linewidth=1, label="as many as were taken")
    for axis, title in zip(
        axes, ("proposed stops", "mean brightness of the result", "PSNR of the result to the photo, dB"), strict=True
    ):
        axis.set(title=title, xlabel="stops darker")
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=80)


if __name__ == "__main__":
    main()
