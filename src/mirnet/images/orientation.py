"""Pixels as a file stores them, and as a person sees them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # (H, W) or (H, W, C), uint8 or uint16 where not said otherwise


def upright(array: Pixels, orientation: int) -> Pixels:
    """Stored pixels (H, W) or (H, W, C) as a person sees them; a view, with the sides swapped for tags 5 to 8."""
    transposed = np.swapaxes(array, 0, 1) if orientation >= 5 else array
    rows = slice(None, None, -1 if orientation in (3, 4, 7, 8) else 1)
    columns = slice(None, None, -1 if orientation in (2, 3, 6, 7) else 1)
    return transposed[rows, columns]


def stored(array: Pixels, orientation: int) -> Pixels:
    """Pixels as a person sees them in the order of a file with this tag; a view, the inverse of `upright`."""
    return upright(array, {6: 8, 8: 6}.get(orientation, orientation))  # the quarter turns undo each other
