"""How a network is trained: three named recipes, plain constants. Lengths and warm-ups are in steps.

A preset is the network and never changes the recipe; a recipe never changes the network.
"""

import math
from dataclasses import dataclass
from typing import Literal

from mirnet.errors import SettingsError
from mirnet.training.data import Feed


@dataclass(frozen=True)
class Stage:
    """A stretch of the run with one crop size: `share` of its steps, `batch` crops of `crop_px` a side."""

    share: float
    crop_px: int
    batch: int


@dataclass(frozen=True)
class Recipe:
    """Loss, optimiser, schedule, crops, and what is fed (`Feed`, for networks that take an exposure)."""

    optimiser: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-4  # reached along a cosine; equal to the first: constant
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup_steps: int = 0
    clip_norm: float = 0.0  # largest norm of the gradient; 0: not clipped
    average: float = 0.0  # decay of the weights' moving average that is validated and exported; 0: none
    ssim_weight: float = 0.0  # of 1 - SSIM beside the Charbonnier loss
    stages: tuple[Stage, ...] = (Stage(1.0, 128, 8),)
    feed: Feed = Feed()

    def __post_init__(self) -> None:
        wrong = []
        if self.optimiser not in ("adam", "adamw"):
            wrong.append(f'the optimiser is "adam" or "adamw", not "{self.optimiser}"')
        if not 0 < self.final_learning_rate <= self.learning_rate:
            wrong.append(
                f"learning rates are positive and fall: {self.learning_rate:g} to {self.final_learning_rate:g} does not"
            )
        if not 0 <= self.average < 1:
            wrong.append(f"the moving average's decay lies in 0 to 1 (without 1), not at {self.average:g}")
        if min(self.warmup_steps, self.clip_norm, self.ssim_weight, self.weight_decay) < 0:
            wrong.append("warm-up, clipping, weight decay and the SSIM weight are not negative")
        if any(stage.crop_px < 16 or stage.batch < 1 for stage in self.stages):
            wrong.append("crops are at least 16 px and batches at least 1")
        if wrong:
            raise SettingsError("The recipe cannot work: " + "; ".join(wrong) + ".")

    def stage(self, progress: float) -> Stage:
        """The stage at `progress` (0 to 1) of the run."""
        for stage in self.stages:
            if progress < stage.share:
                return stage
            progress -= stage.share
        return self.stages[-1]

    def rate(self, step: int, progress: float) -> float:
        """The learning rate at a step: a linear warm-up, then half a cosine over the run."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        fall = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * fall


# MIRNet, section 3.4, for low-light enhancement; the learning rate of the widely read Keras example.
PLAIN = Recipe()

# As published: Adam from 2e-4 to 1e-6 along a cosine after three warm-up epochs. An epoch of LOL's 485
# pairs in batches of 16 is 30 steps, so 90; the authors draw one crop of 128 px from each picture.
PAPER = Recipe(
    learning_rate=2e-4, final_learning_rate=1e-6, weight_decay=1e-8, warmup_steps=90, stages=(Stage(1.0, 128, 16),)
)

# Ours: AdamW with a high rate, larger crops late (pooled statistics change with the crop), a moving
# average, some SSIM for texture, and exposure errors that the network learns to obey.
LITE = Recipe(
    optimiser="adamw",
    learning_rate=1e-3,
    final_learning_rate=1e-5,
    betas=(0.9, 0.99),
    warmup_steps=100,
    clip_norm=0.5,
    average=0.999,
    ssim_weight=0.1,
    stages=(Stage(0.45, 128, 8), Stage(0.30, 192, 4), Stage(0.25, 320, 2)),
    feed=Feed(real=0.70, bright=0.12, jitter_stops=0.4, local=True),
)

RECIPES = {"plain": PLAIN, "paper": PAPER, "lite": LITE}
HEAD = Recipe(
    optimiser="adamw",
    learning_rate=1e-3,
    final_learning_rate=1e-5,
    betas=(0.9, 0.99),
    weight_decay=1e-3,
    warmup_steps=100,
    clip_norm=1.0,
    average=0.998,
)
