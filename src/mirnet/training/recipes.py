"""How a network is trained: three named recipes, plain constants. Lengths and warm-ups are in steps.

A preset is the network and never changes the recipe; a recipe never changes the network.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

from torch import Tensor

from mirnet.errors import SettingsError
from mirnet.training.batches import CropMix
from mirnet.training.losses import restoration_loss
from mirnet.training.stored_names import stored


@dataclass(frozen=True)
class Stage:
    """A stretch of the run with one crop size: `share` of its steps, `batch` crops of `crop_px` a side."""

    share: float
    crop_px: int
    batch: int


@dataclass(frozen=True)
class Recipe:
    """Loss, optimiser, schedule, crop sizes and crop mix. Raises SettingsError, which lists all that is wrong.

    A field that run folders store under another name than the option and this field carries it as `stored`.
    """

    name: str = "own"  # of the constant that the recipe is made from; changed values keep it
    optimiser: Literal["adam", "adamw"] = "adam"
    lr: float = field(default=1e-4, metadata=stored("learning_rate"))
    final_lr: float = field(default=1e-4, metadata=stored("final_learning_rate"))  # cosine end; equal to lr: constant
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup_steps: int = 0
    clip_norm: float = 0.0  # largest norm of the gradient; 0: not clipped
    ema: float = field(default=0.0, metadata=stored("average"))  # decay of the validated and exported average; 0: none
    loss: Literal["charbonnier", "l1"] = "charbonnier"
    ssim_weight: float = 0.0  # of 1 - SSIM beside that loss
    gt_mean_weight: float = 0.0  # share of that loss taken at the target's mean brightness, 0 to 1
    stages: tuple[Stage, ...] = (Stage(1.0, 128, 8),)
    crop_mix: CropMix = field(default=CropMix(), metadata=stored("feed"))

    def __post_init__(self) -> None:
        wrong = []
        if self.optimiser not in ("adam", "adamw"):
            wrong.append(f'the optimiser is "adam" or "adamw", not "{self.optimiser}"')
        if not 0 < self.final_lr <= self.lr:
            wrong.append(f"learning rates are positive and fall: {self.lr:g} to {self.final_lr:g} does not")
        if self.loss not in ("charbonnier", "l1"):
            wrong.append(f'the loss is "charbonnier" or "l1", not "{self.loss}"')
        if not 0 <= self.gt_mean_weight <= 1:
            wrong.append(f"the weight of the GT-mean loss lies in 0 to 1, not at {self.gt_mean_weight:g}")
        if not 0 <= self.ema < 1:
            wrong.append(f"the moving average's decay lies in 0 to 1 (without 1), not at {self.ema:g}")
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
            return self.lr * (step + 1) / self.warmup_steps
        fall = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return self.final_lr + (self.lr - self.final_lr) * fall


# MIRNet, section 3.4, for low-light enhancement; the learning rate of the widely read Keras example.
PLAIN = Recipe("plain")

# As published: Adam from 2e-4 to 1e-6 along a cosine after three warm-up epochs. An epoch of LOL's 485
# pairs in batches of 16 is 30 steps, so 90; the authors draw one crop of 128 px from each image.
PAPER = Recipe(
    "paper",
    lr=2e-4,
    final_lr=1e-6,
    weight_decay=1e-8,
    warmup_steps=90,
    stages=(Stage(1.0, 128, 16),),
)

# Ours: AdamW with a high rate, larger crops late (pooled statistics change with the crop), a moving
# average, some SSIM for texture, and exposure errors that the network learns to obey.
LITE = Recipe(
    name="lite",
    optimiser="adamw",
    lr=1e-3,
    final_lr=1e-5,
    betas=(0.9, 0.99),
    warmup_steps=100,
    clip_norm=0.5,
    ema=0.999,
    ssim_weight=0.1,
    stages=(Stage(0.45, 128, 8), Stage(0.30, 192, 4), Stage(0.25, 320, 2)),
    crop_mix=CropMix(real=0.62, bright=0.10, darkened=0.28, jitter_stops=0.4, local=True, jpeg=0.3),
)

RECIPES = {"plain": PLAIN, "paper": PAPER, "lite": LITE}

# The exposure head, a small network on thumbnails, is trained in the same way whatever the recipe.
HEAD = Recipe(
    name="head",
    optimiser="adamw",
    lr=1e-3,
    final_lr=1e-5,
    betas=(0.9, 0.99),
    weight_decay=1e-3,
    warmup_steps=100,
    clip_norm=1.0,
    ema=0.998,
)


def find_recipe(name: str) -> Recipe:
    """The recipe "plain", "paper" or "lite"; SettingsError for another name."""
    if name not in RECIPES:
        raise SettingsError(f'There is no recipe "{name}"; choose one of {", ".join(RECIPES)}.')
    return RECIPES[name]


@dataclass(frozen=True)
class RecipeChanges:
    """What a command changes of a recipe, by the names of its options; None leaves a value as the recipe has it."""

    crop: int | None = None  # side in pixels, for the whole run
    batch: int | None = None
    lr: float | None = None
    schedule: str | None = None
    final_lr: float | None = None
    warmup_steps: int | None = None
    optimiser: str | None = None
    weight_decay: float | None = None
    clip_norm: float | None = None
    ema: float | None = None
    loss: str | None = None
    ssim_weight: float | None = None
    gt_mean_weight: float | None = None
    synthetic_weight: float | None = None  # share of the crops that are made of good photos
    noise_only: bool = False  # a recipe for denoising
    desaturated: float | None = None
    jitter_stops: float | None = None


PLAIN_CHANGES = ("final_lr", "warmup_steps", "optimiser", "weight_decay", "clip_norm", "ema", "loss", "ssim_weight",
                 "gt_mean_weight")  # that replace the recipe's value of that name  # fmt: skip


def change_recipe(recipe: Recipe, changes: RecipeChanges) -> Recipe:
    """The recipe with a command's changes. Raises SettingsError.

    A changed `lr` keeps the schedule's shape. `schedule` "constant" stays at that rate, "cosine" falls to a hundredth
    of it where the recipe's own rate does not fall. `crop` and `batch` make one stage of the run; the other of the two
    comes from the recipe's first stage.
    """
    lr = recipe.lr if changes.lr is None else changes.lr
    final_lr = lr * _relative_final_lr(recipe, changes.schedule)
    plain = {name: getattr(changes, name) for name in PLAIN_CHANGES if getattr(changes, name) is not None}
    crop_mix = _change_crop_mix(recipe.crop_mix, changes)
    return replace(recipe, **{"lr": lr, "final_lr": final_lr, **plain},
                   stages=_change_stages(recipe.stages, changes), crop_mix=crop_mix)  # fmt: skip


def _relative_final_lr(recipe: Recipe, schedule: str | None) -> float:
    """The last learning rate of a schedule, relative to the first."""
    if schedule not in (None, "constant", "cosine"):
        raise SettingsError(f'The schedule is "constant" or "cosine", not "{schedule}".')
    fall = recipe.final_lr / recipe.lr
    if schedule == "constant":
        return 1.0
    return 0.01 if schedule == "cosine" and fall == 1.0 else fall


def _change_stages(stages: tuple[Stage, ...], changes: RecipeChanges) -> tuple[Stage, ...]:
    if changes.crop is None and changes.batch is None:
        return stages
    crop_px = stages[0].crop_px if changes.crop is None else changes.crop
    return (Stage(1.0, crop_px, stages[0].batch if changes.batch is None else changes.batch),)


def _change_crop_mix(crop_mix: CropMix, changes: RecipeChanges) -> CropMix:
    weight = changes.synthetic_weight
    if weight is not None and not 0 <= weight <= 1:
        raise SettingsError(f"The weight of synthetic crops lies in 0 to 1, not at {weight:g}.")
    if weight is not None and changes.noise_only:
        raise SettingsError("With --noise-only every crop is synthetic; leave --synthetic-weight out.")
    if changes.noise_only:
        crop_mix = crop_mix.noise_only()
    if weight is not None:
        crop_mix = crop_mix.with_synthetic(weight)
    if changes.desaturated is not None:
        crop_mix = replace(crop_mix, desaturated=changes.desaturated)
    return crop_mix if changes.jitter_stops is None else replace(crop_mix, jitter_stops=changes.jitter_stops)
