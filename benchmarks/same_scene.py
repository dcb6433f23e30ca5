"""Measures how many copies of a scene are found, and how many other scenes are taken for copies.

    python benchmarks/same_scene.py DATA --val DATA

Every bright image of both sets is changed in memory and compared with the unchanged image ("found"); and every image of
one set is compared with every image of the other, changed likewise, which must show other scenes ("false").
"""

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mirnet.datasets.parallel import in_order
from mirnet.datasets.reading import read_rgb
from mirnet.datasets.scene_similarity import SceneSignature, compute_signature, find_alike
from mirnet.exposure import to_encoded, to_linear
from mirnet.pairs import find_pairs

Photo = NDArray[np.uint8]  # (H, W, 3)


def jpeg(photo: Photo) -> Photo:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def cropped(photo: Photo, top: int = 8, left: int = 8, bottom: int = 8, right: int = 8) -> Photo:
    return photo[top : len(photo) - bottom, left : photo.shape[1] - right]


def mirrored(photo: Photo) -> Photo:
    return photo[:, ::-1]


def brighter(photo: Photo, stops: float) -> Photo:
    light = np.clip(to_linear(photo.astype(np.float32) / 255) * np.float32(2**stops), 0, 1)
    return np.asarray(to_encoded(light) * 255 + 0.5).astype(np.uint8)


def without_a_tenth(photo: Photo) -> Photo:
    rows, columns = (side // 20 for side in photo.shape[:2])
    return cropped(photo, rows, columns, rows, columns)


CHANGES: dict[str, Callable[[Photo], Photo]] = {
    "none": lambda photo: photo,
    "JPEG quality 75": jpeg,
    "8 px cropped from every side": cropped,
    "mirrored": mirrored,
    "cropped, mirrored and JPEG": lambda photo: jpeg(mirrored(cropped(photo))),
    "one stop darker, cropped, mirrored, JPEG": lambda photo: jpeg(mirrored(cropped(brighter(photo, -1)))),
    "16 px cropped at the top and at the left": lambda photo: cropped(photo, 16, 16, 0, 0),
    "one stop brighter, which clips": lambda photo: brighter(photo, 1),
    "halved": lambda photo: photo[::2, ::2],
    "a tenth of both sides cropped": without_a_tenth,
}


def signatures(files: Sequence[Path], change: Callable[[Photo], Photo]) -> list[SceneSignature]:
    """The signatures of the changed images."""

    def one(file: Path) -> SceneSignature:
        photo = np.ascontiguousarray(read_rgb(file).transpose(1, 2, 0)).astype(np.uint8)
        return compute_signature(np.ascontiguousarray(change(photo).transpose(2, 0, 1)))

    return list(in_order(one, files, lambda done: None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--val", type=Path, required=True)
    arguments = parser.parse_args()
    training, validation = ([pair.bright for pair in find_pairs(data)] for data in (arguments.data, arguments.val))
    before = signatures([*training, *validation], CHANGES["none"])
    print(f"{'change':44}{'found':>16}{'false':>16}")
    for name, change in CHANGES.items():
        after = signatures([*training, *validation], change)
        found = sum(place in near for place, near in enumerate(find_alike(before, after)))
        false = sum(len(near) for near in find_alike(before[: len(training)], after[len(training) :]))
        couples = len(training) * len(validation)
        print(f"{name:44}{f'{found} of {len(before)}':>16}{f'{false} of {couples}':>16}", flush=True)


if __name__ == "__main__":
    main()
