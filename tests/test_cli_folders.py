"""Folders, pipes and a watch on the command line: what a person sees, and what other programs get."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_pictures import noise, pillow_bytes

import mirnet
from mirnet import images
from mirnet.inference.enhancer import Enhancer


@pytest.fixture
def weights(fake_weights, fake_networks) -> Path:
    return fake_weights()


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mirnet.write_image(path, np.random.default_rng(seed).integers(0, 90, (30, 41, 3), np.uint8))
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.jpg", "2024/b.png", "2024/may/c.jpg")):
        picture(tmp_path / "photos" / name, seed)
    return tmp_path / "photos"


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# Folders -------------------------------------------------------------------------------------------------------------


def test_the_same_command_again_goes_on_where_it_stopped(command, weights, photos, tmp_path):
    (photos / "2024/broken.png").write_bytes(b"no picture")
    arguments = (
        "enhance",
        photos,
        "-o",
        tmp_path / "out",
        "-r",
        "--report",
        tmp_path / "r.jsonl",
        "--weights",
        weights,
    )
    first = command(*arguments)
    assert (first.code, first.err.count("\n")) == (1, 1)
    assert first.err.startswith(f"mirnet: {photos}/2024/broken.png: expected a ")
    assert first.out.splitlines()[-1].startswith("3 enhanced, 1 failed; ")
    (tmp_path / "out/a.jpg").unlink()
    picture(tmp_path / "good.png").replace(photos / "2024/broken.png")
    again = command(*arguments)
    assert (again.code, again.err) == (0, "")
    assert again.out.splitlines()[-1].startswith("2 enhanced, 2 there already (--overwrite replaces them); ")
    assert len(again.out.splitlines()) == 3
    assert below(tmp_path / "out") == ["2024/b.png", "2024/broken.png", "2024/may/c.jpg", "a.jpg"]
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sorted((Path(line["source"]).name, line["status"]) for line in lines) == [
        ("a.jpg", "enhanced"), ("a.jpg", "enhanced"), ("b.png", "enhanced"), ("broken.png", "enhanced"),
        ("broken.png", "failed"), ("c.jpg", "enhanced"),
    ]  # fmt: skip


def test_shards_share_the_work_and_all_of_it(command, weights, photos, tmp_path):
    counts = []
    for shard in ("1/2", "2/2"):
        command("enhance", photos, "-o", tmp_path / "out", "-r", "--shard", shard, "--weights", weights)
        counts.append(len(below(tmp_path / "out")))
    assert below(tmp_path / "out") == ["2024/b.png", "2024/may/c.jpg", "a.jpg"]
    assert 0 < counts[0] < 3


def test_results_may_all_have_one_format(command, weights, photos, tmp_path):
    assert command("enhance", photos, "-o", tmp_path / "out", "-r", "--format", "tif", "--weights", weights).code == 0
    assert below(tmp_path / "out") == ["2024/b.tif", "2024/may/c.tif", "a.tif"]
    assert images.open_image(tmp_path / "out/a.tif").header.format == "tiff"


def test_two_that_would_become_one_fail_and_the_others_do_not(command, weights, photos, tmp_path):
    picture(photos / "2024/b.tif").rename(photos / "2024/b.gif")
    done = command("enhance", photos, "-o", tmp_path / "out", "-r", "--weights", weights)
    assert done.code == 1
    assert (
        done.err.count(f"{photos}/2024/b.gif and {photos}/2024/b.png would both become {tmp_path}/out/2024/b.png") == 2
    )
    assert below(tmp_path / "out") == ["2024/may/c.jpg", "a.jpg"]


def test_a_name_of_two_lines_is_told_on_one(command, weights, tmp_path):
    odd = picture(tmp_path / "in" / os.fsdecode(b"two\nlines \xff.png"))
    (tmp_path / "in/bro\nken.jpg").write_bytes(b"")
    done = command("enhance", odd.parent, "-o", tmp_path / "out", "--weights", weights)
    assert (len(done.out.splitlines()), len(done.err.splitlines())) == (2, 1)
    assert r"two\nlines \udcff.png -> " in done.out
    assert r"bro\nken.jpg: expected a" in done.err


def test_a_terminated_run_ends_like_one_that_is_interrupted(command, weights, photos, tmp_path, monkeypatch):
    def terminate(self, *_):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
        raise mirnet.Cancelled("stopped")

    monkeypatch.setattr(Enhancer, "enhance_file", terminate)
    before = signal.getsignal(signal.SIGTERM)
    done = command("enhance", photos, "-o", tmp_path / "out", "-r", "--weights", weights, "--jobs", "1")
    assert (done.code, done.out) == (130, "0 enhanced\n")
    assert done.err.startswith("mirnet: Interrupted; what was finished stays")
    assert below(tmp_path / "out") == []
    assert signal.getsignal(signal.SIGTERM) == before


# A watch -------------------------------------------------------------------------------------------------------------


def test_what_arrives_is_enhanced_until_somebody_asks_to_stop(photos, tmp_path):
    """In a process of its own, with the shipped weights."""
    options = ["-r", "-o", tmp_path / "out", "--threads", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mirnet", "enhance", "--watch", photos, *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        there = {process.stdout.readline().split(" -> ")[0] for _ in range(3)}
        picture(photos / "new/d.png")
        arrived = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert there == {f"{photos}/{name}" for name in ("a.jpg", "2024/b.png", "2024/may/c.jpg")}
    assert arrived.startswith(f"{photos}/new/d.png -> {tmp_path}/out/new/d.png")
    assert (process.returncode, said) == (0, "")
    assert rest.startswith("4 enhanced; ")
    assert below(tmp_path / "out") == ["2024/b.png", "2024/may/c.jpg", "a.jpg", "new/d.png"]


# Pipes ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe(command, weights, monkeypatch) -> Callable[..., tuple[Any, bytes]]:
    """Runs `mirnet enhance ARGUMENTS...` with content on standard input; what it said, and what it put out."""

    def call(content: bytes, *arguments: object, terminal: str = "") -> tuple[Any, bytes]:
        out = io.BytesIO()
        with monkeypatch.context() as patch:  # here and not before: pytest sets up its own again for each test's call
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
            patch.setattr(sys, "stdout", io.TextIOWrapper(out))
            if terminal:
                patch.setattr(getattr(sys, terminal), "isatty", lambda: True, raising=False)
            done = command("enhance", *arguments, "--weights", weights)
            sys.stdout.flush()
            return done, out.getvalue()

    return call


@pytest.mark.parametrize(("options", "format"), [([], "jpeg"), (["-o", "-"], "jpeg"), (["--format", "png"], "png")])
def test_a_picture_goes_through_a_pipe(pipe, photos, options, format):
    original = (photos / "a.jpg").read_bytes()
    done, result = pipe(original, "-", *options)
    assert (done.code, done.err) == (0, "")
    header = images.open_image(result).header
    assert (header.format, header.width) == (format, 41)
    assert (mirnet.read_image(result) != mirnet.read_image(original)).any()


def test_what_is_to_be_known_of_a_piped_picture_is_said_beside_it(pipe):
    done, result = pipe(pillow_bytes(noise(), "gif"), "-")
    assert images.open_image(result).header.format == "png"
    said = ["its palette became RGB", "GIF is not written: the result is a PNG image"]
    said += ["comments in the file, if it has any, are not kept"]
    assert done.err.splitlines() == [f"mirnet: {remark}" for remark in said]


def test_either_end_may_be_a_file(pipe, photos, tmp_path):
    original = (photos / "a.jpg").read_bytes()
    _, result = pipe(b"", photos / "a.jpg", "-o", "-")
    for name, format in (("b.jpg", "jpeg"), ("b.webp", "webp")):
        done, out = pipe(original, "-", "-o", tmp_path / name)
        assert (done.code, out) == (0, b"")
        assert images.open_image(tmp_path / name).header.format == format
    assert (tmp_path / "b.jpg").read_bytes() == result != b""


@pytest.mark.parametrize(("content", "sentence"), [(b"", "it was empty"), (b"no picture", "expected a ")])
def test_what_is_no_picture_on_standard_input_is_a_sentence(pipe, content, sentence):
    done, result = pipe(content, "-")
    assert (done.code, result) == (1, b"")
    assert done.err.startswith("mirnet: ")
    assert sentence in done.err


@pytest.mark.parametrize(
    ("end", "sentence"), [("stdin", "and this is a terminal"), ("stdout", "cannot be shown in a terminal")]
)
def test_a_terminal_is_no_end_of_a_pipe(pipe, end, sentence):
    done, _ = pipe(b"", "-", terminal=end)
    assert done.code == 2
    assert sentence in done.err


def test_a_reader_that_goes_away_is_no_news(photos):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "mirnet", "enhance", "-", "--threads", "1"],
        input=(photos / "a.jpg").read_bytes(), stdout=write, stderr=subprocess.PIPE,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
