"""A photographic exposure change in linear light, and the stops that lead from one image to another."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def to_linear(encoded: Floats) -> Floats:
    """sRGB-encoded values in [0, 1] to linear light in [0, 1] (IEC 61966-2-1), any shape, same dtype."""
    number = encoded.dtype.type
    linear = np.power((encoded + number(0.055)) / number(1.055), number(2.4), out=np.empty_like(encoded))
    np.copyto(linear, encoded / number(12.92), where=encoded <= 0.04045)  # several times faster than np.where
    return linear


def to_encoded(linear: Floats) -> Floats:
    """Linear light in [0, 1] to sRGB-encoded values in [0, 1], any shape, same dtype."""
    number = linear.dtype.type
    encoded = np.power(linear, number(1 / 2.4), out=np.empty_like(linear))
    encoded *= number(1.055)
    encoded -= number(0.055)
    np.copyto(encoded, linear * number(12.92), where=linear <= 0.0031308)
    return encoded


def expose_light(linear: Floats, stops: float | np.floating | Floats) -> Floats:
    """`expose` for linear light in [0, 1] of any primaries, in and out: g·l / sqrt(1 + (g² - 1)·l²)."""
    gained = np.exp2(np.asarray(stops, dtype=linear.dtype)) * linear
    # the same as the formula above, written so that nothing cancels near white
    return np.asarray(gained / np.sqrt((1 - linear) * (1 + linear) + gained * gained))


def expose(encoded: Floats, stops: float | np.floating | Floats) -> Floats:
    """The image as if it had been exposed by `stops` more, in linear light with a soft shoulder.

    `encoded` is sRGB in [0, 1], any shape, float32 or float64; `stops` a number or an array that
    broadcasts to it. The result has the image's shape and dtype and lies in [0, 1]. With
    g = 2^stops and linear light l it is g·l / sqrt(1 + (g² - 1)·l²): shadows are multiplied by
    exactly g, black and white stay, nothing clips, 0 stops is the identity, and two changes in a
    row equal one change by the sum of their stops.
    """
    return np.clip(to_encoded(expose_light(to_linear(encoded), stops)), 0, 1)


def solve_stops(encoded: Floats, target_mean: float, limit: float = 12.0) -> float:
    """The stops at which the mean of `expose(encoded, stops)` is `target_mean`, by bisection to 1e-4.

    `encoded` is sRGB in [0, 1], any shape. The mean grows with the stops, so there is one answer;
    it is limited to [-limit, limit] (an all-black image has none and gives +limit).
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
