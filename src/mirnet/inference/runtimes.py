"""Run an exported network. OpenVINO is the default; every runtime reads the same ONNX file."""

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mirnet.errors import SettingsError, WeightsError

if TYPE_CHECKING:
    import openvino

Floats = NDArray[np.float32]


class Runtime(Protocol):
    """What a runtime does for an enhancer; safe to call from several threads."""

    def restore(self, picture: Floats, stops: Floats | None, scene: Floats | None) -> tuple[Floats, Floats]:
        """Restored pictures (N, 3, H, W), not clipped, and the scene (K,) that was used.

        `picture` (N, 3, H, W) in [0, 1], sides multiples of the card's; `stops` (N, 1, H, W) or None for a
        network without exposure; `scene` (K,) of an earlier call, or None: the batch is one scene and pools itself.
        """
        ...

    def propose(self, thumbnail: Floats) -> Floats:
        """The map of stops (1, 1, h/8, w/8) for a thumbnail (1, 3, h, w)."""
        ...


class OpenVINORuntime:
    """The default: Intel's OpenVINO on the CPU, in float32 whatever the machine could do faster."""

    def __init__(self, onnx: bytes, scene_size: int, device: str = "cpu", threads: int | None = None) -> None:
        """`device` as OpenVINO names it ("cpu", "gpu"), `threads` None for all cores. WeightsError, SettingsError."""
        ov = import_openvino()
        self._core = ov.Core()
        available = self._core.available_devices
        self._device = device.upper()
        if self._device not in available:
            names = ", ".join(name.lower() for name in available)
            raise SettingsError(f'There is no device "{device}" here; OpenVINO finds {names}.')
        # f32 stated: OpenVINO takes bf16 by itself where a CPU has it, and a photo must not depend on the machine
        self._config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
        try:
            self._model = self._core.read_model(onnx)
        except RuntimeError as error:
            raise WeightsError(
                "The weights file is no ONNX network that OpenVINO can read; reinstall mirnet."
            ) from error
        self._no_scene = np.zeros(scene_size, dtype=np.float32)
        self._compiled: dict[str, openvino.CompiledModel] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()  # an infer request may serve one thread at a time

    def restore(self, picture: Floats, stops: Floats | None, scene: Floats | None) -> tuple[Floats, Floats]:
        inputs: dict[str, Any] = {
            "picture": picture,
            "scene": self._no_scene if scene is None else scene,
            "use_scene": np.array(scene is not None),
        }
        if stops is not None:
            inputs["stops"] = stops
        outputs = self._infer(("restored", "scene_out"), inputs)
        return outputs[0], outputs[1]

    def propose(self, thumbnail: Floats) -> Floats:
        return self._infer(("stops_map",), {"thumbnail": thumbnail})[0]

    def _infer(self, results: tuple[str, ...], inputs: dict[str, Any]) -> list[Floats]:
        request = getattr(self._requests, results[0], None)
        if request is None:
            request = self._part(results).create_infer_request()
            setattr(self._requests, results[0], request)
        # not shared: the request's own buffers are written again by its next call
        outputs = request.infer(inputs, share_outputs=False)
        return [outputs[name] for name in results]

    def _part(self, results: tuple[str, ...]) -> "openvino.CompiledModel":
        """Restorer or head alone, compiled once: the file holds both, and they share no node."""
        with self._compiling:
            if results[0] not in self._compiled:
                ov = import_openvino()
                ends = [self._model.output(name) for name in results]
                parameters = [p for p in self._model.get_parameters() if self._feeds(p, results)]
                part = ov.Model([end.get_node().input_value(0) for end in ends], parameters)
                self._compiled[results[0]] = self._core.compile_model(part, self._device, self._config)
            return self._compiled[results[0]]

    @staticmethod
    def _feeds(parameter: "openvino.Node", results: tuple[str, ...]) -> bool:
        feeds_head: bool = parameter.get_friendly_name() == "thumbnail"
        return feeds_head == (results == ("stops_map",))


def import_openvino() -> Any:
    """The openvino package without its telemetry, which would tell an analytics service and write to HOME."""
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # openvino then uses its stub
    import openvino

    return openvino


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> list[str]:
    """The runtime's version and the devices that it finds, a line each."""
    ov = import_openvino()
    core = ov.Core()
    devices = [
        f"device {name.lower()}: {core.get_property(name, 'FULL_DEVICE_NAME')}" for name in core.available_devices
    ]
    return [f"openvino {ov.get_version()}", *devices]
