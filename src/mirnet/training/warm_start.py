"""Warm start: initial weights from shipped weights, a run, or a checkpoint, ours or published."""

import hashlib
from pathlib import Path

import onnx
import torch
from torch import Tensor

from mirnet.errors import SettingsError, WeightsError
from mirnet.network import SceneNetwork, checkpoints
from mirnet.training.runs.folder import RunFolder

SHIPPED = Path(__file__).parents[1] / "weights"
NAMED = 5  # entries that a sentence names before it counts


def read(start: Path) -> dict[str, Tensor]:
    """The weights' entries. `start` is the name of shipped weights, a run folder (its best), or a file.

    Raises WeightsError.
    """
    path = find(start)
    return _exported(path) if path.suffix == ".onnx" else checkpoints.entries(checkpoints.load(path))


def _exported(path: Path) -> dict[str, Tensor]:
    """A checkpoint's weights have their own names in an exported file; names with a slash are a graph's constants."""
    weights = (tensor for tensor in onnx.load(path).graph.initializer if "/" not in tensor.name)
    return {tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for tensor in weights}


def find(start: Path) -> Path:
    """The file that `start` means: a checkpoint, or shipped weights as they were exported. Raises WeightsError."""
    if start.is_dir():
        run = RunFolder(start)
        found = run.best if run.best.exists() else run.last()
        if found is None:
            raise WeightsError(f"{start}: expected a run folder with weights to start from; it has none yet.")
        return found
    if not start.exists():
        shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.onnx")) if not path.stem.endswith(".int8")}
        if str(start) in shipped:
            return shipped[str(start)]
        known = ", ".join(shipped)
        raise WeightsError(f"{start}: expected a checkpoint, a run folder, or the name of shipped weights ({known}).")
    if start.suffix == ".onnx":
        raise WeightsError(f"{start}: an exported file; start from the checkpoint or run that it was made from.")
    return start


def described(start: Path) -> dict[str, str]:
    """The file and SHA-256 of the initial weights, as `run.json` states them."""
    path = find(start)
    return {"file": str(path.resolve()), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def copy_weights(network: SceneNetwork, entries: dict[str, Tensor], start: Path) -> list[str]:
    """Copy all entries that fit by name and shape into the network. Returns sentences that name the others.

    Raises SettingsError where nothing fits.
    """
    own = dict(network.named_parameters())  # what is tied stands once, in the file too
    known = dict(network.named_parameters(remove_duplicate=False))
    fitting = [name for name in own if name in entries and entries[name].shape == own[name].shape]
    if not fitting:
        raise SettingsError(f"{start}: none of its {len(entries)} weights fits this network; choose its --preset.")
    with torch.no_grad():
        for name in fitting:
            own[name].copy_(entries[name])
    left = {
        "stay as they were drawn, for the file lacks them": own.keys() - entries.keys(),
        "stay as they were drawn, for the file has them in another shape": (own.keys() & entries.keys()) - set(fitting),
        "of the file are not used, for this network has none of that name": entries.keys() - known.keys(),
    }
    return [f"{start}: {len(fitting)} of {len(own)} weights taken over.", *(
        f"{start}: {_some(names)} {what}." for what, names in left.items() if names
    )]  # fmt: skip


def _some(names: set[str]) -> str:
    shown = sorted(names)[:NAMED]
    return ", ".join(shown) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
