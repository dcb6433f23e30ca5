"""Whatever lies below a folder is found once, keeps its place, and what cannot be done costs the others nothing."""

import errno
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from mirnet.batch import discovery, planning
from mirnet.batch.planning import Shard, plan
from mirnet.errors import SettingsError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    top = tmp_path / "photos"
    for name in (
        "z.jpg",
        "2024/b.png",
        "2024/a.jpg",
        "2024/may/c.gif",
        ".trash/d.jpg",
        "2024/.mirnet-1-2.part",
        "x/y/n.txt",
    ):
        make(top / name)
    return top


def make(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def below(top: Path, output: Path | None = None, **wishes: object) -> dict[str, str]:
    """The results of all below a folder, by their sources, both relative."""
    out = output or top
    jobs = plan([top], output, recursive=True, **wishes)
    return {str(job.source.relative_to(top)): str(job.target.relative_to(out)) for job in jobs}


# Where they lie ------------------------------------------------------------------------------------------------------


def test_folders_within_folders_keep_their_structure(photos, tmp_path):
    assert list(below(photos, tmp_path / "out").items()) == [
        ("z.jpg", "z.jpg"), ("2024/a.jpg", "2024/a.jpg"), ("2024/b.png", "2024/b.png"),
        ("2024/may/c.gif", "2024/may/c.png"),
    ]  # fmt: skip
    assert below(photos)["2024/may/c.gif"] == "2024/may/c.bright.png"
    assert [job.source.name for job in plan([photos], tmp_path / "out")] == ["z.jpg"]


def test_another_format_changes_the_suffix_and_nothing_else(photos, tmp_path):
    assert below(photos, tmp_path / "out", format="webp") == {
        "z.jpg": "z.webp", "2024/a.jpg": "2024/a.webp", "2024/b.png": "2024/b.webp",
        "2024/may/c.gif": "2024/may/c.webp",
    }  # fmt: skip


def test_results_within_the_folder_are_no_pictures_of_it(photos):
    out = photos / "2024/out"
    make(out / "2024/a.jpg")
    make(photos / "z.bright.jpg")
    assert "2024/out/2024/a.jpg" not in below(photos, out)
    assert len(below(photos, out)) == 4


def test_a_folder_without_pictures_says_where_there_may_be_some(photos):
    with pytest.raises(SettingsError, match=r"x: expected .* and there are none; --recursive looks into"):
        plan([photos / "x"], None)
    assert len(plan([photos / "x"], None, recursive=True, may_be_empty=True)) == 0


# Links ---------------------------------------------------------------------------------------------------------------


def test_loops_end_and_no_file_is_found_twice(photos, tmp_path):
    (photos / "2024/loop").symlink_to(photos)
    (photos / "also").symlink_to(photos / "2024")
    (photos / "a.jpg").symlink_to(photos / "2024/a.jpg")
    said: list[str] = []
    assert len(below(photos, tmp_path / "out", warn=said.append)) == 4
    assert sorted(said) == [
        f"{photos}/2024/loop: links to a folder that is searched already or takes the results; not entered.",
        f"{photos}/a.jpg: links to {photos}/2024/a.jpg, which is enhanced once.",
        f"{photos}/also: links to a folder that is searched already or takes the results; not entered.",
    ]


def test_a_folder_elsewhere_is_followed_once(photos, tmp_path):
    make(tmp_path / "elsewhere/deep/e.jpg")
    (photos / "1").symlink_to(tmp_path / "elsewhere")
    (photos / "2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(photos)
    said: list[str] = []
    found = below(photos, tmp_path / "out", warn=said.append)
    assert (found["1/deep/e.jpg"], len(found)) == ("1/deep/e.jpg", 5)
    assert [sentence.split(":")[0] for sentence in said] == [f"{photos}/2", f"{photos}/1/back"]


def test_a_link_to_nowhere_is_a_sentence(photos, tmp_path):
    (photos / "gone.jpg").symlink_to(tmp_path / "gone.jpg")
    (photos / "self.jpg").symlink_to(photos / "self.jpg")
    (photos / "gone").symlink_to(tmp_path / "gone")  # no picture's name: nobody misses it
    jobs = plan([photos], tmp_path / "out")
    assert [job.problem for job in jobs] == [
        None,
        f"{photos}/gone.jpg: is a link that leads nowhere; mend or delete it.",
        f"{photos}/self.jpg: is a link that leads nowhere; mend or delete it.",
    ]


def test_a_hard_link_is_a_file_of_its_own(photos, tmp_path):
    os.link(photos / "z.jpg", photos / "2024/z.jpg")
    assert "2024/z.jpg" in below(photos, tmp_path / "out")


# What may not be looked at -------------------------------------------------------------------------------------------


def test_a_folder_that_may_not_be_read_costs_its_own_pictures_only(photos, tmp_path, monkeypatch):
    scan = os.scandir

    def refuse(path):
        if Path(path).name == "may":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    jobs = plan([photos], tmp_path / "out", recursive=True)
    assert [job.problem for job in jobs if job.problem] == [
        f"{photos}/2024/may: cannot be read (Permission denied); check its permissions."
    ]
    assert len(jobs) == 4


# Names ---------------------------------------------------------------------------------------------------------------


def test_names_that_differ_by_case_clash_only_where_that_makes_no_difference(photos, tmp_path, monkeypatch):
    make(photos / "Z.JPG")
    make(photos / "A.jpg")
    out = tmp_path / "out"
    assert [job.problem for job in plan([photos], out)] == [None, None, None]
    monkeypatch.setattr(planning, "is_case_sensitive", lambda folder: False)
    sentence = (
        f"{photos}/Z.JPG and {photos}/z.jpg would be one file where names do not differ by case, as it seems in {out}"
    )
    assert [job.problem for job in plan([photos], out)] == [
        None,
        f"{sentence}; rename one.",
        f"{sentence}; rename one.",
    ]


def test_accents_that_are_put_together_otherwise_clash_too(photos, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "is_case_sensitive", lambda folder: False)
    for form in ("NFC", "NFD"):
        make(photos / unicodedata.normalize(form, "é.jpg"))
    assert sum(job.problem is not None for job in plan([photos], tmp_path / "out")) == 2


@pytest.mark.parametrize(("same", "apart"), [(False, True), (True, False)])
def test_whether_case_is_told_apart_is_seen_without_writing(tmp_path, same, apart):
    make(tmp_path / "Name.jpg")
    if same:
        os.link(tmp_path / "Name.jpg", tmp_path / "nAME.JPG")  # as if the one were the other
    before = sorted(tmp_path.rglob("*"))
    assert discovery.is_case_sensitive(tmp_path / "new/deep") == apart
    assert sorted(tmp_path.rglob("*")) == before


# Shards --------------------------------------------------------------------------------------------------------------


def test_every_file_is_in_one_shard_whoever_else_is_there(tmp_path):
    for number in range(60):
        make(tmp_path / f"in/{number % 7}/{number}.jpg")

    def shares() -> list[set[str]]:
        return [set(below(tmp_path / "in", tmp_path / "out", shard=Shard(i, 3))) for i in (1, 2, 3)]

    before = shares()
    assert set.union(*before) == set(below(tmp_path / "in"))
    assert sum(len(share) for share in before) == 60
    assert min(len(share) for share in before) > 8
    make(tmp_path / "in/0/new.jpg")
    assert all(old <= new for old, new in zip(before, shares(), strict=True))


def test_a_share_does_not_depend_on_where_the_folder_lies_nor_on_the_machine(tmp_path):
    make(tmp_path / "here/é.jpg"), make(tmp_path / "there/deeper/é.jpg")
    assert Shard(1, 2).holds("é.jpg") is Shard(1, 2).holds(unicodedata.normalize("NFD", "é.jpg")) is True
    assert len(plan([tmp_path / "here"], None, shard=Shard(1, 2))) == 1
    assert len(plan([tmp_path / "there/deeper"], None, shard=Shard(1, 2))) == 1
    assert len(plan([tmp_path / "here"], None, shard=Shard(2, 2))) == 0


def test_clashes_are_the_same_in_every_shard(tmp_path):
    for name in ("a.gif", "a.png", "b.png", "c.png", "d.png"):
        make(tmp_path / "in" / name)
    jobs = [job for i in (1, 2) for job in plan([tmp_path / "in"], tmp_path / "out", shard=Shard(i, 2))]
    assert sorted(job.source.name for job in jobs if job.problem) == ["a.gif", "a.png"]


# Many ----------------------------------------------------------------------------------------------------------------


def test_a_plan_holds_less_than_a_kilobyte_a_file(tmp_path):
    """Measured in a process of its own: nothing else allocates there."""
    for number in range(2000):
        make(tmp_path / f"in/{number % 20}/IMG_20240512_{number:06}.jpg")
    code = (
        "import sys, tracemalloc; from pathlib import Path; from mirnet.batch.planning import plan\n"
        "plan([Path(sys.argv[1])], Path('out'), recursive=True)\n"
        "tracemalloc.start(); kept = plan([Path(sys.argv[1])], Path('out'), recursive=True)\n"
        "now, peak = tracemalloc.get_traced_memory(); print(now / len(kept), peak / len(kept), len(kept))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "in"], capture_output=True, text=True, check=True)
    kept, peak, count = (float(number) for number in done.stdout.split())
    assert count == 2000
    assert kept < 900  # the length of the paths counts, and tables that Python grows now and then
    assert peak < 1500
