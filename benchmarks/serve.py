"""Tests the service under load, over thousands of images, and under abuse.

    python benchmarks/serve.py load|memory|abuse

`mirnet serve` runs as a process of its own on a free port; each part prints a Markdown table.
"""

import argparse
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from extremes import small
from many import dark_picture, resident_megabytes
from mutations import corpus

from mirnet import images
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings

SIZES = ((120, 160), (200, 300), (400, 600), (320, 480), (600, 400), (480, 640))  # height, width
STALL_SECONDS = 30.0  # after which the service closes a connection


@dataclass(frozen=True)
class Served:
    """A running service: its process and its address."""

    process: "subprocess.Popen[str]"
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def core_seconds(self) -> float:
        """What its process has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=300, trust_env=False)


@contextmanager
def served(*arguments: str) -> Iterator[Served]:
    command = [sys.executable, "-m", "mirnet", "serve", "--port", "0", *arguments]
    started = time.monotonic()
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    found = re.search(r"http://[\d.:]+", process.stdout.readline())
    assert found, "the service did not start"
    print(f"Listening after {time.monotonic() - started:.2f} s.\n", flush=True)
    try:
        with httpx.Client(base_url=found.group(), trust_env=False) as client:
            while client.get("/readyz").status_code != 200:
                time.sleep(0.1)
        yield Served(process, found.group())
        process.send_signal(signal.SIGTERM)
        print(f"\nExit code {process.wait(30)}.")
    finally:
        process.kill()
        process.wait()


def photographs(count: int = 12) -> list[bytes]:
    """Dark, grainy pictures of several sizes, as JPEG and PNG."""
    found = []
    for number in range(count):
        height, width = SIZES[number % len(SIZES)]
        stream = io.BytesIO()
        PIL.Image.fromarray(dark_picture(width, height, number)).save(stream, ("jpeg", "png")[number % 2])
        found.append(stream.getvalue())
    return found


# Load ---------------------------------------------------------------------------------------------


def load(requests: int, clients: int, rounds: int) -> None:
    """All requests from all clients at once against the bare Enhancer on the same pictures, taking turns."""
    pictures = photographs()
    megapixels = [_megapixels(each) for each in pictures]
    enhancer = Enhancer()
    expected = [enhancer.enhance_bytes(each, Settings()).content for each in pictures]  # warms it up, too
    order = [number % len(pictures) for number in range(requests)]
    total = sum(megapixels[number] for number in order)
    one_by_one: list[float] = []
    two_at_once: list[float] = []
    by_service: list[float] = []
    latencies: list[float] = []
    wrong = lost = 0
    spent_bare = spent_by_service = 0.0
    with served("--queue", str(requests)) as service:
        with service.client() as client:
            for each in pictures[:6]:
                client.post("/v1/enhance", content=each)
        for _ in range(rounds):
            before = time.process_time()
            one_by_one.append(_timed(_bare, enhancer, pictures, order, 1)[0])
            spent_bare += time.process_time() - before
            two_at_once.append(_timed(_bare, enhancer, pictures, order, 2)[0])
            before = service.core_seconds()
            seconds, answers = _timed(_ask, service, pictures, order, clients)
            by_service.append(seconds)
            spent_by_service += service.core_seconds() - before
            latencies += [each for _, each, _ in answers]
            lost += sum(content is None for _, _, content in answers) + requests - len(answers)
            wrong += sum(content is not None and content != expected[n] for n, _, content in answers)
    best = max(total / min(one_by_one), total / min(two_at_once))
    print(f"\n{requests} requests of {clients} clients at once, {len(pictures)} pictures of 0.02 to 0.31 megapixels, "
          f"{rounds} rounds in turn; medians:\n")  # fmt: skip
    print("| what | megapixels a second |\n|---|---|")
    for what, seconds in (("bare `Enhancer`, one after the other", one_by_one),
                          ("bare `Enhancer`, from two threads", two_at_once),
                          ("the service", by_service)):  # fmt: skip
        print(f"| {what} | {total / float(np.median(seconds)):.3f} ({_list(total / each for each in seconds)}) |")
    ratio = float(np.median(one_by_one) / np.median(by_service))
    print(f"| the service, times the bare one after the other | {ratio:.3f} |")
    print(f"| the service, times the best bare round | {total / float(np.median(by_service)) / best:.3f} |")
    spent = [each / total / rounds for each in (spent_bare, spent_by_service)]
    print(f"| core-seconds a megapixel: bare one after the other, the service | {_list(spent)} |")
    print(f"| lost; with other bytes than the bare Enhancer's | {lost}; {wrong} |")
    print(f"| seconds of a request, p50, p95, most | {_list(np.percentile(latencies, [50, 95, 100]))} |")


def _ask(service: Served, pictures: Sequence[bytes], order: Sequence[int],
         clients: int) -> list[tuple[int, float, bytes | None]]:  # fmt: skip
    """Which picture each request was of, its seconds, and what came back; None for no picture."""
    waiting = iter(enumerate(order))
    taking = threading.Lock()
    answers: list[tuple[int, float, bytes | None]] = []

    def work() -> None:
        with service.client() as client:
            while True:
                with taking:
                    request = next(waiting, None)
                if request is None:
                    return
                number, n = request
                started = time.monotonic()
                answer = client.post("/v1/enhance", files={"file": (f"{number}.jpg", pictures[n])})
                content = answer.content if answer.status_code == 200 else None
                answers.append((n, time.monotonic() - started, content))

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _megapixels(content: bytes) -> float:
    header = images.open_image(content).header
    return header.width * header.height / 1e6


def _bare(enhancer: Enhancer, pictures: Sequence[bytes], order: Sequence[int], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda n: enhancer.enhance_bytes(pictures[n], Settings()), order):
            pass


def _timed(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    started = time.monotonic()
    result = work(*arguments)
    return time.monotonic() - started, result


def _list(numbers: Iterable[float]) -> str:
    return ", ".join(f"{each:.2f}" for each in numbers)


# Memory -------------------------------------------------------------------------------------------


def memory(requests: int, clients: int, warm_up: int) -> None:
    """What the process holds, over many requests of enhance, previews and jobs."""
    pictures = photographs()[:6]
    rows: list[tuple[int, float]] = []
    with served() as service:
        for begin in range(0, requests, step := max(1, requests // 20)):
            order = [(begin + n) % len(pictures) for n in range(step)]
            answers = _ask(service, pictures, order, clients)
            assert all(content is not None for _, _, content in answers), "a request failed"
            _look(service, pictures[begin % len(pictures)])
            rows.append((begin + step, resident_megabytes(service.process.pid)))
    print(f"\n{requests} pictures of {clients} clients; at each row four views of a preview, one of which matches "
          "another photo, and a job:\n")  # fmt: skip
    print("| pictures | resident MB |\n|---|---|")
    for done, megabytes in rows:
        print(f"| {done} | {megabytes:.0f} |")
    warm = next(megabytes for done, megabytes in rows if done >= warm_up)
    most = max(megabytes for done, megabytes in rows if done >= warm_up)
    print(f"| growth from {warm_up} on, at the end; at most | {100 * (rows[-1][1] / warm - 1):+.1f} %; "
          f"{100 * (most / warm - 1):+.1f} % |")  # fmt: skip


def _look(service: Served, picture: bytes) -> None:
    """A preview and a job, as the page asks for them."""
    with service.client() as client:
        preview = client.post("/v1/previews", content=picture).headers["location"]
        for exposure in (-1, 0, 1):
            assert client.post(preview, params={"exposure": exposure, "pixels": 100_000}).status_code == 200
        matched = client.post(preview, params={"region": "0,0,100,100"}, files={"match": picture})
        assert matched.status_code == 200
        job = client.post("/v1/jobs", params={"preview": preview.rpartition("/")[2]}).headers["location"]
        client.get(f"{job}/events")
        assert client.get(f"{job}/result").status_code == 200
        client.delete(job)
        client.delete(preview)


# Abuse --------------------------------------------------------------------------------------------


def abuse(files: int, seed: int, clients: int) -> None:
    """Clients that do everything wrong; then pictures that are damaged; the service is alive after each."""
    with served("--max-megapixels", "20", "--max-megabytes", "20", "--time-limit", "60") as service:
        rows = [(what, _alive_after(service, lambda task=task: task(service))) for what, task in ABUSES]
        statuses = Counter(_statuses(service, files, seed, clients))
        rows.append((f"{files} damaged and lying pictures (seed {seed})", ", ".join(
            f"{count} x {status}" for status, count in sorted(statuses.items(), key=str))))  # fmt: skip
        rows.append(("resident MB afterwards", f"{resident_megabytes(service.process.pid):.0f}"))
    print("| what came | what it got |\n|---|---|")
    for what, got in rows:
        print(f"| {what} | {got} |")


def _alive_after(service: Served, task: Callable[[], str]) -> str:
    started = time.monotonic()
    got = task()
    seconds = time.monotonic() - started
    with service.client() as client:
        assert client.get("/readyz").status_code == 200, "not alive"
    return f"{got} ({seconds:.1f} s)"


def _statuses(service: Served, files: int, seed: int, clients: int) -> list[str]:
    def ask(content: bytes) -> str:
        with service.client() as client:
            try:
                return str(client.post("/v1/enhance", files={"file": ("x", content)}).status_code)
            except httpx.HTTPError as error:
                return f"NO ANSWER {type(error).__name__}"

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(ask, (each.content for each in corpus(files, seed, small()))))


HEAD = b"POST /v1/enhance HTTP/1.1\r\nHost: localhost\r\n"


def _told(service: Served, *pieces: bytes, pause: float = 0.0, seconds: float = 90.0) -> str:
    """The status lines that pieces sent with pauses get, or that the connection was closed."""
    said = b""
    with socket.create_connection(("127.0.0.1", service.port), timeout=seconds) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            while piece := connection.recv(65536):
                said += piece
        except (ConnectionResetError, BrokenPipeError):
            pass
        except TimeoutError:
            return "NOTHING, AND IT STAYED OPEN"
    statuses = re.findall(rb"HTTP/1.1 (\d+)", said)
    return " then ".join(each.decode() for each in statuses) or "closed"


def _loris(service: Served) -> str:
    """100 heads that never end, at once, while others are served."""
    with ThreadPoolExecutor(100) as pool:
        held = [pool.submit(_told, service, HEAD, *[b"X"] * 3, pause=5) for _ in range(100)]
        time.sleep(2)
        with service.client() as client:
            meanwhile = client.post("/v1/enhance", content=photographs(1)[0]).status_code
        got = Counter(each.result() for each in held)
    return ", ".join(f"{count} x {what}" for what, count in got.items()) + f"; others meanwhile {meanwhile}"


ABUSES: tuple[tuple[str, Callable[[Served], str]], ...] = (
    ("100 heads that never end (slow loris)", _loris),
    ("a body that stops half-way", lambda s: _told(s, HEAD + b"Content-Length: 5000\r\n\r\n" + bytes(100))),
    ("a form that stops half-way", lambda s: _told(s, HEAD + b"Content-Type: multipart/form-data; boundary=x\r\n"
     b'Content-Length: 5000\r\n\r\n--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n')),
    ("nothing at all", lambda s: _told(s)),
    ("a length over the limit", lambda s: _told(s, HEAD + b"Content-Length: 99999999999\r\n\r\n")),
    ("60 MB where 20 are allowed, in chunks",
     lambda s: _told(s, HEAD + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
                     *[b"100000\r\n" + bytes(1 << 20) + b"\r\n"] * 60, b"0\r\n\r\n")),
    ("a length that is too small",
     lambda s: _told(s, HEAD + b"Content-Type: image/png\r\nContent-Length: 4\r\n\r\nmore than that\r\n\r\n")),
    ("a length that is too large", lambda s: _told(s, HEAD + b"Content-Length: 100\r\n\r\nless")),
    ("a length that is no number", lambda s: _told(s, HEAD + b"Content-Length: -5\r\n\r\n")),
    ("two lengths", lambda s: _told(s, HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab")),
    ("a broken form", lambda s: _told(s, HEAD + b"Connection: close\r\nContent-Length: 9\r\n"
     b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--y\r\nnope")),
    ("no HTTP at all", lambda s: _told(s, b"\x16\x03\x01\x02\0\x01\0" * 9)),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["load", "memory", "abuse"])
    parser.add_argument("--requests", type=int, help="of load (200) and memory (2000)")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3, help="of load")
    parser.add_argument("--files", type=int, default=1000, help="damaged pictures of abuse")
    parser.add_argument("--seed", type=int, default=12)
    given = parser.parse_args()
    if given.what == "load":
        load(given.requests or 200, given.clients, given.rounds)
    elif given.what == "memory":
        memory(given.requests or 2000, given.clients, warm_up=(given.requests or 2000) // 5)
    else:
        abuse(given.files, given.seed, given.clients)


if __name__ == "__main__":
    main()
