"""What is kept in memory between requests: opened images and jobs."""

import math
import time
from dataclasses import dataclass, field
from typing import Any

from mirnet.errors import Cancelled
from mirnet.inference.enhancer import EnhancedBytes
from mirnet.inference.preview import Preview
from mirnet.service.problems import of_error
from mirnet.service.responses import JobState, ProblemDetails, result_of
from mirnet.service.work_queue import QueuedJob, WorkQueue

ITSELF_BYTES = 20_000  # what a job without a result counts as, so that their number is bounded too
TELLING_PROGRESS = 0.05  # with less done, what is left is a guess


@dataclass
class OpenedPreview:
    """An image that is rendered again and again; `latest` is the newest render that may be superseded."""

    preview: Preview
    weights: str
    latest: QueuedJob[Any] | None = None

    def forget(self, queued: QueuedJob[Any]) -> None:
        """A render has ended."""
        if self.latest is queued:
            self.latest = None

    @property
    def nbytes(self) -> int:
        return self.preview.nbytes


@dataclass
class StoredJob:
    """An image in work for somebody who asks later; a look at its ticket."""

    queue: WorkQueue
    queued: QueuedJob[EnhancedBytes]
    weights: str
    fetched: bool = False  # whether the client has fetched the result
    clock: Any = field(default=time.monotonic)

    @property
    def over(self) -> bool:
        return self.queued.outcome.done()

    @property
    def enhanced(self) -> EnhancedBytes | None:
        """The result, once it is there."""
        return self.queued.outcome.result() if self.over and self._error() is None else None

    @property
    def nbytes(self) -> int:
        enhanced = self.enhanced
        return ITSELF_BYTES + (len(enhanced.content) if enhanced else 0)

    def state(self, name: str) -> JobState:
        """How it is now; `name` is its id."""
        error, enhanced, queued = self._error(), self.enhanced, self.queued
        problem = None if error is None or isinstance(error, Cancelled) else ProblemDetails(**of_error(error).content())
        state = self._state(error)
        seconds = 0.0 if math.isnan(queued.began) else (
            (self.clock() if math.isnan(queued.ended) else queued.ended) - queued.began
        )  # fmt: skip
        left = seconds * (1 - queued.progress) / queued.progress if queued.progress >= TELLING_PROGRESS else None
        result = result_of(enhanced, self.weights, f"/v1/jobs/{name}/result") if enhanced else None
        return JobState(
            id=name, state=state, place=self.queue.position(queued), progress=1.0 if enhanced else queued.progress,
            seconds=round(seconds, 3), seconds_left=round(left, 1) if left and state == "working" else None,
            problem=problem, result=result,
        )  # fmt: skip

    def _state(self, error: BaseException | None) -> Any:
        if not self.over:
            return "working" if self.queued.working else "waiting"
        if isinstance(error, Cancelled):
            return "cancelled"
        return "done" if error is None else "failed"

    def _error(self) -> BaseException | None:
        return self.queued.outcome.exception() if self.over else None
