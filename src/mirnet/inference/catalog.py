"""Which weights exist, where they lie, and what their card promises.

Weights are two files of one stem: NAME.onnx, the network, and NAME.json, its card. Together they are
the waist between training and inference: nothing else passes from one to the other.
"""

import hashlib
import json
import shlex
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, get_origin

from mirnet.errors import SettingsError, WeightsError

FORMAT = 1
FOLDER = Path(__file__).parent.parent / "weights"
CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")  # suffixes of what is exported first


@dataclass(frozen=True)
class Card:
    """What a weights file is, what it was made from, and what it can and cannot do."""

    name: str
    architecture: str  # of mirnet.network.checkpoints
    config: dict[str, Any]
    sha256: str  # of the ONNX file
    takes_exposure: bool
    size_multiple: int  # of the height and width of what the graph takes
    overlap_px: int  # by which tiles must overlap to equal the whole picture to 4e-4, as measured at export
    scene_size: int  # numbers in a scene
    parameters: int
    kflop_per_px: float  # two for each multiply-add, at 512x512, exposure head apart
    denoise_at_zero_stops: float = 1.0  # the share that `denoise auto` keeps where nothing was brightened
    data: list[dict[str, str]] = field(default_factory=list)  # name and licence of each
    protocol: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    export: dict[str, float] = field(default_factory=dict)  # differences measured at export
    fast: dict[str, dict[str, Any]] = field(default_factory=dict)  # of "bf16" and "int8": what each loses
    uses: dict[str, dict[str, Any]] = field(default_factory=dict)  # named settings
    known_failures: list[str] = field(default_factory=list)
    licence: str = ""
    source: str = ""
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Weights:
    """An ONNX file whose card has been read; `verified` reads the file and checks it against the card."""

    path: Path
    card: Card

    def verified(self) -> bytes:
        """The ONNX file's bytes. Raises WeightsError where they are not what the card says."""
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise WeightsError(f"{self.path}: the weights file cannot be read ({error.strerror}).") from error
        if hashlib.sha256(content).hexdigest() != self.card.sha256:
            raise WeightsError(
                f"{self.path}: the checksum differs from its card's; the file is damaged or from another release. "
                "Reinstall mirnet or pass --weights PATH."
            )
        return content


def list_weights() -> list[Weights]:
    """The weights that came with the package, by name."""
    return [read(path) for path in _installed()]


def find(name_or_path: str | Path) -> Weights:
    """Weights by the name of installed ones, or by the path of an ONNX file with its card. Raises WeightsError."""
    installed = [path.stem for path in _installed()]
    if str(name_or_path) in installed:
        return read(FOLDER / f"{name_or_path}.onnx")
    path = Path(name_or_path)
    if path.suffix.lower() in CHECKPOINTS:
        exported = shlex.quote(f"{path.stem}.onnx")
        raise WeightsError(
            f"{path}: is a checkpoint; expected exported weights. Run `mirnet export {shlex.quote(str(path))} -o "
            f"{exported}`, then pass --weights {exported}."
        )
    if path.suffix.lower() != ".onnx":
        known = " or ".join([*installed, "the path of an .onnx file"])
        if path.is_file():
            raise WeightsError(f"{path}: is no exported weights file, whose name ends in .onnx; expected {known}.")
        raise WeightsError(f'There are no weights named "{name_or_path}"; expected {known}.')
    return read(path)


def _installed() -> list[Path]:
    return sorted(FOLDER.glob("*.onnx"), key=lambda path: path.stem)  # NAME before NAME.int8


def int8_of(weights: Weights) -> Weights:
    """The int8 weights NAME.int8.onnx, which were made of NAME.onnx and lie beside it. SettingsError, WeightsError."""
    path = weights.path.with_suffix(".int8.onnx")
    if not path.is_file():
        raise SettingsError(
            f"{path}: expected int8 weights, which fast needs where bf16 is none; there are none. Make them "
            f"(mirnet export --help), or leave fast out."
        )
    return read(path)


def read(path: Path) -> Weights:
    """The weights at `path` (an ONNX file), with their card. Raises WeightsError."""
    card_path = path.with_suffix(".json")
    for needed in (path, card_path):
        if not needed.is_file():
            raise WeightsError(f"{needed}: expected an ONNX file with its card NAME.json beside it; there is none.")
    return Weights(path, read_card(card_path))


def read_card(path: Path) -> Card:
    """The card at `path`. Raises WeightsError where it is no card, or of a newer format."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: expected a weights card in JSON; it cannot be read ({error}).") from error
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise WeightsError(f"{path}: expected a weights card, a JSON object with a format; this is something else.")
    if content["format"] > FORMAT:
        raise WeightsError(
            f"{path}: the card has format {content['format']}, this mirnet reads {FORMAT}; update mirnet."
        )
    wrong = _differences(content)
    if wrong:
        raise WeightsError(f"{path}: not a weights card of format {FORMAT}: {'; '.join(wrong)}. Export it again.")
    return Card(**content)


def _differences(content: dict[str, Any]) -> list[str]:
    """What keeps a JSON object from being a card."""
    known = {f.name: f for f in fields(Card)}
    needed = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    wrong = [f"{name} is missing" for name in needed if name not in content]
    wrong += [f"{name} is unknown" for name in content if name not in known]
    for name in content.keys() & known.keys():
        kind: Any = get_origin(known[name].type) or known[name].type
        if not isinstance(content[name], int | float if kind is float else kind):
            wrong.append(f"{name} is {content[name]!r}")
    return wrong
