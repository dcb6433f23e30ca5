"""A Jupyter notebook as Markdown for the docs site: its text, its code, and the outputs that are stored in it."""

from pathlib import Path
from typing import Any

import nbformat

FENCE = "`" * 8  # longer than any within


def notebook_as_markdown(path: Path) -> str:
    """Returns the Markdown of the notebook at `path`; images are embedded as data URLs."""
    parts: list[str] = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
        elif cell.cell_type == "code":
            parts.append(f"{FENCE}python\n{cell.source}\n{FENCE}")
            parts += [text for output in cell.outputs if (text := _output_as_markdown(output))]
    return "\n\n".join(parts) + "\n"


def _output_as_markdown(output: Any) -> str:
    """Markdown of one output: printed text or an image; "" for anything else."""
    if output.output_type == "stream":
        return f"{FENCE}text\n{output.text}\n{FENCE}"
    image = output.get("data", {}).get("image/png")
    return f"![Output of the cell above](data:image/png;base64,{''.join(image.split())})" if image else ""
