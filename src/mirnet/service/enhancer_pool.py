"""The weights that a service offers, by name alone: each network is loaded at its first use, and kept."""

import threading
from collections.abc import Callable
from pathlib import Path

from mirnet.errors import WeightsError
from mirnet.inference import catalog
from mirnet.inference.catalog import Weights
from mirnet.inference.enhancer import Enhancer


class EnhancerPool:
    """The installed weights and the default ones, which may be a file; `make(weights)` gives their `Enhancer`."""

    def __init__(self, default: str | Path, make: Callable[[Path], Enhancer]) -> None:
        """Raises WeightsError for a default that cannot be found."""
        first = catalog.find(default)
        self.default = first.path.stem
        self.weights: dict[str, Weights] = {each.path.stem: each for each in catalog.list_weights()}
        self.weights[self.default] = first
        self._make = make
        self._made: dict[str, Enhancer] = {}
        self._making = threading.Lock()

    def name(self, wished: str | None) -> str:
        """The name of weights that are there. Raises WeightsError with those names."""
        name = wished or self.default
        if name not in self.weights:
            raise WeightsError(f"There are no weights of that name here; expected {' or '.join(sorted(self.weights))}.")
        return name

    def get(self, name: str) -> Enhancer:
        """The enhancer of weights that are there; the first time it takes a while. Raises WeightsError."""
        with self._making:
            if name not in self._made:
                self._made[name] = self._make(self.weights[name].path)
            return self._made[name]
