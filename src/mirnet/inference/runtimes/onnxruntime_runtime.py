"""ONNX Runtime: its packages reach NVIDIA (cuda), any graphics card of Windows (directml) and Apple (coreml)."""

import importlib.metadata
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from mirnet.errors import Cancelled, SettingsError, WeightsError
from mirnet.inference import catalog
from mirnet.inference.catalog import Weights
from mirnet.inference.runtimes.protocol import POLL_SECONDS, Floats, ShouldStop, require_package

# Each device's provider, its options, and the package that has it. Float32 is stated where rounding is a default.
PROVIDERS: dict[str, tuple[str, dict[str, str], str]] = {
    "cpu": ("CPUExecutionProvider", {}, "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}, "onnxruntime-gpu"),
    "directml": ("DmlExecutionProvider", {}, "onnxruntime-directml"),
    "coreml": ("CoreMLExecutionProvider", {"ModelFormat": "MLProgram", "MLComputeUnits": "CPUAndGPU"}, "onnxruntime"),
}
PACKAGES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")
MIN_SIDE_PX = 8  # of the inputs of the graph whose output is not requested


class ONNXRuntime:
    """Runs the ONNX file as it is."""

    def __init__(self, weights: Weights, device: str = "cpu", threads: int | None = None,
                 precision: str = "f32") -> None:  # fmt: skip
        """`device` "cpu", "cuda", "directml" or "coreml". Raises SettingsError, WeightsError."""
        with require_package("onnxruntime", '"mirnet[onnxruntime]"'):
            import onnxruntime
        onnxruntime.disable_telemetry_events()  # only its builds for Windows have any
        provider, options = _provider(onnxruntime.get_available_providers(), device)
        self.precision, self._run_options = precision, onnxruntime.RunOptions
        self._session = _session(onnxruntime, weights, (provider, options), threads)
        if self._session.get_providers()[0] != provider:  # it could not load the libraries and continues on the CPU
            raise SettingsError(
                f'ONNX Runtime cannot use the device "{device}": the libraries of {provider} are missing or too old.'
            )
        side = max(MIN_SIDE_PX, weights.card.size_multiple)
        placeholders = {"picture": (1, 3, side, side), "stops": (1, 1, side, side), "scene": (weights.card.scene_size,),
                   "thumbnail": (1, 3, MIN_SIDE_PX, MIN_SIDE_PX)}  # fmt: skip
        names = [value.name for value in self._session.get_inputs()]
        # the file holds two graphs, and both need inputs; the one whose output is not requested costs 0.1 ms
        self._placeholders: dict[str, Any] = {
            name: np.zeros(shape, np.float32) for name, shape in placeholders.items() if name in names
        }
        self._placeholders["use_scene"] = np.array(True)

    @classmethod
    def open(cls, weights: Weights, device: str, threads: int | None, fast: bool) -> "ONNXRuntime":
        return cls(catalog.find_int8(weights), device, threads, "int8") if fast else cls(weights, device, threads)

    def restore(self, image: Floats, stops: Floats | None, scene_vector: Floats | None,
                should_stop: ShouldStop | None = None) -> tuple[Floats, Floats]:  # fmt: skip
        inputs = self._placeholders | {"picture": image, "use_scene": np.array(scene_vector is not None)}
        if stops is not None:
            inputs["stops"] = stops
        if scene_vector is not None:
            inputs["scene"] = scene_vector
        outputs = ["restored", "scene_out"]
        if should_stop is None:
            restored, used = self._session.run(outputs, inputs)
        else:
            restored, used = self._run_polling(outputs, inputs, should_stop)
        return restored, used

    def _run_polling(self, outputs: list[str], inputs: dict[str, Any], should_stop: ShouldStop) -> list[Floats]:
        """Run the network, and end it once `should_stop()` is true. Raises Cancelled."""
        options = self._run_options()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(self._session.run, outputs, inputs, options)
            try:
                while not wait([running], POLL_SECONDS).done:
                    if should_stop():
                        raise Cancelled
            except BaseException:
                options.terminate = True  # the session looks at it before the network's next node
                raise
        results: list[Floats] = running.result()
        return results

    def propose(self, thumbnail: Floats) -> Floats:
        (stops_map,) = self._session.run(["stops_map"], self._placeholders | {"thumbnail": thumbnail})
        proposal: Floats = stops_map
        return proposal


def _provider(available: list[str], device: str) -> tuple[str, dict[str, str]]:
    """The provider of a device, with its options. SettingsError says what to install, or which devices exist."""
    if device not in PROVIDERS:
        raise SettingsError(f'There is no device "{device}" for ONNX Runtime; it knows {", ".join(PROVIDERS)}.')
    provider, options, package = PROVIDERS[device]
    if provider not in available:
        here = [name for name, (each, _, _) in PROVIDERS.items() if each in available]
        advice = (
            "is part of its package for macOS alone"
            if device == "coreml"
            else f"comes with another package: pip uninstall onnxruntime, then pip install {package}"
        )
        raise SettingsError(f'This ONNX Runtime has {", ".join(here)}, not "{device}", which {advice}.')
    return provider, options


def _session(onnxruntime: Any, weights: Weights, provider: tuple[str, dict[str, str]], threads: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; its warnings are about graph nodes
    options.intra_op_num_threads = threads or 0  # 0: all cores
    try:
        return onnxruntime.InferenceSession(weights.read_verified(), options, providers=[provider])
    except (onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf,
            onnxruntime.capi.onnxruntime_pybind11_state.Fail,
            onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph) as error:  # fmt: skip
        raise WeightsError(f"{weights.path}: is no network that ONNX Runtime can read ({error}).") from error


def versions() -> list[str]:
    """One line with its version and devices; none where it is not installed."""
    for package in PACKAGES:
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        import onnxruntime

        here = [name for name, (each, _, _) in PROVIDERS.items() if each in onnxruntime.get_available_providers()]
        return [f"{package} {version} (devices: {', '.join(here)})"]
    return []
