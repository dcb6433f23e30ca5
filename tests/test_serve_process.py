"""`mirnet serve` as a process: what it says, how it ends, and that nothing is left behind."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from sample_pictures import pillow_bytes
from serving import WAITING_SECONDS, Patient, problem_of, request, running, wait_until

from mirnet.service.service import Limits

PNG = pillow_bytes(np.full((40, 60, 3), 40, np.uint8), "png")
SLOW = pillow_bytes(np.random.default_rng(0).integers(0, 60, (2000, 3000, 3), np.uint8), "png", compress_level=0)


class Process:
    """`mirnet serve` with a folder of its own for everything that it might write."""

    def __init__(self, folder: Path, *arguments: str, **variables: str) -> None:
        self.folder = folder
        for name in ("home", "tmp", "work"):
            (folder / name).mkdir(exist_ok=True)
        environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder / "home"), "MIRNET_CACHE": "",
                       "TMPDIR": str(folder / "tmp"), **variables}  # fmt: skip
        self.process = subprocess.Popen([sys.executable, "-m", "mirnet", "serve", "--port", "0", *arguments],
                                        cwd=folder / "work", env=environment, text=True, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)  # fmt: skip
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()
        found = re.search(r"http://\S+?/", self.said)
        self.url = found.group() if found else ""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=WAITING_SECONDS, trust_env=False)

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if not path.is_dir()]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Its exit code and what it said on standard error."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=WAITING_SECONDS)
        return self.process.returncode, errors


@contextlib.contextmanager
def process(folder: Path, *arguments: str, **variables: str) -> Iterator[Process]:
    made = Process(folder, *arguments, **variables)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.communicate()


def test_a_signal_ends_it_with_what_is_in_work_done_and_nothing_left(tmp_path: Path) -> None:
    with process(tmp_path) as served, served.client() as one, ThreadPoolExecutor(1) as pool:
        wait_until(lambda: one.get("/readyz").status_code == 200)
        working = pool.submit(lambda: one.post("/v1/enhance", content=SLOW[:200]))
        assert working.result().status_code == 422
        assert one.post("/v1/enhance", content=PNG).status_code == 200
        code, errors = served.end()
        assert code == 0, errors
        assert "Ending" in errors
        assert "POST /v1/enhance 200" in errors
        assert "Traceback" not in errors
        assert served.files() == []


def test_killed_and_started_again_it_leaves_nothing_on_disk(tmp_path: Path) -> None:
    with process(tmp_path) as served:
        connection = socket.create_connection(("127.0.0.1", int(served.url.rpartition(":")[2].strip("/"))))
        connection.sendall(request("/v1/jobs", SLOW))
        half = socket.create_connection(connection.getpeername())
        half.sendall(request("/v1/enhance", SLOW)[:1_000_000])
        with served.client() as one:
            wait_until(lambda: re.search(r"mirnet_queue_working [1-9]", one.get("/metrics").text))
        served.end(signal.SIGKILL)
        for each in (connection, half):
            each.close()
        assert served.files() == []
    with process(tmp_path) as again, again.client() as one:
        assert one.post("/v1/enhance", content=PNG).status_code == 200
        assert again.end()[0] == 0
        assert again.files() == []


def test_a_taken_port_is_a_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        done = subprocess.run([sys.executable, "-m", "mirnet", "serve", "--port", str(number)], capture_output=True,
                              text=True, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2
    assert f"Port {number} of 127.0.0.1 is taken" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--host", "no.such.host.invalid"), "no name or address of this machine"),
        (("--token", "two words"), "without spaces"),
        (("--weights", "none"), "There are no weights"),
        (("--jobs", "0"), "jobs must be at least 1"),
    ],
)
def test_what_cannot_be_served_is_a_sentence(command, arguments, told) -> None:
    done = command("serve", "--port", "0", *arguments)
    assert done.code == 2
    assert told in done.err


def test_beyond_this_machine_a_missing_token_is_said_and_a_token_is_not(tmp_path: Path) -> None:
    with process(tmp_path, "--host", "0.0.0.0") as served:
        assert served.url.startswith("http://127.0.0.1:")
        assert "who reaches this port" in served.end()[1]
    with process(tmp_path, "--host", "0.0.0.0", MIRNET_TOKEN="sesame") as served:
        with served.client() as one:
            problem_of(one.get("/v1/weights"), 401)
            assert one.get("/v1/weights", headers={"Authorization": "Bearer sesame"}).status_code == 200
        assert "#token=TOKEN" in served.said
        _, errors = served.end(signal.SIGINT)
        assert "everybody" not in errors
        assert "sesame" not in errors + served.said


def test_what_cannot_finish_in_time_is_answered_503_waiting_or_not() -> None:
    enhancer = Patient()
    with ThreadPoolExecutor(4) as pool:
        with running(lambda path: enhancer, Limits(at_once=1, grace_seconds=0.5)) as served:
            asked = [pool.submit(httpx.post, f"{served.url}/v1/enhance", content=b"x", timeout=20) for _ in range(3)]
            job = httpx.post(f"{served.url}/v1/jobs", content=b"x").headers["location"]
            stream = pool.submit(httpx.get, f"{served.url}{job}/events", timeout=20)
            wait_until(lambda: served.service.queue.waiting == 3)
            half = served.raw(request("/v1/enhance", PNG)[:-5])
            wait_until(lambda: served.service.upload_memory.used)
            served.server.should_exit = True
            wait_until(lambda: served.service.ending)
            new = httpx.post(f"{served.url}/v1/enhance", content=b"x")
            assert problem_of(new, 503)["type"] == "/docs#ending"
            assert httpx.get(f"{served.url}/readyz").status_code == 503
        for each in asked:
            assert problem_of(each.result(), 503)["type"] == "/docs#ending"
            assert int(each.result().headers["retry-after"]) >= 1
        assert "event: failed" in stream.result().text
        assert half.recv(12) == b"HTTP/1.1 503"
        half.close()
    assert enhancer.cancelled == [b"x"]


def test_what_can_finish_in_time_finishes() -> None:
    enhancer = Patient()
    with ThreadPoolExecutor(2) as pool:
        with running(lambda path: enhancer, Limits(at_once=1, grace_seconds=20)) as served:
            asked = [pool.submit(httpx.post, f"{served.url}/v1/enhance", content=b"x", timeout=20) for _ in range(2)]
            wait_until(lambda: served.service.queue.waiting == 1)
            served.server.should_exit = True
            wait_until(lambda: served.service.ending)
            enhancer.free.set()
        assert [each.result().status_code for each in asked] == [200, 200]
