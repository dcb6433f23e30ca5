"""Checkpoint to NAME.onnx with its card NAME.json, parity checked: the waist between training and inference.

One file holds two graphs that share no node: the restorer, with its pooled statistics as an extra
output and, chosen by a flag, as an input; and, where the network takes an exposure, the head. This is
the one training module that also looks at the inference side, because it promises that both agree.
"""

import hashlib
import logging
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mirnet import metrics
from mirnet.errors import SettingsError, TrainingError, WeightsError
from mirnet.exposure import expose
from mirnet.files import write_whole
from mirnet.inference import catalog, tiles
from mirnet.inference.catalog import Card
from mirnet.inference.runtimes import OpenVINORuntime
from mirnet.network import Lite, SceneNetwork, checkpoints, exported_weights, from_config
from mirnet.network.pooling import SwitchedPooling
from mirnet.thumbnail import CELL_PX, LONG_SIDE_PX
from mirnet.training.runs import card as cards
from mirnet.training.runs.folder import RunFolder

OPSET = 18
TOLERANCE = 1e-4  # of runtimes against torch, range 1
SEAM = 4e-4  # of tiles against the whole, range 1: a tenth of an 8-bit step
PARITY_SIZES = ((61, 83), (40, 129))  # odd on purpose: padding is compared too
NOT_MEASURED = "scores not measured"


@dataclass(frozen=True)
class Exported:
    """The two files that were written, and the card."""

    onnx: Path
    card: Card


def export(source: Path, target: Path, *, last: bool = False, about: Path | None = None) -> Exported:
    """Export a run folder (its best weights, or with `last` the newest) or a checkpoint file, ours or published.

    What no program can know (`card.WORDS`) a run's card says as its `card.json` does, which a person may have
    completed; `about`, a JSON object of the same form, goes over that.
    Raises WeightsError, SettingsError, and TrainingError where OpenVINO and torch differ by more than 1e-4
    or the files cannot be written.
    """
    if target.suffix != ".onnx":
        raise SettingsError(f"{target}: expected an output NAME.onnx; its card NAME.json goes beside it.")
    words = cards.read(about) if about else {}
    checkpoint = _checkpoint(source, last)
    network = checkpoints.load(checkpoint).eval()
    origin = cards.answered(_origin(source, checkpoint) | words)
    content = to_onnx(network)
    card = replace(_card(network, content, target.stem), **origin)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)
        write_whole(target.with_suffix(".json"), card.to_json().encode())
    except OSError as error:
        raise TrainingError(f"{target}: cannot be written ({error.strerror}); choose another place.") from error
    return Exported(target, card)


def _checkpoint(source: Path, last: bool) -> Path:
    if source.is_file():
        if last:
            raise SettingsError(
                f"{source}: --last chooses among a run's checkpoints, and this is one file; leave it out."
            )
        return source
    if not source.is_dir():
        raise WeightsError(f"{source}: expected a run folder or a checkpoint file; there is none.")
    run = RunFolder(source)
    found = run.last() if last else run.best if run.best.exists() else None
    if found is None:
        raise WeightsError(
            f"{source}: expected a run folder with {'a checkpoint' if last else 'best.safetensors'}; train first."
        )
    return found


def _card(network: SceneNetwork, content: bytes, name: str) -> Card:
    """What can be told from the network and its file."""
    description = checkpoints.describe(network.config)  # type: ignore[arg-type]
    overlap_px = measure_overlap(network)
    return Card(
        name=name,
        architecture=str(description["architecture"]),
        config=dict(description["config"]),  # type: ignore[call-overload]
        sha256=hashlib.sha256(content).hexdigest(),
        takes_exposure=isinstance(network, Lite),
        size_multiple=network.size_multiple,
        overlap_px=overlap_px,
        scene_size=network.scene_size(),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        kflop_per_px=round(kflop_per_px(network), 2),
        # the file holds the checkpoint's own float32: rounding costs nothing
        export={"parity": measure_parity(network, content), "rounding_db": 0.0},
    )


def _origin(source: Path, checkpoint: Path) -> dict[str, Any]:
    """What the card says of where the weights come from: of a run its data, scores and words, of a file nothing."""
    if source.is_file():
        return {"protocol": NOT_MEASURED, "licence": "licence of its source", "source": "converted"}
    run = RunFolder(source)
    about, scores = run.about(), checkpoints.read_own(checkpoint)[0].get("scores")
    protocol = metrics.PROTOCOL if scores else NOT_MEASURED
    if about.get("test_set_used"):
        protocol += (
            "; the published test set (eval15) was used in this run, so its scores say nothing about new pictures"
        )
    return {
        "protocol": protocol,
        "scores": {name: score for name, score in dict(scores or {}).items() if math.isfinite(score)},  # type: ignore[call-overload]
        **cards.filled_in(run, checkpoint),
        **cards.changed(run),
    }


# --- the graph ------------------------------------------------------------------------------------


class _RestorerGraph(nn.Module):
    """In the graph a batch is one scene, and `use_scene` chooses between its own statistics and given ones."""

    def __init__(self, network: SceneNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, scene: Tensor, use_scene: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        pooling = SwitchedPooling(scene, use_scene)
        return self.network.restore(pooling, *inputs), pooling.scene


class _HeadGraph(nn.Module):
    def __init__(self, network: Lite) -> None:
        super().__init__()
        self.network = network

    def forward(self, thumbnail: Tensor) -> Tensor:
        return self.network.propose(thumbnail)


def to_onnx(network: SceneNetwork) -> bytes:
    """The ONNX file of a network; equal weights give equal bytes. Initializers keep the checkpoint's entry names."""
    graph = _restorer(network)
    if isinstance(network, Lite):
        head = _head(network)
        for field in ("node", "initializer", "input", "output"):
            getattr(graph, field).extend(getattr(head, field))
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opset, producer_name="mirnet", ir_version=10)
    onnx.checker.check_model(model)
    missing = checkpoints.entries(network).keys() - {tensor.name for tensor in graph.initializer}
    if missing:
        raise TrainingError(f"The exporter renamed {len(missing)} weights, among them {min(missing)}; use torch 2.13.")
    return bytes(model.SerializeToString(deterministic=True))


def _restorer(network: SceneNetwork) -> onnx.GraphProto:
    multiple = network.size_multiple
    height, width = (multiple * torch.export.Dim(side, min=1, max=2**14 // multiple) for side in ("rows", "columns"))
    sizes = {0: torch.export.Dim("pictures", min=1, max=4096), 2: height, 3: width}
    pictures = [torch.rand(2, 3, 4 * multiple, 5 * multiple)]
    names = ["picture"]
    if isinstance(network, Lite):
        pictures.append(torch.rand(2, 1, 4 * multiple, 5 * multiple))
        names.append("stops")
    arguments = (torch.zeros(network.scene_size()), torch.tensor(True), *pictures)
    shapes = (None, None, tuple(sizes for _ in pictures))
    graph = _traced(
        _RestorerGraph(network), arguments, shapes, ["scene", "use_scene", *names], ["restored", "scene_out"]
    )
    return _renamed(graph, "restorer/")


def _head(network: Lite) -> onnx.GraphProto:
    cells = {side: CELL_PX * torch.export.Dim(f"cells_{side}", min=1, max=LONG_SIDE_PX // CELL_PX) for side in (2, 3)}
    example = (torch.rand(1, 3, 8 * CELL_PX, LONG_SIDE_PX),)
    return _renamed(_traced(_HeadGraph(network), example, (cells,), ["thumbnail"], ["stops_map"]), "head/")


def _traced(
    module: nn.Module, arguments: Sequence[Tensor], shapes: Any, inputs: list[str], outputs: list[str]
) -> onnx.GraphProto:
    slopes: list[str] = []  # of the PReLUs, in the order in which they are computed
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    hooks = [
        part.register_forward_hook(lambda part, *_: slopes.append(names[id(part.weight)]))
        for part in module.modules()
        if isinstance(part, nn.PReLU)
    ]
    module.eval()(*arguments)
    for hook in hooks:
        hook.remove()
    with _quiet():
        program = torch.onnx.export(
            module, tuple(arguments), input_names=inputs, output_names=outputs, dynamic_shapes=shapes,
            dynamo=True, opset_version=OPSET, verbose=False,
        )  # fmt: skip
    assert program is not None
    graph = program.model_proto.graph
    _restore_names(graph, module, slopes)
    return graph


def _restore_names(graph: onnx.GraphProto, module: nn.Module, slopes: Sequence[str]) -> None:
    """Weights under their checkpoint names: the exporter calls a tied weight by any of its owners' names, and folds
    the slopes of PReLUs into nameless constants."""
    first = {id(parameter): name for name, parameter in module.named_parameters()}
    canonical = {name: first[id(parameter)] for name, parameter in module.named_parameters(remove_duplicate=False)}
    prelus = [node for node in graph.node if node.op_type == "PRelu"]
    for node, slope in zip(prelus, slopes, strict=True):
        node.input[1] = slope
    for node in graph.node:
        node.input[:] = [canonical.get(name, name) for name in node.input]
    used = {name for node in graph.node for name in node.input}
    weights = {name: parameter.detach().numpy() for name, parameter in module.named_parameters()}
    constants = [tensor for tensor in graph.initializer if tensor.name in used - weights.keys()]
    del graph.initializer[:]
    graph.initializer.extend(constants)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(weights[name], name) for name in sorted(used & weights.keys())
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's exporter warns of its own deprecations and of torchvision's absence: nothing a user can act on."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _renamed(graph: onnx.GraphProto, prefix: str) -> onnx.GraphProto:
    """A bare copy of a graph: weights under their checkpoint names, all inner values behind a prefix of their own.

    Everything else that the exporter writes (stack traces with paths, shapes of inner values) is left out.
    """
    kept = {value.name for value in (*graph.input, *graph.output)}

    def name(old: str) -> str:
        if old == "" or old in kept:
            return old
        return old.removeprefix("network.") if old.startswith("network.") else prefix + old

    nodes = []
    for number, node in enumerate(graph.node):
        bare = onnx.helper.make_node(
            node.op_type, [name(x) for x in node.input], [name(x) for x in node.output], name=f"{prefix}{number}"
        )
        bare.attribute.extend(node.attribute)
        nodes.append(bare)
    tensors = []
    for tensor in graph.initializer:
        copy = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), name(tensor.name))
        tensors.append(copy)
    return onnx.helper.make_graph(nodes, "mirnet", _bare(graph.input), _bare(graph.output), tensors)


def _bare(values: Sequence[onnx.ValueInfoProto]) -> list[onnx.ValueInfoProto]:
    """Inputs and outputs with their types and known sizes; free sizes stay nameless: two graphs would share them."""
    bare = []
    for value in values:
        kind = value.type.tensor_type
        shape = [size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim]
        bare.append(onnx.helper.make_tensor_value_info(value.name, kind.elem_type, shape))
    return bare


def read_exported(path: Path) -> SceneNetwork:
    """The torch network of exported weights, rebuilt from file and card. Raises WeightsError."""
    weights = catalog.read(path)
    return exported_weights.read(weights.read_verified(), weights.card.architecture, weights.card.config, path)


# --- what is measured -----------------------------------------------------------------------------


def kflop_per_px(network: SceneNetwork) -> float:
    """Thousand floating-point operations a pixel, two for a multiply-add, counted by torch at 512x512, head apart."""
    inputs = [
        torch.empty(1, channels, 512, 512, device="meta")
        for channels in ((3, 1) if isinstance(network, Lite) else (3,))
    ]
    with torch.device("meta"):
        shadow = from_config(network.config)  # type: ignore[arg-type]
    with FlopCounterMode(display=False) as counter:
        shadow(*inputs)
    return counter.get_total_flops() / 512**2 / 1e3


def example_inputs(network: SceneNetwork, height: int, width: int, count: int = 1) -> tuple[Tensor, ...]:
    """Dark, noisy, seeded pictures as the network gets them: smooth shapes 5 stops under, with grain."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((count, 3, max(height // 16, 2), max(width // 16, 2)), dtype=np.float32))
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)
    dark = expose(smooth.numpy(), np.float32(-5))
    dark = np.clip(np.round((dark + random.normal(0, 0.01, dark.shape)) * 255) / 255, 0, 1).astype(np.float32)
    if not isinstance(network, Lite):
        return (torch.from_numpy(dark),)
    stops = np.full((count, 1, height, width), 5, dtype=np.float32)
    return torch.from_numpy(expose(dark, stops)), torch.from_numpy(stops)


@torch.inference_mode()
def measure_overlap(network: SceneNetwork, tile_px: int = 32, limit_px: int = 96) -> int:
    """The smallest multiple of 8 by which a tile must see beyond its edges to equal the whole picture to 4e-4.

    Tiles in the middle of six pictures are rendered with the pictures' scene and ever more surroundings; one
    picture alone was seen to miss the places where a network looks farthest. Pictures that show `limit_px` on
    each side are believed up to half of that; then larger ones are asked.
    Raises TrainingError where not even 384 pixels are enough.
    """
    side = tile_px + 2 * limit_px
    inputs = example_inputs(network, side, side, count=6)
    scene = network.measure_scene(*inputs)
    whole = network.render(scene, *inputs)[:, :, limit_px:-limit_px, limit_px:-limit_px]
    step = max(8, network.size_multiple)
    for overlap in range(step, limit_px // 2 + 1, step):
        seen = slice(limit_px - overlap, side - limit_px + overlap)
        tile = network.render(scene, *(x[:, :, seen, seen] for x in inputs))[:, :, overlap:-overlap, overlap:-overlap]
        if float((tile - whole).abs().max()) <= SEAM:
            return overlap
    if limit_px > 2 * 384:
        raise TrainingError(
            "Tiles differ from the whole picture even with 384 pixels around them; this cannot be tiled."
        )
    return measure_overlap(network, tile_px, 2 * limit_px)


@torch.inference_mode()
def measure_parity(network: SceneNetwork, content: bytes) -> float:
    """The largest difference between torch and the file in OpenVINO, range 1, on odd sizes, survey and head included.

    Raises TrainingError above 1e-4.
    """
    runtime = OpenVINORuntime(content, network.scene_size())
    differences = []
    for height, width in PARITY_SIZES:
        inputs = example_inputs(network, height, width)
        padded = [tiles.pad_to_multiple(x.numpy(), network.size_multiple) for x in inputs]
        picture, stops = padded[0], padded[1] if len(padded) > 1 else None
        restored, scene = runtime.restore(picture, stops, None)
        again, _ = runtime.restore(picture, stops, scene)
        expected = network(*inputs)
        differences.append(_difference(scene, network.measure_scene(*inputs)))
        differences += [_difference(result[:, :, :height, :width], expected) for result in (restored, again)]
    if isinstance(network, Lite):
        thumbnail = example_inputs(network, 64, 96)[0]
        differences.append(_difference(runtime.propose(thumbnail.numpy()), network.propose(thumbnail)))
    worst = max(differences)
    if not worst <= TOLERANCE:
        raise TrainingError(
            f"The exported network differs from torch by {worst:.2g} in OpenVINO, more than {TOLERANCE:g}; "
            "nothing was written."
        )
    return float(f"{worst:.2g}")


def _difference(a: np.ndarray[Any, Any], b: Tensor) -> float:
    return float(np.abs(a - b.numpy()).max())
