"""Whether tiles show: large pictures in tiles against the same in one piece.

    python benchmarks/seams.py FOLDER [--megapixels 12]

FOLDER holds dark photographs. Two pictures are made of them: a mosaic of many scenes side by side, and one scene, the
first photograph mirrored again and again. Each is rendered in one piece (which needs about 0.6 GB of memory a
megapixel), in tiles of several sizes, and in tiles that each look at themselves, as other tools do. Beside it stands
how far the picture with the survey's statistics is from one with the statistics of all its pixels. Differences are of
the 8-bit results, in steps of 1/255; PSNR over R, G and B, range 1.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mirnet import Enhancer, metrics
from mirnet.formats import of_suffix
from mirnet.inference import first_pass, second_pass
from mirnet.inference.second_pass import RenderPlan
from mirnet.inference.settings import Settings
from mirnet.inference.source import Source

CELL = (400, 600)
TILES = (256, 640)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megapixels", type=float, default=12)
    given = parser.parse_args()
    paths = [path for path in sorted(given.folder.iterdir()) if of_suffix(path.suffix)]
    if not paths:
        raise SystemExit(f"{given.folder}: expected dark photographs; there are none.")
    photos = [np.asarray(ImageOps.fit(Image.open(path).convert("RGB"), CELL[::-1])) for path in paths]
    side = max(1, round((given.megapixels * 1e6 / (CELL[0] * CELL[1])) ** 0.5))
    mosaic = tiled([photos[number % len(photos)] for number in range(side**2)], side)
    flips = (slice(None), slice(None, None, -1))
    one = tiled([photos[0][flips[number // side % 2], flips[number % 2]] for number in range(side**2)], side)
    enhancer = Enhancer()
    print("| picture | against one piece | largest difference | PSNR |\n|---|---|---|---|")
    for name, picture in ((f"mosaic of {min(side**2, len(photos))} scenes", mosaic), ("one scene", one)):
        compare(enhancer, f"{name}, {picture.shape[1]}x{picture.shape[0]}", picture)


def tiled(photos: list[np.ndarray], side: int) -> np.ndarray:
    rows = [np.concatenate(photos[row * side : (row + 1) * side], axis=1) for row in range(side)]
    return np.concatenate(rows)


def compare(enhancer: Enhancer, name: str, picture: np.ndarray) -> None:
    source, calm = Source.of(picture), Settings(denoise=1.0)
    plan = second_pass.plan_image(source, enhancer.runtime, enhancer.card, calm)
    longest = max(picture.shape)

    def rendered(changed: RenderPlan) -> np.ndarray:
        return np.concatenate(list(second_pass.render(source, changed, enhancer.runtime, enhancer.card, calm)))

    whole = rendered(replace(plan, tile_px=longest))
    for tile_px in TILES:
        show(name, f"tiles of {tile_px} px", rendered(replace(plan, tile_px=tile_px)), whole)
    show(name, "tiles of 640 px that look at themselves", rendered(replace(plan, scene=None, tile_px=640)), whole)
    own = own_scene(enhancer, source, plan)
    show(name, "statistics of every pixel", rendered(replace(plan, scene=own)), whole)


def own_scene(enhancer: Enhancer, source: Source, plan: RenderPlan) -> np.ndarray:
    """The scene of the whole picture, as a small one is surveyed."""
    limit, first_pass.WHOLE_PX = first_pass.WHOLE_PX, source.height * source.width
    samples = first_pass.SceneSamples(source)
    first_pass.WHOLE_PX = limit
    first_pass.read_bands(source, [samples])
    return samples.survey(enhancer.runtime, enhancer.card, plan.stops, 0.0).scene


def show(name: str, what: str, result: np.ndarray, whole: np.ndarray) -> None:
    steps = int(np.abs(result.astype(int) - whole).max())
    psnr = metrics.psnr(result / np.float32(255), whole / np.float32(255))
    print(f"| {name} | {what} | {steps}/255 | {psnr:.1f} dB |", flush=True)


if __name__ == "__main__":
    main()
