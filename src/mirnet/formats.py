"""The formats of picture files: what they are called, what they can hold, and what comes out of which."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Format:
    """One format. `result` names the format that its results have where nobody asks for another."""

    name: str
    title: str  # as sentences call it
    suffixes: tuple[str, ...]  # lower case; the first is the one that we write
    result: str
    depths: tuple[int, ...] = (8,)  # bits of a value that it holds, 32 for float
    alpha: bool = True
    longest_side_px: int = 2**31 - 1

    @property
    def writable(self) -> bool:
        """Whether we write it: then it is its own result."""
        return self.result == self.name


_RAW_SUFFIXES = (".dng", ".nef", ".cr2", ".cr3", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".nrw", ".rwl", ".3fr",
                 ".iiq", ".erf", ".kdc", ".dcr", ".mrw", ".x3f", ".sr2", ".srf")  # fmt: skip

FORMATS = {
    each.name: each
    for each in (
        Format("jpeg", "JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), "jpeg", alpha=False, longest_side_px=65500),
        Format("png", "PNG", (".png",), "png", depths=(8, 16)),
        Format("webp", "WebP", (".webp",), "webp", longest_side_px=16383),
        Format("tiff", "TIFF", (".tif", ".tiff"), "tiff", depths=(8, 16, 32)),
        Format("avif", "AVIF", (".avif",), "avif", depths=(8, 10, 12), longest_side_px=16384),
        Format("gif", "GIF", (".gif",), "png"),
        Format("bmp", "BMP", (".bmp", ".dib"), "png"),
        Format("ppm", "PPM", (".ppm", ".pgm", ".pnm"), "png", depths=(8, 16)),
        Format("heic", "HEIC", (".heic", ".heif", ".hif"), "tiff", depths=(8, 10, 12)),
        Format("raw", "camera RAW", _RAW_SUFFIXES, "tiff", depths=(16,)),
    )
}
WRITABLE = tuple(name for name, each in FORMATS.items() if each.writable)


def of_suffix(suffix: str) -> Format | None:
    """The format that a suffix such as ".JPG" speaks of; None if it is none of ours."""
    return next((each for each in FORMATS.values() if suffix.lower() in each.suffixes), None)


def result_name(name: str, wished: str | None = None) -> str:
    """The file name of the result of the picture file `name`: the same, unless its format becomes another.

    `wished` is the name of a format that somebody asked for, None for the one that belongs to the source. A suffix
    that already speaks of that format stays as it is; one that we don't know stays too.
    """
    path = Path(name)
    source = of_suffix(path.suffix)
    target = wished or (source.result if source else None)
    if target is None or (source is not None and target == source.name):
        return name
    return path.with_suffix(FORMATS[target].suffixes[0]).name
