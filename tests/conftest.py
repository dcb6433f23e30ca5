"""What every test may use: a way to ask for an outside tool, weights without training, and no network."""

import functools
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

# Before numpy and torch read it, here and in the processes of tests: on tiny pictures threads wait for one another.
os.environ.update({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"})

import numpy as np
import pytest
import torch
import typer

from mirnet.inference.catalog import Card, Weights

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture
def repository() -> Path:
    """The root of the working tree; a test reads there, and never writes."""
    return REPOSITORY


@pytest.fixture(scope="session")
def give_up() -> Callable[[str], NoReturn]:
    """Call it with a reason when a tool is missing: the test is skipped, in `.ci/run` it fails."""
    return _give_up


@pytest.fixture(scope="session")
def require_root() -> Callable[[], None]:
    """Call it where only root can do what follows: the test is skipped, in `.ci/run` it fails."""

    def require() -> None:
        if os.geteuid() != 0:
            _give_up("only root can do this")

    return require


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Call it with a program's name: its path, or the test is skipped; in `.ci/run` it fails."""
    return _require_tool


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("MIRNET_TOOLS_REQUIRED"):
        pytest.fail(f"{reason} (a failure, since MIRNET_TOOLS_REQUIRED is set)")
    pytest.skip(reason)


def _require_tool(program: str) -> str:
    path = shutil.which(program)
    return path or _give_up(f"{program} is not installed; scripts/test installs it where it runs as root")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that reaches for another machine fails; sockets on this machine are let through."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        here = self.family == socket.AF_UNIX or (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1"))
        if not here:
            raise AssertionError(f"a test tried to connect to {address}; tests need no network")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled networks of tests are kept nowhere; the tests of the cache choose a folder."""
    monkeypatch.setenv("MIRNET_CACHE", "")


@pytest.fixture(scope="session", autouse=True)
def _no_fsync() -> Iterator[None]:
    """Nobody pulls a plug here, and waiting for the disk takes as long as many a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture
def tiny_disk(tmp_path: Path, require_root: Callable[[], None]) -> Iterator[Callable[..., Path]]:
    """Mounts a file system of so many bytes ("4k") at a folder of tmp_path, and gives its path."""
    mounted: list[Path] = []

    def mount(size: str, name: str = "disk") -> Path:
        require_root()
        disk = tmp_path / name
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the kernel forbids to mount a tiny disk: {done.stderr.strip()}")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)


# Weights without training --------------------------------------------------------------------------------------------


class FakeRuntime:
    """A network that one can compute by hand, and that looks at the whole picture as ours do.

    Restored is a 3x3 mean of the exposed picture plus half of what its scene, the mean of each colour, lies over 0.3.
    Proposed are 1.5 stops at the left edge of the upright picture, and 2.5 at the right one.
    """

    precision = "f32"

    def __init__(self, *ignored: Any) -> None:
        self.calls: list[tuple[int, ...]] = []

    def restore(
        self, image: np.ndarray, stops: np.ndarray | None, scene_vector: np.ndarray | None, should_stop: Any = None
    ) -> Any:
        self.calls.append(image.shape)
        used = image.mean((0, 2, 3)) if scene_vector is None else scene_vector
        held = np.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
        height, width = image.shape[2:]
        mean = sum(held[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3)) / 9
        return mean + 0.5 * (used.reshape(1, 3, 1, 1) - 0.3), used.astype(np.float32)

    def propose(self, thumbnail: np.ndarray) -> np.ndarray:
        rows, columns = (side // 8 for side in thumbnail.shape[2:])
        return np.broadcast_to(np.linspace(1.5, 2.5, columns, dtype=np.float32), (1, 1, rows, columns))


@pytest.fixture
def fake_runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def fake_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes an ONNX file that only a `fake_runtime` runs, with a good card; keywords go to the card."""

    def make(**said: Any) -> Path:
        path = tmp_path_factory.mktemp("fake") / "fake.onnx"
        path.write_bytes(b"no network")
        card = {
            "name": "fake", "architecture": "lite", "config": {}, "sha256": hashlib.sha256(b"no network").hexdigest(),
            "takes_exposure": True, "size_multiple": 8, "overlap_px": 8, "scene_size": 3, "parameters": 0,
            "kflop_per_px": 0.0,
        }  # fmt: skip
        path.with_suffix(".json").write_text(Card(**(card | said)).to_json())
        return path

    return make


@pytest.fixture
def fake_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every `Enhancer` runs a `FakeRuntime`, also inside the command line."""

    def open_fake(name: str, weights: Weights, *ignored: Any) -> FakeRuntime:
        weights.read_verified()
        return FakeRuntime()

    monkeypatch.setattr("mirnet.inference.enhancer.open_runtime", open_fake)


@pytest.fixture(scope="session")
def tiny_lite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder's worth of `lite`: small, untrained, exported (once, since that takes a while) as tiny.onnx."""
    import torch

    from mirnet.export.onnx_export import export
    from mirnet.network import Lite, LiteConfig, checkpoints

    folder = tmp_path_factory.mktemp("lite")
    torch.set_num_threads(1)  # small networks gain nothing from more, and on a busy machine threads wait for each other
    torch.manual_seed(0)
    network = Lite(LiteConfig(features=8, head_features=4))
    with torch.no_grad():
        network.head.number[-1].bias.add_(2.0)  # two stops, more or less, whatever it sees
    checkpoints.save(network, folder / "tiny.safetensors")
    return export(folder / "tiny.safetensors", folder / "tiny.onnx").onnx


@pytest.fixture(scope="session")
def tiny_published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MIRNet in the layout of the published checkpoints, exported as published.onnx: takes no exposure."""
    import torch

    from mirnet.export.onnx_export import export
    from mirnet.network import MIRNet, MIRNetConfig, published

    folder = tmp_path_factory.mktemp("published")
    torch.set_num_threads(1)  # as above
    torch.manual_seed(0)
    network = MIRNet(MIRNetConfig(features=8, rrgs=1, mrbs=1))
    weights = network.state_dict() | dict(network.named_buffers())  # published files hold the blur filters too
    entries = {published.published_name(name, network.config): tensor for name, tensor in weights.items()}
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in entries.items()}}, folder / "published.pth")
    return export(folder / "published.pth", folder / "published.onnx").onnx


# The command line, without a process of its own ----------------------------------------------------------------------


@dataclass
class Done:
    """What a command left: its exit code and what it said."""

    code: int
    out: str
    err: str


typers_commands = functools.cache(typer.main.get_command)  # made of all our functions at every start; here once


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Runs `mirnet ARGUMENTS…` in this process."""
    from mirnet.cli import main

    monkeypatch.setattr(typer.main, "get_command", typers_commands)

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["mirnet", *(str(argument) for argument in arguments)])
        with pytest.raises(SystemExit) as end:
            main.main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    before = signal.getsignal(signal.SIGINT)
    yield call
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """For tiny pictures: on a busy machine threads that wait for one another take many times as long."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
