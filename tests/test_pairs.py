"""Pairs are found in the layouts that people have, and what cannot be a pair is said."""

from pathlib import Path

import pytest

from mirnet.errors import DataError
from mirnet.pairs import find_pairs


def lay_out(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@pytest.mark.parametrize(
    "folders", [("low", "high"), ("our485/low", "our485/high"), ("input", "target"), ("Low", "Normal")]
)
def test_a_pair_is_two_files_of_one_stem_whatever_their_suffixes(tmp_path: Path, folders: tuple[str, str]) -> None:
    dark, bright = folders
    lay_out(tmp_path, f"{dark}/b.png", f"{bright}/b.jpg", f"{dark}/a.webp", f"{bright}/a.tif", f"{dark}/notes.txt")
    assert [(pair.name, pair.dark.name, pair.bright.name) for pair in find_pairs(tmp_path)] == [
        ("a", "a.webp", "a.tif"),
        ("b", "b.png", "b.jpg"),
    ]


def test_two_folders_of_any_names_are_pairs_too(tmp_path: Path) -> None:
    lay_out(tmp_path, "night/a.png", "day/a.png")
    assert len(find_pairs(tmp_path / "night", tmp_path / "day")) == 1


def test_a_list_of_names_chooses_pairs(tmp_path: Path) -> None:
    lay_out(tmp_path, *(f"{side}/{name}.png" for side in ("low", "high") for name in "abc"))
    (tmp_path / "names.txt").write_text("c\n\na\n")
    assert [pair.name for pair in find_pairs(tmp_path, names=tmp_path / "names.txt")] == ["a", "c"]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (["low/a.png", "high/b.png"], "lack a picture"),
        (["low/a.png", "low/a.jpg", "high/a.png"], "one stem"),
        (["low/notes.txt", "high/notes.txt"], "no pairs found"),
        (["dark/a.png"], "expected folders low and high"),
    ],
)
def test_what_is_no_pair_is_said(tmp_path: Path, files: list[str], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        find_pairs(lay_out(tmp_path, *files))


def test_names_that_are_not_there_or_no_text_are_said(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/a.png", "high/a.png")
    (tmp_path / "names.txt").write_text("a\nz\n")
    with pytest.raises(DataError, match=r"lack a picture.*: z"):
        find_pairs(tmp_path, names=tmp_path / "names.txt")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"names\.txt: expected a text file"):
        find_pairs(tmp_path, names=tmp_path / "names.txt")
    with pytest.raises(DataError, match=r"gone\.txt: expected a text file"):
        find_pairs(tmp_path, names=tmp_path / "gone.txt")
    with pytest.raises(DataError, match="expected a folder"):
        find_pairs(tmp_path / "gone")
