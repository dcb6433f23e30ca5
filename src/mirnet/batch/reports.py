"""A report of many images: a JSON line for each, appended, so that it survives a killed process."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mirnet._version import __version__
from mirnet.batch.jobs import Outcome
from mirnet.errors import MirnetError, SettingsError
from mirnet.formats import find_format
from mirnet.inference.catalog import Weights

SYNC_SECONDS = 5.0  # how much of a report a power cut may take
FINISHED = ("enhanced", "found")


class ReportFile:
    """The report of a run, and of the same command's runs before it.

    Each line has `status`: "enhanced"; "failed", with `error`; or "found": an output that was there already, of which
    no line told, since the run that made it was killed before it could, or had no report. So every output has one
    line, however often the command is repeated; a repeated failure has one each time.
    """

    def __init__(self, path: Path, weights: Weights) -> None:
        """Raises SettingsError where that file cannot be written, or is something else already."""
        self.path, self._weights = path, weights
        if find_format(path.suffix) is not None:
            raise SettingsError(f"{path}: is a picture's name; a report is named like report.jsonl.")
        try:
            sentence = path.read_bytes() if path.is_file() else b""
            _refuse_other(path, sentence)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        except OSError as error:
            raise SettingsError(f"{path}: the report cannot be written there ({error.strerror}).") from error
        self._told = {line["output"] for line in read(sentence) if line.get("status") in FINISHED}
        self._torn = sentence[-1:] not in (b"", b"\n")  # a line that a killed process began
        self._synced = time.monotonic()

    def add(self, outcome: Outcome) -> None:
        """A line about one image, unless its output has one. Raises MirnetError where it cannot be written."""
        if outcome.skipped and str(outcome.job.target) in self._told:
            return
        line = json.dumps(format_line(outcome, self._weights)) + "\n"  # in ASCII: whatever a file's name holds
        data = (b"\n" if self._torn else b"") + line.encode()
        try:
            self._torn = os.write(self._file, data) < len(data)  # at once, so that no other process's comes between
            if self._torn:
                raise OSError(0, "the disk took a part of it only")
            if time.monotonic() - self._synced > SYNC_SECONDS:
                self._sync()
        except OSError as error:
            raise MirnetError(f"{self.path}: the report cannot be written ({error.strerror}); make room.") from error
        if not outcome.failed:
            self._told.add(str(outcome.job.target))

    def close(self) -> None:
        """What was written is on the disk."""
        try:
            self._sync()
        except OSError:  # a pipe, or a disk that is gone: each line was told as well as could be
            pass
        finally:
            os.close(self._file)

    def _sync(self) -> None:
        self._synced = time.monotonic()
        os.fsync(self._file)


def read(content: bytes) -> list[dict[str, Any]]:
    """The whole lines of a report; what a killed process left half-written is passed over."""
    lines = []
    for line in content.splitlines():
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and "output" in said:
            lines.append(said)
    return lines


def format_line(outcome: Outcome, weights: Weights) -> dict[str, Any]:
    """What the report says about one image."""
    job, report = outcome.job, outcome.report
    source_bytes, output_bytes = outcome.bytes or (_bytes(job.source), _bytes(job.target))
    line: dict[str, Any] = {
        "status": "failed" if outcome.failed else "found" if outcome.skipped else "enhanced",
        "source": str(job.source), "output": str(job.target),
        "bytes": source_bytes, "output_bytes": None if outcome.failed else output_bytes,
    }  # fmt: skip
    if report is not None:
        line |= {
            "width": report.width, "height": report.height,
            "megapixels": round(report.width * report.height / 1e6, 3), "seconds": round(report.seconds, 3),
            "proposed_stops": round(report.proposed_stops, 3), "stops": round(report.stops, 3),
            "settings": report.settings.described(), "precision": report.precision,
        }  # fmt: skip
        line |= {"weights": weights.card.name, "weights_sha256": weights.card.sha256, "mirnet": __version__}
    line |= {
        "remarks": list(report.remarks if report else outcome.remarks),
        "error": str(outcome.error) if outcome.error else None,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return line


def _bytes(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _refuse_other(path: Path, content: bytes) -> None:
    begins = b'{"status": '  # as every line does, and perhaps no more of it than that was written
    if not (content.startswith(begins) or begins.startswith(content)):
        raise SettingsError(f"{path}: holds something that is no report of mirnet's; choose another name.")
