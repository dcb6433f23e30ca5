"""Draws all figures of docs/how-it-works.md, from the weights that mirnet ships and the photographs of examples/.

    python docs/figures/make_figures.py [FOLDER [SHRINK]]

FOLDER is where they go; without it, beside this file. With a SHRINK only every so many pixels are looked at, for a
quick try. Needs `pip install 'mirnet[train]'`. The same weights give the
same figures; `made-from.json` says which weights these were.
"""

import hashlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import diagrams
import matplotlib
import pictures
import torch
from listen import load_network, observe, prepare
from matplotlib.figure import Figure

from mirnet.files import write_whole
from mirnet.network import Lite, build

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
WEIGHTS = REPOSITORY / "src" / "mirnet" / "weights" / "lite.safetensors"
PHOTOS = {"cat": "cat-twin.jpg", "coffee": "coffee-twin.jpg", "rocket": "rocket-at-dusk.jpg"}
CAT_EYE = (60, 110, 110)  # top, left, side
LATTICE = (60, 0, 176)  # the rocket's left tower
DPI = 100


def figures(network: Lite, shrink: int) -> dict[str, Callable[[], bytes]]:
    """Every figure by its file's name, drawn when called."""
    files = {name: REPOSITORY / "examples" / file for name, file in PHOTOS.items()}
    photos = {name: observe(network, prepare(network, file, shrink)) for name, file in files.items()}
    cat, coffee, rocket = photos.values()
    eye, lattice = ([number // shrink for number in square] for square in (CAT_EYE, LATTICE))
    shapes = [diagrams.Shape(*cat.passages[f"first.{stream}"].left.shape) for stream in range(3)]
    height, width = cat.seen.dark.shape[1:]
    return {
        "group.svg": lambda: diagrams.group(_paper_parameters()),
        "lite.svg": lambda: diagrams.lite(shapes[0], _count(network), height, width),
        "mrb.svg": lambda: diagrams.mrb(shapes),
        "skff.svg": diagrams.skff,
        "dau.svg": diagrams.dau,
        "resizing.svg": diagrams.resizing,
        "exposure.jpg": lambda: _jpeg(pictures.exposure(cat, eye)),
        "residuals.jpg": lambda: _jpeg(pictures.residuals(cat)),
        "streams.jpg": lambda: _jpeg(pictures.streams(cat)),
        "skff-votes.png": lambda: _png(pictures.votes(cat)),
        "skff-where.jpg": lambda: _jpeg(pictures.where([cat, coffee])),
        "dau-spatial.jpg": lambda: _jpeg(pictures.spatial_attention(cat)),
        "dau-channel.png": lambda: _png(pictures.channel_attention(cat)),
        "resizing-branches.jpg": lambda: _jpeg(pictures.branches(network, cat)),
        "resizing-aliasing.jpg": lambda: _jpeg(pictures.aliasing(rocket.seen.exposed, lattice)),
        "switched-off.jpg": lambda: _jpeg(pictures.switched_off(network, photos)),
    }


def main(folder: Path = HERE, shrink: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in figures(load_network(WEIGHTS), shrink).items():
        content = draw()
        write_whole(folder / name, content)
        print(f"{folder / name}: {len(content) / 1000:.0f} kB")
    made_from = {"weights": WEIGHTS.name, "sha256": hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()}
    write_whole(folder / "made-from.json", (json.dumps(made_from, indent=2) + "\n").encode())


def _count(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _paper_parameters() -> int:
    with torch.device("meta"):
        return _count(build("paper"))


def _png(figure: Figure) -> bytes:
    return _saved(figure, format="png", metadata={"Software": None})


def _jpeg(figure: Figure) -> bytes:
    """For photographs, which PNG would make large; colours at full resolution, or letters would fray."""
    return _saved(figure, format="jpeg", pil_kwargs={"quality": 80, "subsampling": 0, "optimize": True})


def _saved(figure: Figure, **how: object) -> bytes:
    content = io.BytesIO()
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        figure.savefig(content, dpi=DPI, **how)  # type: ignore[arg-type]
    return content.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE, int(sys.argv[2]) if sys.argv[2:] else 1)
