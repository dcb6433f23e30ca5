"""Pictures on disk to training batches: steps (1) to (3) of the pipeline.

(1) load and prepare pairs, (2) make dimensions uniform, (3) normalise to [0, 1]. All pictures lie
in one flat integer buffer; a batch is gathered from it by index arithmetic, so crops, flips,
quarter turns and the reflection around small pictures cost one gather on any device.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mirnet import images
from mirnet.errors import DataError
from mirnet.network.lite import expose, to_encoded, to_linear
from mirnet.training.draws import Draws

MAP_LONG, MAP_SHORT = 12, 8  # cells of a truth's stops map along the long and the short side
MEMORY_SHARE = 0.4  # of the machine's memory that pictures may fill before they are read again for each batch
FOLDER_NAMES = (("low", "high"), ("input", "target"), ("Low", "Normal"))


@dataclass(frozen=True)
class Pair:
    """A dark and a bright picture of one scene, named by their common stem."""

    name: str
    dark: Path
    bright: Path


def find_pairs(data: Path, bright: Path | None = None, names: Path | None = None) -> list[Pair]:
    """The pairs of `data` (a folder that holds low/high, our485/{low,high} or input/target), or of two folders.

    Two files of one stem are a pair, whatever their suffixes; `names` chooses by a text file, one stem a
    line. Sorted by name. Raises DataError where a folder is missing, a picture has no partner, a stem
    stands twice, a name is not there, or nothing is found.
    """
    dark_folder, bright_folder = (data, bright) if bright else _pair_folders(data)
    dark, light = _by_stem(dark_folder), _by_stem(bright_folder)
    wanted = dark.keys() | light.keys()
    if names is not None:
        if not names.is_file():
            raise DataError(f"{names}: expected a text file with one name a line; there is none.")
        wanted = {line.strip() for line in names.read_text().splitlines() if line.strip()}
    unpaired = sorted(wanted - (dark.keys() & light.keys()))
    if unpaired:
        shown = ", ".join(unpaired[:5]) + (" and others" if len(unpaired) > 5 else "")
        raise DataError(
            f"{len(unpaired)} of {len(wanted)} names have no picture in both {dark_folder} and {bright_folder}: {shown}. "
            "Add the missing partner or choose names with --names."
        )
    if not wanted:
        raise DataError(f"{dark_folder} and {bright_folder}: no pairs found; expected pictures of equal stems in both.")
    return [Pair(name, dark[name], light[name]) for name in sorted(wanted)]


def _pair_folders(data: Path) -> tuple[Path, Path]:
    if not data.is_dir():
        raise DataError(f"{data}: expected a folder of pairs; there is none.")
    for root in (data, data / "our485"):
        for low, high in FOLDER_NAMES:
            if (root / low).is_dir() and (root / high).is_dir():
                return root / low, root / high
    raise DataError(
        f"{data}: expected folders low and high (or input and target, or our485 with low and high) inside; "
        "name the two folders one after the other if theirs differ."
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of pictures; there is none.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file() or path.suffix.lower() in (".txt", ".json", ".csv", ".md"):
            continue
        if path.stem in found:
            raise DataError(f"{path} and {found[path.stem].name} have one stem; keep one of them in {folder}.")
        found[path.stem] = path
    return found


def read_rgb(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A picture as (3, H, W) uint8 or uint16; grey becomes RGB; alpha is a DataError that names the file."""
    pixels = images.read_image(path)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[:, :, None], 3, axis=2)
    if pixels.shape[2] != 3:
        raise DataError(f"{path}: has an alpha channel, which training cannot use; save it without transparency.")
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_pair(pair: Pair) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Both pictures of a pair as (3, H, W); pictures of different size are a DataError that names the files."""
    dark, bright = read_rgb(pair.dark), read_rgb(pair.bright)
    if dark.shape != bright.shape:
        sizes = " and ".join(f"{picture.shape[2]}x{picture.shape[1]}" for picture in (dark, bright))
        raise DataError(f"{pair.dark} and {pair.bright}: a pair needs one size, these are {sizes}.")
    return dark, bright


@dataclass(frozen=True)
class Flat:
    """Pictures of any sizes end to end in one buffer (uint8, or int32 where some have 16 bit)."""

    values: Tensor  # (bytes,)
    offsets: Tensor  # (P,) int64
    heights: Tensor
    widths: Tensor
    white: int  # 255 or 65535

    @staticmethod
    def of(pictures: Sequence[NDArray[np.generic]]) -> "Flat":
        """From arrays (3, H, W), uint8 or uint16."""
        deep = any(picture.dtype == np.uint16 for picture in pictures)
        sizes = torch.tensor([picture.size for picture in pictures])
        values = torch.empty(int(sizes.sum()), dtype=torch.int32 if deep else torch.uint8)
        offsets = sizes.cumsum(0) - sizes
        for offset, picture in zip(offsets.tolist(), pictures, strict=True):
            scaled = picture.astype(np.int32) * (257 if picture.dtype == np.uint8 else 1) if deep else picture
            values[offset : offset + picture.size] = torch.from_numpy(scaled.reshape(-1))
        heights, widths = (torch.tensor([picture.shape[axis] for picture in pictures]) for axis in (1, 2))
        return Flat(values, offsets, heights, widths, 65535 if deep else 255)

    def to(self, device: torch.device) -> "Flat":
        moved = (tensor.to(device) for tensor in (self.values, self.offsets, self.heights, self.widths))
        return Flat(*moved, self.white)

    def crops(self, which: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """(B, 3, c, c) float32 in [0, 1] of pictures `which` (B,) at reflected `rows`, `columns` (B, c)."""
        height, width = self.heights[which], self.widths[which]
        rows, columns = reflect(rows, height[:, None]), reflect(columns, width[:, None])
        plane = rows[:, :, None] * width[:, None, None] + columns[:, None, :]  # (B, c, c)
        channels = torch.arange(3, device=which.device)[:, None] * (height * width)  # (3, B)
        index = (self.offsets[which] + channels).T[:, :, None, None] + plane[:, None]
        return self.values[index].float() / self.white  # step (3): normalise


def reflect(position: Tensor, size: Tensor) -> Tensor:
    """Positions outside 0 to size - 1 brought inside by repeated reflection that doesn't repeat the edge."""
    period = (2 * (size - 1)).clamp(min=1)
    position = position % period
    return torch.minimum(position, period - position).clamp(min=0).minimum(size - 1)


class Pairs:
    """Training pictures and what is known of them: `pairs`, and optional clean bright `photos` without partners.

    Pictures stay in memory as integers while they fit in MEMORY_SHARE of it, else each batch reads
    its own again. With `solve`, the truth's stops are solved once for each pair: `stops` (P,) and
    `maps` (P, 12, 12) with `map_sizes` (P, 2) of which cells are in use.
    """

    def __init__(self, pairs: Sequence[Pair], photos: Sequence[Path] = (), *, solve: bool = True,
                 progress: Callable[[float], None] = lambda done: None, memory_bytes: int | None = None) -> None:  # fmt: skip
        self.pairs, self.photos = list(pairs), list(photos)
        limit = memory_bytes if memory_bytes is not None else int(_memory_bytes() * MEMORY_SHARE)
        kept: list[NDArray[np.generic]] | None = []
        known = []
        bright_kept: list[NDArray[np.generic]] = []
        for number, pair in enumerate(self.pairs):
            dark, bright = read_pair(pair)
            if solve:
                known.append(solve_truth(dark, bright))
            if kept is not None:
                kept.append(dark)
                bright_kept.append(bright)
                if sum(picture.nbytes for picture in kept) * 2 > limit:
                    kept = None
            progress((number + 1) / (len(self.pairs) + len(self.photos)))
        if kept is not None:
            kept += bright_kept + [read_photo(photo) for photo in self.photos]
        self._flat = Flat.of(kept) if kept else None
        self._devices: dict[torch.device, Flat] = {}
        self.stops = torch.tensor([each.stops for each in known]) if solve else None
        self.maps = torch.stack([each.cells for each in known]) if solve else None
        self.map_sizes = torch.tensor([each.size for each in known]) if solve else None

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def resident(self) -> bool:
        """Whether all pictures stay in memory."""
        return self._flat is not None

    def fetch(self, which: Tensor, device: torch.device) -> tuple[Flat, Tensor]:
        """A buffer that holds pictures `which` (0 to P-1 dark, P to 2P-1 bright, then photos), and their places in it."""
        if self._flat is None:
            places, inverse = torch.unique(which.cpu(), return_inverse=True)
            return Flat.of([self._read(place) for place in places.tolist()]).to(device), inverse.to(device)
        if device not in self._devices:
            self._devices[device] = self._flat.to(device)
        return self._devices[device], which

    def _read(self, place: int) -> NDArray[np.generic]:
        if place >= 2 * len(self.pairs):
            return read_photo(self.photos[place - 2 * len(self.pairs)])
        return read_pair(self.pairs[place % len(self.pairs)])[place // len(self.pairs)]


def read_photo(path: Path) -> NDArray[np.generic]:
    """A clean bright picture (3, H, W), halved in linear light where it is larger than a megapixel: most noise goes."""
    pixels = read_rgb(path)
    if pixels.shape[1] * pixels.shape[2] <= 2**20:
        return pixels
    white = np.iinfo(pixels.dtype).max
    halved = to_encoded(F.avg_pool2d(to_linear(torch.from_numpy(pixels.astype(np.float32) / white)), 2))
    return (halved.numpy() * white).round().astype(pixels.dtype)


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


# --- the truth's exposure -------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """The stops that lead from a dark picture to its bright partner: one number, and a map of cells."""

    stops: float
    cells: Tensor  # (12, 12), the first `size` of it in use
    size: tuple[int, int]


def solve_truth(dark: NDArray[np.generic], bright: NDArray[np.generic]) -> Truth:
    """Solved so that the means agree, on both pictures (3, H, W) averaged over 5x5 pixels in linear light.

    On raw pixels noise would bias it (by 0.1 stops in the mean on LOL). Cells stay within 3 stops of
    the picture's number: a black cell says nothing.
    """
    small_dark, small_bright = (_averaged(picture) for picture in (dark, bright))
    height, width = small_dark.shape[2:]
    size = (MAP_SHORT, MAP_LONG) if height <= width else (MAP_LONG, MAP_SHORT)
    size = (min(size[0], height), min(size[1], width))
    stops = _solve(small_dark, small_bright, (1, 1), torch.zeros(1, 1, 1, 1), 12.0)
    cells = torch.zeros(MAP_LONG, MAP_LONG)
    cells[: size[0], : size[1]] = _solve(small_dark, small_bright, size, stops, 3.0)[0, 0]
    return Truth(float(stops), cells, size)


def _averaged(picture: NDArray[np.generic]) -> Tensor:  # (3, H, W) integers -> (1, 3, h, w) float32
    linear = to_linear(torch.from_numpy(picture.astype(np.float32)) / np.iinfo(picture.dtype).max)[None]
    kernel = min(5, *linear.shape[2:])
    return to_encoded(F.avg_pool2d(linear, kernel))


def _solve(dark: Tensor, bright: Tensor, size: tuple[int, int], centre: Tensor, limit: float) -> Tensor:
    """Stops (1, 1, *size) by bisection: the mean of each cell of the exposed dark picture is the bright one's."""
    target = F.adaptive_avg_pool2d(bright.mean(1, keepdim=True), size)
    low, high = (centre - limit).expand(1, 1, *size).clone(), (centre + limit).expand(1, 1, *size).clone()
    for _ in range(18):  # 24 stops halved 18 times: 1e-4
        middle = (low + high) / 2
        exposed = expose(dark, F.interpolate(middle, size=dark.shape[2:], mode="nearest-exact"))
        too_dark = F.adaptive_avg_pool2d(exposed.mean(1, keepdim=True), size) < target
        low, high = torch.where(too_dark, middle, low), torch.where(too_dark, high, middle)
    return (low + high) / 2


# --- batches --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Feed:
    """What a recipe feeds to a network that takes an exposure; shares of real, bright, and (the rest) darkened crops.

    `jitter_stops` is the standard deviation of the exposure error d that each crop draws; with
    `local` the stops lie anywhere between the picture's one number and its map.
    """

    real: float = 1.0
    bright: float = 0.0
    jitter_stops: float = 0.0
    local: bool = False


@dataclass(frozen=True)
class Batch:
    """`network(*inputs)` should give `target` (N, 3, c, c)."""

    inputs: tuple[Tensor, ...]
    target: Tensor


def make_batch(pairs: Pairs, seed: int, step: int, device: torch.device, *, crop: int, index: Sequence[int],
               feed: Feed = Feed(), takes_exposure: bool = True) -> Batch:  # fmt: skip
    """The crops at places `index` of the global batch of this step; every draw is a function of (seed, step, place).

    Step (2) of the pipeline, dimensions made uniform, and step (3), normalised to [0, 1]. A network
    that takes an exposure gets (exposed, stops); another the dark picture as it is.
    """
    draws = Draws(seed, step, torch.as_tensor(list(index), device=device))
    kind = draws.uniform(0)
    real = kind < feed.real if takes_exposure else torch.ones_like(kind, dtype=torch.bool)
    darkened = ~real & (kind >= feed.real + feed.bright)

    pair = draws.below(1, torch.full_like(draws.index, len(pairs)))
    clean = 2 * len(pairs) + draws.below(2, torch.full_like(pair, max(len(pairs.photos), 1)))
    bright = torch.where(real, pair + len(pairs), clean if pairs.photos else pair + len(pairs))
    flat, places = pairs.fetch(torch.cat([torch.where(real, pair, bright), bright]), device)
    dark_place, bright_place = places.chunk(2)

    window = _Window.draw(draws, flat.heights[bright_place], flat.widths[bright_place], crop)
    target = window.cut(flat, bright_place)
    picture = window.cut(flat, dark_place)
    if not takes_exposure:
        return Batch((picture,), target)

    jitter = (draws.normal(3) * feed.jitter_stops)[:, None, None, None]
    stops = jitter.expand(-1, 1, crop, crop)
    if darkened.any():
        added = draws.between(4, 0, 7) * darkened
        # 255 stays 255 under expose, as a lamp does; a blown sky must darken with the rest
        below_white = torch.where(darkened & (draws.uniform(5) < 0.5), 0.95, 1.0)[:, None, None, None]
        target = target * below_white
        twin = dark_twin(target, added[:, None, None, None], draws)
        picture = torch.where(darkened[:, None, None, None], twin, picture)
        stops = stops + added[:, None, None, None]
    if real.any():
        stops = torch.where(real[:, None, None, None], stops + _truth_stops(pairs, pair, window, draws, feed), stops)
    return Batch((expose(picture, stops), stops), expose(target, jitter))


def _truth_stops(pairs: Pairs, pair: Tensor, window: "_Window", draws: Draws, feed: Feed) -> Tensor:  # (B, 1, c, c)
    if pairs.stops is None or pairs.maps is None or pairs.map_sizes is None:
        raise DataError("These pairs were read without their truth's stops; make them with solve=True.")
    device = pair.device
    number = pairs.stops.to(device)[pair][:, None, None]
    stops = number.expand(-1, *window.shape)
    if feed.local:
        share = draws.uniform(6)[:, None, None]
        spread_map = window.spread(pairs.maps.to(device)[pair], pairs.map_sizes.to(device)[pair])
        stops = number + share * (spread_map - number)
    return stops[:, None]


def dark_twin(bright: Tensor, stops: Tensor, draws: Draws) -> Tensor:
    """Pictures (B, 3, H, W) as a small sensor would have taken them `stops` darker: shot and read noise, 8 bit.

    Noise in linear light, of variance shot·signal + read², with shot = 10^U(-5, -2.5) and read =
    10^U(-4.5, -2.6): the range in which phone and camera sensors lie from base to high ISO.
    """
    linear = to_linear(expose(bright, -stops))
    shot = 10 ** draws.between(10, -5, -2.5)[:, None, None, None]
    read = 10 ** draws.between(11, -4.5, -2.6)[:, None, None, None]
    noisy = linear + torch.sqrt(shot * linear + read**2) * draws.normal(12, *bright.shape[1:])
    return (to_encoded(noisy.clamp(0, 1)) * 255).round() / 255


@dataclass(frozen=True)
class _Window:
    """Where each crop lies in its picture, and how it is flipped and turned (all eight ways)."""

    rows: Tensor  # (B, c), perhaps reversed
    columns: Tensor
    transposed: Tensor  # (B,) bool
    heights: Tensor
    widths: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.shape[1], self.columns.shape[1]

    @staticmethod
    def draw(draws: Draws, heights: Tensor, widths: Tensor, crop: int) -> "_Window":
        inside = torch.arange(crop, device=heights.device)

        def positions(purpose: int, size: Tensor) -> Tensor:
            start = draws.below(purpose, (size - crop).clamp(min=0) + 1)
            flipped = draws.uniform(purpose + 1) < 0.5
            return start[:, None] + torch.where(flipped[:, None], crop - 1 - inside, inside)

        return _Window(positions(20, heights), positions(22, widths), draws.uniform(24) < 0.5, heights, widths)

    def cut(self, flat: Flat, which: Tensor) -> Tensor:
        """(B, 3, c, c)."""
        return self._turned(flat.crops(which, self.rows, self.columns))

    def spread(self, cells: Tensor, sizes: Tensor) -> Tensor:
        """Maps (B, 12, 12), `sizes` (B, 2) of them in use, at the crop's pixels (B, c, c): bilinear, edges held."""

        def weights(positions: Tensor, picture_size: Tensor, count: Tensor) -> Tensor:  # (B, c, 12)
            place = (positions + 0.5) * (count / picture_size)[:, None] - 0.5
            place = place.clamp(min=0).minimum((count - 1.0)[:, None])
            grid = torch.arange(cells.shape[-1], device=cells.device)
            return (1 - (place[:, :, None] - grid).abs()).clamp(min=0)

        rows = weights(reflect(self.rows, self.heights[:, None]), self.heights, sizes[:, 0])
        columns = weights(reflect(self.columns, self.widths[:, None]), self.widths, sizes[:, 1])
        return self._turned(rows @ cells @ columns.mT)

    def _turned(self, x: Tensor) -> Tensor:
        return torch.where(self.transposed.reshape(-1, *[1] * (x.ndim - 1)), x.mT, x)
