"""`mirnet runs` lists what was trained, whatever state it is in, and draws two runs in one figure."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from mirnet.errors import SettingsError
from mirnet.training.runs.summary import differences, find_runs, read_run, same_validation

COLUMNS = "phase,step,seconds,crop_pixels,loss,train_psnr,learning_rate,gradient_norm,psnr,ssim,psnr_true_exposure"


def safetensors_file(path: Path, **header: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors.numpy.save({"x": np.zeros(3, np.float32)}, {"mirnet": json.dumps(header)}))


def make_run(folder: Path, *, steps: int = 100, done: int = 100, psnr: float = 20.0, sha: str | None = "abc",
             **settings: object) -> Path:  # fmt: skip
    """A run folder as training leaves it, without the training."""
    place = {"phase": "restorer", "step": done, "seconds": 36.0 * done, "crop_pixels": done * 1000, "crops": done * 8}
    recipe = {"optimiser": "adam", "learning_rate": 0.001, "stages": [{"share": 1.0, "crop_px": 32, "batch": 8}]}
    about = {
        "settings": {"preset": "lite", "recipe": recipe, "steps": steps, "hours": None, "head_steps": 5, **settings},
        "data": {"validation": {"sha256": sha}}, "started": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(about))
    (folder / "lock").touch()
    safetensors_file(folder / f"checkpoints/1-restorer-{done:08d}.safetensors", place=place)
    scores = {"psnr": psnr, "ssim": 0.8, "psnr_gt_mean": psnr + 4, "psnr_true_exposure": float("nan")}
    safetensors_file(folder / "best.safetensors", place={"step": done // 2}, scores=scores)
    rows = ["head,5,1.0,0,0.5,,0.001,1.0,,,"]
    for step in range(10, done + 1, 10):
        rows.append(f"restorer,{step},{36 * step},{step * 1000},{1 / step},15,0.001,1.0,,,")
        rows.append(f"restorer,{step},{36 * step},{step * 1000},,,,,{psnr - 10 / step},0.7,{psnr + 1}")
    (folder / "log.csv").write_text("\r\n".join([COLUMNS, *rows, ""]))
    return folder


def states(folder: Path) -> dict[str, str]:
    return {run.name: run.state for run in find_runs(folder)[0]}


def test_runs_are_found_at_any_depth_with_what_a_person_asks_first(command, tmp_path):
    make_run(tmp_path / "one", psnr=21.5)
    make_run(tmp_path / "week/two", preset="paper", recipe={"name": "plain"})
    done = command("runs", tmp_path)
    assert (done.code, done.err) == (0, "")
    heading, one, two = (line.split() for line in done.out.splitlines())
    assert heading[:4] == ["run", "state", "preset", "recipe"]
    assert " ".join(one) == "one finished lite adam 0.001 100 of 100 1.00 800 0.1 21.50 0.800 25.50 -"
    assert two[:4] == ["week/two", "finished", "paper", "plain"]


def test_json_has_all_of_it(command, tmp_path):
    make_run(tmp_path / "one", done=40)
    said = json.loads(command("runs", tmp_path, "--json").out)
    (run,) = said["runs"]
    assert (run["name"], run["state"], run["step"], run["steps"], run["samples"]) == (
        "one",
        "interrupted",
        40,
        100,
        320,
    )
    assert run["best"] == {"psnr": 20.0, "ssim": 0.8, "psnr_gt_mean": 24.0, "step": 20}
    assert run["hours"] == pytest.approx(0.4)
    assert run["settings"]["head_steps"] == 5


def test_the_state_is_running_while_a_process_holds_the_lock(tmp_path):
    make_run(tmp_path / "a", done=40)
    make_run(tmp_path / "b")
    assert states(tmp_path) == {"a": "interrupted", "b": "finished"}
    hold = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    holding = [sys.executable, "-c", hold, str(tmp_path / "a/lock")]
    with subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        assert states(tmp_path) == {"a": "running", "b": "finished"}
        holder.communicate(b"\n")
    assert states(tmp_path) == {"a": "interrupted", "b": "finished"}


def test_looking_leaves_the_lock_free_and_nothing_new(tmp_path):
    run = make_run(tmp_path / "a")
    before = sorted(path for path in tmp_path.rglob("*"))
    find_runs(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*")) == before
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_run_by_the_clock_is_finished_when_its_hours_are_over(tmp_path):
    make_run(tmp_path / "a", hours=1.0)
    make_run(tmp_path / "b", hours=1.5)
    assert states(tmp_path) == {"a": "finished", "b": "interrupted"}
    assert read_run(tmp_path / "b").progress == "100, 1.0 of 1.5 h"


def test_a_run_in_its_head_says_so(tmp_path):
    run = make_run(tmp_path / "a", done=10)
    (run / "checkpoints/1-restorer-00000010.safetensors").unlink()
    (run / "log.csv").write_text(f"{COLUMNS}\r\nhead,3,1.0,0,0.5,,,,,,\r\n")
    assert (read_run(run).progress, read_run(run).state) == ("head 3 of 5", "interrupted")


def test_the_log_is_believed_where_it_is_further_than_the_checkpoint(tmp_path):
    run = make_run(tmp_path / "a", done=50)
    with (run / "log.csv").open("a") as log:
        log.write("restorer,70,2520,70000,0.1,,,,,,\r\nrestorer,8")  # the last row is being written
    here = read_run(run)
    assert (here.step, here.crop_pixels) == (70, 70000)


def test_circles_of_links_end_and_nothing_is_listed_twice(tmp_path):
    make_run(tmp_path / "runs/one")
    (tmp_path / "runs/circle").symlink_to(tmp_path / "runs")
    (tmp_path / "runs/again").symlink_to(tmp_path / "runs/one")
    (tmp_path / "elsewhere").mkdir()
    make_run(tmp_path / "elsewhere/two")
    (tmp_path / "runs/linked").symlink_to(tmp_path / "elsewhere")
    found, _ = find_runs(tmp_path / "runs")
    assert sorted(run.path.resolve().name for run in found) == ["one", "two"]


def test_what_is_no_run_or_damaged_gets_a_sentence_and_the_list_goes_on(command, tmp_path):
    make_run(tmp_path / "good")
    for name, content in (("empty", b""), ("broken", b'{"settings": '), ("other", b"[1]"), ("latin", b'{"\xff": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_bytes(content)
    (tmp_path / "photos").mkdir()
    lost = make_run(tmp_path / "lost")
    (lost / "run.json").unlink()
    cut = make_run(tmp_path / "cut")
    (cut / "best.safetensors").write_bytes((cut / "best.safetensors").read_bytes()[:40])
    done = command("runs", tmp_path)
    assert done.code == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["run", "cut", "good"]
    for sentence in (
        "empty: its run.json is damaged", "broken: its run.json is damaged", "latin: its run.json is damaged",
        "other: its run.json is no description of a training run", "lost: has no run.json that can be read",
        "cut/best.safetensors: is damaged or no file of mirnet's", "no runs in photos; a run folder holds a run.json.",
    ):  # fmt: skip
        assert sentence in done.err


@pytest.mark.parametrize("content", [b"", b"\xff" * 200, b"\0" * 8, (8).to_bytes(8, "little") + b"[1, 2]  ", b"\x05"])
def test_no_damage_of_a_checkpoint_stops_the_list(tmp_path, content):
    run = make_run(tmp_path / "a")
    (run / "best.safetensors").write_bytes(content)
    (run / "checkpoints/1-restorer-00000100.safetensors").write_bytes(content)
    (run / "log.csv").write_bytes(b"\xff\xfe" + content)
    found = read_run(run)
    assert found.best == {}
    assert len(found.remarks) == 3


def test_a_folder_that_is_not_there_or_holds_nothing_is_said(command, tmp_path):
    missing = command("runs", tmp_path / "none")
    assert (missing.code, "expected a folder with runs in it; there is none" in missing.err) == (2, True)
    assert "holds no runs." in command("runs", tmp_path).out
    with pytest.raises(SettingsError):
        find_runs(tmp_path / "none")


def test_a_run_folder_itself_is_a_list_of_one(tmp_path):
    assert states(make_run(tmp_path / "one")) == {"one": "finished"}


def test_listing_needs_neither_torch_nor_matplotlib(tmp_path):
    make_run(tmp_path / "one")
    code = (
        "import sys\nfor name in ('torch', 'matplotlib', 'safetensors', 'numpy'): sys.modules[name] = None\n"
        "from mirnet.training.runs.summary import find_runs\n"
        "import pathlib; print(*(run.state for run in find_runs(pathlib.Path(sys.argv[1]))[0]))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment)
    assert done.stdout == "finished\n", done.stderr


# Two of them ---------------------------------------------------------------------------------------------------------


def test_what_differs_between_two_runs_is_named(tmp_path):
    a, b = read_run(make_run(tmp_path / "a")), read_run(make_run(tmp_path / "b", steps=200, ema=0.9, sha="other"))
    assert list(differences(a, b)) == [
        ("steps", "100", "200"), ("data.validation.sha256", "abc", "other"), ("ema", "-", "0.9")
    ]  # fmt: skip
    assert not same_validation(a, b)
    assert same_validation(a, a)


def test_two_runs_are_drawn_in_one_figure_that_is_never_written_over_a_file(command, tmp_path, monkeypatch):
    from mirnet.training.runs import comparison

    drawn, panel = [], comparison._panel
    monkeypatch.setattr(comparison, "_panel", lambda *given: drawn.append(given) or panel(*given))
    odd = "deep/$\\b$夜"  # no formula, and a sign that the font lacks
    make_run(tmp_path / "a")
    make_run(tmp_path / odd, steps=200, done=150)
    figure = tmp_path / "two.png"
    done = command("runs", tmp_path, "--compare", "a", odd, "-o", figure)
    assert (done.code, done.err) == (0, "")
    assert "steps: 100 | 200" in done.out.splitlines()
    with Image.open(figure) as picture:
        assert picture.format == "PNG"
        picture.load()
    assert {(column, across) for _, _, column, across, _ in drawn} == {
        (column, across)
        for column in ("psnr", "psnr_true_exposure", "ssim", "loss")
        for across in ("crop_pixels", "step")
    }
    for axes, _, column, across, scale in drawn:
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", odd]
        if column == "psnr":
            last = axes.get_lines()[1].get_xydata()[-1]
            assert last == pytest.approx((150 * (1000 if across == "crop_pixels" else 1) / scale, 20 - 10 / 150))
    before = figure.read_bytes()
    again = command("runs", tmp_path, "--compare", "a", odd, "-o", figure)
    assert (again.code, "is there already and is not replaced" in again.err) == (2, True)
    assert figure.read_bytes() == before


def test_scores_on_different_pictures_are_not_called_a_comparison(command, tmp_path, monkeypatch):
    monkeypatch.setattr("mirnet.training.runs.comparison.draw", lambda a, b: b"a figure")
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", sha="other")
    done = command("runs", tmp_path, "--compare", "a", "b", "-o", tmp_path / "two.png")
    assert "their scores don't say which is better" in done.out
    said = json.loads(command("runs", tmp_path, "--compare", "a", "b", "-o", tmp_path / "3.png", "--json").out)
    assert (said["same_validation"], said["differ"]) == (False, {"data.validation.sha256": ["abc", "other"]})


def test_runs_without_any_validation_can_be_drawn(tmp_path):
    from mirnet.training.runs import comparison

    runs = []
    for name in ("a", "b"):
        run = make_run(tmp_path / name, done=0)
        (run / "log.csv").unlink()
        runs.append(read_run(run))
    assert comparison.draw(*runs).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--compare", "a", "b"], "say where with -o FIGURE.png"),
        (["-o", "two.png"], "name two runs"),
        (["--compare", "a", "none", "-o", "two.png"], "none: there is no such run in"),
        (["--compare", "a", "b", "-o", "two.jpg"], "choose a name that ends in .png"),
    ],
)
def test_comparisons_that_cannot_be_drawn_are_refused(command, tmp_path, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "a")
    make_run(tmp_path / "b")
    done = command("runs", tmp_path, *options)
    assert (done.code, done.out) == (2, "")
    assert sentence in done.err
    assert not (tmp_path / "two.png").exists()
