"""What the tests of several processes run, in each of two by torchrun and once alone: PICTURES OUT on the command line.

Not a test: `test_processes.py` starts it, and looks at what it leaves in OUT.
"""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mirnet import network
from mirnet.cli import main as command_line
from mirnet.errors import Cancelled, DataError
from mirnet.network import LiteConfig
from mirnet.training import loop, pipeline, recipes
from mirnet.training.batches import Batch
from mirnet.training.optimisation import Optimisation
from mirnet.training.runs import figures, progress_strip
from mirnet.training.runs.folder import RunFolder
from mirnet.training.settings import TrainSettings

RANK = int(os.environ.get("RANK", "0"))
SETTINGS = TrainSettings(
    # every crop is of a real pair, so that an epoch can be counted; the rest is as in earnest
    recipe=recipes.change_recipe(
        recipes.LITE, recipes.RecipeChanges(crop=16, batch=4, synthetic_weight=0.0, warmup_steps=0)
    ),
    steps=6, head_steps=2, checkpoint_steps=2, validate_steps=3, log_steps=1, device="cpu", threads=1,
)  # fmt: skip


@contextmanager
def small_and_recorded() -> Iterator[dict[str, Any]]:
    """Inside, `lite` is tiny and nothing is drawn; gives the pictures of each step and the first gradient."""
    record: dict[str, Any] = {"pictures": [], "gradient": {}}
    make, update = loop.make_batch, Optimisation.update

    def make_batch(*arguments: Any, **keywords: Any) -> Batch:
        batch = make(*arguments, **keywords)
        record["pictures"].append((arguments[2], batch.pictures.tolist()))
        return batch

    def look_and_update(self: Optimisation, rate: float) -> float:
        if not record["gradient"] and not any(name.startswith("head.") for name in self.parameters):
            record["gradient"] = {name: p.grad.detach().clone() for name, p in self.parameters.items()}  # type: ignore[union-attr]
        return update(self, rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(network.PRESETS, "lite", LiteConfig(features=8, head_features=2))
        patch.setattr(figures, "draw", lambda *_: [])
        patch.setattr(progress_strip, "save_crops", lambda *_: None)
        patch.setattr(loop, "make_batch", make_batch)
        patch.setattr(Optimisation, "update", look_and_update)
        yield record


def whole(pictures: Path, out: Path) -> dict[str, Any]:
    """A run from beginning to end, recorded."""
    with small_and_recorded() as record:
        pipeline.train(pictures / "data", val=pictures / "val", run_dir=out, settings=SETTINGS)
    return record


def stopped_and_resumed(pictures: Path, out: Path) -> None:
    """The second process alone is asked to stop, after three steps; both end, and go on."""
    run = functools.partial(
        pipeline.train, pictures / "data", val=pictures / "val", run_dir=out, settings=SETTINGS, resume=True
    )
    with small_and_recorded() as record:
        with pytest.raises(Cancelled):
            run(stop=lambda: RANK == 1 and len(record["pictures"]) >= 3)
        assert len(RunFolder(out).all()) > 0
        run()


def of_photos(pictures: Path, out: Path) -> None:
    """Without pairs the first process darkens photos to validate on; the second must wait for them."""
    with small_and_recorded():
        settings = replace(SETTINGS, steps=1, head_steps=0)
        pipeline.train(synthetic=pictures / "data" / "high", run_dir=out, settings=settings)


def failing(pictures: Path, out: Path) -> None:
    """The command, whose second process meets a damaged picture in its third step; ends this process."""
    sys.argv = ["mirnet", "train", str(pictures / "data"), "--val", str(pictures / "val"), "--run-dir", str(out),
                "--crop", "16", "--batch", "4", "--head-steps", "0", "--threads", "1", "--device", "cpu",
                "--checkpoint-steps", "1"]  # fmt: skip
    with small_and_recorded(), pytest.MonkeyPatch.context() as patch:
        make = loop.make_batch

        def make_batch(data: Any, seed: int, step: int, *more: Any, **keywords: Any) -> Batch:
            if RANK == 1 and step == 2:
                raise DataError("a picture: cannot be read.")
            return make(data, seed, step, *more, **keywords)

        patch.setattr(loop, "make_batch", make_batch)
        command_line.main()


def main(pictures: Path, out: Path) -> None:
    torch.save(whole(pictures, out / "whole"), out / f"record {RANK}.pt")
    stopped_and_resumed(pictures, out / "resumed")
    of_photos(pictures, out / "photos")
    (out / f"fine {RANK}").touch()
    for stream in ("out", "err"):  # what the command says, of each process
        sys.__dict__[f"std{stream}"] = (out / f"{stream} {RANK}").open("w", buffering=1)
    failing(pictures, out / "failing")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
