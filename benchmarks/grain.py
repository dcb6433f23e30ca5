"""Draws the remaining noise: details of dark images, as they are and with two weights, beside the bright images.

    mirnet data darken PHOTOS -o DARKENED --stops 3 6
    python benchmarks/grain.py DARKENED docs/grain.webp --weights lite free

Columns: the dark image, exposed as the first weights propose, the result of each weights with the default settings, and
the bright image; original pixels, not resized. Images are R, G and B of 8 bit.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mirnet import Enhancer, read_image
from mirnet.exposure import expose
from mirnet.pairs import find_pairs

HEIGHT_PX, WIDTH_PX, GAP_PX = 180, 260, 4
Photo = NDArray[np.uint8]  # (H, W, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--weights", nargs="+", default=["lite", "free"])
    asked = parser.parse_args()
    enhancers = [Enhancer(name) for name in asked.weights]
    pairs = find_pairs(asked.data)
    columns = 2 + len(enhancers)
    sheet = Image.new("RGB", (columns * (WIDTH_PX + GAP_PX), len(pairs) * (HEIGHT_PX + GAP_PX)), "white")
    for row, pair in enumerate(pairs):
        dark, bright = (read_image(path) for path in (pair.dark, pair.bright))
        exposed = 255 * expose(dark / np.float32(255), np.float32(enhancers[0].propose(dark)))
        pictures = [np.rint(exposed).astype(np.uint8), *(each.enhance(dark) for each in enhancers), bright]
        for column, picture in enumerate(pictures):
            place = column * (WIDTH_PX + GAP_PX), row * (HEIGHT_PX + GAP_PX)
            sheet.paste(Image.fromarray(middle(picture)), place)
    sheet.save(asked.sheet, quality=88)


def middle(picture: Photo) -> Photo:
    top, left = (max(0, (side - size) // 2) for side, size in zip(picture.shape, (HEIGHT_PX, WIDTH_PX), strict=False))
    return np.ascontiguousarray(picture[top : top + HEIGHT_PX, left : left + WIDTH_PX])


if __name__ == "__main__":
    main()
