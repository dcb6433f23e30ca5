"""`POST /v1/enhance`: an image in, a brighter one out."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from mirnet.service import openapi
from mirnet.service.options import ENHANCE
from mirnet.service.problems import Problem
from mirnet.service.responses import MEDIA_TYPES, ImageResponse, facts
from mirnet.service.service import Service
from mirnet.service.uploads import Upload


def routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["enhance"])

    @router.post(
        "/v1/enhance", summary="Brighten and denoise a picture", response_class=Response,
        openapi_extra=openapi.takes(ENHANCE, "file"),
        responses=openapi.picture() | openapi.problems(408, 413, 415, 422, 503, 504),
    )  # fmt: skip
    async def enhance(request: Request) -> Response:
        """The image comes back in its own format, or the one asked for, with its metadata kept.

        The same bytes with the same options give the same bytes back, whatever the file's name and whatever else the
        service does meanwhile.
        """
        deadline = service.deadline()
        service.choose(ENHANCE, request)
        with await service.read(request) as upload:
            found = service.choose(ENHANCE, request, upload)
            settings, weights = service.settings(found, upload), found["weights"]
            work = service.enhancing(image_of(upload), settings, weights)
            enhanced = await service.done(request, work, deadline)
        return ImageResponse(
            enhanced.content,
            MEDIA_TYPES[enhanced.format],
            facts(enhanced, weights),
            service.upload_memory,
            service.metrics.stage,
        )

    return router


def image_of(upload: Upload) -> bytes:
    """Raises Problem where no image came."""
    if upload.file is None:
        raise Problem("settings", "Expected a picture: multipart/form-data with a part `file`, or its bytes as the "
                      "body with a Content-Type such as image/jpeg; none came.")  # fmt: skip
    return upload.file
