"""Random numbers that are functions of (seed, step, index in the global batch, purpose), on any device.

A counter-based generator: each number is a hash of its own coordinates, so nothing has a state. A
resumed run, a run on two processes and a run on a GPU draw the same numbers without exchanging any.
The hash is the finaliser of SplitMix64 (Steele et al., *Fast Splittable Pseudorandom Number
Generators*, OOPSLA 2014), applied once for each coordinate.
"""

import math
from dataclasses import dataclass

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


@dataclass(frozen=True)
class CounterRNG:
    """The random numbers of one step: `index` (B,) int64 holds the places in the global batch."""

    seed: int
    step: int
    index: Tensor

    def of(self, chosen: Tensor) -> "CounterRNG":
        """The random numbers of the chosen places (B,) bool."""
        return CounterRNG(self.seed, self.step, self.index[chosen])

    def uniform(self, purpose: int, *shape: int) -> Tensor:
        """(B, *shape) float32 in (0, 1), neither bound; another `purpose` gives independent numbers."""
        bits = self._bits(purpose, math.prod(shape))
        return _unit(bits >> 40).reshape(len(self.index), *shape)

    def between(self, purpose: int, low: float, high: float, *shape: int) -> Tensor:
        """(B, *shape) float32, uniform between two bounds."""
        return low + (high - low) * self.uniform(purpose, *shape)

    def normal(self, purpose: int, *shape: int) -> Tensor:
        """(B, *shape) float32, standard normal (Box and Muller 1958): two numbers of each 64 bits."""
        count = math.prod(shape)
        bits = self._bits(purpose, -(-count // 2))
        radius, angle = (-2 * _unit(bits >> 40).log()).sqrt(), 2 * math.pi * _unit(bits >> 16)
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], 1)
        return both[:, :count].reshape(len(self.index), *shape)

    def below(self, purpose: int, bound: Tensor) -> Tensor:
        """(B,) int64, uniform in 0 to `bound` - 1, a bound of at least 1 for each sample."""
        return (self.uniform(purpose) * bound).long().clamp(max=bound - 1)

    def _bits(self, purpose: int, count: int) -> Tensor:
        """(B, count) int64, each a hash of (seed, step, index, purpose, its number)."""
        state = torch.full_like(self.index, self.seed)
        for coordinate in (self.step, self.index, purpose):
            state = _mix((state + _GOLDEN) ^ _mix(torch.as_tensor(coordinate, device=state.device) + _GOLDEN))
        counter = torch.arange(1, count + 1, device=state.device) * _GOLDEN
        return _mix(state[:, None] + counter)


def _unit(bits: Tensor) -> Tensor:
    """The lowest 24 bits, which a float32 holds, to (0, 1)."""
    return ((bits & ((1 << 24) - 1)) + 0.5) / 2**24
