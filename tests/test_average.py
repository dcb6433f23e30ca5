"""The mean of weights is the mean, of networks that are the same."""

from pathlib import Path

import pytest
import torch

from mirnet.errors import SettingsError, WeightsError
from mirnet.network import Lite, LiteConfig, SceneNetwork, checkpoints
from mirnet.training import warm_start
from mirnet.training.average import average


def saved(path: Path, seed: int, features: int = 8) -> SceneNetwork:
    torch.manual_seed(seed)
    network = Lite(LiteConfig(features=features, head_features=4))
    checkpoints.save(network, path)
    return network


def test_every_weight_is_the_mean_and_one_that_is_named_twice_counts_twice(tmp_path: Path, command) -> None:
    one, other = (saved(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2))
    files = [tmp_path / "1.safetensors", tmp_path / "2.safetensors", tmp_path / "2.safetensors"]
    done = command("average", *files, "-o", tmp_path / "mean.safetensors")
    assert (done.code, done.err) == (0, "")
    mean = checkpoints.entries(checkpoints.load(tmp_path / "mean.safetensors"))
    others = checkpoints.entries(other)
    for name, weight in checkpoints.entries(one).items():
        assert torch.allclose(mean[name], (weight + 2 * others[name]) / 3, atol=1e-7), name


def test_shipped_weights_count_by_their_name(tmp_path: Path) -> None:
    average([warm_start.SHIPPED / "free.safetensors", Path("lite")], tmp_path / "mean.safetensors")
    mean = warm_start.read(tmp_path / "mean.safetensors")
    free, lite = warm_start.read(Path("free")), warm_start.read(Path("lite"))
    assert [name for name in mean if not torch.allclose(mean[name], (free[name] + lite[name]) / 2, atol=1e-7)] == []


@pytest.mark.parametrize(
    ("sources", "target", "error", "sentence"),
    [
        (["1"], "mean.safetensors", SettingsError, "at least two weights"),
        (["1", "2"], "mean.onnx", SettingsError, "expected an output NAME.safetensors"),
        (["1", "2"], "1.safetensors", SettingsError, "is there already; choose another name"),
        (["1", "wide"], "mean.safetensors", WeightsError, "wide.safetensors: says that it is lite"),
        (["1", "none"], "mean.safetensors", WeightsError, "none.safetensors: expected a checkpoint"),
        (["1", "2"], "none/mean.safetensors", WeightsError, "the weights cannot be written there"),
    ],
)
def test_what_has_no_mean_is_a_sentence_and_writes_nothing(
    tmp_path: Path, sources: list[str], target: str, error: type[Exception], sentence: str
) -> None:
    saved(tmp_path / "1.safetensors", 1)
    saved(tmp_path / "2.safetensors", 2)
    saved(tmp_path / "wide.safetensors", 3, features=16)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(error, match=sentence):
        average([tmp_path / f"{name}.safetensors" for name in sources], tmp_path / target)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_shipped_weights_cannot_say_what_network_it_is(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="lite: shipped weights cannot come first"):
        average([Path("lite"), Path("free")], tmp_path / "mean.safetensors")
