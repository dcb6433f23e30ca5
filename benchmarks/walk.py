"""How many of the project's files one `mirnet enhance` of a JPEG runs through, and which call each other both ways.

    python benchmarks/walk.py                                    # examples/room-twin.jpg, by the command line
    python benchmarks/walk.py PHOTO --api                        # by `mirnet.enhance(PHOTO)`
    PYTHONPATH=OTHER/src python benchmarks/walk.py --files       # the code of another commit; names the files, too

A file counts where a function of it runs; module bodies, and what they call, do not count. File A calls file B where a
function of A is the nearest one of the project on the stack above a function of B; resuming a generator is a call.
"""

import argparse
import os
import runpy
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PHOTO = REPOSITORY / "examples" / "room-twin.jpg"


class Walk:
    """Collects, as a profile function, which files of a folder run and which call which."""

    def __init__(self, folder: Path) -> None:
        self._root = f"{folder}{os.sep}"
        self._bodies = threading.local()  # how many module bodies are being executed in this thread
        self.files: set[str] = set()
        self.calls: set[tuple[str, str]] = set()  # caller, callee

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event not in ("call", "return"):
            return
        if frame.f_code.co_name == "<module>":
            self._bodies.count = getattr(self._bodies, "count", 0) + (1 if event == "call" else -1)
            return
        called = self._name(frame)
        if event == "return" or called is None or getattr(self._bodies, "count", 0) > self._outer_bodies:
            return
        self.files.add(called)
        above = frame.f_back
        while above is not None and self._name(above) is None:
            above = above.f_back
        if above is not None and above.f_code.co_name != "<module>" and self._name(above) != called:
            self.calls.add((str(self._name(above)), called))

    @property
    def _outer_bodies(self) -> int:
        """The body of `mirnet/__main__.py`, inside which the whole command runs, is none of an import."""
        return 1 if threading.current_thread() is threading.main_thread() and self.by_command else 0

    by_command = True

    def _name(self, frame: FrameType) -> str | None:
        name = frame.f_code.co_filename
        return name.removeprefix(self._root) if name.startswith(self._root) else None

    def both_ways(self) -> list[tuple[str, str]]:
        """The pairs of files that call each other."""
        return sorted(pair for pair in self.calls if pair[0] < pair[1] and pair[::-1] in self.calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--api", action="store_true", help="call mirnet.enhance instead of the command line")
    parser.add_argument("--files", action="store_true", help="print the names of the files")
    arguments = parser.parse_args()
    import mirnet

    with tempfile.TemporaryDirectory() as folder:
        os.environ["MIRNET_CACHE"] = folder  # empty: the network is compiled, as on a first run
        photo = Path(folder) / "photo.jpg"
        photo.write_bytes(arguments.photo.read_bytes())
        walk = Walk(Path(mirnet.__file__).parent)
        walk.by_command = not arguments.api
        sys.argv = ["mirnet", "enhance", str(photo)]
        threading.setprofile(walk)
        sys.setprofile(walk)
        try:
            if arguments.api:
                mirnet.enhance(str(photo))
            else:
                runpy.run_module("mirnet", run_name="__main__")
        except SystemExit as ended:
            if ended.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        assert (Path(folder) / "photo.bright.jpg").is_file()
    if arguments.files:
        print("\n".join(sorted(walk.files)))
    pairs = walk.both_ways()
    print(f"{len(walk.files)} files; {len(pairs)} pairs that call each other both ways")
    for one, other in pairs:
        print(f"  {one} and {other}")


if __name__ == "__main__":
    main()
