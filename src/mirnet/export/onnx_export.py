"""The export of a run folder or a checkpoint: NAME.onnx with its card NAME.json, all that inference needs of training.

An export also opens the file in a runtime of the inference half, because it promises that both halves agree.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from mirnet.errors import SettingsError, TrainingError, WeightsError
from mirnet.export.onnx_graph import to_onnx
from mirnet.export.weights_card import describe_origin, make_card
from mirnet.files import write_whole
from mirnet.inference import catalog
from mirnet.inference.catalog import Card
from mirnet.network import SceneNetwork, checkpoints, exported_weights
from mirnet.training.runs import card as cards
from mirnet.training.runs.folder import RunFolder


@dataclass(frozen=True)
class Exported:
    """Exported weights: the path of the ONNX file, and the card that lies beside it as NAME.json."""

    onnx: Path
    card: Card


def export(source: Path, target: Path, *, last: bool = False, about: Path | None = None) -> Exported:
    """Write the ONNX file `target` and its card from a run folder or a checkpoint file, ours or published.

    A run folder gives its best weights, with `last` its newest. The fields that a program cannot know (`card.WORDS`:
    licence, data, known failures) come from the run's `card.json`; a JSON file `about` of the same form overrides it.
    Raises WeightsError where `source` has no weights, SettingsError where a name or a JSON file is wrong, and
    TrainingError where OpenVINO and torch differ by more than 1e-4 or the files cannot be written.
    """
    if target.suffix != ".onnx":
        raise SettingsError(f"{target}: expected an output NAME.onnx; its card NAME.json goes beside it.")
    words = cards.read(about) if about else {}
    checkpoint = _find_checkpoint(source, last)
    network = checkpoints.load(checkpoint).eval()
    origin = cards.answered(describe_origin(source, checkpoint) | words)
    content = to_onnx(network)
    return write_exported(content, replace(make_card(network, content, target.stem), **origin), target)


def write_exported(content: bytes, card: Card, target: Path) -> Exported:
    """Write an ONNX file and its card beside it. Raises TrainingError where they cannot be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, content)
        write_whole(target.with_suffix(".json"), card.to_json().encode())
    except OSError as error:
        raise TrainingError(f"{target}: cannot be written ({error.strerror}); choose another place.") from error
    return Exported(target, card)


def read_exported(path: Path) -> SceneNetwork:
    """The torch network of the exported weights at `path`, rebuilt from the file and its card. Raises WeightsError."""
    weights = catalog.read(path)
    return exported_weights.read(weights.read_verified(), weights.card.architecture, weights.card.config, path)


def _find_checkpoint(source: Path, last: bool) -> Path:
    if source.is_file():
        if last:
            raise SettingsError(
                f"{source}: --last chooses among a run's checkpoints, and this is one file; leave it out."
            )
        return source
    if not source.is_dir():
        raise WeightsError(f"{source}: expected a run folder or a checkpoint file; there is none.")
    run = RunFolder(source)
    found = run.last() if last else run.best if run.best.exists() else None
    if found is None:
        raise WeightsError(
            f"{source}: expected a run folder with {'a checkpoint' if last else 'best.safetensors'}; train first."
        )
    return found
