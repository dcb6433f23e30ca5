"""Connecting to a Ray cluster, or starting one of this machine's cores."""

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mirnet.errors import SettingsError
from mirnet.extras import needs
from mirnet.inference.runtimes import cores

ADDRESS_SECONDS = 5.0
LOOPBACK = ("127.", "localhost:", "[::1]")
EMPTY_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # a frame of HTTP/2, which Ray speaks; its fourth byte says what
OBJECT_STORE_BYTES = 80 * 2**20  # the least that Ray takes: it holds weights, no image


@contextmanager
def connect_to_ray(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at `address`; None for one of this machine's cores, while it lasts.

    The address is host:port, or "auto" on a machine of the cluster. Raises SettingsError.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves this machine
    if address is None or address.startswith(LOOPBACK):  # nor is it open to others: Ray would take an outer address
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # whose name tells where it does so unasked
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")  # it prints of each lost worker; we go on without a word
    with needs("ray", who="--ray"):
        import ray
    if address is not None and address != "auto":
        _check_address(address)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "include_dashboard": None}
    folder = None
    terminated = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            # not TMPDIR: a socket's path may have 107 letters at most
            folder = tempfile.mkdtemp(prefix="mirnet-ray-", dir="/tmp" if Path("/tmp").is_dir() else None)
            quiet |= {"include_dashboard": False}
            ray.init(num_cpus=cores(), object_store_memory=OBJECT_STORE_BYTES, _temp_dir=folder,
                     **quiet)  # fmt: skip
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        raise SettingsError(f"--ray {address or ''}: no cluster could be joined ({error}).") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)  # Ray takes it for itself
    try:
        yield ray
    finally:
        ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _check_address(address: str) -> None:
    """Raises SettingsError where no Ray answers: Ray itself would try for minutes and report it in its own words."""
    host, _, port = address.rpartition(":")
    if "//" in address or not host or not port.isdigit():
        raise SettingsError(
            f'--ray {address}: expected host:port, as `ray start --head` says it, or "auto"; the command runs on a '
            "machine of the cluster (a ray:// address, of clients from outside, is none)."
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ADDRESS_SECONDS) as knocking:
            knocking.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + EMPTY_SETTINGS)
            answer = knocking.recv(4)
            if answer[3:] != EMPTY_SETTINGS[3:4] and not os.environ.get("RAY_USE_TLS"):
                raise OSError("something else than Ray")
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"--ray {address}: no Ray answers there ({error}); check the address, or start one (`ray start --head`)."
        ) from error
