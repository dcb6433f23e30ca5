"""`lite`, the network that we train and ship: MIRNet on the exposed image, and a head that proposes the exposure.

How bright a dark image should become is a matter of taste; what it shows under its noise is not.
So the two are answered apart: the exposure comes from outside, in photographic stops (a person, or
the head's proposal from a thumbnail), and the restorer sees the image already exposed.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mirnet.errors import SettingsError
from mirnet.network.mirnet import MIRNetConfig, Trunk, conv
from mirnet.network.pooling import Pooling, SceneNetwork


@dataclass(frozen=True)
class LiteConfig:
    """A small MIRNet behind a space-to-depth stem of `stem` x `stem` pixels, and its exposure head.

    `dead_zone_stops`: proposals much smaller than this come out as 0, so that a good photo is left
    alone; proposals from one and a half times this size on are unchanged.
    """

    features: int = 32
    rrgs: int = 1
    mrbs: int = 1
    tied: bool = False
    resizing: Literal["paper", "light"] = "light"
    stem: int = 2
    head_features: int = 24
    dead_zone_stops: float = 0.9

    def __post_init__(self) -> None:
        self.trunk()
        if self.stem not in (1, 2, 4):
            raise SettingsError(f"stem must be 1, 2 or 4, not {self.stem}.")
        if self.head_features < 1 or self.dead_zone_stops <= 0:
            raise SettingsError("head_features and dead_zone_stops must be positive.")

    def trunk(self) -> MIRNetConfig:
        return MIRNetConfig(self.features, self.rrgs, self.mrbs, self.tied, self.resizing)


LITE = LiteConfig()


def to_linear(encoded: Tensor) -> Tensor:
    """sRGB-encoded values in [0, 1] to linear light in [0, 1]."""
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def to_encoded(linear: Tensor) -> Tensor:
    """Linear light in [0, 1] to sRGB-encoded values in [0, 1]."""
    # clamped below, where the power is not used, so that its gradient stays finite at black
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp_min(0.0031308) ** (1 / 2.4) - 0.055)


def expose(encoded: Tensor, stops: Tensor) -> Tensor:
    """`mirnet.exposure.expose` for torch tensors: (N, 3, H, W) in [0, 1], stops broadcasting to it."""
    linear = to_linear(encoded)
    gained = torch.exp2(stops) * linear
    return to_encoded(gained / torch.sqrt((1 - linear) * (1 + linear) + gained * gained)).clamp(0, 1)


def spread(stops_map: Tensor, height: int, width: int) -> Tensor:
    """A map of cells (N, 1, h, w) to one number per pixel (N, 1, H, W): bilinear, half-pixel centres, edges held."""
    return F.interpolate(stops_map, size=(height, width), mode="bilinear", align_corners=False)


def apply_dead_zone(stops_map: Tensor, zone_stops: float) -> Tensor:
    """Shrink maps (N, 1, h, w) with a small mean towards 0, by their mean alone, so that they keep their shape."""
    mean = stops_map.mean((2, 3), keepdim=True)
    return stops_map * (1 - torch.exp(-((mean.abs() / zone_stops) ** 3)))


class Restorer(nn.Module):
    """MIRNet at small width between a pixel-unshuffle and a pixel-shuffle; its residual has full resolution."""

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.stem = config.stem
        self.trunk = Trunk(config.trunk(), channels_in=4 * config.stem**2, channels_out=3 * config.stem**2)

    def forward(self, exposed: Tensor, stops: Tensor, pooling: Pooling) -> Tensor:
        # a fourth channel says how strongly the noise was amplified; in tens of stops, about as large as the image
        seen = torch.cat([exposed, stops / 10], 1)
        return exposed + F.pixel_shuffle(self.trunk(F.pixel_unshuffle(seen, self.stem), pooling), self.stem)


@dataclass(frozen=True)
class AugmentedView:
    """One augmented view of a thumbnail: moved by a pixel, edges held, and perhaps mirrored."""

    down: int  # -1 to 1
    right: int
    mirrored: tuple[int, ...]  # dimensions: 2 upside down, 3 left to right

    def of(self, thumbnail: Tensor) -> Tensor:
        height, width = thumbnail.shape[2:]
        wider = F.pad(thumbnail, (1, 1, 1, 1), mode="replicate")
        return self._flipped(wider[:, :, 1 - self.down :, 1 - self.right :][:, :, :height, :width])

    def undo(self, cells: Tensor) -> Tensor:
        """A map of cells that was proposed in this view, mirrored back; the pixel, an eighth of a cell, stays."""
        return self._flipped(cells)

    def _flipped(self, x: Tensor) -> Tensor:
        return x.flip(self.mirrored) if self.mirrored else x


AUGMENTED_VIEWS = tuple(AugmentedView(*each) for each in itertools.product((-1, 1), (-1, 1), ((), (2,), (3,), (2, 3))))
# What an untrained head proposes: stops at which `apply_dead_zone` has a slope. Near 0 it has none, and training would
# not begin.
START_STOPS = 2.0


class ExposureHead(nn.Module):
    """Proposes stops from a thumbnail: one number for the image, plus a map of differences by place.

    Thumbnail (N, 3, h, w), sRGB-encoded after averaging in linear light, sides multiples of 8, long
    side 96, to a map of stops (N, 1, h/8, w/8).
    """

    def __init__(self, config: LiteConfig) -> None:
        super().__init__()
        self.dead_zone_stops = config.dead_zone_stops
        f = config.head_features
        self.body = nn.Sequential(
            nn.Conv2d(6, f, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(f, 2 * f, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(2 * f, 4 * f, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(4 * f, 4 * f, 3, padding=1), nn.ReLU(),
        )  # fmt: skip
        self.local = conv(1, 4 * f, 1)
        asked = nn.Conv2d(4 * f, 1, 1)
        nn.init.constant_(asked.get_parameter("bias"), START_STOPS)
        self.number = nn.Sequential(nn.Conv2d(8 * f, 4 * f, 1), nn.ReLU(), asked)

    def forward(self, thumbnail: Tensor) -> Tensor:
        return apply_dead_zone(self.propose_augmented(thumbnail), self.dead_zone_stops)

    def propose_augmented(self, thumbnail: Tensor) -> Tensor:
        """The proposed map before the dead zone: the mean over sixteen augmented views.

        A single look's strides meet other pixels as soon as a few are cropped away: its number moves by up to 0.17
        stops, that of all views by 0.04 (docs/experiments.md).
        """
        looks = self.propose_raw(torch.cat([view.of(thumbnail) for view in AUGMENTED_VIEWS])).chunk(
            len(AUGMENTED_VIEWS)
        )
        return torch.stack(
            [view.undo(propose_raw) for view, propose_raw in zip(AUGMENTED_VIEWS, looks, strict=True)]
        ).mean(0)

    def propose_raw(self, thumbnail: Tensor) -> Tensor:
        """The proposed map (N, 1, h/8, w/8) for the thumbnail in one view, without dead zone."""
        # stops are a logarithm of light, so the logarithm of the light is half the answer
        light = torch.log2(to_linear(thumbnail) + 2**-12) / 6 + 1
        features = self.body(torch.cat([thumbnail, light], 1))
        seen = torch.cat([features.mean((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)], 1)
        local = self.local(features)
        stops_map: Tensor = self.number(seen) + local - local.mean((2, 3), keepdim=True)
        return stops_map

    @torch.no_grad()
    def shrink_map(self, share: float) -> None:
        """Shrink the map's differences from the image's number to a `share`, permanently."""
        self.local.weight.mul_(share)


class Lite(SceneNetwork):
    """Restorer and exposure head, which share nothing but the file that they are shipped in.

    `net(exposed, stops)`: the exposed image (N, 3, H, W) in [0, 1], any size, and stops
    (N, 1, 1, 1) or (N, 1, H, W) to the restored image, not clipped. `net.propose(thumbnail)`.
    """

    input_channels = (3, 1)  # the exposed image, its stops

    def __init__(self, config: LiteConfig = LITE) -> None:
        super().__init__()
        self.config = config
        self.size_multiple = 4 * config.stem  # the quarter stream, behind the stem
        self.restorer = Restorer(config)
        self.head = ExposureHead(config)

    def restore(self, pooling: Pooling, *inputs: Tensor) -> Tensor:
        exposed, stops = inputs
        restored: Tensor = self.restorer(exposed, stops, pooling)
        return restored

    def propose(self, thumbnail: Tensor) -> Tensor:
        """The map of stops (N, 1, h/8, w/8) that the head proposes for a thumbnail (N, 3, h, w)."""
        stops_map: Tensor = self.head(thumbnail)
        return stops_map
