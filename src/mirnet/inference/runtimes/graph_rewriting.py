"""Rewrites the graph of a network for OpenVINO: the same sums, in an order that moves less memory.

An exported graph either measures the scene of an image or takes a scene vector as an input. Here it becomes one of the
two, and three laws are used that hold for any numbers (rounding differs by less than 1e-6):

* a 1x1 convolution of concatenated streams is the sum of one for each stream: nothing is concatenated;
* doubling the size and a 1x1 convolution can change places, and two 1x1 convolutions in a row are one;
* doubling and multiplying or adding can change places: what is doubled is multiplied and added while it is small.

Together they save a tenth of the time (docs/performance.md).
"""

from typing import Any

import numpy as np

EDITION = 1  # raise it when the graphs made here change: the keys of compiled networks contain it

Node = Any  # OpenVINO has no types
Value = Any
Model = Any


def build_measuring_graph(ov: Any, model: Model) -> Model:
    """The graph from an image and its stops to the restored image and its scene vector, which it measures."""
    network = _part(ov, model, ("restored", "scene_out"), with_scene=False)
    _split_concatenations(network)
    _move_doublings_after_convolutions(network)
    network.validate_nodes_and_infer_types()
    return network


def build_tile_graph(ov: Any, model: Model) -> Model:
    """The graph from an image, its stops and a scene vector to the restored image; it measures nothing."""
    network = _part(ov, model, ("restored",), with_scene=True)
    _split_concatenations(network)
    _move_doublings_after_convolutions(network)
    _move_doublings_after_sums(network)
    network.validate_nodes_and_infer_types()
    return network


def build_head_graph(ov: Any, model: Model) -> Model:
    """The graph from a thumbnail to its map of proposed stops."""
    return ov.Model(
        [_input_of_result(model, "stops_map")], [p for p in model.get_parameters() if _name(p) == "thumbnail"]
    )


BUILDERS = {"survey": build_measuring_graph, "render": build_tile_graph, "head": build_head_graph}  # by part


def _part(ov: Any, model: Model, results: tuple[str, ...], with_scene: bool) -> Model:
    """The restorer of a copy of the model, with or without the input "scene"; it shares no node with the head."""
    copy = model.clone()
    for node in copy.get_ordered_ops():
        if node.get_type_name() == "Select" and _name(node.input_value(0).get_node()) == "use_scene":
            node.output(0).replace(node.input_value(1 if with_scene else 2))
    unused = {"thumbnail", "use_scene"} | (set() if with_scene else {"scene"})
    parameters = [p for p in copy.get_parameters() if _name(p) not in unused]
    return ov.Model([_input_of_result(copy, name) for name in results], parameters)


# --- the three laws -------------------------------------------------------------------------------


def _split_concatenations(model: Model) -> None:
    for node in model.get_ordered_ops():
        if not (_is_1x1(node) and _type_of(node.input_value(0)) == "Concat"):
            continue
        weights, streams = _weights(node), node.input_value(0).get_node().input_values()
        total, first = None, 0
        for stream in streams:
            channels = stream.get_partial_shape()[1].get_length()
            part = _conv(stream, weights[:, first : first + channels])
            total, first = part if total is None else _opset().add(total, part).output(0), first + channels
        node.output(0).replace(total)


def _move_doublings_after_convolutions(model: Model) -> None:
    for node in model.get_ordered_ops():
        doubled = node.input_value(0) if _is_1x1(node) else None
        if doubled is None or not _is_doubling(doubled):
            continue
        small, weights = doubled.get_node().input_value(0), _weights(node)
        before = small.get_node()
        if _is_1x1(before) and _has_one_reader(small):
            weights = np.einsum("omyx,miyx->oiyx", weights, _weights(before))
            small = before.input_value(0)
        node.output(0).replace(_double_like(doubled, _conv(small, weights)))


def _move_doublings_after_sums(model: Model) -> None:
    while any(_move_one_doubling(node) for node in model.get_ordered_ops()):
        pass


def _move_one_doubling(node: Node) -> bool:
    """Move one multiplication or addition before the doubling of its input. Returns whether there was one."""
    if node.get_type_name() == "Multiply" and _is_doubling(node.input_value(0)):
        doubled, votes = node.input_values()
        if not _is_one_per_channel(votes):
            return False
        node.output(0).replace(_double_like(doubled, _opset().multiply(_undoubled(doubled), votes).output(0)))
        return True
    if node.get_type_name() == "Add" and _is_doubling(node.input_value(1)):
        total, one = node.input_values()
        if _type_of(total) == "Add" and _has_one_reader(total) and _is_doubling(total.get_node().input_value(1)):
            rest, other = total.get_node().input_values()
            together = _opset().add(_undoubled(other), _undoubled(one)).output(0)
            node.output(0).replace(_opset().add(rest, _double_like(one, together)).output(0))
            return True
    return False


# --- nodes and values -----------------------------------------------------------------------------


def _opset() -> Any:
    from openvino import opset13

    return opset13


def _name(node: Node) -> str:
    name: str = node.get_friendly_name()
    return name


def _type_of(value: Value) -> str:
    type_name: str = value.get_node().get_type_name()
    return type_name


def _has_one_reader(value: Value) -> bool:
    """Whether exactly one node reads the value; otherwise it would be computed twice."""
    return len(value.get_target_inputs()) == 1


def _input_of_result(model: Model, name: str) -> Value:
    return model.output(name).get_node().input_value(0)


def _is_1x1(node: Node) -> bool:
    if node.get_type_name() != "Convolution" or _type_of(node.input_value(1)) != "Constant":
        return False
    return list(node.input_value(1).get_shape())[2:] == [1, 1]


def _is_doubling(value: Value) -> bool:
    """Whether a value is a bilinear doubling (the networks resize in no other way) that exactly one node reads."""
    return _type_of(value) == "Interpolate" and _has_one_reader(value)


def _is_one_per_channel(value: Value) -> bool:
    shape = value.get_partial_shape()
    return shape.rank.get_length() == 4 and all(shape[side] == 1 for side in (2, 3))


def _undoubled(doubled: Value) -> Value:
    return doubled.get_node().input_value(0)


def _double_like(like: Value, small: Value) -> Value:
    """The doubling of `small`, with the attributes of the doubling `like`."""
    attributes = like.get_node().get_attributes()
    names = ("mode", "coordinate_transformation_mode", "nearest_mode", "antialias", "pads_begin", "pads_end",
             "cube_coeff")  # fmt: skip
    twice = np.array([2, 2], dtype=np.float32)
    same = {name: attributes[name] for name in names}
    return _opset().interpolate(small, twice, shape_calculation_mode="scales", axes=[2, 3], **same).output(0)


def _weights(conv: Node) -> np.ndarray[Any, Any]:
    weights: np.ndarray[Any, Any] = conv.input_value(1).get_node().data
    return weights


def _conv(x: Value, weights: np.ndarray[Any, Any]) -> Value:
    constant = _opset().constant(np.ascontiguousarray(weights, dtype=np.float32))
    return _opset().convolution(x, constant, [1, 1], [0, 0], [0, 0], [1, 1]).output(0)
