"""Who may ask the service, what every answer carries, and what its log says."""

import logging

import pytest
from serving import Patient, heard, problem_of, request, running, wait_until

from mirnet.service.request_guard import SAFETY
from mirnet.service.service import Limits

TOKEN = "open+sesame"


@pytest.fixture(scope="module")
def served():
    enhancer = Patient()
    enhancer.free.set()
    with running(lambda path: enhancer, Limits(), hosts=["photos.example"], token=TOKEN) as found:
        yield found


@pytest.fixture
def client(served):
    with served.client(headers={"Authorization": f"Bearer {TOKEN}"}) as made:
        yield made


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:7411", "[::1]:80", "192.168.1.9", "photos.example", "a.localhost"]
)
def test_the_service_answers_to_its_own_names(client, host) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "photos.example.org", ""]
)
def test_other_names_are_refused_since_they_could_be_bound_to_us(client, host) -> None:
    problem = problem_of(client.get("/healthz", headers={"Host": host}), 400)
    assert problem["type"] == "/docs#host"
    assert host == "" or host not in problem["detail"]


@pytest.mark.parametrize(
    ("headers", "welcome"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://photos.example"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, False),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, False),
        ({"Origin": "http://localhost"}, True),
        ({"Origin": "http://localhost:3000"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
    ],
)
def test_pages_of_other_sites_are_refused(client, headers, welcome) -> None:
    answer = client.post("/v1/enhance", content=b"x", headers={"Host": "localhost", **headers})
    assert "access-control-allow-origin" not in answer.headers
    if welcome:
        assert answer.status_code == 200
    else:
        assert problem_of(answer, 403)["type"] == "/docs#cross-site"


def test_a_link_from_elsewhere_leads_to_the_page(client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/healthz", headers=headers).status_code == 200
    problem_of(client.get("/v1/weights", headers=headers), 403)
    problem_of(client.get("/healthz", headers={**headers, "Sec-Fetch-Mode": "no-cors"}), 403)


@pytest.mark.parametrize("said", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer", "Bearer \xff"])
def test_without_the_token_pictures_and_numbers_stay_closed(served, said) -> None:
    headers = {} if said is None else {"Authorization": said.encode("latin-1")}
    with served.client(headers=headers) as stranger:
        for method, path in (("POST", "/v1/enhance"), ("GET", "/v1/weights"), ("GET", "/metrics"), ("GET", "/v1/x")):
            answer = stranger.request(method, path)
            assert problem_of(answer, 401)["type"] == "/docs#token"
            assert answer.headers["www-authenticate"].startswith("Bearer")
        for path in ("/healthz", "/readyz", "/openapi.json"):
            assert stranger.get(path).status_code == 200
        assert stranger.get("/openapi.json").json()["security"] == [{"token": []}]


def test_with_the_token_they_open(client) -> None:
    assert client.get("/v1/limits").json()["token_needed"] is True
    assert client.get("/v1/limits", headers={"Authorization": f"bearer  {TOKEN}"}).status_code == 200


def test_every_answer_carries_the_headers_of_safety(client, served) -> None:
    answers = [client.get("/healthz"), client.get("/nothing"), client.get("/v1/weights", headers={"Host": "evil"}),
               client.put("/v1/enhance"), client.post("/v1/enhance", content=b"x")]  # fmt: skip
    for answer in answers:
        assert {name: answer.headers.get(name) for name in SAFETY} == SAFETY
        assert "server" not in answer.headers
    assert b"Content-Security-Policy: default-src 'none'" in heard(served.raw(b"nonsense\r\n\r\n"))
    policy = SAFETY["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "http" not in policy


def test_the_log_names_no_picture_and_no_address(client, served, caplog) -> None:
    with caplog.at_level(logging.INFO, "mirnet.serve"):
        client.post("/v1/enhance?mood=night", files={"file": ("secret-name.jpg", b"secret-content")})
        client.get("/secret-path?secret-query=1")
        client.get("/v1/jobs/secret-id")
        client.request("SECRET", "/healthz")
        client.post("/v1/enhance?secret-option=1", content=b"x")
        wait_until(lambda: len(caplog.records) == 5)  # the last line comes after its answer
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].startswith("POST /v1/enhance 200 ")
    assert lines[1].startswith("GET (none) 404 ")
    assert lines[2].startswith("GET /v1/jobs/{job} 404 ")
    assert lines[3].startswith("OTHER ")
    assert "secret" not in "\n".join(lines).lower()
    assert "secret" not in client.get("/metrics").text.lower()


def test_a_failure_of_ours_is_told_without_its_message(caplog) -> None:
    class Failing(Patient):
        def enhance_bytes(self, content, settings, progress, should_stop):
            raise KeyError(content)

    with running(lambda path: Failing()) as served, served.client() as one, caplog.at_level(logging.INFO):
        problem = problem_of(one.post("/v1/enhance", content=b"secret-content"), 500)
        assert "secret" not in problem["detail"]
        assert one.get("/healthz").status_code == 200
    assert "KeyError in the service" in caplog.text
    assert "enhance_bytes" in caplog.text
    assert "secret" not in caplog.text


def test_the_page_is_what_lies_in_the_package_and_nothing_else(client) -> None:
    for path in ("/page/../serve.py", "/page/..%2fserve.py", "/page/%2e%2e/serve.py", "/page//etc/passwd", "/page/"):
        problem_of(client.get(path), 404)
    from mirnet.service.routes import page

    for name in ("texts.en.json", "docs.js"):
        answer = client.get(f"/page/{name}")
        assert answer.content == (page.FOLDER / name).read_bytes()
        assert answer.headers["content-type"] == page.MEDIA_TYPES[f".{name.rpartition('.')[2]}"]
        again = client.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


def test_a_request_that_is_none_is_a_problem_and_closes(served) -> None:
    said = heard(served.raw(b"GET / HTTP/1.1\r\n\r\n"))  # without a host
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in said
    assert heard(served.raw(b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n")).startswith(b"HTTP/1.1 400 ")
    upgrade = request("/healthz", method="GET", Connection="Upgrade, close", Upgrade="websocket")
    assert heard(served.raw(upgrade)).startswith(b"HTTP/1.1 200 ")
