"""Several pictures at once: each whole or not there, whatever happens to its source, to the others and to the disk."""

import errno
import os
import shutil
import threading
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from mirnet import files, write_image
from mirnet.batch import jobs, limits
from mirnet.batch.jobs import BatchJob, Outcome
from mirnet.batch.limits import MemoryShare
from mirnet.errors import Cancelled, PictureError, WeightsError
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings


@pytest.fixture
def enhancer(fake_weights, fake_runtime) -> Enhancer:
    return Enhancer(fake_weights(), runtime=fake_runtime)


@pytest.fixture
def work(tmp_path: Path) -> list[BatchJob]:
    """Six small pictures to enhance."""
    (tmp_path / "in").mkdir()
    for number in range(6):
        write_image(tmp_path / f"in/{number}.png", np.full((9 + number, 9, 3), 30, np.uint8))
    return [BatchJob(tmp_path / f"in/{number}.png", tmp_path / f"out/deep/{number}.png") for number in range(6)]


def by_name(outcomes) -> list[Outcome]:
    return sorted(outcomes, key=lambda outcome: outcome.job.source)


# At once -------------------------------------------------------------------------------------------------------------


def test_several_at_once_give_what_one_after_the_other_gives(work, enhancer, tmp_path):
    alone = by_name(jobs.run(work, enhancer, Settings(provenance=False)))
    shutil.move(tmp_path / "out", tmp_path / "alone")
    together = by_name(jobs.run(work, enhancer, Settings(provenance=False), at_once=3))
    assert [outcome.job for outcome in together] == [outcome.job for outcome in alone] == work
    for job in work:
        assert job.target.read_bytes() == (tmp_path / "alone/deep" / job.target.name).read_bytes()


def test_as_many_as_asked_for_are_in_work_at_once(work, enhancer, monkeypatch):
    meeting = threading.Barrier(3, timeout=20)
    run = Enhancer.enhance_file

    def meet(self, *arguments):
        meeting.wait()  # breaks where fewer than three ever come
        return run(self, *arguments)

    monkeypatch.setattr(Enhancer, "enhance_file", meet)
    assert all(outcome.report for outcome in jobs.run(work, enhancer, Settings(), at_once=3))


def test_progress_says_of_which_picture(work, enhancer):
    seen: dict[BatchJob, list[float]] = {}
    list(
        jobs.run(
            work, enhancer, Settings(), at_once=2, progress=lambda job, done: seen.setdefault(job, []).append(done)
        )
    )
    assert set(seen) == set(work)
    assert all(shares == sorted(shares) and (shares[0], shares[-1]) == (0, 1) for shares in seen.values())


def test_whoever_leaves_ends_what_is_in_work_with_nothing_half_written(work, enhancer, tmp_path):
    # slowed, so that whoever leaves on a busy machine does not leave last
    outcomes = jobs.run(work, enhancer, Settings(), at_once=2, progress=lambda job, done: time.sleep(0.1))
    next(outcomes)
    outcomes.close()
    left = sorted(path.name for path in (tmp_path / "out/deep").iterdir())
    assert 1 <= len(left) < 6
    assert all(name.endswith(".png") and name[0] != "." for name in left)
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mirnet")] == []


def test_a_picture_that_takes_long_ends_within_its_next_step(work, enhancer, monkeypatch):
    def take_long(self, source, target, settings, progress, should_stop):
        if source != work[0].source:
            for step in range(2000):  # twenty seconds
                progress(step / 2000)
                if should_stop():
                    raise Cancelled
                time.sleep(0.01)

    monkeypatch.setattr(Enhancer, "enhance_file", take_long)
    outcomes = jobs.run(work, enhancer, Settings(), at_once=2)
    next(outcomes)
    began = time.monotonic()
    outcomes.close()
    assert time.monotonic() - began < 10


def test_an_error_that_is_no_pictures_ends_the_run_where_it_is_awaited(work, enhancer, monkeypatch):
    def fail(*_):
        raise WeightsError("broken")

    monkeypatch.setattr(Enhancer, "enhance_file", fail)
    with pytest.raises(WeightsError, match="broken"):
        list(jobs.run(work, enhancer, Settings(), at_once=2))


def test_a_cancelled_picture_cancels_the_run(work, enhancer):
    def cancel(job, done):
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        list(jobs.run(work, enhancer, Settings(), progress=cancel))
    assert not list(work[0].target.parent.iterdir())


# Memory --------------------------------------------------------------------------------------------------------------


def test_large_pictures_wait_for_each_other_and_small_ones_do_not(tmp_path, monkeypatch):
    sizes = {"large": 40.0, "larger": 900.0, "small": 1.0}
    monkeypatch.setattr(limits, "megapixels_of", lambda source: sizes[source.name])
    memory = MemoryShare(50)
    began: list[str] = []

    def take(name):
        with memory.share(Path(name), lambda: False):
            began.append(name)

    with memory.share(Path("large"), lambda: False), memory.share(Path("small"), lambda: False):
        waiting = threading.Thread(target=take, args=["larger"])
        waiting.start()
        waiting.join(0.2)
        assert began == []
    waiting.join(20)
    assert began == ["larger"]


def test_who_waits_for_memory_still_hears_stop(monkeypatch):
    monkeypatch.setattr(limits, "megapixels_of", lambda source: 50.0)
    memory, stopped = MemoryShare(50), threading.Event()

    def wait():
        with memory.share(Path("b"), stopped.is_set):
            pass

    with memory.share(Path("a"), lambda: False):
        waiting = threading.Thread(target=wait)
        waiting.start()
        stopped.set()
        waiting.join(20)
        assert not waiting.is_alive()


def test_how_large_a_picture_is_comes_from_its_header(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((200, 500, 3), np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.nef").write_bytes(bytes(2_000_000))
    assert [limits.megapixels_of(tmp_path / name) for name in ("a.png", "b.png", "c.nef", "none.png")] == [0.1, 0, 2, 0]
    raw = b"FUJIFILMCCD-RAW " + bytes(2_999_984)
    for content, megapixels in (((tmp_path / "a.png").read_bytes(), 0.1), (b"no picture", 0), (raw, 3)):
        assert limits.megapixels_of(content) == megapixels


# Sources that change -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("often", [1, 2])
def test_a_source_that_changes_while_it_is_read_is_done_again_once(work, enhancer, monkeypatch, often):
    changes, enhance_file = [], Enhancer.enhance_file

    def change(self, source, *others):
        if len(changes) < often:
            changes.append(source)
            write_image(source, np.full((20 + len(changes), 9, 3), 60, np.uint8), overwrite=True)
        return enhance_file(self, source, *others)

    monkeypatch.setattr(Enhancer, "enhance_file", change)
    (outcome,) = jobs.run(work[:1], enhancer, Settings())
    if often == 1:
        assert (outcome.report.height, work[0].target.exists()) == (21, True)
    else:
        assert "0.png: changed while it was read, twice; repeat the command when it no longer changes." in str(
            outcome.error
        )
        assert list(work[0].target.parent.iterdir()) == []


def test_a_source_that_is_cut_short_meanwhile_is_said_to_have_changed(work, enhancer, monkeypatch):
    def cut(self, source, *_):
        os.truncate(source, source.stat().st_size - 1)
        raise PictureError("ends too early")

    monkeypatch.setattr(Enhancer, "enhance_file", cut)
    (outcome,) = jobs.run(work[:1], enhancer, Settings())
    assert "changed while it was read" in str(outcome.error)


def test_a_result_that_is_older_than_its_source_is_left_alone_and_said(work, enhancer):
    list(jobs.run(work[:2], enhancer, Settings()))
    before = work[0].target.read_bytes()
    later = time.time() + 60
    os.utime(work[0].source, (later, later))
    first, second = by_name(jobs.run(work[:2], enhancer, Settings(exposure=1.0)))
    assert (first.skipped, second.skipped, second.remarks) == (True, True, ())
    assert "0.png: is newer than its result" in first.remarks[0]
    assert work[0].target.read_bytes() == before
    (again,) = jobs.run(work[:1], enhancer, Settings(exposure=1.0, overwrite=True))
    assert again.report
    assert work[0].target.read_bytes() != before


# Outputs that cannot be written --------------------------------------------------------------------------------------


def test_what_stands_where_a_result_belongs_is_no_finished_result(work, enhancer):
    work[0].target.mkdir(parents=True)
    work[1].target.symlink_to("nowhere")
    first, second = by_name(jobs.run(work[:2], enhancer, Settings()))
    assert "0.png: expected a free name for a file, and there is a folder or a broken link" in str(first.error)
    assert "1.png: expected a free name for a file" in str(second.error)


def test_a_name_that_is_too_long_for_the_disk_costs_one_picture(work, enhancer, tmp_path):
    long = BatchJob(work[0].source, tmp_path / "out" / f"{'x' * 245}.bright.png")
    outcomes = by_name(jobs.run([long, work[1]], enhancer, Settings()))
    assert "File name too long" in str(outcomes[0].error)
    assert outcomes[1].report


@pytest.mark.parametrize(
    "name", ["-o.png", "two\nlines.png", "with space.png", os.fsdecode(b"\xff\xfe.png"), "ü 夜.png"]
)
def test_whatever_a_file_may_be_called(work, enhancer, tmp_path, name):
    job = BatchJob(shutil.move(work[0].source, tmp_path / "in" / name), tmp_path / "out" / name)
    (outcome,) = jobs.run([job], enhancer, Settings())
    assert outcome.error is None
    assert job.target.is_file()


def test_a_disk_that_fills_costs_no_time_for_what_has_no_room(tmp_path, work, enhancer, tiny_disk):
    disk = tiny_disk("200k", "out")
    noise = np.random.default_rng(0).integers(0, 255, (150, 150, 3), np.uint8)
    for job in work:
        write_image(job.source, noise, overwrite=True)
    outcomes = list(jobs.run(work, enhancer, Settings(), at_once=2))
    said = [str(outcome.error) for outcome in outcomes if outcome.failed]
    finished = sorted(outcome.job.target for outcome in outcomes if outcome.report)
    assert sorted(path for path in disk.rglob("*") if path.is_file()) == finished
    assert finished != []
    assert any(
        "could not be written (No space left on device), nothing was left behind" in sentence for sentence in said
    )
    assert any("not begun: the disk of" in sentence for sentence in said), (said, finished)
    assert len(said) + len(finished) == 6  # umount fails where a failure left a file open


def test_small_pictures_still_go_onto_a_disk_that_was_full(work, tmp_path, monkeypatch):
    disk = limits.DiskSpace()
    full = PictureError("full")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10))
    disk.refuse_full_disk(work[0].source, tmp_path)  # nobody says yet that it is full
    disk.note_error(full)
    with pytest.raises(PictureError, match="not begun: the disk of"):
        disk.refuse_full_disk(work[0].source, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10_000_000))
    disk.refuse_full_disk(work[0].source, tmp_path)


def test_too_little_memory_costs_one_picture(work, enhancer, monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr(Enhancer, "enhance_file", fail)
    (outcome,) = jobs.run(work[:1], enhancer, Settings())
    assert "0.png: needs more memory than there is" in str(outcome.error)


def test_what_a_killed_run_left_is_cleared_where_results_go_and_nowhere_else(work, tmp_path):
    here, elsewhere = (tmp_path / name for name in ("out/deep", "out"))
    here.mkdir(parents=True)
    for folder in (here, elsewhere):
        (folder / f".mirnet-{files.machine_id()}-00.part").write_bytes(b"half")
    jobs.clear_output(work)
    assert (list(here.iterdir()), len(list(elsewhere.glob(".*.part")))) == ([], 1)
