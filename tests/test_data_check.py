"""Data is checked before hours are spent on it: what is wrong is found with its files, what is right is left alone."""

import functools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from mirnet.datasets import checks as checking
from mirnet.datasets.alignment import shift_between
from mirnet.datasets.checks import Finding, check, check_sample
from mirnet.datasets.scene_similarity import compute_signature, find_alike
from mirnet.datasets.scene_split import scenes
from mirnet.images import write_image
from mirnet.pairs import find_pairs, list_pairs

Photo = NDArray[np.uint8]


@functools.cache
def photograph(seed: int, height: int = 96, width: int = 144) -> Photo:
    """A picture with light and shade as of a scene, (height, width, 3)."""
    draws = np.random.default_rng(seed)
    noise = draws.normal(size=(height, width, 3))
    scene = sum(ndimage.gaussian_filter(noise, (size, size, 0)) * size**1.3 for size in (2, 5, 12, 25))
    low, high = np.percentile(scene, (0.5, 99.5))
    return np.asarray(np.clip((scene - low) / (high - low) * 210 + 20, 0, 255), np.uint8)


def darkened(bright: Photo) -> Photo:
    noise = np.random.default_rng(int(bright.sum())).normal(0, 1.5, bright.shape)
    return np.asarray(np.clip(bright * 0.15 + noise, 0, 255).round(), np.uint8)


def add(data: Path, name: str, bright: Photo, dark: Photo | None = None, suffix: str = ".png") -> None:
    for side, picture in (("low", darkened(bright) if dark is None else dark), ("high", bright)):
        path = data / side / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, np.ascontiguousarray(picture), quality=75)


@pytest.fixture(scope="module")
def good_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six good pairs of six scenes, which no test changes."""
    folder = tmp_path_factory.mktemp("good")
    for number in range(6):
        add(folder, f"scene {number}", photograph(number))
    return folder


@pytest.fixture
def data(good_data: Path, tmp_path: Path) -> Path:
    """Its own copy of them."""
    return Path(shutil.copytree(good_data, tmp_path / "data"))


def found(data: Path, val: Path | None = None) -> list[Finding]:
    return check(list_pairs(data), list_pairs(val) if val else None)


def kinds(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.severity, finding.kind) for finding in findings]


def only(findings: list[Finding], kind: str) -> Finding:
    (finding,) = [finding for finding in findings if finding.kind == kind]
    return finding


def test_nothing_is_found_in_good_data(data: Path, tmp_path: Path) -> None:
    add(tmp_path / "val", "other", photograph(77))
    assert found(data, tmp_path / "val") == []


# Each spoils one thing of good data; of which kind the finding is; what its line says --------------------------------


def damage(data: Path) -> None:
    file = data / "low/scene 1.png"
    file.write_bytes(file.read_bytes()[:2000])


def bring_a_stranger(data: Path) -> None:
    (data / "high/scene 1.png").write_bytes(b"Kodak Photo CD")


def make_clear(data: Path) -> None:
    alpha = np.dstack([photograph(1), photograph(1)[..., 0]])
    write_image(data / "high/scene 1.png", alpha, overwrite=True)


def lose_a_partner(data: Path) -> None:
    (data / "high/scene 1.png").unlink()


def take_a_second_file(data: Path) -> None:
    write_image(data / "low/scene 1.jpg", darkened(photograph(1)))


def crop_one(data: Path) -> None:
    write_image(data / "high/scene 1.png", photograph(1)[:80], overwrite=True)


def swap(data: Path) -> None:
    low, high = data / "low/scene 1.png", data / "high/scene 1.png"
    low.rename(data / "held.png")
    high.rename(low)
    (data / "held.png").rename(high)


def exchange_partners(data: Path) -> None:
    one, other = data / "high/scene 1.png", data / "high/scene 2.png"
    one.rename(data / "held.png")
    other.rename(one)
    (data / "held.png").rename(other)


def shake(data: Path) -> None:
    large = photograph(1, 100, 150)
    add_again(data, large[4:100, 6:150], darkened(large[1:97, 4:148]))


def brighten_the_dark_one(data: Path) -> None:
    add_again(data, photograph(1), photograph(1) - 2)


def blow_out(data: Path) -> None:
    add_again(data, np.clip(photograph(1).astype(int) * 3, 0, 255).astype(np.uint8))


def copy_a_pair(data: Path) -> None:
    for side in ("low", "high"):
        (data / side / "copy.png").write_bytes((data / side / "scene 1.png").read_bytes())


def take_another_of_one_scene(data: Path) -> None:
    add(data, "again", photograph(1)[2:, 3:])


def add_again(data: Path, bright: Photo, dark: Photo | None = None) -> None:
    for side in ("low", "high"):
        (data / side / "scene 1.png").unlink()
    add(data, "scene 1", bright, dark)


@pytest.mark.parametrize(
    ("spoil", "severity", "kind", "said"),
    [
        (damage, "error", "unreadable", "low/scene 1.png: expected a whole PNG image"),
        (bring_a_stranger, "error", "unreadable", "high/scene 1.png: expected a JPEG, PNG, WebP"),
        (make_clear, "error", "alpha", "high/scene 1.png has an alpha channel"),
        (lose_a_partner, "error", "no-partner", "scene 1 has no partner in"),
        (take_a_second_file, "error", "one-name", "scene 1.png"),
        (crop_one, "error", "size", "144x96 and 144x80"),
        (swap, "error", "swapped", "high/scene 1.png: the dark picture's mean is 0.51"),
        (shake, "warning", "misaligned", "2.0 px too far right and 3.0 px too low"),
        (brighten_the_dark_one, "warning", "hardly-differs", "by 0.009 of the range"),
        (blow_out, "warning", "clipped", "% of the target's pixels are white"),
        (copy_a_pair, "warning", "duplicate", "(whole copies, dark picture included: 1)"),
        (take_another_of_one_scene, "warning", "near-duplicate", "2 pairs with 2 different bright pictures"),
    ],
)
def test_what_is_wrong_is_found_and_nothing_else(
    data: Path, spoil: Callable[[Path], None], severity: str, kind: str, said: str
) -> None:
    spoil(data)
    findings = found(data)
    assert kinds(findings) == [(severity, kind)]
    line = findings[0].line
    assert said in line
    assert "scene 1" in line
    assert "\n" not in line


def test_partners_that_were_exchanged_are_told_with_what_fits(data: Path) -> None:
    exchange_partners(data)
    findings = found(data)
    assert kinds(findings) == [("error", "wrong-scene")] * 2
    assert "low/scene 1.png" in findings[0].line
    assert f"it fits {data}/high/scene 2.png" in findings[0].line


def test_pictures_of_noise_are_not_called_another_scene(data: Path) -> None:
    add_again(data, photograph(1), np.random.default_rng(0).integers(0, 3, (96, 144, 3), np.uint8))
    assert found(data) == []


def test_a_file_without_a_partner_is_told_on_its_side(data: Path) -> None:
    (data / "low/scene 1.png").unlink()
    (exhibit,) = only(found(data), "no-partner").examples
    assert (exhibit.dark, exhibit.bright) == (None, data / "high/scene 1.png")
    write_image(data / "high/scene 2.jpg", photograph(2))
    exhibits = only(found(data), "one-name").examples
    assert [(exhibit.dark, exhibit.bright.suffix) for exhibit in exhibits if exhibit.bright] == [
        (None, ".jpg"),
        (None, ".png"),
    ]


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.5, -1.25), (3.4, 2.2), (-14.0, 9.0)])
def test_shifts_are_measured_to_a_quarter_of_a_pixel(shift: tuple[float, float]) -> None:
    large = photograph(3, 256, 320).astype(np.float32)
    moved = ndimage.shift(large, (*shift, 0), order=3, mode="nearest")
    bright, dark = (np.clip(each[20:-20, 20:-20], 0, 255).astype(np.uint8) for each in (moved, large))
    found = shift_between(darkened(dark).transpose(2, 0, 1), bright.transpose(2, 0, 1))
    assert found is not None
    assert abs(found.down - shift[0]) < 0.25
    assert abs(found.right - shift[1]) < 0.25


# Scenes on both sides ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda photo: photo,
        lambda photo: photo[2:-2, 2:-2],
        lambda photo: photo[:, ::-1],
        lambda photo: photo[2:-2, -3:2:-1],
        lambda photo: photo[::2, ::2],
        lambda photo: np.asarray(photo * 0.6 + 10, np.uint8),
    ],
    ids=["as it is", "cropped", "mirrored", "cropped and mirrored", "halved", "darker"],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_scene_of_both_sides_is_found_whatever_was_done_to_it(
    data: Path, tmp_path: Path, change: Callable[[Photo], Photo], suffix: str
) -> None:
    for number in range(3):
        add(tmp_path / "val", f"copy of {number}", change(photograph(number)), suffix=suffix)
    add(tmp_path / "val", "a scene of its own", photograph(99))
    findings = found(data, tmp_path / "val")
    assert kinds(findings) == [("error", "leak")] * 3
    for number, finding in enumerate(findings):
        for file in (f"val/high/copy of {number}{suffix} (validation)", f"data/high/scene {number}.png (training)"):
            assert file in finding.line
    assert check_sample(find_pairs(data), find_pairs(tmp_path / "val")) == [finding.line for finding in findings]


@pytest.mark.parametrize(
    ("bits", "same_light", "expected"), [(10, False, True), (11, False, False), (20, True, True), (21, True, False)]
)
def test_close_hashes_decide_alone_and_near_ones_need_light_that_agrees(
    bits: int, same_light: bool, expected: bool
) -> None:
    one = compute_signature(photograph(1).transpose(2, 0, 1))
    light = one.light if same_light else compute_signature(photograph(2).transpose(2, 0, 1)).light
    other = replace(one, hash=one.hash ^ ((1 << bits) - 1), light=light)
    opposite = one.hash ^ (2**64 - 1)
    (near,) = find_alike([replace(one, mirrored=opposite)], [replace(one, hash=opposite ^ (2**32 - 1)), other])
    assert near.tolist() == ([1] if expected else [])


def test_the_very_same_dark_picture_on_both_sides_is_a_leak_too(data: Path, tmp_path: Path) -> None:
    add(tmp_path / "val", "moved", photograph(1)[::-1], darkened(photograph(1)))
    assert "the very same" in only(found(data, tmp_path / "val"), "leak").sentence


def test_before_a_run_swapped_and_wrong_pairs_are_found_without_warnings(data: Path) -> None:
    blow_out(data)
    assert check_sample(find_pairs(data), []) == []
    brighten_the_dark_one(data)
    for side in ("low", "high"):
        (data / side / "scene 2.png").unlink()
    add(data, "scene 2", photograph(2) - 2, photograph(2))  # hardly differs, and is no swap
    assert check_sample(find_pairs(data), []) == []
    swap(data)
    assert check_sample(find_pairs(data), []) == []
    add_again(data, photograph(1))
    swap(data)
    (line,) = check_sample(find_pairs(data), [])
    assert line.startswith("error: swapped: ")


def test_the_look_before_a_run_takes_a_sample_of_the_dark_pictures(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(checking, "QUICK_SAMPLE", 2)
    read_signature = checking.read_signature
    monkeypatch.setattr(checking, "read_signature", lambda path: (looked.append(path), read_signature(path))[1])
    check_sample(find_pairs(data), [])
    assert sorted(path.parent.name for path in looked) == ["high"] * 6 + ["low"] * 2


# The command ---------------------------------------------------------------------------------------------------------


def test_good_data_ends_with_0_and_says_nothing(command: Callable[..., object], data: Path) -> None:
    done = command("data", "check", data)
    assert (done.code, done.out) == (0, "")
    assert "6 pairs: 0 errors, 0 warnings" in done.err


def test_warnings_end_with_0_and_errors_with_1(command: Callable[..., object], data: Path) -> None:
    copy_a_pair(data)
    done = command("data", "check", data)
    assert done.code == 0
    assert done.out.startswith("warning: duplicate: ")
    lose_a_partner(data)
    done = command("data", "check", data)
    assert done.code == 1
    assert done.out.startswith("error: no-partner: ")


def test_a_finding_is_one_whole_line_whatever_its_files_are_called(command: Callable[..., object], data: Path) -> None:
    name = "häßliche 写真 $^$ & <b> " + 40 * "long " + "name"
    add(data, name, photograph(1)[:80], photograph(1))
    line_break = "two\nlines"
    add(data, line_break, photograph(2)[:80], photograph(2))
    done = command("data", "check", data, "--report", data.parent / "report")
    lines = done.out.splitlines()
    assert len(lines) == len([line for line in lines if line.startswith(("error: ", "warning: "))])
    assert any(f"low/{name}.png | {data}/high/{name}.png: " in line for line in lines)
    assert any("two\\nlines" in line for line in lines)


def test_names_that_are_no_text_are_told_too(command: Callable[..., object], data: Path) -> None:
    os.rename(os.fsencode(data / "low/scene 1.png"), os.fsencode(data / "low") + b"/sc\xffne.png")  # noqa: PTH104
    done = command("data", "check", data, "--report", data.parent / "report")
    assert done.code == 1
    assert "sc\\udcffne.png" in done.out
    done.out.encode()


def test_16_bit_beside_8_bit_and_grey_are_good_data(command: Callable[..., object], data: Path) -> None:
    deep = photograph(11).astype(np.uint16) * 257
    add(data, "deep", photograph(11), deep // 6)
    add(data, "grey", photograph(12)[..., 0])
    done = command("data", "check", data)
    assert (done.code, done.out) == (0, "")


def test_validation_chosen_by_names_is_taken_out_of_training(command: Callable[..., object], data: Path) -> None:
    (data.parent / "val.txt").write_text("scene 1\nscene 4\n")
    done = command("data", "check", data, "--val-names", data.parent / "val.txt")
    assert (done.code, done.out) == (0, "")
    assert "4 pairs and 2 to validate on" in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["EMPTY"], "no pairs found"),
        (["gone"], "expected a folder of pairs; there is none"),
        (["DATA", "--val", "EMPTY"], "no pairs found"),
        (["DATA", "--val", "gone"], "expected a folder of pairs; there is none"),
        (["DATA", "--report", "DATA/report"], "lies in the data"),
        (["DATA", "--report", "DATA/low"], "lies in the data"),
        (["DATA", "--report", "OTHER"], "holds something else than an earlier report"),
        (["DATA", "--report", "gone/report"], "there is no folder"),
    ],
)
def test_what_cannot_be_checked_is_said_before_any_work(
    command: Callable[..., object], data: Path, arguments: list[str], sentence: str
) -> None:
    root = data.parent
    for folder in ("empty/low", "empty/high", "other"):
        (root / folder).mkdir(parents=True)
    (root / "other/letter.txt").write_text("dear")
    places = {"DATA": data, "EMPTY": root / "empty", "OTHER": root / "other", "gone": root / "gone"}
    spelt = [str(places.get(each.split("/")[0], each)) + each[len(each.split("/")[0]) :] for each in arguments]
    before = sorted(root.rglob("*"))
    done = command("data", "check", *[each if each.startswith("/") else f"{each}" for each in spelt])
    assert done.code == 2
    assert sentence in done.err
    assert sorted(root.rglob("*")) == before


# The report ----------------------------------------------------------------------------------------------------------


def test_without_a_report_no_file_is_written(command: Callable[..., object], data: Path) -> None:
    copy_a_pair(data)
    before = sorted(data.parent.rglob("*"))
    command("data", "check", data)
    assert sorted(data.parent.rglob("*")) == before


def test_a_report_holds_page_json_and_sheets_and_replaces_an_earlier_one(
    command: Callable[..., object], data: Path
) -> None:
    report = data.parent / "report <1>"
    copy_a_pair(data)
    lose_a_partner(data)
    bring_a_stranger(data)
    done = command("data", "check", data, "--report", report)
    assert done.code == 1
    told = json.loads((report / "findings.json").read_text())
    assert (told["errors"], told["warnings"]) == (1, 0)
    assert [(each["kind"], each["files"][0]["name"]) for each in told["findings"]] == [("unreadable", "scene 1")]
    assert sorted(path.name for path in report.iterdir()) == ["findings.json", "index.html", "sheet-unreadable-1.png"]
    (data / "high/scene 1.png").unlink()
    (data / "low/scene 1.png").unlink()
    command("data", "check", data, "--report", report)
    assert json.loads((report / "findings.json").read_text())["findings"] == []
    assert sorted(path.name for path in report.iterdir()) == ["findings.json", "index.html"]
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "report <1>"]


def test_the_page_escapes_names_links_its_sheets_and_loads_nothing_from_elsewhere(
    command: Callable[..., object], data: Path
) -> None:
    add(data, "<img src=x onerror=alert(1)> & co", photograph(7)[:80], photograph(7))
    report = data.parent / "report"
    command("data", "check", data, "--report", report)
    page = (report / "index.html").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt; &amp; co" in page
    assert 'src="sheet-size-1.png"' in page
    assert "http" not in page
    with Image.open(report / "sheet-size-1.png") as sheet:
        assert sheet.width > 2 * 200


def test_the_sheets_of_many_findings_are_several_and_the_page_says_where_they_end(
    command: Callable[..., object], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mirnet.datasets.check_report.ROWS", 1)
    monkeypatch.setattr("mirnet.datasets.check_report.MOST_SHEETS", 2)
    for number in range(8):
        write_image(data / "low" / f"alone {number}.png", darkened(photograph(number)))
    report = data.parent / "report"
    command("data", "check", data, "--report", report)
    assert sorted(path.name for path in report.glob("*.png")) == ["sheet-no-partner-1.png", "sheet-no-partner-2.png"]
    assert "The sheets show the first 6 of 8." in (report / "index.html").read_text()


def test_a_report_that_fails_leaves_the_earlier_one(
    command: Callable[..., object], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = data.parent / "report"
    command("data", "check", data, "--report", report)
    before = (report / "findings.json").read_bytes()
    copy_a_pair(data)

    def full(*ignored: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mirnet.datasets.check_report._draw_sheet", full)
    assert command("data", "check", data, "--report", report).code == 1
    assert (report / "findings.json").read_bytes() == before
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "report"]


def test_a_report_that_cannot_take_its_place_gives_it_back(
    command: Callable[..., object], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = data.parent / "report"
    command("data", "check", data, "--report", report)
    moves: list[Path] = []
    rename = Path.rename

    def fail_once(self: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 2:  # the earlier one has gone aside, the new one comes
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    assert command("data", "check", data, "--report", report).code == 1
    assert (report / "findings.json").exists()
    assert sorted(path.name for path in data.parent.iterdir()) == ["data", "report"]


# The split -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def by_scene(data: Path) -> Path:
    """Twelve pairs of six scenes."""
    for number in range(6):
        add(data, f"more of {number}", photograph(number)[:, ::-1])
    return data


def test_a_split_by_scene_is_two_lists_that_find_their_pairs(command: Callable[..., object], by_scene: Path) -> None:
    folder = by_scene.parent / "lists"
    folder.mkdir()
    done = command("data", "split", by_scene, "-o", folder)
    assert done.code == 0, done.err
    training, validation = (find_pairs(by_scene, names=folder / f"{side}.txt") for side in ("train", "val"))
    assert sorted(pair.name for pair in training + validation) == sorted(pair.name for pair in find_pairs(by_scene))
    assert validation
    assert {pair.name[-1] for pair in training} & {pair.name[-1] for pair in validation} == set()
    names = (folder / "train.txt", folder / "val.txt")
    done = command("data", "check", by_scene, "--names", names[0], "--val-names", names[1])
    assert done.code == 0
    assert "leak" not in done.out
    assert [len(scene) for scene in scenes(training)] == [2] * (len(training) // 2)


def test_a_split_never_overwrites_and_never_goes_into_the_data(command: Callable[..., object], by_scene: Path) -> None:
    folder = by_scene.parent
    (folder / "val.txt").write_text("mine\n")
    for output, sentence in (
        (folder, "val.txt: already there"),
        (by_scene, "lies in the data"),
        (by_scene / "low", "lies in the data"),
        (folder / "gone", "there is no such folder"),
    ):
        done = command("data", "split", by_scene, "-o", output)
        assert done.code == 2
        assert sentence in done.err
    assert (folder / "val.txt").read_text() == "mine\n"
    assert not (folder / "train.txt").exists()


def test_one_scene_cannot_be_split(command: Callable[..., object], tmp_path: Path) -> None:
    for name, photo in (("a", photograph(0)), ("b", photograph(0)[:, ::-1])):
        add(tmp_path / "data", name, photo)
    done = command("data", "split", tmp_path / "data", "-o", tmp_path)
    assert done.code == 2
    assert "all 2 pairs show one scene" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
