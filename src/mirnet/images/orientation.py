"""Turns pixels between the order in which a file stores them and the upright image."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # (H, W) or (H, W, C), uint8 or uint16 where not stated otherwise


def turn_upright(array: Pixels, orientation: int) -> Pixels:
    """Returns stored pixels (H, W) or (H, W, C) as the upright image: a view, with sides swapped for tags 5 to 8."""
    transposed = np.swapaxes(array, 0, 1) if orientation >= 5 else array
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return transposed[rows, columns]


def turn_as_stored(array: Pixels, orientation: int) -> Pixels:
    """Returns an upright image in the order of a file with this orientation: a view, the inverse of `turn_upright`."""
    return turn_upright(array, {6: 8, 8: 6}.get(orientation, orientation))  # the quarter turns undo each other
