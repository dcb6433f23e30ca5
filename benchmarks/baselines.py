"""Scores classic methods beside the network on pairs: gammas, histogram equalisation, CLAHE and a denoiser.

    python benchmarks/baselines.py --data LOL      # the published layout: LOL/our485/low and high

The methods are tuned on every ninth of the 437 training pairs of splits/lol-train.txt: one gamma for all images, or the
mean that an individual gamma brings each image to; of exponents in steps of 0.05 and means in steps of 0.02, the values
with the best mean PSNR. Equalisation and CLAHE (scikit-image's, clip limit 0.03) work on the value of HSV. The wavelets
(BayesShrink, soft, sym8, 4 levels, on luma and chroma, 16 shifts) estimate the noise themselves. All results are 8-bit
files, scored by the printed protocol, like the network's.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from dark import Photo, clahe
from denoising import as_8_bit
from numpy.typing import NDArray
from quality import VALIDATION
from skimage.color import hsv2rgb, rgb2hsv
from skimage.exposure import equalize_hist
from skimage.restoration import cycle_spin, denoise_wavelet

from mirnet import Enhancer, metrics, read_image, write_image
from mirnet.evaluation.scores import Evaluation
from mirnet.evaluation.scoring import evaluate_enhancer, evaluate_results
from mirnet.inference.settings import Settings
from mirnet.pairs import Pair, find_pairs

TRAINING = VALIDATION.with_name("lol-train.txt")
TUNED_ON = 9  # every so many pairs
EXPONENTS = np.arange(0.1, 1.01, 0.05)
MEANS = np.arange(0.2, 0.7, 0.02)  # of 1
COLUMNS = ("psnr", "ssim", "psnr_gt_mean")

Method = Callable[[Photo], Photo]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="LOL v1 as published, or any folder of pairs")
    parser.add_argument("--train", type=Path, help="where the training pairs are, if not there")
    parser.add_argument("--weights", default="lite")
    asked = parser.parse_args()
    pairs = find_pairs(asked.data, names=VALIDATION)
    known = [(read_image(pair.dark), read_image(pair.bright))
             for pair in find_pairs(asked.train or asked.data, names=TRAINING)[::TUNED_ON]]  # fmt: skip
    exponent = _best(EXPONENTS, known, gamma)
    mean = _best(MEANS, known, to_mean)
    methods: dict[str, Method] = {
        "the dark picture": lambda photo: photo,
        f"one gamma, {exponent:.2f}": lambda photo: gamma(photo, exponent),
        f"a gamma each, to a mean of {mean:.2f}": lambda photo: to_mean(photo, mean),
        "histogram equalisation": equalised,
        "CLAHE": clahe,
        f"a gamma each, to {mean:.2f}, and wavelets": lambda photo: shrunk(to_mean(photo, mean)),
    }
    print("| method | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|", sep="\n")
    evaluations = [scored(name, method, pairs) for name, method in methods.items()]
    enhancer = Enhancer(asked.weights)
    evaluations.append(evaluate_enhancer(enhancer, pairs, Settings(), method=f"mirnet, weights {enhancer.card.name}"))
    for each in evaluations:
        means = (each.means[column] for column in COLUMNS)
        print(f"| {each.method} | " + " | ".join(f"{m.mean:.3f} ({m.low:.3f} to {m.high:.3f})" for m in means) + " |")
    print(f"\nOn {len(pairs)} pairs. Protocol: {evaluations[0].protocol}.")


def gamma(photo: Photo, exponent: float) -> Photo:
    return as_8_bit((photo / np.float32(255)) ** exponent)


def to_mean(photo: Photo, mean: float) -> Photo:
    """A photo under the gamma, 0.05 to 1, that gives it this mean, or comes nearest to it."""
    values: NDArray[np.float32] = np.maximum(photo, 0.5) / np.float32(255)
    low, high = 0.05, 1.0
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (low, middle) if (values**middle).mean() < mean else (middle, high)
    return as_8_bit(values**low)


def equalised(photo: Photo) -> Photo:
    hsv = rgb2hsv(photo)
    hsv[..., 2] = equalize_hist(hsv[..., 2])
    return as_8_bit(hsv2rgb(hsv))


def shrunk(photo: Photo) -> Photo:
    settings = {"method": "BayesShrink", "mode": "soft", "wavelet": "sym8", "wavelet_levels": 4,
                "convert2ycbcr": True, "channel_axis": 2, "rescale_sigma": True}  # fmt: skip
    return as_8_bit(cycle_spin(photo / 255, denoise_wavelet, 3, workers=1, func_kw=settings, channel_axis=2))


def scored(name: str, method: Method, pairs: Sequence[Pair]) -> Evaluation:
    with tempfile.TemporaryDirectory() as folder:
        for pair in pairs:
            target = Path(folder) / f"{pair.name}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_image(target, method(read_image(pair.dark)))
        return evaluate_results(Path(folder), pairs, method=name)


def _best(
    values: NDArray[np.float64], known: list[tuple[Photo, Photo]], make: Callable[[Photo, float], Photo]
) -> float:
    def score(value: float) -> float:
        return float(np.mean([metrics.psnr(make(dark, value) / np.float32(255), bright / np.float32(255))
                              for dark, bright in known]))  # fmt: skip

    return float(max(values, key=score))


if __name__ == "__main__":
    main()
