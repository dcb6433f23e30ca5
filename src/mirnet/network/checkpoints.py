"""Networks to and from files: our safetensors with their config in the header, and other people's checkpoints."""

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mirnet.errors import WeightsError
from mirnet.network import Config, LiteConfig, MIRNetConfig, MIRNetV2Config, SceneNetwork, from_config

FORMAT = 1
ARCHITECTURES: dict[str, type[Config]] = {"lite": LiteConfig, "mirnet": MIRNetConfig, "mirnet-v2": MIRNetV2Config}


def describe(config: Config) -> dict[str, object]:
    """A config as plain data, with its architecture's name."""
    (name,) = (name for name, kind in ARCHITECTURES.items() if type(config) is kind)
    return {"architecture": name, "config": asdict(config)}


def entries(network: SceneNetwork) -> dict[str, Tensor]:
    """All weights by name; what is tied stands once, under its first name."""
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def to_bytes(tensors: dict[str, Tensor], header: dict[str, object]) -> bytes:
    """A safetensors file; `header` is JSON in its metadata."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(contiguous, {"mirnet": json.dumps({"format": FORMAT, **header}, sort_keys=True)})


def read_own(path: Path) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Header and tensors of a file of ours. Raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("mirnet", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: expected a safetensors file of mirnet; this one cannot be read ({error}).") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: a safetensors file without mirnet's header; convert it with `mirnet export`.")
    if header.get("format") != FORMAT:
        raise WeightsError(f"{path}: has format {header.get('format')}, this mirnet reads {FORMAT}; update mirnet.")
    return header, tensors
