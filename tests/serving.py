"""Services for tests: the real application on a real port, with the real network or with one that waits to be told."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from mirnet.errors import Cancelled
from mirnet.inference.enhancer import EnhancedBytes, Enhancer
from mirnet.inference.settings import Settings
from mirnet.service.app import make_app
from mirnet.service.enhancer_pool import EnhancerPool
from mirnet.service.server import Server, bind
from mirnet.service.service import Limits, Service

WAITING_SECONDS = 20.0  # of a test on a busy machine: what takes longer has gone wrong


@dataclass
class Running:
    """A service that listens."""

    service: Service
    server: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=WAITING_SECONDS, trust_env=False, **options)

    def raw(self, *pieces: bytes) -> socket.socket:
        """A connection on which these bytes were sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAITING_SECONDS)
        for piece in pieces:
            connection.sendall(piece)
        return connection


def request(path: str, body: bytes = b"", method: str = "POST", **headers: str) -> bytes:
    """A whole request; underscores of header names are hyphens."""
    said = {"Host": "localhost", "Content-Length": str(len(body))}
    said |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items() if value)
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def heard(connection: socket.socket) -> bytes:
    """All that comes until the other side closes; what was cut off counts as closed."""
    found = b""
    with connection:
        try:
            while piece := connection.recv(65536):
                found += piece
        except ConnectionResetError:
            pass
    return found


@contextmanager
def running(make: Callable[[Path], Any], limits: Limits | None = None, **options: Any) -> Iterator[Running]:
    """A service whose enhancers `make` gives; `options` go to `make_app`."""
    service = Service(EnhancerPool("lite", make), limits or Limits(), token_needed=bool(options.get("token")))
    port = bind("127.0.0.1", 0)
    server = Server(service, make_app(service, **options))
    thread = threading.Thread(target=lambda: asyncio.run(server._serve([port])), name="serving")
    number = port.getsockname()[1]
    thread.start()
    wait_until(lambda: server.started and service.ready)
    try:
        yield Running(service, server, number)
    finally:
        server.should_exit = True
        thread.join(WAITING_SECONDS)
        assert not thread.is_alive(), "the service did not end"


@contextmanager
def with_network(limits: Limits | None = None, **options: Any) -> Iterator[Running]:
    """A service with the network that we ship; the enhancer is `service.enhancers.get("lite")`."""
    with running(lambda path: Enhancer(path, threads=2), limits, **options) as found:
        yield found


@dataclass
class Patient:
    """An enhancer that gives back what it got, once it is let go; `seen` holds what is in work, as it began."""

    free: threading.Event = field(default_factory=threading.Event)
    seen: list[bytes] = field(default_factory=list)
    cancelled: list[bytes] = field(default_factory=list)

    def enhance(self, picture: Any) -> Any:
        return picture

    def enhance_bytes(self, content: bytes, settings: Settings, progress: Callable[[float], None],
                      should_stop: Callable[[], bool]) -> EnhancedBytes:  # fmt: skip
        self.seen.append(content)
        try:
            progress(0.1)
            while not self.free.wait(0.01):
                progress(0.5)
                if should_stop():
                    raise Cancelled
            progress(1.0)
        except BaseException:
            self.cancelled.append(content)
            raise
        told = {"width": 4, "height": 3, "proposed_stops": 2.0, "stops": 2.0, "seconds": 0.01, "precision": "f32"}
        return EnhancedBytes(content, "png", settings=settings, **told)


def wait_until(holds: Callable[[], Any]) -> None:
    """Returns when something holds; fails where it does not in time."""
    pause = threading.Event()
    for _ in range(int(WAITING_SECONDS / 0.01)):
        if holds():
            return
        pause.wait(0.01)
    raise AssertionError("what was waited for did not come")


def problem_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of an answer, which must have that status and be whole."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.content)
    assert problem.keys() == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert problem["type"].startswith("/docs#")
    assert "Traceback" not in problem["detail"]
    return dict(problem)
