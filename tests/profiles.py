"""ICC profiles for tests: of curves and a matrix, written by hand as ICC.1:2001 says."""

import struct

import numpy as np

# xy of red, green, blue and white (D65 but for ProPhoto's D50), and the exponent of the tone curve
ADOBE_RGB = (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), (0.3127, 0.3290), 2.19921875)
PROPHOTO = (((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105)), (0.345704, 0.358540), 1.8)
DISPLAY_P3 = (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), (0.3127, 0.3290), 2.2)

BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50 = np.array([0.9642, 1.0, 0.8249])


def to_xyz(primaries, white) -> np.ndarray:
    """(3, 3): linear RGB to XYZ, adapted to D50 by Bradford's matrix."""
    xyz = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    seen_white = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    matrix = xyz * np.linalg.solve(xyz, seen_white)
    scale = np.diag((BRADFORD @ D50) / (BRADFORD @ seen_white))
    return np.linalg.inv(BRADFORD) @ scale @ BRADFORD @ matrix


def profile(primaries, white, exponent: float, name: str = "of a test") -> bytes:
    """A display profile for RGB pictures, version 2.1."""
    columns = to_xyz(primaries, white).T
    curve = b"curv" + bytes(4) + struct.pack(">LH", 1, round(exponent * 256)) + bytes(2)
    tags = {b"desc": description(name), b"cprt": b"text" + bytes(4) + b"CC0\0", b"wtpt": xyz_tag(D50)}
    tags |= {letter + b"XYZ": xyz_tag(column) for letter, column in zip((b"r", b"g", b"b"), columns, strict=True)}
    tags |= {letter + b"TRC": curve for letter in (b"r", b"g", b"b")}
    return assembled(tags, b"RGB ")


def grey_profile(exponent: float) -> bytes:
    """A display profile for grey pictures."""
    curve = b"curv" + bytes(4) + struct.pack(">LH", 1, round(exponent * 256)) + bytes(2)
    tags = {b"desc": description("grey"), b"cprt": b"text" + bytes(4) + b"CC0\0", b"wtpt": xyz_tag(D50), b"kTRC": curve}
    return assembled(tags, b"GRAY")


def description(name: str) -> bytes:
    text = name.encode() + b"\0"
    return b"desc" + bytes(4) + struct.pack(">L", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)


def xyz_tag(colour: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">l", round(float(each) * 65536)) for each in colour)


def assembled(tags: dict[bytes, bytes], space: bytes) -> bytes:
    table, body = struct.pack(">L", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += tag + struct.pack(">LL", start + len(body), len(content))
        body += padded
    size = start + len(body)
    head = struct.pack(">L4sL4s4s4s", size, b"none", 0x02100000, b"mntr", space, b"XYZ ")
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += b"".join(struct.pack(">l", round(float(each) * 65536)) for each in D50)
    return head + bytes(128 - len(head)) + table + body
