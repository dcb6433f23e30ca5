"""Which files are enhanced into which is settled, and what cannot work refused, before anything is written."""

import os
from pathlib import Path

import numpy as np
import pytest

from mirnet import write_image
from mirnet.batch import jobs, planning
from mirnet.errors import SettingsError, UnknownFormat
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two pictures, an earlier result, and what is no picture."""
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    for name in ("a.jpg", "b.PNG", "a.bright.jpg", ".hidden.jpg", "notes.txt", "deeper/c.jpg"):
        (folder / name).write_bytes(b"")
    return folder


def planned(*inputs: Path, output: Path | None = None) -> list[tuple[Path, Path]]:
    return [(job.source, job.target) for job in planning.plan(inputs, output)]


def problems(*inputs: Path, output: Path | None = None) -> dict[str, str]:
    """The sentence about each source, by its name, that cannot be done; the others can."""
    found = planning.plan(inputs, output)
    assert not all(job.problem for job in found)
    return {job.source.name: job.problem for job in found if job.problem}


def test_without_an_output_results_go_beside_their_originals(folder):
    a, b = folder / "a.jpg", folder / "b.PNG"
    assert planned(folder) == [(a, folder / "a.bright.jpg"), (b, folder / "b.bright.PNG")]


def test_an_earlier_result_is_an_input_only_where_it_is_named(folder):
    earlier = folder / "a.bright.jpg"
    assert planned(earlier) == [(earlier, folder / "a.bright.bright.jpg")]


def test_a_folder_keeps_its_names_in_the_output_folder(folder, tmp_path):
    out = tmp_path / "out.d"
    assert planned(folder, output=out) == [(folder / "a.jpg", out / "a.jpg"), (folder / "b.PNG", out / "b.PNG")]
    assert not out.exists()  # planning writes nothing


def test_one_file_goes_into_a_file_or_a_folder(folder, tmp_path):
    a = folder / "a.jpg"
    assert planned(a, output=tmp_path / "new.png") == [(a, tmp_path / "new.png")]
    assert planned(a, output=tmp_path / "new") == [(a, tmp_path / "new/a.jpg")]
    assert planned(a, output=tmp_path) == [(a, tmp_path / "a.jpg")]


def test_a_file_that_is_named_twice_is_enhanced_once(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert len(planned(folder / "a.jpg", Path("a.jpg"), folder)) == 2


def test_two_results_in_one_file_are_none(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.jpg").write_bytes(b"")
    (sentence,) = {job.problem for job in planning.plan([folder, other], tmp_path / "out") if job.problem}
    assert sentence.startswith(f"{folder}/a.jpg and {other}/a.jpg would both become {tmp_path}/out/a.jpg; ")
    with pytest.raises(SettingsError, match="would both become"):  # nothing else to do: told before anything is done
        planned(folder / "a.jpg", other, output=tmp_path / "out")


def test_two_formats_that_become_one_are_none(folder, tmp_path):
    (folder / "b.gif").write_bytes(b"")
    (folder / "b.PNG").rename(folder / "b.png")
    assert list(problems(folder, output=tmp_path / "out")) == ["b.gif", "b.png"]
    assert planned(folder / "b.gif", output=tmp_path / "out") == [(folder / "b.gif", tmp_path / "out/b.png")]
    assert planned(folder / "b.gif") == [(folder / "b.gif", folder / "b.bright.png")]


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_result_that_would_be_an_original_is_none(folder, tmp_path, link):
    out = tmp_path / "out"
    out.mkdir()
    link(folder / "a.jpg", out / "a.jpg")
    (sentence,) = problems(folder, output=out).values()
    assert sentence == f"{folder}/a.jpg: its result would replace {folder}/a.jpg, an original; choose another output."


def test_a_folder_into_itself_is_refused(folder):
    with pytest.raises(SettingsError, match=r"a\.jpg: its result would replace .*a\.jpg, an original"):
        planned(folder, output=folder)


def test_a_result_that_would_be_another_input_is_none(folder):
    (sentence,) = problems(folder / "a.jpg", folder / "a.bright.jpg").values()
    assert f"its result would replace {folder}/a.bright.jpg, an original" in sentence


@pytest.mark.parametrize(
    ("name", "output", "sentence"),
    [
        ("nothing.jpg", None, r"nothing\.jpg: there is no such file or folder"),
        ("deeper/none", None, r"none: there is no such file or folder"),
        ("empty", None, r"empty: expected images in this folder \(\.jpg.*\), and there are none"),
        ("a.jpg", "new.gif", r"new\.gif: expected a name that ends in \.jpg"),
        ("a.jpg", "new.nef", r"new\.nef: expected a name that ends in \.jpg"),
        (".", "in/notes.txt", r"notes\.txt: expected a folder for several images; this is a file"),
        ("a.jpg", "in/notes.txt", r"notes\.txt: expected a name that ends in"),
    ],
)
def test_what_cannot_work_is_refused(folder, tmp_path, name, output, sentence):
    (folder / "empty").mkdir()
    with pytest.raises(SettingsError, match=sentence):
        planned(folder / name, output=output and tmp_path / output)


def test_a_folder_that_may_not_be_read_is_refused(folder, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SettingsError, match=r"in: cannot be read \(Permission denied\)"):
        planned(folder)


def test_several_pictures_do_not_go_into_what_is_named_like_one(folder, tmp_path):
    with pytest.raises(SettingsError, match="name a folder"):
        planned(folder, output=tmp_path / "one.jpg")
    (tmp_path / "odd.jpg").mkdir()  # a folder all the same
    assert planned(folder, output=tmp_path / "odd.jpg")


def test_what_fails_is_told_and_the_others_go_on(tmp_path, fake_weights, fake_runtime):
    for name in ("a.png", "c.png", "d.png"):
        write_image(tmp_path / name, np.full((9, 9, 3), 30, np.uint8))
    (tmp_path / "b.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    out.mkdir()
    (out / "c.png").write_bytes(b"earlier")
    outcomes = list(
        jobs.run(planning.plan([tmp_path], out), Enhancer(fake_weights(), runtime=fake_runtime), Settings())
    )
    assert [o.job.source.name for o in outcomes] == ["a.png", "b.png", "c.png", "d.png"]  # one at once: in order
    assert [(bool(o.report), o.skipped, type(o.error)) for o in outcomes] == [
        (True, False, type(None)),
        (False, False, UnknownFormat),
        (False, True, type(None)),
        (True, False, type(None)),
    ]
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png", "d.png"]
    assert (out / "c.png").read_bytes() == b"earlier"


def test_an_output_folder_that_cannot_be_made_is_a_sentence(tmp_path, fake_weights, fake_runtime):
    write_image(tmp_path / "a.png", np.full((9, 9, 3), 30, np.uint8))
    (tmp_path / "file").write_bytes(b"")
    (outcome,) = jobs.run(
        planning.plan([tmp_path / "a.png"], tmp_path / "file/deep/a.png"),
        Enhancer(fake_weights(), runtime=fake_runtime),
        Settings(),
    )
    assert "deep: cannot be made" in str(outcome.error)
