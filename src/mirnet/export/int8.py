"""int8 weights of exported weights, made by NNCF: what `--fast` uses on processors without bfloat16.

NNCF runs the network on some images, chooses a scale for each activation, and writes the rounding into the graph;
OpenVINO and ONNX Runtime then multiply 8-bit numbers. Only the inputs of the large 3x3 convolutions are rounded, which
are seven tenths of the work, and not those of the last two. With everything rounded `lite` was half as fast again but
lost 1.2 dB, and 2.9 dB at the ground truth's exposure: attention and sums need more than 8 bits.
"""

import hashlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from mirnet import images
from mirnet.errors import SettingsError
from mirnet.export.onnx_export import Exported, write_exported
from mirnet.export.weights_card import NOT_MEASURED
from mirnet.formats import find_format
from mirnet.inference.catalog import Weights
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.runtimes import Floats, Runtime, ShouldStop, open_runtime

SIDE_PX = 256  # of the crop from the middle of each image
MOST_IMAGES = 36  # evenly chosen from the folder
LAST = 2  # large convolutions at the end stay in float32: they make the residual
LARGE = 32  # input channels of a convolution that counts as large
LEAST = "least_number"  # the name of a constant in the graph

NetworkInputs = tuple[Floats, Floats | None]  # exposed images (N, 3, H, W), and their stops or None


def quantise(weights: Weights, folder: Path, target: Path) -> Exported:
    """Write int8 weights of `weights` and their card to `target`, calibrated on the dark images in `folder`.

    `--fast` finds them as NAME.int8.onnx beside NAME.onnx. Raises SettingsError where NNCF is missing, `target` has
    another suffix or the folder has no images; PictureError where an image cannot be read; TrainingError where nothing
    can be written.
    """
    if not target.name.endswith(".int8.onnx"):
        raise SettingsError(f"{target}: expected an output NAME.int8.onnx; its card goes beside it.")
    files = _choose_images(folder)
    content = _quantise_graph(weights, _record_inputs(weights, files))
    card = replace(
        weights.card,
        name=target.name.removesuffix(".onnx"),
        sha256=hashlib.sha256(content).hexdigest(),
        scores={},
        protocol=NOT_MEASURED,
        fast={},
        export={},
        source=f"int8 weights of {weights.card.name} (sha256 {weights.card.sha256}), made by NNCF "
        f"{_import_nncf().__version__}, calibrated on {len(files)} pictures",
    )
    return write_exported(content, card, target)


def _choose_images(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if find_format(path.suffix)) if folder.is_dir() else []
    if not found:
        raise SettingsError(f"{folder}: expected a folder of dark images to calibrate with; it has none.")
    places = np.linspace(0, len(found) - 1, min(MOST_IMAGES, len(found))).round().astype(int)
    return [found[place] for place in dict.fromkeys(places.tolist())]


class _RecordingRuntime:
    """A runtime that keeps all inputs of the restorer."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self.inputs = runtime, list[NetworkInputs]()
        self.precision = runtime.precision

    def restore(self, image: Floats, stops: Floats | None, scene_vector: Floats | None,
                should_stop: ShouldStop | None = None) -> tuple[Floats, Floats]:  # fmt: skip
        self.inputs.append((image, stops))
        return self._runtime.restore(image, stops, scene_vector, should_stop)

    def propose(self, thumbnail: Floats) -> Floats:
        return self._runtime.propose(thumbnail)


def _record_inputs(weights: Weights, files: Sequence[Path]) -> list[NetworkInputs]:
    """The network's inputs for crops from the middle of images, exposed as the exposure head proposes."""
    runtime = _RecordingRuntime(open_runtime("openvino", weights))
    enhancer = Enhancer(weights.path, runtime=runtime)
    for file in files:
        image = images.read_image(file)
        top, left = (max(0, (side - SIDE_PX) // 2) for side in image.shape[:2])
        enhancer.enhance(np.ascontiguousarray(image[top : top + SIDE_PX, left : left + SIDE_PX]))
    return runtime.inputs


def _quantise_graph(weights: Weights, inputs: Sequence[NetworkInputs]) -> bytes:
    """The bytes of the int8 ONNX file."""
    nncf = _import_nncf()
    model = onnx.load_from_string(weights.read_verified())
    unused: dict[str, Any] = {
        "scene": np.zeros(weights.card.scene_size, np.float32), "use_scene": np.array(False),
        "thumbnail": np.zeros((1, 3, 8, 8), np.float32),
    }  # fmt: skip
    names = {value.name for value in model.graph.input}
    samples = [{"picture": image, "stops": stops} | unused for image, stops in inputs]
    data = nncf.Dataset([{name: value for name, value in sample.items() if name in names} for sample in samples])
    exact = nncf.IgnoredScope(names=_find_float32_nodes(model.graph), validate=False)
    # a scale reaches to the largest number of all images, not to the mean of each image's largest: none is clipped
    parameters = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    )
    quantised = nncf.quantize(
        model, data, preset=nncf.QuantizationPreset.MIXED, subset_size=len(samples), ignored_scope=exact,
        advanced_parameters=parameters,
    )  # fmt: skip
    _pin_scales(quantised.graph)
    content: bytes = quantised.SerializeToString(deterministic=True)
    return content


def _pin_scales(graph: onnx.GraphProto) -> None:
    """Put a maximum that changes nothing behind each convolution whose output is averaged or reduced to a maximum.

    OpenVINO computes such a convolution in integers and moves their scale behind the operations that follow. In the
    attention of a DAU the result is wrong: `lite` was then at 20 to 25 dB against float32 (2026.4.1; ONNX Runtime,
    which moves no scale, at 38 to 54 dB). OpenVINO moves no scale past a maximum.
    """
    reduced = {name for node in graph.node if node.op_type in ("ReduceMean", "ReduceMax") for name in node.input}
    nodes = []
    for node in graph.node:
        nodes.append(node)
        name = node.output[0]
        if node.op_type == "Conv" and name in reduced:
            node.output[0] = f"{name}/free"
            nodes.append(onnx.helper.make_node("Max", [node.output[0], LEAST], [name], name=f"{node.name}/held"))
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(-np.finfo(np.float32).max), LEAST))


def _find_float32_nodes(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes that stay in float32, sorted."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    large = [
        node.name
        for node in graph.node
        if node.op_type == "Conv" and node.name.startswith("restorer/") and _is_large(shapes.get(node.input[1], ()))
    ]
    return sorted({node.name for node in graph.node} - set(large[:-LAST]))


def _is_large(shape: tuple[int, ...]) -> bool:  # (out, in, height, width)
    return shape[2:] == (3, 3) and shape[1] >= LARGE


def _import_nncf() -> Any:
    """The package nncf, without its telemetry. Raises SettingsError where it is missing."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import nncf
    except ImportError as error:
        raise SettingsError(
            f"int8 weights are made by NNCF, which is missing ({error}). Run: pip install nncf"
        ) from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
