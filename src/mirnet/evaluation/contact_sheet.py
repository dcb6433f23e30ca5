"""One picture to look at after scoring: rows of dark | results | truth, each with its name and numbers."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mirnet import images, metrics
from mirnet.evaluation.scores import Evaluation, Score
from mirnet.pairs import Pair

WIDTH_PX, HEIGHT_PX = 400, 200  # of the box into which every picture fits
ROWS = 12  # of each folder
TEXT_PX, CAPTION_PX, GAP_PX = 13, 22, 6
INK, PAPER, GREY = (20, 20, 20), (255, 255, 255), (110, 110, 110)

Small = NDArray[np.uint8]  # (h, w, 3)


class Sheet:
    """Collects small copies of what is scored, by folder of pairs and method; about 0.2 MB a picture."""

    def __init__(self) -> None:
        self._small: dict[tuple[str, str, str], Small] = {}

    def add(self, folder: str, method: str, pair: Pair, dark: metrics.Picture, result: metrics.Picture,
            truth: metrics.Picture) -> None:  # fmt: skip
        """Keep what was scored, (H, W, 3) in [0, 1]; dark and truth once, whatever the number of methods."""
        for column, picture in (("dark", dark), (f"by {method}", result), ("truth", truth)):
            if (folder, column, pair.name) not in self._small:
                self._small[folder, column, pair.name] = _small(picture)

    def save(self, path: Path, folders: dict[str, list[Evaluation]]) -> None:
        """Write a PNG of at most twelve rows a folder, evenly chosen from the first method's worst PSNR to its best.

        Raises PictureError, OutputExists.
        """
        parts = [part for folder, evaluations in folders.items() for part in self._rows(folder, evaluations)]
        width = max(part.shape[1] for part in parts)
        padded = [np.pad(part, ((0, 0), (0, width - part.shape[1]), (0, 0)), constant_values=255) for part in parts]
        images.write_image(path, np.concatenate(padded))

    def _rows(self, folder: str, evaluations: list[Evaluation]) -> list[Small]:
        methods = [evaluation.method for evaluation in evaluations]
        columns = ["dark", *(f"by {method}" for method in methods), "truth"]
        chosen = _chosen(evaluations[0].ordered)
        scored = [{score.name: score for score in evaluation.scores} for evaluation in evaluations]
        names = [score.name for _, score in chosen]
        widths = [max(self._small[folder, column, name].shape[1] for name in names) for column in columns]
        rows = [_strip([f"{folder}: dark", *methods, "truth"], widths, INK)]
        for place, score in chosen:
            under = [
                _numbers(score.psnr_input, score.ssim_input),
                *(_numbers(each[score.name].psnr, each[score.name].ssim) for each in scored), "",
            ]  # fmt: skip
            rows.append(_strip([f"{score.name}{place}"], [sum(widths) + GAP_PX * (len(widths) - 1)], INK))
            rows.append(_beside([self._small[folder, column, score.name] for column in columns], widths))
            rows.append(_strip(under, widths, GREY))
        return rows


def _chosen(ordered: list[Score]) -> list[tuple[str, Score]]:
    """Evenly from worst to best, each with what is said of its place."""
    places = sorted({round(place) for place in np.linspace(0, len(ordered) - 1, min(ROWS, len(ordered)))})
    said = {0: " (worst)", len(ordered) - 1: " (best)"} if len(ordered) > 1 else {}
    return [(said.get(place, ""), ordered[place]) for place in places]


def _numbers(psnr: float, ssim: float) -> str:
    return f"{psnr:.2f} dB" + ("" if np.isnan(ssim) else f"  SSIM {ssim:.3f}")


def _beside(pictures: list[Small], widths: list[int]) -> Small:
    height = max(picture.shape[0] for picture in pictures)
    cells = [
        np.pad(picture, ((0, height - picture.shape[0]), (0, width + GAP_PX - picture.shape[1]), (0, 0)),
               constant_values=255)
        for picture, width in zip(pictures, widths, strict=True)
    ]  # fmt: skip
    return np.concatenate(cells, axis=1)


def _strip(texts: list[str], widths: list[int], colour: tuple[int, int, int]) -> Small:
    """A line of text over or under each column, shortened where it would run into the next."""
    strip = Image.new("RGB", (sum(widths) + GAP_PX * len(widths), CAPTION_PX), PAPER)
    draw, font, left = ImageDraw.Draw(strip), ImageFont.load_default(TEXT_PX), 0
    for text, width in zip(texts, widths, strict=True):
        draw.text((left + 2, 3), _fitting(text, width, font), fill=colour, font=font)
        left += width + GAP_PX
    return np.asarray(strip)


def _fitting(text: str, width: int, font: "ImageFont.FreeTypeFont | ImageFont.ImageFont") -> str:
    """The text, without as much of its start as does not fit: names differ in their ends."""
    if font.getlength(text) <= width:
        return text
    start = next((start for start in range(len(text)) if font.getlength(f"…{text[start:]}") <= width), len(text))
    return f"…{text[start:]}"


def _small(picture: metrics.Picture) -> Small:
    """A copy that fits the box, by the mean of what each of its pixels covers."""
    height, width = picture.shape[:2]
    scale = min(WIDTH_PX / width, HEIGHT_PX / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    whole = Image.fromarray(np.asarray(np.round(np.clip(picture, 0, 1) * 255), dtype=np.uint8))
    return np.asarray(whole.resize(size, Image.Resampling.BOX))
