"""The server: its port, watched connections, and a shutdown that answers every request."""

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mirnet.errors import SettingsError
from mirnet.service.problems import MEDIA_TYPE, TELL_TO_WAIT_SECONDS, Problem
from mirnet.service.request_guard import SAFETY, RequestGuard
from mirnet.service.service import Service

KEEP_ALIVE_SECONDS = 30
LAST_WORDS_SECONDS = 2.0  # for answers to leave when all else is over
KILLED = 130


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound to an address of this machine; port 0 takes a free one. Raises SettingsError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise SettingsError(f"{host}: is no name or address of this machine; choose another --host.") from error
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1)  # the server's own call follows: here two that bind at once find out
    except OSError as error:
        listening.close()
        raise SettingsError(_why_not(host, port, error)) from error
    return listening


def _why_not(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (f"Port {port} of {host} is taken, perhaps by another `mirnet serve`; end that one, or choose another "
                "with --port (0 takes any that is free).")  # fmt: skip
    if error.errno == errno.EACCES:
        return f"Port {port} is for the system's own services; choose one from 1024 up with --port."
    return f"{host}: cannot be listened on ({error.strerror}); choose an address of this machine with --host."


class Connection(H11Protocol):
    """uvicorn's connection, closed where its client stalls; what it says by itself is a problem like all others."""

    stall_seconds = 30.0  # of a request head, and of a response that the client does not read
    most = 256  # connections at once

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._phase: tuple[str, int] = ("head", 0)
        self._since = self.loop.time()
        self._unsent = 0
        self._taken_at = self._since
        if len(self.connections) > self.most:
            self._make_room()

    def _make_room(self) -> None:
        """Who has been idle for longest goes; if all are at work, the newcomer, with a word."""
        others = [each for each in self.connections if isinstance(each, Connection) and each is not self]
        idle = [each for each in others if each.idle and not each.transport.is_closing()]
        if idle:
            min(idle, key=lambda each: each._since).transport.abort()
            return
        self.transport.write(_plain_answer(Problem("busy", "There are too many connections; try again later.",
                                                   {"Retry-After": str(TELL_TO_WAIT_SECONDS)})))  # fmt: skip
        self.transport.close()

    @property
    def idle(self) -> bool:
        """Whether no request is being read or answered."""
        return self.conn.their_state is h11.IDLE

    def look(self, now: float) -> None:
        """Close the connection where its client lets us wait; to be called now and then.

        The rest of a refused upload is read and dropped for as long, so that its client comes to read our answer.
        """
        phase = self._phase_now()
        if phase != self._phase:
            self._phase, self._since = phase, now
        limited = phase[0] in ("head", "refused")
        unsent = self.transport.get_write_buffer_size()
        if unsent == 0 or unsent != self._unsent:
            self._unsent, self._taken_at = unsent, now
        if now - self._taken_at > self.stall_seconds or (limited and now - self._since > self.stall_seconds):
            self.transport.abort()

    def _phase_now(self) -> tuple[str, int]:
        """What goes on, and a number that differs between requests."""
        request = id(self.cycle)
        if self.conn.their_state is h11.IDLE:
            waits = self.cycle is None or bool(self.conn.trailing_data[0])
            return ("head" if waits else "idle"), request
        answered = self.cycle is not None and self.cycle.response_complete
        return ("refused" if answered and self.conn.their_state is h11.SEND_BODY else "request"), request

    def send_400_response(self, msg: str) -> None:
        problem = Problem("malformed", "This is no HTTP request that can be read; check its head and its length.")
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_plain_answer(problem))
        self.transport.close()

    def handle_websocket_upgrade(self, event: Any) -> None:
        raise AssertionError("no WebSocket protocol is configured")

    def _should_upgrade(self) -> bool:
        return False  # such a request is answered as if it had not asked


def _plain_answer(problem: Problem) -> bytes:
    """A whole answer, for where no request could be read; then the connection closes."""
    body = json.dumps(problem.content()).encode()
    headers = {
        "Content-Type": MEDIA_TYPE, "Content-Length": str(len(body)), "Connection": "close", **problem.headers, **SAFETY
    }  # fmt: skip
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {problem.status} \r\n{lines}\r\n".encode() + body


class Server(uvicorn.Server):
    """uvicorn's server with our way to end: `told` hears the first signal; a second one ends the process at once."""

    def __init__(self, service: Service, app: RequestGuard, told: Callable[[], None] = lambda: None) -> None:
        limits = service.limits
        kind = type("Connection", (Connection,), {"stall_seconds": limits.stall_seconds, "most": limits.connections})
        super().__init__(
            uvicorn.Config(app, http=kind, ws="none", lifespan="on", log_config=None, log_level="critical",
                           access_log=False, server_header=False, timeout_keep_alive=KEEP_ALIVE_SECONDS,
                           timeout_graceful_shutdown=1, backlog=512)
        )  # fmt: skip
        self._service, self._told = service, told

    async def on_tick(self, counter: int) -> bool:
        now = asyncio.get_running_loop().time()
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.look(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what can be finished, answer the rest, and close; the port answers 503 until then."""
        tasks = self.server_state.tasks
        await self._service.end(idle=lambda: not tasks)
        await self._wait_for(tasks, LAST_WORDS_SECONDS)
        for task in list(tasks):  # half-sent uploads: the guard answers them
            task.cancel()
        await self._wait_for(tasks, LAST_WORDS_SECONDS)
        await super().shutdown(sockets)

    @staticmethod
    async def _wait_for(tasks: set[Any], seconds: float) -> None:
        if tasks:
            await asyncio.wait(list(tasks), timeout=seconds)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that was obeyed is not raised once more: we end with 0."""
        signals = (signal.SIGINT, signal.SIGTERM)
        before = {each: signal.signal(each, self.handle_exit) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(KILLED)
        self.should_exit = True
        self._told()


def listen(service: Service, app: RequestGuard, port: socket.socket, started: Callable[[], None],
           told: Callable[[], None]) -> None:  # fmt: skip
    """Serve on a bound socket until a signal comes, then end in order; `started` is called when requests are taken."""
    server = Server(service, app, told)

    async def serve() -> None:
        serving = asyncio.create_task(server._serve([port]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.005)
        if server.started:
            started()
        await serving

    with server.capture_signals():
        asyncio.run(serve())
    if not service.queue.stop(AssertionError("all were answered"), seconds=2.0):  # type: ignore[arg-type]
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # a decoder that does not come back: nothing waits for what it does
