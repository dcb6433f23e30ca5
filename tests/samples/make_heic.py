"""Makes the HEIC samples beside it, of pixels of our own. Needs pillow_heif, whose wheel has an encoder (x265, GPL):

python -m venv /tmp/encoder && /tmp/encoder/bin/pip install pillow_heif && /tmp/encoder/bin/python make_heic.py
"""

from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

HERE = Path(__file__).parent

down, across = np.mgrid[0:1:48j, 0:1:64j]
ramp = np.stack([down, across, (down + across) / 2], axis=-1)  # as smooth() of pictures.py

eight = np.rint(255 * ramp).astype(np.uint8).tobytes()
tags = Image.Exif()
tags[0x010F], tags[0x0112] = "Acme", 6
picture = pillow_heif.from_bytes("RGB", (64, 48), eight)
picture[0].info["exif"] = tags.tobytes()
picture.save(HERE / "eight-bit-turned.heic", quality=95, chroma=444)

ten = np.rint(65535 * ramp).astype(np.uint16).tobytes()
pillow_heif.from_bytes("RGB;16", (64, 48), ten).save(HERE / "ten-bit.heic", quality=95, chroma=444)
