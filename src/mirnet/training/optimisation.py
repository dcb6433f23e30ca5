"""The weights of one network on their way: optimiser, clipping, moving average, and all of it as tensors."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mirnet.training.recipes import Recipe


class Optimisation:
    """Changes `parameters` in place, as a recipe says, and keeps their moving average."""

    def __init__(self, parameters: dict[str, torch.nn.Parameter], recipe: Recipe) -> None:
        self.parameters, self.recipe = parameters, recipe
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimiser]
        self._optimiser = kind(
            parameters.values(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay,
            fused=True,  # one pass over each weight instead of ten: a quarter of the time
        )  # fmt: skip
        self._updates = 0
        self._average = {name: parameter.detach().clone() for name, parameter in parameters.items()}

    def clear(self) -> None:
        """Forget the gradients, before the next are summed up."""
        self._optimiser.zero_grad(set_to_none=True)

    def update(self, rate: float) -> float:
        """One step down the gradients that are there; gives their norm before clipping.

        Where the norm is infinite or no number (seen with bf16, rarely), the weights stay as they are.
        """
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        limit = self.recipe.clip_norm or math.inf
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), limit))
        if math.isfinite(norm):
            self._optimiser.step()
            self._updates += 1
            self._follow()
        return norm

    def _follow(self) -> None:
        # a young average forgets faster, or it would remember the random start
        decay = min(self.recipe.ema, self._updates / (10 + self._updates))
        with torch.no_grad():
            follow = get_ema_multi_avg_fn(decay)
            follow(list(self._average.values()), list(self.parameters.values()), self._updates)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside this context the network carries the moving average."""
        trained = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}
        self.adopt_average()
        try:
            yield
        finally:
            _copy_into(self.parameters, trained)

    def adopt_average(self) -> None:
        """The network carries the moving average from now on."""
        _copy_into(self.parameters, self._average)

    def state(self) -> dict[str, Tensor]:
        """All tensors that going on exactly needs, beside the weights themselves."""
        tensors = {f"average/{name}": tensor for name, tensor in self._average.items()}
        states = self._optimiser.state_dict()["state"]  # by the parameter's number; empty before the first step
        for number, name in enumerate(self.parameters):
            tensors |= {f"optimiser/{key}/{name}": torch.as_tensor(v) for key, v in states.get(number, {}).items()}
        tensors["updates"] = torch.tensor(self._updates)
        return tensors

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a `state`; the inverse, bit for bit."""
        self._updates = int(tensors["updates"])
        _copy_into(self._average, {name: tensors[f"average/{name}"] for name in self._average})
        found: dict[str, dict[str, Tensor]] = {name: {} for name in self.parameters}
        for entry, tensor in tensors.items():
            if entry.startswith("optimiser/"):
                _, key, name = entry.split("/", 2)
                found[name][key] = _laid_out_like(self.parameters[name], tensor)
        state = {number: found[name] for number, name in enumerate(self.parameters) if found[name]}
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})


def _laid_out_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    # vectorised code takes elements in memory order, and its last bits depend on that order
    return torch.empty_like(parameter).copy_(tensor) if tensor.shape == parameter.shape else tensor


@torch.no_grad()
def _copy_into(targets: dict[str, torch.nn.Parameter] | dict[str, Tensor], sources: dict[str, Tensor]) -> None:
    for name, target in targets.items():
        target.copy_(sources[name])
