"""Records the features of a network while it restores a photo, with torch's forward hooks; the network is not changed.

`record` returns what the figures of docs/how-it-works.md show; `restore_with_constant` runs the network with one
mechanism replaced by a constant, which shows how much it matters.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mirnet.datasets.reading import read_rgb, to_unit
from mirnet.network import Lite, checkpoints
from mirnet.network.lite import expose, spread
from mirnet.network.mirnet import DAU, MRB, RRG, SKFF, ChannelAttention, Resize, SpatialAttention
from mirnet.thumbnail import make_thumbnail
from mirnet.training.validation import to_tensor

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


@dataclass(frozen=True)
class ExposedPhoto:
    """A dark photo (3, H, W) as its file has it and as the restorer gets it, and its stops (1, 1, H, W)."""

    dark: Tensor
    exposed: Tensor
    stops: Tensor


@dataclass
class ModuleRecord:
    """Input and output of a module, (C, h, w) each."""

    input: Tensor
    output: Tensor

    @property
    def residual(self) -> Tensor:
        """The residual of a module with a skip connection."""
        return self.output - self.input


@dataclass
class Fusion:
    """One SKFF: its streams (C, h, w), all resized to one size, and their weights (S, C)."""

    streams: list[Tensor]
    heads: list[Tensor] = field(default_factory=list)

    @property
    def weights(self) -> Tensor:
        return torch.stack(self.heads).softmax(0)

    def shares(self) -> Tensor:
        """(S, h, w): the share of each stream in the fused energy at each pixel; the shares sum to one."""
        energy = (torch.stack(self.streams) * self.weights[:, :, None, None]).square().sum(1)
        return energy / energy.sum(0)


@dataclass
class Recording:
    """The features of one photo in a network of one MRB, by the names of the MRB's parts in the code."""

    photo: ExposedPhoto
    restored: Tensor  # (3, H, W), in [0, 1]
    modules: dict[str, ModuleRecord]  # DAUs, resizers, the MRB ("mrb") and the RRG ("rrg")
    fusions: dict[str, Fusion]  # "exchange.0" to "exchange.2", "fuse"
    spatial: dict[str, Tensor]  # (h, w) weights of each DAU, "first.0" to "second.2"
    channel: dict[str, Tensor]  # (C,) weights, likewise


def load_network(path: Path) -> Lite:
    network = checkpoints.load(path)
    assert isinstance(network, Lite), f"{path}: the figures show lite, this is another architecture"
    return network.eval()


@torch.inference_mode()
def prepare(network: Lite, photo: Path, shrink: int = 1) -> ExposedPhoto:
    """Returns a photo, every `shrink`-th pixel of it, exposed as the network's head proposes."""
    image = np.ascontiguousarray(to_unit(read_rgb(photo))[::shrink, ::shrink])
    dark = to_tensor(image, torch.device("cpu"))
    stops = spread(network.propose(to_tensor(make_thumbnail(image), torch.device("cpu"))), *image.shape[:2])
    return ExposedPhoto(dark[0], expose(dark, stops)[0], stops)


@torch.inference_mode()
def restore(network: Lite, photo: ExposedPhoto) -> Tensor:  # (3, H, W) in [0, 1]
    restored: Tensor = network(photo.exposed[None], photo.stops)[0]
    return restored.clamp(0, 1)


def record(network: Lite, photo: ExposedPhoto) -> Recording:
    """Restores a photo and returns the features on the way."""
    modules: dict[str, ModuleRecord] = {}
    fusions: dict[str, Fusion] = {}
    spatial: dict[str, Tensor] = {}
    channel: dict[str, Tensor] = {}
    heads: dict[str, list[Tensor]] = {}

    def hook(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
        if isinstance(module, DAU | Resize | MRB | RRG):
            yield module, lambda _, inputs, out: modules.update({name: ModuleRecord(inputs[0][0], out[0])})
        elif isinstance(module, SKFF):
            for head in module.heads:
                yield head, lambda _, inputs, out: heads.setdefault(name, []).append(out[0, :, 0, 0])
            yield module, lambda _, inputs, out: fusions.update({name: Fusion([x[0] for x in inputs[0]], heads[name])})
        elif isinstance(module, SpatialAttention):
            yield module.weigh, lambda _, inputs, out: spatial.update({name: out[0, 0].sigmoid()})
        elif isinstance(module, ChannelAttention):
            yield module.weigh, lambda _, inputs, out: channel.update({name: out[0, :, 0, 0].sigmoid()})

    with _hooked(network, hook):
        restored = restore(network, photo)
    return Recording(photo, restored, modules, fusions, spatial, channel)


def _short(name: str) -> str:
    """Returns "first.1" for `restorer.trunk.rrgs.0.mrbs.0.first.1.spatial`."""
    inner = name.partition("mrbs.0.")[2].removesuffix(".spatial").removesuffix(".channel")
    return inner or ("mrb" if "mrbs" in name else "rrg")


@contextmanager
def _hooked(network: nn.Module, choose: Callable[[str, nn.Module], Iterator[tuple[nn.Module, Hook]]]) -> Iterator[None]:
    handles = [
        hooked.register_forward_hook(hook)
        for name, module in network.named_modules()
        for hooked, hook in choose(_short(name), module)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# --- with one mechanism replaced by a constant ------------------------------------------------------------------


def _equal_weights(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
    if isinstance(module, SKFF):
        for head in module.heads:
            yield head, lambda _, inputs, out: torch.zeros_like(out)  # softmax of equal numbers: a third each


def _constant_spatial(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
    if isinstance(module, SpatialAttention):  # every pixel gets the map's mean
        yield module.weigh, lambda _, inputs, out: torch.full_like(out, out.sigmoid().mean().logit().item())


def _constant_channel(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
    if isinstance(module, ChannelAttention):
        yield module.weigh, lambda _, inputs, out: torch.full_like(out, out.sigmoid().mean().logit().item())


def _without_coarse(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
    if name in ("resize.1_0", "resize.2_0", "last_up.0", "last_up.1"):  # every way to the full stream
        yield module, lambda _, inputs, out: torch.zeros_like(out)


CONSTANTS = {
    "SKFF: every weight one third": _equal_weights,
    "spatial attention: its mean everywhere": _constant_spatial,
    "channel attention: its mean for all": _constant_channel,
    "nothing from the coarse streams": _without_coarse,
}


def restore_with_constant(network: Lite, photo: ExposedPhoto, name: str) -> Tensor:
    """The restored photo (3, H, W) in [0, 1] with one of `CONSTANTS` in use."""
    with _hooked(network, CONSTANTS[name]):
        return restore(network, photo)
