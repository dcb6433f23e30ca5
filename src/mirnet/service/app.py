"""The whole: routes, errors and the guard before them, as one ASGI application."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

from mirnet._version import __version__
from mirnet.errors import MirnetError
from mirnet.service.problems import Problem, of_error, of_status
from mirnet.service.request_guard import RequestGuard
from mirnet.service.routes import about, enhance, jobs, page, previews
from mirnet.service.service import Service

SAYS = (
    "Dark photographs in, bright ones out, on this machine. Errors are problem details (RFC 9457) whose `detail` is a "
    "sentence to a person. No URL is ever fetched, no picture is ever written to disk."
)
NO_TELEMETRY = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}


def make_app(service: Service, *, hosts: Sequence[str] = (), token: str | None = None) -> RequestGuard:
    """The application of a service, to be called by `hosts` besides localhost and addresses, with a token or none."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(service.run())
        yield
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    # its own documentation pages load scripts from elsewhere; ours lies in the package
    app = FastAPI(title="mirnet", version=__version__, description=SAYS, lifespan=life, openapi_url=None,
                  docs_url=None, redoc_url=None, telemetry=NO_TELEMETRY)  # type: ignore[arg-type]  # fmt: skip
    routers = [part.routes(service) for part in (enhance, previews, jobs, about)]
    for router in routers:
        app.include_router(router)
    about.openapi_route(app, service)
    app.router.routes.extend(page.routes())

    async def told(request: Request, error: Exception) -> Response:
        return of_error(error).response()

    async def told_by_router(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "it is registered for these alone"
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = _allowed(
                [*app.routes, *(each for router in routers for each in router.routes)], request.scope
            )
        return of_status(error.status_code, headers).response()

    async def hung_up(request: Request, error: Exception) -> Response:
        return Response(status_code=400)  # the client is gone

    for kind in (MirnetError, Problem, MemoryError, Exception):
        app.add_exception_handler(kind, told)
    app.add_exception_handler(HTTPException, told_by_router)
    app.add_exception_handler(ClientDisconnect, hung_up)
    return RequestGuard(
        app,
        service.metrics,
        hosts=hosts,
        token=token,
        ending=lambda: service.ending,
        linger_seconds=service.limits.stall_seconds,
    )


def _allowed(routes: Iterable[BaseRoute], scope: Scope) -> str:
    """The methods that an address takes, of all its routes."""
    methods: set[str] = set()
    for route in routes:
        if route.matches(scope)[0] is not Match.NONE:
            methods |= getattr(route, "methods", None) or set()
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))
