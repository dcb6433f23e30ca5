"""Listens to a real network while it restores a photograph, through torch's forward hooks: nothing in it is changed.

`observe` keeps what the page docs/how-it-works.md draws; `with_frozen` lets a network run with one of its mechanisms
held still, which tells how much it matters.
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
from mirnet.thumbnail import thumbnail
from mirnet.training.validation import to_tensor

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


@dataclass(frozen=True)
class Seen:
    """A dark photograph (3, H, W) as it lies on disk and as the restorer gets it, and its stops (1, 1, H, W)."""

    dark: Tensor
    exposed: Tensor
    stops: Tensor


@dataclass
class Passage:
    """What entered a module and left it, (C, h, w) each."""

    entered: Tensor
    left: Tensor

    @property
    def added(self) -> Tensor:
        """Of a module with a skip around it: what it put on top."""
        return self.left - self.entered


@dataclass
class Fusion:
    """What one SKFF did: its streams (C, h, w), all brought to one size, and their votes (S, C)."""

    streams: list[Tensor]
    heads: list[Tensor] = field(default_factory=list)

    @property
    def votes(self) -> Tensor:
        return torch.stack(self.heads).softmax(0)

    def shares(self) -> Tensor:
        """(S, h, w): at each pixel, the part of the fused energy that each stream brings; the parts sum to one."""
        energy = (torch.stack(self.streams) * self.votes[:, :, None, None]).square().sum(1)
        return energy / energy.sum(0)


@dataclass
class Observed:
    """One photograph's way through a network of one MRB, by the names that the code gives to the MRB's parts."""

    seen: Seen
    restored: Tensor  # (3, H, W), in [0, 1]
    passages: dict[str, Passage]  # DAUs, resizers, the MRB ("mrb") and the RRG ("rrg")
    fusions: dict[str, Fusion]  # "exchange.0" to "exchange.2", "fuse"
    spatial: dict[str, Tensor]  # (h, w) weights of each DAU, "first.0" to "second.2"
    channel: dict[str, Tensor]  # (C,) weights, likewise


def load_network(path: Path) -> Lite:
    network = checkpoints.load(path)
    assert isinstance(network, Lite), f"{path}: the figures show lite, this is another architecture"
    return network.eval()


@torch.inference_mode()
def prepare(network: Lite, photo: Path, shrink: int = 1) -> Seen:
    """A photograph, of which only every `shrink`-th pixel is taken, exposed as the network's own head proposes."""
    picture = np.ascontiguousarray(to_unit(read_rgb(photo))[::shrink, ::shrink])
    dark = to_tensor(picture, torch.device("cpu"))
    stops = spread(network.propose(to_tensor(thumbnail(picture), torch.device("cpu"))), *picture.shape[:2])
    return Seen(dark[0], expose(dark, stops)[0], stops)


@torch.inference_mode()
def restore(network: Lite, seen: Seen) -> Tensor:  # (3, H, W) in [0, 1]
    restored: Tensor = network(seen.exposed[None], seen.stops)[0]
    return restored.clamp(0, 1)


def observe(network: Lite, seen: Seen) -> Observed:
    """Restore a photograph and keep what happens on the way."""
    passages: dict[str, Passage] = {}
    fusions: dict[str, Fusion] = {}
    spatial: dict[str, Tensor] = {}
    channel: dict[str, Tensor] = {}
    heads: dict[str, list[Tensor]] = {}

    def hook(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
        if isinstance(module, DAU | Resize | MRB | RRG):
            yield module, lambda _, given, out: passages.update({name: Passage(given[0][0], out[0])})
        elif isinstance(module, SKFF):
            for head in module.heads:
                yield head, lambda _, given, out: heads.setdefault(name, []).append(out[0, :, 0, 0])
            yield module, lambda _, given, out: fusions.update({name: Fusion([x[0] for x in given[0]], heads[name])})
        elif isinstance(module, SpatialAttention):
            yield module.weigh, lambda _, given, out: spatial.update({name: out[0, 0].sigmoid()})
        elif isinstance(module, ChannelAttention):
            yield module.weigh, lambda _, given, out: channel.update({name: out[0, :, 0, 0].sigmoid()})

    with _hooked(network, hook):
        restored = restore(network, seen)
    return Observed(seen, restored, passages, fusions, spatial, channel)


def _short(name: str) -> str:
    """`restorer.trunk.rrgs.0.mrbs.0.first.1.spatial` is told as "first.1"."""
    inner = name.partition("mrbs.0.")[2].removesuffix(".spatial").removesuffix(".channel")
    return inner or ("mrb" if "mrbs" in name else "rrg")


@contextmanager
def _hooked(network: nn.Module, choose: Callable[[str, nn.Module], Iterator[tuple[nn.Module, Hook]]]) -> Iterator[None]:
    handles = [
        heard.register_forward_hook(hook)
        for name, module in network.named_modules()
        for heard, hook in choose(_short(name), module)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# --- with one mechanism held still --------------------------------------------------------------------------------


def _equal_votes(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
    if isinstance(module, SKFF):
        for head in module.heads:
            yield head, lambda _, given, out: torch.zeros_like(out)  # softmax of equal numbers: a third each


def _even_places(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
    if isinstance(module, SpatialAttention):  # every pixel gets the map's mean
        yield module.weigh, lambda _, given, out: torch.full_like(out, out.sigmoid().mean().logit().item())


def _even_channels(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
    if isinstance(module, ChannelAttention):
        yield module.weigh, lambda _, given, out: torch.full_like(out, out.sigmoid().mean().logit().item())


def _full_alone(name: str, module: nn.Module) -> Iterator[tuple[nn.Module, Hook]]:
    if name in ("resize.1_0", "resize.2_0", "last_up.0", "last_up.1"):  # all that leads up to the full stream
        yield module, lambda _, given, out: torch.zeros_like(out)


FREEZES = {
    "SKFF: every vote one third": _equal_votes,
    "spatial attention: its mean everywhere": _even_places,
    "channel attention: its mean for all": _even_channels,
    "nothing from the coarse streams": _full_alone,
}


def with_frozen(network: Lite, seen: Seen, what: str) -> Tensor:
    """The restored photograph (3, H, W) in [0, 1] with one of `FREEZES` in force."""
    with _hooked(network, FREEZES[what]):
        return restore(network, seen)
