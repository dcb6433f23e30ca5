"""Tests mirnet with 2,400 damaged and malicious files of all formats: `python benchmarks/fuzz_pictures.py`.

Each file goes through the whole of `Enhancer.enhance_file`, with --max-megapixels 30, in a monitored process that takes
many files; a process that dies or hangs is counted for its current file, and started again. A file has to be refused
within 5 s with a message that names it, or enhanced within 20 s and 2 s for each megapixel; with at most 1.5 GB of
memory; with nothing in the output folder but a complete image, and nothing written to standard error. Files that take
too much time or memory are tried once more at the end, since other programs may be running. A share of the files then
goes through the command line, which must give the same outcomes.

Prints a Markdown table; the exit code is 1 if anything is wrong. The corpus is made by tests/mutations.py and
tests/extremes.py, the same for the same seed. Linux only.
"""

import argparse
import json
import platform
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice
from pathlib import Path

import PIL.Image

from mirnet import images
from mirnet.errors import MirnetError
from mirnet.formats import make_output_name
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.runtimes import cores
from mirnet.inference.settings import Settings

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import extremes
from mutations import BadFile, corpus

REFUSAL_SECONDS, ACCEPTED_SECONDS, SECONDS_PER_MEGAPIXEL, MEMORY_MB = 5.0, 20.0, 2.0, 1500.0
HOPELESS_SECONDS, HOPELESS_MB = 150.0, 4000.0  # then the process is ended
COLUMNS = ("files", "accepted", "refused", "slowest refusal, s", "slowest accepted, s", "most of its time, %",
           "peak memory, MB", "crashes", "hangs", "partial outputs", "other faults")  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What became of one file."""

    outcome: str  # "accepted", "refused" or "fault"
    said: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    megapixels: float = 0.0
    silence: float = 0.0  # longest time without progress
    kind: str = ""  # of the fault: "crash", "hang" (too long or too much memory, too), "partial", "other"

    def allowed_seconds(self) -> float:
        if self.outcome == "refused":
            return REFUSAL_SECONDS
        return ACCEPTED_SECONDS + SECONDS_PER_MEGAPIXEL * self.megapixels

    def within_limits(self) -> bool:
        return self.outcome == "fault" or (self.seconds <= self.allowed_seconds() and self.peak_mb <= MEMORY_MB)


# The process that is watched ----------------------------------------------------------------------------------------


def serve(max_megapixels: float) -> None:
    """Enhance what standard input names, a line each; answer each with a line."""
    enhancer = Enhancer()
    for line in sys.stdin:
        asked = json.loads(line)
        settings = Settings(max_megapixels=max_megapixels, clip=asked["clip"])
        verdict = enhanced(enhancer, Path(asked["source"]), Path(asked["target"]), settings)
        print(json.dumps(asdict(verdict)), flush=True)


def enhanced(enhancer: Enhancer, source: Path, target: Path, settings: Settings) -> Verdict:
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of memory
    heard, shares = [time.monotonic()], []

    def progress(done: float) -> None:
        heard.append(time.monotonic())
        shares.append(done)

    began, cpu = time.monotonic(), cpu_seconds()
    try:
        report = enhancer.enhance_file(source, target, settings, progress)
        found = Verdict("accepted", "; ".join(report.remarks), megapixels=report.width * report.height / 1e6)
        if not shares or shares[-1] != 1 or sorted(shares) != shares:
            found = Verdict("fault", f"progress came as {shares[:3]} to {shares[-3:]}", kind="other")
    except MirnetError as error:
        named = source.name in str(error)
        found = Verdict("refused", str(error)) if named else Verdict("fault", f"nameless: {error}", kind="other")
    except BaseException as error:  # noqa: BLE001  whatever comes: it is what we look for
        found = Verdict("fault", f"{type(error).__name__}: {error}"[:500], kind="crash")
    ended = time.monotonic()
    silence = max(after - before for before, after in zip(heard, [*heard[1:], ended], strict=True))
    peak = status_mb("self", "VmHWM")
    return replace(found, seconds=ended - began, cpu_seconds=cpu_seconds() - cpu, peak_mb=peak, silence=silence)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def status_mb(process: int | str, field: str) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024 if field in status else 0.0  # a dead one has none


# The one that watches -----------------------------------------------------------------------------------------------


class Watched:
    """A process that enhances one file after the other, started again where it had to be ended."""

    def __init__(self, folder: Path, max_megapixels: float) -> None:
        self._said = folder / "said"
        self._command = [sys.executable, __file__, "--serve", "--max-megapixels", str(max_megapixels)]
        self._process: subprocess.Popen[str] | None = None

    def judge(self, source: Path, target: Path, clip: bool) -> Verdict:
        """The verdict on one file, the state of the output folder included, which is then emptied."""
        verdict = self._asked(source, target, clip)
        left = [path.name for path in target.parent.iterdir()]
        ended = verdict.kind in ("crash", "hang")  # then a hidden draft is nobody's fault
        if verdict.outcome == "accepted" and left == [target.name]:
            wrong = wrong_with(target)
            verdict = replace(verdict, outcome="fault", kind="partial", said=wrong) if wrong else verdict
        elif verdict.outcome == "accepted" or target.name in left or (left and not ended):
            verdict = replace(verdict, outcome="fault", kind="partial", said=f"in the output folder: {left}")
        for name in left:
            (target.parent / name).unlink()
        return verdict

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _asked(self, source: Path, target: Path, clip: bool) -> Verdict:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        before, began = self._said.stat().st_size, time.monotonic()
        process.stdin.write(json.dumps({"source": str(source), "target": str(target), "clip": clip}) + "\n")
        process.stdin.flush()
        while not select.select([process.stdout], [], [], 0.1)[0]:
            seconds, used = time.monotonic() - began, status_mb(process.pid, "VmRSS")
            if seconds > HOPELESS_SECONDS or used > HOPELESS_MB:
                self.end()
                return Verdict("fault", f"ended after {seconds:.0f} s at {used:.0f} MB", seconds, 0, used, kind="hang")
        answer = process.stdout.readline()
        said = self._said.read_bytes()[before:].decode(errors="replace").strip()
        if not answer:
            code = process.wait()
            self.end()
            cause = signal.Signals(-code).name if code < 0 else str(code)
            return Verdict("fault", f"{cause}: {said[-300:]}", time.monotonic() - began, kind="crash")
        verdict = Verdict(**json.loads(answer))
        return replace(verdict, outcome="fault", kind="other", said=f"wrote: {said[:300]}") if said else verdict

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            pipe = subprocess.PIPE
            with self._said.open("w") as said:
                self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=said, text=True)
        return self._process


def wrong_with(output: Path) -> str:
    """What is wrong with a result: mirnet, and Pillow where it knows the kind, open it again."""
    try:
        picture = images.open_image(output)
        for _ in picture.bands(256):
            pass
    except MirnetError as error:
        return f"the result cannot be read: {error}"
    if picture.header.format == "tiff" and (picture.header.depth, picture.header.channels) != (8, 3):
        return ""
    try:
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(output) as image:
            image.load()
    except (OSError, ValueError, SyntaxError) as error:
        return f"Pillow on the result: {error}"
    return ""


# All of them --------------------------------------------------------------------------------------------------------


def judged(bad_files: Iterator[BadFile], folder: Path, max_megapixels: float) -> Iterator[tuple[BadFile, Verdict]]:
    """Each file with its verdict; what was too slow comes last."""
    (folder / "in").mkdir()
    (folder / "out").mkdir()
    watched, again = Watched(folder, max_megapixels), list[BadFile]()

    def judge(bad: BadFile) -> Verdict:
        source, target = folder / "in" / bad.name, folder / "out" / make_output_name(bad.name)
        source.write_bytes(bad.content)
        verdict = watched.judge(source, target, bad.clip)
        source.unlink()
        return verdict

    for bad in bad_files:
        verdict = judge(bad)
        if verdict.within_limits() and verdict.kind != "hang":
            yield bad, verdict
        else:
            again.append(bad)
    for bad in again:  # as late as can be
        watched.end()
        verdict = judge(bad)
        if not verdict.within_limits():
            said = f"{verdict.outcome} after {verdict.seconds:.1f} s, {verdict.peak_mb:.0f} MB: {verdict.said[:200]}"
            verdict = replace(verdict, outcome="fault", said=said, kind="hang")
        yield bad, verdict
    watched.end()


def through_the_command(some: list[tuple[BadFile, Verdict]], folder: Path, max_megapixels: float) -> list[str]:
    """What is wrong with `mirnet enhance FOLDER` over some of the files, by the verdicts that we have."""
    source, target = folder / "command", folder / "results"
    source.mkdir()
    for bad, _ in some:
        (source / bad.name).write_bytes(bad.content)
    command = [sys.executable, "-m", "mirnet", "enhance", str(source), "-o", str(target)]
    done = subprocess.run([*command, "--max-megapixels", str(max_megapixels)], capture_output=True, text=True)
    expected = {make_output_name(bad.name) for bad, verdict in some if verdict.outcome == "accepted"}
    found = {path.name for path in target.iterdir()} if target.is_dir() else set()
    wrong = [f"{name}: enhanced by the library or by the command alone" for name in sorted(expected ^ found)]
    refused = [bad.name for bad, verdict in some if verdict.outcome == "refused"]
    if done.returncode != bool(refused):
        wrong.append(f"the command ended with {done.returncode}")
    if "Traceback" in done.stderr:
        wrong.append(done.stderr[-1000:])
    return wrong + [f"{name}: the command says nothing of it" for name in refused if name not in done.stderr]


def row(name: str, verdicts: list[Verdict]) -> str:
    accepted = [each for each in verdicts if each.outcome == "accepted"]
    refused = [each for each in verdicts if each.outcome == "refused"]
    faults = [sum(each.kind == kind for each in verdicts) for kind in ("crash", "hang", "partial", "other")]
    slowest = [f"{max((each.seconds for each in some), default=0):.2f}" for some in (refused, accepted)]
    share = max((each.seconds / each.allowed_seconds() for each in (*accepted, *refused)), default=0)
    peak = max((each.peak_mb for each in verdicts), default=0)
    cells = [name, len(verdicts), len(accepted), len(refused), *slowest, f"{100 * share:.0f}", f"{peak:.0f}", *faults]
    return "| " + " | ".join(map(str, cells)) + " |"


def run(files: Iterator[BadFile], folder: Path, asked: argparse.Namespace) -> list[str]:
    """Judge all files, print the table, and return what is wrong."""
    by_format: dict[str, list[Verdict]] = defaultdict(list)
    some: list[tuple[BadFile, Verdict]] = []
    wrong: list[str] = []
    lines = asked.report.open("w", buffering=1) if asked.report else None
    began = time.monotonic()
    for number, (bad, verdict) in enumerate(judged(files, folder, asked.max_megapixels)):
        by_format[bad.format].append(verdict)
        if verdict.outcome == "fault":
            wrong.append(f"{bad.name}: {verdict.kind}: {verdict.said}")
            if asked.keep:
                (asked.keep / bad.name).write_bytes(bad.content)
        elif number % 7 == 3 and len(some) < asked.command and not bad.clip and verdict.seconds < 1:
            some.append((bad, verdict))
        if lines:
            lines.write(json.dumps({"name": bad.name, **asdict(verdict)}) + "\n")
    every = [each for verdicts in by_format.values() for each in verdicts]
    print(f"{platform.machine()}, {cores()} cores, Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}\n")
    print(f"| format | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for format, verdicts in by_format.items():
        print(row(format, verdicts))
    print(row("all", every))
    silence = max((each.silence for each in every if each.outcome == "accepted"), default=0)
    print(
        f"\n{time.monotonic() - began:.0f} s in all; longest time without progress in an accepted one: {silence:.1f} s"
    )
    if some:
        differs = through_the_command(some, folder, asked.max_megapixels)
        print(f"Through the command line: {len(some)} files, {len(differs) or 'nothing'} wrong")
        wrong += differs
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=1, help="take only each so many-th of the files")
    parser.add_argument("--small", action="store_true", help="leave out what takes seconds to make or to enhance")
    parser.add_argument("--only", default="", help="take only files with this in their name")
    parser.add_argument("--max-megapixels", type=float, default=30)
    parser.add_argument("--command", type=int, default=300, help="how many files go through the command line, too")
    parser.add_argument("--report", type=Path, help="write what happened to each file here, a line of JSON each")
    parser.add_argument("--keep", type=Path, help="a folder for the files with faults")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.max_megapixels)
        return
    PIL.Image.MAX_IMAGE_PIXELS = None
    if asked.keep:
        asked.keep.mkdir(exist_ok=True)
    made = extremes.small() if asked.small else chain(extremes.small(), extremes.large())
    files = islice(corpus(asked.files, asked.seed, made), 0, None, asked.every)
    with tempfile.TemporaryDirectory() as folder:
        wrong = run((each for each in files if asked.only in each.name), Path(folder), asked)
    for each in wrong:
        print(each, file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
