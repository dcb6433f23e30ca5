"""How a network is trained: three named recipes, plain constants. Lengths and warm-ups are in steps.

A preset is the network and never changes the recipe; a recipe never changes the network.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from mirnet.errors import SettingsError
from mirnet.training.batches import CropMix
from mirnet.training.losses import restoration_loss


@dataclass(frozen=True)
class Stage:
    """A stretch of the run with one crop size: `share` of its steps, `batch` crops of `crop_px` a side."""

    share: float
    crop_px: int
    batch: int


@dataclass(frozen=True)
class Recipe:
    """Loss, optimiser, schedule, crops, and what is fed (`Feed`, for networks that take an exposure)."""

    name: str = "own"  # of the constant that it came from; values of one's own leave it
    optimiser: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-4  # reached along a cosine; equal to the first: constant
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup_steps: int = 0
    clip_norm: float = 0.0  # largest norm of the gradient; 0: not clipped
    average: float = 0.0  # decay of the weights' moving average that is validated and exported; 0: none
    loss: Literal["charbonnier", "l1", "psnr"] = "charbonnier"
    ssim_weight: float = 0.0  # of 1 - SSIM beside that loss
    gt_mean_weight: float = 0.0  # how much of that loss is taken at the target's mean brightness, 0 to 1
    accumulate: int = 1  # batches whose gradients are averaged in one update
    stages: tuple[Stage, ...] = (Stage(1.0, 128, 8),)
    feed: CropMix = CropMix()

    def __post_init__(self) -> None:
        wrong = []
        if self.optimiser not in ("adam", "adamw"):
            wrong.append(f'the optimiser is "adam" or "adamw", not "{self.optimiser}"')
        if not 0 < self.final_learning_rate <= self.learning_rate:
            wrong.append(
                f"learning rates are positive and fall: {self.learning_rate:g} to {self.final_learning_rate:g} does not"
            )
        if self.loss not in ("charbonnier", "l1", "psnr"):
            wrong.append(f'the loss is "charbonnier", "l1" or "psnr", not "{self.loss}"')
        if not 0 <= self.gt_mean_weight <= 1:
            wrong.append(f"the weight of the GT-mean loss lies in 0 to 1, not at {self.gt_mean_weight:g}")
        if self.accumulate < 1:
            wrong.append(f"gradients of at least 1 batch are averaged, not of {self.accumulate}")
        if not 0 <= self.average < 1:
            wrong.append(f"the moving average's decay lies in 0 to 1 (without 1), not at {self.average:g}")
        if min(self.warmup_steps, self.clip_norm, self.ssim_weight, self.weight_decay) < 0:
            wrong.append("warm-up, clipping, weight decay and the SSIM weight are not negative")
        if any(stage.crop_px < 16 or stage.batch < 1 for stage in self.stages):
            wrong.append("crops are at least 16 px and batches at least 1")
        if not math.isclose(sum(stage.share for stage in self.stages), 1.0):
            wrong.append("the stages' shares of the run add up to 1")
        if wrong:
            raise SettingsError("The recipe cannot work: " + "; ".join(wrong) + ".")

    def stage(self, progress: float) -> Stage:
        """The stage at `progress` (0 to 1) of the run."""
        for stage in self.stages:
            if progress < stage.share:
                return stage
            progress -= stage.share
        return self.stages[-1]

    @property
    def restoration_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss of a result and its target."""
        return partial(
            restoration_loss, kind=self.loss, ssim_weight=self.ssim_weight, gt_mean_weight=self.gt_mean_weight
        )

    def rate(self, step: int, progress: float) -> float:
        """The learning rate at a step: a linear warm-up, then half a cosine over the run."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        fall = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * fall


# MIRNet, section 3.4, for low-light enhancement; the learning rate of the widely read Keras example.
PLAIN = Recipe("plain")

# As published: Adam from 2e-4 to 1e-6 along a cosine after three warm-up epochs. An epoch of LOL's 485
# pairs in batches of 16 is 30 steps, so 90; the authors draw one crop of 128 px from each picture.
PAPER = Recipe(
    "paper",
    learning_rate=2e-4,
    final_learning_rate=1e-6,
    weight_decay=1e-8,
    warmup_steps=90,
    stages=(Stage(1.0, 128, 16),),
)

# Ours: AdamW with a high rate, larger crops late (pooled statistics change with the crop), a moving
# average, some SSIM for texture, and exposure errors that the network learns to obey.
LITE = Recipe(
    name="lite",
    optimiser="adamw",
    learning_rate=1e-3,
    final_learning_rate=1e-5,
    betas=(0.9, 0.99),
    warmup_steps=100,
    clip_norm=0.5,
    average=0.999,
    ssim_weight=0.1,
    stages=(Stage(0.45, 128, 8), Stage(0.30, 192, 4), Stage(0.25, 320, 2)),
    feed=CropMix(real=0.62, bright=0.10, darkened=0.28, jitter_stops=0.4, local=True, jpeg=0.3),
)

RECIPES = {"plain": PLAIN, "paper": PAPER, "lite": LITE}

# The exposure head, a small network on thumbnails, is trained in the same way whatever the recipe.
HEAD = Recipe(
    name="head",
    optimiser="adamw",
    learning_rate=1e-3,
    final_learning_rate=1e-5,
    betas=(0.9, 0.99),
    weight_decay=1e-3,
    warmup_steps=100,
    clip_norm=1.0,
    average=0.998,
)


def named(name: str) -> Recipe:
    """The recipe "plain", "paper" or "lite"; SettingsError for another name."""
    if name not in RECIPES:
        raise SettingsError(f'There is no recipe "{name}"; choose one of {", ".join(RECIPES)}.')
    return RECIPES[name]


def adapted(recipe: Recipe, *, learning_rate: float | None = None, schedule: str | None = None,
            crop_px: int | None = None, batch: int | None = None, synthetic_weight: float | None = None,
            noise_only: bool = False, feed: Mapping[str, float | None] = MappingProxyType({}),
            **changes: object) -> Recipe:  # fmt: skip
    """A recipe with some values of one's own; None leaves a value as the recipe has it.

    A changed `learning_rate` keeps the schedule's shape. `schedule` "constant" stays at that rate, "cosine"
    falls to a hundredth of it where the recipe's own rate doesn't fall. `crop_px` and `batch` make one
    stage of the run (what isn't given comes from the recipe's first). `synthetic_weight` is the share of crops
    made of good photos; `noise_only` makes a recipe for denoising. `feed` are fields of Feed, `changes` of Recipe.
    """
    if schedule not in (None, "constant", "cosine"):
        raise SettingsError(f'The schedule is "constant" or "cosine", not "{schedule}".')
    rate = recipe.learning_rate if learning_rate is None else learning_rate
    fall = recipe.final_learning_rate / recipe.learning_rate
    if schedule == "constant":
        fall = 1.0
    elif schedule == "cosine" and fall == 1.0:
        fall = 0.01
    stages = recipe.stages
    if crop_px is not None or batch is not None:
        first = stages[0]
        stages = (Stage(1.0, first.crop_px if crop_px is None else crop_px, first.batch if batch is None else batch),)
    with_crop_mix = recipe.feed.noise_only() if noise_only else recipe.feed
    if synthetic_weight is not None:
        if not 0 <= synthetic_weight <= 1:
            raise SettingsError(f"The weight of synthetic crops lies in 0 to 1, not at {synthetic_weight:g}.")
        if noise_only:
            raise SettingsError("With --noise-only every crop is synthetic; leave --synthetic-weight out.")
        with_crop_mix = with_crop_mix.with_synthetic(synthetic_weight)
    with_crop_mix = replace(with_crop_mix, **{name: value for name, value in feed.items() if value is not None})  # type: ignore[arg-type]
    given = {name: value for name, value in changes.items() if value is not None}
    shaped = {
        "learning_rate": rate,
        "final_learning_rate": rate * fall,
        "stages": stages,
        "feed": with_crop_mix,
        **given,
    }
    return replace(recipe, **shaped)  # type: ignore[arg-type]
