"""What is damaged, too large, or no picture gets a sentence, quickly, and nothing made up."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import again, photo, pillow_bytes, refusing

from mirnet import images
from mirnet.errors import PictureError


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("compression", ["jpeg", "progressive", "png", "webp", "tiff", "tiff_lzw"])
def test_a_file_cut_short_is_an_error_and_never_made_up_rows(tmp_path, compression, share):
    array = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    options = {"progressive": {"progressive": True}, "tiff_lzw": {"compression": "tiff_lzw"}}.get(compression, {})
    format = {"progressive": "jpeg", "tiff_lzw": "tiff"}.get(compression, compression)
    data = pillow_bytes(array, format, **options)
    path = tmp_path / "short.jpg"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(PictureError, match=r"short\.jpg: expected .* (damaged or cut short|none of these)"):
        images.read_image(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty"),
        (b"hello, I am a text file", "the content is none of these"),
        (b"GIF89a" + bytes(50), "shows nothing|damaged or cut short"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "damaged or cut short"),
        (b"\x89PNG\r\n\x1a\n", "damaged or cut short"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "damaged or cut short"),
        (b"II*\0\xff\xff\xff\xff", "damaged or cut short"),
    ],
)
def test_what_is_no_picture_gets_a_sentence_with_its_name(tmp_path, content, sentence):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=rf"holiday\.jpg: expected .*{sentence}"):
        images.open_picture(path)
    with pytest.raises(PictureError, match=f"the picture given as bytes: .*{sentence}"):
        images.open_picture(content)


def test_a_missing_file_a_folder_and_a_pipe_get_a_sentence(tmp_path):
    with pytest.raises(PictureError, match="no such file"):
        images.open_picture(tmp_path / "nothing.jpg")
    with pytest.raises(PictureError, match="this is a folder"):
        images.open_picture(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PictureError, match="device or pipe"):
        images.open_picture(tmp_path / "pipe")


def test_a_file_that_may_not_be_read_gets_a_sentence(tmp_path, monkeypatch):
    path = tmp_path / "private.jpg"
    path.write_bytes(photo("jpeg"))
    path.chmod(0)
    if os.geteuid() == 0:  # root may read everything
        monkeypatch.setattr(Path, "open", refusing(PermissionError(errno.EACCES, "Permission denied")))
    with pytest.raises(PictureError, match=r"private\.jpg: .*you may not read this file"):
        images.open_picture(path)


def test_the_content_and_not_the_suffix_says_what_a_file_is(tmp_path):
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(photo("png"))
    assert images.open_picture(path).header.format == "png"
    assert again(path)[:4] == b"\x89PNG"
    assert "is a PNG picture in spite of its suffix" in images.open_picture(path).remarks[0]
    (tmp_path / "honest.PNG").write_bytes(photo("png"))
    assert images.open_picture(tmp_path / "honest.PNG").remarks == images.open_picture(photo("png")).remarks == ()


@pytest.mark.parametrize("name", ["brackets[Q=1].jpg", "ünïcode ☂.jpg", os.fsdecode(b"not utf-8 \xff.jpg")])
def test_any_file_name_works(tmp_path, name):
    path = tmp_path / name
    picture = images.open_picture(photo("jpeg"))
    images.save_picture(path, picture.bands(16), picture)
    assert images.read_image(path).shape == (64, 48, 3)


def test_damaged_files_print_nothing(tmp_path):
    data = bytearray(photo("jpeg"))
    data[-400:-300] = b"\x55" * 100
    (tmp_path / "damaged.jpg").write_bytes(data)
    (tmp_path / "short.tif").write_bytes(photo("tiff")[:-3000])
    (tmp_path / "short.png").write_bytes(photo("png")[:-300])
    code = (
        "import sys, pathlib\nfrom mirnet import images, errors\n"
        "for path in pathlib.Path(sys.argv[1]).iterdir():\n"
        "    try:\n        images.read_image(path)\n    except errors.PictureError:\n        pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
