"""`Runtime`: what a runtime does for an enhancer; and the error where its package is missing."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mirnet.errors import SettingsError

Floats = NDArray[np.float32]
ShouldStop = Callable[[], bool]  # whether the caller wants no result any more

NEVER: ShouldStop = bool  # `bool()` is False. The network is polled all the same, so that Ctrl-C ends it at once
POLL_SECONDS = 0.05  # how often `should_stop` is polled while the network runs


class Runtime(Protocol):
    """An open network, ready to compute; safe to call from several threads."""

    precision: str  # in which it computes: "f32", "bf16" or "int8"

    def restore(self, image: Floats, stops: Floats | None, scene_vector: Floats | None,
                should_stop: ShouldStop | None = None) -> tuple[Floats, Floats]:  # fmt: skip
        """Restored images (N, 3, H, W), not clipped, and the scene vector (K,) that was used.

        `image` (N, 3, H, W) in [0, 1] is exposed already, its sides are multiples of the card's; `stops` (N, 1, H, W),
        or None for a network without exposure; `scene_vector` (K,) of an earlier call, or None: the batch is one scene
        and gives its own. `should_stop()` is polled meanwhile. Raises Cancelled once it is true, at once where the
        runtime can.
        """
        ...

    def propose(self, thumbnail: Floats) -> Floats:
        """The map of proposed stops (1, 1, h/8, w/8) for a thumbnail (1, 3, h, w) in [0, 1]."""
        ...


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def require_package(runtime: str, package: str) -> Iterator[None]:
    """A context for imports: an ImportError inside becomes a SettingsError that says what to install."""
    try:
        yield
    except ImportError as error:
        raise SettingsError(
            f"The runtime {runtime} is not installed ({error}). Run: pip install {package}; or leave --runtime out, "
            "OpenVINO is always installed."
        ) from error
