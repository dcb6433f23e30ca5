"""A folder of pairs made from good photos: their dark twins, or noisy ones, by the model in `synthesis`."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from mirnet import images
from mirnet.errors import SettingsError
from mirnet.pairs import Pair
from mirnet.training.data import Picture, read_photo, to_unit
from mirnet.training.draws import Draws
from mirnet.training.synthesis import MOST_STOPS, dark_twin, drawn_jpeg, noisy_twin

LEAST_STOPS = 1.0
JPEG_SHARE = 0.5  # of the dark twins


def darken(photos: Sequence[Path], folder: Path, *, seed: int = 0, noise_only: bool = False, overwrite: bool = False,
           progress: Callable[[float], None] = lambda done: None) -> list[Pair]:  # fmt: skip
    """Write `folder`/low and `folder`/high, PNG files of the photos' stems; equal arguments give equal files.

    Photos larger than a megapixel are halved first, which removes most of their own noise. Raises DataError for
    a photo that cannot be read, SettingsError where there are files already and `overwrite` is false.
    """
    low, high = folder / "low", folder / "high"
    if overwrite:
        for side in (low, high):
            shutil.rmtree(side, ignore_errors=True)
    elif folder.exists() and any(folder.iterdir()):
        raise SettingsError(f"{folder}: is not empty; choose another folder for the pairs.")
    for side in (low, high):
        side.mkdir(parents=True, exist_ok=True)
    pairs = []
    for number, photo in enumerate(photos):
        bright = read_photo(photo)
        pair = Pair(photo.stem, low / f"{photo.stem}.png", high / f"{photo.stem}.png")
        images.write_image(pair.bright, np.ascontiguousarray(bright.transpose(1, 2, 0)))
        images.write_image(pair.dark, twin(bright, seed, number, noise_only))
        pairs.append(pair)
        progress((number + 1) / len(photos))
    return pairs


def twin(bright: Picture, seed: int, number: int, noise_only: bool) -> "np.typing.NDArray[np.uint8]":
    """The twin (H, W, 3) of a picture (3, H, W): a function of the picture, `seed` and `number`."""
    draws = Draws(seed, 0, torch.tensor([number]))
    clean = torch.from_numpy(to_unit(bright).transpose(2, 0, 1).copy())[None]
    if noise_only:
        made = noisy_twin(clean, draws)
    else:
        made = dark_twin(clean, draws.between(4, LEAST_STOPS, MOST_STOPS)[:, None, None, None], draws)
        if float(draws.uniform(7)) < JPEG_SHARE:
            made = drawn_jpeg(made, draws)
    return (made[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
