"""The REST service with the real network: what comes back, and what is said where nothing can."""

import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sample_pictures import pillow_bytes, tiff_bytes
from serving import Patient, Running, problem_of, request, running, wait_until, with_network

import mirnet
from mirnet.inference.settings import Settings
from mirnet.service.expiring_store import ExpiringStore
from mirnet.service.service import Limits


def dark(height: int = 48, width: int = 64, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 40, (height, width, 3), np.uint8)


JPEG, PNG = pillow_bytes(dark(), "jpeg"), pillow_bytes(dark(), "png")


@pytest.fixture(scope="module")
def served():
    with with_network(Limits(max_bytes=2_000_000, max_megapixels=0.5)) as found:
        yield found


@pytest.fixture
def client(served: Running):
    with served.client() as made:
        yield made


def enhanced(served: Running, content: bytes, **settings: object) -> bytes:
    """As the Enhancer does it without a service."""
    return served.service.enhancers.get("lite").enhance_bytes(content, Settings(**settings)).content


# Enhance ------------------------------------------------------------------------------------------


def test_a_form_and_raw_bytes_give_what_the_enhancer_gives(served, client) -> None:
    expected = enhanced(served, JPEG)
    form = client.post("/v1/enhance", files={"file": ("party.png", JPEG, "image/png")})
    raw = client.post("/v1/enhance", content=JPEG, headers={"Content-Type": "image/jpeg"})
    nameless = client.post("/v1/enhance", files={"file": ("Ünïcode\n.nef", JPEG)})
    assert form.status_code == raw.status_code == nameless.status_code == 200, form.text
    assert form.content == raw.content == nameless.content == expected
    assert form.headers["content-type"] == "image/jpeg"
    assert form.headers["cache-control"] == "no-store"
    assert (form.headers["mirnet-width"], form.headers["mirnet-height"]) == ("64", "48")
    assert form.headers["mirnet-weights"] == "lite"
    assert float(form.headers["mirnet-seconds"]) > 0
    assert float(form.headers["mirnet-stops"]) == float(form.headers["mirnet-proposed-stops"])


def test_options_of_the_query_and_of_form_fields_count(served, client) -> None:
    expected = enhanced(served, PNG, exposure=-1.0, denoise=0.5, format="webp", quality=70)
    said = {"exposure": "-1", "denoise": "0.5", "format": "webp", "quality": "70"}
    assert client.post("/v1/enhance", params=said, content=PNG).content == expected
    assert client.post("/v1/enhance", data=said, files={"file": PNG}).content == expected
    tiff = client.post("/v1/enhance?format=tif", content=PNG)
    assert tiff.headers["content-type"] == "image/tiff"
    assert tiff.content[:2] in (b"II", b"MM")


def test_a_photo_to_match_is_uploaded(served, client) -> None:
    bright = pillow_bytes(np.full((20, 30, 3), 128, np.uint8), "png")
    answer = client.post("/v1/enhance", files={"file": PNG, "match": bright})
    assert answer.content == enhanced(served, PNG, match=bright)
    assert answer.content != enhanced(served, PNG)


def test_remarks_come_as_a_header(client) -> None:
    translucent = pillow_bytes(np.full((16, 16, 4), 90, np.uint8), "png")
    answer = client.post("/v1/enhance?format=jpeg", content=translucent)
    assert answer.status_code == 200, answer.text
    assert all(isinstance(remark, str) for remark in json.loads(answer.headers["mirnet-remarks"]))


def test_many_at_once_get_each_their_own(served) -> None:
    pictures = [pillow_bytes(dark(24 + 8 * n, 72 - 8 * n, n), ("png", "jpeg", "webp")[n % 3]) for n in range(6)]
    expected = [enhanced(served, each) for each in pictures]

    def ask(number: int) -> tuple[int, bytes]:
        with served.client() as one:
            answer = one.post("/v1/enhance", files={"file": (f"{number}.jpg", pictures[number % 6])})
            assert answer.status_code == 200, answer.text
            return number % 6, answer.content

    with ThreadPoolExecutor(8) as clients:
        assert all(content == expected[number] for number, content in clients.map(ask, range(30)))


# What cannot work -----------------------------------------------------------------------------------


def test_what_cannot_work_is_a_problem_with_a_sentence(client) -> None:
    def post(**request: object) -> object:
        return client.post("/v1/enhance", **request)

    large = pillow_bytes(np.zeros((800, 700, 3), np.uint8), "png")
    for answer, status, kind, told in (
        (post(), 422, "settings", "Expected a picture"),
        (post(files={"match": PNG}), 422, "settings", "part `file`"),
        (post(content=b"", headers={"Content-Type": "image/png"}), 422, "picture", "empty"),
        (post(content=PNG[:200]), 422, "picture", "The image: "),
        (post(content=tiff_bytes(np.full((4, 4), 2, np.float32))), 422, "picture", "within with clip "),
        (post(content=b"no picture at all"), 415, "unknown-format", "content is none of these"),
        (post(json={"file": "x"}), 415, "media-type", "application/json"),
        (post(data={"file": "x"}), 415, "media-type", "-F file=@NAME"),
        (post(content=PNG, headers={"Content-Encoding": "gzip"}), 415, "media-type", "not compressed"),
        (post(content=bytes(2_000_001)), 413, "too-large", "at most 2 MB"),
        (post(content=iter([bytes(1_500_000)] * 2)), 413, "too-large", "and more came"),
        (post(content=large), 413, "too-many-pixels", "0.5"),
        (post(content=large, params={"max_megapixels": 99}), 413, "too-many-pixels", "0.5"),
        (post(content=PNG, params={"strength": "2", "mood": "dawn"}), 422, "settings", "strength must.*; mood must"),
        (post(content=PNG, params={"match": "/etc/passwd"}), 422, "settings", "no option match"),
        (post(content=PNG, params={"weights": "../lite"}), 422, "weights", "expected denoise or free or lite"),
        (post(content=PNG, params={"weights": "/x/lite.onnx"}), 422, "weights", "expected denoise or free or lite"),
        (post(files=[("file", PNG), ("file", PNG)]), 422, "settings", "several came"),
        (post(content=b"--x\r\nnope", headers={"Content-Type": "multipart/form-data; boundary=x"}), 400, "malformed",
         "multipart"),
        (post(content=b"x", headers={"Content-Type": "multipart/form-data"}), 400, "malformed", "boundary"),
    ):  # fmt: skip
        problem = problem_of(answer, status)
        assert problem["type"] == f"/docs#{kind}"
        assert re.search(told, problem["detail"]), problem


def test_other_addresses_and_methods_are_problems_too(client) -> None:
    assert "/docs" in problem_of(client.get("/v2/nothing"), 404)["detail"]
    answer = client.put("/v1/previews/x")
    problem_of(answer, 405)
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST"
    assert client.options("/v1/enhance").headers["allow"] == "POST"
    head = client.head("/healthz")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "15")


# Previews -------------------------------------------------------------------------------------------


def open_preview(client, content: bytes = PNG, **said: object) -> str:
    answer = client.post("/v1/previews", content=content, params=said)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/previews/{answer.json()['id']}"
    return str(answer.headers["location"])


def pixels(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return mirnet.read_image(answer.content)


def test_a_preview_is_uploaded_once_and_rendered_often(served, client) -> None:
    address = open_preview(client)
    facts = client.get(address).json()
    assert (facts["width"], facts["height"], facts["format"], facts["depth"]) == (64, 48, "png", 8)
    assert facts["blendable"] is True
    assert facts["expires_in_seconds"] == 600
    assert (pixels(client.get(f"{address}/original")) == dark()).all()
    answer = client.post(address, params={"exposure": "0.5"})
    whole = mirnet.read_image(enhanced(served, PNG, exposure=0.5))
    assert np.abs(pixels(answer).astype(int) - whole).max() <= 1
    assert float(answer.headers["mirnet-stops"]) == pytest.approx(facts["proposed_stops"] + 0.5, abs=1e-3)
    small = pixels(client.post(address, params={"pixels": "300"}))
    assert small.shape[0] * small.shape[1] <= 300
    assert pixels(client.post(address, params={"region": "8,4,20,10"})).shape == (10, 20, 3)


def test_layers_blend_to_what_the_service_renders(client) -> None:
    address = open_preview(client)
    original = pixels(client.get(f"{address}/original")).astype(float)
    answer = client.post(address, params={"layers": "true"})
    assert (answer.headers["mirnet-height"], answer.headers["mirnet-width"]) == ("48", "64")
    exposed, restored, automatic = pixels(answer).astype(float).reshape(3, 48, 64, 3)
    x = exposed + 0.3 * (restored - exposed)
    blended = np.rint(original + 0.6 * (x - original))
    rendered = pixels(client.post(address, params={"denoise": "0.3", "strength": "0.6"}))
    assert np.abs(blended - rendered).max() <= 1
    assert np.abs(automatic - pixels(client.post(address))).max() <= 1


def test_what_a_preview_cannot_is_a_problem(client) -> None:
    deep = open_preview(client, tiff_bytes(np.full((20, 20, 3), 5000, np.uint16), photometric="rgb"))
    assert problem_of(client.post(deep, params={"layers": "1"}), 409)["type"] == "/docs#not-blendable"
    problem_of(client.post(deep, params={"region": "10,10,50,50"}), 422)
    problem_of(client.post(deep, params={"region": "0,0,5"}), 422)
    problem_of(client.post(deep, params={"weights": "lite.int8"}), 422)
    problem_of(client.get(f"{deep}/original", params={"strength": "1"}), 422)
    assert client.delete(deep).status_code == 204
    for gone in (client.get(deep), client.post(deep), client.get(f"{deep}/original"), client.delete(deep)):
        assert problem_of(gone, 404)["type"] == "/docs#preview-gone"
    problem_of(client.post("/v1/previews", content=b"nonsense"), 415)


# Jobs -------------------------------------------------------------------------------------------------


def test_a_job_tells_its_progress_and_keeps_its_result(served, client) -> None:
    begun = client.post("/v1/jobs?exposure=1", files={"file": JPEG})
    assert begun.status_code == 202, begun.text
    address = begun.headers["location"]
    with client.stream("GET", f"{address}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = [line for line in stream.iter_lines() if line]
    assert events[-2] == "event: done"
    last = json.loads(events[-1].removeprefix("data: "))
    assert last == client.get(address).json()
    assert (last["state"], last["progress"], last["problem"]) == ("done", 1.0, None)
    result = client.get(last["result"]["href"])
    assert result.content == enhanced(served, JPEG, exposure=1.0)
    assert len(result.content) == last["result"]["bytes"]
    assert result.headers["content-type"] == last["result"]["media_type"] == "image/jpeg"
    assert client.delete(address).status_code == 204
    problem_of(client.get(address), 404)


def test_a_job_may_take_the_picture_of_a_preview(served, client) -> None:
    preview = open_preview(client).rpartition("/")[2]
    address = client.post("/v1/jobs", params={"preview": preview, "format": "jpeg"}).headers["location"]
    wait_until(lambda: client.get(address).json()["state"] == "done")
    assert client.get(f"{address}/result").content == enhanced(served, PNG, format="jpeg")
    problem_of(client.post("/v1/jobs", params={"preview": "gone"}), 404)


def test_a_job_that_fails_says_why(client) -> None:
    address = client.post("/v1/jobs", content=PNG[:100]).headers["location"]
    wait_until(lambda: client.get(address).json()["state"] == "failed")
    assert client.get(address).json()["problem"]["status"] == 422
    problem_of(client.get(f"{address}/result"), 422)


# About --------------------------------------------------------------------------------------------------


def test_weights_and_limits_are_told(client) -> None:
    listed = {each["name"]: each for each in client.get("/v1/weights").json()["weights"]}
    assert listed["lite"]["default"] is True
    assert listed["lite"]["parameters"] > 1_000_000
    limits = client.get("/v1/limits").json()
    assert (limits["max_bytes"], limits["max_megapixels"], limits["queue"]) == (2_000_000, 0.5, 64)
    assert {".jpg", ".heic", ".dng"} <= set(limits["formats_in"])
    assert {"name": "jpeg", "suffix": ".jpg", "media_type": "image/jpeg"} in limits["formats_out"]
    assert (limits["version"], limits["token_needed"]) == (mirnet.__version__, False)


def test_health_and_metrics(client) -> None:
    client.post("/v1/enhance", content=PNG)
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}
    told = client.get("/metrics").text
    assert 'mirnet_requests_total{method="POST",route="/v1/enhance",status="200"}' in told
    for stage in ("upload", "wait", "work", "send"):
        assert f'mirnet_stage_seconds_count{{stage="{stage}"}}' in told
    for name in ("mirnet_queue_waiting", "mirnet_pixels_total", "process_resident_memory_bytes"):
        assert f"\n{name} " in told


def test_openapi_describes_what_there_is(client) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/enhance", "/v1/previews", "/v1/previews/{preview}", "/v1/previews/{preview}/original", "/v1/jobs",
        "/v1/jobs/{job}", "/v1/jobs/{job}/events", "/v1/jobs/{job}/result", "/v1/weights", "/v1/limits", "/healthz",
        "/readyz", "/metrics",
    }  # fmt: skip
    enhance = document["paths"]["/v1/enhance"]["post"]
    assert {"strength", "denoise", "weights"} <= {each["name"] for each in enhance["parameters"]}
    assert {"file", "match", "strength"} <= set(
        enhance["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
    )
    assert "image/jpeg" in enhance["responses"]["200"]["content"]
    assert "Mirnet-Stops" in enhance["responses"]["200"]["headers"]
    for status in ("400", "401", "413", "415", "422", "503", "504"):
        assert list(enhance["responses"][status]["content"]) == ["application/problem+json"]


# A queue that is full, late or left ---------------------------------------------------------------------


@pytest.fixture
def patient():
    """An enhancer that waits to be let go, and a service of it that takes one picture and lets two wait."""
    enhancer = Patient()
    limits = Limits(at_once=1, queue=2, time_limit_seconds=20, grace_seconds=0.2)
    with running(lambda path: enhancer, limits) as served:
        yield enhancer, served
        enhancer.free.set()


def post_in_background(served: Running, content: bytes = b"x", path: str = "/v1/enhance"):
    pool = ThreadPoolExecutor(1)

    def ask():
        with served.client() as one:
            return one.post(path, content=content)

    future = pool.submit(ask)
    pool.shutdown(wait=False)
    return future


def test_a_full_queue_is_503_with_a_time_to_come_again(patient) -> None:
    enhancer, served = patient
    asked = [post_in_background(served) for _ in range(3)]
    wait_until(lambda: served.service.queue.waiting == 2)
    with served.client() as one:
        answer = one.post("/v1/enhance", content=b"x")
    assert problem_of(answer, 503)["type"] == "/docs#busy"
    assert int(answer.headers["retry-after"]) >= 1
    unsent = served.raw(request("/v1/enhance", Content_Length="1000", Expect="100-continue"))
    assert unsent.recv(12) == b"HTTP/1.1 503"  # before a byte of its body
    unsent.close()
    enhancer.free.set()
    assert [each.result().status_code for each in asked] == [200] * 3


def test_a_client_that_hangs_up_frees_its_place_and_ends_its_work(patient) -> None:
    enhancer, served = patient
    first = served.raw(request("/v1/enhance", b"working"))
    wait_until(lambda: enhancer.seen == [b"working"])
    second = served.raw(request("/v1/enhance", b"waiting"))
    wait_until(lambda: served.service.queue.waiting == 1)
    second.close()
    wait_until(lambda: served.service.queue.waiting == 0)
    assert not enhancer.cancelled
    first.close()
    wait_until(lambda: enhancer.cancelled == [b"working"])
    wait_until(lambda: served.service.queue.idle and served.service.upload_memory.used == 0)
    assert enhancer.seen == [b"working"]


def test_the_time_limit_is_504_and_waiting_counts() -> None:
    enhancer = Patient()
    with running(lambda path: enhancer, Limits(at_once=1, time_limit_seconds=0.3, grace_seconds=0.1)) as served:
        asked = [post_in_background(served), post_in_background(served)]
        assert [problem_of(each.result(), 504)["type"] for each in asked] == ["/docs#time-limit"] * 2
        wait_until(lambda: served.service.queue.idle)
        assert len(enhancer.cancelled) == len(enhancer.seen)


def test_a_newer_render_takes_the_place_of_one_that_waits() -> None:
    from mirnet.service.stored_items import OpenedPreview

    enhancer = Patient()
    with running(lambda path: enhancer, Limits(at_once=1)) as served:

        class Slow:
            blendable, proposed_stops, nbytes = True, 1.0, 1

            def render(self, view, settings, progress, should_stop):
                enhancer.enhance_bytes(b"", settings, progress, should_stop)
                return type("Rendered", (), {"pixels": np.zeros((2, 2, 3), np.uint8), "stops": settings.exposure})

        name = served.service.previews.put(OpenedPreview(Slow(), "lite"))
        latest = {"Mirnet-Render": "latest"}

        def render(exposure: int, headers: dict[str, str]):
            with served.client(headers=headers) as one:
                return one.post(f"/v1/previews/{name}", params={"exposure": exposure})

        with ThreadPoolExecutor(4) as pool:
            first = [pool.submit(render, n, {}) for n in range(2)]
            wait_until(lambda: served.service.queue.working + served.service.queue.waiting == 2)
            wait_until(lambda: len(enhancer.seen) == 2)  # both threads have one
            older = pool.submit(render, 2, latest)
            wait_until(lambda: served.service.queue.waiting == 1)
            newer = pool.submit(render, 3, latest)
            assert problem_of(older.result(), 409)["type"] == "/docs#superseded"
            enhancer.free.set()
            assert [each.result().status_code for each in [*first, newer]] == [200] * 3
            assert newer.result().headers["mirnet-stops"] == "3.0000"


def test_a_job_waits_in_its_place_and_can_be_cancelled(patient) -> None:
    enhancer, served = patient
    with served.client() as one:
        jobs = [one.post("/v1/jobs", content=b"a").headers["location"]]
        wait_until(lambda: one.get(jobs[0]).json()["state"] == "working")  # it has left the queue, which two may fill
        jobs += [one.post("/v1/jobs", content=content).headers["location"] for content in (b"b", b"c")]
        assert [one.get(each).json()["place"] for each in jobs] == [0, 0, 1]
        problem_of(one.get(f"{jobs[0]}/result"), 409)
        wait_until(lambda: one.get(jobs[0]).json()["progress"] == 0.5)
        assert one.delete(jobs[0]).status_code == 204
        wait_until(lambda: enhancer.cancelled == [b"a"])
        wait_until(lambda: one.get(jobs[1]).json()["state"] == "working")
        with ThreadPoolExecutor(1) as pool, served.client() as listener:
            heard = pool.submit(lambda: listener.get(f"{jobs[2]}/events").text)
            wait_until(lambda: "events" in one.get("/metrics").text or True)
            one.delete(jobs[2])
            assert "event: cancelled" in heard.result() or "job-gone" in heard.result()


# What is kept -------------------------------------------------------------------------------------------


def test_a_finished_job_keeps_its_result_and_not_what_was_sent(patient) -> None:
    enhancer, served = patient
    enhancer.free.set()
    held = []
    read = served.service.reader.read

    async def noted(*asked):
        held.append(await read(*asked))
        return held[-1]

    object.__setattr__(served.service.reader, "read", noted)
    with served.client() as one:
        job = one.post("/v1/jobs", files={"file": b"picture", "match": b"photo"}).headers["location"]
        wait_until(lambda: one.get(job).json()["state"] in ("done", "failed"))
        wait_until(lambda: held[0].taken == 0)
        assert (held[0].file, held[0].match) == (None, None)


def test_a_job_that_took_long_is_kept_from_when_it_was_done() -> None:
    now, needed = [0.0], [True]
    shelf: ExpiringStore[str] = ExpiringStore(100, 10.0, len, lambda item: needed[0], lambda: now[0])
    name = shelf.put("a job")
    now[0] = 50.0
    shelf.sweep()
    needed[0] = False
    now[0] = 55.0
    assert shelf.get(name) == "a job"
    now[0] = 66.0
    assert shelf.get(name) is None
