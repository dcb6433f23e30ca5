"""Contact sheets: small images in rows and columns with captions, for a person to look at; drawn with Pillow."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

TEXT_PX, CAPTION_PX, GAP_PX = 13, 20, 6
INK, PAPER, GREY = (20, 20, 20), (255, 255, 255), (110, 110, 110)

Small = NDArray[np.uint8]  # (h, w, 3)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, eq=False)
class Cell:
    """An image of a sheet, (h, w, 3) uint8 or None for an empty place, with a caption above and one below it."""

    image: Small | None
    above: str = ""
    below: str = ""


@dataclass(frozen=True, eq=False)
class Row:
    """Cells side by side under a title; the columns of a sheet line up over all its rows."""

    cells: Sequence[Cell]
    title: str = ""


def draw_contact_sheet(rows: Sequence[Row], heading: str = "", least_column_px: int = 1) -> Small:
    """Draw rows as one image (H, W, 3) uint8, dark text on white.

    A column is as wide as its widest image, at least `least_column_px`. A text that is wider loses its start, since
    names differ in their ends. Lines of captions or titles that are empty in all cells of a row take no room.
    """
    widths = _column_widths(rows, least_column_px)
    whole = sum(widths) + GAP_PX * (len(widths) - 1)
    lines = [_text_line([heading], [whole], INK)] if heading else []
    for row in rows:
        if row.title:
            lines.append(_text_line([row.title], [whole], INK))
        if any(cell.above for cell in row.cells):
            lines.append(_text_line([cell.above for cell in row.cells], widths, GREY))
        lines.append(_image_line([cell.image for cell in row.cells], widths))
        if any(cell.below for cell in row.cells):
            lines.append(_text_line([cell.below for cell in row.cells], widths, GREY))
    padding = [((0, 0), (0, whole + GAP_PX - line.shape[1]), (0, 0)) for line in lines]
    return np.concatenate([np.pad(line, each, constant_values=255) for line, each in zip(lines, padding, strict=True)])


def fit_into(image: NDArray[np.float32], width_px: int, height_px: int, enlarge: bool = True) -> Small:
    """Scale an image (H, W, 3) in [0, 1] to fit a box, each pixel the mean of those that it covers."""
    height, width = image.shape[:2]
    scale = min(width_px / width, height_px / height)
    scale = scale if enlarge else min(scale, 1.0)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(to_8_bit(image)).resize(size, Image.Resampling.BOX))


def middle_of(image: NDArray[np.float32], side_px: int) -> NDArray[np.float32]:
    """The middle of an image (H, W, 3), at most `side_px` high and wide, at its own pixels."""
    top, left = (max(0, (side - side_px) // 2) for side in image.shape[:2])
    return image[top : top + side_px, left : left + side_px]


def to_8_bit(image: NDArray[np.float32]) -> Small:
    """Values in [0, 1] as uint8, clipped and rounded."""
    return np.asarray(np.round(np.clip(image, 0, 1) * 255), dtype=np.uint8)


def to_png(image: Small) -> bytes:
    """The PNG file of an image (H, W, 3) uint8."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def spread_evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to `count` - 1, evenly spread from the first to the last."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(most, count))})


def shorten(text: str, width_px: int, font: Font) -> str:
    """The text without as much of its start as does not fit into the width."""
    if font.getlength(text) <= width_px:
        return text
    start = next((start for start in range(len(text)) if font.getlength(f"…{text[start:]}") <= width_px), len(text))
    return f"…{text[start:]}"


def _column_widths(rows: Sequence[Row], least_px: int) -> list[int]:
    widths = [least_px] * max(len(row.cells) for row in rows)
    for row in rows:
        for column, cell in enumerate(row.cells):
            if cell.image is not None:
                widths[column] = max(widths[column], cell.image.shape[1])
    return widths


def _image_line(images: Sequence[Small | None], widths: Sequence[int]) -> Small:
    height = max((image.shape[0] for image in images if image is not None), default=CAPTION_PX)
    line = np.full((height, sum(widths) + GAP_PX * len(widths), 3), 255, dtype=np.uint8)
    left = 0
    for image, width in zip(images, widths, strict=False):
        if image is not None:
            line[: image.shape[0], left : left + image.shape[1]] = image
        left += width + GAP_PX
    return line


def _text_line(texts: Sequence[str], widths: Sequence[int], colour: tuple[int, int, int]) -> Small:
    line = Image.new("RGB", (sum(widths) + GAP_PX * len(widths), CAPTION_PX), PAPER)
    draw, font, left = ImageDraw.Draw(line), ImageFont.load_default(TEXT_PX), 0
    for text, width in zip(texts, widths, strict=False):
        draw.text((left + 2, 2), shorten(text, width, font), fill=colour, font=font)
        left += width + GAP_PX
    return np.asarray(line)
