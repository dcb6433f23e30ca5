"""A report tells of each picture once, whoever is killed while it grows and however often the command is repeated."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

import mirnet
from mirnet import write_image
from mirnet.batch import jobs
from mirnet.batch.jobs import BatchJob, Outcome
from mirnet.batch.reports import ReportFile
from mirnet.errors import MirnetError, PictureError, SettingsError
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings


@pytest.fixture
def enhancer(fake_weights, fake_runtime) -> Enhancer:
    return Enhancer(fake_weights(), runtime=fake_runtime)


@pytest.fixture
def job(tmp_path: Path) -> BatchJob:
    write_image(tmp_path / "a.png", np.full((40, 50, 3), 30, np.uint8))
    return BatchJob(tmp_path / "a.png", tmp_path / "out/a.png")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.jsonl"


def report(path: Path, enhancer: Enhancer, *outcomes: Outcome) -> None:
    file = ReportFile(path, enhancer.weights)
    for outcome in outcomes:
        file.add(outcome)
    file.close()


def run(job: BatchJob, enhancer: Enhancer, **settings: object) -> Outcome:
    (outcome,) = jobs.run([job], enhancer, Settings(**settings))
    return outcome


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_says_what_was_done(path, job, enhancer):
    report(path, enhancer, run(job, enhancer, exposure=0.5))
    (line,) = lines(path)
    seconds, when = line.pop("seconds"), line.pop("when")
    assert line == {
        "status": "enhanced", "source": str(job.source), "output": str(job.target), "width": 50, "height": 40,
        "bytes": job.source.stat().st_size, "output_bytes": job.target.stat().st_size, "megapixels": 0.002,
        "proposed_stops": 2.0, "stops": 2.5, "settings": Settings(exposure=0.5).described(), "precision": "f32",
        "weights": "fake", "weights_sha256": enhancer.card.sha256, "mirnet": mirnet.__version__,
        "remarks": [], "error": None,
    }  # fmt: skip
    assert 0 < seconds < 60
    assert when.endswith("+00:00")


def test_a_failure_has_its_sentence_each_time(path, job, enhancer):
    failed = Outcome(job, error=PictureError("broken; mend it"))
    report(path, enhancer, failed)
    report(path, enhancer, failed)
    assert [(line["status"], line["error"]) for line in lines(path)] == [("failed", "broken; mend it")] * 2


def test_a_repeated_run_adds_no_second_line(path, job, enhancer):
    report(path, enhancer, run(job, enhancer))
    report(path, enhancer, run(job, enhancer))
    assert [line["status"] for line in lines(path)] == ["enhanced"]


def test_a_result_whose_line_was_lost_with_its_run_gets_one(path, job, enhancer):
    run(job, enhancer)  # and killed before the report
    report(path, enhancer, run(job, enhancer))
    report(path, enhancer, run(job, enhancer))
    assert [(line["status"], line["output_bytes"]) for line in lines(path)] == [("found", job.target.stat().st_size)]


@pytest.mark.parametrize(
    "torn", [b'{"sta', b'{"status": "enhanced", "output": "x', b'{"status": "enhanced", "output": "x"}']
)
def test_a_line_that_a_killed_run_began_costs_no_other(path, job, enhancer, torn):
    path.write_bytes(torn)
    report(path, enhancer, run(job, enhancer))
    first, second = path.read_bytes().splitlines()
    assert (first, json.loads(second)["status"]) == (torn, "enhanced")


def test_every_name_is_one_line_of_ascii(path, job, enhancer):
    name = os.fsdecode(b"two\nlines \xff \xc3\xa9.png")
    report(path, enhancer, run(BatchJob(job.source.rename(job.source.with_name(name)), job.target), enhancer))
    (line,) = lines(path)
    assert line["source"].endswith(name)
    assert path.read_bytes().isascii()


def test_several_runs_may_share_one_report(path, job, enhancer):
    first, second = ReportFile(path, enhancer.weights), ReportFile(path, enhancer.weights)
    for file in (first, second, first):
        file.add(Outcome(job, error=PictureError("broken")))
    assert len(lines(path)) == 3


def test_a_full_disk_is_a_sentence(enhancer, job):
    with pytest.raises(MirnetError, match=r"/dev/full: the report cannot be written \(No space left on device\)"):
        report(Path("/dev/full"), enhancer, Outcome(job, error=PictureError("broken")))


@pytest.mark.parametrize("name", ["a.png", "report.JPG", "b.nef"])
def test_a_picture_is_never_taken_for_a_report(tmp_path, enhancer, name):
    with pytest.raises(SettingsError, match="a picture's name"):
        ReportFile(tmp_path / name, enhancer.weights)
    assert not (tmp_path / name).exists()


def test_a_file_that_is_something_else_stays_as_it_is(path, enhancer):
    path.write_text("dear diary\n")
    with pytest.raises(SettingsError, match="holds something that is no report"):
        ReportFile(path, enhancer.weights)
    assert path.read_text() == "dear diary\n"
