"""The ONNX graph of a network: traced by torch, with the checkpoint's weight names, equal bytes for equal weights.

One file holds two graphs that share no node: the restorer, which gives the pooled scene vector as an extra output and
takes another one as an input if a flag says so; and, where the network takes an exposure, the exposure head.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from mirnet.errors import TrainingError
from mirnet.network import Lite, SceneNetwork, checkpoints
from mirnet.network.pooling import SwitchedPooling
from mirnet.thumbnail import CELL_PX, LONG_SIDE_PX

OPSET = 18


class _RestorerGraph(nn.Module):
    """The restorer as a graph: a batch is one scene; `use_scene` chooses the vector `scene` over the batch's own."""

    def __init__(self, network: SceneNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, scene: Tensor, use_scene: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        pooling = SwitchedPooling(scene, use_scene)
        return self.network.restore(pooling, *inputs), pooling.scene


class _HeadGraph(nn.Module):
    """The exposure head as a graph."""

    def __init__(self, network: Lite) -> None:
        super().__init__()
        self.network = network

    def forward(self, thumbnail: Tensor) -> Tensor:
        return self.network.propose(thumbnail)


def to_onnx(network: SceneNetwork) -> bytes:
    """The bytes of a network's ONNX file; equal weights give equal bytes.

    Initializers have the checkpoint's entry names. Raises TrainingError where another version of torch gives
    the weights other names.
    """
    graph = _trace_restorer(network)
    if isinstance(network, Lite):
        head = _trace_head(network)
        for field in ("node", "initializer", "input", "output"):
            getattr(graph, field).extend(getattr(head, field))
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opset, producer_name="mirnet", ir_version=10)
    onnx.checker.check_model(model)
    missing = checkpoints.entries(network).keys() - {tensor.name for tensor in graph.initializer}
    if missing:
        raise TrainingError(f"The exporter renamed {len(missing)} weights, among them {min(missing)}; use torch 2.13.")
    return bytes(model.SerializeToString(deterministic=True))


def _trace_restorer(network: SceneNetwork) -> onnx.GraphProto:
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
    graph = _trace(
        _RestorerGraph(network), arguments, shapes, ["scene", "use_scene", *names], ["restored", "scene_out"]
    )
    return _copy_bare(graph, "restorer/")


def _trace_head(network: Lite) -> onnx.GraphProto:
    cells = {side: CELL_PX * torch.export.Dim(f"cells_{side}", min=1, max=LONG_SIDE_PX // CELL_PX) for side in (2, 3)}
    example = (torch.rand(1, 3, 8 * CELL_PX, LONG_SIDE_PX),)
    return _copy_bare(_trace(_HeadGraph(network), example, (cells,), ["thumbnail"], ["stops_map"]), "head/")


def _trace(
    module: nn.Module, arguments: Sequence[Tensor], shapes: Any, inputs: list[str], outputs: list[str]
) -> onnx.GraphProto:
    slopes: list[str] = []  # names of the PReLUs' weights, in the order in which they are computed
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    hooks = [
        part.register_forward_hook(lambda part, *_: slopes.append(names[id(part.weight)]))
        for part in module.modules()
        if isinstance(part, nn.PReLU)
    ]
    module.eval()(*arguments)
    for hook in hooks:
        hook.remove()
    with _silence_exporter():
        program = torch.onnx.export(
            module, tuple(arguments), input_names=inputs, output_names=outputs, dynamic_shapes=shapes,
            dynamo=True, opset_version=OPSET, verbose=False,
        )  # fmt: skip
    assert program is not None
    graph = program.model_proto.graph
    _restore_names(graph, module, slopes)
    return graph


def _restore_names(graph: onnx.GraphProto, module: nn.Module, slopes: Sequence[str]) -> None:
    """Give weights their checkpoint names again.

    The exporter calls a tied weight by the name of any module that uses it, and folds the slopes of PReLUs into
    constants without a name.
    """
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
def _silence_exporter() -> Iterator[None]:
    """Silence the exporter's warnings of deprecations and of a missing torchvision: no user can act on them."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _copy_bare(graph: onnx.GraphProto, prefix: str) -> onnx.GraphProto:
    """A copy of a graph with nothing but the computation: weights have checkpoint names, inner values get `prefix`.

    The copy has no stack traces with paths and no shapes of inner values, which the exporter writes.
    """
    public = {value.name for value in (*graph.input, *graph.output)}

    def rename(old: str) -> str:
        if old == "" or old in public:
            return old
        return old.removeprefix("network.") if old.startswith("network.") else prefix + old

    nodes = []
    for number, node in enumerate(graph.node):
        bare = onnx.helper.make_node(
            node.op_type, [rename(x) for x in node.input], [rename(x) for x in node.output], name=f"{prefix}{number}"
        )
        bare.attribute.extend(node.attribute)
        nodes.append(bare)
    tensors = []
    for tensor in graph.initializer:
        copy = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), rename(tensor.name))
        tensors.append(copy)
    return onnx.helper.make_graph(nodes, "mirnet", _strip_types(graph.input), _strip_types(graph.output), tensors)


def _strip_types(values: Sequence[onnx.ValueInfoProto]) -> list[onnx.ValueInfoProto]:
    """Inputs or outputs with types and known sizes. Free sizes have no name, or the two graphs would share them."""
    stripped = []
    for value in values:
        kind = value.type.tensor_type
        shape = [size.dim_value if size.HasField("dim_value") else None for size in kind.shape.dim]
        stripped.append(onnx.helper.make_tensor_value_info(value.name, kind.elem_type, shape))
    return stripped
