"""Many machines at one list of files: what a cluster promises, whoever is killed. Two nodes, both this machine."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mirnet
from mirnet.batch import object_urls, planning, ray_backend, ray_cluster, ray_worker
from mirnet.batch.backend import EnhancerOptions
from mirnet.batch.jobs import BatchJob, Outcome
from mirnet.errors import PictureError, SettingsError
from mirnet.inference.catalog import find
from mirnet.inference.settings import Settings

NODE = {"num_cpus": 1, "object_store_memory": ray_cluster.OBJECT_STORE_BYTES}
UNLUCKY = "c.png"


def folder_of_pictures(folder: Path, count: int = 8) -> Path:
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 90, (90, 120, 3), np.uint8)
        path = folder / ("deeper" if number % 3 == 2 else "") / f"{chr(97 + number)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mirnet.write_image(path, pixels)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """What Ray and the object server's clients read, before either is imported."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "MIRNET_CACHE": "",
            "RAY_DEDUP_LOGS_SKIP_REGEX": ".*", "AWS_ACCESS_KEY_ID": "here", "AWS_SECRET_ACCESS_KEY": "here",
            "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }.items():  # fmt: skip
            patch.setenv(name, value)
        yield patch


@pytest.fixture(scope="module")
def objects(environment: pytest.MonkeyPatch, give_up: Callable[[str], Any]) -> Iterator[str]:
    """The URL of a bucket on this machine."""
    try:
        import boto3
        from moto.server import ThreadedMotoServer
    except ImportError as missing:
        give_up(f"{missing.name} is not installed")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    boto3.client("s3").create_bucket(Bucket="photos")
    yield "s3://photos"
    server.stop()


@pytest.fixture(scope="module")
def nodes(environment: pytest.MonkeyPatch, objects: str, give_up: Callable[[str], Any]) -> Iterator[Any]:
    """A cluster of two nodes with a core each, beside the head, which has none."""
    try:
        from ray.cluster_utils import Cluster
    except ImportError as missing:
        give_up(f"{missing.name} is not installed")
    head = NODE | {"num_cpus": 0, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(**NODE)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_pictures(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def plain(photos: Path, tiny_lite: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the command makes of the photos without a cluster."""
    out = tmp_path_factory.mktemp("plain")
    enhancer = mirnet.Enhancer(tiny_lite, threads=1)
    for job in planning.plan([photos], out, recursive=True):
        job.target.parent.mkdir(exist_ok=True)
        enhancer.enhance_file(job.source, job.target, Settings())
    return contents(out)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def run(nodes: Any, tiny_lite: Path, photos: Path, tmp_path: Path) -> Callable[..., list[Outcome]]:
    """Enhances the photos on the two nodes, into tmp_path/out; `noting` is called with each outcome."""

    def enhance(noting: Callable[[Outcome], Any] = lambda outcome: None, **said: Any) -> list[Outcome]:
        told = []
        with ray_backend.open_ray_backend(
            nodes.address, EnhancerOptions(tiny_lite, threads=1), Settings(), **said
        ) as backend:
            for outcome in backend.run(planning.plan([photos], tmp_path / "out", recursive=True)):
                told.append(outcome)
                noting(outcome)
        return told

    return enhance


def whose(outcomes: list[Outcome]) -> list[str]:
    return sorted(outcome.job.source.name for outcome in outcomes)


# The same as without -------------------------------------------------------------------------------------------------


def test_a_cluster_does_what_one_process_does_and_goes_on_where_it_stopped(
    command, nodes, photos, plain, tiny_lite, tmp_path, monkeypatch
):
    (photos / "broken.jpg").write_bytes(b"no picture")
    monkeypatch.chdir(photos.parent)  # the nodes work elsewhere

    def enhance(out: str, *more: str) -> Any:
        names = [photos.name, "-o", tmp_path / out, "-r", "--report", tmp_path / f"{out}.jsonl", "--weights", tiny_lite]
        return command("enhance", *names, "--threads", "1", *more)

    try:
        here = enhance("here")
        there = enhance("there", "--ray", nodes.address)
        again = enhance("there", "--ray", nodes.address)
    finally:
        (photos / "broken.jpg").unlink()
    assert contents(tmp_path / "here") == contents(tmp_path / "there") == plain
    assert (there.code, there.err) == (here.code, here.err)
    assert told(there.out, "there") == told(here.out, "here")
    assert reported(tmp_path / "there.jsonl", "there")[:9] == reported(tmp_path / "here.jsonl", "here")
    assert (again.code, again.err) == (1, here.err)
    assert again.out == "0 enhanced, 8 there already (--overwrite replaces them), 1 failed\n"


def told(out: str, folder: str) -> list[str]:
    """Lines without their seconds, in an order of their own."""
    return sorted(re.sub(r"[\d.]+ s\b.*", "", line).replace(f"/{folder}/", "/") for line in out.splitlines())


def reported(path: Path, folder: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().replace(f"/{folder}/", "/").splitlines()]
    return sorted(({**line, "seconds": 0, "when": ""} for line in lines[:9]), key=lambda line: line["source"])


def test_objects_are_read_and_written_where_the_network_is(command, nodes, objects, photos, plain, tiny_lite, tmp_path):
    import boto3

    client = boto3.client("s3")
    for name, content in contents(photos).items():
        client.put_object(Bucket="photos", Key=f"in/{name}", Body=content)
    client.put_object(Bucket="photos", Key="in/.hidden.png", Body=b"no picture")

    def enhance() -> Any:
        return command("enhance", f"{objects}/in", "-o", f"{objects}/out", "-r", "--ray", nodes.address, "--weights",
                       tiny_lite, "--report", tmp_path / "r.jsonl")  # fmt: skip

    assert (enhance().code, enhance().out) == (0, "0 enhanced, 8 there already (--overwrite replaces them)\n")
    keys = [each["Key"] for each in client.list_objects_v2(Bucket="photos", Prefix="out/")["Contents"]]
    made = {key.removeprefix("out/"): client.get_object(Bucket="photos", Key=key)["Body"].read() for key in keys}
    assert made == plain
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    sizes = {(line["source"], line["output"]): (line["bytes"], line["output_bytes"]) for line in lines}
    assert sizes == {
        (f"{objects}/in/{name}", f"{objects}/out/{name}"): (len(content), len(plain[name]))
        for name, content in contents(photos).items()
    }


def test_an_object_that_is_missing_or_no_picture_is_told_by_its_url(objects, tmp_path):
    import fsspec

    fsspec.filesystem("s3").pipe("photos/bad/a.png", b"no picture")
    done = partial(
        object_urls.process_copies,
        overwrite=False,
        work=lambda job: Outcome(job, error=PictureError(f"{job.source}: no")),
    )
    url = object_urls.path_of(Path(f"{objects}/bad/a.png"))
    assert str(done(BatchJob(url, tmp_path / "a.png")).error) == f"{objects}/bad/a.png: no"
    missing = done(BatchJob(url.with_name("b.png"), tmp_path / "b.png")).error
    assert str(missing) == f"{objects}/bad/b.png: there is no such object; check the URL."


def test_one_core_without_an_address_is_enough_and_nothing_stays(photos, plain, tiny_lite, tmp_path):
    before = set(Path("/tmp").glob("mirnet-ray-*"))
    core = min(os.sched_getaffinity(0))
    done = subprocess.run(
        [sys.executable, "-m", "mirnet", "enhance", "--ray", photos, "-o", tmp_path, "-r", "--weights", tiny_lite],
        preexec_fn=lambda: os.sched_setaffinity(0, {core}), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("8 enhanced; ")
    assert contents(tmp_path) == plain
    assert set(Path("/tmp").glob("mirnet-ray-*")) == before


# Whoever is killed ---------------------------------------------------------------------------------------------------


def fragile(dies: Callable[[Any], Any]) -> type:
    """A worker that `dies(files)` with the unlucky picture, the first time; made here, so that it travels whole."""

    class Fragile(ray_worker.Worker):
        def enhance(self, job: BatchJob, again: bool) -> Outcome:
            import mirnet.files

            if job.source.name == UNLUCKY and not again:
                dies(mirnet.files)
            return super().enhance(job, again)

    return Fragile


def while_writing(files: Any) -> None:
    files._move = lambda draft, path, overwrite: os.kill(os.getpid(), signal.SIGKILL)


def after_writing(files: Any) -> None:
    move = files._move

    def move_and_die(draft: Path, path: Path, overwrite: bool) -> None:
        move(draft, path, overwrite)
        if path.name == UNLUCKY:
            os.kill(os.getpid(), signal.SIGKILL)

    files._move = move_and_die


@pytest.fixture
def by_value() -> Iterator[None]:
    """Functions of this file travel whole, since the nodes cannot import it."""
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.parametrize("dies", [while_writing, after_writing])
def test_a_killed_worker_loses_and_doubles_nothing(run, plain, tmp_path, monkeypatch, by_value, dies):
    monkeypatch.setattr(ray_backend, "Worker", fragile(dies))
    outcomes = run()
    assert whose(outcomes) == sorted(Path(name).name for name in plain)
    assert not any(outcome.failed for outcome in outcomes)
    assert contents(tmp_path / "out") == plain  # and no draft
    unlucky = next(outcome for outcome in outcomes if outcome.job.source.name == UNLUCKY)
    assert unlucky.skipped == (dies is after_writing)


def test_a_killed_node_loses_and_doubles_nothing(nodes, run, plain, tmp_path):
    third = nodes.add_node(**NODE)
    kills = iter([lambda: nodes.remove_node(third, allow_graceful=False)])
    outcomes = run(lambda outcome: next(kills, lambda: None)(), at_once=1)
    assert whose(outcomes) == sorted(Path(name).name for name in plain)
    assert not any(outcome.failed for outcome in outcomes)
    assert contents(tmp_path / "out") == plain


def test_a_picture_that_kills_whoever_has_it_is_given_up_and_the_others_are_done(
    run, plain, tmp_path, monkeypatch, by_value
):
    class Killed(ray_worker.Worker):
        def enhance(self, job: BatchJob, again: bool) -> Outcome:
            if job.source.name == UNLUCKY:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().enhance(job, again)

    monkeypatch.setattr(ray_backend, "Worker", Killed)
    monkeypatch.setattr(ray_backend, "ATTEMPTS", 2)
    outcomes = run(at_once=1)
    (failed,) = (outcome for outcome in outcomes if outcome.failed)
    assert str(failed.error).startswith(f"{failed.job.source}: 2 workers were killed while they had it")
    assert failed.job.source.name == UNLUCKY
    assert whose(outcomes) == sorted(Path(name).name for name in plain)


def test_leaving_early_leaves_whole_pictures_alone(nodes, photos, plain, tiny_lite, tmp_path):
    with (
        ray_backend.open_ray_backend(nodes.address, EnhancerOptions(tiny_lite, threads=1), Settings()) as backend,
        closing(backend.run(planning.plan([photos], tmp_path, recursive=True))) as outcomes,
    ):
        next(outcomes)
    made = contents(tmp_path)
    assert made
    assert made == {name: plain[name] for name in made}


# What is answered before any work ------------------------------------------------------------------------------------


def test_nodes_of_another_version_are_refused(run, monkeypatch):
    monkeypatch.setattr(ray_backend, "EnhancementRecipe", partial(ray_worker.EnhancementRecipe, version="0.0.1"))
    with pytest.raises(
        SettingsError, match=r"The node .* has mirnet .*, and the command is of 0\.0\.1; install the same"
    ):
        run()


def test_a_node_without_the_files_says_so(tiny_lite, tmp_path):
    weights = find(tiny_lite)
    recipe = ray_worker.EnhancementRecipe("tiny", weights.card.sha256, "openvino", "cpu", False, Settings())
    alone = ray_worker.Worker(recipe, lambda: ray_worker.read_weight_files(weights), 1)
    outcome = alone.enhance(BatchJob(tmp_path / "a.png", tmp_path / "b.png"), False)
    assert str(outcome.error).startswith(f"{tmp_path}/a.png: is not there on the node ")


def test_a_photo_to_match_travels_once_and_comes_back_with_no_report(run, nodes, tiny_lite, photos, tmp_path):
    settings = Settings(match=photos / "a.png")
    with ray_backend.open_ray_backend(nodes.address, EnhancerOptions(tiny_lite, threads=1), settings) as backend:
        (outcome,) = backend.run([BatchJob(photos / "b.png", tmp_path / "b.png")])
    assert outcome.report is not None
    assert outcome.report.settings.match == (photos / "a.png").read_bytes()
    assert "matched" in outcome.report.settings.described()


@pytest.mark.parametrize(
    ("address", "said"),
    [("127.0.0.1:1", "no Ray answers there"), ("ray://127.0.0.1:10001", "expected host:port")],
)
def test_a_wrong_address_is_told(command, environment, photos, tmp_path, address, said):
    done = command("enhance", photos, "-o", tmp_path / "out", "--ray", address)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"mirnet: --ray {address}: {said}")
    assert not (tmp_path / "out").exists()


def test_a_server_that_is_no_ray_is_told(command, environment, photos, tmp_path):
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def greet() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"220 mail here\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        done = command("enhance", photos, "-o", tmp_path / "out", "--ray", f"127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert done.code == 2
    assert "no Ray answers there" in done.err


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (["IN", "--ray"], None), (["--ray", "IN"], None), (["--ray", "-o", "OUT", "IN"], None),
        (["--ray", "10.0.0.1:6379", "IN"], "10.0.0.1:6379"), (["IN", "--ray=head:6379"], "head:6379"),
        (["--ray", "auto", "IN"], "auto"),
    ],
)  # fmt: skip
def test_the_address_may_be_left_out_wherever_the_option_stands(
    command, photos, tmp_path, monkeypatch, arguments, address
):
    asked = []

    def opened(address: str | None, *ignored: Any, **options: Any) -> Any:
        asked.append(address)
        raise SettingsError("enough")

    monkeypatch.setattr(ray_backend, "open_ray_backend", opened)
    names = {"IN": photos, "OUT": tmp_path / "out"}
    assert command("enhance", *(names.get(each, each) for each in arguments)).err == "mirnet: enough\n"
    assert asked == [address]


def test_a_missing_extra_is_answered_with_the_line_that_installs_it(command, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = command("enhance", photos, "-o", tmp_path, "--ray")
    assert done.code == 2
    assert 'pip install "mirnet[ray]"' in done.err


def test_urls_need_ray_and_a_protocol_that_all_machines_know(command, photos, tmp_path):
    assert "s3://bucket/in: is not a file of this machine; --ray" in command("enhance", "s3://bucket/in").err
    told = command("enhance", "memory://in", "-o", tmp_path, "--ray").err
    assert told.startswith("mirnet: memory://in: memory:// is nothing that all machines could reach")


def test_workers_are_as_many_as_cores_or_gpus_ask_for():
    def shares(device: str = "cpu", threads: int | None = None, **resources: float) -> list[tuple[int, int]]:
        ray = SimpleNamespace(nodes=lambda: [{"Alive": True, "NodeID": "n", "Resources": resources},
                                             {"Alive": False, "NodeID": "m", "Resources": {"CPU": 9.0}}])  # fmt: skip
        backend = ray_backend.RayBackend.__new__(ray_backend.RayBackend)
        backend._ray, backend._threads = ray, threads
        backend._recipe = SimpleNamespace(device=device)
        return [share for _, share in backend._shares()]

    assert shares(CPU=1.0) == [(1, 0)]
    assert shares(CPU=10.0) == [(3, 0), (3, 0), (4, 0)]
    assert shares(CPU=5.0, threads=2) == [(2, 0), (3, 0)]
    assert shares(memory=1.0) == []
    assert shares("cuda", CPU=8.0, GPU=2.0) == [(4, 1), (4, 1)]
    assert shares("cuda", CPU=8.0) == []
