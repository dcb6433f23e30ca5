"""NumPy arrays and PIL images as users have them, converted to the (H, W, C) arrays that are enhanced, and back."""

import sys
from typing import Any

import numpy as np

from mirnet.errors import PictureError
from mirnet.inference.blending import Pixels

ORIENTATION = 0x0112  # the EXIF tag
PLAIN_MODES = ("L", "LA", "RGB", "RGBA", "I;16")  # of PIL images: their arrays are the values that are shown
TO_PLAIN = {"1": "L", "La": "LA", "PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA", "CMYK": "RGB", "YCbCr": "RGB",
            "LAB": "RGB", "HSV": "RGB", "I;16L": "I;16", "I;16B": "I;16"}  # fmt: skip


def check_array(array: Pixels, clip: bool = False) -> Pixels:
    """The array (H, W) or (H, W, 1 to 4) of uint8, uint16 or float as (H, W, C), floats in [0, 1].

    With `clip`, floats outside are clipped. Raises PictureError that states the wrong shape, type or range.
    """
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 2, 3, 4)):
        raise PictureError(f"Expected an array (H, W), (H, W, 3) or (H, W, 4), not of shape {array.shape}.")
    if array.dtype not in (np.uint8, np.uint16) and array.dtype.kind != "f":
        raise PictureError(f"Expected uint8, uint16 or float in [0, 1], not {array.dtype}.")
    if array.dtype.kind == "f" and clip:
        array = np.clip(np.nan_to_num(array, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    elif array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):  # also refuses NaN
            raise PictureError(
                f"Expected floats in [0, 1]; these lie in {low:g} to {high:g}. Scale or clip them first (clip=True)."
            )
    return array[:, :, None] if array.ndim == 2 else array


def is_pil_image(x: Any) -> bool:
    """Whether `x` is a PIL image. PIL is not imported for that: the caller who has an image has imported it."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(x, module.Image)


def array_of_pil(image: Any) -> tuple[Pixels, int, bytes | None]:
    """The stored pixels of a PIL image, its orientation, 1 to 8, and the ICC profile of these pixels.

    Raises PictureError for a mode that holds no image of 8 or 16 bit.
    """
    # a profile holds for the mode that the image has, not for the mode that it is converted to
    icc = image.info.get("icc_profile") if image.mode in PLAIN_MODES else None
    return np.asarray(_convert_to_plain(image)), _orientation_of(image), icc


def pil_like(image: Any, array: Pixels) -> Any:
    """A PIL image of these stored pixels with the orientation and information of `image`."""
    result = sys.modules["PIL.Image"].fromarray(array)
    result.info = {name: value for name, value in image.info.items() if name != "transparency"}
    orientation = _orientation_of(image)
    if _orientation_of(result) != orientation:  # that of a TIFF is not in its info
        result.getexif()[ORIENTATION] = orientation
    return result


def _convert_to_plain(image: Any) -> Any:
    """The image in a mode whose pixels are plain numbers."""
    if image.mode in PLAIN_MODES:
        return image
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode not in TO_PLAIN:
        raise PictureError(f"Expected a PIL image of 8 or 16 bit, not of mode {image.mode}; convert it first.")
    return image.convert(TO_PLAIN[image.mode])


def _orientation_of(image: Any) -> int:
    """The EXIF tag, 1 to 8; 1 where there is none."""
    orientation = image.getexif().get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1
