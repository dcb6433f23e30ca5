"""Whether two images show the same scene, decided from a small signature of each.

Two stages. A perceptual hash, pHash of the ImageHash library (64 signs of the lowest cosine frequencies, so brightness
and contrast hardly matter), of the image and of its mirror image. And, where two hashes are near but not close, the
correlation of two thumbnails, brought down to 8 by 12 cells.

Measured by `benchmarks/same_scene.py` on the 485 bright images of LOL v1 (600x400), each changed and compared with
itself; "found" is what `alike` says. Of the 20,976 couples of an image to train on and one of the 48 that were held
out by scene, it takes none for one scene, whatever is done to the latter.

    change                                    bits (largest)   correlation (smallest)   found
    JPEG quality 75                                  2                 1.00              100 %
    8 px cropped from every side                    12                 0.97              100 %
    mirrored                                         0                 1.00              100 %
    cropped, mirrored and JPEG                      12                 0.97              100 %
    one stop darker, cropped, mirrored, JPEG        12                 0.97              100 %
    16 px cropped at the top and at the left        16                 0.88              100 %
    one stop brighter, which clips                  12                 0.76              100 %
    halved                                           2                 1.00              100 %
    a tenth of both sides cropped                   24                 0.70               90 %
    couples of other scenes, the nearest            16                 0.84                0

pHash was chosen of five: with the same recall dHash (12 bits, others from 10 on), wHash (10, 6) and average hash (7, 5)
confuse scenes of LOL; pHash at 256 bits (52, 70) misses more of what is cropped. Turned images are not found.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mirnet.datasets.reading import ImageArray, read_rgb
from mirnet.exposure import to_encoded, to_linear

# Of 64 bits, how many may differ. Up to CLOSE_BITS the hash alone decides (485 images of LOL then make 231 groups,
# the largest of 6); up to NEAR_BITS the thumbnails must agree too. By hashes alone, 18 bits would join 87 of LOL's
# images into one "scene", and 20 bits nearly all; with thumbnails they make 228 groups, of at most 8.
CLOSE_BITS = 10
NEAR_BITS = 20
AGREEMENT = 0.85  # least correlation of thumbnails; other scenes of LOL reach 0.84
CELLS = (16, 24)  # rows and columns of the light that is kept of an image
NEARLY_WHITE = 250 / 255  # JPEG leaves white a little less than white
Cells = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SceneSignature:
    """A small description of an image by which it is compared with others."""

    hash: int  # 64 bits
    mirrored: int  # the same of the mirror image
    light: Cells  # 16 x 24 means of linear light, in [0, 1]
    certainty: float  # correlation of the light of its even and of its odd rows, by rank; low: nothing but noise
    mean: float  # of the values as they are encoded, in [0, 1]
    white: float  # share of pixels of which all colours are nearly white
    black: float  # share of pixels of which all colours are 0
    digest: str  # of size and pixels


def read_signature(path: Path) -> SceneSignature:
    """The signature of an image file. Raises DataError where it cannot be read, or has alpha."""
    try:
        status = path.stat()
    except OSError:
        return compute_signature(read_rgb(path))  # which says what is wrong
    return _remembered(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=2**15)  # splitting and checking look at the same files; a look takes 2 kB
def _remembered(path: Path, changed: int, size: int) -> SceneSignature:
    return compute_signature(read_rgb(path))


def compute_signature(picture: ImageArray) -> SceneSignature:
    """The signature of an image (3, H, W)."""
    white = np.iinfo(picture.dtype).max
    values = np.linspace(0, 1, int(white) + 1, dtype=np.float32)
    light = to_linear(values)[picture].mean(0)  # (H, W)
    round_to_8_bit = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(round_to_8_bit.transpose(1, 2, 0)))
    darkest, lightest = picture.max(0), picture.min(0)
    return SceneSignature(
        hash=_bits(image),
        mirrored=_bits(ImageOps.mirror(image)),
        light=_cells(light),
        certainty=_certainty(light),
        mean=float(picture.mean() / white),
        white=float((lightest >= NEARLY_WHITE * white).mean()),
        black=float((darkest == 0).mean()),
        digest=hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).hexdigest(),
    )


def _bits(image: Image.Image) -> int:
    return int(str(imagehash.phash(image)), 16)


def _cells(light: NDArray[np.float32]) -> Cells:
    rows, columns = CELLS
    # by Pillow, since matrix products would start threads of their own in each of ours, and take twice as long
    small = Image.fromarray(np.ascontiguousarray(light)).resize((columns, rows), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)


def _certainty(light: NDArray[np.float32]) -> float:
    if len(light) < 2:
        return 0.0
    even, odd = (by_rank([_cells(light[start::2])]) for start in (0, 1))
    return float((even * odd).sum())


def find_alike(some: Sequence[SceneSignature], others: Sequence[SceneSignature]) -> list[NDArray[np.intp]]:
    """For each signature of `some`, the ascending indices of those of `others` that show the same scene."""
    if not others:
        return [np.zeros(0, np.intp) for _ in some]
    hashes = np.array([each.hash for each in others], np.uint64)
    cells = _by_value([each.light for each in others])
    found = []
    for one in some:
        near = np.zeros(len(others), bool)
        for hash, light in ((one.hash, one.light), (one.mirrored, one.light[:, ::-1])):
            bits = np.bitwise_count(hashes ^ np.uint64(hash))
            candidates = np.flatnonzero(bits <= NEAR_BITS)
            agreement = cells[candidates] @ _by_value([light])[0]
            near[candidates] |= (bits[candidates] <= CLOSE_BITS) | (agreement >= AGREEMENT)
        found.append(np.flatnonzero(near))
    return found


def _by_value(lights: Sequence[Cells]) -> NDArray[np.float32]:
    """(N, 96) of 8 x 12 cells, encoded, of mean 0 and length 1: their products are correlations."""
    light = np.stack(lights).reshape(len(lights), CELLS[0] // 2, 2, CELLS[1] // 2, 2).mean((2, 4))
    return _directions(to_encoded(np.clip(light, 0, 1)))


def by_rank(lights: Sequence[Cells]) -> NDArray[np.float32]:
    """(N, 384) of the cells' ranks, of mean 0 and length 1: their products are correlations that no curve changes."""
    flat = np.stack(lights).reshape(len(lights), -1)
    _, width = flat.shape
    ranks = np.empty_like(flat)
    np.put_along_axis(ranks, flat.argsort(1, kind="stable"), np.arange(width, dtype=np.float32)[None], 1)
    return _directions(ranks)


def _directions(values: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = values.reshape(len(values), -1)
    centred = flat - flat.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-6), dtype=np.float32)
