"""Makes the inputs of `same_output.py`: small dark image files of every format, and pairs for training, all seeded.

Nothing here imports mirnet, so that the inputs do not depend on the code that is compared.
"""

import io
import shutil
import struct
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pyvips
import tifffile
from PIL.TiffImagePlugin import IFDRational

REPOSITORY = Path(__file__).resolve().parent.parent
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="48,10.5N" tiff:Orientation="1">'
    '<dc:title><rdf:Alt><rdf:li xml:lang="x-default">Hütte</rdf:li></rdf:Alt></dc:title></rdf:Description>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
).encode()
# Columns of red, green and blue in XYZ, adapted to D50 (Adobe RGB (1998), annex C)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
D50 = (0.9642, 1.0, 0.8249)
NEUTRAL = (0.5, 1.0, 0.7)  # the camera's values of white in the DNG file
FROM_XYZ = (32406, -15372, -4986, -9689, 18758, 415, 557, -2040, 10570)  # to linear sRGB, in ten thousandths


def draw_scene(height: int = 52, width: int = 68, seed: int = 0, channels: int = 3) -> np.ndarray:
    """(H, W, C) floats in 0 to 1: patches of colour under a gradient, with a little noise."""
    random = np.random.default_rng(seed)
    patches = random.uniform(0.1, 1.0, (-(-height // 8), -(-width // 8), channels))
    patches = patches.repeat(8, 0).repeat(8, 1)[:height, :width]
    light = np.linspace(0.4, 1.0, width)[None, :, None]
    return np.clip(patches * light + random.normal(0, 0.02, patches.shape), 0, 1)


def draw_dark(dtype: type = np.uint8, share: float = 0.18, **shape: int) -> np.ndarray:
    """A scene at a share of its values, as uint8, uint16 or float32."""
    scene = draw_scene(**shape) * share
    if np.dtype(dtype).kind == "f":
        return scene.astype(dtype)
    return np.rint(scene * np.iinfo(dtype).max).astype(dtype)


# Metadata ------------------------------------------------------------------------------------------------------------


def make_srgb_profile() -> bytes:
    profile = PIL.ImageCms.ImageCmsProfile(PIL.ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + profile[36:]  # the date of its making


def make_profile(columns: tuple[tuple[float, ...], ...], exponent: float) -> bytes:
    """An ICC profile of a matrix and one exponent (ICC.1:2001); of a single exponent, for grey, without columns."""

    def fixed(values: tuple[float, ...]) -> bytes:
        return b"XYZ " + bytes(4) + b"".join(struct.pack(">l", round(value * 65536)) for value in values)

    text = b"made\0"
    curve = b"curv" + bytes(4) + struct.pack(">LH", 1, round(exponent * 256)) + bytes(2)
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">L", len(text)) + text + bytes(78),
            b"cprt": b"text" + bytes(4) + b"CC0\0", b"wtpt": fixed(D50)}  # fmt: skip
    for letter, column in zip((b"r", b"g", b"b"), columns, strict=False):
        tags |= {letter + b"XYZ": fixed(column), letter + b"TRC": curve}
    if not columns:
        tags[b"kTRC"] = curve
    table, body = struct.pack(">L", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">LL", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">L4sL4s4s4s", size, b"none", 0x02100000, b"mntr", b"RGB " if columns else b"GRAY", b"XYZ ")
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(D50)[8:]
    return head + bytes(128 - len(head)) + table + body


def make_exif(orientation: int = 1) -> PIL.Image.Exif:
    """What a camera writes: UTF-8 text, a maker note, fractions, a place."""
    tags = PIL.Image.Exif()
    tags[0x010F], tags[0x0110], tags[0x0112] = "Acme", "Model 7", orientation
    tags[0x8298] = "© Jürgen".encode()
    shot = tags.get_ifd(0x8769)
    shot[0x829A], shot[0x8827], shot[0x9003] = IFDRational(1, 50), 800, "2020:01:02 03:04:05"
    shot[0x927C] = b"maker\0\1\2\3" * 9
    shot[0xA405], shot[0xA434] = 35, "Lens 35/2"
    place = tags.get_ifd(0x8825)
    place[1], place[2] = "N", (IFDRational(48), IFDRational(10), IFDRational(3, 7))
    return tags


def with_iptc(jpeg: bytes) -> bytes:
    """A JPEG with a Photoshop segment that holds IPTC: a caption and a city."""
    records = b"".join(struct.pack(">BBBH", 0x1C, 2, number, len(text)) + text
                       for number, text in ((120, b"A caption"), (90, b"Graz")))  # fmt: skip
    resource = b"8BIM" + struct.pack(">HHL", 0x0404, 0, len(records)) + records + bytes(len(records) % 2)
    payload = b"Photoshop 3.0\0" + resource
    return jpeg[:2] + b"\xff\xed" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


# Files ---------------------------------------------------------------------------------------------------------------


def to_pillow(array: np.ndarray | PIL.Image.Image, format: str, **options: object) -> bytes:
    image = PIL.Image.fromarray(array) if isinstance(array, np.ndarray) else array
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def to_vips(array: np.ndarray, suffix: str, **options: object) -> bytes:
    height, width, channels = array.shape
    is_deep = array.dtype == np.uint16
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(array), width, height, channels,
                                         "ushort" if is_deep else "uchar")  # fmt: skip
    names = {1: ("b-w", "grey16"), 2: ("b-w", "grey16")}.get(channels, ("srgb", "rgb16"))
    return bytes(image.copy(interpretation=names[is_deep]).write_to_buffer(suffix, **options))


def to_tiff(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, metadata=None, **options)
    return stream.getvalue()


def to_dng(orientation: int) -> bytes:
    """A camera's RAW file: a mosaic of the dark scene as linear light, with its colour matrix and its neutral."""
    light = draw_dark(np.float32, 0.1, height=48, width=64) * NEUTRAL
    mosaic = light[..., 1].copy()
    mosaic[0::2, 0::2], mosaic[1::2, 1::2] = light[0::2, 0::2, 0], light[1::2, 1::2, 2]
    tags = [
        (271, "s", 0, "Acme", True),
        (274, "H", 1, orientation, True),
        (33421, "H", 2, (2, 2), True),  # the mosaic's period and colours
        (33422, "B", 4, bytes([0, 1, 1, 2]), True),
        (50706, "B", 4, bytes([1, 4, 0, 0]), True),  # DNG's version
        (50708, "s", 0, "Acme Model 7", True),
        (50717, "H", 1, 65535, True),  # white
        (50721, 10, 9, [part for value in FROM_XYZ for part in (value, 10_000)], True),
        (50728, 5, 3, [part for value in NEUTRAL for part in (round(1000 * value), 1000)], True),
        (50778, "H", 1, 21, True),  # daylight of 6500 K
    ]
    return to_tiff(np.rint(mosaic * 65535).astype(np.uint16), photometric="cfa", extratags=tags)


def make_jpegs() -> dict[str, bytes]:
    dark, exif, p3 = draw_dark(), make_exif().tobytes(), pyvips.Image.profile_load("p3")
    rich = {"exif": exif, "xmp": XMP, "icc_profile": make_srgb_profile(), "dpi": (240, 120), "comment": b"a comment"}
    files = {
        "plain.jpg": to_pillow(dark, "jpeg", quality=90),
        "subsampled-progressive.jpg": to_pillow(draw_dark(seed=1), "jpeg", quality=70, progressive=True),
        "grey.jpg": to_pillow(dark[..., 1], "jpeg"),
        "grey-gamma.jpg": to_pillow(dark[..., 1], "jpeg", icc_profile=make_profile((), 1.8)),
        "cmyk.jpg": to_pillow(PIL.Image.fromarray(dark).convert("CMYK"), "jpeg"),
        "rich.jpg": with_iptc(to_pillow(dark, "jpeg", quality=95, **rich)),
        "p3.jpg": to_pillow(dark, "jpeg", quality=95, icc_profile=p3),
        "adobe-rgb.jpg": to_pillow(dark, "jpeg", quality=95, icc_profile=make_profile(ADOBE_RGB, 2.19921875)),
        "tiny.jpg": to_pillow(draw_dark(height=3, width=5), "jpeg"),
        "bright.jpg": to_pillow(draw_dark(share=0.9, seed=2), "jpeg"),
    }
    for turn in range(1, 9):
        files[f"turned-{turn}.jpg"] = to_pillow(dark, "jpeg", exif=make_exif(turn).tobytes(), quality=92)
    return files


def make_pngs() -> dict[str, bytes]:
    dark, deep = draw_dark(seed=3), draw_dark(np.uint16, seed=3)
    translucent = draw_dark(seed=4, channels=4, share=0.5)
    palette = PIL.Image.fromarray(dark).quantize(32)
    rich = {"exif": make_exif(6).tobytes(), "icc_profile": make_srgb_profile(), "dpi": (300, 300)}
    return {
        "png.png": to_pillow(dark, "png"),
        "png-grey.png": to_pillow(dark[..., 0], "png"),
        "grey-alpha.png": to_pillow(translucent[..., :2], "png"),
        "alpha.png": to_pillow(translucent, "png"),
        "deep.png": to_vips(deep, ".png"),
        "png-deep-grey.png": to_vips(deep[..., :1], ".png"),
        "deep-alpha.png": to_vips(draw_dark(np.uint16, seed=4, channels=4, share=0.5), ".png"),
        "deep-p3.png": to_pillow_with_profile(deep),
        "palette.png": to_pillow(palette, "png"),
        "palette-transparent.png": to_pillow(palette, "png", transparency=3),
        "two-values.png": to_pillow(PIL.Image.fromarray(dark).convert("1"), "png"),
        "interlaced.png": to_vips(dark, ".png", interlace=True),
        "png-rich.png": to_pillow(dark, "png", **rich),
        "black.png": to_pillow(np.zeros((20, 30, 3), np.uint8), "png"),
        "large.png": to_pillow(draw_dark(height=236, width=316, seed=5), "png"),
    }


def to_pillow_with_profile(deep: np.ndarray) -> bytes:
    """A 16-bit PNG with Display P3, which Pillow cannot write."""
    image = pyvips.Image.new_from_array(deep).copy(interpretation="rgb16").copy()
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", pyvips.Image.profile_load("p3"))
    return bytes(image.write_to_buffer(".png"))


def make_tiffs() -> dict[str, bytes]:
    dark, deep, floats = draw_dark(seed=6), draw_dark(np.uint16, seed=6), draw_dark(np.float32, seed=6)
    tags = make_exif(8)
    tags[700] = XMP
    return {
        "tiff.tif": to_tiff(dark, photometric="rgb"),
        "tiff-rich.tif": to_pillow(dark, "tiff", exif=tags.tobytes(), icc_profile=make_srgb_profile(), dpi=(240, 120)),
        "lzw.tif": to_vips(dark, ".tif", compression="lzw", predictor="horizontal"),
        "tiled.tif": to_vips(dark, ".tif", tile=True, tile_width=32, tile_height=32, compression="deflate"),
        "tiff-deep.tif": to_tiff(deep, photometric="rgb"),
        "tiff-deep-grey.tif": to_tiff(deep[..., 0], photometric="minisblack"),
        "float.tif": to_tiff(floats, photometric="rgb"),
        "float-grey.tif": to_tiff(floats[..., 0], photometric="minisblack"),
        "float-beyond.tif": to_tiff(floats * 8 - 0.1, photometric="rgb"),
        "planes.tif": to_tiff(np.moveaxis(dark, -1, 0).copy(), photometric="rgb", planarconfig="separate"),
        "pages.tif": to_tiff(np.stack([dark, dark]), photometric="rgb"),
    }


def make_others() -> dict[str, bytes]:
    """Files of WebP, AVIF, GIF, BMP, PPM, HEIC and RAW, and files that are no images."""
    dark = draw_dark(seed=7)
    frames = [PIL.Image.fromarray(draw_dark(seed=seed)).quantize(64) for seed in (7, 8)]
    rich = {"exif": make_exif(3).tobytes(), "xmp": XMP, "icc_profile": make_srgb_profile()}
    samples = REPOSITORY / "tests/samples"
    jpeg = to_pillow(dark, "jpeg")
    return {
        "lossy.webp": to_pillow(dark, "webp", quality=85),
        "webp-rich.webp": to_pillow(dark, "webp", lossless=True, **rich),
        "webp-alpha.webp": to_pillow(draw_dark(seed=4, channels=4, share=0.5), "webp", lossless=True),
        "eight.avif": to_vips(dark, ".avif", Q=80),
        "ten.avif": to_vips(draw_dark(np.uint16, seed=7), ".avif", Q=80, bitdepth=10),
        "gif.gif": to_pillow(frames[0], "gif"),
        "animated.gif": to_pillow(frames[0], "gif", save_all=True, append_images=frames[1:], duration=100),
        "bmp.bmp": to_pillow(dark, "bmp"),
        "ppm.ppm": to_pillow(dark, "ppm"),
        "ppm-deep.ppm": b"P6 68 52 65535\n" + draw_dark(np.uint16, seed=7).astype(">u2").tobytes(),
        "pgm.pgm": to_pillow(dark[..., 0], "ppm"),
        "turned.heic": (samples / "eight-bit-turned.heic").read_bytes(),
        "heic-ten.heic": (samples / "ten-bit.heic").read_bytes(),
        "camera.dng": to_dng(1),
        "camera-turned.dng": to_dng(6),
        "png-inside.jpg": to_pillow(dark, "png"),
        "no-end.jpg": jpeg[: len(jpeg) // 2],
        "no-image.jpg": b"This is no image.\n",
        "empty.png": b"",
    }


def make_images(folder: Path) -> None:
    """Writes all image files, copies of two examples, and `tree`, folders within folders."""
    folder.mkdir()
    files = {**make_jpegs(), **make_pngs(), **make_tiffs(), **make_others()}
    assert len({Path(name).stem for name in files}) == len(files), "results of equal stems get in each other's way"
    for name, content in files.items():
        (folder / name).write_bytes(content)
    for name in ("rocket-at-dusk.jpg", "cat-twin.jpg"):
        shutil.copy(REPOSITORY / "examples" / name, folder / name)
    for name, content in (("a.jpg", "plain.jpg"), ("deeper/b.png", "png.png"), ("deeper/again/c.gif", "gif.gif")):
        target = folder.parent / "tree" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / content, target)


def make_photos(folder: Path) -> None:
    """Writes bright photos, from which `mirnet data darken` makes pairs."""
    folder.mkdir()
    for seed in range(20, 24):
        bright = draw_dark(share=1.0, seed=seed, height=96, width=130 + seed)
        (folder / f"photo-{seed}.png").write_bytes(to_pillow(bright, "png"))
    bright = draw_dark(share=0.95, seed=24, height=90, width=120)
    (folder / "turned.jpg").write_bytes(to_pillow(bright, "jpeg", exif=make_exif(6).tobytes()))


def write_pair(folder: Path, name: str, dark: np.ndarray, bright: np.ndarray) -> None:
    for side, pixels in (("low", dark), ("high", bright)):
        target = folder / side / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(to_pillow(pixels, "png"))


def make_pairs(folder: Path, seeds: range) -> None:
    """Writes a folder of pairs in `low` and `high`; the dark image is an eighth of the bright one."""
    for seed in seeds:
        bright = draw_dark(share=1.0, seed=seed, height=56, width=72 + seed % 3)
        write_pair(folder, f"pair-{seed}", bright // 8, bright)


def make_bad_pairs(folder: Path) -> None:
    """Writes pairs with every fault that `mirnet data check` looks for."""
    make_pairs(folder, range(40, 46))
    bright = [draw_dark(share=1.0, seed=seed, height=96, width=128) for seed in range(50, 58)]
    write_pair(folder, "swapped", bright[0], bright[0] // 8)
    write_pair(folder, "misaligned", np.roll(bright[1], 5, axis=1) // 8, bright[1])
    write_pair(folder, "other-scene", bright[2] // 8, np.ascontiguousarray(bright[3][:, ::-1]))
    write_pair(folder, "other-size", bright[4][:80] // 8, bright[4])
    write_pair(folder, "hardly-differs", bright[5], np.clip(bright[5], 2, 253))
    write_pair(folder, "clipped", bright[6] // 8, np.where(bright[6] > 80, 255, bright[6]).astype(np.uint8))
    write_pair(folder, "twice-a", bright[7] // 8, bright[7])
    write_pair(folder, "twice-b", bright[7] // 8, bright[7])
    write_pair(folder, "near", bright[7] // 8, np.clip(bright[7].astype(int) - 2, 0, 255).astype(np.uint8))
    write_pair(folder, "alpha", bright[7] // 8, draw_dark(share=1.0, channels=4, height=96, width=128))
    write_pair(folder, "unreadable", bright[7] // 8, bright[7])
    (folder / "high/unreadable.png").write_bytes(b"no image")
    write_pair(folder, "no-partner", bright[7] // 8, bright[7])
    (folder / "high/no-partner.png").unlink()
    (folder / "low/pair-40.jpg").write_bytes(to_pillow(bright[7] // 8, "jpeg"))


def make_inputs(folder: Path) -> None:
    """Writes all inputs below a folder: in, tree, photos, pairs, validation, bad."""
    make_images(folder / "in")
    make_photos(folder / "photos")
    make_pairs(folder / "pairs", range(30, 35))
    make_pairs(folder / "validation", range(35, 37))
    make_bad_pairs(folder / "bad")
