"""Runtimes: what runs an exported network. OpenVINO is the default; all read the same ONNX file."""

from collections.abc import Callable

from mirnet.errors import SettingsError
from mirnet.inference import catalog
from mirnet.inference.runtimes import onnxruntime_runtime, openvino_runtime, torch_runtime
from mirnet.inference.runtimes.openvino_runtime import OpenVINORuntime
from mirnet.inference.runtimes.protocol import NEVER, Floats, Runtime, ShouldStop, cores

# Each is opened by (weights, device, threads, fast).
RUNTIMES: dict[str, Callable[[catalog.Weights, str, int | None, bool], Runtime]] = {
    "openvino": OpenVINORuntime.open,
    "onnxruntime": onnxruntime_runtime.ONNXRuntime.open,
    "torch": torch_runtime.TorchRuntime.open,
}

__all__ = [
    "NEVER",
    "RUNTIMES",
    "Floats",
    "OpenVINORuntime",
    "Runtime",
    "ShouldStop",
    "cores",
    "open_runtime",
    "versions",
]


def open_runtime(name: str, weights: catalog.Weights, device: str = "cpu", threads: int | None = None,
                 fast: bool = False) -> Runtime:  # fmt: skip
    """Open the runtime "openvino", "onnxruntime" or "torch" with a network, on a device as that runtime names it.

    `threads` None uses all cores. `fast` computes in bfloat16 where the processor can, else with the int8 weights next
    to the others; the runtime's `precision` says which. Raises SettingsError, WeightsError.
    """
    if name not in RUNTIMES:
        raise SettingsError(f'There is no runtime "{name}"; choose one of {", ".join(RUNTIMES)}.')
    return RUNTIMES[name](weights, device, threads, fast)


def versions() -> list[str]:
    """One line for each installed runtime and for each device that it finds."""
    return [*openvino_runtime.versions(), *onnxruntime_runtime.versions(), *torch_runtime.versions()]
