"""What went wrong, as problem details (RFC 9457): every answer that is no success is made here, of a sentence."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from mirnet.errors import (
    Cancelled,
    MirnetError,
    PictureError,
    SettingsError,
    TooManyPixels,
    UnknownFormat,
    WeightsError,
)
from mirnet.images import UNNAMED
from mirnet.service.work_queue import QueueFull, ShuttingDown, TimedOut

MEDIA_TYPE = "application/problem+json"
_FLAG = re.compile(r"--([a-z][a-z-]*[a-z])")  # of the command line; our options are called as the fields of Settings
TELL_TO_WAIT_SECONDS = 10  # where no better estimate exists

KINDS = {  # the end of each problem's type: its status, its title
    "malformed": (400, "The request is malformed"),
    "host": (400, "The host's name is not ours"),
    "token": (401, "A token is needed"),
    "cross-site": (403, "Other sites may not ask"),
    "not-found": (404, "There is nothing here"),
    "preview-gone": (404, "The preview is gone"),
    "job-gone": (404, "The job is gone"),
    "method": (405, "The method does not fit"),
    "stalled": (408, "The upload stalled"),
    "superseded": (409, "A newer request took its place"),
    "not-done": (409, "The job has no result yet"),
    "not-blendable": (409, "The browser cannot blend this picture"),
    "cancelled": (409, "The work was cancelled"),
    "too-large": (413, "The upload is too large"),
    "too-many-pixels": (413, "The picture is too large"),
    "media-type": (415, "The media type is not taken"),
    "unknown-format": (415, "The format is not known"),
    "picture": (422, "The picture cannot be used"),
    "settings": (422, "The settings cannot work"),
    "weights": (422, "The weights cannot be used"),
    "failed": (500, "Something of ours failed"),
    "busy": (503, "The service is busy"),
    "memory": (503, "There is no memory left"),
    "ending": (503, "The service is ending"),
    "time-limit": (504, "The time is over"),
}

_ERRORS: tuple[tuple[type[BaseException], str], ...] = (  # the first that fits
    (TooManyPixels, "too-many-pixels"),
    (UnknownFormat, "unknown-format"),
    (PictureError, "picture"),
    (SettingsError, "settings"),
    (WeightsError, "weights"),
    (QueueFull, "busy"),
    (TimedOut, "time-limit"),
    (ShuttingDown, "ending"),
    (Cancelled, "cancelled"),
    (MirnetError, "failed"),
)


class Problem(Exception):
    """Raised or sent: `kind` is one of `KINDS`, `detail` the sentence to a person."""

    def __init__(self, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.kind, self.detail, self.headers = kind, detail, headers or {}

    @property
    def status(self) -> int:
        return KINDS[self.kind][0]

    def content(self) -> dict[str, Any]:
        """The members of RFC 9457."""
        status, title = KINDS[self.kind]
        return {"type": f"/docs#{self.kind}", "title": title, "status": status, "detail": self.detail}

    def response(self) -> Response:
        body = json.dumps(self.content(), ensure_ascii=False).encode()
        return Response(body, self.status, {"Cache-Control": "no-store", **self.headers}, MEDIA_TYPE)


def of_error(error: BaseException) -> Problem:
    """The problem that a client gets for an error: our sentence, or that something failed, without internals."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, MemoryError):
        told = "The picture needs more memory than there is now; try again later, or a smaller picture."
        return Problem("memory", told, _later(TELL_TO_WAIT_SECONDS))
    kind = next((kind for known, kind in _ERRORS if isinstance(error, known)), "failed")
    if kind == "failed":
        return Problem(kind, "Something failed inside the service, which its log names; please report it.")
    headers: Mapping[str, str] = {}
    if isinstance(error, QueueFull | ShuttingDown):
        headers = _later(error.retry_seconds)
    return Problem(kind, _sentence(error), headers)


def _sentence(error: BaseException) -> str:
    """What the command line says, with the names that things have here; --max-megapixels is the service's own too."""
    told = f"{error}".replace(UNNAMED, "the image")
    if not isinstance(error, TooManyPixels):
        told = _FLAG.sub(lambda found: found[1].replace("-", "_"), told)
    return told[:1].upper() + told[1:]


def of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """The problem of a bare HTTP status, as the router has them."""
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (headers or {}).get("Allow", "")
        return Problem("method", f"This address takes {allowed or 'other methods'}.", headers or {})
    if status == HTTPStatus.NOT_FOUND:
        return Problem("not-found", "There is nothing at this address; /docs lists what there is.")
    return Problem("malformed", "The request cannot be read; /docs says what is expected.", headers or {})


def _later(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}
