"""Networks to and from files: our safetensors with their config in the header, and other people's checkpoints."""

import io
import json
import pickle
import pickletools
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from mirnet.errors import SettingsError, WeightsError
from mirnet.files import write_whole
from mirnet.network import Config, LiteConfig, MIRNetConfig, MIRNetV2Config, SceneNetwork, from_config, published

FORMAT = 1
ARCHITECTURES: dict[str, type[Config]] = {"lite": LiteConfig, "mirnet": MIRNetConfig, "mirnet-v2": MIRNetV2Config}

# Where training programs put the weights, in the order of search: an average before what it averages.
WRAPPERS = ("model_state_dict", "state_dict", "params_ema", "params-ema", "params", "model", "net")
PREFIXES = ("module.", "netG.")  # what several GPUs, or a pair of networks, put before every name

# First bytes of files that people hand over instead of a checkpoint.
_OTHER_FILES = (
    (b"\x80", "a plain Python pickle, which could run code"),
    (b"<", "a web page, so the download did not succeed"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself with `git lfs pull`"),
    (b"\x89HDF", "an HDF5 file, as Keras writes them; Keras' MIRNet computes something else and cannot be converted"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
)


def load(path: str | Path) -> SceneNetwork:
    """The network in a checkpoint: ours (safetensors), or a published one of MIRNet or MIRNetv2.

    Of a training checkpoint it is the moving average, where there is one. No code in the file is
    run. Raises WeightsError with what the file looks like instead, and which entries differ.
    """
    path = Path(path)
    kind = _kind(path)
    if kind == "torch":
        return _from_published(_unwrapped(_read_torch(path), path), path)
    header, tensors = _read_safetensors(path)
    if header is None:
        return _from_published(_unwrapped(tensors, path), path)
    return assemble(config_of(header, path), _weights(tensors), path)


def save(network: SceneNetwork, path: str | Path) -> None:
    """Write a network, with its config, as safetensors; written beside `path` and renamed into place. WeightsError."""
    path = Path(path)
    try:
        write_whole(path, to_bytes(entries(network), describe(network.config)))  # type: ignore[arg-type]
    except OSError as error:
        raise WeightsError(f"{path}: the weights cannot be written there ({error.strerror}).") from error


def describe(config: Config) -> dict[str, object]:
    """A config as plain data, with its architecture's name."""
    (name,) = (name for name, kind in ARCHITECTURES.items() if type(config) is kind)
    return {"architecture": name, "config": asdict(config)}


def config_of(description: Mapping[str, Any], source: object) -> Config:
    """The config that `describe` made plain. Raises WeightsError, which names `source`."""
    name, values = description.get("architecture"), description.get("config")
    if name not in ARCHITECTURES or not isinstance(values, dict):
        known = ", ".join(ARCHITECTURES)
        raise WeightsError(f'{source}: is of the architecture "{name}"; this mirnet knows {known}. Update mirnet.')
    try:
        return ARCHITECTURES[name](**values)
    except (TypeError, SettingsError) as error:
        raise WeightsError(f"{source}: its config {values} is none of {name} ({error}). Update mirnet.") from error


def entries(network: SceneNetwork) -> dict[str, Tensor]:
    """All weights by name; what is tied stands once, under its first name."""
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def assemble(config: Config, tensors: Mapping[str, Tensor], source: object) -> SceneNetwork:
    """The network of a config with the weights of `entries`. Raises WeightsError, which names `source`."""
    network = from_config(config)
    wanted = {name: [parameter] for name, parameter in entries(network).items()}
    _compare(wanted, tensors, f"{source}: says that it is {describe(config)['architecture']}")
    _fill(wanted, tensors)
    return network


def to_bytes(tensors: dict[str, Tensor], header: dict[str, object]) -> bytes:
    """A safetensors file; `header` is JSON in its metadata."""
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(contiguous, {"mirnet": json.dumps({"format": FORMAT, **header}, sort_keys=True)})


def read_own(path: Path) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Header and tensors of a file of ours. Raises WeightsError."""
    header, tensors = _read_safetensors(path)
    if header is None:
        raise WeightsError(f"{path}: a safetensors file without mirnet's header; convert it with `mirnet export`.")
    return header, tensors


def _read_safetensors(path: Path) -> tuple[dict[str, object] | None, dict[str, Tensor]]:
    """Header (None in a file that is not ours) and tensors. Raises WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("mirnet", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no dict
    except (SafetensorError, OSError, ValueError) as error:  # ValueError: the header is no JSON
        raise WeightsError(
            f"{path}: expected a safetensors file of mirnet; this one cannot be read ({error}). "
            "It is damaged or incomplete; fetch it again."
        ) from error
    if not isinstance(header, dict):
        return None, tensors
    if header.get("format") != FORMAT:
        raise WeightsError(f"{path}: has format {header.get('format')}, this mirnet reads {FORMAT}; update mirnet.")
    return header, tensors


def _weights(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A network's own entries, without those of a training checkpoint's optimiser."""
    kept: dict[str, Tensor] = {}
    for group in ("network/", "average/"):  # the average, where there is one, takes the place of the last step's
        kept |= {name.removeprefix(group): tensor for name, tensor in tensors.items() if name.startswith(group)}
    return kept or tensors


def _kind(path: Path) -> str:
    """Tells "safetensors" from "torch" by content. Raises WeightsError for everything else."""
    if path.is_dir():
        raise WeightsError(f"{path}: expected a checkpoint file, this is a folder; name the file in it.")
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise WeightsError(f"{path}: the checkpoint cannot be opened ({error.strerror}).") from error
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return "safetensors"
    if head.startswith((b"PK\x03\x04", b"\x80\x02")):  # what torch.save writes, and wrote before 2020
        return "torch"
    if path.suffix == ".safetensors":
        return "safetensors"  # it cannot be, but it says so; reading it says what is wrong
    raise WeightsError(f"{path}: expected a checkpoint of torch or safetensors; this is {_look(path, head)}.")


def _look(path: Path, head: bytes) -> str:
    """What a file that is no checkpoint looks like, for the end of a sentence."""
    if not head:
        return "an empty file"
    # an ONNX file starts with its version, and goes on with its producer, opsets or graph
    if path.suffix == ".onnx" or (head[:1] == b"\x08" and head[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a", b"\x42")):
        return "an ONNX file, which is what checkpoints are converted to; give it to `mirnet enhance --weights`"
    return next((look for start, look in _OTHER_FILES if head.lstrip().startswith(start)), "no checkpoint at all")


def _read_torch(path: Path) -> object:
    """What torch.save wrote, as far as it is tensors and plain values. Raises WeightsError."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # any at all: a damaged pickle fails in as many ways as a pickle has instructions
        raise WeightsError(f"{path}: {_refusal(path, error)}") from error


def _refusal(path: Path, error: Exception) -> str:
    foreign = [name for name in _classes(path) if not _harmless(name)]
    advice = "To convert it, load it where you trust it, `torch.save` its state_dict() alone, and give that."
    if any(name.startswith("torch.nn.") for name in foreign):
        return f"is a whole module pickled by torch ({_some(foreign)}), and loading it would run its code. {advice}"
    if isinstance(error, pickle.UnpicklingError) and foreign:
        return f"holds more than tensors ({_some(foreign)}), and loading that could run code. {advice}"
    if "TorchScript" in str(error):
        return f"is a TorchScript archive, not a checkpoint. {advice}"
    reason = str(error).partition("\n")[0].partition(". ")[0]
    return f"expected a checkpoint that torch can read; it is damaged, incomplete or of another kind ({reason})."


def _classes(path: Path) -> list[str]:
    """The classes and functions that a pickle of torch's names, read without running it; [] where it is unreadable."""
    try:
        operations = [operation for content in _pickles(path) for operation in _operations(content)]
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return []
    found = [str(argument).replace(" ", ".") for opcode, argument in operations if opcode == "GLOBAL"]
    return list(dict.fromkeys(found))


def _pickles(path: Path) -> list[bytes]:
    if not zipfile.is_zipfile(path):
        return [path.read_bytes()]
    with zipfile.ZipFile(path) as archive:
        return [archive.read(name) for name in archive.namelist() if name.endswith("data.pkl")]


def _operations(content: bytes) -> Iterable[tuple[str, object]]:
    """The instructions of the pickles at the start of `content`: up to four in a row, as torch wrote before 2020."""
    file = io.BytesIO(content)
    for _ in range(4):
        yield from ((opcode.name, argument) for opcode, argument, _ in pickletools.genops(file))
        if content[file.tell() : file.tell() + 1] != b"\x80":
            break


def _harmless(name: str) -> bool:
    return name == "collections.OrderedDict" or (name.startswith("torch.") and not name.startswith("torch.nn."))


def _unwrapped(loaded: object, path: Path) -> dict[str, Tensor]:
    """The named tensors in a checkpoint, without wrapper and prefixes. Raises WeightsError."""
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path}: expected named tensors; this file holds one {type(loaded).__name__}.")
    wrapper = next((name for name in WRAPPERS if isinstance(loaded.get(name), Mapping)), None)
    inside = loaded[wrapper] if wrapper else loaded
    tensors = {str(name): value for name, value in inside.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: expected named tensors; this file holds {_some(map(str, inside))} and no tensor.")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _from_published(tensors: dict[str, Tensor], path: Path) -> SceneNetwork:
    """The network whose published layout the entries have. Raises WeightsError."""
    layout = published.layout(tensors)
    if layout is None:
        whose = published.stranger(tensors) or "no network that we know"
        raise WeightsError(
            f"{path}: expected MIRNet or MIRNetv2; this file holds {_some(tensors)}, as {whose} does. "
            "Give a checkpoint of one of those two, or of ours."
        )
    try:
        config = published.config_of(tensors)
    except KeyError as error:
        raise WeightsError(f"{path}: looks like {layout}, but its entry {error} is missing.") from error
    except SettingsError as error:
        raise WeightsError(f"{path}: looks like {layout}, but its shapes fit none: {error}") from error
    network = from_config(config)
    # several of ours have one published name where the published network shares a weight
    weights: dict[str, list[Tensor]] = {}
    for name, tensor in network.state_dict().items():
        weights.setdefault(published.published_name(name, config), []).append(tensor)
    constants = {published.published_name(name, config): [tensor] for name, tensor in network.named_buffers()}
    _compare(weights | constants, tensors, f"{path}: looks like {layout}")
    odd = [name for name, (constant,) in constants.items() if not torch.allclose(tensors[name].float(), constant)]
    if odd:
        raise WeightsError(f"{path}: looks like {layout}, but {len(odd)} of its blur filters differ ({_some(odd)}).")
    _fill(weights, tensors)
    return network


def _compare(wanted: Mapping[str, list[Tensor]], tensors: Mapping[str, Tensor], subject: str) -> None:
    """Raises WeightsError where names or shapes differ."""
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    shaped = [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(ours[0].shape)}"
        for name, ours in wanted.items()
        if name in tensors and tensors[name].shape != ours[0].shape
    ]
    groups = ((missing, "missing"), (unknown, "unknown"), (shaped, "of another shape"))
    differences = [f"{what}: {len(names)} ({_some(names)})" for names, what in groups if names]
    if differences:
        raise WeightsError(f"{subject}, but not all entries fit; {'; '.join(differences)}. It is of another network.")


def _fill(wanted: Mapping[str, list[Tensor]], tensors: Mapping[str, Tensor]) -> None:
    for name, ours in wanted.items():
        for tensor in ours:
            tensor.copy_(tensors[name])


def _some(names: Iterable[str], first: int = 3) -> str:
    """The first few, and how many more."""
    names = list(names)
    more = f" and {len(names) - first} more" if len(names) > first else ""
    return ", ".join(names[:first]) + more
