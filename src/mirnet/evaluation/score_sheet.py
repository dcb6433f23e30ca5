"""The contact sheet of an evaluation: dark image, results and ground truth of some pairs, worst PSNR first."""

from pathlib import Path

import numpy as np

from mirnet import images, metrics
from mirnet.evaluation.contact_sheet import Cell, Row, Small, draw_contact_sheet, fit_into, spread_evenly
from mirnet.evaluation.scores import Evaluation, Score
from mirnet.pairs import Pair

WIDTH_PX, HEIGHT_PX = 400, 200  # of the box into which every image fits
ROWS = 12  # of each folder


class ScoreSheet:
    """Collects small copies of the scored images, by folder of pairs and method; about 0.2 MB an image."""

    def __init__(self) -> None:
        self._small: dict[tuple[str, str, str], Small] = {}

    def add(self, folder: str, method: str, pair: Pair, dark: metrics.ImageArray, result: metrics.ImageArray,
            truth: metrics.ImageArray) -> None:  # fmt: skip
        """Keep the images of one scored pair, (H, W, 3) in [0, 1]; dark image and ground truth once for all methods."""
        for column, image in (("dark", dark), (f"by {method}", result), ("truth", truth)):
            if (folder, column, pair.name) not in self._small:
                self._small[folder, column, pair.name] = fit_into(image, WIDTH_PX, HEIGHT_PX)

    def save(self, path: Path, folders: dict[str, list[Evaluation]]) -> None:
        """Write a PNG of at most twelve rows a folder, evenly chosen from the first method's worst PSNR to its best.

        Raises PictureError, OutputExists.
        """
        rows = [row for folder, evaluations in folders.items() for row in self._rows(folder, evaluations)]
        images.write_image(path, draw_contact_sheet(rows))

    def _rows(self, folder: str, evaluations: list[Evaluation]) -> list[Row]:
        methods = [evaluation.method for evaluation in evaluations]
        columns = ["dark", *(f"by {method}" for method in methods), "truth"]
        headings = [f"{folder}: dark", *methods, "ground truth"]
        scores = [{score.name: score for score in evaluation.scores} for evaluation in evaluations]
        rows = []
        for number, (remark, score) in enumerate(_choose_evenly(evaluations[0].from_worst_to_best)):
            above = headings if number == 0 else [""] * len(columns)
            below = [
                _format_numbers(score.psnr_input, score.ssim_input),
                *(_format_numbers(each[score.name].psnr, each[score.name].ssim) for each in scores), "",
            ]  # fmt: skip
            images_of_row = [self._small[folder, column, score.name] for column in columns]
            rows.append(Row([*map(Cell, images_of_row, above, below)], f"{score.name}{remark}"))
        return rows


def _choose_evenly(scores: list[Score]) -> list[tuple[str, Score]]:
    """Scores evenly spread from worst to best, those at the ends with a remark."""
    remarks = {0: " (worst)", len(scores) - 1: " (best)"} if len(scores) > 1 else {}
    return [(remarks.get(place, ""), scores[place]) for place in spread_evenly(len(scores), ROWS)]


def _format_numbers(psnr: float, ssim: float) -> str:
    return f"{psnr:.2f} dB" + ("" if np.isnan(ssim) else f"  SSIM {ssim:.3f}")
