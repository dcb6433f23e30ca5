"""The container and the systemd unit hold what they say, as far as that can be seen without Docker and systemd."""

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from sample_pictures import pillow_bytes, smooth
from serving import Patient, running

READ_ONLY = """
set -e
mount --make-rprivate /
for place in $(awk '{print $5}' /proc/self/mountinfo | sort -r); do
    case $place in /proc* | /sys* | /dev | /dev/pts) ;; *) mount -o remount,bind,ro "$place" ;; esac
done
! touch "$0" 2>/dev/null
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


@pytest.fixture(scope="module")
def dockerfile() -> list[list[str]]:
    """The instructions of the Dockerfile, their lines joined, as words."""
    text = (Path(__file__).resolve().parent.parent / "Dockerfile").read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def arguments(dockerfile: list[list[str]], name: str) -> list[str]:
    """What stands behind the last instruction of that name."""
    return [words[1:] for words in dockerfile if words[0] == name][-1]


def listed(words: list[str]) -> list[str]:
    """`["mirnet", "serve"]` of an instruction, as the words it holds."""
    return [str(word) for word in yaml.safe_load(" ".join(words))]


def help_of_serve() -> str:
    command = (sys.executable, "-m", "mirnet", "serve", "--help")
    wide = {"COLUMNS": "200", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=wide).stdout


def test_the_container_runs_as_nobody_and_starts_a_service_that_can_be_reached(dockerfile: list[list[str]]) -> None:
    users = [words[1] for words in dockerfile if words[0] == "USER"]
    assert len(users) == 1
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[0])
    program, verb, *options = listed(arguments(dockerfile, "ENTRYPOINT"))
    assert (program, verb) == ("mirnet", "serve")
    assert options == ["--host", "0.0.0.0"]
    assert re.search(rf"--port .*{arguments(dockerfile, 'EXPOSE')[0]}", help_of_serve().replace("\n", " "))


def test_the_container_copies_what_is_there_and_not_ignored(repository: Path, dockerfile: list[list[str]]) -> None:
    sources = [
        source for words in dockerfile if words[0] == "COPY" and "--from" not in words[1] for source in words[1:-1]
    ]
    kept = [line[1:] for line in (repository / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(sources) == sorted(kept)
    assert [source for source in sources if not (repository / source).exists()] == []


def test_nothing_that_the_wheel_needs_is_ignored(repository: Path) -> None:
    lines = (repository / ".dockerignore").read_text().splitlines()
    ignored = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    lost = [file.name for file in (repository / "src").rglob("*") if any(fnmatch(file.name, each) for each in ignored)]
    assert {Path(name).suffix for name in lost} <= {"", ".safetensors"}  # __pycache__, and what training begins with


def test_the_container_s_health_check_asks_the_service(dockerfile: list[list[str]]) -> None:
    words = arguments(dockerfile, "HEALTHCHECK")
    python, option, program = listed(words[words.index("CMD") + 1 :])
    assert (python, option) == ("python", "-c")
    assert "http://127.0.0.1:7411/healthz" in program

    def check_health(port: int) -> int:
        elsewhere = program.replace("7411", str(port))
        return subprocess.run([sys.executable, "-c", elsewhere], capture_output=True, check=False).returncode

    with running(lambda path: Patient()) as served:
        assert check_health(served.port) == 0
    assert check_health(served.port) != 0  # the service has ended


def test_compose_denies_the_container_what_it_does_not_need(repository: Path) -> None:
    service: dict[str, Any] = yaml.safe_load((repository / "compose.yaml").read_text())["services"]["mirnet"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "tmpfs" not in service
    assert "volumes" not in service
    assert service["mem_limit"]
    assert [port for port in service["ports"] if not port.startswith("127.0.0.1:")] == []
    assert service["environment"]["MIRNET_TOKEN"].startswith("${MIRNET_TOKEN:?")
    assert "MIRNET_TOKEN" in help_of_serve()
    assert int(service["stop_grace_period"].removesuffix("s")) > 10  # the service's own


def test_the_unit_is_one_that_systemd_understands(
    repository: Path, tmp_path: Path, require_tool: Callable[[str], str]
) -> None:
    analyze = require_tool("systemd-analyze")
    unit = tmp_path / "mirnet.service"
    there = (repository / "docs" / "mirnet.service").read_text().replace("/opt/mirnet/bin/mirnet", sys.executable)
    unit.write_text(there)
    done = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if "mirnet.service" in line] == []


def test_the_unit_keeps_the_service_on_this_machine_and_from_writing(repository: Path) -> None:
    lines = (repository / "docs" / "mirnet.service").read_text().splitlines()
    assert {"DynamicUser=yes", "ProtectSystem=strict", "PrivateTmp=yes", "NoNewPrivileges=yes", "IPAddressDeny=any",
            "IPAddressAllow=localhost", "CapabilityBoundingSet="} <= set(lines)  # fmt: skip
    command = next(line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart="))
    assert shlex.split(command)[1:] == ["serve"]
    assert not any(line.startswith("MemoryDenyWriteExecute=yes") for line in lines)  # OpenVINO compiles


def test_the_service_works_where_nothing_can_be_written(
    tmp_path: Path, require_root: Callable[[], None], require_tool: Callable[[str], str]
) -> None:
    """As in the container: a read-only file system, no capabilities, no new ones."""
    require_root()
    tried = subprocess.run([require_tool("unshare"), "--mount", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"the kernel forbids mounts of one process: {tried.stderr.strip()}")
    serve = (sys.executable, "-m", "mirnet", "serve", "--port", "0")
    command = ("unshare", "--mount", "sh", "-c", READ_ONLY, tmp_path, *serve)
    environment = {"PATH": os.environ["PATH"], "MIRNET_CACHE": "", "PYTHONUNBUFFERED": "1", "HOME": "/nowhere"}
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert running.stdout is not None
        found = re.search(r"http://[\d.:]+/", running.stdout.readline())
        assert found, running.communicate()[1]
        photo = pillow_bytes(smooth() // 6, "JPEG")
        asked = urllib.request.Request(f"{found[0]}v1/enhance", photo, {"Content-Type": "image/jpeg"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert answer.status == 200
            assert answer.read() != photo
        running.terminate()
        assert running.wait(20) == 0
    finally:
        running.kill()
        running.communicate()
