"""The runtime OpenVINO, the default: on the CPU and on Intel graphics."""

import ctypes
import hashlib
import io
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from mirnet.errors import Cancelled, SettingsError, WeightsError
from mirnet.inference import catalog
from mirnet.inference.catalog import Weights
from mirnet.inference.runtimes import compiled_cache, graph_rewriting
from mirnet.inference.runtimes.protocol import POLL_SECONDS, Floats, ShouldStop, cores

if TYPE_CHECKING:
    import openvino

STREAMS = 2  # tiles at once; `render` works on as many
CONVERTER = "openvino.tools.ovc"
M_MMAP_THRESHOLD = -3  # of malloc.h
RESET_BATCH = (3, 32)  # images, pixels a side: no other batch has as many images of this size


class OpenVINORuntime:
    """Runs the ONNX file with OpenVINO, in float32 unless `precision` says otherwise."""

    def __init__(self, onnx: bytes, scene_size: int, device: str = "cpu", threads: int | None = None,
                 precision: str = "f32") -> None:  # fmt: skip
        """`onnx` is the file's content; `device` as OpenVINO names it ("cpu", "gpu"); `threads` None uses all cores.

        `precision` is "f32", "bf16", or "int8" for a file of int8 weights. Raises WeightsError, SettingsError.
        """
        self._ov = import_openvino()
        _return_large_blocks()
        self._core = self._ov.Core()
        self._device = _device(self._core, device)
        self.precision = precision
        # f32 stated: OpenVINO takes bf16 by itself where a CPU has it, and a photo must not depend on the machine
        self._config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32", "PERFORMANCE_HINT": "LATENCY",
        }  # fmt: skip
        if threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = threads
            # several processes share the cores then: bound to one core each, all would take the first
            self._config["ENABLE_CPU_PINNING"] = False
        self._onnx, self._scene_size = onnx, scene_size
        self._network: openvino.Model | None = None
        self._compiled: dict[str, openvino.CompiledModel] = {}
        self._compiling = threading.Lock()
        self._surveying = threading.Lock()  # the part has one stream: one image after the other
        self._counting, self._surveys = threading.Lock(), 0  # memory is released when no survey is in work
        self._requests = threading.local()  # an infer request may serve one thread at a time
        self._part("survey")  # here, so that a file that is no network is refused here

    @classmethod
    def open(cls, weights: Weights, device: str, threads: int | None, fast: bool) -> "OpenVINORuntime":
        precision = fast_precision(device) if fast else "f32"
        chosen = catalog.find_int8(weights) if precision == "int8" else weights
        return cls(chosen.read_verified(), chosen.card.scene_size, device, threads, precision)

    def restore(self, image: Floats, stops: Floats | None, scene_vector: Floats | None,
                should_stop: ShouldStop | None = None) -> tuple[Floats, Floats]:  # fmt: skip
        inputs = {"picture": image} if stops is None else {"picture": image, "stops": stops}
        if scene_vector is None:
            restored, used = self._measure_and_restore(inputs, should_stop)
            return restored, used
        if should_stop is not None and should_stop():  # not polled later: this renders tiles, which are soon done
            raise Cancelled
        (restored,) = self._infer("render", inputs | {"scene": scene_vector})
        return restored, scene_vector

    def propose(self, thumbnail: Floats) -> Floats:
        return self._infer("head", {"thumbnail": thumbnail})[0]

    def _measure_and_restore(self, inputs: dict[str, Floats], should_stop: ShouldStop | None) -> list[Floats]:
        """The outputs of the part "survey": restored images and their scene vector."""
        with self._counting:
            self._surveys += 1
        try:
            while not self._surveying.acquire(timeout=-1 if should_stop is None else POLL_SECONDS):
                if should_stop is not None and should_stop():
                    raise Cancelled
            try:
                if should_stop is None:
                    return self._infer("survey", inputs)
                return self._infer_polling("survey", inputs, should_stop)
            finally:
                self._surveying.release()
        finally:
            with self._counting:
                self._surveys -= 1
                # after samples of a large image: what is rendered next needs the memory
                if len(inputs["picture"]) > 1 and self._surveys == 0:
                    self._compiled["survey"].release_memory()

    def _infer(self, part: str, inputs: dict[str, Floats]) -> list[Floats]:
        # not shared: the request's own buffers are written again by its next call
        outputs = self._request(part).infer(inputs, share_outputs=False)
        return [outputs[number] for number in range(len(outputs))]

    def _infer_polling(self, part: str, inputs: dict[str, Floats], should_stop: ShouldStop) -> list[Floats]:
        """The same, ended once `should_stop()` is true; no other call may run that part meanwhile. Raises Cancelled."""
        request = self._request(part)
        request.start_async(inputs)
        try:
            while not request.wait_for(round(POLL_SECONDS * 1000)):
                if should_stop():
                    raise Cancelled
        except BaseException:
            request.cancel()
            with suppress(RuntimeError):  # that it was cancelled
                request.wait()
            # nodes then know the shapes of this image or of the one before, some of one and some of the other, and
            # fail at the next; a batch like no other makes all of them learn anew
            count, side = RESET_BATCH
            shapes = {name: (count, x.shape[1], side, side) for name, x in inputs.items()}
            self._infer(part, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()})
            raise
        return [tensor.data.copy() for tensor in request.output_tensors]

    def _request(self, part: str) -> "openvino.InferRequest":
        """This thread's infer request for a part."""
        request = getattr(self._requests, part, None)
        if request is None:
            request = self._part(part).create_infer_request()
            setattr(self._requests, part, request)
        return request

    def _part(self, part: str) -> "openvino.CompiledModel":
        """The part "survey", "render" or "head" of the network, compiled at its first use or read from the cache."""
        with self._compiling:
            if part not in self._compiled:
                self._compiled[part] = self._cached(part, self._config | self._changes(part))
            return self._compiled[part]

    def _changes(self, part: str) -> dict[str, Any]:
        """The options that differ for a part.

        The head is small and decides most: it stays in float32. Two tiles are rendered at once, each on half of the
        cores, which then wait less for one another: a sixth is gained.
        """
        if part == "head":
            return {"INFERENCE_PRECISION_HINT": "f32"}
        if part == "survey":
            return {}
        threads = self._config.get("INFERENCE_NUM_THREADS") or cores()
        return {"NUM_STREAMS": min(STREAMS, threads), "INFERENCE_NUM_THREADS": threads}

    def _cached(self, part: str, config: dict[str, Any]) -> "openvino.CompiledModel":
        key = self._key(part, config)
        kept = compiled_cache.load(key)
        if kept is not None:
            try:
                return self._core.import_model(io.BytesIO(kept), self._device, config)
            except RuntimeError:  # made on a machine that is the same by name only
                pass
        rewritten = graph_rewriting.BUILDERS[part](self._ov, self._read())
        compiled = self._core.compile_model(rewritten, self._device, config)
        if compiled_cache.cache_folder() is not None:
            exported = io.BytesIO()
            compiled.export_model(exported)
            compiled_cache.store(key, exported.getvalue())
        return compiled

    def _key(self, part: str, config: dict[str, Any]) -> str:
        """A text of everything on which a compiled network depends."""
        name = self._core.get_property(self._device, "FULL_DEVICE_NAME")
        machine = (name, _capabilities(self._core, self._device))
        digest = hashlib.sha256(self._onnx).hexdigest()
        options = sorted(config.items())
        return repr((graph_rewriting.EDITION, digest, part, self._device, options, machine, self._ov.get_version()))

    def _read(self) -> "openvino.Model":
        if self._network is None:
            try:
                self._network = self._core.read_model(self._onnx)
            except RuntimeError as error:
                raise WeightsError(
                    "The weights file is no ONNX network that OpenVINO can read; reinstall mirnet."
                ) from error
        return self._network


def import_openvino() -> Any:
    """The openvino package without its telemetry, which would call an analytics service and write to HOME.

    Its converter of other formats, a third of the time of the import, is left out too.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # openvino then uses its stub
    sys.modules[CONVERTER] = None  # type: ignore[assignment]  # openvino works without
    import openvino

    del sys.modules[CONVERTER]  # other code may still import it by its name
    # its first use of numpy, here: two threads that do it at once wait for ever for what the other holds
    _ = openvino.Tensor(openvino.Type.f32, openvino.Shape([1])).data
    return openvino


def _return_large_blocks() -> None:
    """Make the C library return blocks of a megabyte and more to the system as soon as they are free (Linux).

    glibc would keep blocks of up to 32 MB, in an arena for each thread, and tiles are made of such blocks: for a large
    image that was half of all memory (1.44 GB against 0.72 at tiles of 768 pixels).
    """
    if sys.platform == "linux":
        set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
        if set_option is not None:
            set_option(M_MMAP_THRESHOLD, 2**20)


def fast_precision(device: str = "cpu") -> str:
    """The precision that `fast` means on a device: "bf16" where it computes in that, else "int8". SettingsError."""
    core = import_openvino().Core()
    return "bf16" if "BF16" in _capabilities(core, _device(core, device)) else "int8"


def _capabilities(core: "openvino.Core", device: str) -> list[str]:
    return list(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))


def _device(core: "openvino.Core", name: str) -> str:
    """OpenVINO's name of a device. Raises SettingsError that lists the available devices."""
    available: list[str] = core.available_devices
    if name.upper() not in available:
        names = ", ".join(each.lower() for each in available)
        raise SettingsError(f'There is no device "{name}" here; OpenVINO finds {names}.')
    return name.upper()


def versions() -> list[str]:
    """Lines with the runtime's version, the devices that it finds, and the precision of --fast."""
    ov = import_openvino()
    core = ov.Core()
    devices = [
        f"device {name.lower()}: {core.get_property(name, 'FULL_DEVICE_NAME')}" for name in core.available_devices
    ]
    return [f"openvino {ov.get_version()}", *devices, f"--fast computes in {fast_precision()} here"]
