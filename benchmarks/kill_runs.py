"""Kills training runs at random moments and resumes them: `python benchmarks/kill_runs.py --kills 30`.

Every run is killed a few times with SIGKILL, its main process alone, started again at once with --resume, and at its
end compared with an uninterrupted run: weights, optimiser, moving average, best network, scores and log have to be
equal bit for bit. The moments are random: while a process starts, while it trains and validates, and, for every third
kill, while it writes a checkpoint (then the temporary file remains, by which the table recognises it).

Prints a Markdown table; the exit code is 1 if anything differs. On two idle cores 30 kills take about eight minutes.
"""

import argparse
import csv
import itertools
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors import safe_open

import mirnet
from mirnet import write_image

DRAFT = ".part"  # files that are being written are named so
CLOCK = ("seconds", "samples_per_second", "waiting")  # columns and entries that no two runs share
AIMS = ("write", "run", "start")  # in turn
WRITE_SECONDS = 0.005  # after a draft's first sight; its writing takes a few hundredths of a second


@dataclass(frozen=True)
class Kill:
    """One kill: where the run was, and from where it went on."""

    run: int
    moment: str
    in_write: bool
    goes_on_from: str


def make_pictures(folder: Path) -> Path:
    """Pairs to train on in `data`, odd-sized ones to validate on in `val`; seeded patches, the dark side an eighth."""
    for number in range(8):
        random_ = np.random.default_rng(number)
        bright = np.kron(random_.integers(30, 256, (7, 9, 3), dtype=np.uint8), np.ones((8, 8, 1), dtype=np.uint8))
        bright = bright if number < 6 else bright[:53, : 69 - number]
        for side, picture in (("low", bright // 8), ("high", bright)):
            target = folder / ("data" if number < 6 else "val") / side / f"Bild ä {number}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            write_image(target, picture, overwrite=True)
    return folder


def start(command: list[str], run: Path) -> subprocess.Popen[bytes]:
    """The command that begins a run, and the very same that goes on with it."""
    return subprocess.Popen([*command, "--run-dir", str(run), "--resume"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # fmt: skip


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process to end well; what it said is shown where it doesn't."""
    _, said = process.communicate()
    if process.returncode:
        sys.exit(f"A run ended with {process.returncode} instead of going on:\n{said.decode()}")


def drafts(run: Path) -> set[str]:
    """The checkpoints that are being written, or were when a process was killed."""
    folder = run / "checkpoints"
    return {name for name in os.listdir(folder) if name.endswith(DRAFT)} if folder.is_dir() else set()  # noqa: PTH208  quick


def rows_of(run: Path) -> bytes:
    log = run / "log.csv"
    return log.read_bytes() if log.exists() else b""


def wait_for_draft(process: subprocess.Popen[bytes], run: Path, before: int) -> None:
    """Until a checkpoint is being written, `before` ones are let pass."""
    seen: set[str] = set()
    while process.poll() is None and len(seen) <= before:
        seen |= drafts(run) - STALE
        time.sleep(0.001)


STALE: set[str] = set()  # drafts that earlier kills left, until the run has cleared them away


def wait_for_row(process: subprocess.Popen[bytes], run: Path) -> None:
    """Until the process has logged something of its own; going on, it first drops rows of the one before."""
    known = rows_of(run)
    while process.poll() is None and known.startswith(rows_of(run)):
        time.sleep(0.01)


def kill(process: subprocess.Popen[bytes], run: Path, number: int, aim: str, draw: random.Random,
         seconds: tuple[float, float]) -> Kill | None:  # fmt: skip
    """Kill the process at a drawn moment; None where it ended before. `seconds`: to its first step, and after it."""
    STALE.update(drafts(run))
    known = rows_of(run)
    if aim == "write":
        wait_for_draft(process, run, draw.randrange(3))
        time.sleep(draw.uniform(0, WRITE_SECONDS))
    elif aim == "run":
        wait_for_row(process, run)
        time.sleep(draw.uniform(0, seconds[1]))
    else:
        time.sleep(draw.uniform(0, seconds[0]))
    if process.poll() is not None:
        return None
    process.kill()  # it alone; started again below, as soon as it is gone
    process.communicate()
    in_write = bool(drafts(run) - STALE)
    kept = sorted(file.stem for file in (run / "checkpoints").glob("[!.]*.safetensors"))
    return Kill(number, moment(run, known), in_write, kept[-1] if kept else "the beginning")


def moment(run: Path, known: bytes) -> str:
    """The last row of the log says where a run is; `known` is what the log was when the process began."""
    if known.startswith(rows_of(run)):
        return "starting"
    with (run / "log.csv").open(newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return f"{last['phase']} {last['step']}" + (", validated" if last["psnr"] else "")


def differences(run: Path, other: Path) -> list[str]:
    """What two finished runs do not share; [] where they are equal bit for bit."""
    names = sorted(path.relative_to(run) for path in run.rglob("[!.]*.safetensors"))
    if names != sorted(path.relative_to(other) for path in other.rglob("[!.]*.safetensors")):
        return ["other checkpoints"]
    found = [str(name) for name in names if content(run / name) != content(other / name)]
    return found + (["log.csv"] if log(run) != log(other) else [])


def content(path: Path) -> tuple[object, dict[str, bytes]]:
    """Header (without the clock) and the bytes of every tensor."""
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()["mirnet"])
        header["place"].pop("seconds")
        return header, {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118  it is no dict


def log(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return [{name: row[name] for name in row if name not in CLOCK} for row in csv.DictReader(file)]


def undisturbed(command: list[str], run: Path) -> tuple[float, float]:
    """A run that nobody kills; gives the seconds to its first step and those after it."""
    began = time.monotonic()
    process = start(command, run)
    wait_for_row(process, run)
    first = time.monotonic()
    finish(process)
    return first - began, time.monotonic() - first


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30, help="how many in all")
    parser.add_argument("--kills-per-run", type=int, default=6, help="then the run may finish, and is compared")
    parser.add_argument("--data", type=Path, help="pairs to train on; default: small ones, made for this")
    parser.add_argument("--steps", type=int, default=60, help="of the restorer; the head makes a third of them")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    if asked.steps < 6:
        parser.error("fewer than 6 steps write too few checkpoints to be killed in")
    return asked


def main() -> None:
    asked = arguments()
    draw = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="mirnet kills é ") as name:
        folder = Path(name)
        data = [asked.data] if asked.data else [make_pictures(folder) / "data", "--val", folder / "val"]
        options = (
            f"--preset lite --recipe lite --crop 32 --batch 2 --steps {asked.steps} --head-steps {asked.steps // 3} "
            f"--warmup-steps 5 --checkpoint-steps 3 --validate-steps {max(asked.steps // 2, 1)} --log-steps 1 "
            "--threads 1 --device cpu"
        )
        command = [sys.executable, "-m", "mirnet", "train", *(str(each) for each in data), *options.split()]
        seconds = undisturbed(command, folder / "whole")
        # a run that is killed so often has only so many of its seconds before each
        pause = seconds[0], seconds[1] / (asked.kills_per_run + 1)
        aims = itertools.cycle(AIMS)
        kills: list[Kill] = []
        verdicts: dict[int, list[str]] = {}
        while len(kills) < asked.kills:
            number = len(verdicts) + 1
            run = folder / f"run {number}"
            here = 0
            process = start(command, run)
            while here < min(asked.kills_per_run, asked.kills - len(kills) + here):
                made = kill(process, run, number, next(aims), draw, pause)
                if made is None:
                    break
                kills.append(made)
                here += 1
                process = start(command, run)
            finish(process)
            verdicts[number] = differences(run, folder / "whole")
            print(f"run {number}: {here} kills, {'; '.join(verdicts[number]) or 'equal'}", file=sys.stderr)
    report(command, kills, verdicts)
    sys.exit(1 if any(verdicts.values()) else 0)


def report(command: list[str], kills: list[Kill], verdicts: dict[int, list[str]]) -> None:
    print(f"mirnet {mirnet.__version__}, torch {version('torch')}, Python {platform.python_version()}, "
          f"{os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}")  # fmt: skip
    print(f"`mirnet train DATA {' '.join(command[command.index('--preset') :])}`\n")
    print("| kill | run | killed at | writing a checkpoint | went on from | the run's bits at its end |")
    print("|---|---|---|---|---|---|")
    for number, made in enumerate(kills, 1):
        bits = "; ".join(verdicts[made.run]) + " differ" if verdicts[made.run] else "equal"
        writing = "yes" if made.in_write else ""
        print(f"| {number} | {made.run} | {made.moment} | {writing} | {made.goes_on_from} | {bits} |")
    wrong = sum(1 for found in verdicts.values() if found)
    print(f"\n{len(kills)} kills in {len(verdicts)} runs, {sum(made.in_write for made in kills)} of them while a "
          f"checkpoint was being written; {wrong} runs differ from the one that nobody killed.")  # fmt: skip


if __name__ == "__main__":
    main()
