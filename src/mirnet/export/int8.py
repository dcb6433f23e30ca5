"""Exported weights to int8 weights, by NNCF: half a fast way, for processors without bfloat16.

NNCF looks at what flows through the network for some pictures, chooses a scale for each stream, and writes the
roundings into the graph; OpenVINO and ONNX Runtime then multiply 8-bit numbers. Rounded is what enters the large 3x3
convolutions, seven tenths of the work, but for the last two. With everything rounded `lite` was half as fast again,
and lost 1.2 dB, 2.9 at the truth's exposure: attention and sums are finer than 8 bits.
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
from mirnet.errors import SettingsError, TrainingError
from mirnet.export.onnx_export import NOT_MEASURED, Exported
from mirnet.files import write_whole
from mirnet.formats import find_format
from mirnet.inference.catalog import Weights
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.runtimes import Floats, Runtime, ShouldStop, open_runtime

SIDE_PX = 256  # of the middles that are looked at
MOST_PICTURES = 36  # evenly chosen
LAST = 2  # of the large convolutions, which make the residual: in float32
LARGE = 32  # channels that enter
LEAST = "least_number"  # the name of a constant in the graph


def quantise(weights: Weights, pictures: Path, target: Path) -> Exported:
    """Write int8 weights of `weights` and their card, calibrated on the pictures of a folder.

    To be found by `--fast` they are called NAME.int8.onnx and lie beside NAME.onnx. Raises SettingsError where NNCF is
    missing or the folder has no pictures, PictureError, TrainingError where nothing can be written there.
    """
    if not target.name.endswith(".int8.onnx"):
        raise SettingsError(f"{target}: expected an output NAME.int8.onnx; its card goes beside it.")
    files = _chosen(pictures)
    seen = _seen(weights, files)
    content = _rounded(weights, seen)
    card = replace(
        weights.card,
        name=target.name.removesuffix(".onnx"),
        sha256=hashlib.sha256(content).hexdigest(),
        scores={},
        protocol=NOT_MEASURED,
        fast={},
        export={},
        source=f"int8 weights of {weights.card.name} (sha256 {weights.card.sha256}), made by NNCF "
        f"{_nncf().__version__}, calibrated on {len(files)} pictures",
    )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)
        write_whole(target.with_suffix(".json"), card.to_json().encode())
    except OSError as error:
        raise TrainingError(f"{target}: cannot be written ({error.strerror}); choose another place.") from error
    return Exported(target, card)


def _chosen(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if find_format(path.suffix)) if folder.is_dir() else []
    if not found:
        raise SettingsError(f"{folder}: expected a folder of dark pictures to calibrate with; there are none.")
    places = np.linspace(0, len(found) - 1, min(MOST_PICTURES, len(found))).round().astype(int)
    return [found[place] for place in dict.fromkeys(places.tolist())]


class _Watched:
    """A runtime that remembers what the restorer was given."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime, self.seen = runtime, list[tuple[Floats, Floats | None]]()
        self.precision = runtime.precision

    def restore(self, image: Floats, stops: Floats | None, scene_vector: Floats | None,
                should_stop: ShouldStop | None = None) -> tuple[Floats, Floats]:  # fmt: skip
        self.seen.append((image, stops))
        return self._runtime.restore(image, stops, scene_vector, should_stop)

    def propose(self, thumbnail: Floats) -> Floats:
        return self._runtime.propose(thumbnail)


def _seen(weights: Weights, files: Sequence[Path]) -> list[tuple[Floats, Floats | None]]:
    """What the network gets for the middles of pictures, exposed as the head proposes."""
    watched = _Watched(open_runtime("openvino", weights))
    enhancer = Enhancer(weights.path, runtime=watched)
    for file in files:
        picture = images.read_image(file)
        top, left = (max(0, (side - SIDE_PX) // 2) for side in picture.shape[:2])
        enhancer.enhance(np.ascontiguousarray(picture[top : top + SIDE_PX, left : left + SIDE_PX]))
    return watched.seen


def _rounded(weights: Weights, seen: Sequence[tuple[Floats, Floats | None]]) -> bytes:
    """The int8 ONNX file."""
    nncf = _nncf()
    model = onnx.load_from_string(weights.read_verified())
    unasked: dict[str, Any] = {
        "scene": np.zeros(weights.card.scene_size, np.float32), "use_scene": np.array(False),
        "thumbnail": np.zeros((1, 3, 8, 8), np.float32),
    }  # fmt: skip
    names = {value.name for value in model.graph.input}
    fed = [{"picture": picture, "stops": stops} | unasked for picture, stops in seen]
    data = nncf.Dataset([{name: value for name, value in each.items() if name in names} for each in fed])
    exact = nncf.IgnoredScope(names=_exact(model.graph), validate=False)
    # scales reach to the largest number of all pictures, not to the mean of their largest: no picture is cut off
    whole = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX
    )
    rounded = nncf.quantize(
        model, data, preset=nncf.QuantizationPreset.MIXED, subset_size=len(fed), ignored_scope=exact,
        advanced_parameters=whole,
    )  # fmt: skip
    _hold_scales(rounded.graph)
    content: bytes = rounded.SerializeToString(deterministic=True)
    return content


def _hold_scales(graph: onnx.GraphProto) -> None:
    """Put a maximum that changes nothing behind each convolution of which averages or maxima are taken.

    OpenVINO computes such a convolution in whole numbers and moves their scale behind what follows. It loses its way in
    the attention of a DAU: `lite` then was at 20 to 25 dB to float32 (2026.4.1; ONNX Runtime, which moves nothing, at
    38 to 54). No scale is moved past a maximum.
    """
    reduced = {name for node in graph.node if node.op_type in ("ReduceMean", "ReduceMax") for name in node.input}
    held = []
    for node in graph.node:
        held.append(node)
        name = node.output[0]
        if node.op_type == "Conv" and name in reduced:
            node.output[0] = f"{name}/free"
            held.append(onnx.helper.make_node("Max", [node.output[0], LEAST], [name], name=f"{node.name}/held"))
    del graph.node[:]
    graph.node.extend(held)
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(-np.finfo(np.float32).max), LEAST))


def _exact(graph: onnx.GraphProto) -> list[str]:
    """The nodes that stay in float32."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    large = [
        node.name
        for node in graph.node
        if node.op_type == "Conv" and node.name.startswith("restorer/") and _is_large(shapes.get(node.input[1], ()))
    ]
    return sorted({node.name for node in graph.node} - set(large[:-LAST]))


def _is_large(shape: tuple[int, ...]) -> bool:  # (out, in, height, width)
    return shape[2:] == (3, 3) and shape[1] >= LARGE


def _nncf() -> Any:
    """The package, without its telemetry. Raises SettingsError where it is missing."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import nncf
    except ImportError as error:
        raise SettingsError(
            f"int8 weights are made by NNCF, which is missing ({error}). Run: pip install nncf"
        ) from error
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
