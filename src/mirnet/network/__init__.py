"""The architectures. `build(name)` makes one of the presets, with fresh weights."""

from mirnet.errors import SettingsError
from mirnet.network.lite import LITE, Lite, LiteConfig
from mirnet.network.mirnet import PAPER, MIRNet, MIRNetConfig
from mirnet.network.mirnet_v2 import V2_PAPER, MIRNetV2, MIRNetV2Config
from mirnet.network.pooling import SceneNetwork

Config = MIRNetConfig | MIRNetV2Config | LiteConfig

PRESETS: dict[str, Config] = {"lite": LITE, "paper": PAPER, "v2-paper": V2_PAPER}


def build(name: str) -> SceneNetwork:
    """The preset "lite", "paper" (31,787,419 parameters) or "v2-paper" (5,858,560), with fresh weights."""
    if name not in PRESETS:
        raise SettingsError(f'There is no preset "{name}"; choose one of {", ".join(PRESETS)}.')
    return from_config(PRESETS[name])


def from_config(config: Config) -> SceneNetwork:
    """The network of a config, with fresh weights."""
    match config:
        case LiteConfig():
            return Lite(config)
        case MIRNetConfig():
            return MIRNet(config)
        case MIRNetV2Config():
            return MIRNetV2(config)


__all__ = [
    "PRESETS", "Config", "Lite", "LiteConfig", "MIRNet", "MIRNetConfig", "MIRNetV2", "MIRNetV2Config",
    "SceneNetwork", "build", "from_config",
]  # fmt: skip
