"""Weights are found by name or path, and what is wrong with them is said in a sentence."""

import json

import numpy as np
import pytest

import mirnet
from mirnet.errors import WeightsError
from mirnet.inference import catalog


def changed(path, **said):
    """The weights at `path` with these words on their card; None takes one away."""
    card = json.loads(path.with_suffix(".json").read_text()) | said
    path.with_suffix(".json").write_text(json.dumps({name: value for name, value in card.items() if value is not None}))
    return path


def test_what_is_installed_is_listed_and_found_by_name():
    (found,) = [weights for weights in mirnet.list_weights() if weights.card.name == "lite"]
    assert catalog.find("lite") == found
    assert len(found.read_verified()) <= 8e6
    assert found.card.takes_exposure
    assert found.card.parameters <= 2e6
    assert found.card.kflop_per_px <= 110


@pytest.mark.parametrize("name", ["lite", "free", "denoise"])
def test_every_shipped_network_is_small_and_says_what_it_learnt_from_and_where_it_fails(name):
    found = catalog.find(name)
    assert found.card.name == name
    assert len(found.read_verified()) <= 8e6
    assert found.card.kflop_per_px <= 110
    assert found.card.scores
    assert found.card.protocol
    assert found.card.known_failures
    assert all(part["name"] and part["licence"] for part in found.card.data)


def test_what_is_called_free_saw_freely_licensed_photographs_alone():
    photographs = catalog.find("free").card.data
    assert len(photographs) == 104
    assert len({part["name"] for part in photographs}) == 104
    assert {part["licence"].split(" (")[0] for part in photographs} <= {
        "CC0 1.0", "public domain", "CC BY 2.0", "CC BY 3.0", "CC BY 3.0 US", "CC BY 4.0",
    }  # fmt: skip
    assert "LOL" not in json.dumps(photographs)


def test_a_picture_that_is_cropped_by_a_few_pixels_is_proposed_the_same_exposure(repository):
    enhancer, moved = mirnet.Enhancer(), []
    for path in sorted((repository / "examples").glob("*.jpg")):
        picture = mirnet.read_image(path)
        whole = enhancer.propose(picture)
        moved.append(max(abs(enhancer.propose(picture[px:, px:]) - whole) for px in (1, 2, 3, 5, 7)))
    assert np.mean(moved) < 0.025  # stops; 0.03 is a hundredth of the brightness, and a single look moved by 0.032


def test_the_weights_for_noise_leave_the_exposure_alone_without_being_told():
    enhancer, draw = mirnet.Enhancer("denoise"), np.random.default_rng(0)
    for brightness in (5, 60, 250):
        picture = draw.integers(0, brightness, (40, 60, 3), np.uint8)
        assert enhancer.propose(picture) == pytest.approx(0, abs=1e-6)
    (noise,) = [weights.card.uses["noise"] for weights in mirnet.list_weights() if weights.card.name == "lite"]
    assert mirnet.Enhancer(noise["weights"]).card == enhancer.card


def test_a_card_comes_back_from_its_file(fake_weights):
    weights = catalog.find(fake_weights(uses={"noise": {"denoise": 1}}, known_failures=["snow"]))
    assert catalog.Card(**json.loads(weights.card.to_json())) == weights.card
    assert weights.card.uses == {"noise": {"denoise": 1}}
    assert weights.read_verified() == b"no network"


@pytest.mark.parametrize("damage", [b"", b"no networ", b"no network and more"])
def test_a_damaged_file_is_refused(fake_weights, damage):
    path = fake_weights()
    path.write_bytes(damage)
    with pytest.raises(WeightsError, match=r"fake\.onnx: the checksum differs from its card's; .* Reinstall"):
        catalog.find(path).read_verified()


def test_a_newer_card_is_refused_before_anything_else_of_it_is_read(fake_weights):
    with pytest.raises(WeightsError, match=r"has format 2, this mirnet reads 1; update mirnet"):
        catalog.find(changed(fake_weights(), format=2, architecture=None, cloud=True))


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"overlap_px": None}, "overlap_px is missing"),
        ({"colour": "red"}, "colour is unknown"),
        ({"overlap_px": "many"}, "overlap_px is 'many'"),
        ({"data": {}}, "data is {}"),
        ({"format": "one"}, "a JSON object with a format"),
        ({"overlap_px": None, "colour": 1}, "overlap_px is missing; colour is unknown"),
    ],
)
def test_a_card_that_is_none_is_refused(fake_weights, said, sentence):
    with pytest.raises(WeightsError, match=sentence):
        catalog.find(changed(fake_weights(), **said))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_card_that_is_no_json_object_is_refused(fake_weights, content):
    path = fake_weights()
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(WeightsError, match=r"fake\.json: expected a weights card"):
        catalog.find(path)


@pytest.mark.parametrize("missing", [".onnx", ".json"])
def test_weights_are_two_files(fake_weights, missing):
    path = fake_weights()
    path.with_suffix(missing).unlink()
    with pytest.raises(WeightsError, match=rf"fake\{missing}: expected an ONNX file with its card"):
        catalog.find(path)


def test_an_unknown_name_is_answered_with_the_known_ones():
    known = r"denoise or free or lite or lite\.int8"
    with pytest.raises(WeightsError, match=rf'no weights named "large"; expected {known} or the path'):
        catalog.find("large")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".PTH"])
def test_a_checkpoint_is_answered_with_the_command_that_exports_it(suffix):
    with pytest.raises(WeightsError) as error:
        catalog.find(f"my runs/best{suffix}")
    assert f"`mirnet export 'my runs/best{suffix}' -o best.onnx`, then pass --weights best.onnx" in str(error.value)
