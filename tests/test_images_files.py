"""Written files are whole or not there, and nothing is replaced unasked."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from sample_pictures import photo, refusing, smooth

from mirnet import images
from mirnet.errors import OutputExists, PictureError, SettingsError


@pytest.fixture
def picture() -> images.Image:
    return images.open_image(photo("jpeg"))


def test_a_saved_file_is_what_write_picture_gives_and_stands_alone(tmp_path, picture):
    images.save_image(tmp_path / "out.jpg", picture.bands(9), picture)
    assert (tmp_path / "out.jpg").read_bytes() == images.encode_image(picture.bands(9), picture)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]


def test_a_copy_has_the_very_bytes_and_replaces_nothing_unasked(tmp_path):
    source, target = tmp_path / "in.jpg", tmp_path / "out.jpg"
    source.write_bytes(photo("jpeg"))
    images.copy_file(source, target)
    assert target.read_bytes() == photo("jpeg")
    target.write_bytes(b"precious")
    with pytest.raises(OutputExists):
        images.copy_file(source, target)
    assert target.read_bytes() == b"precious"
    with pytest.raises(PictureError, match="no such file"):
        images.copy_file(tmp_path / "nothing.jpg", tmp_path / "new.jpg")
    assert len(list(tmp_path.iterdir())) == 2


def test_an_existing_file_is_left_alone_unless_told_otherwise(tmp_path, picture):
    path = tmp_path / "out.jpg"
    path.write_bytes(b"precious")

    def never():
        pytest.fail("bands were asked for though there is nowhere to write them")
        yield

    with pytest.raises(OutputExists, match=r"out\.jpg: is already there and was left alone"):
        images.save_image(path, never(), picture)
    with pytest.raises(OutputExists):
        images.write_image(tmp_path / "out.jpg", smooth())
    assert path.read_bytes() == b"precious"
    images.save_image(path, picture.bands(9), picture, overwrite=True)
    assert images.read_image(path).shape == (64, 48, 3)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_left_alone(tmp_path, picture, monkeypatch, links):
    path = tmp_path / "out.jpg"
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", refusing(OSError(errno.EPERM, "no links here")))

    def bands():
        yield from picture.bands(9)
        path.write_bytes(b"precious")

    with pytest.raises(OutputExists, match="appeared meanwhile"):
        images.save_image(path, bands(), picture)
    assert path.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_disk_without_links_works(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(Path, "hardlink_to", refusing(OSError(errno.EPERM, "no links here")))
    images.save_image(tmp_path / "out.jpg", picture.bands(9), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jpg"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_nothing_behind(tmp_path, picture, monkeypatch, overwrite):
    path = tmp_path / "out.jpg"
    if overwrite:
        path.write_bytes(b"earlier output")
    before = list(tmp_path.iterdir())
    monkeypatch.setattr(os, "fsync", refusing(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(
        PictureError, match=r"out\.jpg: could not be written \(No space left on device\).* free some space"
    ):
        images.save_image(path, picture.bands(9), picture, overwrite=overwrite)
    assert list(tmp_path.iterdir()) == before
    assert not overwrite or path.read_bytes() == b"earlier output"


def test_a_really_full_disk_leaves_nothing_behind(tiny_disk):
    disk = tiny_disk("64k")
    with pytest.raises(PictureError, match="No space left on device"):
        images.write_image(disk / "out.png", np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8))
    assert not list(disk.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, PictureError])
def test_whatever_stops_the_bands_leaves_nothing_behind(tmp_path, picture, error):
    def bands():
        yield next(picture.bands(9))
        raise error

    with pytest.raises(error):
        images.save_image(tmp_path / "out.jpg", bands(), picture)
    assert not list(tmp_path.iterdir())


def test_an_interrupt_while_writing_leaves_nothing_behind(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(os, "fsync", refusing(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        images.save_image(tmp_path / "out.jpg", picture.bands(9), picture)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_missing_or_closed_gets_a_sentence(tmp_path, picture, monkeypatch):
    def never():
        pytest.fail("bands were asked for though there is nowhere to write them")
        yield

    with pytest.raises(PictureError, match="there is no folder"):
        images.save_image(tmp_path / "nowhere" / "out.jpg", never(), picture)
    monkeypatch.setattr(Path, "open", refusing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(PictureError, match="you may not write in"):
        images.save_image(tmp_path / "out.jpg", picture.bands(9), picture)


def test_new_files_have_the_usual_permissions(tmp_path):
    images.write_image(tmp_path / "ours.png", smooth())
    (tmp_path / "usual").touch()
    assert (tmp_path / "ours.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_webp_says_how_large_a_picture_it_holds(tmp_path):
    with pytest.raises(PictureError, match="WebP holds at most 16383 pixels a side, but the image has 16384 x 1"):
        images.write_image(tmp_path / "wide.webp", np.zeros((1, 16384), np.uint8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((4, 4, 5), np.uint8), "shape"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4, 3), np.uint8), "shape"),
        (np.full((4, 4), 1.5), r"floats in \[0, 1\], but they reach from 1.5 to 1.5"),
        (np.full((4, 4), np.nan), r"floats in \[0, 1\]"),
        (np.zeros((4, 4), np.int64), "int64"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(tmp_path, array, sentence):
    with pytest.raises(SettingsError, match=sentence):
        images.write_image(tmp_path / "out.png", array)


def test_an_unknown_suffix_format_or_quality_is_refused(tmp_path, picture):
    with pytest.raises(SettingsError, match=r"expected a name that ends in \.jpg"):
        images.write_image(tmp_path / "out.gif", smooth())
    with pytest.raises(SettingsError, match="expected one of jpeg, png, webp, tiff"):
        images.encode_image(picture.bands(9), picture, format="gif")
    with pytest.raises(SettingsError, match="quality 0: expected a whole number from 1 to 100"):
        images.encode_image(picture.bands(9), picture, quality=0)
