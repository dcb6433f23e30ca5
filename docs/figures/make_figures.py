"""Draws all figures of docs/how-it-works.md, from the shipped weights and the photos of examples/.

    python docs/figures/make_figures.py [FOLDER [SHRINK]]

FOLDER is the target, by default the folder of this file. SHRINK uses only every SHRINK-th pixel, for a quick
test. Needs `pip install 'mirnet[train]'`. The same weights give the
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
import panels
import torch
from matplotlib.figure import Figure
from recording import load_network, prepare, record

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
    """A function that draws the figure, for each file name."""
    files = {name: REPOSITORY / "examples" / file for name, file in PHOTOS.items()}
    photos = {name: record(network, prepare(network, file, shrink)) for name, file in files.items()}
    cat, coffee, rocket = photos.values()
    eye, lattice = ([number // shrink for number in square] for square in (CAT_EYE, LATTICE))
    shapes = [diagrams.Shape(*cat.modules[f"first.{stream}"].output.shape) for stream in range(3)]
    height, width = cat.photo.dark.shape[1:]
    return {
        "group.svg": lambda: diagrams.group(_paper_parameters()),
        "lite.svg": lambda: diagrams.lite(shapes[0], _count(network), height, width),
        "mrb.svg": lambda: diagrams.mrb(shapes),
        "skff.svg": diagrams.skff,
        "dau.svg": diagrams.dau,
        "resizing.svg": diagrams.resizing,
        "exposure.jpg": lambda: _jpeg(panels.exposure(cat, eye)),
        "residuals.jpg": lambda: _jpeg(panels.residuals(cat)),
        "streams.jpg": lambda: _jpeg(panels.streams(cat)),
        "skff-weights.png": lambda: _png(panels.skff_weights(cat)),
        "skff-where.jpg": lambda: _jpeg(panels.where([cat, coffee])),
        "dau-spatial.jpg": lambda: _jpeg(panels.spatial_attention(cat)),
        "dau-channel.png": lambda: _png(panels.channel_attention(cat)),
        "resizing-branches.jpg": lambda: _jpeg(panels.branches(network, cat)),
        "resizing-aliasing.jpg": lambda: _jpeg(panels.aliasing(rocket.photo.exposed, lattice)),
        "switched-off.jpg": lambda: _jpeg(panels.switched_off(network, photos)),
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
    """For photos, which are large as PNG; colours at full resolution, for sharp letters."""
    return _saved(figure, format="jpeg", pil_kwargs={"quality": 80, "subsampling": 0, "optimize": True})


def _saved(figure: Figure, **how: object) -> bytes:
    content = io.BytesIO()
    with matplotlib.rc_context({"font.family": "DejaVu Sans"}):
        figure.savefig(content, dpi=DPI, **how)  # type: ignore[arg-type]
    return content.getvalue()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE, int(sys.argv[2]) if sys.argv[2:] else 1)
