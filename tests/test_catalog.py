"""Weights are found by name or path, and what is wrong with them is said in a sentence."""

import json

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
    assert len(found.verified()) <= 8e6
    assert found.card.takes_exposure
    assert found.card.parameters <= 2e6
    assert found.card.kflop_per_px <= 110


def test_a_card_comes_back_from_its_file(fake_weights):
    weights = catalog.find(fake_weights(uses={"noise": {"denoise": 1}}, known_failures=["snow"]))
    assert catalog.Card(**json.loads(weights.card.to_json())) == weights.card
    assert weights.card.uses == {"noise": {"denoise": 1}}
    assert weights.verified() == b"no network"


@pytest.mark.parametrize("damage", [b"", b"no networ", b"no network and more"])
def test_a_damaged_file_is_refused(fake_weights, damage):
    path = fake_weights()
    path.write_bytes(damage)
    with pytest.raises(WeightsError, match=r"fake\.onnx: the checksum differs from its card's; .* Reinstall"):
        catalog.find(path).verified()


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
    with pytest.raises(WeightsError, match=r'no weights named "large"; expected lite or lite\.int8 or the path'):
        catalog.find("large")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".PTH"])
def test_a_checkpoint_is_answered_with_the_command_that_exports_it(suffix):
    with pytest.raises(WeightsError) as error:
        catalog.find(f"my runs/best{suffix}")
    assert f"`mirnet export 'my runs/best{suffix}' -o best.onnx`, then pass --weights best.onnx" in str(error.value)
