"""The guard around every request: allowed hosts and sites, the token, safety headers, and a line in the log."""

import asyncio
import hmac
import ipaddress
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mirnet.service import failure_log
from mirnet.service.problems import Problem, of_error
from mirnet.service.prometheus import ServiceMetrics
from mirnet.service.work_queue import ShuttingDown

log = logging.getLogger("mirnet.serve")

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # others are not named in the log
UNKNOWN_ROUTE = "(none)"
PROTECTED = ("/v1/", "/metrics")
ENDING_LINGER_SECONDS = 1.0
OWN_SITES = ("same-origin", "none")  # of Sec-Fetch-Site: our page, and what a person typed

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
    """Wraps an app; refuses foreign names, foreign pages and those without the token, and answers whatever fails."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics, *, hosts: Sequence[str] = (), token: str | None = None,
                 ending: Callable[[], bool] = lambda: False, linger_seconds: float = 30.0) -> None:  # fmt: skip
        """`hosts` are names, beside localhost and addresses, by which the service may be called.

        The rest of an upload that is refused is read and dropped for `linger_seconds`: many clients read no answer
        before they have sent all, and a connection that is closed meanwhile takes the answer with it.
        """
        self._app, self._measures, self._ending, self._linger_seconds = app, metrics, ending, linger_seconds
        self._hosts = {host.lower().rstrip(".") for host in hosts}
        self._token = token.encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, seconds, rest = time.monotonic(), 0, 0.0, _has_body(scope)
        method = scope["method"]
        if method == "HEAD":  # as GET; the server leaves the body out
            scope = {**scope, "method": "GET"}

        async def receive_noted() -> Message:
            nonlocal rest
            message = await receive()
            rest = rest and message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_safely(message: Message) -> None:
            nonlocal status, seconds, rest
            if message["type"] == "http.response.start":
                status, seconds = message["status"], time.monotonic() - started
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in SAFETY.items():
                    headers.setdefault(name, value)
                rest = rest and headers.get("Connection") != "close"  # said of a client that stalls
                if self._ending():
                    headers["Connection"] = "close"
            elif rest and not message.get("more_body", False):
                await send({**message, "more_body": True})  # all of it, by its length
                await _drop_rest(receive_noted, ENDING_LINGER_SECONDS if self._ending() else self._linger_seconds)
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        try:
            await self._answer(scope, receive_noted, send_safely)
        except asyncio.CancelledError:
            if status or not self._ending():
                raise
            told = ShuttingDown("The service ended before this was done; try again when it is back.")
            await of_error(told).response()(scope, receive_noted, send_safely)
        except Exception as error:  # noqa: BLE001  whatever it is, the client is answered and the service goes on
            problem = of_error(error)
            if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                failure_log.note(error)
            if not status:
                await problem.response()(scope, receive_noted, send_safely)
        finally:
            route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
            method = method if method in METHODS else "OTHER"
            self._measures.answered(method, route, status)
            # 499, as others write it: the client hung up before there was an answer
            log.info("%s %s %s %.3f s", method, route, status or 499, seconds or time.monotonic() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._refuse(scope)
        except Problem as problem:
            await problem.response()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refuse(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = _host_name(headers.get("host", ""))
        if not self._is_ours(host):
            raise Problem("host", "Expected the name of this machine in the Host header, and another came; start with "
                          "--allowed-host NAME to be reached by that name.")  # fmt: skip
        self._refuse_other_sites(scope, headers)
        if self._token and scope["path"].startswith(PROTECTED) and not self._is_known(headers):
            raise Problem("token", "Expected the token that the service was started with, as Authorization: Bearer "
                          "TOKEN; the page takes it from the address that the service printed.",
                          {"WWW-Authenticate": 'Bearer realm="mirnet"'})  # fmt: skip
        if self._ending() and scope["method"] not in ("GET", "DELETE"):
            raise of_error(ShuttingDown("The service is ending and takes nothing more; try again when it is back."))

    def _is_ours(self, host: str) -> bool:
        """Names could be bound to this machine's address by anybody (DNS rebinding); addresses cannot."""
        if host == "localhost" or host.endswith(".localhost") or host in self._hosts:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _refuse_other_sites(self, scope: Scope, headers: Headers) -> None:
        """Raises Problem where a page of another site sends the request; a link to our page is allowed."""
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is None:
            foreign = origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()
        else:
            followed = headers.get("sec-fetch-mode") == "navigate" and scope["method"] == "GET"
            foreign = site not in OWN_SITES and not (followed and not scope["path"].startswith(PROTECTED))
        if foreign:
            raise Problem("cross-site", "Pages of other sites may not use this service; open its own page.")

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token or b"")
        return known and scheme.lower() == "bearer"


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


def _host_name(host: str) -> str:
    """The name or address of a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().rstrip(".")
