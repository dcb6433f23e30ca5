"""The graph of a network made leaner for OpenVINO: the same sums, in an order that moves less memory.

An exported graph can both look at a picture and be told its scene. Here it becomes either, and three laws are used,
which hold for any numbers (what rounding makes of them lies below 1e-6):

* a 1x1 convolution of several streams laid together is the sum of one for each stream: nothing is laid together;
* doubling the size and a 1x1 convolution can change places, and two 1x1 convolutions in a row are one;
* doubling and weighing or adding can change places: what is doubled is weighed and added while it is small.

Together they give a tenth (docs/performance.md).
"""

from typing import Any

import numpy as np

EDITION = 1  # to be raised when the graphs made here change: the cache of compiled ones asks for it

Node = Any  # OpenVINO has no types
Value = Any
Model = Any


def survey(ov: Any, model: Model) -> Model:
    """Picture and stops to what is restored, and the scene that it was: it pools itself."""
    network = _part(ov, model, ("restored", "scene_out"), given=False)
    _split_merges(network)
    _double_last(network)
    network.validate_nodes_and_infer_types()
    return network


def render(ov: Any, model: Model) -> Model:
    """Picture, stops and a scene to what is restored: nothing is pooled."""
    network = _part(ov, model, ("restored",), given=True)
    _split_merges(network)
    _double_last(network)
    _add_before_doubling(network)
    network.validate_nodes_and_infer_types()
    return network


def head(ov: Any, model: Model) -> Model:
    """A thumbnail to its map of stops."""
    return ov.Model([_end(model, "stops_map")], [p for p in model.get_parameters() if _name(p) == "thumbnail"])


def _part(ov: Any, model: Model, results: tuple[str, ...], given: bool) -> Model:
    """The restorer of a copy, its switches set; the file holds restorer and head, and they share no node."""
    copy = model.clone()
    for node in copy.get_ordered_ops():
        if node.get_type_name() == "Select" and _name(node.input_value(0).get_node()) == "use_scene":
            node.output(0).replace(node.input_value(1 if given else 2))
    unused = {"thumbnail", "use_scene"} | (set() if given else {"scene"})
    parameters = [p for p in copy.get_parameters() if _name(p) not in unused]
    return ov.Model([_end(copy, name) for name in results], parameters)


# --- the three laws -------------------------------------------------------------------------------


def _split_merges(model: Model) -> None:
    for node in model.get_ordered_ops():
        if not (_is_1x1(node) and _kind(node.input_value(0)) == "Concat"):
            continue
        weights, streams = _weights(node), node.input_value(0).get_node().input_values()
        total, first = None, 0
        for stream in streams:
            channels = stream.get_partial_shape()[1].get_length()
            part = _conv(stream, weights[:, first : first + channels])
            total, first = part if total is None else _op().add(total, part).output(0), first + channels
        node.output(0).replace(total)


def _double_last(model: Model) -> None:
    for node in model.get_ordered_ops():
        doubled = node.input_value(0) if _is_1x1(node) else None
        if doubled is None or not _is_doubling(doubled):
            continue
        small, weights = doubled.get_node().input_value(0), _weights(node)
        before = small.get_node()
        if _is_1x1(before) and _only(small):
            weights = np.einsum("omyx,miyx->oiyx", weights, _weights(before))
            small = before.input_value(0)
        node.output(0).replace(_double(doubled, _conv(small, weights)))


def _add_before_doubling(model: Model) -> None:
    while any(_moved(node) for node in model.get_ordered_ops()):
        pass


def _moved(node: Node) -> bool:
    """Weighing or adding behind a doubling, moved before it."""
    if node.get_type_name() == "Multiply" and _is_doubling(node.input_value(0)):
        doubled, votes = node.input_values()
        if not _one_a_channel(votes):
            return False
        node.output(0).replace(_double(doubled, _op().multiply(_small(doubled), votes).output(0)))
        return True
    if node.get_type_name() == "Add" and _is_doubling(node.input_value(1)):
        total, one = node.input_values()
        if _kind(total) == "Add" and _only(total) and _is_doubling(total.get_node().input_value(1)):
            rest, other = total.get_node().input_values()
            together = _op().add(_small(other), _small(one)).output(0)
            node.output(0).replace(_op().add(rest, _double(one, together)).output(0))
            return True
    return False


# --- words for graphs -----------------------------------------------------------------------------


def _op() -> Any:
    from openvino import opset13

    return opset13


def _name(node: Node) -> str:
    name: str = node.get_friendly_name()
    return name


def _kind(value: Value) -> str:
    kind: str = value.get_node().get_type_name()
    return kind


def _only(value: Value) -> bool:
    """Whether one node alone reads it: else it would be computed twice."""
    return len(value.get_target_inputs()) == 1


def _end(model: Model, name: str) -> Value:
    return model.output(name).get_node().input_value(0)


def _is_1x1(node: Node) -> bool:
    if node.get_type_name() != "Convolution" or _kind(node.input_value(1)) != "Constant":
        return False
    return list(node.input_value(1).get_shape())[2:] == [1, 1]


def _is_doubling(value: Value) -> bool:
    """Bilinear, read by one node alone, and both sides by two: the only resizing of our networks."""
    return _kind(value) == "Interpolate" and _only(value)


def _one_a_channel(value: Value) -> bool:
    shape = value.get_partial_shape()
    return shape.rank.get_length() == 4 and all(shape[side] == 1 for side in (2, 3))


def _small(doubled: Value) -> Value:
    return doubled.get_node().input_value(0)


def _double(like: Value, small: Value) -> Value:
    """A doubling of something else, as that one is done."""
    said = like.get_node().get_attributes()
    names = ("mode", "coordinate_transformation_mode", "nearest_mode", "antialias", "pads_begin", "pads_end",
             "cube_coeff")  # fmt: skip
    twice = np.array([2, 2], dtype=np.float32)
    return (
        _op()
        .interpolate(small, twice, shape_calculation_mode="scales", axes=[2, 3], **{name: said[name] for name in names})
        .output(0)
    )


def _weights(conv: Node) -> np.ndarray[Any, Any]:
    weights: np.ndarray[Any, Any] = conv.input_value(1).get_node().data
    return weights


def _conv(x: Value, weights: np.ndarray[Any, Any]) -> Value:
    constant = _op().constant(np.ascontiguousarray(weights, dtype=np.float32))
    return _op().convolution(x, constant, [1, 1], [0, 0], [0, 0], [1, 1]).output(0)
