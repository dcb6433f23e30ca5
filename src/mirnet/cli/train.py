"""`mirnet train`: the command, its progress bars, and Ctrl-C."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Annotated, Literal, cast

import typer

from mirnet.errors import SettingsError
from mirnet.extras import needs

if TYPE_CHECKING:
    from rich.progress import TaskID

    from mirnet.training.observer import ProgressObserver

HANG_UP = getattr(signal, "SIGHUP", None)  # which Windows has not
BARS = {"load": "reading images", "check": "checking images", "exposure": "preparing exposure",
        "head": "training the exposure head", "train": "training", "validate": "validating"}  # fmt: skip


REMOVED = {"accumulate": "choose a larger --batch", "mixup": "leave it out", "jitter_gamma": "leave it out"}


def refuse_removed(option: typer.CallbackParam, value: str | None) -> None:
    """Answer an option that an earlier version had with a sentence. Raises SettingsError."""
    if value is not None:
        name = option.name or ""
        raise SettingsError(
            f"--{name.replace('_', '-')} was removed: no test or page showed what it is good for; {REMOVED[name]}."
        )


def train(
    data: Annotated[Path | None, typer.Argument(help="Pairs: a folder or a CSV list; or the dark images.")] = None,
    bright: Annotated[Path | None, typer.Argument(help="The bright images, where DATA has the dark ones.")] = None,
    *,
    run_dir: Annotated[Path | None, typer.Option(help="Where checkpoints, log and figures go.")] = None,
    val: Annotated[Path | None, typer.Option(help="Pairs to validate on. Default: a tenth of DATA, by scene.")] = None,
    names: Annotated[Path | None, typer.Option(help="A text file that chooses pairs of DATA, one stem a line.")] = None,
    val_names: Annotated[Path | None, typer.Option(help="The same for validation; without --val, of DATA.")] = None,
    synthetic: Annotated[Path | None, typer.Option(help="Good photos, of which synthetic low-light images are "
                                                        "made on the fly; without DATA, the only data.")] = None,
    synthetic_weight: Annotated[float | None, typer.Option(help="Share of the crops that are synthetic, 0 to 1. "
                                                                "Default: the recipe's, or a half.")] = None,
    noise_only: Annotated[bool, typer.Option("--noise-only", help="Learn to denoise without changing the exposure: "
                                             "every crop is a bright image with noise.")] = False,
    start: Annotated[Path | None, typer.Option("--from", help="Initial weights: a name (lite), a run folder, a "
                                               "checkpoint, ours or published.")] = None,
    preset: Annotated[str, typer.Option(help="The network: lite, paper or v2-paper.")] = "lite",
    recipe: Annotated[str, typer.Option(help="How it is trained: plain, paper or lite.")] = "plain",
    steps: Annotated[int | None, typer.Option(help="Length of the run.  [default: 20000]", show_default=False)] = None,
    hours: Annotated[float | None, typer.Option(help="Length of the run by the clock, instead of --steps.")] = None,
    head_steps: Annotated[int, typer.Option(help="Steps of the exposure head, which is trained first (lite).")] = 2_500,
    crop: Annotated[int | None, typer.Option(help="Side of the crops in pixels, for the whole run.")] = None,
    batch: Annotated[int | None, typer.Option(help="Crops in a batch, over all processes, for the whole run.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Learning rate over time: constant or cosine.")] = None,
    final_lr: Annotated[float | None, typer.Option(help="Learning rate at the end of the cosine.")] = None,
    warmup_steps: Annotated[int | None, typer.Option(help="Steps in which the learning rate rises.")] = None,
    optimiser: Annotated[str | None, typer.Option(help="adam or adamw.")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Weight decay of the optimiser.")] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Largest norm of the gradient; 0: not clipped.")] = None,
    ema: Annotated[float | None, typer.Option(help="Decay of the weights' moving average; 0: none.")] = None,
    loss: Annotated[str | None, typer.Option(help="charbonnier or l1.")] = None,
    ssim_weight: Annotated[float | None, typer.Option(help="Weight of 1 - SSIM beside that loss.")] = None,
    gt_mean_weight: Annotated[float | None, typer.Option(help="How much of that loss is taken at the target's mean "
                                                              "brightness, 0 to 1.")] = None,
    desaturated: Annotated[float | None, typer.Option(help="Share of the synthetic low-light images whose target is "
                                                      "desaturated. Default: 0.8.")] = None,
    jitter_stops: Annotated[float | None, typer.Option(help="Random exposure error, standard deviation in stops "
                                                            "(lite).")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first weights and of all random numbers.")] = 0,
    checkpoint_steps: Annotated[int, typer.Option(help="Write a checkpoint every so many steps.")] = 500,
    validate_steps: Annotated[int, typer.Option(help="Validate and draw figures every so many steps.")] = 2_000,
    log_steps: Annotated[int, typer.Option(help="Write a row of log.csv every so many steps.")] = 50,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write the log for TensorBoard too.")] = False,
    precision: Annotated[str, typer.Option(help="float32 or bf16.")] = "float32",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="Processor threads. Default: torch decides.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --run-dir.")] = False,
    override: Annotated[bool, typer.Option("--override", help="With --resume: accept what differs from the run's first "
                                           "command.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Three minutes on one batch: do data, loss and network fit "
                                        "together? Writes nothing.")] = False,
    dulled: Annotated[float | None, typer.Option(hidden=True)] = None,  # an earlier name of --desaturated
    accumulate: Annotated[str | None, typer.Option(hidden=True, callback=refuse_removed)] = None,
    mixup: Annotated[str | None, typer.Option(hidden=True, callback=refuse_removed)] = None,
    jitter_gamma: Annotated[str | None, typer.Option(hidden=True, callback=refuse_removed)] = None,
) -> None:  # fmt: skip
    """Train a network on pairs of dark and bright images, or on good photos alone.

    Ctrl-C ends with a checkpoint; the same command with --resume added continues.
    On several processors or GPUs: torchrun --nproc-per-node 2 -m mirnet train DATA --run-dir RUN ...
    """
    with needs("train"):
        from mirnet.training import overfit_check, pipeline, recipes
        from mirnet.training.settings import TrainSettings
        from mirnet.training.sources import Sources

    if steps is not None and hours is not None:
        raise SettingsError("A run ends after --steps or after --hours; give one of them.")
    changes = recipes.RecipeChanges(
        crop=crop, batch=batch, lr=lr, schedule=schedule, final_lr=final_lr, warmup_steps=warmup_steps,
        optimiser=optimiser, weight_decay=weight_decay, clip_norm=clip_norm, ema=ema, loss=loss,
        ssim_weight=ssim_weight, gt_mean_weight=gt_mean_weight, synthetic_weight=synthetic_weight,
        noise_only=noise_only, desaturated=dulled if desaturated is None else desaturated, jitter_stops=jitter_stops,
    )  # fmt: skip
    settings = TrainSettings(
        preset=preset,
        recipe=recipes.change_recipe(recipes.find_recipe(recipe), changes),
        steps=TrainSettings.steps if steps is None else steps, hours=hours, head_steps=head_steps, seed=seed,
        checkpoint_steps=checkpoint_steps, validate_steps=validate_steps, log_steps=log_steps, tensorboard=tensorboard,
        precision=cast(Literal["float32", "bf16"], precision), device=device, threads=threads,
    )  # fmt: skip
    sources = Sources(data, bright, val, names, val_names, synthetic, start)
    if check:
        with bars() as observer, interruptions() as stop:
            verdict = overfit_check.check(sources, settings, observer=observer, stop=stop)
        if is_first_process():
            typer.echo(str(verdict))
        if not verdict.fits:
            raise typer.Exit(1)
        return
    if run_dir is None:
        raise SettingsError("Name a folder for the run's checkpoints, log and figures with --run-dir.")
    with bars() as observer, interruptions() as stop:
        scores = pipeline.train(
            **vars(sources), run_dir=run_dir, settings=settings, resume=resume, override=override, observer=observer,
            stop=stop,
        )  # fmt: skip
    best = f"; the best network: {scores}" if scores else ""
    if is_first_process():
        typer.echo(f"{run_dir}: finished{best}. Export it with: mirnet export {run_dir} -o NAME.onnx")


def is_first_process() -> bool:
    """Whether this is the process of a run that speaks; torchrun numbers them."""
    return os.environ.get("RANK", "0") == "0"


def is_one_of_several() -> bool:
    """Whether torchrun started this process beside others."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def bars() -> contextlib.AbstractContextManager["ProgressObserver"]:
    """Bars, in the process that speaks."""
    from mirnet.training.observer import SILENT

    return Bars() if is_first_process() else contextlib.nullcontext(SILENT)


class Bars:
    """Watches a run on standard error: a bar with the time left for each phase."""

    def __init__(self) -> None:
        # here and not above: the command line knows this command, and its help should not wait for rich
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        left = TimeRemainingColumn()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            left,
            TextColumn("{task.fields[note]}"),
        )
        self._bars = Progress(*columns, console=Console(file=cast(IO[str], _Enduring(sys.stderr))))
        self._phase: tuple[str, TaskID] | None = None

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def progress(self, phase: str, done: float, note: str = "") -> None:
        if self._phase is None or self._phase[0] != phase:
            if self._phase is not None:
                self._bars.update(self._phase[1], visible=False)
            self._phase = phase, self._bars.add_task(BARS[phase], total=1.0, note="")
        self._bars.update(self._phase[1], completed=min(done, 1.0), refresh=False)
        if note:
            self._bars.update(self._phase[1], note=note)

    def say(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Enduring:
    """A stream that may go away, with its terminal or its pipe: hours of training do not end for want of a reader."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


@contextlib.contextmanager
def interruptions() -> Iterator[Callable[[], bool]]:
    """A function that tells whether to end: after Ctrl-C, when the system asks, or when the terminal closes.

    Pressing Ctrl-C twice ends at once; not under torchrun, which passes on what all processes have got already. There
    a process also ends when torchrun is gone, since nothing else would end it.
    """
    asked: list[int] = []
    several, parent = is_one_of_several(), os.getppid()

    def ask(number: int, frame: FrameType | None) -> None:
        if number == HANG_UP:
            _write_nowhere()
        elif number == signal.SIGINT and number in asked and not several:
            raise KeyboardInterrupt
        asked.append(number)

    numbers = [number for number in (signal.SIGINT, signal.SIGTERM, HANG_UP) if number]
    # what was ignored from the start stays so: the terminal of a run under nohup may close
    handled = [number for number in numbers if number != HANG_UP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in handled}
    try:
        yield lambda: bool(asked) or (several and os.getppid() != parent)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_nowhere() -> None:
    """The terminal is gone: what is still said must not fail on it before the checkpoint is written."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a stream that is no file, or closed
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
