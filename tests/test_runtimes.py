"""An exported network runs the same everywhere, for everybody at once, and says what it lacks."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mirnet.errors import SettingsError, WeightsError
from mirnet.inference import catalog
from mirnet.inference.runtimes import OpenVINORuntime, cores, versions


@pytest.fixture(scope="module")
def runtime(tiny_lite: Path) -> OpenVINORuntime:
    weights = catalog.read(tiny_lite)
    return OpenVINORuntime(weights.verified(), weights.card.scene_size, threads=1)


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
        np.testing.assert_allclose(again, restored[one], atol=1e-6)
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


def test_float32_is_stated_whatever_the_processor_could_do(runtime):
    runtime.restore(*inputs(), None)
    for part in runtime._compiled.values():
        assert str(part.get_property("INFERENCE_PRECISION_HINT")) == "<Type: 'float32'>"
        assert part.get_property("INFERENCE_NUM_THREADS") == 1


def test_an_unknown_device_is_answered_with_those_that_are_there():
    with pytest.raises(SettingsError, match='no device "tpu" here; OpenVINO finds cpu'):
        OpenVINORuntime(b"", 3, "tpu")


def test_what_is_no_network_is_refused():
    with pytest.raises(WeightsError, match="no ONNX network that OpenVINO can read"):
        OpenVINORuntime(b"no network", 3)


def test_versions_name_the_runtime_and_its_devices():
    assert versions()[0].startswith("openvino 20")
    assert any(line.startswith("device cpu: ") for line in versions())
    assert cores() >= 1
