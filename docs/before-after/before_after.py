"""Makes the README's images of this folder from the photos of examples/, with the default settings.

python docs/before-after/before_after.py
"""

import tempfile
from pathlib import Path

import pyvips

import mirnet
from mirnet.inference.settings import Settings

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "examples"
NAMES = ("astronaut-twin", "coffee-twin", "rocket-at-dusk")
HEIGHT_PX, GAP_PX, QUALITY = 420, 6, 85


def main() -> None:
    enhancer = mirnet.Enhancer()
    for name in NAMES:
        with tempfile.TemporaryDirectory() as folder:
            after = Path(folder) / "after.png"
            enhancer.enhance_file(EXAMPLES / f"{name}.jpg", after, Settings())
            both = [small(path) for path in (EXAMPLES / f"{name}.jpg", after)]
            joined = both[0].join(both[1], "horizontal", shim=GAP_PX, background=255)
            joined.webpsave(str(HERE / f"{name}.webp"), Q=QUALITY, keep="none")


def small(path: Path) -> pyvips.Image:  # in sRGB
    return pyvips.Image.thumbnail(str(path), 10 * HEIGHT_PX, height=HEIGHT_PX, export_profile="srgb")


if __name__ == "__main__":
    main()
