"""The figures of the docs are those that their scripts draw, from the shipped weights and the imports."""

import ast
import hashlib
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from mirnet.network import Lite, LiteConfig

SCRIPTS = ("make_figures", "panels", "recording", "diagrams")

pytestmark = pytest.mark.usefixtures("one_torch_thread")


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The modules of docs/figures by name, as the script imports them: from its own folder."""
    folder = str(Path(__file__).resolve().parent.parent / "docs" / "figures")
    sys.path.insert(0, folder)
    yield {name: importlib.import_module(name) for name in SCRIPTS}
    sys.path.remove(folder)
    for name in SCRIPTS:
        del sys.modules[name]


@pytest.fixture(scope="module")
def drawn(scripts: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all figures, small and from every sixth pixel."""
    folder = tmp_path_factory.mktemp("figures")
    scripts["make_figures"].DPI = 30
    scripts["make_figures"].main(folder, shrink=6)
    return folder


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)#:]+)\)", page.read_text())


def test_every_link_of_the_pages_leads_somewhere(repository: Path) -> None:
    pages = sorted((repository / "docs").rglob("*.md"))
    assert pages != []
    assert [f"{page.name}: {link}" for page in pages for link in links(page) if not (page.parent / link).exists()] == []


def test_the_script_draws_the_figures_that_the_page_shows_and_no_others(repository: Path, drawn: Path) -> None:
    shown = {
        Path(link).name for link in links(repository / "docs" / "how-it-works.md") if not link.endswith((".py", ".md"))
    }
    assert {file.name for file in drawn.iterdir()} == shown - {"lite.json"}
    assert [file.name for file in drawn.iterdir() if file.stat().st_size < 1000 and file.suffix != ".json"] == []


def test_the_figures_were_drawn_from_the_weights_that_are_shipped(repository: Path) -> None:
    made_from = json.loads((repository / "docs" / "figures" / "made-from.json").read_text())
    weights = repository / "src" / "mirnet" / "weights" / made_from["weights"]
    shipped = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert made_from["sha256"] == shipped, "other weights: run docs/figures/make_figures.py and read the page again"


def test_a_diagram_drawn_twice_is_the_same_file(scripts: dict[str, ModuleType]) -> None:
    assert scripts["diagrams"].skff() == scripts["diagrams"].skff()


def test_the_names_beside_those_of_the_keras_example_exist(repository: Path) -> None:
    page = (repository / "docs" / "how-it-works.md").read_text()
    names = re.findall(r"^\| `\w+` \| `(mirnet\.[\w.]+)`", page, re.MULTILINE)
    modules = {name: importlib.import_module(name.rpartition(".")[0]) for name in names if "build(" not in name}
    assert len(names) == 11
    assert [name for name, module in modules.items() if not hasattr(module, name.rpartition(".")[2])] == []


@pytest.fixture
def architecture(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """docs/figures/draw_architecture.py as a module."""
    monkeypatch.syspath_prepend(repository / "docs" / "figures")
    return importlib.import_module("draw_architecture")


def test_the_drawing_of_the_layers_is_that_of_the_imports(repository: Path, architecture: ModuleType) -> None:
    committed = (repository / "docs" / "figures" / "architecture.svg").read_text()
    assert architecture.draw(repository) == committed, "imports have changed: run docs/figures/draw_architecture.py"


def test_an_import_that_points_up_is_not_drawn(tmp_path: Path, repository: Path, architecture: ModuleType) -> None:
    for folder in ("cli", "service", "images"):
        (tmp_path / "src" / "mirnet" / folder).mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text((repository / "pyproject.toml").read_text())
    (tmp_path / "src" / "mirnet" / "service" / "app.py").write_text("from mirnet.images import reader\n")
    assert ">service</text>" in architecture.draw(tmp_path)
    (tmp_path / "src" / "mirnet" / "images" / "reader.py").write_text("def read():\n    import mirnet.cli\n")
    with pytest.raises(ValueError, match="up"):
        architecture.draw(tmp_path)


def test_every_folder_has_its_paragraph(repository: Path) -> None:
    page = (repository / "docs" / "architecture.md").read_text()
    folders = [each.name for each in (repository / "src" / "mirnet").iterdir() if each.is_dir()]
    assert [name for name in folders if not name.startswith("_") and f"**`{name}/`**" not in page] == []


def test_the_walks_name_what_their_files_define(repository: Path) -> None:
    page = (repository / "docs" / "architecture.md").read_text()
    walks = page[page.index("## Walk 1") :]
    named = re.findall(r"\]\(\.\./(src/\S+?\.py)\)[,\s]*\(?((?:`\w+`(?:, | and )?)+)", walks)
    pairs = [(file, name) for file, names in named for name in re.findall(r"`(\w+)`", names)]
    assert len(pairs) > 20
    defined = {file: set(re.findall(r"(?:def|class) (\w+)", (repository / file).read_text())) for file, _ in pairs}
    assert [(file, name) for file, name in pairs if name not in defined[file]] == []


def test_every_name_that_a_script_imports_of_mirnet_exists(repository: Path) -> None:
    """Benchmarks are run by hand, so that a renamed function would be missed."""
    scripts = [file for folder in ("benchmarks", "docs", "examples") for file in (repository / folder).rglob("*.py")]
    imports = [
        (file.name, node.module, alias.name)
        for file in scripts
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "mirnet"
        for alias in node.names
    ]
    assert len(imports) > 100
    missing = [each for each in imports if not hasattr(importlib.import_module(each[1]), each[2])]
    folders = {module: repository / "src" / module.replace(".", "/") for _, module, _ in missing}
    assert [each for each in missing if not (folders[each[1]] / f"{each[2]}.py").exists()] == []


@pytest.fixture(scope="module")
def tiny() -> Lite:
    torch.manual_seed(0)
    return Lite(LiteConfig(features=8, head_features=4)).eval()


@pytest.fixture
def photo(repository: Path) -> Path:
    return repository / "examples" / "cat-twin.jpg"


def test_recording_changes_nothing(scripts: dict[str, ModuleType], tiny: Lite, photo: Path) -> None:
    hooks = scripts["recording"]
    exposed = hooks.prepare(tiny, photo, shrink=8)
    before = hooks.restore(tiny, exposed)
    recording = hooks.record(tiny, exposed)
    for what in hooks.CONSTANTS:
        assert not torch.equal(hooks.restore_with_constant(tiny, exposed, what), before), what
    assert torch.equal(recording.restored, before)
    assert torch.equal(hooks.restore(tiny, exposed), before)


def test_what_is_recorded_is_what_the_network_computed(scripts: dict[str, ModuleType], tiny: Lite, photo: Path) -> None:
    hooks = scripts["recording"]
    recording = hooks.record(tiny, hooks.prepare(tiny, photo, shrink=8))
    mrb = tiny.restorer.trunk.rrgs[0].mrbs[0]  # type: ignore[union-attr,index]
    for fusion in recording.fusions.values():
        assert torch.allclose(fusion.weights.sum(0), torch.ones(1))
        assert torch.allclose(fusion.shares().sum(0), torch.ones(1))
    fused = recording.fusions["exchange.1"]
    by_hand = (torch.stack(fused.streams) * fused.weights[:, :, None, None]).sum(0)
    assert torch.allclose(by_hand, recording.modules["second.1"].input, atol=1e-6)
    body = mrb.second[1].body(by_hand[None])
    seen = torch.cat([body.amax(1, keepdim=True), body.mean(1, keepdim=True)], 1)
    weights = mrb.second[1].spatial.weigh(seen).sigmoid()[0, 0]
    assert torch.allclose(weights, recording.spatial["second.1"], atol=1e-6)
