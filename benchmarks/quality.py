"""Measures the released scores again, from the shipped file and your own copy of LOL v1.

    python benchmarks/quality.py --data LOL        # the published layout: LOL/our485/low and high

Scores the 48 validation pairs (splits/lol-val.txt; none of their scenes is among the 437 of splits/lol-train.txt, which
`mirnet train LOL --names benchmarks/splits/lol-train.txt` takes), then their bright images as input, and compares the
first with the weights' card. The exit code is 1 if a score differs by 0.3 dB (SSIM: 0.01, stops: 0.05) from the card's.
Takes a few minutes. Protocol: printed with the numbers, and on the card.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from mirnet import Enhancer
from mirnet.evaluation.scores import Evaluation
from mirnet.evaluation.scoring import evaluate_enhancer
from mirnet.inference.settings import Settings
from mirnet.pairs import find_pairs

VALIDATION = Path(__file__).resolve().parent / "splits/lol-val.txt"
NEAR = {"ssim": 0.01, "ssim_true_exposure": 0.01, "stops_error_rms": 0.05}  # the others are in dB
NEAR_DB = 0.3  # validation was measured against truths kept as JPEG, 42 dB from the published PNG


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="LOL v1 as published, or any folder of pairs")
    parser.add_argument("--names", type=Path, default=VALIDATION, help="which pairs, one name a line")
    parser.add_argument("--weights", default="lite")
    asked = parser.parse_args()
    enhancer = Enhancer(asked.weights)
    if "psnr" not in enhancer.card.scores:
        sys.exit(f"{enhancer.card.name}: its card has no scores of dark pairs; what it was scored on: "
                 f"{enhancer.card.protocol or 'not stated'}.")  # fmt: skip
    pairs = find_pairs(asked.data, names=asked.names)
    dark = evaluate_enhancer(enhancer, pairs, Settings(), method=f"{len(pairs)} dark pictures")
    bright = evaluate_enhancer(enhancer, [replace(pair, dark=pair.bright) for pair in pairs], Settings(),
                      method=f"the same {len(pairs)} pictures bright, to themselves")  # fmt: skip
    print("\n".join(table([dark, bright])))
    print(f"\nProtocol: {dark.protocol}.\n")
    print("| score | card | here | difference |\n|---|---|---|---|")
    far = []
    for name, released in enhancer.card.scores.items():
        here = dark.means[name].mean
        print(f"| {name} | {released:.3f} | {here:.3f} | {here - released:+.3f} |")
        if abs(here - released) > NEAR.get(name, NEAR_DB):
            far.append(name)
    if far:
        sys.exit(f"Not reproduced: {', '.join(far)}. Are these the pairs that the card names?")


def table(evaluations: list[Evaluation]) -> list[str]:
    """Markdown: means with their 95 % intervals."""
    columns = ("psnr", "ssim", "psnr_gt_mean", "psnr_true_exposure", "stops_error_rms")
    lines = ["| input | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for each in evaluations:
        cells = []
        for column in columns:
            mean, digits = each.means[column], 2 if column.startswith("psnr") else 3
            cells.append(f"{mean.mean:.{digits}f} ({mean.low:.{digits}f} to {mean.high:.{digits}f})")
        lines.append(f"| {each.method} | " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()
