"""Compares a network with scikit-image's denoisers by PSNR, on photos that none of them was tuned on.

    python benchmarks/denoising.py PHOTOS --tune OTHER_PHOTOS [--weights W.onnx]

Gaussian noise of 10, 25 and 50 of 255 on sRGB values, clipped and rounded to 8 bit, as denoisers are usually compared;
all results are rounded likewise before they are scored. The network does not get the strength of the noise. Non-local
means (Buades et al., CVPR 2005) and wavelet shrinkage (Chang et al., IEEE TIP 2000) get the true sigma, and their
settings are chosen, level by level, on OTHER_PHOTOS. Wavelet shrinkage is averaged over 16 shifts (Coifman and Donoho,
1995), without which it is weaker. Prints Markdown.
"""

import argparse
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.restoration import cycle_spin, denoise_nl_means, denoise_wavelet

from mirnet import Enhancer, metrics, read_image
from mirnet.evaluation.intervals import Mean, mean_with_interval
from mirnet.pairs import image_files

SIGMAS = (10, 25, 50)
TUNING_SIZE, TUNING_PHOTOS = 192, 12  # non-local means takes seconds for each setting and picture
SHIFTS = 3  # in both directions, so 16 positions

Picture = NDArray[np.uint8]  # (H, W, 3)
Denoiser = Callable[[Picture, int], Picture]  # a noisy picture and its sigma


@dataclass(frozen=True)
class Settings:
    """What is tuned for one level; the first of each grid is what scikit-image's documentation advises."""

    nl_means: dict[str, Any]
    wavelet: dict[str, Any]


NL_MEANS = [
    {"h": h, "patch_size": patch_px, "patch_distance": distance_px}
    for h, patch_px, distance_px in product((0.8, 0.3, 0.4, 0.5, 0.6, 0.7), (5, 3, 7), (6, 11))
]
WAVELET = [
    {"method": method, "mode": mode, "wavelet": wavelet, "wavelet_levels": levels, "convert2ycbcr": luma}
    for method, mode, wavelet, levels, luma in product(
        ("BayesShrink", "VisuShrink"),
        ("soft", "hard"),
        ("db1", "db2", "sym4", "sym8", "bior4.4"),
        (3, 4, 5),
        (True, False),
    )
]


def by_nl_means(noisy: Picture, sigma: int, h: float, **settings: Any) -> Picture:
    share = sigma / 255
    return as_8_bit(denoise_nl_means(noisy / 255, h=h * share, sigma=share, channel_axis=2, **settings))


def by_wavelet(noisy: Picture, sigma: int, shifts: int = SHIFTS, **settings: Any) -> Picture:
    with warnings.catch_warnings():
        # it says of our settings that sigma is scaled and that small pictures have few levels, both of which we know
        warnings.simplefilter("ignore")
        told = {"sigma": sigma / 255, "channel_axis": 2, "rescale_sigma": True, **settings}
        return as_8_bit(cycle_spin(noisy / 255, denoise_wavelet, shifts, num_workers=1, func_kw=told, channel_axis=2))


def as_8_bit(picture: NDArray[np.floating]) -> Picture:
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def middle(picture: Picture, size: int) -> Picture:
    """At most `size` pixels a side; 0: all of it."""
    top, left = (max(0, (side - size) // 2) if size else 0 for side in picture.shape[:2])
    return picture[top : top + (size or picture.shape[0]), left : left + (size or picture.shape[1])]


def with_noise(clean: Picture, sigma: int, number: int) -> Picture:
    noise = np.random.default_rng([sigma, number]).normal(0, sigma, clean.shape)
    return np.clip(np.round(clean + noise), 0, 255).astype(np.uint8)


def psnrs(clean: Sequence[Picture], sigma: int, denoise: Denoiser, seed: int = 0) -> NDArray[np.float64]:
    """(N,): of each picture with noise, denoised."""
    results = (denoise(with_noise(each, sigma, seed + number), sigma) for number, each in enumerate(clean))
    return np.array([psnr(result, each) for result, each in zip(results, clean, strict=True)])


def psnr(result: Picture, truth: Picture) -> float:
    return metrics.psnr(result / np.float32(255), truth / np.float32(255))


def tuned(photos: Sequence[Picture], sigma: int) -> Settings:
    """The settings of the best mean PSNR, each method's by itself."""

    def best(grid: list[dict[str, Any]], denoise: Callable[..., Picture]) -> dict[str, Any]:
        return max(grid, key=lambda one: psnrs(photos, sigma, lambda x, s: denoise(x, s, **one), seed=1000).mean())

    plain = [{"shifts": 0, **one} for one in WAVELET]
    return Settings(best(NL_MEANS, by_nl_means), {**best(plain, by_wavelet), "shifts": SHIFTS})


def photos_in(folder: Path, size: int, at_most: int | None = None) -> list[Picture]:
    """The middles of a folder's photos; of `at_most` so many, evenly chosen by name."""
    files = list(image_files(folder))
    chosen = files[:: -(-len(files) // at_most)] if at_most else files
    return [np.ascontiguousarray(middle(read_image(file), size)) for file in chosen]


def row(sigma: int, clean: Sequence[Picture], enhancer: Enhancer, settings: Settings) -> str:
    noisy = psnrs(clean, sigma, lambda x, s: x)
    others = {
        "non-local means": psnrs(clean, sigma, lambda x, s: by_nl_means(x, s, **settings.nl_means)),
        "wavelets": psnrs(clean, sigma, lambda x, s: by_wavelet(x, s, **settings.wavelet)),
    }
    ours = psnrs(clean, sigma, lambda x, s: enhancer.enhance(x, keep_exposure=True, denoise=1.0))
    better = max(others, key=lambda name: others[name].mean())
    means = [f"{each.mean():.2f}" for each in (noisy, *others.values(), ours)]
    difference = ours - others[better]
    gain = f"{said(mean_with_interval(difference))} ({better}; better on {(difference > 0).sum()} of {len(ours)})"
    return f"| {sigma} | {' | '.join(means)} | {gain} |"


def said(mean: Mean) -> str:
    return f"{mean.mean:+.2f} dB, 95 % {mean.low:+.2f} to {mean.high:+.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--weights", default="denoise")
    parser.add_argument("--tune", type=Path, help="other photos; without them scikit-image's advice is followed")
    parser.add_argument("--size", type=int, default=512, help="of the middles that are denoised; 0: whole pictures")
    asked = parser.parse_args()
    started = time.monotonic()
    enhancer, clean = Enhancer(asked.weights), photos_in(asked.photos, asked.size)
    others = photos_in(asked.tune, TUNING_SIZE, TUNING_PHOTOS) if asked.tune else []
    rows, found = [], {}
    for sigma in SIGMAS:
        found[sigma] = tuned(others, sigma) if others else Settings(NL_MEANS[0], WAVELET[0])
        rows.append(row(sigma, clean, enhancer, found[sigma]))
    what = f"middles of {asked.size} px" if asked.size else "whole pictures"
    print(
        f"{len(clean)} photos ({what}); weights {enhancer.card.name}, sha256 {enhancer.card.sha256[:12]}; PSNR in dB\n"
    )
    print(f"| sigma | noisy | non-local means | wavelets | {enhancer.card.name} | over the better of the two |")
    print("|---|---|---|---|---|---|")
    print("\n".join(rows), "\n")
    for sigma, settings in found.items():
        print(f"- sigma {sigma}: non-local means {settings.nl_means}; wavelets {settings.wavelet}")
    print(
        f"\nscikit-image {version('scikit-image')}, PyWavelets {version('PyWavelets')}, Python "
        f"{platform.python_version()}, {time.strftime('%Y-%m-%d')}; {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    main()
