"""Kills `mirnet enhance FOLDER` at random moments, checks the results: `python benchmarks/kill_folder.py --kills 50`.

The command works through nested folders of small images, is killed with SIGKILL and started again, the same command,
until it ends by itself; then another round begins. The moments are random: while the process starts, while it works,
some results later, and, for every fourth kill, as soon as the temporary file of a result exists (and remains).

After each round: results equal byte for byte to those of an uninterrupted run, none missing and none too many, no
temporary file left, originals unchanged, and one line in the report for each image. Prints a Markdown table; the exit
code is 1 if anything differs. On two cores 50 kills take about four minutes.
"""

import argparse
import hashlib
import json
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mirnet import write_image
from mirnet.inference.runtimes import cores

PICTURES = 40
START_SECONDS = 2.0  # in which a process loads what it needs
AIMS = ("start", "run", "run", "write")


@dataclass
class Round:
    """One folder, from nothing to all results: its kills, and what was wrong at its end."""

    kills: int = 0
    in_write: int = 0
    done_at_kill: list[int] = field(default_factory=list)
    found: int = 0
    wrong: list[str] = field(default_factory=list)


def make_pictures(folder: Path) -> None:
    """Dark seeded pictures in folders three deep, JPEG and PNG, with names that files have."""
    for number in range(PICTURES):
        shape = (90 + number, 200 - number, 3)
        picture = np.random.default_rng(number).integers(0, 60, shape, dtype=np.uint8)
        name = f"{number % 4}/{number % 3} ü/bild {number:02}.{'jpg' if number % 2 else 'png'}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, picture)


def contents(folder: Path) -> dict[str, str]:
    """The sha256 of every file below a folder, by its path there."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def start(pictures: Path, place: Path, out: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mirnet", "enhance", str(pictures), "-o", str(place / out), "--recursive"]
    options = ["--jobs", "2", "--threads", "1", "--report", str(place / f"{out}.jsonl")]
    return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(out: Path) -> int:
    return sum(path.is_file() and path.name[0] != "." for path in out.rglob("*"))


def drafts(out: Path) -> list[Path]:
    return list(out.rglob(".mirnet-*"))


def kill(process: subprocess.Popen[bytes], out: Path, aim: str, draw: random.Random) -> bool:
    """Kill a process at a moment of that kind; false where it ended before."""
    began, there = time.monotonic(), finished(out)
    moment = began + draw.uniform(0, START_SECONDS) if aim == "start" else began
    wished = there + draw.randrange(PICTURES // 5)
    known = set(drafts(out))

    def wait_on() -> bool:
        if aim == "start":
            return time.monotonic() < moment
        return finished(out) < wished or (aim == "write" and not set(drafts(out)) - known)

    while process.poll() is None and wait_on():
        time.sleep(0 if aim == "write" else 0.002)
    if aim == "run":
        time.sleep(draw.uniform(0, 0.1))
    process.kill()
    process.communicate()
    return process.returncode < 0


def play(pictures: Path, place: Path, whole: dict[str, str], kills: int, draw: random.Random) -> Round:
    """One round: killed `kills` times at most, then left alone until it ends."""
    played, out = Round(), place / "out"
    shutil.rmtree(out, ignore_errors=True)
    (place / "out.jsonl").unlink(missing_ok=True)
    while played.kills < kills:
        if not kill(start(pictures, place, "out"), out, draw.choice(AIMS), draw):
            break
        played.kills += 1
        played.in_write += bool(drafts(out))
        played.done_at_kill.append(finished(out))
    process = start(pictures, place, "out")
    _, said = process.communicate()
    if process.returncode:
        played.wrong.append(f"ended with {process.returncode}: {said.decode()}")
    played.wrong += differences(whole, contents(out))
    lines = [json.loads(line) for line in (place / "out.jsonl").read_bytes().splitlines() if is_whole(line)]
    played.found = sum(line["status"] == "found" for line in lines)
    counted = Counter(str(Path(line["output"]).relative_to(out)) for line in lines)
    played.wrong += [f"{name}: {counted[name]} lines in the report" for name in whole if counted[name] != 1]
    return played


def is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def differences(expected: dict[str, str], there: dict[str, str]) -> list[str]:
    names = sorted(expected.keys() | there.keys())
    return [f"{name}: differs, is missing or too many" for name in names if expected.get(name) != there.get(name)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    draw, rounds = random.Random(asked.seed), list[Round]()
    with tempfile.TemporaryDirectory() as folder:
        pictures, place = Path(folder) / "in", Path(folder)
        make_pictures(pictures)
        originals = contents(pictures)
        if start(pictures, place, "whole").wait():
            sys.exit("The run that nobody killed failed.")
        whole = contents(place / "whole")
        while (left := asked.kills - sum(each.kills for each in rounds)) > 0:
            rounds.append(play(pictures, place, whole, left, draw))
            untouched = contents(pictures) == originals
            print(f"round {len(rounds)}: {rounds[-1]}, originals untouched: {untouched}", file=sys.stderr)
            if not untouched:
                rounds[-1].wrong.append("originals were changed")
    print(f"{platform.machine()}, {cores()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    print("| round | kills | while a result was written | results there at each kill | lines told later | wrong |")
    print("|---|---|---|---|---|---|")
    for number, each in enumerate(rounds, 1):
        done, wrong = ", ".join(map(str, each.done_at_kill)), "; ".join(each.wrong) or "nothing"
        print(f"| {number} | {each.kills} | {each.in_write} | {done} | {each.found} | {wrong} |")
    kills, in_write, found = (sum(getattr(each, name) for each in rounds) for name in ("kills", "in_write", "found"))
    print(f"| all | {kills} | {in_write} | | {found} | {sum(len(each.wrong) for each in rounds) or 'nothing'} |")
    sys.exit(any(each.wrong for each in rounds))


if __name__ == "__main__":
    main()
