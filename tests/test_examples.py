"""The example photos are labelled and credited, and the synthetic ones can be made again."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mirnet.exposure import to_linear


@pytest.fixture
def script(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """examples/make_dark_twins.py as a module."""
    specification = importlib.util.spec_from_file_location(
        "make_dark_twins", repository / "examples" / "make_dark_twins.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "make_dark_twins", module)  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def test_every_photo_has_its_label_and_its_credit(repository: Path) -> None:
    photos = {file.name for file in (repository / "examples").glob("*.jpg")}
    table = (repository / "examples" / "README.md").read_text()
    notice = (repository / "NOTICE").read_text()
    assert len(photos) >= 3
    assert [name for name in sorted(photos) if f"| `{name}` |" not in table or f"  {name} " not in notice] == []


def test_every_recipe_has_its_photo(repository: Path, script: ModuleType) -> None:
    assert [name for name in script.RECIPES if not (repository / "examples" / name).is_file()] == []


def test_a_darkened_image_loses_its_stops_and_is_the_same_every_time(script: ModuleType) -> None:
    original = np.full((64, 64, 3), 180, np.uint8)
    recipe = script.Recipe("grey.png", shrink=2, stops=3.0, shot=1e-5, read=1e-4)
    darkened = script.make(original, recipe, seed=5)
    light_lost = np.log2(to_linear(original / 255.0).mean() / to_linear(darkened / 255.0).mean())
    assert darkened.shape == (32, 32, 3)
    assert light_lost == pytest.approx(3.0, abs=0.05)
    assert np.array_equal(darkened, script.make(original, recipe, seed=5))
    assert not np.array_equal(darkened, script.make(original, recipe, seed=6))
