"""What the networks promise: the published answers, sizes, sharing, scenes and cost."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mirnet.errors import SettingsError
from mirnet.network import (
    Config,
    LiteConfig,
    MIRNetConfig,
    MIRNetV2Config,
    SceneNetwork,
    build,
    checkpoints,
    from_config,
    mirnet,
    mirnet_v2,
    published,
)
from mirnet.network.lite import Lite, apply_dead_zone, spread
from mirnet.network.mirnet import MIRNet
from mirnet.network.pooling import PerImagePooling, pad_to_multiple

GOLDEN = Path(__file__).parent / "golden"

# As the presets are built, but small enough for a test.
SMALL: dict[str, Config] = {
    "lite": LiteConfig(features=16, head_features=8),
    "paper": MIRNetConfig(features=16, rrgs=1, mrbs=1),
    "v2-paper": MIRNetV2Config(features=16, mrbs=1),
}

Block = Callable[[nn.Module, list[Tensor]], Tensor]


pytestmark = pytest.mark.usefixtures("one_torch_thread")


def small(name: str, seed: int = 0) -> SceneNetwork:
    torch.manual_seed(seed)
    return from_config(SMALL[name])


def lively(name: str) -> SceneNetwork:
    """A small network with larger weights than fresh ones, so that its global averages matter; needs no gradient."""
    network = small(name).requires_grad_(False)
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.mul_(1.5)
    return network


def inputs_of(name: str, height: int, width: int, pictures: int = 1) -> list[Tensor]:
    """A picture of `height` x `width` and, for lite, its stops."""
    torch.manual_seed(1)
    picture = torch.rand(pictures, 3, height, width)
    return [picture, torch.full((pictures, 1, 1, 1), 3.0)] if name == "lite" else [picture]


def unique_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def alone(block: nn.Module, inputs: list[Tensor]) -> Tensor:
    return block(inputs[0])


def pooled(block: nn.Module, inputs: list[Tensor]) -> Tensor:
    return block(inputs[0], PerImagePooling())


def fused(block: nn.Module, inputs: list[Tensor]) -> Tensor:
    return block(inputs, PerImagePooling())


GOLDEN_BLOCKS: list[tuple[str, Callable[[], nn.Module], Block, MIRNetConfig | MIRNetV2Config]] = [
    ("v1_skff", lambda: mirnet.SKFF(16, 3), fused, MIRNetConfig(16)),
    ("v1_dau", lambda: mirnet.DAU(16), pooled, MIRNetConfig(16)),
    ("v1_residual_down", lambda: mirnet.Down(16), alone, MIRNetConfig(16)),
    ("v1_residual_up", lambda: mirnet.Up(16), alone, MIRNetConfig(16)),
    ("v1_mrb", lambda: mirnet.MRB(MIRNetConfig(8), nn.PReLU()), pooled, MIRNetConfig(8)),
    ("v2_skff", lambda: mirnet_v2.SKFF(16, 2, mirnet_v2.leaky()), fused, MIRNetV2Config(16)),
    ("v2_context", lambda: mirnet_v2.ContextBlock(16), pooled, MIRNetV2Config(16)),
    ("v2_rcb", lambda: mirnet_v2.RCB(16, 2), pooled, MIRNetV2Config(16)),
    ("v2_mrb", lambda: mirnet_v2.MRB(16, 1), pooled, MIRNetV2Config(16)),
]


@pytest.mark.parametrize(("name", "make", "call", "config"), GOLDEN_BLOCKS, ids=[block[0] for block in GOLDEN_BLOCKS])
def test_every_block_gives_the_published_block_s_answer(
    name: str, make: Callable[[], nn.Module], call: Block, config: MIRNetConfig | MIRNetV2Config
) -> None:
    with np.load(GOLDEN / f"block_{name}.npz") as file:
        golden = {key: torch.from_numpy(file[key]) for key in file}
    weights = {key.removeprefix("weights/"): value for key, value in golden.items() if key.startswith("weights/")}
    block = make()
    constants = {published.published_name(key, config) for key, _ in block.named_buffers()}
    ours = {published.published_name(key, config): tensor for key, tensor in block.state_dict().items()}
    assert set(ours) | constants == set(weights)
    for key, tensor in ours.items():
        tensor.copy_(weights[key])

    with torch.no_grad():
        answer = call(block, [golden[key] for key in sorted(golden) if key.startswith("input")])
    assert (answer - golden["output"]).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("name", "config", "parameters"),
    [
        ("mirnet_v1_nfeat8", MIRNetConfig(features=8, rrgs=3, mrbs=2, tied=True), 499_435),
        ("mirnet_v2_nfeat16", MIRNetV2Config(features=16, mrbs=2), 236_864),
    ],
)
def test_a_published_checkpoint_gives_the_published_network_s_answer(
    name: str, config: MIRNetConfig | MIRNetV2Config, parameters: int
) -> None:
    network = checkpoints.load(GOLDEN / f"{name}.pth")
    assert network.config == config
    assert unique_parameters(network) == parameters
    with np.load(GOLDEN / f"{name}_io.npz") as file, torch.no_grad():
        answer = network(torch.from_numpy(file["input"]))
        assert (answer - torch.from_numpy(file["output"])).abs().max() <= 1e-4


@pytest.mark.parametrize(("name", "parameters"), [("paper", 31_787_419), ("v2-paper", 5_858_560)])
def test_the_paper_s_presets_have_the_paper_s_number_of_parameters(name: str, parameters: int) -> None:
    with torch.device("meta"):
        assert unique_parameters(build(name)) == parameters


def test_an_unknown_preset_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SettingsError, match='no preset "large"; choose one of lite, paper, v2-paper'):
        build("large")


@pytest.mark.parametrize("source", ["fresh", "loaded", "copied"])
def test_tied_weights_are_one_tensor(source: str) -> None:
    network = checkpoints.load(GOLDEN / "mirnet_v1_nfeat8.pth") if source == "loaded" else from_config(MIRNetConfig(8))
    network = copy.deepcopy(network) if source == "copied" else network
    blocks = [block for block in network.modules() if isinstance(block, mirnet.MRB)]
    activations = {id(dau.body[1].weight) for block in blocks for dau in [*block.first, *block.second]}
    assert len(blocks) == 6
    assert len(activations) == 1
    for block in blocks:
        assert all(one is two for one, two in zip(block.first.parameters(), block.second.parameters(), strict=True))
        fusions = zip(block.exchange[0].parameters(), block.fuse.parameters(), strict=True)
        assert all(one is two for one, two in fusions)


def test_untied_weights_are_tensors_of_their_own() -> None:
    tied, untied = (from_config(MIRNetConfig(16, rrgs=1, mrbs=1, tied=tied)) for tied in (True, False))
    (block,) = (module for module in untied.modules() if isinstance(module, mirnet.MRB))
    daus = [*block.first, *block.second]
    assert len({id(dau) for dau in daus}) == 6
    assert len({id(dau.body[1].weight) for dau in daus}) == 6
    assert block.fuse is not block.exchange[0]
    second_column = sum(unique_parameters(dau) for dau in block.second)
    # the second column counts its three activations; the first's three are now three instead of one
    assert unique_parameters(untied) == unique_parameters(tied) + second_column + unique_parameters(block.fuse) + 2


@pytest.mark.parametrize("name", SMALL)
def test_two_networks_in_one_process_share_nothing(name: str) -> None:
    one, two = small(name), small(name)
    places = [{t.data_ptr() for t in [*network.parameters(), *network.buffers()]} for network in (one, two)]
    assert not places[0] & places[1]
    before = copy.deepcopy(two.state_dict())
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1)
    assert all(torch.equal(value, before[key]) for key, value in two.state_dict().items())


def test_the_streams_votes_sum_to_one_channel_by_channel() -> None:
    torch.manual_seed(0)
    fusion = mirnet.SKFF(16, 3)
    stream = torch.randn(2, 16, 5, 7)
    assert torch.allclose(fusion([stream] * 3, PerImagePooling()), stream, atol=1e-6)
    # each channel has votes of its own
    votes = fusion([torch.ones(1, 16, 5, 7), torch.zeros(1, 16, 5, 7), torch.zeros(1, 16, 5, 7)], PerImagePooling())
    assert votes[0, :, 0, 0].std() > 1e-3


def parameters_without_gradient(name: str, config: Config, seed: int) -> set[str]:
    torch.manual_seed(seed)
    network = from_config(config)
    total = (network(*inputs_of(name, 24, 40, pictures=2)) ** 2).sum()
    if isinstance(network, Lite):
        total = total + (network.propose(torch.rand(2, 3, 96, 64)) ** 2).sum()
    total.backward()
    return {key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()}


@pytest.mark.parametrize(
    ("name", "tied"), [("lite", False), ("lite", True), ("paper", False), ("paper", True), ("v2-paper", None)]
)
def test_every_parameter_receives_a_gradient(name: str, tied: bool | None) -> None:
    config = SMALL[name]
    config = config if isinstance(config, MIRNetV2Config) else replace(config, tied=bool(tied))
    # A start may leave both ReLU units of a channel attention silent; what is not connected is so from every start.
    without = set.intersection(*(parameters_without_gradient(name, config, seed) for seed in range(3)))
    assert without == set()


def test_the_head_sees_a_mirrored_picture_as_the_same_scene() -> None:
    network, thumbnail = small("lite"), torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    assert isinstance(network, Lite)
    with torch.no_grad():
        asked = network.head.propose_augmented(thumbnail)
        for dims in ((2,), (3,), (2, 3)):
            assert torch.allclose(network.head.propose_augmented(thumbnail.flip(dims)), asked.flip(dims), atol=1e-5)
            assert not torch.allclose(network.head.propose_raw(thumbnail.flip(dims)), asked.flip(dims), atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 3), (7, 5), (16, 31), (33, 16)])
@pytest.mark.parametrize("name", SMALL)
def test_any_size_from_one_pixel_up_comes_back_in_its_size(name: str, size: tuple[int, int]) -> None:
    with torch.no_grad():
        restored = small(name)(*inputs_of(name, *size))
    assert restored.shape == (1, 3, *size)
    assert restored.isfinite().all()


@pytest.mark.parametrize("name", SMALL)
def test_a_network_pads_by_repeated_reflection_and_resizes_nothing(name: str) -> None:
    network, (picture, *stops) = small(name), inputs_of(name, 5, 18)
    multiple = network.size_multiple
    height, width = -(-5 // multiple) * multiple, -(-18 // multiple) * multiple
    padded = np.pad(picture.numpy(), ((0, 0), (0, 0), (0, height - 5), (0, width - 18)), mode="reflect")
    with torch.no_grad():
        expected = network.restore(
            PerImagePooling(), torch.from_numpy(padded), *(s.expand(1, 1, height, width) for s in stops)
        )
        assert torch.equal(network(picture, *stops), expected[:, :, :5, :18])


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 1), (2, 3), (3, 17), (8, 16), (15, 9)])
@pytest.mark.parametrize("multiple", [4, 8, 16])
def test_padding_is_numpy_s_reflection_and_repeats_one_pixel_sides(size: tuple[int, int], multiple: int) -> None:
    x = np.arange(6 * size[0] * size[1], dtype=np.float32).reshape(2, 3, *size)
    below, right = -size[0] % multiple, -size[1] % multiple
    expected = np.pad(x, ((0, 0), (0, 0), (0, below), (0, right)), mode="reflect")
    assert np.array_equal(pad_to_multiple(torch.from_numpy(x), multiple).numpy(), expected)


def test_lite_takes_one_number_of_stops_or_one_per_pixel() -> None:
    network, (picture, _) = small("lite"), inputs_of("lite", 13, 22, pictures=2)
    stops = torch.tensor([2.0, 5.0]).reshape(2, 1, 1, 1)
    with torch.no_grad():
        assert torch.equal(network(picture, stops), network(picture, stops.expand(2, 1, 13, 22)))
        assert (network(picture, stops) - network(picture, stops + 2)).abs().max() > 1e-3  # and it looks at them


def test_lite_starts_from_the_exposed_picture_at_full_resolution() -> None:
    network, inputs = small("lite"), inputs_of("lite", 16, 24)
    assert isinstance(network, Lite)
    with torch.no_grad():
        network.restorer.trunk.conv_out.weight.zero_()
        assert torch.equal(network(*inputs), inputs[0])


def test_lite_has_at_most_two_million_parameters_and_110_kflop_per_pixel() -> None:
    with torch.device("meta"):  # shapes are enough to count
        network = build("lite")
        inputs = torch.empty(1, 3, 512, 512), torch.empty(1, 1, 1, 1)
    with FlopCounterMode(display=False) as counter:
        network(*inputs)
    assert unique_parameters(network) <= 2_000_000
    assert counter.get_total_flops() / 512**2 <= 110_000


def test_a_softened_map_keeps_the_pictures_number() -> None:
    network, thumbnail = small("lite"), torch.rand(2, 3, 64, 96)
    before = network.head.propose_augmented(thumbnail)
    network.head.shrink_map(0.25)
    after = network.head.propose_augmented(thumbnail)
    number = before.mean((2, 3), keepdim=True)
    assert (before - number).abs().max() > 1e-3
    assert torch.allclose(after, number + (before - number) / 4, atol=1e-5)


def test_the_head_proposes_a_cell_for_eight_pixels_of_the_thumbnail() -> None:
    network = small("lite")
    assert isinstance(network, Lite)
    with torch.no_grad():
        assert network.propose(torch.rand(2, 3, 64, 96)).shape == (2, 1, 8, 12)
        assert network.propose(torch.zeros(1, 3, 8, 96)).isfinite().all()


def test_small_proposals_are_taken_for_none_and_large_ones_left_as_they_are() -> None:
    zone = LiteConfig().dead_zone_stops
    stops_map = torch.linspace(-0.5, 0.5, 6).reshape(1, 1, 2, 3)
    for mean in (0.1 * zone, -0.1 * zone):
        assert torch.allclose(apply_dead_zone(mean * (1 + stops_map), zone), 0.001 * mean * (1 + stops_map), rtol=0.01)
    for mean in (1.5 * zone, -1.5 * zone, 6.0):
        assert torch.allclose(apply_dead_zone(mean * (1 + stops_map), zone), mean * (1 + stops_map), rtol=0.04)


def test_a_head_proposes_what_it_asks_for_outside_its_dead_zone() -> None:
    network, thumbnail = small("lite"), torch.rand(2, 3, 64, 96)
    network.head.dead_zone_stops = 0.25
    assert torch.equal(network.propose(thumbnail), apply_dead_zone(network.head.propose_augmented(thumbnail), 0.25))


def test_a_map_of_cells_is_spread_with_half_pixel_centres_and_held_edges() -> None:
    cells = torch.tensor([[0.0, 4.0]]).reshape(1, 1, 1, 2)
    expected = torch.tensor([0.0, 0.0, 0.5, 1.5, 2.5, 3.5, 4.0, 4.0])
    assert torch.allclose(spread(cells, 3, 8), expected.expand(1, 1, 3, 8))


def uneven_picture(height: int, width: int) -> Tensor:
    """Noise, dark in the left half and bright in the right one, so that a half has other averages than the whole."""
    torch.manual_seed(2)
    picture = torch.rand(1, 3, height, width) * 0.2
    picture[..., width // 2 :] += 0.8
    return picture


def process_tiles(render: Callable[..., Tensor], inputs: list[Tensor], overlap_px: int) -> Tensor:
    """Left and right half, each rendered with `overlap_px` more and cut back."""
    half = inputs[0].shape[3] // 2
    left = render(*(x[..., : half + overlap_px] for x in inputs))
    right = render(*(x[..., half - overlap_px :] for x in inputs))
    return torch.cat([left[..., :half], right[..., overlap_px:]], 3)


@pytest.mark.parametrize(("name", "overlap_px"), [("lite", 96), ("paper", 64), ("v2-paper", 96)])
def test_tiles_with_the_whole_picture_s_scene_equal_the_whole_and_naive_tiles_do_not(
    name: str, overlap_px: int
) -> None:
    network = lively(name)
    picture = uneven_picture(32, 256)
    inputs = [picture, torch.linspace(1, 4, 256).expand(1, 1, 32, 256)] if name == "lite" else [picture]
    scene = network.measure_scene(*inputs)
    whole = network.render(scene, *inputs)
    tiled = process_tiles(lambda *x: network.render(scene, *x), inputs, overlap_px)
    naive = process_tiles(network, inputs, overlap_px)
    assert (tiled - whole).abs().max() <= 1e-4
    assert (naive - whole).abs().max() > 5e-3


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(16, 24), (7, 21)])
def test_the_scene_of_the_whole_picture_renders_what_the_plain_call_gives(name: str, size: tuple[int, int]) -> None:
    network, inputs = lively(name), inputs_of(name, *size)
    assert (network.render(network.measure_scene(*inputs), *inputs) - network(*inputs)).abs().max() <= 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_a_plain_call_treats_each_picture_of_a_batch_alone(name: str) -> None:
    network, inputs = lively(name), inputs_of(name, 16, 24, pictures=2)
    inputs[0][1] *= 0.1
    both = network(*inputs)
    for i in range(2):
        assert (network(*(x[i : i + 1] for x in inputs)) - both[i : i + 1]).abs().max() <= 1e-5


@pytest.mark.parametrize("name", SMALL)
def test_a_survey_pools_all_tiles_of_a_scene_together(name: str) -> None:
    network, inputs = lively(name), inputs_of(name, 16, 24, pictures=2)
    inputs[0][1] *= 0.1
    scene = network.measure_scene(*inputs)
    assert scene.shape == (network.scene_size(),)
    # the first number of a scene is a mean over both tiles, so it lies between theirs
    alone = [network.measure_scene(*(x[i : i + 1] for x in inputs))[0] for i in range(2)]
    if name != "v2-paper":  # its first vector is weighted by a softmax over all pixels, not a plain mean
        assert torch.allclose(scene[0], (alone[0] + alone[1]) / 2, atol=1e-5)
    assert not torch.allclose(scene[0], alone[0], atol=1e-6)


def test_a_scene_of_another_network_is_refused() -> None:
    network, inputs = small("paper"), inputs_of("paper", 16, 16)
    with pytest.raises(SettingsError, match="too short for this network"):
        network.render(torch.zeros(5), *inputs)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MIRNetConfig(features=12), "multiple of 8"),
        (lambda: MIRNetConfig(rrgs=0), "at least one RRG"),
        (lambda: MIRNetConfig(resizing="none"), "resizing is"),  # type: ignore[arg-type]
        (lambda: MIRNetV2Config(features=40), "multiple of 16"),
        (lambda: MIRNetV2Config(mrbs=0), "at least one MRB"),
        (lambda: LiteConfig(stem=3), "stem must be"),
        (lambda: LiteConfig(dead_zone_stops=0), "must be positive"),
    ],
)
def test_a_config_that_cannot_work_is_refused_with_a_sentence(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (MIRNetConfig(16, 1, 1), MIRNetConfig(16, 2, 1)),
        (MIRNetConfig(16, 1, 1), MIRNetConfig(16, 1, 2)),
        (MIRNetConfig(16, 1, 1), MIRNetConfig(24, 1, 1)),
        (MIRNetConfig(16, 1, 1), MIRNetConfig(16, 1, 1, resizing="light")),
        (MIRNetV2Config(16, 1), MIRNetV2Config(16, 2)),
        (MIRNetV2Config(16, 1), MIRNetV2Config(32, 1)),
        (LiteConfig(stem=1), LiteConfig(stem=2)),
        (LiteConfig(head_features=8), LiteConfig(head_features=16)),
    ],
)
def test_every_number_of_a_config_changes_the_network(one: Config, two: Config) -> None:
    with torch.device("meta"):
        assert unique_parameters(from_config(one)) != unique_parameters(from_config(two))


def test_the_published_network_is_a_picture_plus_a_residual() -> None:
    network, inputs = small("paper"), inputs_of("paper", 8, 12)
    assert isinstance(network, MIRNet)
    with torch.no_grad():
        network.trunk.conv_out.weight.zero_()
        assert torch.equal(network(*inputs), inputs[0])
