"""What loading a checkpoint promises: the same network back, and a sentence for every file that is none."""

import functools
import itertools
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mirnet.errors import WeightsError
from mirnet.network import Config, LiteConfig, MIRNetConfig, MIRNetV2Config, SceneNetwork, checkpoints, from_config

GOLDEN = Path(__file__).parent / "golden"

CONFIGS: list[Config] = [
    LiteConfig(features=16, head_features=8, dead_zone_stops=0.25),
    MIRNetConfig(features=8, rrgs=2, mrbs=1),
    MIRNetConfig(features=8, rrgs=1, mrbs=2, tied=False, resizing="light"),
    MIRNetV2Config(features=16, mrbs=1),
]


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def published_v1() -> dict[str, Tensor]:
    """Entries of MIRNet as published, without wrapper and prefix."""
    return {name.removeprefix("module."): tensor for name, tensor in read("mirnet_v1_nfeat8")["state_dict"].items()}


def published_v2() -> dict[str, Tensor]:
    """Entries of MIRNetv2 as published, without wrapper."""
    return dict(read("mirnet_v2_nfeat16")["params"])


@functools.cache
def read(layout: str) -> Any:
    """A golden file as it is; nobody changes the tensors in it."""
    return torch.load(GOLDEN / f"{layout}.pth", weights_only=True)


def golden(layout: str) -> tuple[Tensor, Tensor]:
    with np.load(GOLDEN / f"{layout}_io.npz") as file:
        return torch.from_numpy(file["input"])[:1], torch.from_numpy(file["output"])[:1]


def answers(network: SceneNetwork, layout: str) -> bool:
    """Whether the network gives the golden answer of that layout."""
    given, output = golden(layout)
    with torch.no_grad():
        return bool((network(given) - output).abs().max() <= 1e-4)


def same_weights(one: SceneNetwork, two: SceneNetwork) -> bool:
    ours, theirs = checkpoints.entries(one), checkpoints.entries(two)
    return one.config == two.config and ours.keys() == theirs.keys() and all(
        torch.equal(tensor, theirs[name]) for name, tensor in ours.items()
    )  # fmt: skip


def refusal(path: Path) -> str:
    """The sentence with which `path` is refused; it names the file."""
    with pytest.raises(WeightsError) as caught:
        checkpoints.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith(".")
    return str(caught.value)


# Our own files


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_a_saved_network_comes_back_with_its_config_and_every_weight(config: Config, tmp_path: Path) -> None:
    network = from_config(config)
    checkpoints.save(network, tmp_path / "network.safetensors")
    assert same_weights(checkpoints.load(tmp_path / "network.safetensors"), network)


def test_a_path_may_be_a_string(tmp_path: Path) -> None:
    network = from_config(CONFIGS[0])
    checkpoints.save(network, str(tmp_path / "network.safetensors"))
    assert same_weights(checkpoints.load(str(tmp_path / "network.safetensors")), network)


def test_equal_weights_are_saved_as_equal_bytes(tmp_path: Path) -> None:
    network = from_config(CONFIGS[0])
    for name in ("one", "two"):
        checkpoints.save(network, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_saving_leaves_nothing_half_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, path = from_config(CONFIGS[0]), tmp_path / "network.safetensors"
    path.write_bytes(b"what was there before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WeightsError, match="cannot be written there"):
        checkpoints.save(network, path)
    assert [file.name for file in tmp_path.iterdir()] == ["network.safetensors"]
    assert path.read_bytes() == b"what was there before"


def test_saving_into_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be written there"):
        checkpoints.save(from_config(CONFIGS[0]), tmp_path / "nowhere" / "network.safetensors")


def test_a_training_checkpoint_gives_the_average_where_there_is_one(tmp_path: Path) -> None:
    network, average = from_config(CONFIGS[0]), from_config(CONFIGS[0])
    entries = {f"network/{name}": tensor for name, tensor in checkpoints.entries(network).items()}
    averaged = {name: t for name, t in checkpoints.entries(average).items() if name.startswith("restorer.")}
    entries |= {f"average/{name}": tensor for name, tensor in averaged.items()}
    entries |= {f"optimiser/exp_avg/{name}": torch.zeros(3) for name in averaged} | {"updates": torch.tensor(7)}
    path = tmp_path / "training.safetensors"
    path.write_bytes(checkpoints.to_bytes(entries, checkpoints.describe(CONFIGS[0])))

    loaded = checkpoints.entries(checkpoints.load(path))
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in averaged.items())
    rest = {name: t for name, t in checkpoints.entries(network).items() if name not in averaged}
    assert rest
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in rest.items())


def test_half_precision_on_disk_is_single_precision_in_the_network(tmp_path: Path) -> None:
    network = from_config(CONFIGS[0])
    halves = {name: tensor.half() for name, tensor in checkpoints.entries(network).items()}
    (tmp_path / "half").write_bytes(checkpoints.to_bytes(halves, checkpoints.describe(CONFIGS[0])))
    loaded = checkpoints.entries(checkpoints.load(tmp_path / "half"))
    assert all(t.dtype == torch.float32 and torch.equal(t, halves[name].float()) for name, t in loaded.items())


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ({"format": 2}, "has format 2, this mirnet reads 1; update mirnet"),
        ({"architecture": "other", "config": {}}, 'of the architecture "other"; this mirnet knows lite, mirnet'),
        ({"architecture": "lite", "config": {"width": 3}}, "config {'width': 3} is none of lite"),
        ({"architecture": "lite", "config": {"features": 12}}, "multiple of 8"),
        ({"architecture": "lite", "config": {}}, "says that it is lite, but not all entries fit; missing: 102"),
    ],
)
def test_a_file_of_ours_that_cannot_be_used_says_why(header: dict[str, object], sentence: str, tmp_path: Path) -> None:
    (tmp_path / "own.safetensors").write_bytes(checkpoints.to_bytes({}, header))
    assert sentence in refusal(tmp_path / "own.safetensors")


@pytest.mark.parametrize("kept", [5, 60, 4000, -1])
def test_a_truncated_file_of_ours_is_called_damaged(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "own.safetensors"
    checkpoints.save(from_config(CONFIGS[0]), path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "It is damaged or incomplete" in refusal(path)


def test_reading_our_header_from_a_file_of_others_is_a_sentence(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match="without mirnet's header"):
        checkpoints.read_own(tmp_path / "other.safetensors")


# Published checkpoints


@pytest.mark.parametrize(
    ("wrapper", "prefix"),
    [*((wrapper, "") for wrapper in checkpoints.WRAPPERS), (None, ""), (None, "netG."), ("net", "module.netG.")],
)
def test_every_usual_wrapper_and_prefix_is_taken_off(wrapper: str | None, prefix: str, tmp_path: Path) -> None:
    entries = {prefix + name: tensor for name, tensor in published_v2().items()}
    torch.save({wrapper: entries, "epoch": 3} if wrapper else entries, tmp_path / "wrapped.pth")
    loaded = checkpoints.load(tmp_path / "wrapped.pth")
    assert loaded.config == MIRNetV2Config(16, 2)
    assert unique_parameters(loaded) == 236_864


def unique_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_of_several_wrappers_the_first_in_the_order_of_search_counts(tmp_path: Path) -> None:
    order = ["model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net"]
    for first, second in itertools.pairwise(order):
        torch.save({second: {"seen.second": torch.zeros(1)}, first: {"seen.first": torch.zeros(1)}}, tmp_path / "two")
        assert "holds seen.first," in refusal(tmp_path / "two")


def test_files_as_torch_wrote_them_before_2020_are_read(tmp_path: Path) -> None:
    torch.save({"state_dict": published_v1()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert answers(checkpoints.load(tmp_path / "old.pth"), "mirnet_v1_nfeat8")


@pytest.mark.parametrize("layout", ["mirnet_v1_nfeat8", "mirnet_v2_nfeat16"])
def test_published_entries_in_a_safetensors_file_are_read_too(layout: str, tmp_path: Path) -> None:
    entries = published_v1() if layout == "mirnet_v1_nfeat8" else published_v2()
    save_file({name: tensor.clone() for name, tensor in entries.items()}, tmp_path / "published.safetensors")
    assert answers(checkpoints.load(tmp_path / "published.safetensors"), layout)


@pytest.mark.parametrize("layout", ["mirnet_v1_nfeat8", "mirnet_v2_nfeat16"])
def test_a_published_network_saved_as_ours_gives_the_same_answer(layout: str, tmp_path: Path) -> None:
    network = checkpoints.load(GOLDEN / f"{layout}.pth")
    checkpoints.save(network, tmp_path / "ours.safetensors")
    again = checkpoints.load(tmp_path / "ours.safetensors")
    assert same_weights(again, network)
    assert answers(again, layout)


def test_copies_that_differ_make_an_untied_network(tmp_path: Path) -> None:
    entries = published_v1()
    name = "body.1.body.0.blocks.2.1.body.0.weight"
    entries[name] = entries[name] * 2
    torch.save(entries, tmp_path / "untied.pth")
    network = checkpoints.load(tmp_path / "untied.pth")
    assert network.config == MIRNetConfig(8, 3, 2, tied=False)
    named = dict(network.named_parameters())
    second = named["trunk.rrgs.1.mrbs.0.second.2.body.0.weight"]
    assert torch.equal(second, entries[name])
    assert torch.equal(named["trunk.rrgs.1.mrbs.0.first.2.body.0.weight"], entries[name] / 2)


def test_a_network_untied_by_its_activations_alone_still_gives_the_published_answer(tmp_path: Path) -> None:
    entries = published_v1()
    # one stream's activation, in both columns, is another number by the smallest step: no more one for all
    for name in (f"body.0.body.0.blocks.0.{column}.body.1.weight" for column in range(2)):
        entries[name] = torch.nextafter(entries[name], torch.tensor(1.0))
    torch.save(entries, tmp_path / "untied.pth")
    network = checkpoints.load(tmp_path / "untied.pth")
    assert network.config == MIRNetConfig(8, 3, 2, tied=False)
    assert answers(network, "mirnet_v1_nfeat8")


# Wrong files


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda entries: {key: tensor for key, tensor in entries.items() if key != name}


def renamed(old: str, new: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda entries: {key.replace(old, new): tensor for key, tensor in entries.items()}


def shaped(name: str, *shape: int) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda entries: {**entries, name: torch.zeros(shape)}


@pytest.mark.parametrize(
    ("entries", "change", "sentences"),
    [
        (published_v2, without("conv_out.weight"), ["looks like MIRNetv2", "missing: 1 (conv_out.weight)"]),
        (published_v2, without("conv_in.weight"), ["looks like MIRNetv2", "'conv_in.weight' is missing"]),
        (
            published_v2,
            renamed("skff_mid", "fusion"),
            [
                "looks like MIRNetv2",
                "missing: 24 (body.0.body.0.skff_mid.conv_du.0.weight, ",
                "unknown: 24 (body.0.body.0.fusion.conv_du.0.weight, ",
                " and 21 more)",
            ],
        ),
        (
            published_v2,
            shaped("conv_in.weight", 16, 6, 3, 3),
            ["of another shape: 1 (conv_in.weight is (16, 6, 3, 3) instead of (16, 3, 3, 3))"],
        ),
        (published_v2, shaped("conv_in.weight", 40, 3, 3, 3), ["looks like MIRNetv2", "multiple of 16, not 40"]),
        (published_v1, without("body.2.body.2.weight"), ["looks like MIRNet,", "missing: 1 (body.2.body.2.weight)"]),
        (published_v1, renamed("CA.conv_du.0", "CA.squeeze"), ["looks like MIRNet,", "missing: 36", "unknown: 36"]),
        (
            published_v1,
            shaped("body.0.body.0.down.8_2.body.0.top.4.filt", 8, 1, 3, 3),
            ["looks like MIRNet,", "1 of its blur filters differ (body.0.body.0.down.8_2.body.0.top.4.filt)"],
        ),
    ],
)
def test_a_published_file_with_odd_entries_is_told_which(
    entries: Callable[[], dict[str, Tensor]],
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    sentences: list[str],
    tmp_path: Path,
) -> None:
    torch.save({"params": change(entries())}, tmp_path / "odd.pth")
    said = refusal(tmp_path / "odd.pth")
    assert all(sentence in said for sentence in sentences), said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"params": {"encoder_level1.0.attn.qkv.weight": torch.zeros(1)}}, "as Restormer or one of its kin does"),
        ({"params_ema": {"conv_first.weight": torch.zeros(1)}}, "as an ESRGAN or SRResNet does"),
        (nn.Linear(2, 2).state_dict(), "holds weight, bias, as no network that we know does"),
        ({"epoch": 3, "lr": 0.1}, "this file holds epoch, lr and no tensor"),
        ([1, 2], "this file holds one list"),
        (torch.zeros(3), "this file holds one Tensor"),
        (nn.Sequential(nn.Linear(2, 2)), "a whole module pickled by torch (torch.nn.modules.container.Sequential"),
        ({"state_dict": {}, "place": Path("x")}, "holds more than tensors (pathlib."),
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saved_but_is_no_network_of_ours_is_named(
    content: object, sentence: str, zipped: bool, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "other.pth", _use_new_zipfile_serialization=zipped)
    assert sentence in refusal(tmp_path / "other.pth")


class Dangerous:
    """Unpickling it would make the folder that it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_no_code_in_a_checkpoint_is_run(zipped: bool, tmp_path: Path) -> None:
    content = {"params": published_v2(), "trap": Dangerous(tmp_path / "sprung")}
    torch.save(content, tmp_path / "trap.pth", _use_new_zipfile_serialization=zipped)
    assert "holds more than tensors (posix.mkdir)" in refusal(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("empty.pth", b"", "an empty file"),
        ("note.pth", b"hello", "no checkpoint at all"),
        ("page.pth", b"<!DOCTYPE html><html>", "a web page, so the download did not succeed"),
        ("pointer.pth", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes them"),
        ("lite.onnx", b"\x08\x08\x12\x07pytorch", "an ONNX file"),
        ("no-suffix", b"\x08\x08\x12\x07pytorch", "an ONNX file"),
        ("photo.png", b"\x89PNG\r\n\x1a\n", "a picture"),
        ("plain.pkl", pickle.dumps({"weight": 1}), "a plain Python pickle"),
        ("old.pkl", pickle.dumps({"weight": 1}, protocol=2), "damaged, incomplete or of another kind"),
        ("said.safetensors", b"hello", "damaged or incomplete"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_told_what_it_looks_like(
    name: str, content: bytes, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert sentence in refusal(tmp_path / name)


def test_a_zip_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    assert "of another kind" in refusal(tmp_path / "photos.zip")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_published_file_is_called_damaged(zipped: bool, share: float, tmp_path: Path) -> None:
    path = tmp_path / "part.pth"
    torch.save({"params": published_v2()}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "it is damaged, incomplete or of another kind" in refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_published_file_with_scrambled_bytes_is_never_a_traceback(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "scrambled.pth"
    small: dict[str, Any] = {"params": {"conv_in.weight": torch.zeros(2, 3)}, "epoch": 1}
    torch.save(small, path, _use_new_zipfile_serialization=zipped)
    content, draws = path.read_bytes(), np.random.default_rng(0)
    for _ in range(100):
        scrambled = bytearray(content)
        for place in draws.integers(4, min(len(content), 700), 4):
            scrambled[place] = draws.integers(256)
        path.write_bytes(scrambled)
        refusal(path)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert "cannot be opened (No such file or directory)" in refusal(tmp_path / "nothing.pth")
    assert "this is a folder" in refusal(tmp_path)
