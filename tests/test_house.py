"""What the package promises as a whole: light to import, small to install, silent, and complete as a wheel."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

import mirnet
import mirnet.errors

MEGABYTE = 1e6
PHOTO = "examples/rocket-at-dusk.jpg"

# Imports every module of the inference half and those given, with the training half's packages out of reach.
LIGHT_IMPORT = """
import importlib, pkgutil, sys

for heavy in ("torch", "lightning_fabric", "safetensors", "onnx", "onnxscript", "matplotlib", "skimage", "imagehash"):
    sys.modules[heavy] = None  # an import of it now raises ImportError

import mirnet, mirnet.cli, mirnet.inference

for package in (mirnet.cli, mirnet.inference):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)  # type: ignore[call-overload, no-any-return]


def private_environment(home: Path) -> dict[str, str]:
    """A user's environment: no CI (which would silence some telemetry by itself), nothing in HOME, nothing of ours."""
    home.mkdir()
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}


def import_lightly(*more: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-c", LIGHT_IMPORT, "mirnet.images", "mirnet.metrics", "mirnet.exposure", *more)


def test_the_inference_half_imports_without_torch() -> None:
    imported = import_lightly("mirnet.cli.main")
    assert imported.returncode == 0, imported.stderr


def test_the_test_above_can_fail() -> None:
    imported = import_lightly("mirnet.network")
    assert imported.returncode != 0
    assert "torch" in imported.stderr.splitlines()[-1]


def test_the_public_names_are_these() -> None:
    errors = {name for name, value in vars(mirnet.errors).items() if isinstance(value, type)}
    doors = {"enhance", "Enhancer", "read_image", "write_image", "list_weights", "__version__"}
    assert set(mirnet.__all__) == doors | errors
    assert all(hasattr(mirnet, name) for name in mirnet.__all__)


def test_the_version_is_said_once(repository: Path) -> None:
    written = re.compile(rf"""["']{re.escape(mirnet.__version__)}["']""")
    files = [repository / "pyproject.toml", *(repository / "src").rglob("*.py")]
    assert [file.name for file in files if written.search(file.read_text())] == ["_version.py"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the working tree without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    source = Path(__file__).resolve().parent.parent
    built = run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, give_up: Callable[[str], NoReturn]) -> Path:
    """An environment with the base dependencies and that wheel, as a user would have it."""
    folder = Path(__file__).resolve().parent.parent / ".venv-wheel"
    if not (folder / ".installed").exists():
        give_up(f"{folder} is missing; scripts/test makes it")
    pip = (folder / "bin/python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--force-reinstall")
    done = run(*pip, "--disable-pip-version-check", wheel)
    assert done.returncode == 0, done.stderr
    return folder


def site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


@pytest.mark.parametrize(
    "file",
    ["py.typed", *(f"weights/{name}.{kind}" for name in ("lite", "free", "denoise") for kind in ("onnx", "json"))],
)
def test_the_wheel_carries(installed: Path, file: str) -> None:
    assert (site_packages(installed) / "mirnet" / file).is_file()


def test_the_wheel_enhances_a_photo(installed: Path, repository: Path, tmp_path: Path) -> None:
    output = tmp_path / "bright.jpg"
    environment = private_environment(tmp_path / "home")
    program = installed / "bin/mirnet"
    done = run(program, "enhance", repository / PHOTO, "-o", output, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert mirnet.read_image(output).shape == mirnet.read_image(repository / PHOTO).shape
    assert mirnet.read_image(output).mean() > mirnet.read_image(repository / PHOTO).mean()


def test_the_module_is_the_command_line(installed: Path, tmp_path: Path) -> None:
    done = run(installed / "bin/python", "-m", "mirnet", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "enhance" in done.stdout


def test_the_base_install_is_at_most_350_megabytes(installed: Path) -> None:
    """site-packages, weights included, without pip and setuptools."""
    ours = [entry for entry in site_packages(installed).iterdir() if not re.match(r"(pip|setuptools)\b", entry.name)]
    files = [file for entry in ours for file in ([entry] if entry.is_file() else entry.rglob("*"))]
    assert sum(file.stat().st_size for file in files if file.is_file()) <= 350 * MEGABYTE


def connections(trace: str) -> list[str]:
    """The connect() calls in strace's words that were not to a socket in the file system."""
    return [line for line in trace.splitlines() if "connect(" in line and "sa_family=AF_UNIX" not in line]


@pytest.mark.parametrize(
    "command",
    [["enhance", PHOTO, "-o", "OUTPUT"], ["info"], ["weights"]],
    ids=lambda command: command[0],
)
def test_nothing_leaves_and_nothing_stays(
    require_tool: Callable[[str], str], installed: Path, repository: Path, tmp_path: Path, command: list[str]
) -> None:
    strace = require_tool("strace")
    home, trace = tmp_path / "home", tmp_path / "trace"
    environment = private_environment(home)
    arguments = [str(tmp_path / "bright.jpg") if part == "OUTPUT" else part for part in command]
    watched = (strace, "-f", "-o", trace, "-e", "trace=connect", installed / "bin/mirnet")
    done = run(*watched, *arguments, env=environment, cwd=repository)
    assert done.returncode == 0, done.stderr
    assert connections(trace.read_text()) == []
    files = [path.relative_to(home) for path in home.rglob("*") if not path.is_dir()]
    assert {str(file.parent) for file in files} <= {f".cache/mirnet/compiled/{mirnet.__version__}"}
    assert bool(files) == (command[0] == "enhance")  # compiled networks; what they hold, test_compiled_cache.py asks


def test_strace_sees_a_connection(require_tool: Callable[[str], str], tmp_path: Path) -> None:
    """The twin of the test above: what it looks for is found where it is."""
    trace = tmp_path / "trace"
    knock = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"
    run(require_tool("strace"), "-f", "-o", trace, "-e", "trace=connect", sys.executable, "-c", knock)
    assert len(connections(trace.read_text())) == 1


# What module-level assignments may call: it makes a constant, asks nothing of the machine and changes nothing.
MAKES_CONSTANTS = {
    "AugmentedView", "CropMix", "Format", "LiteConfig", "MIRNetConfig", "MIRNetV2Config", "Option", "Panel", "Path",
    "Recipe", "Silent", "Stage", "TrainSettings", "TypeVar", "View", "bytes", "bytes.fromhex", "frozenset",
    "itertools.product", "logging.getLogger", "np.array", "range", "re.compile", "str.encode", "torch.tensor", "tuple",
    "typer.Argument", "typer.Option", "typer.Typer",
    "FORMATS.items", "_between", "_limits", "getattr", "find_format", "describe_setting",
    "len", "openapi.text", "setting_info",
}  # fmt: skip


def calls_of(statement: ast.stmt) -> set[str]:
    """The names of what a statement calls; a method of a literal string counts as one of `str`."""
    calls = (each.func for each in ast.walk(statement) if isinstance(each, ast.Call))
    return {f"str.{each.attr}" if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Constant)
               else ast.unparse(each) for each in calls}  # fmt: skip


def only_defines(statement: ast.stmt) -> bool:
    """Whether a module-level statement is of a kind that defines; what an assignment calls is looked at elsewhere."""
    match statement:
        case ast.Assign(targets=targets):
            return all(isinstance(target, ast.Name | ast.Tuple) for target in targets)  # not os.environ["X"] = ...
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target):
            return isinstance(target, ast.Name)
        case ast.If(test=test):
            return ast.unparse(test) in ("TYPE_CHECKING", "__name__ == '__main__'")
        case ast.Try(body=body):
            return all(isinstance(each, ast.Import | ast.ImportFrom) for each in body)
    kinds = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Expr
    return isinstance(statement, kinds)


def test_importing_the_package_only_defines(repository: Path) -> None:
    """No print, no thread setting, no environment variable, no exit at a module's top level, assigned or not."""
    computed = {
        f"{file.relative_to(repository)}:{statement.lineno} calls {name}"
        for file in (repository / "src").rglob("*.py")
        for statement in ast.parse(file.read_text()).body
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign)
        for name in calls_of(statement) - MAKES_CONSTANTS
    }
    assert sorted(computed) == []
    offenders = [
        f"{file.relative_to(repository)}:{statement.lineno}"
        for file in (repository / "src").rglob("*.py")
        for statement in ast.parse(file.read_text()).body
        if not only_defines(statement) or (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call))
    ]
    # the command line hands its commands to typer as they are defined
    assert [place for place in offenders if "/mirnet/cli/" not in place] == []
