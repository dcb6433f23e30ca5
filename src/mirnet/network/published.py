"""The entry names of published checkpoints, and what their entries say about the network that they belong to.

Two layouts: MIRNet's of 2020 and MIRNetv2's of 2022. For each, one pure function gives the published
name of an entry of ours: several of ours may have the same one, since what the published networks
share has one name there, or repeats.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from mirnet.network.mirnet import MIRNetConfig
from mirnet.network.mirnet_v2 import MIRNetV2Config

# Ours on the left; each rule is applied to what the rules above it left.
_MIRNET_RULES = (
    (r"^trunk\.", ""),
    (r"\brrgs\.(\d+)\.mrbs\.(\d+)\.", r"body.\1.body.\2."),
    (r"\bfirst\.(\d)\.", r"blocks.\1.0."),
    (r"\bsecond\.(\d)\.", r"blocks.\1.1."),
    (r"\bspatial\.weigh\.", "SA.spatial.conv."),
    (r"\bchannel\.weigh\.", "CA.conv_du."),
    (r"\bmerge\.", "conv1x1."),
    (r"\bexchange\.(\d)\.", r"selective_kernel.\1."),
    (r"\bfuse\.", "selective_kernel.0."),  # the last fusion reuses the first stream's
    (r"\bsqueeze\.", "conv_du."),
    (r"\bheads\.", "fcs."),
    (r"\bmain\.", "top."),
    (r"\bskip\.", "bot."),
    (r"\.kernel$", ".filt"),
)

_MIRNET_V2_RULES = (
    (r"\brrgs\.(\d+)\.mrbs\.(\d+)\.", r"body.\1.body.\2."),
    (r"\brcb_top\.", "dau_top."),
    (r"\brcb_middle\.", "dau_mid."),
    (r"\brcb_bottom\.", "dau_bot."),
    (r"\bcontext\.", "gcnet."),
    (r"\bmask\.", "conv_mask."),
    (r"\btransform\.", "channel_add_conv."),
    (r"\bdown_middle\.1\.", "down2.body.0.bot.1."),
    (r"\bdown_bottom\.(\d)\.1\.", r"down4.\1.body.0.bot.1."),
    (r"\bskff_middle\.", "skff_mid."),
    (r"\bsqueeze\.", "conv_du."),
    (r"\bheads\.", "fcs."),
)

# Entries by which other networks are recognised, for the error that refuses them.
_STRANGERS = (
    ("encoder_level1.", "Restormer or one of its kin"),
    ("middle_blks.", "NAFNet"),
    ("residual_group.", "SwinIR or one of its kin"),
    ("conv_first.", "an ESRGAN or SRResNet"),
    ("estimator.", "Retinexformer"),
    ("stage1_encoder", "MPRNet"),
)


def mirnet_name(ours: str, config: MIRNetConfig) -> str:
    """The published name of an entry of `MIRNet`, or of one of its blocks (relative to the block)."""
    for pattern, replacement in _MIRNET_RULES:
        ours = re.sub(pattern, replacement, ours)
    ours = re.sub(r"\bresize\.(\d)_(\d)\.", lambda match: _resizer(config, int(match[1]), int(match[2])), ours)
    ours = re.sub(r"\blast_up\.(\d)\.", lambda match: f"last_up.{int(match[1]) + 1}.body.", ours)
    return _closing_convolution(ours, config.mrbs)


def mirnet_v2_name(ours: str, config: MIRNetV2Config) -> str:
    """The published name of an entry of `MIRNetV2`, or of one of its blocks (relative to the block)."""
    for pattern, replacement in _MIRNET_V2_RULES:
        ours = re.sub(pattern, replacement, ours)
    # the two passes are counted from 1
    ours = re.sub(r"\bup_bottom_middle\.(\d)\.0\.", lambda match: f"up32_{int(match[1]) + 1}.body.0.bot.0.", ours)
    ours = re.sub(r"\bup_middle_top\.(\d)\.0\.", lambda match: f"up21_{int(match[1]) + 1}.body.0.bot.0.", ours)
    return _closing_convolution(ours, config.mrbs)


def _resizer(config: MIRNetConfig, source: int, target: int) -> str:
    """Published resizers are named after the channels that come in and the factor of the size."""
    direction = "down" if source < target else "up"
    return f"{direction}.{config.features * 2**source}_{2 ** abs(source - target)}.body."


def _closing_convolution(name: str, mrbs: int) -> str:
    """An RRG's own convolution stands behind its MRBs in one numbered row."""
    return re.sub(r"\brrgs\.(\d+)\.conv_out\.", rf"body.\1.body.{mrbs}.", name)


def published_name(ours: str, config: MIRNetConfig | MIRNetV2Config) -> str:
    """The published name of an entry of the network of `config`."""
    return mirnet_name(ours, config) if isinstance(config, MIRNetConfig) else mirnet_v2_name(ours, config)


def layout(names: Iterable[str]) -> Literal["MIRNet", "MIRNetv2"] | None:
    """Which of the two layouts the names are of, as a whole or with some odd ones; None where of neither."""
    names = list(names)
    if any(".skff_top." in name or ".dau_top." in name for name in names):
        return "MIRNetv2"
    if any(".selective_kernel." in name or ".SA.spatial." in name for name in names):
        return "MIRNet"
    return None


def config_of(tensors: Mapping[str, Tensor]) -> MIRNetConfig | MIRNetV2Config:
    """The config that entries of either layout ask for. Raises KeyError without `conv_in.weight`, SettingsError."""
    return mirnet_config(tensors) if layout(tensors) == "MIRNet" else mirnet_v2_config(tensors)


def stranger(names: Iterable[str]) -> str | None:
    """The name of another known network that has such entry names; None for unknown ones."""
    return next((title for name in names for part, title in _STRANGERS if part in name), None)


def mirnet_config(tensors: Mapping[str, Tensor]) -> MIRNetConfig:
    """The config of published entries of MIRNet.

    The published network shares weights, and its file repeats them: where all copies agree the
    network is tied, where some differ (trained apart) it is not.
    """
    features, rrgs, mrbs = len(tensors["conv_in.weight"]), _count(_RRG, tensors), _count(_MRB, tensors)
    return MIRNetConfig(features, rrgs, mrbs, tied=_copies_agree(tensors))


def mirnet_v2_config(tensors: Mapping[str, Tensor]) -> MIRNetV2Config:
    """The config of published entries of MIRNetv2, whose RRGs are always four."""
    return MIRNetV2Config(len(tensors["conv_in.weight"]), _count(_MRB, tensors))


_RRG = re.compile(r"body\.(\d+)\.")
_MRB = re.compile(r"body\.\d+\.body\.(\d+)\.\w+\.")  # an RRG's own convolution has one part less in its name


def _count(numbered: re.Pattern[str], names: Iterable[str]) -> int:
    return 1 + max((int(match[1]) for name in names if (match := numbered.match(name))), default=-1)


def _copies_agree(tensors: Mapping[str, Tensor]) -> bool:
    """Whether both columns of every stream are equal, and the activations of all DAUs."""
    columns = [
        (tensor, tensors.get(re.sub(r"(\.blocks\.\d)\.0\.", r"\1.1.", name)))
        for name, tensor in tensors.items()
        if re.search(r"\.blocks\.\d\.0\.", name)
    ]
    activations = [tensor for name, tensor in tensors.items() if re.search(r"\.blocks\.\d\.\d\.body\.1\.", name)]
    pairs = columns + [(activations[0], other) for other in activations[1:]]
    return all(torch.equal(one, other) for one, other in pairs if other is not None)
