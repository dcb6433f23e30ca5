"""ICC profiles as bytes: their tone curves read, and profiles made of colours that a file states in another way.

A PNG states colours by its chunks cHRM and gAMA, PNG and AVIF by the code points of ITU-T H.273 (cICP, nclx). As a
profile, all code has one way to know the colours of an image. What amounts to sRGB gives no profile.
"""

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_D50 = (0.9642, 1.0, 0.8249)  # the white of the profile connection space
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
_MOST_TAGS = 1000
_CHANNELS = {1: b"GRAY", 3: b"RGB "}
_CURVES = {1: (b"kTRC",), 3: (b"rTRC", b"gTRC", b"bTRC")}
_NOT_A_MATRIX = "is not made of tone curves and a matrix"

Floats = NDArray[np.float64]
Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]

# Reading -------------------------------------------------------------------------------------------------------------


def read_curves(icc: bytes, channels: int, steps: int) -> Floats:
    """(channels, steps) linear light in [0, 1] of each value, by a profile for grey (1 channel) or RGB (3) images.

    The curves never fall. Source: ICC.1:2022, 10.6 and 10.18. Raises ValueError, with the reason as the end of a
    sentence, for a profile that is damaged, of another kind of image, or has no tone curves.
    """
    if icc[36:40] != b"acsp" or icc[16:20] != _CHANNELS[channels]:
        raise ValueError("is damaged, or of another kind of image")
    return np.stack([_read_curve(_read_tag(icc, name), steps) for name in _CURVES[channels]])


def _read_tag(icc: bytes, name: bytes) -> bytes:
    """The content of one tag. Raises ValueError where the profile has no such tag."""
    try:
        (count,) = struct.unpack_from(">L", icc, 128)
        for offset in range(132, 132 + 12 * min(count, _MOST_TAGS), 12):
            found, start, length = struct.unpack_from(">4sLL", icc, offset)
            if found == name:
                return icc[start : start + length]
    except struct.error as error:
        raise ValueError("is damaged") from error
    raise ValueError(_NOT_A_MATRIX)


def _read_curve(tag: bytes, steps: int) -> Floats:
    """(steps,) linear light of each value, by a tag of type `curv` or `para`."""
    even = np.linspace(0, 1, steps)
    try:
        if tag[:4] == b"curv":
            (count,) = struct.unpack_from(">L", tag, 8)
            numbers = np.frombuffer(tag, ">u2", count, 12)
            if count < 2:
                light = even ** (numbers[0] / 256) if count else even
            else:
                light = np.interp(even, np.linspace(0, 1, count), numbers / 65535)
        elif tag[:4] == b"para":
            (type,) = struct.unpack_from(">H", tag, 8)
            light = _apply_parametric(even, *struct.unpack_from(f">{(1, 3, 4, 5, 7)[type]}l", tag, 12))
        else:
            raise ValueError(_NOT_A_MATRIX)
    except (struct.error, IndexError) as error:
        raise ValueError("is damaged") from error
    return np.asarray(np.maximum.accumulate(np.clip(np.nan_to_num(light), 0, 1)))


def _apply_parametric(x: Floats, *fixed: int) -> Floats:
    """The five parametric curves: Y = (aX + b)^g + e from X = d on, and cX + f below. Numbers are in 65536ths."""
    g, a, b, c, d, e, f = 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0
    numbers = [number / 65536 for number in fixed]
    match numbers:
        case [g]:
            pass
        case [g, a, b]:
            d = -b / a if a else 0.0
        case [g, a, b, e]:
            d, f = (-b / a if a else 0.0), e
        case [g, a, b, c, d]:
            pass
        case [g, a, b, c, d, e, f]:
            pass
    return np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)


# Making --------------------------------------------------------------------------------------------------------------


def make_from_png_chunks(chunks: Mapping[bytes, bytes]) -> bytes | None:
    """Returns a profile from a PNG's chunks by their names, in the order of rank of the PNG standard; None for sRGB."""
    code = chunks.get(b"cICP", b"")
    if len(code) == 4 and (code[0] in _PRIMARIES and code[1] in _TRANSFERS):
        return make_from_code_points(code[0], code[1])
    if b"iCCP" in chunks or b"sRGB" in chunks:
        return None
    primaries, curve = _SRGB, _SRGB_CURVE
    if len(chunks.get(b"cHRM", b"")) == 32:
        white, *colours = np.array(struct.unpack(">8L", chunks[b"cHRM"])).reshape(4, 2) / 100_000
        primaries = (*(_make_point(each) for each in colours), _make_point(white))  # type: ignore[assignment]
    if len(chunks.get(b"gAMA", b"")) == 4:
        (gamma,) = struct.unpack(">L", chunks[b"gAMA"])
        if 1000 <= gamma <= 1_000_000 and abs(gamma - 45455) > 700:  # 1/2.2 has always meant sRGB's curve
            curve = (100_000 / gamma,)
    return make_profile(primaries, curve)


def _make_point(values: Floats) -> tuple[float, float]:
    return float(values[0]), float(values[1])


def describe_hdr(transfer: int) -> tuple[str, ...]:
    """A remark about code points of HDR, whose colours brighter than white no profile of one curve can state."""
    name = _HDR.get(transfer)
    return (f"its colours are those of HDR ({name}) and were taken for plain ones, so they look flat",) if name else ()


def make_from_code_points(primaries: int, transfer: int) -> bytes | None:
    """Returns a profile for code points of ITU-T H.273; None for sRGB, and where no profile of one curve can do."""
    if primaries not in _PRIMARIES or transfer not in _TRANSFERS:
        return None
    # a camera's BT.709 is meant to be shown as sRGB
    curve = _SRGB_CURVE if primaries == 1 and _TRANSFERS[transfer] is _BT709_CURVE else _TRANSFERS[transfer]
    return make_profile(_PRIMARIES[primaries], curve)


def make_profile(primaries: Primaries, curve: tuple[float, ...]) -> bytes | None:
    """Returns a display profile (ICC 4.3) of red, green, blue and white in (x, y), and a gamma or numbers of type 3.

    None for sRGB, and for primaries that lie on a line.
    """
    if np.allclose(primaries, _SRGB, atol=0.002) and np.allclose(curve, _SRGB_CURVE if len(curve) > 1 else 0):
        return None
    matrix = _adapt_to_d50(primaries)
    if matrix is None:
        return None
    adaptation, columns = matrix
    parts = {
        b"desc": _make_text("Colours as the file states them"),
        b"cprt": _make_text("No copyright, use freely"),
        b"wtpt": b"XYZ \0\0\0\0" + _pack_fixed(_D50),
        b"chad": b"sf32\0\0\0\0" + _pack_fixed(adaptation.ravel()),
        **{
            name: b"XYZ \0\0\0\0" + _pack_fixed(column)
            for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns.T, strict=True)
        },
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _make_curve(curve)),
    }
    return _assemble(parts)


def _adapt_to_d50(primaries: Primaries) -> tuple[Floats, Floats] | None:
    """The matrices that adapt the white point to D50, and that take linear light to XYZ under D50."""
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


def _pack_fixed(values: Floats | tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">l", round(float(value) * 65536)) for value in values)


def _make_curve(numbers: tuple[float, ...]) -> bytes:
    return b"para\0\0\0\0" + struct.pack(">HH", 3 if len(numbers) > 1 else 0, 0) + _pack_fixed(numbers)


def _make_text(text: str) -> bytes:
    data = text.encode("utf-16be")
    return b"mluc\0\0\0\0" + struct.pack(">LL2s2sLL", 1, 12, b"en", b"US", len(data), 28) + data


def _assemble(parts: dict[bytes, bytes]) -> bytes:
    start, table, body = 128 + 4 + 12 * len(parts), struct.pack(">L", len(parts)), b""
    for name, data in parts.items():
        table += struct.pack(">4sLL", name, start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">LLL4s4s4s", start + len(body), 0, 0x04300000, b"mntr", b"RGB ", b"XYZ ")
    head += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _pack_fixed(_D50)
    return head.ljust(128, b"\0") + table + body
