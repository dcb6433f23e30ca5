"""What is exported is the network, whole and exact, and the card says only what is known."""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import mirnet
from mirnet import metrics
from mirnet.errors import SettingsError, TrainingError
from mirnet.export import measurement, onnx_graph, weights_card
from mirnet.export import onnx_export as exporting
from mirnet.inference import catalog
from mirnet.inference.catalog import Card
from mirnet.inference.enhancer import Enhancer
from mirnet.inference.runtimes import OpenVINORuntime
from mirnet.inference.scene_statistics import compute_brightness_factor
from mirnet.network import Lite, LiteConfig, MIRNetConfig, checkpoints
from mirnet.training.recipes import RECIPES
from mirnet.training.runs import card as cards
from mirnet.training.runs.folder import RunFolder, RunPosition
from mirnet.training.settings import TrainSettings
from mirnet.training.stored_names import to_stored
from mirnet.training.validation import Scores


def graph_of(path: Path) -> onnx.GraphProto:
    return onnx.load(path).graph


def card_of(path: Path) -> Card:
    return catalog.read(path).card


def small(seed: int = 0) -> Lite:
    torch.manual_seed(seed)
    return Lite(LiteConfig(features=8, head_features=4))


@pytest.fixture
def instantly(monkeypatch, tiny_lite: Path) -> None:
    """Exports of small lite networks take no time: their graph is the one that is there. Cards are made as ever."""
    monkeypatch.setattr(exporting, "to_onnx", lambda network: tiny_lite.read_bytes())
    monkeypatch.setattr(weights_card, "measure_overlap", lambda network: 16)
    monkeypatch.setattr(weights_card, "measure_parity", lambda network, content: 1e-7)


# The file ------------------------------------------------------------------------------------------------------------


def test_the_file_has_the_agreed_doors(tiny_lite):
    graph = graph_of(tiny_lite)
    assert {value.name for value in graph.input} == {"picture", "stops", "scene", "use_scene", "thumbnail"}
    assert {value.name for value in graph.output} == {"restored", "scene_out", "stops_map"}


def test_a_network_without_exposure_has_neither_stops_nor_head(tiny_published):
    graph = graph_of(tiny_published)
    assert {value.name for value in graph.input} == {"picture", "scene", "use_scene"}
    assert {value.name for value in graph.output} == {"restored", "scene_out"}
    assert not card_of(tiny_published).takes_exposure


def test_restorer_and_head_share_nothing(tiny_lite):
    """Walked back from their results, they meet in no node, value, weight or input."""
    graph = graph_of(tiny_lite)
    maker = {name: node for node in graph.node for name in node.output}

    def seen_by(*results: str) -> set[str]:
        seen, waiting = set(), list(results)
        while waiting:
            name = waiting.pop()
            if name and name not in seen:
                seen.add(name)
                waiting += maker[name].input if name in maker else []
        return seen

    restorer, head = seen_by("restored", "scene_out"), seen_by("stops_map")
    assert restorer & head == set()
    assert "thumbnail" in head
    assert {"picture", "stops", "scene", "use_scene"} <= restorer
    assert {name for node in graph.node for name in node.output} <= restorer | head


@pytest.mark.parametrize("which", ["tiny_lite", "tiny_published"])
def test_initializers_keep_the_checkpoints_names(request, which):
    path = request.getfixturevalue(which)
    network = checkpoints.load(next(file for file in path.parent.iterdir() if file.suffix in (".safetensors", ".pth")))
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph_of(path).initializer}
    wanted = checkpoints.entries(network)
    assert any(isinstance(part, torch.nn.PReLU) for part in network.modules())
    for name, tensor in wanted.items():
        np.testing.assert_array_equal(tensors[name], tensor.numpy())
    # no copy of a weight stands under another name, as an exporter folds them: tied stays tied
    others = {tensor.tobytes() for name, tensor in tensors.items() if name not in wanted}
    assert not others & {tensor.numpy().tobytes() for tensor in wanted.values() if tensor.numel() > 1}


@pytest.mark.parametrize("which", ["tiny_lite", "tiny_published"])
def test_the_network_is_rebuilt_from_file_and_card(request, which):
    path = request.getfixturevalue(which)
    network = checkpoints.load(next(file for file in path.parent.iterdir() if file.suffix in (".safetensors", ".pth")))
    again = exporting.read_exported(path)
    assert again.config == network.config
    assert checkpoints.entries(again).keys() == checkpoints.entries(network).keys()
    assert all(torch.equal(tensor, checkpoints.entries(again)[name]) for name, tensor in network.named_parameters())


def test_equal_weights_give_equal_bytes(tiny_lite):
    """Exported anew from the file itself, which has another path and came another way."""
    assert onnx_graph.to_onnx(exporting.read_exported(tiny_lite).eval()) == tiny_lite.read_bytes()


@pytest.mark.parametrize("which", ["tiny_lite", "tiny_published"])
def test_no_path_name_or_date_is_in_the_file(request, which):
    path = request.getfixturevalue(which)
    content = path.read_bytes()
    for said in (str(path.parent), str(Path(mirnet.__file__).parent), path.stem, str(Path.home()), ".py"):
        assert said.encode() not in content
    assert re.search(rb"20\d\d-\d\d-\d\d", content) is None
    model = onnx.load(path)
    assert not model.metadata_props
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


@pytest.mark.parametrize("which", ["tiny_lite", "tiny_published"])
def test_torch_and_openvino_agree_on_odd_sizes(request, which):
    """Through the enhancer, which pads, with other pictures than those of the export."""
    path = request.getfixturevalue(which)
    network, enhancer = exporting.read_exported(path).eval(), Enhancer(path, threads=1)
    for height, width in ((61, 83), (1, 1), (1, 37)):
        x = np.random.default_rng(width).random((height, width, 3), dtype=np.float32)
        picture = torch.from_numpy(x.transpose(2, 0, 1).copy())[None]
        extra = [torch.zeros(1, 1, 1, 1)] if isinstance(network, Lite) else []
        with torch.inference_mode():
            expected = network(picture, *extra)[0].permute(1, 2, 0).numpy()
        if isinstance(network, Lite):  # denoising alone leaves the mean where it was
            expected = expected * compute_brightness_factor(x, expected)
        expected = np.clip(expected, 0, 1)
        wish = {"keep_exposure": True} if isinstance(network, Lite) else {}
        np.testing.assert_allclose(enhancer.enhance(x, **wish), expected, atol=1e-4)


def test_a_file_that_differs_from_torch_is_not_exported(tiny_lite):
    with pytest.raises(TrainingError, match=r"differs from torch by .* in OpenVINO, more than 0.0001; nothing was"):
        measurement.measure_parity(small(seed=1).eval(), tiny_lite.read_bytes())


def test_the_overlap_on_the_card_is_enough_and_no_more_than_that(tiny_lite):
    network, card = exporting.read_exported(tiny_lite).eval(), card_of(tiny_lite)
    assert card.overlap_px % 8 == 0
    inputs = measurement.make_example_inputs(network, 160, 160)
    with torch.inference_mode():
        scene = network.measure_scene(*inputs)
        whole = network.render(scene, *inputs)[:, :, 64:96, 64:96]

        def off(overlap: int) -> float:
            seen = slice(64 - overlap, 96 + overlap)
            tile = network.render(scene, *(x[:, :, seen, seen] for x in inputs))
            return float((tile[:, :, overlap : overlap + 32, overlap : overlap + 32] - whole).abs().max())

        assert off(card.overlap_px) <= 8e-4  # another picture than the export's
        assert off(0) > 4e-4


# The card ------------------------------------------------------------------------------------------------------------


def test_the_card_says_what_the_network_is(tiny_lite):
    card, network = card_of(tiny_lite), small()
    assert (card.name, card.architecture, card.config) == ("tiny", "lite", asdict(network.config))
    assert card.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert card.scene_size == network.scene_size()
    assert (card.size_multiple, card.takes_exposure, card.format) == (8, True, 1)
    assert 1 < card.kflop_per_px < 20
    assert 0 < card.export["parity"] <= 1e-4
    assert card.export["rounding_db"] == 0
    assert OpenVINORuntime(catalog.read(tiny_lite).read_verified(), card.scene_size)


@pytest.mark.parametrize("which", ["tiny_lite", "tiny_published"])
def test_a_checkpoint_file_is_converted_and_nothing_is_claimed(request, which):
    card = card_of(request.getfixturevalue(which))
    assert (card.source, card.licence, card.protocol) == ("converted", "licence of its source", "scores not measured")
    assert (card.scores, card.data) == ({}, [])


def test_published_weights_enhance_without_exposure(tiny_published):
    card = card_of(tiny_published)
    assert (card.architecture, card.takes_exposure) == ("mirnet", False)
    assert checkpoints.config_of({"architecture": card.architecture, "config": card.config}, "") == MIRNetConfig(
        8, 1, 1
    )
    x = np.random.default_rng(0).random((21, 33, 3), dtype=np.float32)
    enhancer = Enhancer(tiny_published, threads=1)
    assert enhancer.enhance(x, exposure=-2).mean() < enhancer.enhance(x).mean()
    with pytest.raises(SettingsError, match="keep-exposure cannot be chosen"):
        enhancer.enhance(x, keep_exposure=True)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of a small lite: best after 20 steps, newest after 30."""
    run = RunFolder(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    pairs = {"dark": "/home/somebody/low", "bright": "/home/somebody/high", "pairs": 5, "sha256": "ab12"}
    data = {"training": pairs, "validation": {**pairs, "pairs": 2}, "synthetic": {"photos": 3, "sha256": "cd34"}}
    run.write_about({"data": data, "test_set_used": False, "versions": {"mirnet": "0.0.9"}})
    run.save_best(small(1), RunPosition("restorer", 20, crop_pixels=2_000_000), Scores(21.0, 0.75, 25.0, 26.0))
    run.save(small(2), {}, RunPosition("restorer", 30))
    return run


@pytest.mark.usefixtures("instantly")
def test_a_run_brings_its_scores_and_its_data(run, tmp_path):
    card = exporting.export(run.path, tmp_path / "out" / "mine.onnx").card
    assert card == card_of(tmp_path / "out" / "mine.onnx")
    assert card.scores == {"psnr": 21.0, "ssim": 0.75, "psnr_gt_mean": 25.0, "psnr_true_exposure": 26.0}
    assert card.protocol == metrics.PROTOCOL
    assert [part["name"] for part in card.data] == [
        "training: 5 pairs, sha256 ab12", "validation: 2 pairs, sha256 ab12", "synthetic: 3 photos, sha256 cd34",
    ]  # fmt: skip
    assert card.source == "trained with mirnet 0.0.9, step 20 of unknown, 0.002 gigapixels of crops"
    assert {card.licence, *(part["licence"] for part in card.data)} == {"not stated"}
    assert "somebody" not in card.to_json()
    assert str(tmp_path) not in card.to_json()


@pytest.mark.usefixtures("instantly")
def test_a_run_that_used_the_test_set_says_so_on_the_card(run, tmp_path):
    run.write_about({**run.about(), "test_set_used": True})
    assert "the published test set (eval15) was used" in exporting.export(run.path, tmp_path / "a.onnx").card.protocol


def test_best_or_last_is_a_choice_and_last_has_no_scores(run, tmp_path, monkeypatch, instantly):
    given = []
    monkeypatch.setattr(exporting, "to_onnx", lambda network: given.append(network) or b"network")
    best = exporting.export(run.path, tmp_path / "a.onnx")
    last = exporting.export(run.path, tmp_path / "b.onnx", last=True)
    for network, seed in zip(given, (1, 2), strict=True):
        assert torch.equal(network.restorer.trunk.conv_in.weight, small(seed).restorer.trunk.conv_in.weight)
    assert best.card.scores
    assert (last.card.scores, last.card.protocol) == ({}, "scores not measured")


@pytest.mark.usefixtures("instantly")
def test_what_no_program_can_know_is_told_in_a_file(run, tmp_path):
    words = {
        "data": [{"name": "LOL", "licence": "research"}], "licence": "CC BY 4.0", "known_failures": ["black skies"],
        "uses": {"noise": {"denoise": 1}}, "source": "here", "denoise_at_zero_stops": 0.3,
    }  # fmt: skip
    (tmp_path / "about.json").write_text(json.dumps(words))
    card = exporting.export(run.path, tmp_path / "a.onnx", about=tmp_path / "about.json").card
    assert {name: getattr(card, name) for name in words} == words
    assert card.scores["psnr"] == 21.0


@pytest.mark.usefixtures("instantly")
@pytest.mark.parametrize("content", ["", "[]", '{"scores": {"psnr": 99}}', '{"sha256": ""}'])
def test_nothing_measured_can_be_told_in_a_file(run, tmp_path, content):
    (tmp_path / "about.json").write_text(content)
    with pytest.raises(SettingsError, match=r"about\.json: expected a JSON object"):
        exporting.export(run.path, tmp_path / "a.onnx", about=tmp_path / "about.json")
    assert not (tmp_path / "a.onnx").exists()


def words_in(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.usefixtures("instantly")
def test_a_run_has_its_card_ready_to_export(run, tmp_path):
    settings = to_stored(TrainSettings(recipe=RECIPES["lite"], steps=60, seed=7))
    run.write_about({**run.about(), "settings": settings, "start": {"file": "/home/somebody/a.pth", "sha256": "ef56"}})
    cards.write(run)
    words = words_in(run.path / "card.json")
    assert {word["licence"] for word in words["data"]} | {words["licence"]} == {"not stated: fill in"}
    assert words["data"][3]["name"] == "first weights: sha256 ef56"
    assert (words["known_failures"], words["uses"]) == ([], {})
    assert words["source"] == (
        "trained with mirnet 0.0.9, preset lite, precision float32, seed 7, recipe lite (adamw, 0.001 to 1e-05, crops "
        "of 128 px in batches of 8, then 192 px in batches of 4, then 320 px in batches of 2), step 20 of 60, 0.002 "
        "gigapixels of crops"
    )
    assert "somebody" not in (run.path / "card.json").read_text()
    card = exporting.export(run.path, tmp_path / "a.onnx", about=run.path / "card.json").card
    assert card == exporting.export(run.path, tmp_path / "a.onnx").card
    assert {card.licence, *(part["licence"] for part in card.data)} == {"not stated"}


@pytest.mark.usefixtures("instantly")
def test_what_a_person_writes_into_a_runs_card_stays_and_is_exported(run, tmp_path):
    cards.write(run)
    path = run.path / "card.json"
    written = {"licence": "CC0", "known_failures": ["black skies"], "denoise_at_zero_stops": 0.5}
    path.write_text(json.dumps(words_in(path) | written))
    run.save_best(small(2), RunPosition("restorer", 40), Scores(22.0, 0.75, 25.0, 26.0))
    cards.write(run)  # the run has gone on
    cards.write(run)
    words = words_in(path)
    assert {name: words[name] for name in written} == written
    assert "step 40" in words["source"]
    card = exporting.export(run.path, tmp_path / "a.onnx").card
    assert {name: getattr(card, name) for name in written} == written
    assert card.data[0]["licence"] == "not stated"
    (tmp_path / "about.json").write_text('{"licence": "CC BY 4.0"}')
    card = exporting.export(run.path, tmp_path / "b.onnx", about=tmp_path / "about.json").card
    assert (card.licence, card.known_failures) == ("CC BY 4.0", ["black skies"])


@pytest.mark.usefixtures("instantly")
def test_the_newest_weights_are_not_exported_as_the_best(run, tmp_path):
    cards.write(run)
    assert "step 20 of" in exporting.export(run.path, tmp_path / "a.onnx").card.source
    assert "step 30 of" in exporting.export(run.path, tmp_path / "a.onnx", last=True).card.source


def test_a_process_killed_between_the_cards_two_files_leaves_nobodys_words(run):
    cards.write(run)
    before = (run.path / "card.json").read_bytes()
    run.save_best(small(2), RunPosition("restorer", 40), Scores(22.0, 0.75, 25.0, 26.0))
    cards.write(run)
    (run.path / "card.json").write_bytes(before)
    assert cards.changed(run) == {}


@pytest.mark.usefixtures("instantly")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"licence": "CC', "cannot be read"),
        ('{"license": "CC0"}', "expected a JSON object with some of data, uses, known_failures, licence"),
        ('{"known_failures": "skies"}', 'known_failures is "skies"'),
        ('{"data": ["LOL"]}', "data is no list of objects"),
    ],
)
def test_a_card_that_a_person_spoilt_is_left_alone_and_refused(run, tmp_path, content, sentence):
    (run.path / "card.json").write_text(content)
    cards.write(run)
    assert (run.path / "card.json").read_text() == content
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        exporting.export(run.path, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


# Refusals, and the command -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "output", "options", "code", "sentence"),
    [
        ("run", "net.pb", [], 2, "net.pb: expected an output NAME.onnx"),
        ("nothing", "net.onnx", [], 2, "nothing: expected a run folder or a checkpoint file; there is none"),
        (".", "net.onnx", [], 2, "expected a run folder with best.safetensors; train first"),
        (".", "net.onnx", ["--last"], 2, "expected a run folder with a checkpoint; train first"),
        ("run/best.safetensors", "net.onnx", ["--last"], 2, "--last chooses among a run's checkpoints"),
        ("run/run.json", "net.onnx", [], 2, "run.json: expected a checkpoint of torch or safetensors"),
        ("run", "file/net.onnx", [], 1, "net.onnx: cannot be written (File exists); choose another place"),
        ("run", "net.onnx", ["--about", "none.json"], 2, "none.json: expected a JSON object for the card"),
    ],
)
@pytest.mark.usefixtures("instantly")
def test_what_cannot_be_exported_is_a_sentence(
    command, run, tmp_path, monkeypatch, source, output, options, code, sentence
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    done = command("export", source, "-o", output, *options)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("instantly")
def test_the_command_exports_what_enhance_takes(command, run, tmp_path):
    done = command("export", run.path, "-o", tmp_path / "mine.onnx")
    assert (done.code, done.err) == (0, "")
    assert re.search(r"mine\.onnx  0\.\d MB  [\d,]+ parameters  [\d.]+ kFLOP/px  overlap 16 px  parity 1e-07", done.out)
    mirnet.write_image(tmp_path / "a.png", np.full((9, 9, 3), 20, np.uint8))
    assert command("enhance", tmp_path / "a.png", "--weights", tmp_path / "mine.onnx", "--threads", "1").code == 0


def test_without_the_extra_the_line_that_installs_it_is_said(command, run, tmp_path, monkeypatch):
    monkeypatch.delattr("mirnet.export.onnx_export")
    monkeypatch.setitem(sys.modules, "mirnet.export.onnx_export", None)
    done = command("export", run.path, "-o", tmp_path / "mine.onnx")
    assert done.code == 2
    assert 'pip install "mirnet[train]"' in done.err
