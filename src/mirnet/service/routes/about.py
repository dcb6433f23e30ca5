"""What the service says about itself: weights, limits, health, metrics, and its own description."""

import json
from functools import cache

from fastapi import APIRouter, FastAPI
from starlette.responses import JSONResponse, Response

from mirnet._version import __version__
from mirnet.formats import FORMATS, WRITABLE
from mirnet.service import openapi
from mirnet.service.responses import (
    MEDIA_TYPES,
    FormatOut,
    Health,
    LimitsState,
    WeightsList,
    weights_facts,
)
from mirnet.service.service import Service

METRICS = openapi.text("Prometheus' text format", "text/plain")


def routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["about"])

    @router.get("/v1/weights", summary="The weights that there are", responses=openapi.problems())
    async def weights() -> WeightsList:
        """Named as the option `weights` takes them, with what their cards say."""
        enhancers = service.enhancers
        named = sorted(enhancers.weights.items())
        return WeightsList([weights_facts(name, each, default=name == enhancers.default) for name, each in named])

    @router.get("/v1/limits", summary="What the service takes and gives", responses=openapi.problems())
    async def limits() -> LimitsState:
        at_most = service.limits
        suffixes = [suffix for each in FORMATS.values() for suffix in each.suffixes]
        formats = [FormatOut(name, FORMATS[name].suffixes[0], MEDIA_TYPES[name]) for name in WRITABLE]
        return LimitsState(at_most.max_bytes, at_most.max_megapixels, at_most.queue, at_most.time_limit_seconds,
                           suffixes, formats, __version__, service.token_needed)  # fmt: skip

    @router.get("/healthz", summary="Whether the process answers")
    async def health() -> Health:
        return Health("ok")

    @router.get("/readyz", summary="Whether pictures are taken", responses={503: {"model": Health}})
    async def ready() -> Response:
        """503 while the network is loading, and when the service ends."""
        status = "ending" if service.ending else "ok" if service.ready else "starting"
        return JSONResponse({"status": status}, 200 if status == "ok" else 503)

    @router.get("/metrics", summary="Numbers for Prometheus", response_class=Response,
                responses=METRICS | openapi.problems())  # fmt: skip
    async def metrics() -> Response:
        """Requests, seconds by stage, the queue, pixels, memory; nothing of an image."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def openapi_route(app: FastAPI, service: Service) -> None:
    """`/openapi.json`: FastAPI's document, finished by ours."""

    @cache
    def document() -> bytes:  # made at the first question: it takes a while
        said = openapi.finished(app.openapi(), token_needed=service.token_needed)
        return json.dumps(said, ensure_ascii=False).encode()

    @app.get("/openapi.json", include_in_schema=False)
    async def serve_document() -> Response:
        return Response(document(), headers={"Cache-Control": "no-cache"}, media_type="application/json")
