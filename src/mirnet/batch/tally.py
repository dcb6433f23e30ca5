"""Counts of what became of the images of a batch, and the summary line."""

import time

from mirnet.batch.jobs import Outcome


class Tally:
    """Counts enhanced, skipped and failed images, megapixels and seconds."""

    def __init__(self) -> None:
        self.enhanced = self.skipped = self.failed = 0
        self._megapixels, self._began = 0.0, time.monotonic()

    def add(self, outcome: Outcome) -> None:
        self.enhanced += outcome.report is not None
        self.skipped += outcome.skipped
        self.failed += outcome.failed
        if outcome.report:
            self._megapixels += outcome.report.width * outcome.report.height / 1e6

    def summary(self) -> str:
        """ "3 enhanced, 1 there already, 1 failed; 36.0 megapixels in 12.0 s, 3.00 a second"."""
        seconds = max(time.monotonic() - self._began, 1e-3)
        there = f", {self.skipped} there already (--overwrite replaces them)" if self.skipped else ""
        failed = f", {self.failed} failed" if self.failed else ""
        speed = f"; {self._megapixels:.1f} megapixels in {seconds:.1f} s, {self._megapixels / seconds:.2f} a second"
        return f"{self.enhanced} enhanced{there}{failed}" + (speed if self.enhanced else "")
