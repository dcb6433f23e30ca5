"""Pairs are found in the layouts that people have, and what cannot be a pair is said."""

import os
from pathlib import Path

import pytest

from mirnet.errors import DataError
from mirnet.pairs import find_pairs, list_pairs


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


def named(data: Path, names: Path | None = None) -> list[tuple[str, str, str]]:
    """Name, dark and bright of every pair, the files relative to the data."""
    root = data if data.is_dir() else data.parent
    return [
        (pair.name, pair.dark.relative_to(root).as_posix(), pair.bright.relative_to(root).as_posix())
        for pair in find_pairs(data, names=names)
    ]


# Nested folders ------------------------------------------------------------------------------------------------------


def test_nested_folders_pair_by_relative_path(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/attic/1.png", "high/attic/1.jpg", "low/cellar/1.png", "high/cellar/1.png", "low/1.png",
            "high/1.png")  # fmt: skip
    assert named(tmp_path) == [
        ("1", "low/1.png", "high/1.png"),
        ("attic/1", "low/attic/1.png", "high/attic/1.jpg"),
        ("cellar/1", "low/cellar/1.png", "high/cellar/1.png"),
    ]
    (tmp_path / "names.txt").write_text("cellar/1\n")
    assert [pair[0] for pair in named(tmp_path, tmp_path / "names.txt")] == ["cellar/1"]


def test_folders_of_scenes_that_hold_both_sides_are_pairs_named_by_their_folder(tmp_path: Path) -> None:
    lay_out(tmp_path, "attic/low/1.png", "attic/high/1.png", "houses/cellar/input/1.png", "houses/cellar/target/1.png")
    assert [pair[0] for pair in named(tmp_path)] == ["attic/1", "houses/cellar/1"]


def test_test_and_validation_pictures_are_never_taken_up_with_others(tmp_path: Path) -> None:
    for part in ("attic", "Test", "val", "eval15"):
        lay_out(tmp_path, f"{part}/low/1.png", f"{part}/high/1.png")
    assert [pair[0] for pair in named(tmp_path)] == ["attic/1"]
    assert [pair[0] for pair in named(tmp_path / "val")] == ["1"]


def test_links_in_a_circle_do_not_hang(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/1.png", "high/1.png", "other/2.png")
    (tmp_path / "low/again").symlink_to(tmp_path / "low")
    (tmp_path / "low/up").symlink_to(tmp_path)
    (tmp_path / "high/other").symlink_to(tmp_path / "other")
    (tmp_path / "other/back").symlink_to(tmp_path / "high")
    (tmp_path / "deep").symlink_to(tmp_path)
    found = list_pairs(tmp_path)
    assert "1" in [pair.name for pair in found.pairs]
    assert "other/2" in [lone.name for lone in found.lone]


@pytest.mark.parametrize("file", [".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "list.csv", "__MACOSX/1.png"])
def test_files_that_systems_leave_beside_pictures_are_passed_over(tmp_path: Path, file: str) -> None:
    lay_out(tmp_path, "low/1.png", "high/1.png", f"low/{file}")
    assert [pair[0] for pair in named(tmp_path)] == ["1"]


# Published layouts ---------------------------------------------------------------------------------------------------


def lol_v2(root: Path) -> Path:
    for part in ("Train", "Test"):
        lay_out(root, f"Real_captured/{part}/Low/low00001.png", f"Real_captured/{part}/Normal/normal00001.png",
                f"Synthetic/{part}/Low/r01.png", f"Synthetic/{part}/Normal/r01.png")  # fmt: skip
    return root


def test_lol_v2_is_its_two_training_parts_and_never_its_test_set(tmp_path: Path) -> None:
    assert named(lol_v2(tmp_path)) == [
        ("Real_captured/00001", "Real_captured/Train/Low/low00001.png", "Real_captured/Train/Normal/normal00001.png"),
        ("Synthetic/r01", "Synthetic/Train/Low/r01.png", "Synthetic/Train/Normal/r01.png"),
    ]


@pytest.mark.parametrize(
    ("part", "name"), [("Real_captured", "00001"), ("Real_captured/Test", "00001"), ("Synthetic", "r01")]
)
def test_a_part_of_lol_v2_is_named_to_use_it(tmp_path: Path, part: str, name: str) -> None:
    assert [pair[0] for pair in named(lol_v2(tmp_path) / part)] == [name]


def test_lol_v1_is_its_training_part(tmp_path: Path) -> None:
    lay_out(tmp_path, "our485/low/2.png", "our485/high/2.png", "eval15/low/1.png", "eval15/high/1.png")
    assert [pair[0] for pair in named(tmp_path)] == ["2"]


def test_the_folders_names_are_dropped_only_where_a_picture_has_no_partner_as_it_is(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/lowland.png", "high/lowland.png", "low/low_2.png", "high/high-2.png", "low/2.png",
            "high/2.png", "low/low3.png", "high/high3.png")  # fmt: skip
    found = list_pairs(tmp_path)
    assert [pair.name for pair in found.pairs] == ["2", "3", "lowland"]
    assert sorted(lone.name for lone in found.lone) == ["high-2", "low_2"]


# Lists ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["", "dark,bright\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_list_may_give_many_dark_pictures_one_bright_one(tmp_path: Path, header: str, delimiter: str) -> None:
    lay_out(tmp_path, "short/1_0.04s.png", "short/1_0.1s.png", "long/1_10s.png")
    rows = "\ufeff" + header + "short/1_0.1s.png,long/1_10s.png\n\n./short/1_0.04s.png , long/1_10s.png\n"
    (tmp_path / "list.csv").write_text(rows.replace(",", delimiter))
    assert named(tmp_path / "list.csv") == [
        ("short/1_0.04s", "short/1_0.04s.png", "long/1_10s.png"),
        ("short/1_0.1s", "short/1_0.1s.png", "long/1_10s.png"),
    ]


def test_names_in_a_list_may_hold_commas_and_spaces_in_quotes(tmp_path: Path) -> None:
    lay_out(tmp_path, "Zürich, Süd/nacht 1.png", "tag.png")
    (tmp_path / "list.csv").write_text('"Zürich, Süd/nacht 1.png",tag.png\n')
    assert [pair[0] for pair in named(tmp_path / "list.csv")] == ["Zürich, Süd/nacht 1"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("a.png,b.png\nb.png\n", r'expected two columns.*"b\.png" has 1'),
        ("a.png,b.png,100\n", r"expected two columns.* has 3"),
        ("a.png,gone.png\n", "lack a picture"),
        ("a.png,b.png\na.png,b.png\n", "one stem"),
        ("", "no pairs found"),
    ],
)
def test_a_list_that_is_none_is_said(tmp_path: Path, rows: str, sentence: str) -> None:
    lay_out(tmp_path, "a.png", "b.png")
    (tmp_path / "list.csv").write_text(rows)
    with pytest.raises(DataError, match=sentence):
        find_pairs(tmp_path / "list.csv")


# The survey ----------------------------------------------------------------------------------------------------------


def test_a_survey_tells_what_is_broken_beside_the_pairs(tmp_path: Path) -> None:
    lay_out(tmp_path, "low/a.png", "high/a.png", "low/b.png", "high/c.png", "low/d.png", "low/d.jpg", "high/d.png")
    found = list_pairs(tmp_path)
    assert [pair.name for pair in found.pairs] == ["a", "d"]
    assert [(lone.name, lone.file.name, lone.wanted) for lone in found.lone] == [
        ("b", "b.png", f"in {tmp_path / 'high'}"),
        ("c", "c.png", f"in {tmp_path / 'low'}"),
    ]
    assert [lone.is_bright for lone in found.lone] == [False, True]
    assert [(each.name, {file.name for file in each.files}) for each in found.duplicates] == [("d", {"d.jpg", "d.png"})]


def test_an_unreadable_folder_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay_out(tmp_path, "low/a.png", "high/a.png")

    def refuse(self: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="cannot be read"):
        find_pairs(tmp_path)
