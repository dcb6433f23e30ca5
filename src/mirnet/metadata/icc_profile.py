"""Colours that a file states without a profile, as a profile: PNG's cHRM and gAMA, and the code points (cICP, nclx).

Everything else then needs to know one way only in which a picture states its colours. What amounts to sRGB gives none.
"""

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_D50 = (0.9642, 1.0, 0.8249)  # of the profile connection space
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D65 = (0.3127, 0.3290)
_SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
_PRIMARIES = {  # ITU-T H.273, table 2: red, green, blue, white
    1: _SRGB,
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),  # BT.2020
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),  # DCI-P3
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),  # Display P3
}
_SRGB_CURVE: tuple[float, ...] = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # of a parametric curve of type 3
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_TRANSFERS = {1: _BT709_CURVE, 6: _BT709_CURVE, 14: _BT709_CURVE, 15: _BT709_CURVE, 4: (2.2,), 5: (2.8,), 8: (1.0,),
              13: _SRGB_CURVE}  # fmt: skip
_HDR = {16: "PQ", 18: "HLG"}

Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]


def profile_of_png(said: Mapping[bytes, bytes]) -> bytes | None:
    """A profile out of a PNG's chunks by their names, in the order of rank that PNG gives them; None for sRGB."""
    code = said.get(b"cICP", b"")
    if len(code) == 4 and (code[0] in _PRIMARIES and code[1] in _TRANSFERS):
        return profile_of_code(code[0], code[1])
    if b"iCCP" in said or b"sRGB" in said:
        return None
    primaries, curve = _SRGB, _SRGB_CURVE
    if len(said.get(b"cHRM", b"")) == 32:
        white, *colours = np.array(struct.unpack(">8L", said[b"cHRM"])).reshape(4, 2) / 100_000
        primaries = (*(_point(each) for each in colours), _point(white))  # type: ignore[assignment]
    if len(said.get(b"gAMA", b"")) == 4:
        (gamma,) = struct.unpack(">L", said[b"gAMA"])
        if 1000 <= gamma <= 1_000_000 and abs(gamma - 45455) > 700:  # 1/2.2 has always meant sRGB's curve
            curve = (100_000 / gamma,)
    return profile(primaries, curve)


def _point(values: NDArray[np.float64]) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def hdr(transfer: int) -> tuple[str, ...]:
    """A sentence about colours brighter than white, which no profile of ours can say."""
    name = _HDR.get(transfer)
    return (f"its colours are those of HDR ({name}) and were taken for plain ones, so they look flat",) if name else ()


def profile_of_code(primaries: int, transfer: int) -> bytes | None:
    """A profile for code points of ITU-T H.273; None for sRGB, and for what no profile of a curve can say."""
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    # a camera's BT.709 is meant to be shown as sRGB
    curve = _SRGB_CURVE if primaries == 1 and _TRANSFERS[transfer] is _BT709_CURVE else _TRANSFERS[transfer]
    return profile(_PRIMARIES[primaries], curve)


def profile(primaries: Primaries, curve: tuple[float, ...]) -> bytes | None:
    """A display profile (ICC 4.3) of red, green, blue and white in (x, y), and one curve: a gamma, or type 3's numbers.

    None for sRGB, and for primaries that span no colours.
    """
    if np.allclose(primaries, _SRGB, atol=0.002) and np.allclose(curve, _SRGB_CURVE if len(curve) > 1 else 0):
        return None
    matrix = _to_d50(primaries)
    if matrix is None:
        return None
    adaptation, columns = matrix
    parts = {
        b"desc": _text("Colours as the file states them"),
        b"cprt": _text("No copyright, use freely"),
        b"wtpt": b"XYZ \0\0\0\0" + _fixed(_D50),
        b"chad": b"sf32\0\0\0\0" + _fixed(adaptation.ravel()),
        **{name: b"XYZ \0\0\0\0" + _fixed(columns[:, index]) for index, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))},
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(curve)),
    }
    return _assembled(parts)


def _to_d50(primaries: Primaries) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The adaptation of the white point to D50, and linear light to XYZ under it."""
    if any(y < 1e-4 for _, y in primaries):
        return None
    red, green, blue, white = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in primaries)
    colours = np.stack([red, green, blue], axis=1)
    if abs(np.linalg.det(colours)) < 1e-3:
        return None
    columns = colours * np.linalg.solve(colours, white)
    ratio = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ white)
    adaptation = np.linalg.inv(_BRADFORD) @ np.diag(ratio) @ _BRADFORD
    adapted = adaptation @ columns
    return (adaptation, adapted) if np.isfinite(adapted).all() and np.abs(adapted).max() < 100 else None


def _fixed(values: NDArray[np.float64] | tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">l", round(float(value) * 65536)) for value in values)


def _curve(numbers: tuple[float, ...]) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 3 if len(numbers) > 1 else 0, 0) + _fixed(numbers)


def _text(words: str) -> bytes:
    data = words.encode("utf-16be")
    return b"mluc\0\0\0\0" + struct.pack(">LL2s2sLL", 1, 12, b"en", b"US", len(data), 28) + data


def _assembled(parts: dict[bytes, bytes]) -> bytes:
    place, table, body = 128 + 4 + 12 * len(parts), struct.pack(">L", len(parts)), b""
    for name, data in parts.items():
        table += struct.pack(">4sLL", name, place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">LLL4s4s4s", place + len(body), 0, 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _fixed(_D50)
    return head.ljust(128, b"\0") + table + body
