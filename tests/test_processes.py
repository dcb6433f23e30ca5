"""Several processes share a run: the same gradient, every pair once, one voice. Two of them, by torchrun and gloo."""

import csv
import os
import runpy
import socket
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from safetensors.torch import load_file
from torch.distributed.run import get_args_parser

from mirnet.cli import main
from mirnet.errors import SettingsError
from mirnet.images import write_image
from mirnet.training.processes import share_of_batch

WORKER = Path(__file__).with_name("two_ranks.py")
PAIRS = 12  # one and a half global batches of two times four


def write_pairs(folder: Path, count: int, seed: int) -> None:
    for number in range(count):
        patches = np.random.default_rng(seed + number).integers(30, 256, (3, 4, 3), dtype=np.uint8)
        bright = patches.repeat(8, 0).repeat(8, 1)
        for side, picture in (("low", bright // 8), ("high", bright)):
            (folder / side).mkdir(parents=True, exist_ok=True)
            write_image(folder / side / f"pair {number}.png", picture)


@dataclass(frozen=True)
class Two:
    """What two processes left, and what one alone did with the same settings."""

    out: Path
    code: int
    said: str
    alone: Path
    record: dict[str, Any]

    def of(self, rank: int) -> dict[str, Any]:
        return dict(torch.load(self.out / f"record {rank}.pt"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    """One start of torchrun for all: on a small machine starting takes longer than these runs."""
    folder = tmp_path_factory.mktemp("two")
    write_pairs(folder / "data", PAIRS, 0)
    write_pairs(folder / "val", 3, 50)
    (folder / "out").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-addr", "127.0.0.1",
               "--master-port", str(port), str(WORKER), str(folder), str(folder / "out")]  # fmt: skip
    started = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
    )  # fmt: skip
    try:
        record = runpy.run_path(str(WORKER))["whole"](folder, folder / "alone")
        said, _ = started.communicate(timeout=300)
    finally:
        started.terminate()  # torchrun ends both; nothing where they have ended
        started.wait()
    return Two(folder / "out", started.returncode, said, folder / "alone", record)


def test_both_processes_come_to_their_end(two: Two) -> None:
    assert all((two.out / f"fine {rank}").exists() for rank in (0, 1)), two.said


def test_the_gradient_of_two_processes_is_that_of_one_with_the_same_global_batch(two: Two) -> None:
    alone = two.record["gradient"]
    assert max(float(gradient.abs().max()) for gradient in alone.values()) > 1e-2
    for rank in (0, 1):
        shared = two.of(rank)["gradient"]
        assert shared.keys() == alone.keys()
        assert max(float((shared[name] - alone[name]).abs().max()) for name in alone) < 1e-6


def test_weights_after_several_steps_agree(two: Two) -> None:
    ours, theirs = (
        load_file(run / "checkpoints/1-restorer-00000006.safetensors") for run in (two.alone, two.out / "whole")
    )
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours if name.startswith("network/")) < 1e-3


def test_every_pair_is_seen_once_an_epoch_by_one_of_the_two(two: Two) -> None:
    seen: list[int] = []
    for first, second in zip(two.of(0)["pictures"], two.of(1)["pictures"], strict=True):
        assert first[0] == second[0]
        assert len(first[1]) == len(second[1]) == 2
        seen += first[1] + second[1]
    for epoch in range(len(seen) // PAIRS):
        assert sorted(seen[epoch * PAIRS : (epoch + 1) * PAIRS]) == list(range(PAIRS, 2 * PAIRS))
    assert seen == [picture for _, pictures in two.record["pictures"] for picture in pictures]


def rows(run: Path, column: str) -> list[float]:
    with (run / "log.csv").open(newline="") as file:
        return [float(row[column]) for row in csv.DictReader(file) if row[column]]


def test_validation_is_counted_once(two: Two) -> None:
    for column in ("psnr", "ssim", "psnr_gt_mean", "stops_error_rms", "validation_loss"):
        assert len(rows(two.alone, column)) == 2
        assert rows(two.out / "whole", column) == pytest.approx(rows(two.alone, column), abs=2e-3)


def test_the_log_tells_of_the_global_batch(two: Two) -> None:
    for column in ("loss", "train_psnr", "gradient_norm", "crop_pixels"):
        assert rows(two.out / "whole", column)[:4] == pytest.approx(rows(two.alone, column)[:4], rel=2e-3)


def test_two_processes_go_on_bit_for_bit(two: Two) -> None:
    names = sorted(path.name for path in (two.out / "whole/checkpoints").iterdir())
    assert names == sorted(path.name for path in (two.out / "resumed/checkpoints").iterdir())
    for name in ("best.safetensors", *(f"checkpoints/{name}" for name in names)):
        whole, resumed = (load_file(two.out / run / name) for run in ("whole", "resumed"))
        assert all(torch.equal(whole[entry], resumed[entry]) for entry in whole)
    assert rows(two.out / "whole", "loss") == rows(two.out / "resumed", "loss")


def test_what_the_first_process_makes_the_second_waits_for(two: Two) -> None:
    assert len(list((two.out / "photos/validation/low").iterdir())) > 0
    assert (two.out / "photos/best.safetensors").exists()


def test_an_error_of_one_process_ends_both_and_is_told_once(two: Two) -> None:
    assert two.code != 0
    told = [(two.out / f"err {rank}").read_text() for rank in (0, 1)]
    assert "Traceback" not in told[0] + told[1]
    assert (told[0] + told[1]).count("mirnet: ") == 1
    assert "mirnet: a picture: cannot be read." in told[1]
    assert (two.out / "out 1").read_text() == ""
    assert "GLOBAL_RANK" not in two.said  # Lightning's greetings
    assert (two.out / "failing/checkpoints/1-restorer-00000002.safetensors").exists()


# --- without a second process ----------------------------------------------------------------------------------------


def test_a_batch_that_cannot_be_shared_equally_is_refused() -> None:
    fabric: Any = types.SimpleNamespace(world_size=2, global_rank=1)
    assert share_of_batch(fabric, 4) == range(2, 4)
    with pytest.raises(SettingsError, match="2 processes cannot share a batch of 3"):
        share_of_batch(fabric, 3)


def test_torchrun_leaves_every_option_to_us() -> None:
    train = typer.main.get_command(main.app).commands["train"]  # type: ignore[attr-defined]
    options = [option for parameter in train.params for option in parameter.opts if option.startswith("--")]
    assert len(options) > 30
    for option in options:
        ours = ["train", "DATA", option, "7", "--run-dir", "RUN"]
        parsed = get_args_parser().parse_args(["--nproc-per-node", "2", "-m", "mirnet", *ours])
        assert (parsed.training_script, parsed.training_script_args) == ("mirnet", ours)


def test_the_help_names_the_command_for_several_processes() -> None:
    train = typer.main.get_command(main.app).commands["train"]  # type: ignore[attr-defined]
    assert "torchrun --nproc-per-node 2 -m mirnet train" in (train.help or "")
