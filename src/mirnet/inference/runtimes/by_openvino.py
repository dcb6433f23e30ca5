"""OpenVINO, the default: on the CPU and on graphics of Intel's."""

import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from mirnet.errors import SettingsError, WeightsError
from mirnet.inference import catalog
from mirnet.inference.catalog import Weights
from mirnet.inference.runtimes.protocol import Floats

if TYPE_CHECKING:
    import openvino


class OpenVINORuntime:
    """Computes in float32 unless told otherwise, whatever the machine could do faster."""

    def __init__(self, onnx: bytes, scene_size: int, device: str = "cpu", threads: int | None = None,
                 precision: str = "f32") -> None:  # fmt: skip
        """`device` as OpenVINO names it ("cpu", "gpu"), `threads` None for all cores. WeightsError, SettingsError.

        `precision` "f32", "bf16", or "int8" for a network whose file holds int8 weights.
        """
        ov = import_openvino()
        self._core = ov.Core()
        self._device = _device(self._core, device)
        self.precision = precision
        # f32 stated: OpenVINO takes bf16 by itself where a CPU has it, and a photo must not depend on the machine
        self._config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip
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

    @classmethod
    def open(cls, weights: Weights, device: str, threads: int | None, fast: bool) -> "OpenVINORuntime":
        precision = fast_precision(device) if fast else "f32"
        chosen = catalog.int8_of(weights) if precision == "int8" else weights
        return cls(chosen.verified(), chosen.card.scene_size, device, threads, precision)

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


def fast_precision(device: str = "cpu") -> str:
    """What `fast` is on a device: "bf16" where its arithmetic knows that, else "int8". Raises SettingsError."""
    core = import_openvino().Core()
    return "bf16" if "BF16" in core.get_property(_device(core, device), "OPTIMIZATION_CAPABILITIES") else "int8"


def _device(core: "openvino.Core", name: str) -> str:
    """OpenVINO's name of a device. Raises SettingsError with those that are there."""
    available: list[str] = core.available_devices
    if name.upper() not in available:
        names = ", ".join(each.lower() for each in available)
        raise SettingsError(f'There is no device "{name}" here; OpenVINO finds {names}.')
    return name.upper()


def versions() -> list[str]:
    """The runtime's version and the devices that it finds, a line each."""
    ov = import_openvino()
    core = ov.Core()
    devices = [
        f"device {name.lower()}: {core.get_property(name, 'FULL_DEVICE_NAME')}" for name in core.available_devices
    ]
    return [f"openvino {ov.get_version()}", *devices]
