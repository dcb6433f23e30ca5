"""Collects the rows of an image until all are there: in memory where they are few, else in a file without a name.

An encoder pulls rows at its own pace, the network gives them at its own, and an image that is turned upright has its
first row last; so all rows are collected here, uncompressed. The file has no name (where the system allows that), so
that it vanishes whatever happens to the process. It is a TIFF, of which libvips reads a few rows at a time; libvips
would map plain rows whole into memory.
"""

import os
import struct
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mirnet.images.libvips import vips
from mirnet.images.orientation import Pixels, turn_as_stored, turn_upright

IN_MEMORY_BYTES = 64 << 20
_TURNED_BYTES = 32 << 20  # of rows that become columns: written in one go, or each would be a few bytes long
_STRIP_BYTES = 1 << 20
_FORMATS = {"u1": "uchar", "u2": "ushort", "f4": "float"}
_INTERPRETATIONS = {"u1": ("b-w", "srgb"), "u2": ("grey16", "rgb16"), "f4": ("b-w", "scrgb")}  # of grey and colour


class RowBuffer:
    """Takes bands of stored rows from top to bottom, and returns all of them as one upright image of libvips."""

    def __init__(self, shape: tuple[int, int, int], dtype: Any, orientation: int, folder: Path | None) -> None:
        """For stored pixels (H, W, C) of uint8, uint16 or float32. `folder` is for the file; None keeps all in memory.

        `orientation` other than 1 turns them upright. Raises OSError where no file can be made in the folder.
        """
        self._stored_shape = shape
        self._orientation = orientation
        self._dtype = np.dtype(dtype)
        height, width, channels = shape
        self.shape = (width, height, channels) if orientation >= 5 else shape
        self.bytes = height * width * channels * self._dtype.itemsize
        self._top = 0
        self._waiting: list[Pixels] = []
        self._file: Any = None
        if folder is None or self.bytes <= IN_MEMORY_BYTES:
            self._pixels = np.empty(self.shape, self._dtype)
        else:
            self._file = tempfile.TemporaryFile(dir=folder, prefix=".mirnet-", suffix=".part", buffering=0)  # noqa: SIM115
            self._header = _make_tiff_header(self.shape, self._dtype)
            self._file.write(self._header)

    def __enter__(self) -> "RowBuffer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, band: Pixels) -> None:
        """Adds the next rows (rows, W, C), of the stated dtype. Raises OSError where the disk is full."""
        assert band.dtype == self._dtype, f"a band of {band.dtype} for an image of {self._dtype}"
        if self._file is None:
            turn_as_stored(self._pixels, self._orientation)[self._top : self._top + len(band)] = band
            self._top += len(band)
            return
        if self._orientation == 1:
            self._write_rows(np.ascontiguousarray(band))
            return
        self._waiting.append(band)
        if sum(waiting.nbytes for waiting in self._waiting) >= _TURNED_BYTES:
            self._write_turned()

    def image(self) -> Any:
        """Returns all rows as an image of libvips, to be read once from top to bottom while this context lasts."""
        if self._waiting:
            self._write_turned()
        height, width, channels = self.shape
        assert self._top == self._stored_shape[0], f"{self._top} rows for an image of {self._stored_shape[0]}"
        if self._file is None:
            kind = _FORMATS[self._dtype.str[1:]]
            image = vips().Image.new_from_memory(self._pixels, width, height, channels, kind)
        else:
            origin = vips().Source.new_from_descriptor(self._file.fileno())
            image = vips().Image.tiffload_source(origin, access="sequential", fail_on="error")
        grey, colour = _INTERPRETATIONS[self._dtype.str[1:]]
        return image.copy(interpretation=colour if channels > 2 else grey)

    def _write_rows(self, rows: Pixels) -> None:
        offset = len(self._header) + self._top * rows[0].nbytes
        _write_at(self._file.fileno(), rows, offset)
        self._top += len(rows)

    def _write_turned(self) -> None:
        """Writes the waiting rows to their offsets in the upright image, where they are rows or columns."""
        rows = np.concatenate(self._waiting)
        self._waiting = []
        backwards = self._orientation in (3, 4, 6, 7)
        first = self._stored_shape[0] - self._top - len(rows) if backwards else self._top
        self._top += len(rows)
        block = np.ascontiguousarray(turn_upright(rows, self._orientation))
        pixel, width = block[0, 0].nbytes, self.shape[1]
        if self._orientation < 5:
            _write_at(self._file.fileno(), block, len(self._header) + first * width * pixel)
            return
        for index, columns in enumerate(block):
            _write_at(self._file.fileno(), columns, len(self._header) + (index * width + first) * pixel)


def _write_at(descriptor: int, pixels: Pixels, offset: int) -> None:
    """Writes all bytes of contiguous pixels; a system call may write fewer than it is given."""
    data = memoryview(pixels.data).cast("B")
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _make_tiff_header(shape: tuple[int, int, int], dtype: Any) -> bytes:
    """The header of a BigTIFF whose pixels (H, W, C) follow it as they lie in memory."""
    height, width, channels = shape
    order = "<" if sys.byteorder == "little" else ">"
    row_bytes = width * channels * dtype.itemsize
    rows = max(1, min(height, _STRIP_BYTES // row_bytes, 128))  # libvips reads strips of more rows row by row
    strips = -(-height // rows)
    directory = 16  # its offset: behind the first fields
    strip_tables = directory + 8 + 11 * 20 + 8
    start = strip_tables + 16 * strips
    offsets = [start + index * rows * row_bytes for index in range(strips)]
    counts = [min(rows, height - index * rows) * row_bytes for index in range(strips)]
    tables = struct.pack(f"{order}{2 * strips}Q", *offsets, *counts)

    def make_entry(tag: int, kind: str, *values: int) -> bytes:
        number = {"H": 3, "L": 4, "Q": 16}[kind]
        return struct.pack(f"{order}HHQ", tag, number, len(values)) + struct.pack(
            f"{order}{len(values)}{kind}", *values
        ).ljust(8, b"\0")

    def make_list_entry(tag: int, offset: int, only: int) -> bytes:
        return struct.pack(f"{order}HHQQ", tag, 16, strips, offset if strips > 1 else only)

    entries = [
        make_entry(256, "L", width),
        make_entry(257, "L", height),
        make_entry(258, "H", *[8 * dtype.itemsize] * channels),
        make_entry(259, "H", 1),  # uncompressed
        make_entry(262, "H", 2 if channels > 2 else 1),  # RGB, or grey where black is 0
        make_list_entry(273, strip_tables, offsets[0]),
        make_entry(277, "H", channels),
        make_entry(278, "L", rows),
        make_list_entry(279, strip_tables + 8 * strips, counts[0]),
        make_entry(338, "H", *[2] * (channels % 2 == 0)),  # alpha, not multiplied
        make_entry(339, "H", *[3 if dtype.kind == "f" else 1] * channels),
    ]
    # leaves out entries without values
    entries = [each for each in entries if struct.unpack_from(f"{order}Q", each, 4)[0]]
    head = struct.pack(f"{order}2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, directory)
    body = struct.pack(f"{order}Q", len(entries)) + b"".join(entries) + bytes(8)
    return (head + body).ljust(strip_tables, b"\0") + tables
