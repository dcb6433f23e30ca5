"""`Metadata`: the metadata of an image file, in whichever format the file is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Text:
    """A text chunk of a PNG (Title, Author, Comment and the like), with the bytes of the chunk as they are."""

    kind: bytes  # tEXt, zTXt or iTXt
    data: bytes

    @property
    def keyword(self) -> str:
        """The keyword ahead of the text, such as "Author"."""
        return self.data.partition(b"\0")[0].decode("latin-1")


@dataclass(frozen=True)
class Metadata:
    """All that a file states beside its pixels, each part as the bytes in the file, without stale thumbnails."""

    exif: bytes | None = None  # without "Exif\0\0"
    xmp: bytes | None = None
    icc: bytes | None = None
    photoshop: bytes | None = None  # Photoshop's resources (8BIM), the IPTC record among them
    pixels_per_mm: tuple[float, float] | None = None  # across and down
    resolution_unit: str = "in"  # or "cm"; "" where only the shape of a pixel is known, not its size
    comments: tuple[bytes, ...] = ()  # of a JPEG, in an encoding that the file does not state
    texts: tuple[Text, ...] = ()
    lossless: bool = False  # whether a WebP or AVIF file is compressed without loss
    dropped: tuple[str, ...] = ()  # remarks about metadata that no output file gets
