"""Backends: what runs a batch of jobs. A backend is a context manager that is given jobs and yields their outcomes."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from mirnet.batch import jobs
from mirnet.batch.jobs import BatchJob, Outcome, Progress
from mirnet.inference.catalog import Weights
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.settings import Settings


@dataclass(frozen=True)
class EnhancerOptions:
    """What makes an `Enhancer`: its weights, the runtime and device, and how it computes."""

    weights: str | Path = "lite"
    runtime: str = "openvino"
    device: str = "cpu"
    fast: bool = False
    threads: int | None = None

    def make(self, settings: Settings, progress: Callable[[float], None] = lambda done: None) -> Enhancer:
        """Load the network. Raises WeightsError; SettingsError where these weights cannot do what is set."""
        made = Enhancer(self.weights, runtime=self.runtime, device=self.device, threads=self.threads, fast=self.fast,
                        progress=progress)  # fmt: skip
        made.check(settings)
        return made


class Backend(Protocol):
    """Runs batches: this process (`LocalBackend`), or the nodes of a cluster (`ray_backend.RayBackend`)."""

    @property
    def weights(self) -> Weights: ...

    def run(self, batch: Sequence[BatchJob], progress: Progress) -> Generator[Outcome, None, None]: ...


class LocalBackend:
    """Runs batches in this process, `at_once` images at a time; the network is loaded on entering the context."""

    def __init__(self, options: EnhancerOptions, settings: Settings, at_once: int) -> None:
        self._options, self._settings, self._at_once = options, settings, at_once
        self._enhancer: Enhancer | None = None

    def __enter__(self) -> "LocalBackend":
        self._enhancer = self._options.make(self._settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._enhancer = None

    @property
    def weights(self) -> Weights:
        return self._loaded.weights

    def run(self, batch: Sequence[BatchJob], progress: Progress) -> Generator[Outcome, None, None]:
        """Enhance files; outcomes come as the jobs end."""
        return jobs.run(batch, self._loaded, self._settings, at_once=self._at_once, progress=progress)

    @property
    def _loaded(self) -> Enhancer:
        assert self._enhancer is not None, "used outside its context"
        return self._enhancer
