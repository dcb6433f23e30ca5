"""What every test may use: a way to ask for an outside tool, and no network."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

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
