"""Rows of text in columns, for standard output: as wide as they need to be, never cut or wrapped."""

from collections.abc import Sequence


def align_columns(cells: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row; the first column is left-aligned, the others right.

    >>> align_columns([["run", "PSNR"], ["long name", "21"]])
    ['run        PSNR', 'long name    21']
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rows = (
        [f"{row[0]:{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in cells
    )
    return ["  ".join(row).rstrip() for row in rows]
