"""Measures the speed of two Ray nodes and the effect of kills: `python benchmarks/ray_nodes.py`.

A cluster of two nodes with one core each, both on this machine: two workers with one thread each against one of them,
over the same images, in turns, after a round to warm up. Then a worker's process, and a node, are killed while they
work: *lost* are images without a result or with another one than the plain command's, *doubled* are those with two
outcomes. Prints Markdown; the exit code is 1 if anything is lost or doubled. On two idle cores it takes about a minute
and a half.
"""

import argparse
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

# read by Ray when it is imported: no statistics, loopback alone, no words on workers that we kill; and by numpy, as in
# the plain command: sums of BLAS depend on its threads
os.environ |= {"OPENBLAS_NUM_THREADS": "1",
               "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
               "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}  # fmt: skip

import numpy as np
from ray.cluster_utils import Cluster

import mirnet
from mirnet.batch import jobs, planning, ray_backend, ray_cluster
from mirnet.batch.backend import EnhancerOptions
from mirnet.inference.runtimes import cores
from mirnet.inference.settings import Settings

NODE = {"num_cpus": 1, "object_store_memory": ray_cluster.OBJECT_STORE_BYTES}


def make_photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 80, (400, 600, 3), np.uint8)
        mirnet.write_image(folder / f"{number:03}.jpg", pixels)
    return folder


def only(backend: ray_backend.RayBackend, workers: int) -> None:
    """Limits the backend to so many workers."""
    shares = list(backend._shares())[:workers]
    backend._shares = lambda: shares  # type: ignore[method-assign, assignment, return-value]


def ready(backend: ray_backend.RayBackend) -> list[object]:
    """The workers that have loaded their network."""
    return [member for member in backend._members.values() if member.opening is None]


def seconds(backend: ray_backend.RayBackend, photos: Path, out: Path) -> float:
    shutil.rmtree(out, ignore_errors=True)
    begin = time.monotonic()
    failed = [outcome for outcome in backend.run(planning.plan([photos], out)) if not outcome.report]
    assert not failed, failed
    return time.monotonic() - begin


def speed(address: str, photos: Path, out: Path, rounds: int) -> None:
    times: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(rounds + 1):
        for workers in times:
            with ray_backend.open_ray_backend(address, EnhancerOptions(threads=1), Settings(), at_once=1) as backend:
                only(backend, workers)
                few = planning.plan([photos], out)[: 2 * workers]
                all_ready = False
                while not all_ready:  # warm: once more after all have loaded, so that each has enhanced an image
                    all_ready = len(ready(backend)) == workers
                    shutil.rmtree(out, ignore_errors=True)
                    list(backend.run(few))
                taken = seconds(backend, photos, out)
            if turn:
                times[workers].append(taken)
    one, two = (statistics.median(times[workers]) for workers in (1, 2))
    print(f"\n| workers of one thread | seconds for {len(list(photos.iterdir()))} images of 600x400, each round |")
    print("|---|---|")
    for workers, taken in times.items():
        print(f"| {workers} | {', '.join(f'{each:.2f}' for each in taken)} |")
    print(f"\nTwo against one: {one / two:.2f} times (medians).")


def kill_worker(nodes: Cluster) -> None:
    workers = subprocess.run(["pgrep", "-f", "^ray::Worker.enhance"], capture_output=True, text=True).stdout.split()
    os.kill(int(workers[0]), signal.SIGKILL)


def kill_node(nodes: Cluster) -> None:
    nodes.remove_node(nodes.worker_nodes and sorted(nodes.worker_nodes, key=str)[0], allow_graceful=False)


def kills(nodes: Cluster, photos: Path, plain: dict[str, bytes], out: Path) -> bool:
    print("\n| killed during the run | images | lost | doubled | temporary files left |\n|---|---|---|---|---|")
    good = True
    for what, kill in (("nothing", None), ("a worker", kill_worker), ("a node", kill_node)):
        shutil.rmtree(out, ignore_errors=True)
        with ray_backend.open_ray_backend(nodes.address, EnhancerOptions(threads=1), Settings()) as backend:
            told: Counter[str] = Counter()
            for outcome in backend.run(planning.plan([photos], out)):
                told[outcome.job.source.name] += not outcome.failed
                if kill and sum(told.values()) == 3:
                    kill(nodes)
                    kill = None
        made = {path.name: path.read_bytes() for path in out.iterdir()}
        lost = sum(made.get(name) != content or not told[name] for name, content in plain.items())
        doubled, drafts = sum(count > 1 for count in told.values()), len(made.keys() - plain.keys())
        print(f"| {what} | {len(plain)} | {lost} | {doubled} | {drafts} |", flush=True)
        good &= not (lost or doubled or drafts)
    return good


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pictures", type=int, default=24)
    options.add_argument("--rounds", type=int, default=3)
    said = options.parse_args()
    print(f"mirnet {mirnet.__version__}, {cores()} cores, {platform.processor() or platform.machine()}, Ray, "
          f"{time.strftime('%Y-%m-%d')}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        photos, out = make_photos(Path(folder) / "photos", said.pictures), Path(folder) / "out"
        enhancer = mirnet.Enhancer(threads=1)
        list(jobs.run(planning.plan([photos], out), enhancer, Settings()))
        plain = {path.name: path.read_bytes() for path in out.iterdir()}
        head = NODE | {"num_cpus": 0, "include_dashboard": False, "node_ip_address": "127.0.0.1"}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            nodes.add_node(**NODE)
        try:
            speed(nodes.address, photos, out, said.rounds)
            return 0 if kills(nodes, photos, plain, out) else 1
        finally:
            nodes.shutdown()


if __name__ == "__main__":
    sys.exit(main())
