"""One image to look at after darkening: what the synthetic images of some photos are like, whole and in detail."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from mirnet import exposure, images
from mirnet.datasets.darkened_folder import SyntheticPair
from mirnet.datasets.reading import to_unit
from mirnet.datasets.target_exposure import solve_stops

ROWS = 8
BOX_PX = (360, 240)  # that every whole image fits; details are as high and as wide as it is high
TEXT_PX, CAPTION_PX, GAP_PX = 13, 20, 6
COLUMN_PX, DETAIL_COLUMN_PX = 376, 246  # a column's longest caption fits
IN_DETAIL = ", pixel for pixel"


class DarkenedSheet:
    """Rows of photo | dark image | dark image exposed to the photo's brightness, and of the first and last a detail
    of one pixel for one, since noise is gone from small copies. Noisy copies are not exposed.

    Of `count` synthetic images, up to eight that lie evenly among them have a row.
    """  # fmt: skip

    def __init__(self, count: int) -> None:
        rows = min(count, ROWS)
        self._places = {number * count // rows for number in range(rows)}
        self._seen = 0
        self._rows: list[Image.Image] = []

    def add(self, twin: SyntheticPair) -> None:
        """Look at the next synthetic image."""
        if self._seen in self._places:
            self._rows.append(_row(twin))
        self._seen += 1

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG. Raises PictureError, OutputExists."""
        width = max(row.width for row in self._rows)
        sheet = Image.new("RGB", (width, sum(row.height for row in self._rows)), "white")
        top = 0
        for row in self._rows:
            sheet.paste(row, (0, top))
            top += row.height
        images.write_image(path, np.asarray(sheet))


def _row(twin: SyntheticPair) -> Image.Image:
    bright, dark = to_unit(twin.bright), to_unit(twin.dark)
    cells = [("photo", _small(bright)), (_said(twin), _small(dark))]
    result, called = dark, "the twin"
    if "stops" in twin.about:
        stops = float(solve_stops(*(torch.from_numpy(each).permute(2, 0, 1)[None] for each in (dark, bright))))
        result, called = exposure.expose(dark, stops), "exposed back"
        cells.append((f"exposed back by {stops:.1f} stops", _small(result)))
    cells += [(f"photo{IN_DETAIL}", _detail(bright)), (f"{called}{IN_DETAIL}", _detail(result))]
    return _beside(twin.name, cells)


def _said(twin: SyntheticPair) -> str:
    about = twin.about
    noise = (
        f"Gaussian noise, sigma {about['gaussian_sigma']:.0f}"
        if "gaussian_sigma" in about
        else f"shot noise {about['shot_variance_per_signal']:.1g}, {about['grain']}"
    )
    darkness = f"{about['stops']:.1f} stops darker, " if "stops" in about else ""
    stored = f", JPEG {about['jpeg']['quality']}" if about.get("jpeg") else ""
    return f"{darkness}{noise}{stored}"


def _beside(name: str, cells: list[tuple[str, Image.Image]]) -> Image.Image:
    """A line with the name, a caption over each image, columns of one width in every row."""
    widths = [DETAIL_COLUMN_PX if caption.endswith(IN_DETAIL) else COLUMN_PX for caption, _ in cells]
    row = Image.new("RGB", (sum(widths), 2 * CAPTION_PX + BOX_PX[1] + GAP_PX), "white")
    draw, font, left = ImageDraw.Draw(row), ImageFont.load_default(TEXT_PX), 0
    draw.text((2, 2), name, fill="black", font=font)
    for (caption, picture), width in zip(cells, widths, strict=True):
        draw.text((left + 2, CAPTION_PX), caption, fill="dimgrey", font=font)
        row.paste(picture, (left, 2 * CAPTION_PX))
        left += width
    return row


def _small(picture: exposure.Floats) -> Image.Image:
    image = _image(picture)
    image.thumbnail(BOX_PX, Image.Resampling.BOX)
    return image


def _detail(picture: exposure.Floats) -> Image.Image:
    """The image's middle."""
    top, left = (max(0, (side - BOX_PX[1]) // 2) for side in picture.shape[:2])
    return _image(picture[top : top + BOX_PX[1], left : left + BOX_PX[1]])


def _image(picture: exposure.Floats) -> Image.Image:
    return Image.fromarray(np.asarray(np.round(picture * 255), dtype=np.uint8))
