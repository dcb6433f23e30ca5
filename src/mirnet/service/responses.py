"""What the service answers: images with their facts in headers, and JSON objects."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mirnet.formats import FORMATS
from mirnet.inference.catalog import Weights
from mirnet.inference.enhancer import EnhancedBytes
from mirnet.service.uploads import MemoryBudget

PIECE_BYTES = 1 << 18  # of an image that is sent: the next follows when the client has taken most of this one
MEDIA_TYPES = {name: f"image/{name}" for name in FORMATS}


def facts(enhanced: EnhancedBytes, weights: str) -> dict[str, str]:
    """The headers that go with an enhanced image."""
    said = {
        "Mirnet-Width": str(enhanced.width), "Mirnet-Height": str(enhanced.height),
        "Mirnet-Seconds": f"{enhanced.seconds:.3f}",
        "Mirnet-Weights": weights.encode("ascii", "backslashreplace").decode(),
        "Mirnet-Stops": f"{enhanced.stops:.4f}", "Mirnet-Proposed-Stops": f"{enhanced.proposed_stops:.4f}",
    }  # fmt: skip
    return said | ({"Mirnet-Remarks": json.dumps(enhanced.remarks)} if enhanced.remarks else {})


class ImageResponse(Response):
    """An image file, sent as fast as the client takes it; it counts against the room until it is on its way."""

    def __init__(self, content: bytes, media_type: str, headers: Mapping[str, str], memory: MemoryBudget,
                 told: Callable[[str, float], None] = lambda stage, seconds: None) -> None:  # fmt: skip
        super().__init__(None, 200, {**headers, "Content-Length": str(len(content)), "Cache-Control": "no-store"},
                         media_type)  # fmt: skip
        self._content, self._room, self._told = content, memory, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, size = time.monotonic(), len(self._content)
        self._room.used += size  # it is in memory already, so it is not refused
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, size, PIECE_BYTES):
                piece = self._content[start : start + PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": start + PIECE_BYTES < size})
        finally:
            self._room.give_back(size)
        self._told("send", time.monotonic() - started)


# JSON ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What a job made; the image itself lies at `href`."""

    href: str
    media_type: str
    bytes: int
    width: int
    height: int
    stops: float
    proposed_stops: float
    weights: str
    seconds: float
    remarks: list[str]


def result_of(enhanced: EnhancedBytes, weights: str, href: str) -> Result:
    return Result(href, MEDIA_TYPES[enhanced.format], len(enhanced.content), enhanced.width, enhanced.height,
                  enhanced.stops, enhanced.proposed_stops, weights, round(enhanced.seconds, 3),
                  list(enhanced.remarks))  # fmt: skip


@dataclass(frozen=True)
class ProblemDetails:
    """RFC 9457; `detail` is a sentence to a person."""

    type: str
    title: str
    status: int
    detail: str


@dataclass(frozen=True)
class JobState:
    """A job as it is now."""

    id: str
    state: Literal["waiting", "working", "done", "failed", "cancelled"]
    place: Annotated[int, Field(description="How many wait before it.")]
    progress: Annotated[float, Field(ge=0, le=1)]
    seconds: Annotated[float, Field(description="Of work on it so far.")]
    seconds_left: Annotated[float | None, Field(description="A guess by its progress; null where it is unknown.")]
    problem: Annotated[ProblemDetails | None, Field(description="Why it failed.")]
    result: Annotated[Result | None, Field(description="Where it is done.")]


@dataclass(frozen=True)
class PreviewState:
    """An opened image."""

    id: str
    width: int
    height: int
    format: str
    depth: Annotated[int, Field(description="Bits of a value in the file, 32 for floats.")]
    megapixels: float
    proposed_stops: Annotated[float, Field(description="In the mean over the picture.")]
    blendable: Annotated[bool, Field(description="Whether layers can be asked for and blended: opaque 8-bit sRGB.")]
    remarks: list[str]
    expires_in_seconds: Annotated[float, Field(description="Without further use.")]
    weights: str


@dataclass(frozen=True)
class WeightsFacts:
    """What the card of some weights says."""

    name: str
    default: bool
    parameters: int
    kflop_per_px: float
    megabytes: float
    scores: dict[str, float]
    protocol: str
    licence: str
    known_failures: list[str]


@dataclass(frozen=True)
class WeightsList:
    weights: list[WeightsFacts]


def weights_facts(name: str, weights: Weights, *, default: bool) -> WeightsFacts:
    card = weights.card
    megabytes = round(weights.path.stat().st_size / 1e6, 2)
    return WeightsFacts(name, default, card.parameters, card.kflop_per_px, megabytes, card.scores, card.protocol,
                        card.licence, card.known_failures)  # fmt: skip


@dataclass(frozen=True)
class FormatOut:
    name: str
    suffix: str
    media_type: str


@dataclass(frozen=True)
class LimitsState:
    """What the service takes and gives."""

    max_bytes: int
    max_megapixels: float
    queue: int
    time_limit_seconds: float
    formats_in: Annotated[list[str], Field(description="Suffixes; what counts is the content.")]
    formats_out: list[FormatOut]
    version: str
    token_needed: bool


@dataclass(frozen=True)
class Health:
    status: Literal["ok", "starting", "ending"]


def event(name: str, content: Any) -> bytes:
    """One server-sent event; `content` is JSON."""
    data = re.sub(r"\s*\n\s*", " ", json.dumps(content, ensure_ascii=False))
    return f"event: {name}\ndata: {data}\n\n".encode()
