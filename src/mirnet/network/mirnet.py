"""MIRNet as in its paper: parts first, the whole network last.

Zamir et al., *Learning Enriched Features for Real Image Restoration and Enhancement*, ECCV 2020,
arXiv 2003.06792; the sections named below are that paper's. Written from the paper, not from its
published code. Letters: N images, C channels, H x W pixels. No convolution has a bias.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mirnet.errors import SettingsError
from mirnet.network.pooling import Pooling, SceneNetwork

STREAMS = 3  # full, half and quarter resolution; stream s has 2^s times the first one's channels


@dataclass(frozen=True)
class MIRNetConfig:
    """What distinguishes one MIRNet from another.

    `tied` shares weights as the published network does: both columns of a stream use one DAU, an
    MRB's last fusion reuses its first SKFF, and one PReLU scalar serves all DAUs of the network.
    `resizing` is "paper" (section 3.3) or "light" (ours: far fewer operations at equal quality).
    """

    features: int = 64
    rrgs: int = 3
    mrbs: int = 2
    tied: bool = True
    resizing: Literal["paper", "light"] = "paper"

    def __post_init__(self) -> None:
        if self.features < 8 or self.features % 8:
            raise SettingsError(f"features must be a multiple of 8, at least 8, not {self.features}.")
        if self.rrgs < 1 or self.mrbs < 1:
            raise SettingsError(f"A network needs at least one RRG of one MRB, not {self.rrgs} of {self.mrbs}.")
        if self.resizing not in ("paper", "light"):
            raise SettingsError(f'resizing is "paper" or "light", not "{self.resizing}".')


PAPER = MIRNetConfig()


def conv(kernel: int, channels_in: int, channels_out: int, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias that keeps the size."""
    return nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, groups=groups, bias=False)


class SKFF(nn.Module):
    """Selective kernel feature fusion (section 3.1): merges the streams by computed weights per channel."""

    def __init__(self, channels: int, streams: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        squeezed = max(channels // 8, 4)
        self.squeeze = nn.Sequential(conv(1, channels, squeezed), activation or nn.PReLU())
        self.heads = nn.ModuleList(conv(1, squeezed, channels) for _ in range(streams))

    def forward(self, streams: Sequence[Tensor], pooling: Pooling) -> Tensor:  # S tensors (N, C, H, W)
        total = streams[0]
        for stream in streams[1:]:
            total = total + stream
        summary: Tensor = self.squeeze(pooling.average(total))  # (N, C/8, 1, 1)
        votes = torch.stack([head(summary) for head in self.heads]).softmax(0)  # (S, N, C, 1, 1), across the streams
        fused = streams[0] * votes[0]
        for stream, vote in zip(streams[1:], votes[1:], strict=True):
            fused = fused + stream * vote
        return fused


class SpatialAttention(nn.Module):
    """Where to look (section 3.2): one weight per pixel, from the largest and the mean channel."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = conv(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)  # (N, 2, H, W)
        weights: Tensor = self.weigh(seen).sigmoid()
        return x * weights


class ChannelAttention(nn.Module):
    """What to look at (section 3.2): one weight per channel, from the image's global average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(conv(1, channels, channels // 8), nn.ReLU(), conv(1, channels // 8, channels))

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        weights: Tensor = self.weigh(pooling.average(x)).sigmoid()
        return x * weights


class DAU(nn.Module):
    """Dual attention unit (section 3.2): spatial and channel attention side by side, with a skip around both."""

    def __init__(self, channels: int, activation: nn.PReLU | None = None) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, channels, channels), activation or nn.PReLU(), conv(3, channels, channels))
        self.spatial = SpatialAttention()
        self.channel = ChannelAttention(channels)
        self.merge = conv(1, 2 * channels, channels)

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        r = self.body(x)
        attended: Tensor = self.merge(torch.cat([self.spatial(r), self.channel(r, pooling)], 1))
        return x + attended


class BlurAndHalve(nn.Module):
    """Binomial 3x3 blur, then every second pixel (Zhang, *Making Convolutional Networks Shift-Invariant Again*)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        binomial = torch.tensor([1.0, 2.0, 1.0]) / 4
        kernel = torch.outer(binomial, binomial).repeat(channels, 1, 1, 1)  # (C, 1, 3, 3)
        self.register_buffer("kernel", kernel, persistent=False)  # a constant, not a weight

    def forward(self, x: Tensor) -> Tensor:
        kernel: Tensor = self.get_buffer("kernel")
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=x.shape[1])


class Down(nn.Module):
    """Residual resizing (section 3.3), half the size and twice the channels, anti-aliased."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            conv(1, channels, channels), nn.PReLU(), conv(3, channels, channels), nn.PReLU(),
            BlurAndHalve(channels), conv(1, channels, 2 * channels),
        )  # fmt: skip
        self.skip = nn.Sequential(BlurAndHalve(channels), conv(1, channels, 2 * channels))

    def forward(self, x: Tensor) -> Tensor:
        main: Tensor = self.main(x)
        skip: Tensor = self.skip(x)
        return main + skip


class Up(nn.Module):
    """Residual resizing (section 3.3), twice the size and half the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        doubling = nn.ConvTranspose2d(channels, channels, 3, stride=2, padding=1, output_padding=1, bias=False)
        self.main = nn.Sequential(
            conv(1, channels, channels), nn.PReLU(), doubling, nn.PReLU(), conv(1, channels, channels // 2),
        )  # fmt: skip
        self.skip = nn.Sequential(double(), conv(1, channels, channels // 2))

    def forward(self, x: Tensor) -> Tensor:
        main: Tensor = self.main(x)
        skip: Tensor = self.skip(x)
        return main + skip


class LightDown(nn.Module):
    """Our leaner `Down`: the two branches share their average; no 1x1 before the 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            conv(3, channels, channels), nn.PReLU(), nn.AvgPool2d(2), conv(1, channels, 2 * channels)
        )
        self.skip = nn.Sequential(nn.AvgPool2d(2), conv(1, channels, 2 * channels))

    def forward(self, x: Tensor) -> Tensor:
        main: Tensor = self.main(x)
        skip: Tensor = self.skip(x)
        return main + skip


class LightUp(nn.Module):
    """Our leaner `Up`: a 1x1 at the small size, then bilinear doubling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(conv(1, channels, channels // 2), double())

    def forward(self, x: Tensor) -> Tensor:
        resized: Tensor = self.skip(x)
        return resized


def double() -> nn.Upsample:
    """Twice the size, bilinear, half-pixel centres."""
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


class Resize(nn.Sequential):
    """Features of one stream brought to another's size and width; a factor of 4 is two steps, each with its weights."""

    def __init__(self, config: MIRNetConfig, source: int, target: int) -> None:
        down, up = (Down, Up) if config.resizing == "paper" else (LightDown, LightUp)
        steps: list[nn.Module]
        if source < target:
            steps = [down(config.features * 2**s) for s in range(source, target)]
        else:
            steps = [up(config.features * 2**s) for s in range(source, target, -1)]
        super().__init__(*steps)


class MRB(nn.Module):
    """Multi-scale residual block (section 3): three streams, two columns of DAUs, everything exchanged between them."""

    def __init__(self, config: MIRNetConfig, dau_activation: nn.PReLU | None) -> None:
        super().__init__()
        widths = [config.features * 2**s for s in range(STREAMS)]
        self.first = nn.ModuleList(DAU(width, dau_activation) for width in widths)
        self.exchange = nn.ModuleList(SKFF(width, STREAMS) for width in widths)
        # Tied: the second column *is* the first, and the last fusion *is* the first stream's.
        self.second = self.first if config.tied else nn.ModuleList(DAU(width, dau_activation) for width in widths)
        self.fuse = self.exchange[0] if config.tied else SKFF(widths[0], STREAMS)
        self.resize = nn.ModuleDict(
            {f"{a}_{b}": Resize(config, a, b) for a in range(STREAMS) for b in range(STREAMS) if a != b}
        )
        self.last_up = nn.ModuleList(Resize(config, s, 0) for s in range(1, STREAMS))
        self.conv_out = conv(3, widths[0], widths[0])

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        streams = [self.first[0](x, pooling)]
        # (from, to): what enters a stream below is needed again in the exchange
        brought: dict[tuple[int, int], Tensor] = {}
        for s in range(1, STREAMS):  # from the top down, each from the one above
            brought[s - 1, s] = self.resize[f"{s - 1}_{s}"](streams[-1])
            streams.append(self.first[s](brought[s - 1, s], pooling))
        for a in range(STREAMS):
            for b in range(STREAMS):
                if (a, b) not in brought:
                    brought[a, b] = streams[a] if a == b else self.resize[f"{a}_{b}"](streams[a])
        exchanged = [self.exchange[b]([brought[a, b] for a in range(STREAMS)], pooling) for b in range(STREAMS)]
        streams = [self.second[s](exchanged[s], pooling) for s in range(STREAMS)]
        full = [streams[0], *(up(stream) for up, stream in zip(self.last_up, streams[1:], strict=True))]
        residual: Tensor = self.conv_out(self.fuse(full, pooling))
        return x + residual


class RRG(nn.Module):
    """Recursive residual group (section 3): MRBs in a row, a convolution, and a skip around them."""

    def __init__(self, blocks: Sequence[nn.Module], channels: int) -> None:
        super().__init__()
        self.mrbs = nn.ModuleList(blocks)
        self.conv_out = conv(3, channels, channels)

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        r = x
        for mrb in self.mrbs:
            r = mrb(r, pooling)
        residual: Tensor = self.conv_out(r)
        return x + residual


class Trunk(nn.Module):
    """All of MIRNet between the image and the residual: 3x3, the RRGs, 3x3."""

    def __init__(self, config: MIRNetConfig, channels_in: int = 3, channels_out: int = 3) -> None:
        super().__init__()
        shared = nn.PReLU() if config.tied else None  # of this network alone: two networks share nothing
        self.conv_in = conv(3, channels_in, config.features)
        self.rrgs = nn.ModuleList(
            RRG([MRB(config, shared) for _ in range(config.mrbs)], config.features) for _ in range(config.rrgs)
        )
        self.conv_out = conv(3, config.features, channels_out)

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        x = self.conv_in(x)
        for rrg in self.rrgs:
            x = rrg(x, pooling)
        residual: Tensor = self.conv_out(x)
        return residual


class MIRNet(SceneNetwork):
    """The network of the paper (section 3, figure 1): an image plus the residual that restores it.

    `net(picture)`: (N, 3, H, W) float in [0, 1], R, G, B, any size, to the same shape, not clipped.
    """

    size_multiple = 4

    def __init__(self, config: MIRNetConfig = PAPER) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)

    def restore(self, pooling: Pooling, *inputs: Tensor) -> Tensor:
        (picture,) = inputs
        residual: Tensor = self.trunk(picture, pooling)
        return picture + residual
