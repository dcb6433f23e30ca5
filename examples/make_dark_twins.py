"""Makes the images of this folder from their originals: synthetic low-light images, and one photo only shrunk.

    python examples/make_dark_twins.py ORIGINALS FOLDER

ORIGINALS is a folder with the originals that README.md names, FOLDER is the target. The noise is seeded: the same
originals give the same images.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mirnet.exposure import Floats, to_encoded, to_linear
from mirnet.images import read_image, write_image


@dataclass(frozen=True)
class Recipe:
    """How one image is made. Noise is in linear light, where white is 1."""

    original: str
    shrink: int = 1  # this many pixels squared are averaged to one
    stops: float = 0.0  # less light than in the original, in stops
    shot: float = 0.0  # variance of the noise as a share of the remaining light
    read: float = 0.0  # standard deviation of the noise without light


# Noise as a phone has it at night (coffee, cat, astronaut) and as a larger sensor has it (room).
RECIPES = {
    "hilltop-backlit.jpg": Recipe("sunset_by_Aitzol_Berasategi.jpg", shrink=3),
    "coffee-twin.jpg": Recipe("coffee.png", stops=4.5, shot=2e-4, read=6e-4),
    "cat-twin.jpg": Recipe("chelsea.png", stops=5.5, shot=1e-4, read=8e-4),
    "room-twin.jpg": Recipe("Wine_by_Jakkub_Mede.jpg", shrink=3, stops=5.0, shot=4e-5, read=3e-4),
    "astronaut-twin.jpg": Recipe("astronaut.png", stops=4.5, shot=2e-4, read=6e-4),
}


def average(image: Floats, factor: int) -> Floats:
    """(H, W, C) to (H // factor, W // factor, C), means of blocks; an incomplete last row or column is dropped."""
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, image.shape[2])
    return np.asarray(blocks.mean((1, 3)))


def darken(linear: Floats, recipe: Recipe, seed: int) -> Floats:
    """Returns linear light in [0, 1] as a sensor records it with `recipe.stops` less light: darker, and noisy."""
    light = linear * 2.0**-recipe.stops
    noise = np.random.default_rng(seed).standard_normal(light.shape)
    return np.asarray(np.clip(light + noise * np.sqrt(recipe.shot * light + recipe.read**2), 0, 1))


def make(original: NDArray[np.unsignedinteger], recipe: Recipe, seed: int) -> NDArray[np.uint8]:
    """Returns the image (H, W, 3), sRGB, 8 bit, that `recipe` makes of such an image."""
    linear = average(to_linear(original / 255.0), recipe.shrink)
    return np.rint(to_encoded(darken(linear, recipe, seed)) * 255).astype(np.uint8)


def main(originals: Path, folder: Path) -> None:
    for seed, (name, recipe) in enumerate(RECIPES.items()):
        made = make(read_image(originals / recipe.original), recipe, seed)
        write_image(folder / name, made, overwrite=True)
        print(f"{folder / name}: {made.shape[1]}x{made.shape[0]}, mean {made.mean():.0f} of 255")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
