"""Compiled networks are kept for the next start: nothing else, nothing that can do harm, and nothing that must be."""

import errno
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import mirnet
from mirnet.inference import catalog
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.runtimes import OpenVINORuntime, compiled_cache, graph_rewriting


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIRNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled" / mirnet.__version__


@pytest.fixture
def never_compiled(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Once asked for, whoever compiles a network fails."""

    def compiles(*ignored: object) -> None:
        raise AssertionError("compiled, and not read from the cache")

    for part in ("survey", "render", "head"):
        monkeypatch.setitem(graph_rewriting.BUILDERS, part, compiles)
    return monkeypatch


def opened(path: Path) -> OpenVINORuntime:
    weights = catalog.read(path)
    return OpenVINORuntime(weights.read_verified(), weights.card.scene_size, threads=1)


def proposed(runtime: OpenVINORuntime) -> np.ndarray:
    return runtime.propose(np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32))


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def whole(content: bytes) -> bool:
    return content[:32] == hashlib.sha256(content[32:]).digest()


def test_a_second_start_compiles_nothing_and_answers_the_same(tiny_lite, folder, request):
    first = proposed(opened(tiny_lite))
    assert len(kept(folder)) == 2
    request.getfixturevalue("never_compiled")
    np.testing.assert_array_equal(proposed(opened(tiny_lite)), first)


def test_other_threads_precisions_and_networks_are_other_files(tiny_lite, tiny_published, folder):
    opened(tiny_lite)
    weights = catalog.read(tiny_lite)
    OpenVINORuntime(weights.read_verified(), weights.card.scene_size, threads=2)
    OpenVINORuntime(weights.read_verified(), weights.card.scene_size, threads=1, precision="bf16")
    opened(tiny_published)
    assert len(kept(folder)) == 4


@pytest.mark.parametrize("damage", [lambda x: b"", lambda x: x[:-1], lambda x: x[:-9] + bytes([x[-9] ^ 1]) + x[-8:],
                                    lambda x: b"\0" * 32 + x[32:], lambda x: x + b"\0"])  # fmt: skip
def test_a_damaged_file_is_not_believed_and_is_replaced(tiny_lite, folder, damage):
    expected = proposed(opened(tiny_lite))
    for path in folder.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    assert not any(whole(content) for content in kept(folder).values())
    np.testing.assert_array_equal(proposed(opened(tiny_lite)), expected)
    assert all(whole(content) for content in kept(folder).values())


def test_what_openvino_cannot_read_is_compiled_again(tiny_lite, folder):
    expected = proposed(opened(tiny_lite))
    for path in folder.iterdir():  # whole by its digest, and no network
        path.write_bytes(hashlib.sha256(b"no network").digest() + b"no network")
    np.testing.assert_array_equal(proposed(opened(tiny_lite)), expected)


def test_a_cache_that_is_deleted_meanwhile_is_missed_by_nobody(tiny_lite, folder):
    runtime = opened(tiny_lite)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    assert proposed(runtime).shape == (1, 1, 8, 12)


def test_a_cache_that_cannot_be_written_is_missed_by_nobody(tiny_lite, folder, monkeypatch):
    folder.parent.parent.write_bytes(b"a file where the folder should be")
    proposed(opened(tiny_lite))
    folder.parent.parent.unlink()

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(compiled_cache, "write_whole", full)
    proposed(opened(tiny_lite))
    assert kept(folder) == {}


def test_two_that_start_at_once_do_not_disturb_each_other(tiny_lite, folder):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda path: proposed(opened(path)), [tiny_lite] * 4))
    for result in results:
        np.testing.assert_array_equal(result, results[0])
    assert len(kept(folder)) == 2
    assert all(path.suffix == ".blob" for path in folder.iterdir())


def test_what_other_releases_kept_and_what_is_oldest_is_forgotten(folder):
    old = folder.parent / "0.0.1"
    old.mkdir(parents=True)
    (old / "a.blob").write_bytes(b"old")
    for number in range(compiled_cache.MAX_FILES + 3):
        compiled_cache.store(str(number), b"compiled")
    assert not old.exists()
    assert len(kept(folder)) == compiled_cache.MAX_FILES
    assert compiled_cache.load(str(compiled_cache.MAX_FILES + 2)) == b"compiled"


def test_nothing_of_a_picture_is_kept(tiny_lite, folder):
    random = np.random.default_rng(0)
    Enhancer(tiny_lite, threads=1).enhance(random.integers(0, 60, (33, 47, 3), dtype=np.uint8))
    before = kept(folder)
    Enhancer(tiny_lite, threads=1).enhance(random.integers(0, 255, (64, 31, 3), dtype=np.uint8))
    assert kept(folder) == before


def test_an_empty_variable_turns_it_off(monkeypatch):
    monkeypatch.setenv("MIRNET_CACHE", "")
    assert compiled_cache.cache_folder() is None
    compiled_cache.store("a", b"compiled")
    assert compiled_cache.load("a") is None


@pytest.mark.parametrize(
    ("platform", "environment", "place"),
    [
        ("linux", {}, "home/.cache/mirnet"),
        ("linux", {"XDG_CACHE_HOME": "caches"}, "caches/mirnet"),
        ("darwin", {}, "home/Library/Caches/mirnet"),
        ("win32", {"LOCALAPPDATA": "local"}, "local/mirnet"),
    ],
)
def test_it_lies_in_the_users_cache_folder(monkeypatch, tmp_path, platform, environment, place):
    monkeypatch.delenv("MIRNET_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(compiled_cache.sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    for name, value in environment.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert compiled_cache.cache_folder() == tmp_path / place / "compiled" / mirnet.__version__


def test_openvinos_converter_is_not_loaded_but_stays_for_who_asks():
    """In a process of its own: here somebody may have imported it before us."""
    code = (
        "import sys\nfrom mirnet.inference.runtimes.openvino_runtime import import_openvino\nimport_openvino()\n"
        "assert not any(name.startswith('openvino.tools.ovc') for name in sys.modules), 'loaded'\n"
        "from openvino.tools.ovc import convert_model\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
