"""The perceived colour difference CIEDE2000 of two images, as scikit-image computes it."""

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from mirnet.metrics import ImageArray

STRIP_PX = 1_000_000  # at once: the formula needs some thirty doubles a pixel


def ciede2000(result: ImageArray, truth: ImageArray) -> float:
    """The mean CIEDE2000 over all pixels of two sRGB images (H, W, 3) in [0, 1] under D65; 0 where they are equal."""
    rows = max(1, STRIP_PX // result.shape[1])
    total = 0.0
    for top in range(0, result.shape[0], rows):
        strips = (rgb2lab(picture[top : top + rows].astype(np.float64)) for picture in (result, truth))
        total += float(deltaE_ciede2000(*strips).sum())
    return total / float(result.shape[0] * result.shape[1])
