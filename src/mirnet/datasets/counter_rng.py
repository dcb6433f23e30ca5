"""Random numbers that are functions of (seed, step, index in the global batch, stream), on any device.

A counter-based generator: each number is a hash of its own coordinates, so nothing has a state. A
resumed run, a run on two processes and a run on a GPU draw the same numbers without exchanging any.
The hash is the finaliser of SplitMix64 (Steele et al., *Fast Splittable Pseudorandom Number
Generators*, OOPSLA 2014), applied once for each coordinate.
"""

import math
from dataclasses import dataclass
from enum import IntEnum, unique

import torch
from torch import Tensor

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer, and the two multipliers
_FIRST = -4658895280553007687
_SECOND = -7723592293110705685


def _mix(x: Tensor) -> Tensor:
    """SplitMix64's finaliser; torch shifts arithmetically, so the copied sign bits are masked away."""
    x = (x ^ ((x >> 30) & ((1 << 34) - 1))) * _FIRST
    x = (x ^ ((x >> 27) & ((1 << 37) - 1))) * _SECOND
    return x ^ ((x >> 31) & ((1 << 33) - 1))


@unique
class Stream(IntEnum):
    """The named streams of random numbers. A value never changes: it is a coordinate of every number of its stream."""

    # the crops of a batch
    CROP_KIND = 0
    CLEAN_IMAGE = 2
    EXPOSURE_JITTER = 3
    STOPS_DARKER = 4
    DESATURATED = 5
    MAP_SHARE = 6
    THROUGH_JPEG = 7
    PAIR_ORDER = 9
    CROP_ROWS = 20
    FLIP_ROWS = 21
    CROP_COLUMNS = 22
    FLIP_COLUMNS = 23
    TRANSPOSE = 24
    # the exposure head's thumbnails
    HEAD_GROUP = 100
    HEAD_KIND = 101
    HEAD_BRIGHT_IMAGE = 102
    HEAD_STOPS_DARKER = 103
    HEAD_DARK_IMAGE = 104
    HEAD_EXPOSURE_JITTER = 105
    HEAD_WHITE_BALANCE = 106
    HEAD_FLIP_ROWS = 107
    HEAD_FLIP_COLUMNS = 108
    EDGE_ANGLE = 109
    EDGE_SOFTNESS = 110
    EDGE_OFFSET = 111
    SLOPE_STOPS = 112
    HEAD_VIEWS = 113
    # the camera model
    CAMERA_COLOURS = 200
    CAMERA_RED_GAIN = 201
    CAMERA_BLUE_GAIN = 202
    SHOT_NOISE = 203
    READ_NOISE = 204
    # its rendering
    WHITE_BALANCE = 210
    TONE_CURVE = 211
    BEND = 212
    CHANNEL_BEND = 213
    BLACK_SPREAD = 214
    BLACK_LEVEL = 215
    DIMMED_TO = 216
    COLOUR_KEPT = 217
    # Gaussian noise
    GAUSSIAN_SIGMA = 220
    GAUSSIAN_NOISE = 221
    IS_GAUSSIAN = 222
    # grain
    GRAIN = 230
    GRAIN_KIND = 231
    NOISE_COLOUR = 232
    GRAIN_PHASE = 233
    # JPEG
    JPEG_QUALITY = 240
    JPEG_SHIFT = 241
    JPEG_HALVED = 242


@dataclass(frozen=True)
class CounterRNG:
    """The random numbers of one step: `index` (B,) int64 holds the places in the global batch."""

    seed: int
    step: int
    index: Tensor

    def of(self, chosen: Tensor) -> "CounterRNG":
        """The random numbers of the chosen places (B,) bool."""
        return CounterRNG(self.seed, self.step, self.index[chosen])

    def uniform(self, stream: Stream, *shape: int) -> Tensor:
        """(B, *shape) float32 in (0, 1), neither bound; another stream gives independent numbers."""
        bits = self._bits(stream, math.prod(shape))
        return _unit(bits >> 40).reshape(len(self.index), *shape)

    def between(self, stream: Stream, low: float, high: float, *shape: int) -> Tensor:
        """(B, *shape) float32, uniform between two bounds."""
        return low + (high - low) * self.uniform(stream, *shape)

    def normal(self, stream: Stream, *shape: int) -> Tensor:
        """(B, *shape) float32, standard normal (Box and Muller 1958): two numbers of each 64 bits."""
        count = math.prod(shape)
        bits = self._bits(stream, -(-count // 2))
        radius, angle = (-2 * _unit(bits >> 40).log()).sqrt(), 2 * math.pi * _unit(bits >> 16)
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
        return both[:, :count].reshape(len(self.index), *shape)

    def below(self, stream: Stream, bound: Tensor) -> Tensor:
        """(B,) int64, uniform in 0 to `bound` - 1, a bound of at least 1 for each sample."""
        return (self.uniform(stream) * bound).long().clamp(max=bound - 1)

    def _bits(self, stream: Stream, count: int) -> Tensor:
        """(B, count) int64, each a hash of (seed, step, index, stream, its number)."""
        state = torch.full_like(self.index, self.seed)
        for coordinate in (self.step, self.index, int(stream)):
            state = _mix((state + _GOLDEN) ^ _mix(torch.as_tensor(coordinate, device=state.device) + _GOLDEN))
        counter = torch.arange(1, count + 1, device=state.device) * _GOLDEN
        return _mix(state[:, None] + counter)


def _unit(bits: Tensor) -> Tensor:
    """The lowest 24 bits, which a float32 holds, to (0, 1)."""
    return ((bits & ((1 << 24) - 1)) + 0.5) / 2**24
