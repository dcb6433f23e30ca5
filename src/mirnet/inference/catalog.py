"""`Weights` and their `Card`: which weights are installed, where they are stored, and what their card states.

Weights are two files of one stem: NAME.onnx, the network, and NAME.json, its card. Nothing else passes from training to
inference.
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
CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")  # suffixes of files that must be exported first


@dataclass(frozen=True)
class Card:
    """What a weights file is, what it was made from, and what it can and cannot do."""

    name: str
    architecture: str  # of mirnet.network.checkpoints
    config: dict[str, Any]
    sha256: str  # of the ONNX file
    takes_exposure: bool
    size_multiple: int  # of the height and width of the graph's inputs
    overlap_px: int  # of tiles, with which they equal the whole image to 4e-4, as measured at export
    scene_size: int  # numbers in a scene vector
    parameters: int
    kflop_per_px: float  # two for each multiply-add, at 512x512, without the exposure head
    denoise_at_zero_stops: float = 1.0  # the share of the denoising that `denoise auto` applies at 0 proposed stops
    data: list[dict[str, str]] = field(default_factory=list)  # name and licence of each
    protocol: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    export: dict[str, float] = field(default_factory=dict)  # differences measured at export
    fast: dict[str, dict[str, Any]] = field(default_factory=dict)  # by "bf16" and "int8": what each loses
    uses: dict[str, dict[str, Any]] = field(default_factory=dict)  # named settings
    known_failures: list[str] = field(default_factory=list)
    licence: str = ""
    source: str = ""
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Weights:
    """An ONNX file with its card; `read_verified` reads the file and checks it against the card."""

    path: Path
    card: Card

    def read_verified(self) -> bytes:
        """The bytes of the ONNX file. Raises WeightsError where their SHA-256 is not that of the card."""
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
    """The weights that are installed with the package, sorted by name."""
    return [read(path) for path in _installed()]


def find(name_or_path: str | Path) -> Weights:
    """Find weights by the name of installed ones or by the path of an ONNX file with its card. Raises WeightsError."""
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
            raise WeightsError(f"{path}: is no exported weights file (its name ends in .onnx); expected {known}.")
        raise WeightsError(f'There are no weights named "{name_or_path}"; expected {known}.')
    return read(path)


def _installed() -> list[Path]:
    return sorted(FOLDER.glob("*.onnx"), key=lambda path: path.stem)  # NAME before NAME.int8


def find_int8(weights: Weights) -> Weights:
    """The int8 weights NAME.int8.onnx made of NAME.onnx, in the same folder. Raises SettingsError, WeightsError."""
    path = weights.path.with_suffix(".int8.onnx")
    if not path.is_file():
        raise SettingsError(
            f"{path}: expected int8 weights, which fast needs where the processor has no bf16; there are none. Make "
            "them (mirnet export --help), or leave fast out."
        )
    return read(path)


def read(path: Path) -> Weights:
    """Read the card of the ONNX file at `path`. Raises WeightsError where one of the two files is missing."""
    card_path = path.with_suffix(".json")
    for needed in (path, card_path):
        if not needed.is_file():
            raise WeightsError(f"{needed}: expected an ONNX file with its card NAME.json beside it; there is none.")
    return Weights(path, read_card(card_path))


def read_card(path: Path) -> Card:
    """Read the card at `path`. Raises WeightsError where it is no card or has a newer format."""
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
    wrong = _problems_of(content)
    if wrong:
        raise WeightsError(f"{path}: not a weights card of format {FORMAT}: {'; '.join(wrong)}. Export it again.")
    return Card(**content)


def _problems_of(content: dict[str, Any]) -> list[str]:
    """What is wrong with a JSON object that should be a card: one text for each field."""
    known = {f.name: f for f in fields(Card)}
    needed = [name for name, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    wrong = [f"{name} is missing" for name in needed if name not in content]
    wrong += [f"{name} is unknown" for name in content if name not in known]
    for name in content.keys() & known.keys():
        kind: Any = get_origin(known[name].type) or known[name].type
        if not isinstance(content[name], int | float if kind is float else kind):
            wrong.append(f"{name} is {content[name]!r}")
    return wrong
