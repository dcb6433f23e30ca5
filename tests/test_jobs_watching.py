"""What arrives in a folder is enhanced once it is complete, once, and again when it changes."""

from pathlib import Path

import pytest

from mirnet.batch import folder_watch
from mirnet.batch.jobs import BatchJob
from mirnet.errors import SettingsError


class Days:
    """A watch over a folder whose clock goes on by a second at each look."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.now, self.said = folder, 0.0, list[str]()
        self.fails = False
        monkeypatch.setattr(folder_watch.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(folder_watch.time, "sleep", self._sleep)
        self.plans: list[object] = []
        self._watch = folder_watch.arrivals(self._look, self.said.append)

    def next(self, *then: object) -> tuple[list[str], float]:
        """The names of the next batch and when it came; each of `then` happens at one of the looks before."""
        self.plans = list(then)
        return sorted(job.source.name for job in next(self._watch)), self.now

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 100, "nothing arrives"
        if self.plans:
            self.plans.pop(0)()

    def _look(self) -> list[BatchJob]:
        if self.fails:
            raise SettingsError("unplugged.")
        return [BatchJob(path, path.with_suffix(".out")) for path in sorted(self.folder.glob("*.jpg"))]


@pytest.fixture
def days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Days:
    return Days(tmp_path, monkeypatch)


def grow(path: Path):
    def write() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    return write


def test_what_is_there_comes_first_and_then_what_arrives(days, tmp_path):
    grow(tmp_path / "a.jpg")()
    assert days.next() == (["a.jpg"], 2.0)
    assert days.next(grow(tmp_path / "b.jpg")) == (["b.jpg"], 5.0)


def test_a_file_that_grows_is_waited_for(days, tmp_path):
    more = grow(tmp_path / "a.jpg")
    assert days.next(more, more, more, more, more) == (["a.jpg"], 7.0)


def test_a_file_that_is_open_for_writing_is_waited_for(days, tmp_path):
    file = (tmp_path / "a.jpg").open("wb")
    if not folder_watch.is_being_written(tmp_path / "a.jpg"):
        pytest.skip("the kernel grants no leases on this file system (fcntl.F_SETLEASE)")
    wait = [lambda: None] * 6
    assert days.next(*wait, file.close) == (["a.jpg"], 7.0)
    assert not folder_watch.is_being_written(tmp_path / "a.jpg")


def test_a_file_comes_again_when_it_has_changed_and_only_then(days, tmp_path):
    grow(tmp_path / "a.jpg")()
    days.next()
    assert days.next(*[lambda: None] * 5, grow(tmp_path / "b.jpg")) == (["b.jpg"], 10.0)
    assert days.next(grow(tmp_path / "a.jpg")) == (["a.jpg"], 13.0)


def test_a_folder_that_goes_away_is_said_once_and_looked_for_again(days, tmp_path):
    def unplug():
        days.fails = True

    def plug():
        days.fails = False

    nothing = [lambda: None] * 3
    assert days.next(unplug, *nothing, plug, grow(tmp_path / "a.jpg")) == (["a.jpg"], 8.0)
    assert days.said == ["unplugged. Trying again every 1 s."]
    days.fails = True
    with pytest.raises(SettingsError, match="unplugged"):
        next(folder_watch.arrivals(days._look, days.said.append))
