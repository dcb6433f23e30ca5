"""int8 weights: near the others, found by fast, and honest about what they are."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import mirnet
from mirnet.errors import SettingsError
from mirnet.export import int8
from mirnet.inference import catalog
from mirnet.inference.runtimes import OpenVINORuntime, open_runtime, openvino_runtime


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "dark"
    folder.mkdir()
    for number in range(2):
        dark = np.random.default_rng(number).integers(0, 60, (40, 48, 3), dtype=np.uint8)
        mirnet.write_image(folder / f"{number}.png", dark)
    return folder


def test_the_shipped_int8_weights_are_those_of_the_shipped_ones():
    lite = catalog.find("lite")
    rounded = catalog.find_int8(lite)
    assert lite.card.sha256 in rounded.card.source
    assert rounded.read_verified()
    assert rounded.path.stat().st_size < 8e6
    assert lite.card.fast.keys() == {"bf16", "int8"}
    assert all(lost["loss_db"] <= 0.3 for lost in lite.card.fast.values())


@pytest.mark.parametrize("fast", ["bf16", "int8"])
def test_the_fast_ways_of_the_shipped_weights_are_near_the_default(monkeypatch, fast):
    monkeypatch.setattr(openvino_runtime, "fast_precision", lambda device: fast)
    lite = catalog.find("lite")
    random = np.random.default_rng(0)
    smooth = np.kron(random.random((1, 3, 5, 6), dtype=np.float32), np.ones((16, 16), np.float32))
    picture = np.clip(smooth + random.normal(0, 0.05, smooth.shape), 0, 1).astype(np.float32)
    stops = np.full((1, 1, 80, 96), 4, np.float32)
    exact = open_runtime("openvino", lite, threads=1).restore(picture, stops, None)[0]
    near = open_runtime("openvino", lite, threads=1, fast=True).restore(picture, stops, None)[0]
    off = float(np.sqrt(np.mean((near - exact) ** 2)))
    assert 0 < off < 0.01 or (fast == "bf16" and "BF16" not in _capabilities())


def _capabilities() -> list[str]:
    return list(openvino_runtime.import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def test_what_enters_large_convolutions_is_rounded_and_nothing_else(tiny_lite, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(int8, "LARGE", 16)  # the tiny network's are smaller
    made = int8.quantise(catalog.read(tiny_lite), pictures, tmp_path / "tiny.int8.onnx")
    weights = catalog.read(made.onnx)
    assert (weights.card.name, weights.card.scores, weights.card.protocol) == ("tiny.int8", {}, "scores not measured")
    assert "calibrated on 2 pictures" in weights.card.source
    graph = onnx.load(made.onnx).graph
    maker = {name: node for node in graph.node for name in node.output}
    rounded = [
        n.name for n in graph.node if n.op_type == "Conv" and maker.get(n.input[0], n).op_type == "DequantizeLinear"
    ]
    before = onnx.load(tiny_lite).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in before.initializer}
    assert rounded
    for node in before.node:
        if node.name in rounded:
            assert shapes[node.input[1]][1] >= 16
            assert shapes[node.input[1]][2:] == (3, 3)
            assert node.name.startswith("restorer/")
    reduced = [maker[n.input[0]].op_type for n in graph.node if n.op_type in ("ReduceMean", "ReduceMax")]
    assert "Max" in reduced
    assert "Conv" not in reduced  # OpenVINO would move its scale
    exact = catalog.read(tiny_lite)
    thumbnail = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32)
    expected = OpenVINORuntime(exact.read_verified(), exact.card.scene_size, threads=1).propose(thumbnail)
    runs = OpenVINORuntime(weights.read_verified(), weights.card.scene_size, threads=1, precision="int8")
    np.testing.assert_allclose(runs.propose(thumbnail), expected, atol=1e-5)


def test_what_cannot_be_rounded_is_a_sentence(tiny_lite, pictures, tmp_path, monkeypatch):
    weights = catalog.read(tiny_lite)
    with pytest.raises(SettingsError, match=r"a\.onnx: expected an output NAME\.int8\.onnx"):
        int8.quantise(weights, pictures, tmp_path / "a.onnx")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="expected a folder of dark images"):
        int8.quantise(weights, tmp_path / "empty", tmp_path / "a.int8.onnx")
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(SettingsError, match=r"made by NNCF, which is missing .* Run: pip install nncf"):
        int8.quantise(weights, pictures, tmp_path / "a.int8.onnx")


def test_the_shipped_int8_weights_say_the_same_to_both_runtimes_that_read_them():
    rounded = catalog.find_int8(catalog.find("lite"))
    picture = mirnet.read_image(Path(__file__).parent.parent / "examples" / "cat-twin.jpg")[96:192, 96:224]
    dark = np.ascontiguousarray((picture.astype(np.float32) / 255).transpose(2, 0, 1)[None])
    exposed, stops = np.clip(dark * 8, 0, 1), np.full((1, 1, 96, 128), 6, np.float32)
    theirs = open_runtime("onnxruntime", rounded, threads=1).restore(exposed, stops, None)[0]
    runtime = OpenVINORuntime(rounded.read_verified(), rounded.card.scene_size, threads=1, precision="int8")
    np.testing.assert_allclose(runtime.restore(exposed, stops, None)[0], theirs, atol=0.02)
