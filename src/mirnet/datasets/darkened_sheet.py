"""The contact sheet of darkened photos: photo, dark image and the dark image exposed back, whole and in detail."""

from pathlib import Path

import numpy as np
import torch

from mirnet import exposure, images
from mirnet.datasets.darkened_folder import SyntheticPair
from mirnet.datasets.reading import to_unit
from mirnet.datasets.target_exposure import solve_stops
from mirnet.evaluation.contact_sheet import Cell, Row, draw_contact_sheet, fit_into, middle_of, to_8_bit

ROWS = 8
WIDTH_PX, HEIGHT_PX = 360, 240  # of the box that every whole image fits; details are HEIGHT_PX high and wide
IN_DETAIL = ", pixel for pixel"


class DarkenedSheet:
    """Rows of photo, dark image, dark image exposed to the photo's brightness; then details of photo and result.

    The details are at the images' own pixels, since noise is gone from small copies. Noisy copies are not exposed. Of
    `count` images, up to eight that are evenly spread have a row.
    """

    def __init__(self, count: int) -> None:
        rows = min(count, ROWS)
        self._places = {number * count // rows for number in range(rows)}
        self._count = 0
        self._rows: list[Row] = []

    def add(self, pair: SyntheticPair) -> None:
        """Add the next pair, if it is one of those shown."""
        if self._count in self._places:
            self._rows.append(_row_of(pair))
        self._count += 1

    def save(self, path: Path) -> None:
        """Write the sheet as a PNG. Raises PictureError, OutputExists."""
        images.write_image(path, draw_contact_sheet(self._rows, least_column_px=HEIGHT_PX))


def _row_of(pair: SyntheticPair) -> Row:
    bright, dark = to_unit(pair.bright), to_unit(pair.dark)
    cells = [_whole("photo", bright), _whole(_describe(pair), dark)]
    result, name = dark, "the dark image"
    if "stops" in pair.about:
        stops = float(solve_stops(*(torch.from_numpy(each).permute(2, 0, 1)[None] for each in (dark, bright))))
        result, name = exposure.expose(dark, stops), "exposed back"
        cells.append(_whole(f"exposed back by {stops:.1f} stops", result))
    cells += [_detail(f"photo{IN_DETAIL}", bright), _detail(f"{name}{IN_DETAIL}", result)]
    return Row(cells, pair.name)


def _describe(pair: SyntheticPair) -> str:
    about = pair.about
    noise = (
        f"Gaussian noise, sigma {about['gaussian_sigma']:.0f}"
        if "gaussian_sigma" in about
        else f"shot noise {about['shot_variance_per_signal']:.1g}, {about['grain']}"
    )
    darkness = f"{about['stops']:.1f} stops darker, " if "stops" in about else ""
    stored = f", JPEG {about['jpeg']['quality']}" if about.get("jpeg") else ""
    return f"{darkness}{noise}{stored}"


def _whole(caption: str, image: exposure.Floats) -> Cell:
    return Cell(fit_into(np.asarray(image, np.float32), WIDTH_PX, HEIGHT_PX, enlarge=False), caption)


def _detail(caption: str, image: exposure.Floats) -> Cell:
    return Cell(to_8_bit(middle_of(np.asarray(image, np.float32), HEIGHT_PX)), caption)
