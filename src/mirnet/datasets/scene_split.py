"""Which pairs show the same scene, and a split of them for training and validation that no scene crosses."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from mirnet.datasets.parallel import in_order
from mirnet.datasets.scene_similarity import SceneSignature, find_alike, read_signature
from mirnet.pairs import Pair

VALIDATION_SHARE = 0.1  # of the pairs


def scenes(pairs: Sequence[Pair], progress: Callable[[float], None] = lambda done: None) -> list[list[Pair]]:
    """The pairs grouped by scene: near duplicates, and theirs, are together. Both levels in the order of `pairs`."""
    looks = list(in_order(read_signature, [pair.bright for pair in pairs], progress))
    return [[pairs[place] for place in scene] for scene in same_scene(looks)]


def same_scene(looks: Sequence[SceneSignature]) -> list[list[int]]:
    """The indices of signatures that show one scene, grouped by scene, in the order of first appearance."""
    scene = np.arange(len(looks))  # of each look, the number of its scene's first one
    for number, near in enumerate(find_alike(looks, looks)):
        joined = np.unique(scene[[*near, number]])
        scene[np.isin(scene, joined)] = joined[0]
    return [np.flatnonzero(scene == first).tolist() for first in np.unique(scene)]


def split_by_scene(
    pairs: Sequence[Pair], progress: Callable[[float], None] = lambda done: None
) -> tuple[list[Pair], list[Pair]]:
    """Pairs for training, and at most a tenth of them (but one scene) for validation; no scene is on both sides.

    Which scenes, is a function of their names alone, so that runs with other seeds are comparable. One
    scene alone cannot be divided: then there is no validation.
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
