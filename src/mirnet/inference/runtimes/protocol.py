"""What every runtime does for an enhancer, and how a missing one is answered."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mirnet.errors import SettingsError

Floats = NDArray[np.float32]
Tick = Callable[[], None]

TICK_SECONDS = 0.05


class Runtime(Protocol):
    """What a runtime does for an enhancer; safe to call from several threads.

    `precision` says in what it computes: "f32", "bf16" or "int8".
    """

    precision: str

    def restore(self, picture: Floats, stops: Floats | None, scene: Floats | None,
                tick: Tick | None = None) -> tuple[Floats, Floats]:  # fmt: skip
        """Restored pictures (N, 3, H, W), not clipped, and the scene (K,) that was used.

        `picture` (N, 3, H, W) in [0, 1], sides multiples of the card's; `stops` (N, 1, H, W) or None for a
        network without exposure; `scene` (K,) of an earlier call, or None: the batch is one scene and pools itself.
        `tick` is called again and again meanwhile, and may raise: that ends the work, at once where the runtime can.
        """
        ...

    def propose(self, thumbnail: Floats) -> Floats:
        """The map of stops (1, 1, h/8, w/8) for a thumbnail (1, 3, h, w)."""
        ...


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def installed(runtime: str, package: str) -> Iterator[None]:
    """Imports inside this context may fail; then a SettingsError says what to install."""
    try:
        yield
    except ImportError as error:
        raise SettingsError(
            f"The runtime {runtime} is not installed ({error}). Run: pip install {package}; or leave --runtime out, "
            "OpenVINO is always there."
        ) from error
