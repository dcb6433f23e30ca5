"""A file is whole or not there, whoever is killed while it is written; a living draft is not taken for a dead one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mirnet import files


def drafts(folder: Path) -> list[str]:
    return [path.name for path in folder.glob(".mirnet-*.part")]


def abandon(folder: Path) -> None:
    """What a process leaves that is killed while it writes."""
    code = (
        "import os, sys; from pathlib import Path; from mirnet import files\n"
        "with files.open_draft(Path(sys.argv[1], 'a.jpg')) as file: file.write(b'half'); file.flush(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, folder], check=False).returncode == 9


def test_what_is_written_appears_whole_and_its_draft_goes(tmp_path):
    with files.open_draft(tmp_path / "a.jpg") as file:
        file.write(b"whole")
        assert not (tmp_path / "a.jpg").exists()
        assert len(drafts(tmp_path)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg"]
    assert (tmp_path / "a.jpg").read_bytes() == b"whole"


def test_what_fails_while_it_is_written_leaves_nothing(tmp_path):
    with pytest.raises(TypeError), files.open_draft(tmp_path / "a.jpg") as file:
        file.write(b"half" + None)
    assert list(tmp_path.iterdir()) == []


def test_a_draft_of_a_killed_process_is_cleared_and_one_being_written_stays(tmp_path):
    abandon(tmp_path)
    assert len(drafts(tmp_path)) == 1
    with files.open_draft(tmp_path / "b.jpg") as file:
        file.write(b"b")
        files.clear_drafts(tmp_path)
        assert drafts(tmp_path) == [Path(file.name).name]
    assert [path.name for path in tmp_path.iterdir()] == ["b.jpg"]


def test_a_draft_of_another_machine_is_cleared_after_a_day_only(tmp_path):
    foreign = tmp_path / ".mirnet-00000000-0123456789abcdef.part"
    foreign.write_bytes(b"")
    files.clear_drafts(tmp_path)
    assert foreign.exists()
    yesterday = time.time() - files.FOREIGN_DRAFT_SECONDS - 60
    os.utime(foreign, (yesterday, yesterday))
    files.clear_drafts(tmp_path)
    assert not foreign.exists()


def test_a_draft_that_was_cleared_before_it_was_locked_is_made_anew(tmp_path, monkeypatch):
    lock, cleared = files._lock, []

    def too_late(file, wait):
        if not cleared:
            cleared.append(Path(file.name).unlink())
        lock(file, wait)

    monkeypatch.setattr(files, "_lock", too_late)
    files.write_whole(tmp_path / "a.jpg", b"whole")
    assert (cleared, (tmp_path / "a.jpg").read_bytes()) == ([None], b"whole")


def test_files_that_are_nobodys_draft_are_left_alone(tmp_path):
    for name in ("a.part", ".mirnet-x.jpg", ".hidden.part"):
        (tmp_path / name).write_bytes(b"")
    files.clear_drafts(tmp_path)
    files.clear_drafts(tmp_path / "none")
    assert len(list(tmp_path.iterdir())) == 3
