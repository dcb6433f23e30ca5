"""`Metadata`: all that a picture file says beside its pixels, whichever format it came from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A text chunk of a PNG: Title, Author, Comment and the like, as the very bytes of the chunk."""

    kind: bytes  # tEXt, zTXt or iTXt
    data: bytes

    @property
    def keyword(self) -> str:
        return self.data.partition(b"\0")[0].decode("latin-1")


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels, each as the bytes that it holds, stale thumbnails taken out."""

    exif: bytes | None = None  # without "Exif\0\0"
    xmp: bytes | None = None
    icc: bytes | None = None
    photoshop: bytes | None = None  # Photoshop's resources (8BIM), the IPTC record among them
    pixels_per_mm: tuple[float, float] | None = None  # across and down
    resolution_unit: str = "in"  # or "cm"; "" where only the shape of a pixel is known, not its size
    comments: tuple[bytes, ...] = ()  # of a JPEG or GIF, in an encoding that nobody states
    texts: tuple[Text, ...] = ()
    lossless: bool = False  # a WebP file may be either
    left: tuple[str, ...] = ()  # sentences about what stays behind wherever the picture goes
