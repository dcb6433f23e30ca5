"""The clients of examples/clients do against a service what they say: curl, Python and JavaScript alike."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer

import pytest
from sample_pictures import pillow_bytes, smooth
from serving import Running, with_network

from mirnet.inference.settings import Settings

Client = Callable[..., subprocess.CompletedProcess[str]]
PHOTO = pillow_bytes(smooth(48, 64) // 6, "JPEG")
TOKEN = 'se"cret\\'


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with with_network() as found:
        yield found


@pytest.fixture(params=["sh", "py", "mjs"])
def client(request: pytest.FixtureRequest, repository: Path, require_tool: Callable[[str], str]) -> Client:
    """Runs one of the clients with these arguments against the service at a URL."""
    kind = request.param
    program = {"sh": "/bin/sh", "py": sys.executable}.get(kind) or require_tool("node")
    if kind == "sh":
        require_tool("curl")
    command = (program, repository / "examples" / "clients" / f"enhance.{kind}")

    def run(url: str, *arguments: str | Path, token: str = "") -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "MIRNET_URL": url, "MIRNET_TOKEN": token}
        return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "a party.jpg"
    path.write_bytes(PHOTO)
    return path


def test_a_client_writes_what_the_enhancer_makes_beside_the_photo(
    client: Client, service: Running, photo: Path
) -> None:
    done = client(service.url, photo, "exposure=0.5", "format=png")
    assert done.returncode == 0, done.stderr
    expected = service.service.enhancers.get("lite").enhance_bytes(PHOTO, Settings(exposure=0.5, format="png"))
    bright = photo.with_name("a party.bright.png")
    assert bright.read_bytes() == expected.content
    assert f"{bright}: {expected.stops:.4f}"[:-2] in done.stdout
    assert "stops" in done.stdout
    assert " s\n" in done.stdout


def test_a_job_shows_how_far_it_is_and_is_forgotten_afterwards(client: Client, service: Running, photo: Path) -> None:
    done = client(service.url, "--job", photo)
    assert done.returncode == 0, done.stderr
    expected = service.service.enhancers.get("lite").enhance_bytes(PHOTO, Settings())
    assert photo.with_name("a party.bright.jpg").read_bytes() == expected.content
    assert "100" in done.stderr
    assert "%" in done.stderr
    assert len(service.service.jobs) == 0


@pytest.mark.parametrize("arguments", [[], ["--job"]], ids=["request", "job"])
def test_what_is_wrong_is_said_in_the_service_s_sentence(
    client: Client, service: Running, photo: Path, arguments: list[str]
) -> None:
    photo.write_bytes(b"this is no picture")
    done = client(service.url, *arguments, photo)
    assert done.returncode == 1
    assert "expected a JPEG, PNG" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(photo.parent.iterdir()) == [photo]
    assert len(service.service.jobs) == 0


def test_a_name_without_a_suffix_in_a_folder_with_a_dot_grows_one(
    client: Client, service: Running, tmp_path: Path
) -> None:
    photo = tmp_path / "2026.11" / "party"
    photo.parent.mkdir()
    photo.write_bytes(PHOTO)
    assert client(service.url, photo).returncode == 0
    assert sorted(each.name for each in photo.parent.iterdir()) == ["party", "party.bright.jpg"]


def test_a_client_never_writes_over_another_file(client: Client, service: Running, photo: Path) -> None:
    bright = photo.with_name("a party.bright.jpg")
    bright.write_bytes(b"mine")
    done = client(service.url, photo)
    assert done.returncode == 1
    assert bright.name in done.stderr
    assert bright.read_bytes() == b"mine"
    assert "Errno" not in done.stderr


@contextmanager
def strict_service(busy: int) -> Iterator[str]:
    """The URL of a service that knows its token, has no room for so many requests, and gives every photo back."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # which lets curl send its body at once

        def do_POST(self) -> None:
            nonlocal busy
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                self.answer(401, problem("A token is needed."))
            elif busy:
                busy -= 1
                self.answer(503 if busy % 2 else 429, problem('There is "no room".'), **{"Retry-After": "0"})
            else:
                stops = {"Mirnet-Stops": "2.5", "Mirnet-Proposed-Stops": "2.0", "Mirnet-Seconds": "0.25"}
                self.answer(200, sent, **{"Content-Type": "image/jpeg"}, **stops)

        def answer(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            said = {"Content-Type": "application/problem+json", "Content-Length": str(len(body)), "Connection": "close"}
            said |= headers
            for name, value in said.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *ignored: object) -> None:
            pass

    server = TCPServer(("127.0.0.1", 0), Answers)  # HTTPServer would look its own name up
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def problem(detail: str) -> bytes:
    return json.dumps({"type": "/docs#busy", "title": "Busy", "status": 503, "detail": detail}).encode()


def test_a_busy_service_is_asked_again_when_it_says(client: Client, photo: Path) -> None:
    with strict_service(busy=2) as url:
        done = client(url, photo, token=TOKEN)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('There is "no room". Asking again in 0 s.') == 2
    assert photo.with_name("a party.bright.jpg").read_bytes() == PHOTO
    assert "2.5 stops (2" in done.stdout
    assert "0.25 s" in done.stdout


def test_a_service_that_stays_busy_is_left_alone_in_the_end(client: Client, photo: Path) -> None:
    with strict_service(busy=1000) as url:
        done = client(url, photo, token=TOKEN)
    assert done.returncode == 1
    assert 'There is "no room".' in done.stderr.splitlines()[-1]
    assert list(photo.parent.iterdir()) == [photo]


def test_without_its_token_the_service_says_so(client: Client, photo: Path) -> None:
    with strict_service(busy=0) as url:
        done = client(url, photo)
    assert done.returncode == 1
    assert done.stderr.strip() == "401: A token is needed."
