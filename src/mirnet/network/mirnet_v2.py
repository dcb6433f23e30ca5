"""MIRNetv2: the same idea, leaner (Zamir et al., *Learning Enriched Features for Fast Image Restoration and
Enhancement*, TPAMI 2022, arXiv 2205.01649). Written from the paper, not from its published code.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from mirnet.errors import SettingsError
from mirnet.network.mirnet import RRG, SKFF, conv, double
from mirnet.network.pooling import Pooling, SceneNetwork

GROUPS = (1, 2, 4, 4)  # of the RCBs' convolutions, one number for each of the four RRGs


@dataclass(frozen=True)
class MIRNetV2Config:
    """`features` of the full-resolution stream (the others have 1.5 and 2.25 times as many), `mrbs` in each RRG."""

    features: int = 80
    mrbs: int = 2

    def __post_init__(self) -> None:
        if self.features < 16 or self.features % 16:
            raise SettingsError(f"features must be a multiple of 16, not {self.features}.")
        if self.mrbs < 1:
            raise SettingsError(f"An RRG needs at least one MRB, not {self.mrbs}.")


V2_PAPER = MIRNetV2Config()


def leaky() -> nn.LeakyReLU:
    return nn.LeakyReLU(0.2)


class ContextBlock(nn.Module):
    """Global context (section 3.2): the features of pixels that matter, summed, transformed, added to every pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mask = conv(1, channels, 1)
        self.transform = nn.Sequential(conv(1, channels, channels), leaky(), conv(1, channels, channels))

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        context: Tensor = self.transform(pooling.attend(x, self.mask(x)))
        return x + context


class RCB(nn.Module):
    """Residual contextual block (section 3.2)."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(3, channels, channels, groups), leaky(), conv(3, channels, channels, groups))
        self.context = ContextBlock(channels)
        self.activation = leaky()

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        r: Tensor = self.activation(self.context(self.body(x), pooling))
        return x + r


def down(channels: int) -> nn.Sequential:
    """Half the size, 1.5 times the channels."""
    return nn.Sequential(nn.AvgPool2d(2), conv(1, channels, channels * 3 // 2))


def up(channels: int) -> nn.Sequential:
    """Twice the size, channels divided by 1.5."""
    return nn.Sequential(conv(1, channels, channels * 2 // 3), double())


class MRB(nn.Module):
    """Multi-scale residual block (section 3.3): two passes through the *same* three RCBs and two SKFFs."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        middle, bottom = channels * 3 // 2, channels * 9 // 4
        self.rcb_top, self.rcb_middle, self.rcb_bottom = (RCB(width, groups) for width in (channels, middle, bottom))
        self.down_middle = down(channels)
        self.down_bottom = nn.Sequential(down(channels), down(middle))
        self.up_bottom_middle = nn.ModuleList(up(bottom) for _ in range(2))  # one for each pass
        self.up_middle_top = nn.ModuleList(up(middle) for _ in range(2))
        self.skff_top, self.skff_middle = (SKFF(width, 2, leaky()) for width in (channels, middle))
        self.conv_out = conv(1, channels, channels)

    def forward(self, x: Tensor, pooling: Pooling) -> Tensor:
        top, middle, bottom = x, self.down_middle(x), self.down_bottom(x)
        for up_bottom_middle, up_middle_top in zip(self.up_bottom_middle, self.up_middle_top, strict=True):
            top = self.rcb_top(top, pooling)
            middle = self.rcb_middle(middle, pooling)
            bottom = self.rcb_bottom(bottom, pooling)
            middle = self.skff_middle([middle, up_bottom_middle(bottom)], pooling)
            top = self.skff_top([top, up_middle_top(middle)], pooling)
        residual: Tensor = self.conv_out(top)
        return x + residual


class MIRNetV2(SceneNetwork):
    """The network of the 2022 paper (section 3): `net(picture)` as for `mirnet.network.mirnet.MIRNet`."""

    size_multiple = 4

    def __init__(self, config: MIRNetV2Config = V2_PAPER) -> None:
        super().__init__()
        self.config = config
        self.conv_in = conv(3, 3, config.features)
        self.rrgs = nn.ModuleList(
            RRG([MRB(config.features, groups) for _ in range(config.mrbs)], config.features) for groups in GROUPS
        )
        self.conv_out = conv(3, config.features, 3)

    def restore(self, pooling: Pooling, *inputs: Tensor) -> Tensor:
        (picture,) = inputs
        x = self.conv_in(picture)
        for rrg in self.rrgs:
            x = rrg(x, pooling)
        residual: Tensor = self.conv_out(x)
        return picture + residual
