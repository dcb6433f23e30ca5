"""Damaged and lying files are refused with a sentence or enhanced, and leave nothing behind; `benchmarks/` has more."""

import json
import subprocess
import sys
from collections import defaultdict
from itertools import islice

import extremes
import pytest
from mutations import DAMAGES, corpus, samples

from mirnet import images
from mirnet.formats import FORMATS

FILES, EVERY = 2100, 7  # 7 has no factor in common with the numbers of samples, of damages and of sizes


def test_the_same_seed_makes_the_same_files_and_another_one_others():
    def made(seed: int) -> list[bytes]:
        return [each.content for each in corpus(500, seed)]

    assert made(3) == made(3)
    assert len(set(made(3))) > 480
    assert len(set(made(3)) & set(made(4))) < 20


def test_the_files_are_made_of_sound_pictures_of_every_format():
    for _, kind, content in samples():
        assert images.read_image(content).size > 0, kind
    assert {format for format, _, _ in samples()} == set(FORMATS)
    assert len(list(corpus(len(samples()) * len(DAMAGES)))) == len(samples()) * len(DAMAGES)


def test_the_short_run_holds_every_format_and_every_damage():
    names = [each.name for each in islice(corpus(FILES, 0, extremes.small()), 0, None, EVERY)]
    for damage in DAMAGES:
        assert sum(damage.__name__.replace("_", "-") in name for name in names) > 10, damage
    for part in ("says-", "icc-", "xmp-", "exif-", "nan", "inf", "head-", "1x300", "300x1"):
        assert any(part in name for name in names), part


def test_300_bad_files_are_refused_with_a_sentence_or_enhanced_and_leave_nothing_behind(repository, tmp_path):
    """In a process of their own, since a library that ends it would end the tests."""
    script, report = repository / "benchmarks" / "fuzz_pictures.py", tmp_path / "report.jsonl"
    options = [
        "--files",
        str(FILES),
        "--every",
        str(EVERY),
        "--small",
        "--max-megapixels",
        "1",
        "--report",
        str(report),
    ]
    done = subprocess.run([sys.executable, script, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    verdicts = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(verdicts) == FILES // EVERY
    outcomes = defaultdict(set)
    for verdict in verdicts:
        outcomes[verdict["name"].split("-")[1].split(".")[0]].add(verdict["outcome"])
    assert outcomes.pop("none") == {"refused"}
    assert outcomes == {format: {"accepted", "refused"} for format in FORMATS}


@pytest.mark.parametrize("size", [(2**31 - 1, 1), (1, 2**31 - 1)])
def test_an_avif_that_states_a_size_that_there_is_not_is_refused_in_silence(size, tmp_path):
    path = tmp_path / "long.avif"
    path.write_bytes(extremes.of_size("avif", extremes.pillow_bytes(extremes.smooth(), "avif"), *size))
    code = "import sys\nfrom mirnet import images\nfrom pathlib import Path\nimages.open_image(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "--max-megapixels" in done.stderr
    assert "CRITICAL" not in done.stderr
