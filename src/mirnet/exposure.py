"""A photographic exposure change in linear light, and how many stops lead from one picture to another."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def to_linear(encoded: Floats) -> Floats:
    """sRGB-encoded values in [0, 1] to linear light in [0, 1] (IEC 61966-2-1), any shape, same dtype."""
    return np.where(
        encoded <= 0.04045,
        encoded / encoded.dtype.type(12.92),
        ((encoded + encoded.dtype.type(0.055)) / encoded.dtype.type(1.055)) ** encoded.dtype.type(2.4),
    )


def to_encoded(linear: Floats) -> Floats:
    """Linear light in [0, 1] to sRGB-encoded values in [0, 1], any shape, same dtype."""
    return np.where(
        linear <= 0.0031308,
        linear * linear.dtype.type(12.92),
        linear.dtype.type(1.055) * linear ** linear.dtype.type(1 / 2.4) - linear.dtype.type(0.055),
    )


def expose(encoded: Floats, stops: float | np.floating | Floats) -> Floats:
    """The picture as if it had been exposed by `stops` more, in linear light with a soft shoulder.

    `encoded` is sRGB in [0, 1], any shape, float32 or float64; `stops` a number or an array that
    broadcasts to it. The result has the picture's shape and dtype and lies in [0, 1]. With
    g = 2^stops and linear light l it is g·l / sqrt(1 + (g² - 1)·l²): shadows are multiplied by
    exactly g, black and white stay, nothing clips, 0 stops is the identity, and two changes in a
    row are one change by the sum of their stops.
    """
    linear = to_linear(encoded)
    gained = np.exp2(np.asarray(stops, dtype=encoded.dtype)) * linear
    # the same as the formula above, written so that nothing cancels near white
    shouldered = gained / np.sqrt((1 - linear) * (1 + linear) + gained * gained)
    return np.clip(to_encoded(shouldered), 0, 1)


def solve_stops(encoded: Floats, target_mean: float, limit: float = 12.0) -> float:
    """The stops at which the mean of `expose(encoded, stops)` is `target_mean`, by bisection to 1e-4.

    `encoded` is sRGB in [0, 1], any shape. The mean grows with the stops, so there is one answer;
    it is held within [-limit, limit] (an all-black picture has none and gives +limit).
    """
    encoded = np.asarray(encoded)
    low, high = -limit, limit
    while high - low > 1e-4:
        middle = (low + high) / 2
        if float(expose(encoded, middle).mean(dtype=np.float64)) < target_mean:
            low = middle
        else:
            high = middle
    return (low + high) / 2
