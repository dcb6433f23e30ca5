"""The formats of image files: their names and suffixes, what each can hold, and in which format its output is."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Format:
    """One format. `output` is the name of the format of its outputs where the user chooses no other."""

    name: str
    title: str  # in messages
    suffixes: tuple[str, ...]  # lower case; outputs get the first
    output: str
    depths: tuple[int, ...] = (8,)  # bits of a value that it can hold, 32 for float
    alpha: bool = True
    longest_side_px: int = 2**31 - 1

    @property
    def writable(self) -> bool:
        """Whether outputs can be in this format."""
        return self.output == self.name


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
WRITABLE_SUFFIXES = tuple(suffix for name in WRITABLE for suffix in FORMATS[name].suffixes)


def find_format(suffix: str) -> Format | None:
    """Returns the format with a suffix such as ".JPG"; None for an unknown suffix."""
    return next((each for each in FORMATS.values() if suffix.lower() in each.suffixes), None)


def make_output_name(name: str, format: str | None = None) -> str:
    """Returns the file name of the output for the image file `name`: the same, unless the format changes.

    `format` is the name of the chosen format, None for the output format of the source. A suffix that belongs to that
    format already stays as it is, and so does an unknown one.
    """
    path = Path(name)
    source = find_format(path.suffix)
    target = format or (source.output if source else None)
    if target is None or (source is not None and target == source.name):
        return name
    return path.with_suffix(FORMATS[target].suffixes[0]).name
