"""Measures whether tiles are visible: large images in tiles against the same images in one piece.

    python benchmarks/seams.py FOLDER [--megapixels 12]

FOLDER has dark photos. Two images are made of them: a mosaic of many scenes side by side, and one scene, the first
photo mirrored again and again. Each is rendered in one piece (which needs about 0.6 GB of memory a megapixel), in tiles
of several sizes, and in tiles with scene statistics of their own, as other tools do. The last row is the difference
between scene statistics from samples and from all pixels. Differences are of the 8-bit results, in steps of 1/255; PSNR
over R, G and B, range 1.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mirnet import Enhancer, metrics
from mirnet.formats import find_format
from mirnet.inference import first_pass, tiles
from mirnet.inference.render_plan import RenderPlan, plan_image
from mirnet.inference.scene_statistics import SceneSamples
from mirnet.inference.second_pass import SecondPass
from mirnet.inference.settings import Settings
from mirnet.inference.source import ImageSource

CELL = (400, 600)
TILES = (256, 640)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megapixels", type=float, default=12)
    given = parser.parse_args()
    paths = [path for path in sorted(given.folder.iterdir()) if find_format(path.suffix)]
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
    source, calm = ImageSource.from_array(picture), Settings(denoise=1.0)
    plan = plan_image(source, enhancer.runtime, enhancer.card, calm)
    longest = max(picture.shape)

    def rendered(changed: RenderPlan) -> np.ndarray:
        return np.concatenate(list(SecondPass(source, changed, enhancer.runtime, enhancer.card, calm).render()))

    whole = rendered(replace(plan, tile_px=longest))
    for tile_px in TILES:
        show(name, f"tiles of {tile_px} px", rendered(replace(plan, tile_px=tile_px)), whole)
    show(
        name,
        "tiles of 640 px, each with averages of its own",
        rendered(replace(plan, scene_vector=None, tile_px=640)),
        whole,
    )
    own = own_scene(enhancer, source, plan)
    show(name, "statistics of every pixel", rendered(replace(plan, scene_vector=own)), whole)


def own_scene(enhancer: Enhancer, source: ImageSource, plan: RenderPlan) -> np.ndarray:
    """The scene of the whole picture, as that of a small one is measured."""
    limit, tiles.MAX_ONE_PIECE_PX = tiles.MAX_ONE_PIECE_PX, source.height * source.width
    samples = SceneSamples(source)
    tiles.MAX_ONE_PIECE_PX = limit
    first_pass.read_bands(source, [samples])
    return samples.measure_scene(enhancer.runtime, enhancer.card, plan.stops, 0.0).vector


def show(name: str, what: str, result: np.ndarray, whole: np.ndarray) -> None:
    steps = int(np.abs(result.astype(int) - whole).max())
    psnr = metrics.psnr(result / np.float32(255), whole / np.float32(255))
    print(f"| {name} | {what} | {steps}/255 | {psnr:.1f} dB |", flush=True)


if __name__ == "__main__":
    main()
