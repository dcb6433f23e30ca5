"""`/v1/previews`: an image is uploaded once, and rendered for the screen each time the user moves a slider."""

import time
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from mirnet.errors import Cancelled
from mirnet.images import encode_screen_png
from mirnet.inference.preview import Preview
from mirnet.service import openapi
from mirnet.service.options import LAYERS, SETTINGS, VIEW, WEIGHTS, view_of
from mirnet.service.problems import Problem
from mirnet.service.responses import PreviewState
from mirnet.service.routes.enhance import image_of
from mirnet.service.service import Service
from mirnet.service.stored_items import OpenedPreview
from mirnet.service.work_queue import OPEN_LEVEL, RENDER_LEVEL, Progress, QueuedJob, ShouldStop

OPEN = {**{name: SETTINGS[name] for name in ("max_megapixels", "clip")}, **WEIGHTS}
RENDER = {**SETTINGS, **WEIGHTS, **VIEW, **LAYERS}
LATEST = {
    "name": "Mirnet-Render", "in": "header", "schema": {"enum": ["latest"]},
    "description": "With `latest`, a newer such request takes the place of an older one that still waits.",
}  # fmt: skip
RENDERED = ("Mirnet-Width", "Mirnet-Height", "Mirnet-Seconds", "Mirnet-Stops", "Mirnet-Proposed-Stops")
PNG = "image/png"


def routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["previews"])

    @router.post(
        "/v1/previews", summary="Upload a picture to look at", status_code=201,
        openapi_extra=openapi.takes(OPEN, "file"), responses=openapi.problems(408, 413, 415, 422, 503, 504),
    )  # fmt: skip
    async def open_preview(request: Request, response: Response) -> PreviewState:
        """It is kept in memory, and forgotten some minutes after its last use, or when memory is needed."""
        deadline = service.deadline()
        with await service.read(request) as upload:
            known = {**SETTINGS, **WEIGHTS}
            found = service.choose(known, request, upload)
            content, settings, weights = image_of(upload), service.settings(found, upload), found["weights"]

            def work(progress: Progress, should_stop: ShouldStop) -> Preview:
                return Preview(content, service.enhancers.get(weights), settings, should_stop)

            preview = await service.done(request, work, deadline, OPEN_LEVEL)
        opened = OpenedPreview(preview, weights)
        name = service.previews.put(opened)
        response.headers["Location"] = f"/v1/previews/{name}"
        return _state(service, name, opened)

    @router.get("/v1/previews/{preview}", summary="A preview's facts", responses=openapi.problems(404, 422))
    async def preview_facts(preview: str) -> PreviewState:
        return _state(service, preview, _opened(service, preview))

    @router.delete("/v1/previews/{preview}", summary="Forget a preview", status_code=204, response_class=Response,
                   responses=openapi.problems(404, 422))  # fmt: skip
    async def forget_preview(preview: str) -> Response:
        if service.previews.drop(preview) is None:
            raise _gone()
        return Response(status_code=204)

    @router.get(
        "/v1/previews/{preview}/original", summary="The picture as it was", response_class=Response,
        openapi_extra=openapi.takes(VIEW),
        responses=openapi.picture("Mirnet-Width", "Mirnet-Height", media_types=(PNG,))
        | openapi.problems(404, 422, 503, 504),
    )  # fmt: skip
    async def original(preview: str, request: Request) -> Response:
        opened = _opened(service, preview)
        view = view_of(service.choose(VIEW, request))

        def work(progress: Progress, should_stop: ShouldStop) -> tuple[bytes, dict[str, str]]:
            pixels = opened.preview.render_original(view, should_stop)
            return encode_screen_png(pixels), _size(pixels)

        content, headers = await service.done(request, work, service.deadline(), RENDER_LEVEL)
        return Response(content, 200, {"Cache-Control": "no-store", **headers}, PNG)

    @router.post(
        "/v1/previews/{preview}", summary="Render a preview", response_class=Response,
        openapi_extra=_with_header(openapi.takes(RENDER, "match")),
        responses=openapi.picture(*RENDERED, media_types=(PNG,))
        | openapi.problems(404, 408, 409, 413, 415, 422, 503, 504),
    )  # fmt: skip
    async def render(preview: str, request: Request) -> Response:
        """What the settings make of the image, or of a part of it, with the stops of the whole.

        With `layers`, three images come below one another: exposed (x0), restored (x1), and with denoise auto. At
        denoise d and strength s the result is, per channel, original + s * (x - original) with x = x0 + d * (x1 - x0).
        """
        deadline = service.deadline()
        opened = _opened(service, preview)
        with await service.read(request) as upload:
            found = service.choose(RENDER, request, upload)
            settings, view, layers = service.settings(found, upload), view_of(found), found.get("layers", False)
            refuse_other_weights(opened, request, upload.fields, found["weights"])
            if layers and not opened.preview.blendable:
                raise Problem("not-blendable", "Layers are of opaque pictures of 8 bit in sRGB, and this one is of "
                              "another kind; ask for it without layers.")  # fmt: skip

            def work(progress: Progress, should_stop: ShouldStop) -> tuple[bytes, dict[str, str]]:
                started = time.monotonic()
                pixels, size, stops = _rendered(opened.preview, view, settings, progress, should_stop, layers=layers)
                content = encode_screen_png(pixels)
                return content, size | {
                    "Mirnet-Stops": f"{stops:.4f}",
                    "Mirnet-Proposed-Stops": f"{opened.preview.proposed_stops:.4f}",
                    "Mirnet-Seconds": f"{time.monotonic() - started:.3f}",
                }

            def supersede(queued: QueuedJob[Any]) -> None:
                if request.headers.get("mirnet-render") == "latest":
                    if opened.latest is not None and opened.latest.waiting:
                        service.queue.cancel(opened.latest, Superseded("A newer request for this preview came."))
                    opened.latest = queued
                    queued.outcome.add_done_callback(lambda _: opened.forget(queued))  # it holds an image

            try:
                content, headers = await service.done(request, work, deadline, RENDER_LEVEL, supersede)
            except Superseded as error:
                raise Problem("superseded", f"{error}") from error
        return Response(content, 200, {"Cache-Control": "no-store", **headers}, PNG)

    return router


class Superseded(Cancelled):
    """A newer request took the place of this one, which still waited."""


def _opened(service: Service, name: str) -> OpenedPreview:
    opened = service.previews.get(name)
    if opened is None:
        raise _gone()
    return opened


def _gone() -> Problem:
    return Problem("preview-gone", "This preview is no longer in memory; upload the picture again.")


def _state(service: Service, name: str, opened: OpenedPreview) -> PreviewState:
    preview = opened.preview
    return PreviewState(
        id=name, width=preview.width, height=preview.height, format=preview.format, depth=preview.depth,
        megapixels=round(preview.width * preview.height / 1e6, 3), proposed_stops=preview.proposed_stops,
        blendable=preview.blendable, remarks=list(preview.remarks), expires_in_seconds=service.previews.seconds,
        weights=opened.weights,
    )  # fmt: skip


def _rendered(preview: Preview, view: Any, settings: Any, progress: Progress, should_stop: ShouldStop, *,
              layers: bool) -> tuple[Any, dict[str, str], float]:  # fmt: skip
    """Pixels, the size of one layer as headers, and the stops."""
    if not layers:
        rendered = preview.render(view, settings, progress, should_stop)
        return rendered.pixels, _size(rendered.pixels), rendered.stops
    found = preview.render_layers(view, settings, progress, should_stop)
    return np.concatenate([found.exposed, found.restored, found.automatic]), _size(found.exposed), found.stops


def _size(pixels: Any) -> dict[str, str]:
    return {"Mirnet-Width": str(pixels.shape[1]), "Mirnet-Height": str(pixels.shape[0])}


def refuse_other_weights(opened: OpenedPreview, request: Request, fields: Any, weights: str) -> None:
    """Raises Problem where other weights are asked for than those that looked at the image."""
    asked = request.query_params.get("weights") or fields.get("weights")
    if asked and weights != opened.weights:
        raise Problem("settings", f"This preview was opened with the weights {opened.weights}; upload the picture "
                      f"again for {weights}.")  # fmt: skip


def _with_header(said: dict[str, Any]) -> dict[str, Any]:
    return said | {"parameters": [*said["parameters"], LATEST]}
