"""Which pairs show the same scene: a look at the data before hours are spent on it.

Pictures are compared by a 64-bit difference hash (Krawetz, *Kind of Like That*, 2013) of the bright
one, also mirrored. It survives other formats, sizes and small changes of brightness; it does not
survive larger crops and rotations.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from mirnet.exposure import to_encoded, to_linear
from mirnet.pairs import Pair
from mirnet.thumbnail import area_weights
from mirnet.training.data import Picture, read_rgb, to_unit

# Of 64 bits, how many may differ between two pictures of one scene; unrelated ones differ in about 32. Among 485
# pictures of LOL, up to 10 bits the groups have at most 6 pictures, from 14 on unrelated scenes flow into one of 42.
NEAR_BITS = 10
VALIDATION_SHARE = 0.1  # of the pairs


def difference_hash(picture: Picture, mirrored: bool = False) -> int:
    """64 bits: which of two neighbours is brighter, on 8 rows of 9 averages of the picture (3, H, W)."""
    light = to_linear(to_unit(picture)).mean(2)
    rows, columns = (area_weights(side, count) for side, count in zip(light.shape, (8, 9), strict=True))
    small = to_encoded(np.clip(rows @ light @ columns.T, 0, 1))
    if mirrored:
        small = small[:, ::-1]
    return int("".join("1" if bit else "0" for bit in (small[:, 1:] > small[:, :-1]).flat), 2)


def scenes(pairs: Sequence[Pair], progress: Callable[[float], None] = lambda done: None) -> list[list[Pair]]:
    """The pairs grouped by scene: near duplicates, and theirs, are together. Both levels in the order of `pairs`."""
    plain = np.zeros(len(pairs), np.uint64)
    mirrored = np.zeros(len(pairs), np.uint64)
    for number, pair in enumerate(pairs):
        picture = read_rgb(pair.bright)
        plain[number], mirrored[number] = difference_hash(picture), difference_hash(picture, mirrored=True)
        progress((number + 1) / len(pairs))
    scene = np.arange(len(pairs))  # of each pair, the number of its scene's first pair
    for number in range(len(pairs)):
        bits = [np.bitwise_count(plain[number] ^ others[:number]) for others in (plain, mirrored)]
        near = np.flatnonzero(np.minimum(*bits) <= NEAR_BITS)
        joined = np.unique(scene[[*near, number]])
        scene[np.isin(scene, joined)] = joined[0]
    return [[pairs[number] for number in np.flatnonzero(scene == first).tolist()] for first in np.unique(scene)]


def split_by_scene(
    pairs: Sequence[Pair], progress: Callable[[float], None] = lambda done: None
) -> tuple[list[Pair], list[Pair]]:
    """Pairs for training, and at most a tenth of them (but one scene) for validation; no scene is on both sides.

    Which scenes, is a function of their names alone, so that runs with other seeds are comparable. One
    scene alone can't be divided: then there is no validation.
    """
    found = scenes(pairs, progress)
    if len(found) == 1:
        return list(pairs), []
    wanted = max(1, round(VALIDATION_SHARE * len(pairs)))
    chosen: set[str] = set()
    for scene in sorted(found, key=lambda scene: hashlib.sha256(scene[0].name.encode()).digest()):
        if len(chosen) + len(scene) <= wanted:
            chosen |= {pair.name for pair in scene}
    if not chosen:
        chosen = {pair.name for pair in min(found, key=len)}
    return [pair for pair in pairs if pair.name not in chosen], [pair for pair in pairs if pair.name in chosen]
