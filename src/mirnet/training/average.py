"""The mean of several networks' weights: one network that is often better than each of them.

Runs that began with the same weights stay close enough for their mean to be a good network, too, and it forgets less
of what they began with (Wortsman et al., *Model soups*, ICML 2022, and *Robust fine-tuning*, CVPR 2022).
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from mirnet.errors import SettingsError, WeightsError
from mirnet.network import Config, checkpoints
from mirnet.training import warm_start


def average(sources: Sequence[Path], target: Path) -> None:
    """Write the mean of the weights of `sources`, each as `warm_start.find` takes it, as a checkpoint.

    The first says what network it is, so it is a run or a checkpoint. One that is named twice counts twice. Raises
    SettingsError where there are fewer than two, or `target` is there or no NAME.safetensors; WeightsError where
    something cannot be read or is another network, or `target` cannot be written.
    """
    if len(sources) < 2:
        raise SettingsError("A mean is one of at least two weights; name two or more runs or checkpoints.")
    if target.suffix != ".safetensors":
        raise SettingsError(f"{target}: expected an output NAME.safetensors.")
    if target.exists():
        raise SettingsError(f"{target}: is there already; choose another name.")
    first = warm_start.find(sources[0])
    if first.suffix == ".onnx":
        raise WeightsError(f"{sources[0]}: shipped weights cannot come first; begin with a run or a checkpoint.")
    network = checkpoints.load(first)
    config: Config = network.config  # type: ignore[assignment]
    others = [checkpoints.assemble(config, warm_start.read(source), source) for source in sources[1:]]
    weights = [checkpoints.entries(each) for each in (network, *others)]
    for name, parameter in weights[0].items():
        parameter.copy_(torch.stack([each[name] for each in weights]).mean(0))
    checkpoints.save(network, target)
