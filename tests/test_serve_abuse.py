"""Clients that stall, lie, break off and send damaged pictures: each gets an answer or a closed connection."""

import contextlib
import socket
import time

import numpy as np
import pytest
from mutations import corpus
from sample_pictures import pillow_bytes
from serving import Patient, heard, problem_of, request, running, wait_until, with_network

from mirnet.service.service import Limits

PNG = pillow_bytes(np.full((16, 16, 3), 40, np.uint8), "png")
STALL_SECONDS = 0.5


@pytest.fixture(scope="module")
def served():
    """Patience turned down, so that tests need none."""
    enhancer = Patient()
    enhancer.free.set()
    limits = Limits(max_bytes=300_000, uploads_bytes=1_000_000, stall_seconds=STALL_SECONDS, connections=40)
    with running(lambda path: enhancer, limits) as found:
        yield found


@pytest.fixture(autouse=True)
def _is_alive_afterwards(served):
    yield
    with served.client() as one:
        assert one.post("/v1/enhance", content=PNG).content == PNG
    wait_until(lambda: served.service.upload_memory.used == 0)


def test_a_head_that_stalls_is_closed(served) -> None:
    for piece in (b"", b"GET /heal", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-"):
        assert heard(served.raw(piece)) == b""


def test_a_head_that_trickles_is_closed(served) -> None:
    connection = served.raw(b"GET /healthz HTTP/1.1\r\n")
    sent = 0
    with contextlib.suppress(OSError):  # reset or broken pipe, as the system likes
        for sent in range(1000):  # noqa: B007
            connection.sendall(b"X")
            time.sleep(0.02)
    connection.close()
    assert sent < 999


def test_a_second_head_that_stalls_is_closed_too(served) -> None:
    said = heard(served.raw(request("/healthz", method="GET"), b"GET /hea"))
    assert said.count(b"HTTP/1.1 200 ") == 1


@pytest.mark.parametrize("kind", ["image/png", "multipart/form-data; boundary=x"])
def test_a_body_that_stalls_is_told_and_closed(served, kind) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + bytes(1000)
    whole = request("/v1/enhance", part, Content_Type=kind)
    said = heard(served.raw(whole[:-10]))
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"/docs#stalled" in said


def test_a_body_that_trickles_is_over_at_the_time_limit() -> None:
    enhancer = Patient()
    enhancer.free.set()
    with running(lambda path: enhancer, Limits(time_limit_seconds=0.4)) as served:
        connection = served.raw(request("/v1/enhance", Content_Length="1000"))
        connection.settimeout(0.02)
        said = b""
        while not said:
            connection.sendall(b"x")
            try:
                said = connection.recv(12)
            except TimeoutError:
                continue
        connection.close()
        assert said == b"HTTP/1.1 408"


def test_half_a_body_and_a_hang_up_leave_nothing(served) -> None:
    for _ in range(5):
        served.raw(request("/v1/enhance", PNG * 100)[:5000]).close()
    wait_until(lambda: served.service.upload_memory.used == 0 and served.service.queue.idle)


def test_a_length_over_the_limit_is_refused_before_the_body_and_the_answer_is_read(served) -> None:
    connection = served.raw(request("/v1/enhance", Content_Length="300001"))
    assert connection.recv(12) == b"HTTP/1.1 413"
    connection.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_who_sends_all_of_too_much_whatever_we_say_reads_the_answer(chunked) -> None:
    with running(lambda path: Patient(), Limits(max_bytes=300_000)) as served:
        if chunked:
            asked = request("/v1/enhance", Connection="close", Content_Length="", Transfer_Encoding="chunked")
            pieces = [b"100000\r\n" + bytes(1 << 20) + b"\r\n"] * 40 + [b"0\r\n\r\n"]
        else:
            asked, pieces = (
                request("/v1/enhance", Connection="close", Content_Length=f"{40 << 20}"),
                [bytes(1 << 20)] * 40,
            )
        assert heard(served.raw(asked, *pieces)).startswith(b"HTTP/1.1 413 ")


def test_who_waits_for_100_hears_at_once(served) -> None:
    asked = request("/v1/enhance", Content_Length="300001", Expect="100-continue")
    connection = served.raw(asked)
    assert connection.recv(12) == b"HTTP/1.1 413"
    connection.close()
    connection = served.raw(request("/v1/enhance", Content_Length=str(len(PNG)), Expect="100-continue"))
    assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
    connection.sendall(PNG)
    assert connection.recv(12) == b"HTTP/1.1 200"
    connection.close()


@pytest.mark.parametrize(
    "lengths", [{"Content_Length": "-1"}, {"Content_Length": "1e3"}, {"Content_Length": "5, 6"},
                {"Transfer_Encoding": "chunked, gzip"}, {"Content_Length": "5", "content_length": "6"}],
)  # fmt: skip
def test_lengths_that_are_none_are_malformed(served, lengths) -> None:
    assert heard(served.raw(request("/v1/enhance", PNG, **lengths))).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 "))


def test_a_length_that_is_too_small_hurts_nobody_else(served) -> None:
    said = heard(served.raw(request("/v1/enhance", PNG + b"rest\r\n\r\n", Content_Length=str(len(PNG)))))
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 400 " in said


def test_chunks_that_are_broken_are_malformed(served) -> None:
    asked = request("/v1/enhance", Content_Length="", Transfer_Encoding="chunked")
    assert b"HTTP/1.1 400 " in heard(served.raw(asked, b"5\r\nhello\r\nzz\r\n"))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"--x", b"--x--", b"--x\r\n\r\nfoo\r\n--x--\r\n", b"--y\r\n",
        b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--",
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nno end', b"--x\r\n" + b"A" * 9000,
        b"--x\r\n" + b"A: b\r\n" * 50, b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 60 + b"--x--",
        b'--x\r\nContent-Disposition: form-data; name="mood"\r\n\r\n' + b"n" * 5000 + b"\r\n--x--",
    ],
)  # fmt: skip
def test_broken_forms_are_told(served, body) -> None:
    with served.client() as one:
        answer = one.post("/v1/enhance", content=body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert problem_of(answer, answer.status_code)["status"] in (400, 422)


def test_all_uploads_together_have_bounded_room(served) -> None:
    held = [served.raw(request("/v1/enhance", Content_Length="299999"), bytes(290_000)) for _ in range(3)]
    wait_until(lambda: served.service.upload_memory.used == 870_000)
    with served.client() as one:
        answer = one.post("/v1/enhance", content=bytes(299_999))
    assert problem_of(answer, 503)["type"] == "/docs#memory"
    assert int(answer.headers["retry-after"]) >= 1
    for connection in held:
        connection.close()


def test_connections_are_bounded_and_the_idle_ones_give_way() -> None:
    enhancer = Patient()
    with running(lambda path: enhancer, Limits(connections=8, at_once=1)) as served:
        idle = [served.raw() for _ in range(20)]
        with served.client() as one:
            assert one.get("/healthz").status_code == 200
        wait_until(lambda: len(served.server.server_state.connections) <= 8)
        for connection in idle:
            connection.close()
        wait_until(lambda: not served.server.server_state.connections)
        busy = [served.raw(request("/v1/enhance", PNG, Connection="close")) for _ in range(8)]
        wait_until(lambda: served.service.queue.waiting == 7)
        assert b"/docs#busy" in heard(served.raw())
        enhancer.free.set()
        assert all(heard(connection).startswith(b"HTTP/1.1 200 ") for connection in busy)


def test_who_does_not_take_the_answer_is_cut_off() -> None:
    enhancer = Patient()
    enhancer.free.set()
    with running(lambda path: enhancer, Limits(stall_seconds=STALL_SECONDS)) as served:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", served.port))
        deaf.sendall(request("/v1/enhance", bytes(20_000_000)))
        wait_until(lambda: len(enhancer.seen) == 1)
        wait_until(lambda: not served.server.server_state.connections and served.service.upload_memory.used == 0)
        deaf.close()


def test_damaged_pictures_are_answered_one_and_all() -> None:
    with with_network(Limits(max_megapixels=1.0, time_limit_seconds=20)) as served, served.client() as one:
        statuses = [one.post("/v1/enhance", files={"file": (each.name, each.content)}).status_code
                    for each in corpus(100, seed=12)]  # fmt: skip
        assert set(statuses) <= {200, 413, 415, 422}, statuses
        assert {200, 422} <= set(statuses)
        assert one.get("/readyz").status_code == 200
