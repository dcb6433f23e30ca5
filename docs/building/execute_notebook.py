"""Executes examples/train_from_scratch.ipynb and stores it with its outputs; about a minute.

    python docs/building/execute_notebook.py

Needs `pip install '.[train,dev]'`. Paths of temporary folders and times of execution are left out, and torch has one
thread, so that a second run changes little. Images are stored with 256 colours, a third of the bytes.
"""

import base64
import io
import os
import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "train_from_scratch.ipynb"
TEMPORARY = re.compile(r"/\S*/mirnet-\w{8}/")  # the folder that the notebook writes to


def execute(path: Path) -> None:
    """Runs all cells of the notebook at `path` in its folder and writes it back with their outputs."""
    os.environ["OMP_NUM_THREADS"] = "1"
    notebook = nbformat.read(path, as_version=4)
    folder = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=600, record_timing=False, resources=folder).execute()
    for output in [output for cell in notebook.cells for output in cell.get("outputs", [])]:
        if output.output_type == "stream":
            output.text = TEMPORARY.sub("/tmp/mirnet/", output.text)
        elif "image/png" in output.get("data", {}):
            output.data["image/png"] = with_256_colours(output.data["image/png"])
    notebook.metadata["language_info"] = {"name": "python"}  # without the version of the machine that ran it
    nbformat.write(notebook, path)


def with_256_colours(png: str) -> str:
    """A PNG file, base64, with a palette instead of full colour."""
    reduced = io.BytesIO()
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        image.convert("RGB").quantize(256).save(reduced, "png", optimize=True)
    return base64.b64encode(reduced.getvalue()).decode()


if __name__ == "__main__":
    execute(NOTEBOOK)
