"""The torch network of an exported ONNX file: its weights stand there under their checkpoint names."""

from collections.abc import Mapping
from typing import Any

import onnx
import torch
from google.protobuf.message import DecodeError

from mirnet.errors import WeightsError
from mirnet.network import SceneNetwork, checkpoints, from_config


def read(content: bytes, architecture: str, config: Mapping[str, Any], source: object) -> SceneNetwork:
    """The network in the bytes of an ONNX file, rebuilt by what its card says. Raises WeightsError, names `source`."""
    try:
        graph = onnx.load_from_string(content).graph
    except DecodeError as error:
        raise WeightsError(f"{source}: is no ONNX file ({error}); reinstall mirnet or export it again.") from error
    tensors = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in graph.initializer}
    described = checkpoints.config_of({"architecture": architecture, "config": dict(config)}, source)
    names = checkpoints.entries(from_config(described)).keys()
    return checkpoints.assemble(described, {name: tensors[name] for name in names if name in tensors}, source)
