"""`/v1/jobs`: images that take long, with progress; the client comes back for them, or listens."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import asdict

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from mirnet.errors import Cancelled
from mirnet.service import openapi
from mirnet.service.options import ENHANCE, PREVIEW
from mirnet.service.problems import Problem
from mirnet.service.responses import MEDIA_TYPES, ImageResponse, JobState, event, facts
from mirnet.service.routes.enhance import image_of
from mirnet.service.routes.previews import refuse_other_weights
from mirnet.service.service import Service
from mirnet.service.stored_items import OpenedPreview, StoredJob

POLL_SECONDS = 0.1  # how often an event stream looks at its job
COMMENT_SECONDS = 10.0  # so that no proxy takes the connection for dead
LEAST_PROGRESS = 0.01  # that is worth an event
KNOWN = {**ENHANCE, **PREVIEW}
STREAM = openapi.text(
    "Events progress, then done, failed or cancelled; the data of each is the job.", "text/event-stream"
)


def routes(service: Service) -> APIRouter:
    router = APIRouter(tags=["jobs"])

    @router.post(
        "/v1/jobs", summary="Brighten a picture that takes long", status_code=202,
        openapi_extra=openapi.takes(KNOWN, "file"), responses=openapi.problems(404, 408, 413, 415, 422, 503),
    )  # fmt: skip
    async def begin(request: Request, response: Response) -> JobState:
        """As /v1/enhance, but the answer comes at once, with an address for progress and another for the result.

        Its time limit begins with the work; a finished job is forgotten some minutes after it was last asked for.
        """
        service.choose(KNOWN, request)
        upload = await service.read(request)
        try:
            found = service.choose(KNOWN, request, upload)
            preview = _preview(service, found.get("preview"))
            if preview is None:
                content, weights = image_of(upload), found["weights"]
            else:
                content, weights = preview.preview.content, preview.weights
                refuse_other_weights(preview, request, upload.fields, found["weights"])
                found.setdefault("clip", preview.preview.clip)
            settings = service.settings(found, upload)
            work = service.enhancing(content, settings, weights, service.limits.time_limit_seconds)
            queued = service.queue.submit(work)
        except BaseException:
            upload.release()
            raise
        loop = asyncio.get_running_loop()
        queued.outcome.add_done_callback(lambda _: loop.call_soon_threadsafe(upload.release))
        job = StoredJob(service.queue, queued, weights)
        name = service.jobs.put(job)
        response.headers["Location"] = f"/v1/jobs/{name}"
        return job.state(name)

    @router.get("/v1/jobs/{job}", summary="How a job is", responses=openapi.problems(404, 422))
    async def look(job: str) -> JobState:
        return _job(service, job).state(job)

    @router.get("/v1/jobs/{job}/events", summary="A job's progress, as it comes", response_class=Response,
                responses=STREAM | openapi.problems(404, 422))  # fmt: skip
    async def events(job: str) -> Response:
        """Server-sent events; the stream ends after the job's last state."""
        return StreamingResponse(_events(service, job, _job(service, job)), media_type="text/event-stream",
                                 headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})  # fmt: skip

    @router.get("/v1/jobs/{job}/result", summary="A job's picture", response_class=Response,
                responses=openapi.picture() | openapi.problems(404, 409, 413, 415, 422, 503, 504))  # fmt: skip
    async def result(job: str) -> Response:
        found = _job(service, job)
        if not found.over:
            raise Problem("not-done", "The job is not done yet; its events say when it is.")
        enhanced = found.queued.outcome.result()
        found.fetched = True
        return ImageResponse(
            enhanced.content,
            MEDIA_TYPES[enhanced.format],
            facts(enhanced, found.weights),
            service.upload_memory,
            service.metrics.stage,
        )

    @router.delete("/v1/jobs/{job}", summary="Cancel and forget a job", status_code=204, response_class=Response,
                   responses=openapi.problems(404, 422))  # fmt: skip
    async def forget(job: str) -> Response:
        found = service.jobs.drop(job)
        if found is None:
            raise _gone()
        service.queue.cancel(found.queued, Cancelled("The job was cancelled."))
        return Response(status_code=204)

    return router


def _job(service: Service, name: str) -> StoredJob:
    job = service.jobs.get(name)
    if job is None:
        raise _gone()
    return job


def _gone() -> Problem:
    return Problem("job-gone", "This job is no longer in memory; send the picture again.")


def _preview(service: Service, name: str | None) -> OpenedPreview | None:
    """The preview that was named; None where none was. Raises Problem."""
    if name is None:
        return None
    opened = service.previews.get(name)
    if opened is None:
        raise Problem("preview-gone", "This preview is no longer in memory; upload the picture again.")
    return opened


async def _events(service: Service, name: str, job: StoredJob) -> AsyncIterator[bytes]:
    told, last = None, time.monotonic()
    while True:
        state = job.state(name)
        if told is None or _is_news(told, state):
            yield event("progress" if state.state in ("waiting", "working") else state.state, asdict(state))
            told, last = state, time.monotonic()
        elif time.monotonic() - last > COMMENT_SECONDS:
            yield b": still here\n\n"
            last = time.monotonic()
        if job.over or service.ended:
            return
        await asyncio.sleep(POLL_SECONDS)


def _is_news(told: JobState, state: JobState) -> bool:
    moved = state.progress - told.progress >= LEAST_PROGRESS
    return moved or (told.state, told.place) != (state.state, state.place)
