"""The notebook that trains from scratch runs as it is, learns something, and shows it."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from mirnet.network import checkpoints

NOTEBOOK = "train_from_scratch.ipynb"
STEPS = ("Load and prepare", "dimensions uniform", "Normalise", "Define the model", "Train", "result graphs")

# Run after the notebook's own cells: it prints the values that the tests check.
ASK = """
import json
print(json.dumps({"losses": losses, "psnr": {s: each.psnr for s, each in scores.items()}, "work": str(WORK)}))
"""


@dataclass(frozen=True)
class Executed:
    """The outputs of one run of the notebook."""

    outputs: list[Any]  # of all cells, in order
    values: dict[str, Any]  # what `ASK` printed

    @property
    def printed(self) -> str:
        return "".join(output.text for output in self.outputs if output.output_type == "stream")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Executed:
    """The notebook, executed in a copy of its folder; all that it writes is inside as well."""
    folder = tmp_path_factory.mktemp("notebook")
    copy = Path(shutil.copytree(Path(__file__).resolve().parent.parent / "examples", folder / "examples"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("TMPDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
            patch.setenv(name, str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")  # as in the fixture one_torch_thread
        notebook = nbformat.read(copy / NOTEBOOK, as_version=4)
        for cell in notebook.cells:
            cell.get("outputs", []).clear()
        notebook.cells.append(nbformat.v4.new_code_cell(ASK))
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(copy)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return Executed(outputs, json.loads(outputs[-1].text))


def committed(repository: Path) -> Any:
    return nbformat.read(repository / "examples" / NOTEBOOK, as_version=4)


def test_the_six_steps_are_in_order(repository: Path) -> None:
    prose = "\n".join(cell.source for cell in committed(repository).cells if cell.cell_type == "markdown")
    headings = [line for line in prose.splitlines() if line.startswith("## ") and line[3].isdigit()]
    assert [heading[3] for heading in headings] == list("123456")
    assert [step for step, heading in zip(STEPS, headings, strict=True) if step not in heading] == []


def test_the_notebook_is_stored_with_outputs_of_one_run(repository: Path) -> None:
    notebook = committed(repository)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert len([output for output in outputs if "image/png" in output.get("data", {})]) >= 6
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "31,787,419\n" in printed
    assert [path for path in re.findall(r"(?<!\w)/\S+", printed) if not path.startswith("/tmp/mirnet/")] == []


def test_the_text_counts_the_photos_that_there_are(repository: Path) -> None:
    words = {5: "five", 6: "six", 7: "seven"}
    photos = len(list((repository / "examples").glob("*.jpg")))
    prose = "\n".join(cell.source for cell in committed(repository).cells if cell.cell_type == "markdown")
    assert f"{words[photos]} photos instead of hundreds" in prose
    assert f"other {words[photos - 1]} images" in prose


def test_the_loss_falls_and_the_scene_held_out_comes_closer(executed: Executed) -> None:
    losses = np.array(executed.values["losses"])
    psnr = list(executed.values["psnr"].values())
    assert losses[-10:].mean() < losses[:10].mean() / 2
    assert np.mean(psnr[-3:]) > psnr[0] + 6


def test_every_cell_runs_without_a_warning(executed: Executed) -> None:
    assert [o.text for o in executed.outputs if o.output_type == "stream" and o.name == "stderr"] == []


def test_images_are_displayed_and_the_graphs_are_kept(executed: Executed) -> None:
    shown = [output for output in executed.outputs if "image/png" in output.get("data", {})]
    kept = {file.name for file in Path(executed.values["work"]).glob("*.png")}
    assert len(shown) >= 6
    assert kept == {"curves.png", "trained-on.png", "held-out.png"}


def test_its_numbers_are_those_of_the_network_that_it_saves(executed: Executed) -> None:
    network = checkpoints.load(Path(executed.values["work"]) / "tiny.safetensors")
    assert f"{sum(p.numel() for p in network.parameters()):,}\n" in executed.printed
    assert "31,787,419\n" in executed.printed
