"""The guard around every request: access rules before it, safety headers, an answer to every failure, a log line."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mirnet.service import failure_log
from mirnet.service.access_rules import AccessRules
from mirnet.service.problems import Problem, of_error
from mirnet.service.prometheus import ServiceMetrics
from mirnet.service.work_queue import ShuttingDown

log = logging.getLogger("mirnet.serve")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # others are not named in the log
UNKNOWN_ROUTE = "(none)"
ENDING_LINGER_SECONDS = 1.0

SAFETY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
        "connect-src 'self'; font-src 'self'; manifest-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
}


class RequestGuard:
    """Wraps an app: checks access, adds safety headers, answers whatever fails, and logs every request."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, *, hosts: Sequence[str] = (), token: str | None = None,
                 ending: Callable[[], bool] = lambda: False, linger_seconds: float = 30.0) -> None:  # fmt: skip
        """`hosts` and `token` are those of `AccessRules`.

        The rest of a refused upload is read and dropped for `linger_seconds`: many clients read no response before
        they have sent all, and a connection that is closed meanwhile takes the response with it.
        """
        self._app, self._metrics, self._is_ending, self._linger_seconds = app, metrics, ending, linger_seconds
        self._rules = AccessRules(hosts, token, ending)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self._is_ending, self._linger_seconds)
        method = scope["method"]
        if method == "HEAD":  # as GET; the server leaves the body out
            scope = {**scope, "method": "GET"}
        try:
            self._rules.check(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            if exchange.status or not self._is_ending():
                raise
            error = ShuttingDown("The service ended before this was done; try again when it is back.")
            await exchange.respond(scope, of_error(error))
        except Exception as error:  # noqa: BLE001  whatever it is, the client is answered and the service goes on
            problem = error if isinstance(error, Problem) else of_error(error)
            if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                failure_log.note(error)
            if not exchange.status:
                await exchange.respond(scope, problem)
        finally:
            route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
            method = method if method in METHODS else "OTHER"
            self._metrics.answered(method, route, exchange.status)
            # 499, as other servers log it: the client hung up before there was a response
            log.info("%s %s %s %.3f s", method, route, exchange.status or 499, exchange.seconds)


class _Exchange:
    """One request and its response: watches what is left of the body, adds headers, and drops the rest of an upload."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, is_ending: Callable[[], bool],
                 linger_seconds: float) -> None:  # fmt: skip
        self.status = 0  # of the response; 0 before its head is sent
        self._receive, self._send, self._is_ending = receive, send, is_ending
        self._linger_seconds = linger_seconds
        self._body_left = _has_body(scope)
        self._started, self._seconds = time.monotonic(), 0.0

    @property
    def seconds(self) -> float:
        """From the request to the head of the response, or until now."""
        return self._seconds or time.monotonic() - self._started

    async def receive(self) -> Message:
        message = await self._receive()
        self._body_left = (
            self._body_left and message["type"] == "http.request" and bool(message.get("more_body", False))
        )
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._add_headers(message)
        elif self._body_left and not message.get("more_body", False):
            await self._send({**message, "more_body": True})  # all of it, by its length
            await _drop_rest(self.receive, ENDING_LINGER_SECONDS if self._is_ending() else self._linger_seconds)
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def respond(self, scope: Scope, problem: Problem) -> None:
        """Send a problem as the response."""
        await problem.response()(scope, self.receive, self.send)

    def _add_headers(self, message: Message) -> None:
        self.status, self._seconds = message["status"], time.monotonic() - self._started
        headers = MutableHeaders(raw=message.setdefault("headers", []))
        for name, value in SAFETY.items():
            headers.setdefault(name, value)
        self._body_left = self._body_left and headers.get("Connection") != "close"  # set for a client that stalls
        if self._is_ending():
            headers["Connection"] = "close"


def _has_body(scope: Scope) -> bool:
    """Whether a body follows the head; not one that the client sends only after an interim response."""
    headers = Headers(scope=scope)
    return "expect" not in headers and (headers.get("content-length", "0") != "0" or "transfer-encoding" in headers)


async def _drop_rest(receive: Receive, seconds: float) -> None:
    """Read and drop what a client still sends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
