"""A folder of pairs made from good photos: each photo with its synthetic low-light image, or with a noisy copy."""

import hashlib
import json
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mirnet import images
from mirnet._version import __version__
from mirnet.datasets import low_light_synthesis
from mirnet.datasets.counter_rng import CounterRNG, Stream
from mirnet.datasets.reading import ImageArray, find_photos, read_photo, shape_of, to_unit
from mirnet.errors import DataError, SettingsError
from mirnet.files import write_whole
from mirnet.pairs import Pair

STOPS = (1.0, low_light_synthesis.MOST_STOPS)
MOST_STOPS = 10.0  # beyond it nothing but black is left
JPEG_SHARE = 0.5  # of the synthetic low-light images
ABOUT = "darken.json"
MODEL = "dark and noisy twins as described in docs/data.md; noise by Brooks et al., CVPR 2019, section 3.1"

Description = dict[str, Any]  # of a synthetic image, as plain data


@dataclass(frozen=True)
class DarkenOptions:
    """What to make of photos: low-light images of some darkness, or noisy copies, perhaps of one sigma (of 255)."""

    seed: int = 0
    stops: tuple[float, float] | None = None  # of synthetic low-light images, lowest and highest; None: 1 to 7
    noise_only: bool = False
    sigma: float | None = None  # None: a camera's noise in one half, Gaussian noise of any sigma in the other

    def __post_init__(self) -> None:
        wrong = []
        if not 0 <= self.seed < 2**63:
            wrong.append(f"the seed is a whole number from 0 on, not {self.seed}")
        if self.stops and not 0 <= self.stops[0] <= self.stops[1] <= MOST_STOPS:
            wrong.append(f"stops are two numbers from 0 to {MOST_STOPS:g}, the lower first, not {self._stops_said}")
        if self.stops and self.noise_only:
            wrong.append("noise alone has no stops, which are for dark twins")
        if self.sigma is not None and not self.noise_only:
            wrong.append("a sigma is for noise alone (--noise-only)")
        if self.sigma is not None and not 0 <= self.sigma <= 255:
            wrong.append(f"sigma is a number of 255, not {self.sigma:g}")
        if wrong:
            raise SettingsError("These twins cannot be made: " + "; ".join(wrong) + ".")

    @property
    def _stops_said(self) -> str:
        return " and ".join(f"{stops:g}" for stops in self.stops or ())


@dataclass(frozen=True, eq=False)
class SyntheticPair:
    """A pair that was made: both images as in their files, and what was drawn for it."""

    name: str
    bright: ImageArray  # (3, H, W)
    dark: NDArray[np.uint8]  # (3, H, W)
    about: Description


# The folder ----------------------------------------------------------------------------------------------------------


def photos_of(folder: Path, data: Path) -> list[Path]:
    """The images of a folder, sorted by name. Raises DataError where there are none, or where `data` lies inside."""
    if data.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{data}: lies among the photos, where pairs would be lost; choose a folder outside {folder}.")
    return find_photos(folder)


def darken(photos: Sequence[Path], folder: Path, *, seed: int = 0, stops: tuple[float, float] | None = None,
           noise_only: bool = False, sigma: float | None = None, overwrite: bool = False,
           left_out: Callable[[DataError], None] | None = None, progress: Callable[[float], None] = lambda done: None,
           seen: Callable[[SyntheticPair], None] = lambda make_pair: None) -> list[Pair]:  # fmt: skip
    """Make pairs of photos: write PNG files into `folder`/low and `folder`/high, and the drawn values into darken.json.

    An image depends on its photo, the photo's name and the options alone, not on the other photos. Photos
    larger than a megapixel are halved first, which removes most of their own noise. The pairs come into their
    place together at the end: a folder that has both, low and high, is whole.

    `left_out` gets the error of each photo that cannot be used, which is skipped; without it that is a DataError,
    as are photos of one stem. SettingsError where the folder is not empty; `overwrite` replaces the pairs in it.
    """
    options = DarkenOptions(seed, stops, noise_only, sigma)
    refuse = left_out or _raise
    if not overwrite:
        _refuse_filled(folder)
    usable = list(_usable(photos, refuse))
    _refuse_equal_stems(usable)
    descriptions: dict[str, Description] = {}
    with _draft(folder, overwrite) as draft:
        for number, photo in enumerate(usable):
            try:
                made = make_pair(read_photo(photo), photo.stem, options)
            except DataError as error:  # damaged behind its header
                refuse(error)
                continue
            for side, picture in (("low", made.dark), ("high", made.bright)):
                images.write_image(draft / side / f"{made.name}.png", np.ascontiguousarray(picture.transpose(1, 2, 0)))
            descriptions[made.name] = {"photo": photo.name, **made.about}
            seen(made)
            progress((number + 1) / len(usable))
        if not descriptions:
            raise DataError(f"None of the {len(photos)} photos can be used; name a folder of bright pictures.")
        write_whole(draft / ABOUT, json.dumps(_about(options, descriptions), indent=1).encode())
        _move(draft, folder, overwrite)
    return [
        Pair(name, folder / "low" / f"{name}.png", folder / "high" / f"{name}.png") for name in sorted(descriptions)
    ]


def _raise(error: DataError) -> None:
    raise error


def _refuse_filled(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"{folder}: is a file; choose a folder for the pairs.")
    if folder.exists() and any(folder.iterdir()):
        raise SettingsError(f"{folder}: is not empty, and is left alone; choose another folder for the pairs.")


def _usable(photos: Sequence[Path], refuse: Callable[[DataError], None]) -> Iterator[Path]:
    for photo in photos:
        try:
            shape_of(photo)
        except DataError as error:
            refuse(error)
        else:
            yield photo


def _refuse_equal_stems(photos: Sequence[Path]) -> None:
    known: dict[str, Path] = {}
    for photo in photos:
        other = known.setdefault(photo.stem.casefold(), photo)  # one name to some systems
        if other != photo:
            raise DataError(f"{other} and {photo} have one stem, and a pair is named by it; rename one of them.")


@contextmanager
def _draft(folder: Path, overwrite: bool) -> Iterator[Path]:
    """A hidden folder with low and high inside `folder`, so on its disk; it goes again, whatever happens.

    A killed process leaves it behind, under a name that is never read as pairs; `overwrite` removes it.
    """
    made = not folder.exists()
    for older in folder.glob(".mirnet-*.part") if overwrite else ():
        shutil.rmtree(older, ignore_errors=True)
    draft = folder / f".mirnet-{secrets.token_hex(8)}.part"
    try:
        for side in ("low", "high"):
            (draft / side).mkdir(parents=True)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _move(draft: Path, folder: Path, overwrite: bool) -> None:
    """What is in the draft to its place, perhaps instead of what is there; the last step makes it pairs."""
    for side in ("high", "low") if overwrite else ():
        if (folder / side).exists():
            shutil.rmtree(folder / side)
    for name in (ABOUT, "low", "high"):
        (draft / name).replace(folder / name)


def _about(options: DarkenOptions, descriptions: dict[str, Description]) -> Description:
    return {
        "model": MODEL,
        "mirnet": __version__,
        "torch": torch.__version__,
        "seed": options.seed,
        "noise_only": options.noise_only,
        "stops": None if options.noise_only else options.stops or STOPS,
        "sigma": options.sigma,
        "twins": descriptions,
    }


# One synthetic image -------------------------------------------------------------------------------------------------


def make_pair(photo: ImageArray, name: str, options: DarkenOptions) -> SyntheticPair:
    """Make the pair of a photo (3, H, W): its synthetic low-light image or noisy copy, and the values drawn for it."""
    place = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
    rng = CounterRNG(options.seed, 0, torch.tensor([place]))
    make = _noisy if options.noise_only else _dark
    bright, made, descriptions = make(photo, options, rng)
    height, width = bright.shape[1:]
    dark = np.asarray((made[0] * 255).round().to(torch.uint8).numpy())
    return SyntheticPair(name, bright, dark, {"width": width, "height": height, **descriptions})


def _dark(photo: ImageArray, options: DarkenOptions, rng: CounterRNG) -> tuple[ImageArray, Tensor, Description]:
    dimmed, colour = low_light_synthesis.draw_desaturation(rng)
    scaled = (low_light_synthesis.desaturate(_batch(photo), rng)[0] * np.iinfo(photo.dtype).max).round().numpy()
    bright = scaled.astype(np.uint8) if photo.dtype == np.uint8 else scaled.astype(np.uint16)
    stops = rng.between(Stream.STOPS_DARKER, *(options.stops or STOPS))
    made = low_light_synthesis.darken_images(_batch(bright), stops[:, None, None, None], rng)
    stored = float(rng.uniform(Stream.THROUGH_JPEG)) < JPEG_SHARE
    rendering = low_light_synthesis.Rendering.draw(rng, stops)
    descriptions = {
        "stops": _number(stops),
        "dimmed_to": _number(dimmed),
        "colour_kept": _number(colour),
        "white_balance_stops": [_number(each) for each in rendering.balance[0]],
        "tone_curve": _number(rendering.curve),
        "tone_exponents": [_number(each) for each in rendering.bend.exp2()[0]],
        "black": [_number(each) for each in rendering.black[0]],
        "noise_colour_kept": _number(low_light_synthesis.draw_noise_colour(rng)),
        **_describe_camera(rng, stops),
        "jpeg": _describe_jpeg(rng) if stored else None,
    }
    return bright, low_light_synthesis.compress_as_drawn_jpeg(made, rng) if stored else made, descriptions


def _noisy(photo: ImageArray, options: DarkenOptions, rng: CounterRNG) -> tuple[ImageArray, Tensor, Description]:
    clean = _batch(photo)
    if options.sigma is not None:
        made = low_light_synthesis.add_gaussian_noise(clean, torch.tensor([options.sigma / 255]), rng)
        return photo, made, {"gaussian_sigma": options.sigma}
    gaussian, sigma = low_light_synthesis.draw_sigma(rng)
    descriptions = {"gaussian_sigma": _number(sigma * 255)} if bool(gaussian) else _describe_camera(rng, torch.zeros(1))
    return photo, low_light_synthesis.add_camera_noise(clean, rng), descriptions


def _batch(picture: ImageArray) -> Tensor:  # (1, 3, H, W) in [0, 1]
    return torch.from_numpy(to_unit(picture).transpose(2, 0, 1).copy())[None]


def _describe_camera(rng: CounterRNG, stops: Tensor) -> Description:
    camera = low_light_synthesis.Camera.draw(rng, stops)
    return {
        "shot_variance_per_signal": _number(camera.shot),
        "read_spread": _number(camera.read),
        "grain": low_light_synthesis.GRAINS[int(low_light_synthesis.draw_grain_kind(rng))],
        "camera_from_srgb": [[_number(each) for each in row] for row in camera.from_srgb[0]],
    }


def _describe_jpeg(rng: CounterRNG) -> Description:
    quality, halved = low_light_synthesis.draw_jpeg_quality(rng)
    return {"quality": int(quality), "colour_halved": bool(halved)}


def _number(value: Tensor) -> float:
    """To five digits, which is what a person reads."""
    return float(f"{float(value):.5g}")
