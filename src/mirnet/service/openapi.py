"""What OpenAPI says beyond what FastAPI sees: options, bodies, headers and problems, from the tables that rule them."""

from collections.abc import Mapping
from typing import Any

from mirnet.formats import WRITABLE
from mirnet.service.options import Option
from mirnet.service.problems import KINDS
from mirnet.service.problems import MEDIA_TYPE as PROBLEM
from mirnet.service.responses import MEDIA_TYPES, ProblemDetails

BYTES = {"type": "string", "format": "binary"}
PICTURE = {"contentMediaType": "application/octet-stream"}  # of a part or a body that is the bytes themselves
HEADERS = {
    "Mirnet-Width": ("integer", "Pixels, as a person sees the picture."),
    "Mirnet-Height": ("integer", "The same."),
    "Mirnet-Seconds": ("number", "Of work on it, without waiting."),
    "Mirnet-Weights": ("string", "The name of the weights."),
    "Mirnet-Stops": ("number", "The stops that it was given, in the mean."),
    "Mirnet-Proposed-Stops": ("number", "The stops that were proposed, in the mean."),
    "Mirnet-Remarks": ("string", "Where there are some: a JSON list of sentences, such as what a format cannot hold."),
}


def takes(known: Mapping[str, Option], body: str | None = None) -> dict[str, Any]:
    """The `openapi_extra` of a route with these options.

    `body` is "file" for an image (raw, or as a part with options beside it and a photo to match), "match" for such a
    photo alone, None for none.
    """
    said: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "query", "description": each.says, "schema": dict(each.schema)}
            for name, each in known.items()
        ]
    }
    if body is None:
        return said
    parts: dict[str, Any] = {"match": {**BYTES, "description": "A photo whose mean brightness the result gets."}}
    if body == "file":
        parts = {"file": {**BYTES, "description": "The picture; its name is not looked at."}} | parts
    fields = {name: {**each.schema, "description": each.says} for name, each in known.items()}
    form = {"type": "object", "properties": parts | fields}
    content: dict[str, Any] = {"multipart/form-data": {"schema": form}}
    if body == "file":
        content["application/octet-stream"] = {"schema": {**BYTES, "description": "The picture itself."}}
        content["image/*"] = {"schema": dict(BYTES)}
    return said | {"requestBody": {"required": False, "content": content}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers that are no success, besides those that every request may get."""
    said: dict[int | str, dict[str, Any]] = {}
    for status in sorted({400, 401, 403, 500, *statuses}):
        titles = dict.fromkeys(title for code, title in KINDS.values() if code == status)
        said[status] = {"description": "; ".join(titles), "model": ProblemDetails}
        if status == 503:
            said[status]["headers"] = {"Retry-After": _header("integer", "Seconds until it is worth trying again.")}
        if status == 401:
            said[status]["headers"] = {"WWW-Authenticate": _header("string", "Bearer.")}
    return said


def picture(*names: str, media_types: tuple[str, ...] = ()) -> dict[int | str, dict[str, Any]]:
    """A success that is an image, with these headers (all where none is named)."""
    types = media_types or tuple(MEDIA_TYPES[name] for name in WRITABLE)
    headers = {name: _header(*HEADERS[name]) for name in names or HEADERS}
    return {200: {"description": "The picture", "headers": headers,
                  "content": {each: {"schema": dict(BYTES)} for each in types}}}  # fmt: skip


def text(says: str, media_type: str) -> dict[int | str, dict[str, Any]]:
    """A success that is text."""
    return {200: {"description": says, "content": {media_type: {"schema": {"type": "string"}}}}}


def finished(document: dict[str, Any], *, token_needed: bool) -> dict[str, Any]:
    """FastAPI's document with problems under their own media type, and the token where there is one."""
    for operation in (each for path in document["paths"].values() for each in path.values()):
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and "application/json" in answer.get("content", {}):
                answer["content"] = {PROBLEM: answer["content"].pop("application/json")}
    if token_needed:
        document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _header(kind: str, says: str) -> dict[str, Any]:
    return {"description": says, "schema": {"type": kind}}
