"""An exported network runs the same everywhere, for everybody at once, and says what it lacks."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from mirnet.errors import Cancelled, SettingsError, WeightsError
from mirnet.inference import catalog, tiles
from mirnet.inference.runtimes import (
    RUNTIMES,
    OpenVINORuntime,
    Runtime,
    cores,
    open_runtime,
    openvino_runtime,
    versions,
)


@pytest.fixture(scope="module")
def runtime(tiny_lite: Path) -> OpenVINORuntime:
    weights = catalog.read(tiny_lite)
    return OpenVINORuntime(weights.read_verified(), weights.card.scene_size, threads=1)


def inputs(count: int = 1, height: int = 40, width: int = 48) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(height)
    picture = random.random((count, 3, height, width), dtype=np.float32)
    return picture, random.random((count, 1, height, width), dtype=np.float32) * 4


def test_a_batch_is_one_scene_and_its_scene_can_be_given(runtime):
    picture, stops = inputs(3)
    restored, scene = runtime.restore(picture, stops, None)
    for number in range(3):
        one = slice(number, number + 1)
        again, used = runtime.restore(picture[one], stops[one], scene)
        np.testing.assert_allclose(again, restored[one], atol=1e-5)  # pooled by another graph than given
        np.testing.assert_allclose(used, scene, atol=0)
        alone, own = runtime.restore(picture[one], stops[one], None)
        assert np.abs(own - scene).max() > 1e-4
        assert np.abs(alone - again).max() > 1e-6


def test_what_is_restored_is_not_clipped_and_depends_on_the_stops(runtime):
    picture, stops = inputs()
    restored, _ = runtime.restore(np.round(picture), stops, None)
    assert restored.min() < 0
    assert restored.max() > 1
    assert np.abs(runtime.restore(picture, stops + 1, None)[0] - runtime.restore(picture, stops, None)[0]).max() > 1e-4


@pytest.mark.parametrize("size", [(96, 64), (40, 96), (8, 96), (96, 96)])
def test_the_head_answers_thumbnails_of_every_shape(runtime, size):
    stops = runtime.propose(np.random.default_rng(0).random((1, 3, *size), dtype=np.float32))
    assert stops.shape == (1, 1, size[0] // 8, size[1] // 8)


def test_answers_stay_when_the_next_is_asked_for(runtime):
    first, _ = runtime.restore(*inputs(), None)
    copy = first.copy()
    runtime.restore(*(x + 0.1 for x in inputs()), None)
    np.testing.assert_array_equal(first, copy)


def test_threads_do_not_see_each_others_pictures(runtime):
    sizes = [(16 + 8 * number, 24) for number in range(8)]
    alone = [runtime.restore(*inputs(1, *size), None)[0] for size in sizes]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda size: runtime.restore(*inputs(1, *size), None)[0], sizes * 3))
    for one, other in zip(alone * 3, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_threads_that_render_at_once_do_not_see_each_others_pictures(runtime):
    scene = runtime.restore(*inputs(), None)[1]
    sizes = [(16 + 8 * number, 24) for number in range(4)]
    alone = [runtime.restore(*inputs(1, *size), scene)[0] for size in sizes]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda size: runtime.restore(*inputs(1, *size), scene)[0], sizes * 3))
    for one, other in zip(alone * 3, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_float32_is_stated_whatever_the_processor_could_do(runtime):
    scene = runtime.restore(*inputs(), None)[1]
    runtime.restore(*inputs(), scene)
    runtime.propose(np.zeros((1, 3, 8, 8), np.float32))
    assert len(runtime._compiled) == 3
    for part in runtime._compiled.values():
        assert str(part.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
        assert part.get_property("INFERENCE_NUM_THREADS") == 1


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("alone", [True, False])
def test_work_is_ended_once_the_caller_wants_no_result(tiny_lite, monkeypatch, name, alone):
    monkeypatch.setattr(f"mirnet.inference.runtimes.{name}_runtime.POLL_SECONDS", 0.001, raising=False)
    runtime = open_runtime(name, catalog.read(tiny_lite), threads=1)
    picture = inputs(1, 400, 480)
    expected, scene = runtime.restore(*picture, None)
    given = None if alone else scene
    polls: list[bool] = []
    polled, _ = runtime.restore(*picture, given, lambda: bool(polls.append(False)))
    np.testing.assert_allclose(polled, expected, atol=1e-5)
    kept = polled.copy()

    def stop() -> bool:
        polls.append(True)
        return True

    polls.clear()
    with pytest.raises(Cancelled):
        runtime.restore(*picture, given, stop)
    assert len(polls) == 1
    np.testing.assert_allclose(runtime.restore(*picture, given)[0], expected, atol=1e-5)
    np.testing.assert_array_equal(polled, kept)


def test_what_was_ended_half_way_spoils_nothing_that_follows(monkeypatch):
    """OpenVINO's nodes then know the shapes of two pictures, which fail together."""
    monkeypatch.setattr(openvino_runtime, "POLL_SECONDS", 0.001)
    runtime = open_runtime("openvino", catalog.find("lite"), threads=1)
    sizes = [(48, 64), (96, 40), (80, 80)]
    expected = [runtime.restore(*inputs(1, *size), None)[0] for size in sizes]

    def work(turn: int) -> None:
        left = iter(range(turn))

        def should_stop() -> bool:
            return next(left, None) is None

        with pytest.raises(Cancelled):
            runtime.restore(*inputs(1, 256, 320), None, should_stop)
        for number, size in enumerate(sizes):
            np.testing.assert_allclose(runtime.restore(*inputs(1, *size), None)[0], expected[number], atol=1e-5)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, [turn % 12 for turn in range(36)]))


# One file, several runtimes ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def all_of_them() -> list[Runtime]:
    return [open_runtime(name, catalog.find("lite"), threads=1) for name in RUNTIMES]


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("size", [(1, 1), (61, 83), (40, 129)])
def test_all_runtimes_agree_on_odd_sizes_with_a_scene_given_and_not(all_of_them, size):
    """On the shipped weights, padded as the enhancer does, a batch of two being one scene."""
    padded = [tiles.pad_to_multiple(x, 8) for x in inputs(2, *size)]
    restored, scene = all_of_them[0].restore(*padded, None)
    again, _ = all_of_them[0].restore(*padded, scene)
    for other in all_of_them:
        results = other.restore(*padded, None)
        np.testing.assert_allclose(results[0], restored, atol=1e-4)
        np.testing.assert_allclose(results[1], scene, atol=1e-4)
        given = other.restore(padded[0][:1], padded[1][:1], scene + 0.1)
        np.testing.assert_allclose(other.restore(*padded, scene)[0], again, atol=1e-4)
        np.testing.assert_allclose(
            given[0], all_of_them[0].restore(padded[0][:1], padded[1][:1], scene + 0.1)[0], atol=1e-4
        )
        np.testing.assert_array_equal(given[1], scene + 0.1)
        assert other.precision == "f32"


@pytest.mark.usefixtures("one_torch_thread")
def test_all_runtimes_propose_the_same_stops(all_of_them):
    thumbnail = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32) / 4
    expected = all_of_them[0].propose(thumbnail)
    for other in all_of_them:
        np.testing.assert_allclose(other.propose(thumbnail), expected, atol=1e-4)


@pytest.mark.usefixtures("one_torch_thread")
def test_all_runtimes_run_a_network_without_exposure(tiny_published):
    weights = catalog.read(tiny_published)
    picture = inputs()[0]
    expected, scene = open_runtime("openvino", weights, threads=1).restore(picture, None, None)
    for name in ("onnxruntime", "torch"):
        other = open_runtime(name, weights, threads=1)
        np.testing.assert_allclose(other.restore(picture, None, None)[0], expected, atol=1e-4)
        np.testing.assert_allclose(other.restore(picture, None, scene)[0], expected, atol=1e-4)


@pytest.mark.parametrize(("name", "package"), [("onnxruntime", "onnxruntime"), ("torch", "train")])
def test_a_runtime_that_is_not_installed_says_what_to_install(tiny_lite, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        SettingsError, match=rf'The runtime {name} is not installed .* pip install "mirnet\[{package}\]"'
    ):
        open_runtime(name, catalog.read(tiny_lite))


def test_an_unknown_runtime_is_answered_with_the_known_ones(tiny_lite):
    with pytest.raises(SettingsError, match='no runtime "tensorrt"; choose one of openvino, onnxruntime, torch'):
        open_runtime("tensorrt", catalog.read(tiny_lite))


@pytest.mark.parametrize(
    ("name", "device", "sentence"),
    [
        ("onnxruntime", "cuda", 'has cpu, not "cuda", which comes with another package: .* install onnxruntime-gpu'),
        ("onnxruntime", "directml", "then pip install onnxruntime-directml"),
        ("onnxruntime", "coreml", "which is part of its package for macOS alone"),
        ("onnxruntime", "tpu", 'no device "tpu" for ONNX Runtime; it knows cpu, cuda, directml, coreml'),
        ("torch", "cuda", 'no device "cuda" here; torch finds cpu. For cuda install a build of torch with CUDA'),
        ("torch", "tpu", 'no device "tpu" here; torch finds cpu'),
        ("openvino", "tpu", 'no device "tpu" here; OpenVINO finds cpu'),
    ],
)
def test_an_unknown_device_is_answered_with_those_that_are_there(tiny_lite, monkeypatch, name, device, sentence):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(SettingsError, match=sentence):
        open_runtime(name, catalog.read(tiny_lite), device)


def test_threads_are_respected_by_all(tiny_lite):
    weights, before = catalog.read(tiny_lite), torch.get_num_threads()
    assert open_runtime("onnxruntime", weights, threads=1)._session.get_session_options().intra_op_num_threads == 1
    open_runtime("torch", weights, threads=before + 1)
    assert torch.get_num_threads() == before + 1
    torch.set_num_threads(before)


# Fast ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("capabilities", "precision"), [(["FP32", "BF16"], "bf16"), (["FP32", "INT8"], "int8")])
def test_fast_is_bf16_where_the_processor_has_it_and_else_int8(monkeypatch, capabilities, precision):
    monkeypatch.setattr(openvino_runtime, "_capabilities", lambda core, device: capabilities)
    assert openvino_runtime.fast_precision() == precision


def test_int8_weights_are_those_that_lie_beside(tiny_lite, tmp_path, monkeypatch):
    """Here they are other float32 ones, of which one sees that they ran."""
    monkeypatch.setattr(openvino_runtime, "_capabilities", lambda core, device: ["FP32"])
    for suffix in (".onnx", ".json"):
        (tmp_path / f"a{suffix}").write_bytes(tiny_lite.with_suffix(suffix).read_bytes())
    weights = catalog.read(tmp_path / "a.onnx")
    for name in ("openvino", "onnxruntime"):
        with pytest.raises(SettingsError, match=r"a\.int8\.onnx: expected int8 weights"):
            open_runtime(name, weights, threads=1, fast=True)
    lite = catalog.find("lite")
    (tmp_path / "a.int8.onnx").write_bytes(lite.path.read_bytes())
    (tmp_path / "a.int8.json").write_text(lite.card.to_json())
    thumbnail = np.random.default_rng(0).random((1, 3, 64, 96), dtype=np.float32) / 4
    expected = open_runtime("openvino", lite, threads=1).propose(thumbnail)
    for name in ("openvino", "onnxruntime"):
        fast = open_runtime(name, weights, threads=1, fast=True)
        assert fast.precision == "int8"
        np.testing.assert_allclose(fast.propose(thumbnail), expected, atol=1e-4)


@pytest.mark.usefixtures("one_torch_thread")
@pytest.mark.parametrize("name", ["openvino", "torch"])
def test_bf16_is_near_and_not_the_same(tiny_lite, monkeypatch, name):
    monkeypatch.setattr(openvino_runtime, "_capabilities", lambda core, device: ["BF16"])
    weights = catalog.read(tiny_lite)
    fast = open_runtime(name, weights, threads=1, fast=True)
    assert fast.precision == "bf16"
    exact = open_runtime("openvino", weights, threads=1).restore(*inputs(), None)[0]
    off = np.abs(fast.restore(*inputs(), None)[0] - exact).max()
    assert off < 0.05
    if name == "torch" or "BF16" in capabilities_here():
        assert off > 1e-5


def capabilities_here() -> list[str]:
    core = openvino_runtime.import_openvino().Core()
    return list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def test_what_is_no_network_is_refused():
    with pytest.raises(WeightsError, match="no ONNX network that OpenVINO can read"):
        OpenVINORuntime(b"no network", 3)


def test_versions_name_the_runtime_and_its_devices():
    assert versions()[0].startswith("openvino 20")
    assert any(line.startswith("device cpu: ") for line in versions())
    assert any(line in ("--fast computes in bf16 here", "--fast computes in int8 here") for line in versions())
    assert cores() >= 1


def test_surveys_of_several_large_pictures_may_overlap(runtime):
    """The room of a survey is given back when it is over, but not while another is in work."""
    crops = np.random.default_rng(0).random((4, 3, 64, 64), dtype=np.float32)
    stops = np.ones((4, 1, 64, 64), dtype=np.float32)
    alone = runtime.restore(crops, stops, None)
    with ThreadPoolExecutor(4) as pool:
        for restored, scene in pool.map(lambda _: runtime.restore(crops, stops, None), range(40)):
            np.testing.assert_allclose(restored, alone[0], atol=1e-6)
            np.testing.assert_allclose(scene, alone[1], atol=1e-6)
