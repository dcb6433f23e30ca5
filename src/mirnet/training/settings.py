"""The settings of a training run, beside its data."""

from dataclasses import dataclass
from typing import Literal

import torch

from mirnet.errors import SettingsError
from mirnet.network import PRESETS
from mirnet.training.recipes import PLAIN, Recipe


@dataclass(frozen=True)
class TrainSettings:
    """The network, how it is trained, how long, and where. Raises SettingsError, which lists all that is wrong."""

    preset: str = "lite"
    recipe: Recipe = PLAIN
    steps: int = 20_000
    hours: float | None = None  # instead of steps: the schedule follows the clock; the head's minutes count
    head_steps: int = 2_500
    seed: int = 0
    checkpoint_steps: int = 500
    validate_steps: int = 2_000
    log_steps: int = 50
    precision: Literal["float32", "bf16"] = "float32"  # of the restorer's computations while it trains
    device: str = "auto"  # "auto", "cpu", "cuda", "cuda:1", "mps"
    threads: int | None = None  # None: torch decides
    tensorboard: bool = False  # the log once more, for TensorBoard

    def __post_init__(self) -> None:
        wrong = []
        if self.preset not in PRESETS:
            wrong.append(f'there is no preset "{self.preset}"; choose one of {", ".join(PRESETS)}')
        for name in ("steps", "checkpoint_steps", "validate_steps", "log_steps"):
            if getattr(self, name) < 1:
                wrong.append(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.head_steps < 0:
            wrong.append(f"head_steps must not be negative, as {self.head_steps} is")
        if self.hours is not None and not self.hours > 0:
            wrong.append(f"hours must be positive, not {self.hours:g}")
        if not 0 <= self.seed < 2**63:
            wrong.append(f"the seed lies in 0 to 2^63 - 1, not at {self.seed}")
        if self.precision not in ("float32", "bf16"):
            wrong.append(f'precision is "float32" or "bf16", not "{self.precision}"')
        if self.threads is not None and self.threads < 1:
            wrong.append(f"threads must be at least 1, not {self.threads}")
        if wrong:
            raise SettingsError("These settings cannot work: " + "; ".join(wrong) + ".")


DEFAULTS = TrainSettings()


def find_device(name: str) -> torch.device:
    """The device of that name; "auto" is the first of CUDA, MPS and CPU that is there. SettingsError if it is not."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda", "mps"):
            raise SettingsError(f'The device "{name}" cannot be trained on; choose "auto", "cpu", "cuda" or "mps".')
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch says "not compiled with CUDA" by an assertion
        reason = str(error).strip().splitlines()[0]
        raise SettingsError(f'The device "{name}" cannot be used here ({reason}); choose "auto" or "cpu".') from error
    return device
