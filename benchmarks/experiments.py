"""Draws the learning curves of docs/experiments.md, which explains the letters, from `experiments.csv`.

    python benchmarks/experiments.py docs/learning.png

A point is the PSNR at the ground truth's exposure on LOL's 48 validation pairs, over all crops that the network was
trained on until then, including those of the networks that it started from.
"""

import csv
import sys
from pathlib import Path

from matplotlib.figure import Figure

EXPERIMENTS = Path(__file__).with_suffix(".csv")
GROUPS = {"pairs": "pairs of LOL and photographs", "photographs": "photographs alone, no LOL"}


def main(target: Path) -> None:
    with EXPERIMENTS.open(newline="") as file:
        rows = {row["row"]: row for row in csv.DictReader(file)}
    places = {name: (seen(rows, name), float(row["PSNR at the truth's exposure"])) for name, row in rows.items()}
    figure = Figure(figsize=(8, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    for colour, (group, label) in zip(("C0", "C1"), GROUPS.items(), strict=True):
        members = {name: row for name, row in rows.items() if row["data"] == group}
        axes.plot(*zip(*(places[name] for name in members), strict=True), "o", color=colour, label=label)
        for name in members:
            x, y = places[name]
            axes.annotate(name, (x, y), textcoords="offset points", xytext=(5, 4), color=colour)
            if begun := members[name]["begins with"]:
                axes.plot((places[begun][0], x), (places[begun][1], y), "-", color=colour, linewidth=1)
    axes.set(xlabel="crops seen, gigapixels", ylabel="PSNR at the truth's exposure, dB", xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(target)


def seen(rows: dict[str, dict[str, str]], name: str) -> float:
    """The gigapixels of a row and of all before it."""
    begun = rows[name]["begins with"]
    return float(rows[name]["gigapixels"]) + (seen(rows, begun) if begun else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
