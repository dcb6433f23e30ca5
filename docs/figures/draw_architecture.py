"""Draws docs/figures/architecture.svg: the folders of src/mirnet in their layers, with an arrow for each import.

    python docs/figures/draw_architecture.py

The layers are those of import-linter's contract in pyproject.toml; the imports are read from the source with `ast`,
without importing it. An arrow that follows from others (cli to images by way of inference) is left out. A dashed arrow
is an import inside a function: it happens only when that function runs.
"""

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GROUND = "ground"  # the modules that lie in src/mirnet itself, drawn as one box
COLUMN = {"inference": 0, "batch": 0, "service": 0, "evaluation": 1.1, "network": 2, "datasets": 2, "training": 2,
          "export": 2}  # fmt: skip
DEFAULT_COLUMN = 1
BOX_WIDTH, BOX_HEIGHT, ROW, COLUMN_WIDTH, MARGIN = 170, 38, 74, 250, 20
INFERENCE_FILL, TRAINING_FILL, SHARED_FILL = "#D6E8F4", "#FBECC9", "#EDEDED"
TRAINING_HALF = {"network", "datasets", "training", "export"}


@dataclass(frozen=True)
class Import:
    """An import of the folder `target` in the folder `source`."""

    source: str
    target: str
    at_module_level: bool


def read_layers(repository: Path) -> list[list[str]]:
    """The folders of each layer, from the top to the ground; all modules of src/mirnet itself are the ground."""
    contracts = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = [[part.strip().removeprefix("mirnet.") for part in layer.replace(":", "|").split("|")] for layer in layers]
    folders = [[part for part in layer if (repository / "src" / "mirnet" / part).is_dir()] for layer in named]
    return [*[layer for layer in folders if layer], [GROUND]]


def read_imports(repository: Path) -> list[Import]:
    """All imports between folders of src/mirnet; of several between two folders, one at module level counts."""
    package = repository / "src" / "mirnet"
    found: dict[tuple[str, str], bool] = {}
    for file in sorted(package.rglob("*.py")):
        source = _folder_of(file.relative_to(package).parts)
        if file.parent == package and file.stem in ("__init__", "__main__"):
            continue  # the public names, loaded when they are used
        for target, at_module_level in _imported_folders(ast.parse(file.read_text()), package):
            if target != source:
                found[source, target] = found.get((source, target), False) or at_module_level
    return [Import(source, target, level) for (source, target), level in sorted(found.items())]


def _folder_of(parts: tuple[str, ...]) -> str:
    return parts[0] if len(parts) > 1 else GROUND


def _imported_folders(module: ast.Module, package: Path) -> list[tuple[str, bool]]:
    """The folder of each import of `mirnet` in a module, and whether it is at module level."""
    inside = {id(node) for function in ast.walk(module) if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
              for node in ast.walk(function)}  # fmt: skip
    typing_only = {id(node) for block in ast.walk(module)
                   if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
                   for node in ast.walk(block)}  # fmt: skip
    imports: list[tuple[str, bool]] = []
    for node in ast.walk(module):
        if id(node) in typing_only:
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "mirnet" else [f"mirnet.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        parts = [name.split(".") for name in names if name.startswith("mirnet.")]
        folders = [part[1] if (package / part[1]).is_dir() else GROUND for part in parts]
        imports += [(folder, id(node) not in inside) for folder in folders]
    return imports


def without_implied(imports: list[Import]) -> list[Import]:
    """The imports but for those that follow from others: source to target by way of a third folder."""
    targets = {each.source: {other.target for other in imports if other.source == each.source} for each in imports}

    def reaches(source: str, target: str) -> bool:
        return any(step == target or reaches(step, target) for step in targets.get(source, ()))

    return [each for each in imports
            if not any(reaches(step, each.target) for step in targets[each.source] - {each.target})]  # fmt: skip


def draw(repository: Path) -> str:
    """The diagram as SVG text; the same imports and layers give the same text."""
    layers = read_layers(repository)
    row_of = {folder: row for row, layer in enumerate(layers) for folder in layer}
    middles = {folder: (MARGIN + BOX_WIDTH / 2 + COLUMN.get(folder, DEFAULT_COLUMN) * COLUMN_WIDTH,
                        MARGIN + BOX_HEIGHT / 2 + row * ROW) for folder, row in row_of.items()}  # fmt: skip
    imports = read_imports(repository)
    upward = [each for each in imports if row_of[each.target] <= row_of[each.source] and not _is_exception(each)]
    if upward:
        raise ValueError(f"Imports that point up: {upward}")
    width, height = 2 * MARGIN + BOX_WIDTH + 2 * COLUMN_WIDTH, 2 * MARGIN + BOX_HEIGHT + (len(layers) - 1) * ROW
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="#555"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#FFFFFF"/>',
        *(_arrow(each, middles) for each in without_implied(imports)),
        *(_box(folder, middle) for folder, middle in middles.items()),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _is_exception(each: Import) -> bool:
    """The torch runtime imports the network, inside its constructor."""
    return (each.source, each.target, each.at_module_level) == ("inference", "network", False)


def _box(folder: str, middle: tuple[float, float]) -> str:
    x, y = middle
    fill = TRAINING_FILL if folder in TRAINING_HALF else INFERENCE_FILL if COLUMN.get(folder) == 0 else SHARED_FILL
    left, top = x - BOX_WIDTH / 2, y - BOX_HEIGHT / 2
    return (f'<rect x="{left:g}" y="{top:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" fill="{fill}" '
            f'stroke="#222"/><text x="{x:g}" y="{y + 5:g}" text-anchor="middle">{folder}</text>')  # fmt: skip


def _arrow(each: Import, middles: dict[str, tuple[float, float]]) -> str:
    """A curve between two boxes: from lower to upper edge if one is below the other, else from side to side."""
    (x0, y0), (x1, y1) = middles[each.source], middles[each.target]
    dashes = "" if each.at_module_level else ' stroke-dasharray="5 4"'
    if abs(x1 - x0) < BOX_WIDTH:
        start, end = y0 + BOX_HEIGHT / 2, y1 - BOX_HEIGHT / 2
        bend = BOX_WIDTH * 0.75 if y1 - y0 > ROW else 0  # around boxes between
        path = f"M{x0:g} {start:g} C{x0 + bend:g} {start + 30:g} {x1 + bend:g} {end - 30:g} {x1:g} {end:g}"
    else:
        side = 1 if x1 > x0 else -1
        start, end = x0 + side * BOX_WIDTH / 2, x1 - side * BOX_WIDTH / 2
        reach = side * (0 if y0 == y1 else 50)
        path = f"M{start:g} {y0:g} C{start + reach:g} {y0:g} {end - reach:g} {y1:g} {end:g} {y1:g}"
    return f'<path d="{path}" fill="none" stroke="#555" stroke-width="1.3" marker-end="url(#tip)"{dashes}/>'


def main() -> None:
    """Writes the diagram beside this file."""
    Path(__file__).with_name("architecture.svg").write_text(draw(REPOSITORY))


if __name__ == "__main__":
    main()
