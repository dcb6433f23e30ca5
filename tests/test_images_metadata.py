"""Pictures keep all that they say beside their pixels, on their way through `mirnet.images`."""

import dataclasses
import functools
import io
import json
import struct
import subprocess
import tempfile

import numpy as np
import PIL.Image
import PIL.ImageCms
import PIL.ImageOps
import pytest
from sample_pictures import FORMATS, WAYS, XMP, again, exif, icc, noise, photo, pillow_bytes, smooth, with_thumbnail

from mirnet import images, metadata
from mirnet.images import libvips_reader, output_metadata


@pytest.fixture
def needs_exiftool(require_tool):
    require_tool("exiftool")


def exiftool(data: bytes, *arguments: str) -> str:
    """What exiftool prints about a file; a real one, since it complains of offsets that lead back in a pipe."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return subprocess.run(["exiftool", *arguments, file.name], capture_output=True).stdout.decode()


def told(data: bytes, *groups: str) -> dict[str, object]:
    """What exiftool reads from a file in the groups named."""
    read = json.loads(exiftool(data, "-json", "-n", "-G1", "-a", *(f"-{group}:all" for group in groups)))[0]
    read.pop("SourceFile")
    return read


@functools.cache
def told_of_photo(data: bytes) -> dict[str, object]:
    """What exiftool reads of our test camera's EXIF and of the XMP, under one name in every format."""
    read = told(data, "EXIF", "XMP")
    own = {"IFD0": "Make Model Copyright XPTitle", "GPS": "GPSLatitudeRef GPSLatitude", "XMP-dc": "Title"}
    own["ExifIFD"] = "ExposureTime ISO DateTimeOriginal ExposureCompensation FocalLengthIn35mmFormat LensModel"
    names = [f"{group}:{name}" for group, line in own.items() for name in line.split()]
    return {name: read[name] for name in names if name in read}


@pytest.mark.usefixtures("needs_exiftool")
@pytest.mark.parametrize(("format", "target"), WAYS)
def test_exif_and_xmp_stay_in_every_format_and_between_formats(format, target):
    data = photo(format)
    before, after = told_of_photo(data), told_of_photo(again(data, format=target))
    assert len(before) == (12 if format == "png" else 13)
    assert after == before


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("format", FORMATS)
def test_a_third_reader_finds_every_tag_of_exposure_and_place_and_the_maker_note(format, target):
    def directories(data):
        tags = PIL.Image.open(io.BytesIO(data)).getexif()
        return dict(tags.get_ifd(0x8769)), dict(tags.get_ifd(0x8825)), tags[0x8298]

    data = photo(format)
    before, after = directories(data), directories(again(data, format=target))
    assert before[0].pop(0x927C) == b"maker\0\1\2\3" * 9
    assert after[0].pop(0x927C, None) == (None if "tiff" in (format, target) else b"maker\0\1\2\3" * 9)
    assert after == before


@pytest.mark.usefixtures("needs_exiftool")
@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_the_same_format_gains_and_loses_no_exif_at_all(format):
    data = photo(format)
    assert told(again(data), "EXIF") == told(data, "EXIF")


@pytest.mark.usefixtures("needs_exiftool")
@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_without_exif_gets_none(format):
    assert "ExifIFD" not in str(told(again(pillow_bytes(smooth(), format)), "EXIF"))


@functools.cache
def complaints(data: bytes) -> set[str]:
    """What exiftool finds wrong with a file."""
    return set(exiftool(data, "-validate", "-warning", "-error", "-a", "-s3").splitlines()[1:])


@pytest.mark.usefixtures("needs_exiftool")
@pytest.mark.parametrize(("format", "target"), WAYS)
def test_exiftool_finds_nothing_wrong_that_was_right_before(format, target):
    before = complaints(photo(format)) | complaints(photo(target))
    new = complaints(again(photo(format), format=target, provenance="mirnet 1")) - before
    # our camera says little, and deflate has been in TIFF since 2002 but not in the EXIF standard
    assert not {line for line in new if "Missing required" not in line and "Compression" not in line}


@pytest.mark.parametrize("format", FORMATS)
def test_the_colour_profile_stays(format):
    for target in FORMATS:
        written = again(photo(format), format=target)
        assert PIL.Image.open(io.BytesIO(written)).info["icc_profile"] == icc()


@pytest.mark.parametrize("target", ["jpeg", "png", "tiff"])
@pytest.mark.parametrize("format", ["jpeg", "png", "tiff"])
def test_the_resolution_stays_and_turns_with_the_picture(format, target):
    across, down = PIL.Image.open(io.BytesIO(again(photo(format), format=target))).info["dpi"]
    expected = (240, 120) if format == target else (120, 240)
    assert (float(across), float(down)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("format", ["jpeg", "png"])
def test_no_resolution_is_made_up(format):
    assert "dpi" not in PIL.Image.open(io.BytesIO(again(pillow_bytes(smooth(), format)))).info


@pytest.mark.parametrize("format", ["jpeg", "png", "webp"])
def test_the_stale_thumbnail_is_removed_and_nothing_else(format):
    thumbnail = pillow_bytes(smooth(12, 16), "jpeg")
    block = exif().tobytes().removeprefix(b"Exif\0\0")
    data = pillow_bytes(smooth(), format, exif=with_thumbnail(block, thumbnail))
    assert thumbnail in data
    written = again(data)
    assert thumbnail[20:200] not in written
    image = PIL.Image.open(io.BytesIO(written))
    assert not image.getexif().get_ifd(1)
    assert dict(image.getexif()) == dict(PIL.Image.open(io.BytesIO(data)).getexif())


def test_a_thumbnail_in_the_middle_of_the_block_is_blanked():
    block = (
        with_thumbnail(exif().tobytes().removeprefix(b"Exif\0\0"), b"\xff\xd8secret\xff\xd9") + b"maker data behind it"
    )
    cleaned = metadata.clean_exif(block)
    assert b"secret" not in cleaned
    assert len(cleaned) == len(block)
    assert cleaned.endswith(b"maker data behind it")
    endian = "<" if block[:2] == b"II" else ">"
    (first,) = struct.unpack_from(endian + "L", cleaned, 4)
    (count,) = struct.unpack_from(endian + "H", cleaned, first)
    assert struct.unpack_from(endian + "L", cleaned, first + 2 + 12 * count) == (0,)  # no second directory follows


def test_iptc_stays_and_the_thumbnail_beside_it_goes():
    def resource(kind, data):
        return b"8BIM" + struct.pack(">HHL", kind, 0, len(data)) + data + bytes(len(data) % 2)

    caption = b"\x1c\x02\x78\0\x05H\xc3\xbctte"
    block = b"Photoshop 3.0\0" + resource(1036, b"old thumbnail") + resource(1028, caption) + resource(1033, b"older")
    data = photo("jpeg")
    data = data[:2] + b"\xff\xed" + struct.pack(">H", len(block) + 2) + block + data[2:]
    written = again(data)
    assert PIL.Image.open(io.BytesIO(written)).info["photoshop"] == {1028: caption}
    assert b"thumbnail" not in written
    assert b"older" not in written
    assert PIL.Image.open(io.BytesIO(again(data, format="tiff"))).getexif()[33723] == caption


@pytest.mark.parametrize("block", [b"", b"nonsense", b"II*\0", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_an_exif_block_that_nobody_can_read_is_left_out(block):
    assert metadata.clean_exif(block) is None


@pytest.mark.parametrize("format", FORMATS)
def test_provenance_joins_the_xmp_that_is_there(format):
    data = again(photo(format), provenance='mirnet 1 <"&> weights abc')
    packet = images.open_image(data).metadata.xmp.decode()
    assert packet.count("mirnet:provenance>") == 2
    assert "mirnet 1 &lt;" in packet
    assert ("Hütte" in packet) == (format != "png")  # the PNG had no XMP
    if format != "png":
        ours = packet.index("<rdf:Description", packet.index("Hütte"))
        theirs = packet[:ours] + packet[packet.index("</rdf:RDF>") :]
        assert theirs.encode() == XMP


def test_provenance_is_said_once_however_often_a_picture_is_made():
    once = again(photo("jpeg"), provenance="first")
    twice = images.open_image(again(once, provenance="second")).metadata.xmp
    assert twice == images.open_image(again(photo("jpeg"), provenance="second")).metadata.xmp
    assert twice.count(b"<mirnet:provenance>") == 1


def test_without_provenance_the_xmp_is_the_very_same():
    assert images.open_image(again(photo("jpeg"))).metadata.xmp == XMP


@pytest.mark.usefixtures("needs_exiftool")
@pytest.mark.parametrize("format", FORMATS)
def test_another_program_reads_the_provenance(format):
    for data in (photo(format), pillow_bytes(smooth(), format)):
        read = told(again(data, provenance="mirnet 1 ü"), "XMP-mirnet")
        assert read == {"XMP-mirnet:Provenance": "mirnet 1 ü"}


def test_xmp_that_is_no_text_stays_as_it_is():
    assert metadata.add_provenance(b"\xff\xfe<\0x\0", "mirnet") == b"\xff\xfe<\0x\0"
    assert metadata.add_provenance(b"<other/>", "mirnet") == b"<other/>"


def test_xmp_of_64_kb_stays_in_jpeg():
    full = XMP.replace(b"tte</rdf:li>", b"tte" + b"x" * (65504 - len(XMP)) + b"</rdf:li>")
    data = again(pillow_bytes(smooth(), "jpeg", xmp=full))
    assert images.open_image(data).metadata.xmp == full


def test_the_blank_room_in_xmp_gives_way_to_provenance_in_jpeg():
    roomy = XMP.replace(b"  \n  <?xpacket", b" " * (65504 - len(XMP)) + b"<?xpacket")
    data = again(pillow_bytes(smooth(), "jpeg", xmp=roomy), provenance="mirnet")
    assert b"mirnet:provenance" in images.open_image(data).metadata.xmp


def test_exif_alone_hides_no_alpha_in_webp():
    data = pillow_bytes(noise(4), "webp", lossless=True, exif=exif(1).tobytes())
    written = again(data)
    assert PIL.Image.open(io.BytesIO(written)).mode == "RGBA"
    assert written[20] & 0x18 == 0x18  # the head's flags of alpha and EXIF
    np.testing.assert_array_equal(images.read_image(written)[..., 3], noise(4)[..., 3])


def test_a_grey_profile_goes_where_grey_becomes_rgb():
    profile = bytearray(icc())
    profile[16:20] = b"GRAY"
    picture = images.open_image(pillow_bytes(noise(1), "png"))
    grey = dataclasses.replace(picture, read_metadata=lambda: images.Metadata(icc=bytes(profile)))
    assert output_metadata.make_output_metadata(grey, "webp", None)[0].icc is None
    assert output_metadata.make_output_metadata(grey, "tiff", None)[0].icc == bytes(profile)


def test_exif_too_long_for_jpeg_loses_the_makers_notes_and_says_so(tmp_path):
    tags = exif()
    tags.get_ifd(0x8769)[0x927C] = bytes(70_000)
    picture = images.open_image(pillow_bytes(smooth(), "png", exif=tags))
    remarks = images.save_image(tmp_path / "out.jpg", picture.bands(9), picture, format="jpeg")
    assert "the camera maker's own notes were dropped" in remarks[0]
    assert PIL.Image.open(io.BytesIO((tmp_path / "out.jpg").read_bytes())).getexif()[0x010F] == "Acme"


def test_the_size_in_the_exif_is_that_of_the_turned_picture():
    tags = exif(6)
    tags.get_ifd(0x8769)[0xA002], tags.get_ifd(0x8769)[0xA003] = 64, 48
    written = again(pillow_bytes(smooth(), "jpeg", exif=tags.tobytes()), format="png")
    shot = PIL.Image.open(io.BytesIO(written)).getexif().get_ifd(0x8769)
    assert (shot[0xA002], shot[0xA003]) == (48, 64)


def test_metadata_are_read_once_and_only_where_they_are_used(monkeypatch):
    reads = []

    def read_metadata(stream, format):
        reads.append(format)
        return metadata.read_metadata(stream, format)

    monkeypatch.setattr(libvips_reader, "read_metadata", read_metadata)
    assert images.read_image(photo("jpeg")).size > 0
    image = images.open_image(photo("jpeg"))
    assert image.header.orientation == 6
    assert reads == []
    assert image.metadata.icc == icc()
    images.encode_image(image.bands(9), image, format="png")
    assert reads == ["jpeg"]
