"""Training images in memory as integers, or read again for each batch where they do not fit.

All images lie end to end in one flat buffer; a batch is gathered from it by index arithmetic, so
crops, flips, quarter turns and the reflection around small images cost one gather on any device.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mirnet.datasets.reading import ImageArray, Shape, pair_shape, photo_shape, read_photo, read_rgb
from mirnet.datasets.target_exposure import TargetExposures, solve_target_exposure
from mirnet.errors import DataError, TrainingError
from mirnet.pairs import Pair

MEMORY_SHARE = 0.4  # of the machine's memory that images may fill before they are read again for each batch
MEMORY_LIMIT = 16 * 2**30  # bytes, on machines with much memory: a run as a whole stays below 24 GiB


@dataclass(frozen=True)
class PixelStore:
    """Images of any sizes end to end in one buffer (uint8, or int32 where some have 16 bit)."""

    values: Tensor  # (bytes,)
    offsets: Tensor  # (P,) int64
    heights: Tensor
    widths: Tensor
    white: int  # 255 or 65535

    @staticmethod
    def reserve(shapes: Sequence[Shape]) -> "PixelStore":
        """A buffer for images of these shapes, to be filled with `put`."""
        deep = any(shape.deep for shape in shapes)
        heights = torch.tensor([shape.height for shape in shapes])
        widths = torch.tensor([shape.width for shape in shapes])
        sizes = 3 * heights * widths
        values = torch.empty(int(sizes.sum()), dtype=torch.int32 if deep else torch.uint8)
        return PixelStore(values, sizes.cumsum(0) - sizes, heights, widths, 65535 if deep else 255)

    def put(self, place: int, picture: ImageArray) -> None:
        """Fill in an image (3, H, W); 8 bits beside 16 are scaled to them, exactly."""
        scale = 257 if self.white == 65535 and picture.dtype == np.uint8 else 1
        integers = np.asarray(picture, dtype=np.int32) * scale if self.white == 65535 else np.asarray(picture)
        start = int(self.offsets[place])
        self.values[start : start + picture.size] = torch.from_numpy(integers.reshape(-1))

    def picture(self, place: int) -> ImageArray:
        """Image `place` of the buffer, (3, H, W) uint8 or uint16."""
        height, width, start = (int(each[place]) for each in (self.heights, self.widths, self.offsets))
        pixels = self.values[start : start + 3 * height * width].numpy().reshape(3, height, width)
        return pixels.astype(np.uint16) if self.white == 65535 else pixels

    def to(self, device: torch.device) -> "PixelStore":
        """The buffer on another device; nothing is copied where it is there already."""
        values, offsets = self.values.to(device), self.offsets.to(device)
        return PixelStore(values, offsets, self.heights.to(device), self.widths.to(device), self.white)

    def crops(self, which: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """(B, 3, c, c) integers, 0 to `white`, of images `which` (B,) at reflected `rows`, `columns` (B, c)."""
        height, width = self.heights[which], self.widths[which]
        rows, columns = reflect(rows, height[:, None]), reflect(columns, width[:, None])
        plane = rows[:, :, None] * width[:, None, None] + columns[:, None, :]  # (B, c, c)
        channels = torch.arange(3, device=which.device)[:, None] * (height * width)  # (3, B)
        index = (self.offsets[which] + channels).T[:, :, None, None] + plane[:, None]
        return self.values[index]


def reflect(position: Tensor, size: Tensor) -> Tensor:
    """Positions outside 0 to size - 1 brought inside by repeated reflection that does not repeat the edge."""
    period = (2 * (size - 1)).clamp(min=1)
    position = position % period
    return torch.minimum(position, period - position).clamp(min=0).minimum(size - 1)


class PairStore:
    """Training pairs, and optional clean bright `photos` without partners, numbered: P dark, P bright, the photos.

    Sizes are checked from the files' headers first. The images stay in memory as integers while they
    fit in `memory_bytes`, else each batch reads its own again. After `solve`, `truths` are known.
    """

    def __init__(self, pairs: Sequence[Pair], photos: Sequence[Path] = (), *, memory_bytes: int | None = None,
                 progress: Callable[[float], None] = lambda done: None) -> None:  # fmt: skip
        self.pairs, self.photos = list(pairs), list(photos)
        self.target_exposures: TargetExposures | None = None
        both = [pair_shape(pair) for pair in self.pairs]
        self.shapes = (
            [dark for dark, _ in both] + [bright for _, bright in both] + [photo_shape(p) for p in self.photos]
        )
        self._devices: dict[torch.device, PixelStore] = {}
        self._flat: PixelStore | None = None
        if bytes_needed(self.shapes) <= (memory_limit() if memory_bytes is None else memory_bytes):
            self._flat = PixelStore.reserve(self.shapes)
            for place in range(len(self.shapes)):
                self._flat.put(place, self._read(place))
                progress((place + 1) / len(self.shapes))

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, place: int) -> str:
        """The name of image `place` in messages: the pair's name, or the photo's file."""
        count = 2 * len(self.pairs)
        return self.pairs[place % len(self.pairs)].name if place < count else self.photos[place - count].name

    @property
    def resident(self) -> bool:
        """Whether all images stay in memory."""
        return self._flat is not None

    def picture(self, place: int) -> ImageArray:
        """Image `place` (3, H, W), from memory or read again."""
        return self._read(place) if self._flat is None else self._flat.picture(place)

    def solve_exposures(self, progress: Callable[[float], None] = lambda done: None) -> None:
        """Solve the target exposure of each pair, which networks that take an exposure get as input."""
        known = []
        for number in range(len(self)):
            known.append(solve_target_exposure(self.picture(number), self.picture(len(self) + number)))
            progress((number + 1) / len(self))
        self.target_exposures = TargetExposures.of(known)

    def fetch(self, which: Tensor, device: torch.device) -> tuple[PixelStore, Tensor]:
        """A buffer on `device` that holds images `which` (B,), and their places in it (B,)."""
        if self._flat is not None:
            if device not in self._devices:
                self._devices[device] = self._flat.to(device)
            return self._devices[device], which
        places, inverse = torch.unique(which.cpu(), return_inverse=True)
        flat = PixelStore.reserve([self.shapes[place] for place in places.tolist()])
        for position, place in enumerate(places.tolist()):
            try:
                flat.put(position, self._read(place))
            except DataError as error:
                raise TrainingError(
                    f"{error} It was there when the run began; restore it and resume the run."
                ) from error
        return flat.to(device), inverse.to(device)

    def _read(self, place: int) -> ImageArray:
        count = len(self.pairs)
        if place < 2 * count:
            pair = self.pairs[place % count]
            path = pair.dark if place < count else pair.bright
            picture = read_rgb(path)
        else:
            path = self.photos[place - 2 * count]
            picture = read_photo(path)
        expected = self.shapes[place]
        if picture.shape != (3, expected.height, expected.width):
            raise DataError(f"{path}: changed while it was in use; leave the data alone while a run reads it.")
        return picture


def bytes_needed(shapes: Sequence[Shape]) -> int:
    """The bytes that a `PixelStore` needs for images of these shapes."""
    return sum(3 * shape.height * shape.width for shape in shapes) * (4 if any(shape.deep for shape in shapes) else 1)


def memory_limit() -> int:
    """The bytes that images may fill: a share of the machine's memory, or of what its container allows."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        allowed = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        allowed = "max"
    return min(int(min(machine, int(allowed) if allowed.isdigit() else machine) * MEMORY_SHARE), MEMORY_LIMIT)
