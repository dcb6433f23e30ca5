"""What a person types: the right exit code, a sentence where something is wrong, and no half-done file anywhere."""

import dataclasses
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import mirnet
from mirnet import images
from mirnet.cli import main
from mirnet.cli.enhance import enhance
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings

pytestmark = pytest.mark.usefixtures("fake_networks")


@pytest.fixture
def weights(fake_weights) -> Path:
    return fake_weights()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return picture(tmp_path / "in" / "a.jpg")


def picture(path: Path, height: int = 30, width: int = 41) -> Path:
    path.parent.mkdir(exist_ok=True)
    mirnet.write_image(path, np.random.default_rng(0).integers(0, 90, (height, width, 3), np.uint8))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Done: 0 -------------------------------------------------------------------------------------------------------------


def test_a_photo_is_enhanced_beside_itself_and_its_line_says_the_stops(command, weights, photo):
    before = photo.read_bytes()
    done = command("enhance", photo, "--weights", weights, "--exposure", "0.5")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(rf"{photo} -> {photo.parent}/a\.bright\.jpg  41x30  \+2\.5 stops  \d+\.\d\d s\n", done.out)
    assert names(photo.parent) == ["a.bright.jpg", "a.jpg"]
    assert photo.read_bytes() == before


def test_a_folder_goes_into_a_folder_that_holds_pictures_only(command, weights, photo, tmp_path):
    picture(photo.with_name("b.png"))
    (photo.parent / "notes.txt").write_text("")
    done = command("enhance", photo.parent, "-o", tmp_path / "new" / "out", "--weights", weights)
    assert (done.code, len(done.out.splitlines())) == (0, 3)
    assert re.fullmatch(r"2 enhanced; 0\.0 megapixels in \d+\.\d s, 0\.\d\d a second", done.out.splitlines()[-1])
    assert names(tmp_path / "new" / "out") == ["a.jpg", "b.png"]


def test_what_is_there_is_skipped_and_no_failure(command, weights, photo):
    command("enhance", photo, "--weights", weights)
    first = photo.with_name("a.bright.jpg").read_bytes()
    done = command("enhance", photo, "--weights", weights, "--exposure", "1")
    assert done.code == 0
    assert done.out == f"{photo.with_name('a.bright.jpg')}: is there already, left alone (--overwrite replaces it)\n"
    assert photo.with_name("a.bright.jpg").read_bytes() == first
    command("enhance", photo.parent, "--weights", weights, "--exposure", "1", "--overwrite")
    assert photo.with_name("a.bright.jpg").read_bytes() != first
    assert names(photo.parent) == ["a.bright.jpg", "a.jpg"]


def test_a_lying_suffix_is_remarked(command, weights, photo):
    photo.rename(photo.with_suffix(".png"))
    done = command("enhance", photo.with_suffix(".png"), "--weights", weights)
    assert done.code == 0
    assert "is a JPEG image in spite of its suffix" in done.out
    assert images.open_image(photo.with_name("a.bright.png")).header.format == "jpeg"


OPTIONS = {
    "strength": ("--strength", "0.5", 0.5),
    "exposure": ("--exposure", "-1.5", -1.5),
    "keep_exposure": ("--keep-exposure", None, True),
    "mood": ("--mood", "night", "night"),
    "match": ("--match", "in/a.jpg", Path("in/a.jpg")),
    "warmth": ("--warmth", "-0.5", -0.5),
    "denoise": ("--denoise", "0.25", 0.25),
    "denoise_colour": ("--denoise-colour", "0.5", 0.5),
    "tile": ("--tile", "128", 128),
    "clip": ("--clip", None, True),
    "format": ("--format", "png", "png"),
    "strip_location": ("--strip-location", None, True),
    "max_megapixels": ("--max-megapixels", "12", 12.0),
    "quality": ("--quality", "70", 70),
    "provenance": ("--no-provenance", None, False),
    "overwrite": ("--overwrite", None, True),
}


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Settings)])
def test_every_setting_is_an_option_and_a_keyword(command, weights, photo, tmp_path, monkeypatch, name):
    """And nothing is an option or keyword alone: the twin below."""
    monkeypatch.chdir(tmp_path)
    seen = []
    run = Enhancer.enhance_file

    def spy(self, source, target, settings, *others):
        seen.append(settings)
        return run(self, source, target, settings, *others)

    monkeypatch.setattr(Enhancer, "enhance_file", spy)
    option, text, value = OPTIONS[name]
    assert command("enhance", photo, "--weights", weights, option, *([text] if text else [])).code == 0
    Enhancer(weights).enhance(photo, **({"overwrite": True} | {name: value}))
    assert seen[0] == Settings(**{name: value})
    assert seen[1] == Settings(**({"overwrite": True} | {name: value}))


def test_the_command_line_has_no_settings_of_its_own_and_the_same_defaults():
    here = {"inputs", "output", "recursive", "watch", "shard", "jobs", "report", "ray",
            "weights", "runtime", "device", "fast", "threads"}  # what and where, not how  # fmt: skip
    options = inspect.signature(enhance).parameters
    assert {name: option.default for name, option in options.items() if name not in here} == {
        field.name: field.default for field in dataclasses.fields(Settings)
    }
    keywords = inspect.signature(mirnet.enhance).parameters
    said = {name: keyword.default for name, keyword in keywords.items() if keyword.kind is keyword.KEYWORD_ONLY}
    assert said == {name: getattr(Settings(), name) for name in ("strength", "exposure", "denoise")}
    for_scores = set(inspect.signature(main.evaluate).parameters)
    assert {"strength", "exposure", "keep_exposure", "denoise"} <= for_scores


@pytest.mark.parametrize(
    "option",
    [["--device", "cpu"], ["--threads", "1"], ["--denoise", "auto"], ["--runtime", "openvino"], ["--jobs", "1"]],
)
def test_where_it_runs_can_be_said(command, weights, photo, option):
    assert command("enhance", photo, "--weights", weights, *option).code == 0


def test_weights_are_listed_with_their_scores(command, fake_weights, monkeypatch):
    uses = {"noise": {"weights": "denoise", "keep_exposure": True, "denoise": 1.0}}
    path = fake_weights(scores={"psnr": 21.5}, protocol="whole", licence="CC0", known_failures=["snow"], uses=uses)
    monkeypatch.setattr("mirnet.inference.catalog.FOLDER", path.parent)
    done = command("weights")
    assert done.code == 0
    for said in ("fake", "psnr                 21.500", "protocol: whole", "licence: CC0", "weak: snow",
                 "for noise: mirnet enhance --weights denoise --keep-exposure --denoise 1.0"):  # fmt: skip
        assert said in done.out


def test_info_prints_versions_runtime_and_device(command):
    done = command("info")
    assert done.code == 0
    for said in (f"mirnet {mirnet.__version__}", "python 3.", "openvino 20", "device cpu: ", "libvips 8.", "cores"):
        assert said in done.out


def test_the_version_is_what_people_ask_first(command):
    assert command("--version").out == f"mirnet {mirnet.__version__}\n"


def test_what_the_output_cannot_hold_is_said(command, weights, tmp_path):
    mirnet.write_image(tmp_path / "a.png", np.full((9, 9, 4), 9000, np.uint16))
    done = command("enhance", tmp_path / "a.png", "-o", tmp_path / "a.jpg", "--weights", weights)
    assert done.code == 0
    assert "no transparency" in done.out
    assert "16 bit became 8" in done.out
    again = command("enhance", tmp_path / "a.png", "-o", tmp_path / "b.png", "--weights", weights)
    assert len(again.out.splitlines()) == 1


def test_training_without_its_extra_is_answered_with_the_line_that_installs_it(command, tmp_path, monkeypatch):
    monkeypatch.delattr("mirnet.training.pipeline", raising=False)
    monkeypatch.setitem(sys.modules, "mirnet.training.pipeline", None)
    done = command("train", tmp_path, "--run-dir", tmp_path / "run")
    assert done.code == 2
    assert 'pip install "mirnet[train]"' in done.err


def test_help_loads_neither_numpy_nor_rich_nor_libvips():
    code = "import sys; from mirnet.cli import main\ntry: main.main()\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True)
    assert "enhance" in done.stdout
    assert {"numpy", "rich", "pyvips", "openvino", "torch", "PIL"} & set(done.stderr.split()) == set()


# Refused before any work: 2 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing.jpg"], "nothing.jpg: there is no such file or folder; check the path."),
        (["empty"], "empty: expected images in this folder"),
        (["in", "-o", "in"], "its result would replace in/a.jpg, an original"),
        (["in", "other", "-o", "out"], "in/a.jpg and other/a.jpg would both become out/a.jpg"),
        (["in/a.jpg", "-o", "out.gif"], "out.gif: expected a name that ends in .jpg"),
        (["in", "--strength", "2"], "strength must be a number from 0 to 1, not 2.0"),
        (["in", "--exposure", "5"], "exposure must be a number from -4 to +4 stops, not 5.0"),
        (["in", "--denoise", "much"], 'denoise must be "auto" or a number from 0 to 1, not "much".'),
        (["in", "--denoise", "2"], 'denoise must be "auto" or a number from 0 to 1, not 2.0'),
        (["in", "--jobs", "0"], "jobs must be at least 1, not 0"),
        (["in", "--shard", "3/2"], 'A shard is written as "2/3", the second of three, not "3/2".'),
        (["in", "--shard", "one"], 'not "one"'),
        (["in", "--format", "gif"], 'format must be one of jpeg, png, webp, tiff, avif, not "gif"'),
        (["in/a.jpg", "-o", "out.png", "--format", "jpg"], "out.png: expected a name that ends in .jpg"),
        (["in", "--report", "a.jpg"], "a.jpg: is a picture's name; a report is named like report.jsonl."),
        (["in", "--report", "none/r.jsonl"], "r.jsonl: the report cannot be written there (No such file or directory)"),
        (["in", "--report", "other/notes.txt"], "notes.txt: holds something that is no report of mirnet's"),
        (["in/a.jpg", "--watch"], "--watch needs folders"),
        (["-", "in/a.jpg"], "- stands for one image alone"),
        (["in", "-o", "-"], "- stands for one image alone"),
        (["in/a.jpg", "-o", "-", "--recursive"], "- stands for one image"),
        (["-", "-o", "out"], "out: expected a name that ends in"),
        (["-", "-o", "in/a.jpg"], "in/a.jpg: is there already and was left alone"),
        (["in", "--quality", "0"], "quality must be a whole number from 1 to 100, not 0"),
        (["in", "--threads", "0"], "threads must be at least 1, not 0"),
        (["in", "--weights", "huge"], 'There are no weights named "huge"'),
        (["in", "--weights", "net.pth"], "Run `mirnet export net.pth -o net.onnx`, then pass --weights net.onnx."),
        (["in", "--weights", "none.onnx"], "none.onnx: expected an ONNX file with its card"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    command, weights, photo, tmp_path, monkeypatch, arguments, sentence
):
    monkeypatch.chdir(tmp_path)
    picture(Path("other/a.jpg"))
    Path("other/notes.txt").write_text("mine")
    Path("empty").mkdir()
    before = sorted(str(path) for path in Path().rglob("*"))
    chosen = [] if "--weights" in arguments else ["--weights", weights]
    done = command("enhance", *arguments, *chosen)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("mirnet: ")
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert sorted(str(path) for path in Path().rglob("*")) == before


def test_damaged_weights_are_refused(command, weights, photo):
    weights.write_bytes(b"something else")
    # the real way in, up to the checksum
    done = command("enhance", photo, "--weights", weights)
    assert (done.code, names(photo.parent)) == (2, ["a.jpg"])
    assert "the checksum differs from its card's; the file is damaged" in done.err


@pytest.mark.parametrize("option", [["--keep-exposure"], ["--denoise", "0.5"]])
def test_weights_without_exposure_refuse_on_the_command_line_too(command, fake_weights, photo, option):
    done = command("enhance", photo, "--weights", fake_weights(takes_exposure=False), *option)
    assert (done.code, names(photo.parent)) == (2, ["a.jpg"])
    assert f"{option[0][2:]} cannot be chosen" in done.err


@pytest.mark.parametrize("arguments", [[], ["brighten"], ["enhance"], ["enhance", "--gamma", "2", "in"]])
def test_wrong_usage_is_told(command, arguments):
    done = command(*arguments)
    assert done.code == 2
    assert "Usage: " in done.out + done.err


# Failed on the way: 1 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"no picture", "cut"], ids=["empty", "other", "truncated"])
def test_a_bad_file_is_a_line_on_standard_error_and_the_others_go_on(command, weights, photo, tmp_path, content):
    bad = photo.with_name("bad.jpg")
    bad.write_bytes(photo.read_bytes()[:-200] if content == "cut" else content)
    before = bad.read_bytes()
    picture(photo.with_name("c.jpg"))
    done = command("enhance", photo.parent, "-o", tmp_path / "out", "--weights", weights)
    assert (done.code, len(done.out.splitlines())) == (1, 3)
    assert done.out.splitlines()[-1].startswith("2 enhanced, 1 failed; ")
    assert done.err.startswith(f"mirnet: {bad}: expected a")
    assert len(done.err.splitlines()) == 1
    assert names(tmp_path / "out") == ["a.jpg", "c.jpg"]
    assert bad.read_bytes() == before


def test_a_full_disk_is_a_sentence_and_leaves_nothing(command, weights, photo, tiny_disk):
    disk = tiny_disk("4k")
    large = picture(photo.with_name("large.png"), 200, 200)
    done = command("enhance", large, "-o", disk, "--weights", weights)
    assert (done.code, names(disk)) == (1, [])
    assert "large.png: could not be written (No space left on device), nothing was left behind" in done.err


def test_no_permission_is_a_sentence(command, weights, photo, monkeypatch, require_root):
    require_root()
    command("enhance", photo, "--weights", weights)  # so that all modules are imported: nobody may not read them
    monkeypatch.chdir("/")  # the clone may lie below a folder that nobody may not enter
    with tempfile.TemporaryDirectory(dir="/tmp") as outside:  # pytest's folder and TMPDIR may be private
        folder = Path(outside)
        folder.chmod(0o755)
        weights = shutil.copytree(weights.parent, folder / "weights") / weights.name
        weights.parent.chmod(0o755)
        monkeypatch.setattr("mirnet.inference.catalog.FOLDER", weights.parent)  # nobody may not enter the clone
        mine, secret = picture(folder / "mine.png"), picture(folder / "secret.jpg")
        secret.chmod(0o000)
        before = names(folder)
        os.seteuid(65534)
        try:
            done = command("enhance", mine, secret, "--weights", weights)
        finally:
            os.seteuid(0)
        assert (done.code, done.out) == (1, "0 enhanced, 2 failed\n"), done.err
        first, second = sorted(done.err.splitlines())
        assert first.startswith(
            f"mirnet: {folder}/mine.bright.png: could not be written, you may not write in {folder}"
        )
        assert second.startswith(f"mirnet: {secret}: expected an image, but you may not read this file; change its")
        assert names(folder) == before


def test_an_error_that_nobody_thought_of_is_a_sentence_too(command, weights, photo, monkeypatch):
    def fail(*_):
        raise OSError(5, "Input/output error", "card")

    monkeypatch.setattr(Enhancer, "enhance_file", fail)
    done = command("enhance", photo, "--weights", weights)
    assert (done.code, done.err) == (1, "mirnet: card: Input/output error; check the disk and the path.\n")


# Interrupted: 130 ----------------------------------------------------------------------------------------------------


def test_ctrl_c_ends_at_once_with_a_sentence_and_no_half_done_file(photo, tmp_path):
    """In a process of its own, with the shipped weights, after the first of many pictures."""
    for number in range(15):
        picture(tmp_path / "many" / f"{number:02}.png", 200, 300)
    command = [sys.executable, "-m", "mirnet", "enhance", tmp_path / "many", "-o", tmp_path / "out", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert re.search(r"0[01]\.png", process.stdout.readline())
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said == "mirnet: Interrupted; what was finished stays, nothing is left half-done.\n"
    finished = names(tmp_path / "out")
    assert 1 <= len(finished) < 15
    assert [name for name in finished if not re.fullmatch(r"\d\d\.png", name)] == []
    assert all(mirnet.read_image(tmp_path / "out" / name).shape == (200, 300, 3) for name in finished)


def test_a_library_cannot_take_ctrl_c_for_its_own_failure(command, weights, photo, monkeypatch):
    def interrupted(self, *_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        except Exception:  # noqa: BLE001  as libraries do
            return

    monkeypatch.setattr(Enhancer, "enhance_file", interrupted)
    done = command("enhance", photo, "--weights", weights)
    assert (done.code, done.err.startswith("mirnet: Interrupted")) == (130, True)
