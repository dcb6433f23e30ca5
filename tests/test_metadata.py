"""What a picture says beside its pixels stays, byte for byte where it can; what cannot stay is named."""

import functools
import io
import json
import random
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageCms
import pytest
import pyvips
from PIL.TiffImagePlugin import IFDRational

from mirnet import metadata
from mirnet.metadata import (
    bmff,
    exif,
    file_bytes,
    icc_profile,
    photoshop,
    png,
    tiff_directories,
    xmp,
)
from mirnet.metadata.jpeg import CREDENTIALS, FORMER, GAIN_MAP, MOTION, XMP_EXTENSION
from mirnet.metadata.record import Metadata, Text

FORMATS = ("jpeg", "png", "webp", "tiff", "avif")
IPTC = b"\x1c\x02\x5a\0\x04Graz\x1c\x02\x69\0\x04Head"  # a city and a headline
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'


# Test pictures -------------------------------------------------------------------------------------------------------


@functools.cache
def encoded(format: str, width: int = 64, height: int = 48, **options: object) -> bytes:
    """A picture as an encoder writes it, that says nothing yet."""
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    array = np.rint(255 * np.stack([down, across, (down + across) / 2], axis=-1)).astype(np.uint8)
    image = pyvips.Image.new_from_array(array).copy(interpretation="srgb")
    return bytes(image.write_to_buffer(f".{format}", keep="icc", **options))


def canon_notes(place: int, order: str = "<") -> bytes:
    """A maker's notes as Canon writes them: a directory whose places count from the start of the EXIF block."""
    texts = ((0x0006, b"Canon EOS 7\0"), (0x0007, b"Firmware 1.2.3\0\0"), (0x0095, b"EF35mm f/2\0\0"))
    table, values = struct.pack(order + "H", len(texts)), b""
    behind = place + 2 + 12 * len(texts) + 4
    for tag, text in texts:
        table += struct.pack(order + "HHLL", tag, 2, len(text), behind + len(values))
        values += text
    return table + bytes(4) + values


def camera_exif(make: str = "Canon", order: str = "<", thumbnail: bytes = b"") -> bytes:
    """A camera's EXIF, with a lens, a place, and notes that must not move."""
    tags = PIL.Image.Exif()
    tags.endian = order
    tags[0x010F], tags[0x0110], tags[0x0112], tags[0x8298] = make, "EOS 7", 6, "© Jürgen".encode()
    shot = tags.get_ifd(0x8769)
    shot[0x829A], shot[0x9003], shot[0xA434] = IFDRational(1, 50), "2020:01:02 03:04:05", "EF35mm f/2"
    shot[0xA002], shot[0xA003] = 64, 48
    room = len(canon_notes(0))
    shot[0x927C] = b"\xee" * room
    where = tags.get_ifd(0x8825)
    where[1], where[2] = "N", (IFDRational(48), IFDRational(10), IFDRational(3, 7))
    block = bytearray(tags.tobytes().removeprefix(b"Exif\0\0"))
    place = block.index(b"\xee" * room)
    block[place : place + room] = canon_notes(place, order)
    kind = block.index(struct.pack(order + "HHL", 0x927C, 1, room))
    struct.pack_into(order + "H", block, kind + 2, 7)
    return with_thumbnail(bytes(block), order, thumbnail) if thumbnail else bytes(block)


def with_thumbnail(block: bytes, order: str, thumbnail: bytes) -> bytes:
    (first,) = struct.unpack_from(order + "L", block, 4)
    (count,) = struct.unpack_from(order + "H", block, first)
    longer = bytearray(block + bytes(len(block) % 2))
    struct.pack_into(order + "L", longer, first + 2 + 12 * count, len(longer))
    start = len(longer) + 2 + 24 + 4
    longer += struct.pack(order + "H" + 2 * "HHLL", 2, 0x0201, 4, 1, start, 0x0202, 4, 1, len(thumbnail)) + bytes(4)
    return bytes(longer) + thumbnail


def packet(*descriptions: str) -> bytes:
    parts = "".join(f'<rdf:Description rdf:about="" {each}</rdf:Description>' for each in descriptions)
    wrapped = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF {RDF}>{parts}</rdf:RDF></x:xmpmeta>'
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{wrapped}<?xpacket end="w"?>'.encode()


TITLE = 'xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt><rdf:li xml:lang="x-default">Hütte</rdf:li>' \
        "</rdf:Alt></dc:title>"  # fmt: skip
PLACE = (
    'xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:e="http://ns.adobe.com/exif/1.0/" '
    'xmlns:i="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" photoshop:City="Graz" photoshop:Credit="Me">'
    "<e:GPSLatitude>48,10N</e:GPSLatitude><e:Flash>1</e:Flash>"
    '<i:LocationShown><rdf:Bag><rdf:li i:City="Wien"/></rdf:Bag></i:LocationShown>'
)


def full(**changes: object) -> Metadata:
    """Everything that a camera and a cautious photographer say."""
    about = Metadata(exif=camera_exif(), xmp=packet(TITLE, PLACE), photoshop=photoshop.make_resource(1028, IPTC),
                     pixels_per_mm=(10.0, 5.0))  # fmt: skip
    return Metadata(**vars(about) | changes)


def written(format: str, about: Metadata, **options: object) -> bytes:
    file = io.BytesIO(encoded(format, **options))
    metadata.insert_metadata(file, format, about)
    return file.getvalue()


def read(data: bytes, format: str) -> Metadata:
    return metadata.read_metadata(io.BytesIO(data), format)


def sent(about: Metadata, source: str, target: str, **options: object) -> tuple[bytes, tuple[str, ...]]:
    """A picture's words in a file of another format, and what could not go along."""
    fitted, remarks = metadata.fit_metadata(about, source, target, **{"size": (64, 48), **options})
    return written(target, fitted), remarks


def told(program: str, files: list[tuple[str, bytes]], folder: Path, *options: str) -> list[dict[str, object]]:
    """What exiftool says about each of these (suffix and content); asked once, as it takes long to start."""
    paths = [folder / f"{index}.{suffix}" for index, (suffix, _) in enumerate(files)]
    for path, (_, content) in zip(paths, files, strict=True):
        path.write_bytes(content)
    found = subprocess.run([program, "-json", "-a", "-G1", *options, *paths], capture_output=True, check=False)
    return [without(answer, ("SourceFile",)) for answer in json.loads(found.stdout)]


def without(answer: dict[str, object], starts: tuple[str, ...]) -> dict[str, object]:
    return {name: value for name, value in answer.items() if not name.startswith(starts)}


def exiftool(program: str, data: bytes, suffix: str, folder: Path, *options: str) -> dict[str, object]:
    return told(program, [(suffix, data)], folder, *options)[0]


def jpeg_with(*segments: tuple[int, bytes], behind: bytes = b"") -> bytes:
    data = encoded("jpeg")
    parts = b"".join(struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content for marker, content in segments)
    return data[:2] + parts + data[2:] + behind


# EXIF ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("format", [each for each in FORMATS if each != "tiff"])
def test_exif_travels_as_the_cameras_own_bytes(format, order):
    block = camera_exif(order=order)
    data = written(format, full(exif=block))
    assert block in data
    turned = exif.clean_exif(block, 1) if format == "avif" else block  # whose pixels come upright
    assert read(data, format).exif == turned


@pytest.mark.parametrize("format", FORMATS)
def test_pixels_are_as_they_were_before(format):
    before = pyvips.Image.new_from_buffer(encoded(format), "").numpy()
    np.testing.assert_array_equal(pyvips.Image.new_from_buffer(written(format, full()), "").numpy(), before)
    np.testing.assert_array_equal(
        np.asarray(PIL.Image.open(io.BytesIO(written(format, full()))))[..., :3].shape, before.shape
    )


OF_FILES = ("ExifTool", "IFD0:Orientation", "IFD0:Image", "IFD0:BitsPer", "IFD0:Comp", "IFD0:Photo", "IFD0:Strip",
            "IFD0:Sampl", "IFD0:Rows", "IFD0:XRes", "IFD0:YRes", "IFD0:Res", "IFD0:Planar", "IFD0:Predictor",
            "IFD0:SubfileType", "IFD0:YCbCr")  # fmt: skip


@pytest.mark.parametrize(("source", "order"), [*((each, "<") for each in FORMATS if each != "tiff"), ("jpeg", ">")])
def test_exiftool_reads_the_same_camera_lens_place_and_notes_from_every_format(source, order, tmp_path, require_tool):
    first = written(source, full(exif=camera_exif(order=order)))
    files = {target: sent(read(first, source), source, target)[0] for target in FORMATS}
    before, *after = told(
        require_tool("exiftool"),
        [(source, first), *files.items()],
        tmp_path,
        "-EXIF:all",
        "-MakerNotes:all",
        "-XMP:all",
    )
    assert {"Canon:CanonFirmwareVersion", "Canon:LensModel", "ExifIFD:LensModel", "GPS:GPSLatitude"} <= set(before)
    for target, each in zip(files, after, strict=True):
        notes = ("Canon:", "ExifIFD:MakerNote", "MakerNotes:") if target == "tiff" else ()  # they stay where they were
        assert without(each, OF_FILES) == without(before, (*OF_FILES, *notes))


def test_only_the_thumbnail_and_the_orientation_are_edited():
    block = camera_exif(thumbnail=b"\xff\xd8old picture\xff\xd9")
    cleaned = metadata.clean_exif(block, 3)
    assert cleaned is not None
    assert b"old picture" not in cleaned
    changed = [place for place, (old, new) in enumerate(zip(block, cleaned, strict=False)) if old != new]
    assert len(changed) <= 1 + 4  # the orientation, and the link to the second directory


def test_a_thumbnail_that_lies_about_its_place_costs_nothing_else():
    block = camera_exif(thumbnail=b"\xff\xd8old picture\xff\xd9")
    place = block.rindex(struct.pack("<HHL", 0x0201, 4, 1)) + 8
    for start, length in ((8, 20), (8, 0xFFFFFFF0), (0xFFFFFFF0, 20)):
        lying = block[:place] + struct.pack("<L", start) + block[place + 4 : place + 12] + struct.pack("<L", length)
        lying += block[len(lying) :]
        cleaned = metadata.clean_exif(lying)
        assert cleaned is not None
        assert PIL.Image.open(io.BytesIO(written("png", Metadata(exif=cleaned)))).getexif()[0x8298]


def test_the_size_that_exif_states_turns_with_the_picture():
    data, _ = sent(full(), "jpeg", "png", size=(48, 64), orientation=6)
    shot = PIL.Image.open(io.BytesIO(data)).getexif().get_ifd(0x8769)
    assert (shot[0xA002], shot[0xA003]) == (48, 64)
    same, _ = sent(full(), "jpeg", "jpeg")
    assert camera_exif() in same


def test_exif_of_more_than_64_kb_leaves_only_the_makers_notes_behind_in_jpeg():
    tags = PIL.Image.Exif()
    tags[0x010F] = "Canon"
    tags.get_ifd(0x8769)[0x927C], tags.get_ifd(0x8769)[0xA434] = bytes(70_000), "A lens"
    about = Metadata(exif=tags.tobytes().removeprefix(b"Exif\0\0"))
    data, remarks = sent(about, "png", "jpeg")
    assert PIL.Image.open(io.BytesIO(data)).getexif().get_ifd(0x8769) == {0xA434: "A lens"}
    assert "maker's own notes were dropped" in " ".join(remarks)
    assert sent(about, "png", "png")[1] == ()


def test_exif_in_two_segments_is_one_block_and_a_copy_is_none():
    block = camera_exif()
    halves = jpeg_with((0xE1, b"Exif\0\0" + block[:200]), (0xE1, b"Exif\0\0" + block[200:]))
    copies = jpeg_with((0xE1, b"Exif\0\0" + block), (0xE1, b"Exif\0\0" + block[:99]))
    assert read(halves, "jpeg").exif == read(copies, "jpeg").exif == block


@pytest.mark.parametrize(("notes", "may_move"), [(b"Nikon\0\2\x10\0\0II*\0", True), (b"Apple iOS\0\0\1MM", True),
                                                 (canon_notes(500), False), (b"unknown", False)])  # fmt: skip
def test_notes_go_into_a_tiff_where_they_can_be_read_there_and_else_a_remark_says_so(notes, may_move):
    tags = PIL.Image.Exif()
    tags.get_ifd(0x8769)[0xA434], tags.get_ifd(0x8769)[0x927C] = "A lens", notes
    about = Metadata(exif=tags.tobytes().removeprefix(b"Exif\0\0"))
    data, remarks = sent(about, "jpeg", "tiff")
    assert PIL.Image.open(io.BytesIO(data)).getexif().get_ifd(0x8769) == {0xA434: "A lens"} | (
        {0x927C: notes} if may_move else {}
    )
    assert ("maker's own notes" in " ".join(remarks)) != may_move
    assert sent(about, "jpeg", "png")[1] == sent(read(data, "tiff"), "tiff", "jpeg")[1] == ()


# TIFF ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"bigtiff": True}, {"tile": True}])
def test_tiff_of_any_kind_takes_everything_and_gives_it_back(options):
    data = written("tiff", full(), **options)
    about = read(data, "tiff")
    assert about.xmp == full().xmp
    assert about.photoshop == full().photoshop
    assert about.pixels_per_mm == pytest.approx((10, 5))
    assert about.dropped == ()
    np.testing.assert_array_equal(pyvips.Image.new_from_buffer(data, "").numpy(),
                                  pyvips.Image.new_from_buffer(encoded("tiff"), "").numpy())  # fmt: skip


def tiff_block(tags: dict[int, tuple[int, bytes]]) -> bytes:
    tree = {tag: tiff_directories.TagValue(kind, data) for tag, (kind, data) in tags.items()}
    return tiff_directories.make_header("<") + tiff_directories.serialize_tree(
        tree, "<", tiff_directories.Layout("<"), 8
    )


def test_private_tags_of_a_tiff_are_named():
    stream = io.BytesIO()
    info = PIL.TiffImagePlugin.ImageFileDirectory_v2()
    for tag in (65001, 65002, 37724):
        info.tagtype[tag] = 7
        info[tag] = b"secret of a program"
    PIL.Image.new("RGB", (8, 8)).save(stream, "tiff", tiffinfo=info)
    assert read(stream.getvalue(), "tiff").dropped == (
        "dropped, since it might not fit the new image: Photoshop's layers, 2 private tags (65001, 65002)",
    )


def test_the_tags_of_a_geotiff_are_named():
    data = tiff_block({33550: (12, struct.pack("<3d", 1, 2, 3)), 34735: (3, struct.pack("<4H", 1, 1, 0, 0))})
    assert "GeoTIFF" in " ".join(read(data, "tiff").dropped)


def test_a_damaged_tag_is_named_and_its_neighbours_stay():
    block = tiff_block({271: (2, b"Acme Works\0"), 305: (2, b"A program\0"), 315: (2, b"Somebody\0")})
    place = block.index(struct.pack("<HHL", 305, 2, 10)) + 8
    about = read(block[:place] + b"\xff\xff\xff\x7f" + block[place + 4 :], "tiff")
    assert about.dropped == ("the tags 305 are damaged and were dropped",)
    assert about.exif is not None
    assert b"Acme Works" in about.exif
    assert b"Somebody" in about.exif


# Resolution ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["in", "cm", ""])
@pytest.mark.parametrize("format", ["jpeg", "png", "tiff"])
def test_resolution_keeps_its_unit_and_its_two_directions(format, unit):
    about = read(written(format, Metadata(pixels_per_mm=(4.0, 8.0), resolution_unit=unit)), format)
    assert about.pixels_per_mm == pytest.approx((4, 8), rel=0.01)
    assert about.resolution_unit == ("in" if (format, unit) == ("png", "cm") else unit)  # PNG knows metres only


@pytest.mark.parametrize("format", FORMATS)
def test_no_resolution_is_made_up(format):
    assert read(written(format, Metadata()), format) == Metadata()


# What has no place in another format ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("jpeg", ["texts (Title, Software, Comment)", "comment was"]),
        ("png", ["IPTC record", "texts (Title, Software, Comment)", "comment was"]),
        ("webp", ["resolution", "IPTC record", "texts (Title, Software, Comment)", "comment was"]),
        ("tiff", ["texts (Title, Software, Comment)", "comment was"]),
        ("avif", ["resolution", "IPTC record", "texts (Title, Software, Comment)", "comment was"]),
    ],
)
def test_what_a_format_cannot_hold_is_named_once_each(target, expected):
    texts = tuple(Text(b"tEXt", name + b"\0words") for name in (b"Title", b"Software", b"Comment"))
    about = full(exif=None, texts=texts, comments=(b"a comment",))
    data, remarks = sent(about, "gif", target)
    assert len(remarks) == len(expected)
    assert all(any(word in remark for remark in remarks) for word in expected)
    assert read(data, target).dropped == ()


def test_comments_stay_in_a_jpeg():
    comment = "Grüße".encode()
    data, remarks = sent(read(jpeg_with((0xFE, comment)), "jpeg"), "jpeg", "jpeg")
    assert remarks == ()
    assert PIL.Image.open(io.BytesIO(data)).info["comment"] == comment


def test_png_texts_stay_in_a_png_and_reach_exiftool(tmp_path, require_tool):
    texts = (Text(b"tEXt", b"Author\0J\xfcrgen"), Text(b"zTXt", b"Comment\0\0" + zlib.compress(b"long")),
             Text(b"iTXt", b"Title\0\0\0de\0\0" + "Hütte".encode()))  # fmt: skip
    data, remarks = sent(Metadata(texts=texts), "png", "png")
    assert remarks == ()
    found = exiftool(require_tool("exiftool"), data, "png", tmp_path, "-PNG:all", "-validate", "-warning")
    assert [found[f"PNG:{name}"] for name in ("Author", "Comment", "Title-de")] == ["Jürgen", "long", "Hütte"]
    assert "ExifTool:Warning" not in found


def test_what_imagemagick_wrote_into_pngs_is_read():
    block = camera_exif()
    words = b"\nexif\n%8d\n" % (len(block) + 6) + (b"Exif\0\0" + block).hex().encode() + b"\n"
    file = io.BytesIO(encoded("png"))
    metadata.insert_metadata(
        file, "png", Metadata(texts=(Text(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(words)),))
    )
    about = read(file.getvalue(), "png")
    assert (about.exif, about.texts) == (block, ())


def test_chunks_that_only_their_program_knows_are_named():
    data = encoded("png")
    extra = b"".join(struct.pack(">L", 0) + kind + struct.pack(">L", zlib.crc32(kind)) for kind in (b"tIME", b"prVt"))
    left = read(data[:33] + extra + data[33:], "png").dropped
    assert left == ("dropped, since it would not fit the new file: the time of the last change, the chunk prVt",)
    left = read(jpeg_with((0xE4, b"Maker's own")), "jpeg").dropped
    assert left == ("its segments APP4 (Maker's own) were dropped, since only their maker knows them",)


# Where it was taken --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
def test_the_location_goes_where_asked_and_nothing_else_with_it(source, tmp_path, require_tool):
    about = read(written(source, full()), source)
    files = []
    for target in FORMATS:
        data, _ = sent(about, source, target)
        stripped, remarks = sent(about, source, target, strip_location=True)
        assert b"Graz" not in stripped
        assert ("maker" in " ".join(remarks)) == (target == "tiff" != source)  # Canon's notes state no place
        files += [(target, data), (target, stripped)]
    groups = ("-EXIF:all", "-GPS:all", "-XMP:all", "-IPTC:all", "-MakerNotes:all")
    answers = told(require_tool("exiftool"), files, tmp_path, *groups)
    for stays, gone in zip(answers[::2], answers[1::2], strict=True):
        places = {name for name in stays if any(word in name for word in ("GPS", "City", "Location"))}
        assert {"GPS:GPSLatitude", "XMP-photoshop:City", "XMP-exif:GPSLatitude"} <= places
        assert {name for name in set(stays) - set(gone) if "Offset" not in name} == places
        assert ("IPTC:Headline" in gone) == ("IPTC:City" in stays)
        assert {"XMP-photoshop:Credit", "XMP-exif:Flash", "ExifIFD:LensModel"} <= set(gone)
        assert ("Canon:CanonFirmwareVersion" in gone) == ("Canon:CanonFirmwareVersion" in stays)


def test_no_byte_of_the_place_is_left_in_the_block_and_none_moves():
    block = camera_exif()
    stripped, notes_went = exif.remove_location(block)
    assert stripped is not None
    assert len(stripped) == len(block)
    assert not notes_went
    assert struct.pack("<LL", 48, 1) in block
    assert struct.pack("<LL", 48, 1) not in stripped
    assert block.index(b"Firmware") == stripped.index(b"Firmware")


def test_notes_of_makers_who_may_state_the_place_go_and_are_named():
    data, remarks = sent(full(exif=camera_exif("NIKON CORPORATION")), "jpeg", "jpeg", strip_location=True)
    assert b"Firmware" not in data
    assert remarks == ("the camera maker's own notes were dropped with the location, which they may state too",)
    assert PIL.Image.open(io.BytesIO(data)).getexif().get_ifd(0x8769)[0xA434] == "EF35mm f/2"


def test_what_cannot_be_read_goes_with_the_location():
    about = full(exif=None, xmp=b"<x>GPS not closed", photoshop=b"8BIM")
    data, remarks = sent(about, "jpeg", "jpeg", strip_location=True)
    assert b"GPS" not in data
    assert len(remarks) == 2
    texts = (Text(b"tEXt", b"GPSLatitude\x0048"), Text(b"tEXt", b"Author\0me"))
    fitted, _ = metadata.fit_metadata(Metadata(texts=texts), "png", "png", size=(1, 1), strip_location=True)
    assert fitted.texts == texts[1:]


# XMP -----------------------------------------------------------------------------------------------------------------


def test_properties_are_taken_out_by_namespace_whatever_their_prefix_and_all_else_stays():
    source = packet(TITLE, PLACE)
    kept = xmp.remove_properties(source, xmp.is_location)
    for gone in (b'photoshop:City="Graz"', b"<e:GPSLatitude>48,10N</e:GPSLatitude>"):
        assert gone in source
        source = source.replace(b" " + gone, b"").replace(gone, b"")
    shown = source[source.index(b"<i:LocationShown") : source.index(b"</i:LocationShown>") + 18]
    assert kept == source.replace(shown, b"")


@pytest.mark.parametrize(
    "hostile",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>',
        b"<a>" * 300_000,
        b"<rdf:RDF" * 300_000,
        b"<x " + b" " * 3_000_000 + b"y>",
        b"<x a='" + b"<" * 1000,
        b"\xff\xfe<\0x\0>",
        b"",
    ],
)
def test_xmp_that_is_none_stays_as_it_is_or_goes_but_costs_no_time(hostile):
    assert xmp.add_provenance(hostile, "mirnet") == (hostile or xmp.add_provenance(None, "mirnet"))
    data = jpeg_with((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + hostile[:60_000]))
    assert read(data, "jpeg").xmp in (hostile[:60_000], None)


def test_xmp_too_long_for_a_jpeg_is_named_and_the_provenance_stays():
    long = packet(TITLE, f'xmlns:p="http://ns.adobe.com/photoshop/1.0/" p:Instructions="{"x" * 90_000}">')
    data, remarks = sent(full(xmp=long), "png", "jpeg", provenance="mirnet 1")
    assert "too long" in " ".join(remarks)
    assert read(data, "jpeg").xmp == xmp.add_provenance(None, "mirnet 1")
    assert read(data, "jpeg").exif == exif.clean_exif(camera_exif(), 1)
    assert read(sent(full(xmp=long), "png", "webp")[0], "webp").xmp == long


def test_the_extension_of_long_xmp_is_named_and_the_main_packet_stays():
    note = 'xmlns:n="http://ns.adobe.com/xmp/note/" n:HasExtendedXMP="0123456789ABCDEF0123456789ABCDEF">'
    extension = b"http://ns.adobe.com/xmp/extension/\0" + b"0123456789ABCDEF" * 2 + bytes(8) + packet(PLACE)
    about = read(jpeg_with(xmp_segment(TITLE, note), (0xE1, extension)), "jpeg")
    assert about.dropped == (XMP_EXTENSION,)
    assert about.xmp is not None
    assert "Hütte".encode() in about.xmp
    assert b"HasExtendedXMP" not in about.xmp


def test_entities_are_not_looked_at():
    trap = (
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]>'
        + packet(TITLE)[len('<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()) :]
    )
    assert xmp.add_provenance(trap, "mirnet") == trap
    assert metadata.fit_metadata(Metadata(xmp=trap), "png", "png", size=(1, 1), strip_location=True)[0].xmp is None


def test_photoshops_block_of_more_than_64_kb_takes_more_than_one_segment():
    block = photoshop.make_resource(1028, IPTC) + photoshop.make_resource(4000, bytes(range(256)) * 500)
    assert read(sent(Metadata(photoshop=block), "jpeg", "jpeg")[0], "jpeg").photoshop == block


def test_our_own_property_is_said_once_in_any_prefix():
    once = xmp.add_provenance(packet(TITLE), "first")
    assert xmp.add_provenance(once, "second") == xmp.add_provenance(packet(TITLE), "second")
    renamed = once.replace(b"mirnet:prov", b"m:prov").replace(b"xmlns:mirnet", b"xmlns:m")
    assert xmp.add_provenance(renamed, "second").count(b"provenance>") == 2
    assert b"m:provenance" not in xmp.add_provenance(renamed, "second").replace(b"mirnet:prov", b"")


# What belongs to the old picture -------------------------------------------------------------------------------------

ULTRA_HDR = (
    'xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/" xmlns:C="http://ns.google.com/photos/1.0/container/" '
    'xmlns:I="http://ns.google.com/photos/1.0/container/item/" g:Version="1.0"><C:Directory><rdf:Seq>'
    '<rdf:li rdf:parseType="Resource"><C:Item I:Semantic="GainMap" I:Length="9"/></rdf:li></rdf:Seq></C:Directory>'
)
MOTION_PHOTO = (
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1" GCamera:MicroVideoOffset="9">'
)


def xmp_segment(*descriptions: str) -> tuple[int, bytes]:
    return 0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet(*descriptions)


@pytest.mark.parametrize(
    ("data", "sentences"),
    [
        (jpeg_with(xmp_segment(TITLE, ULTRA_HDR)), (GAIN_MAP,)),
        (jpeg_with(xmp_segment(TITLE), (0xE2, b"urn:iso:std:iso:ts:21496:-1\0\0\0\0\0")), (GAIN_MAP,)),
        (jpeg_with(xmp_segment(TITLE), behind=b"\0" * 9 + encoded("jpeg")), (FORMER,)),
        (jpeg_with(xmp_segment(TITLE), behind=jpeg_with(xmp_segment(ULTRA_HDR))), (GAIN_MAP,)),
        (jpeg_with(xmp_segment(TITLE, MOTION_PHOTO), behind=b"\0\0\0\x18ftypmp42" + bytes(99)), (MOTION,)),
        (jpeg_with(xmp_segment(TITLE), behind=b"SEFH" + bytes(9) + b"MotionPhoto_Data"), (MOTION,)),
        (jpeg_with(xmp_segment(TITLE, ULTRA_HDR, MOTION_PHOTO),
                   behind=jpeg_with(xmp_segment(ULTRA_HDR)) + b"\0\0\0\x18ftypisom" + bytes(99)), (GAIN_MAP, MOTION)),
        (jpeg_with(xmp_segment(TITLE), (0xEB, b"JP\0\1\0\0\0\1jumb")), (CREDENTIALS,)),
        (jpeg_with(xmp_segment(TITLE), behind=bytes(5000)), ()),
        (jpeg_with(xmp_segment(TITLE), behind=b"what is this?"),
         ("13 bytes behind the end of the image were dropped, which only their maker can read",)),
    ],
)  # fmt: skip
def test_what_belongs_to_the_old_picture_goes_and_is_named(data, sentences):
    about = read(data, "jpeg")
    assert set(about.dropped) == set(sentences)
    written, remarks = sent(about, "jpeg", "jpeg")
    assert set(remarks) == set(sentences)
    assert about.xmp is not None
    assert "Hütte".encode() in about.xmp
    for word in (
        b'hdr-gain-map/1.0/" g:',
        b"g:Version",
        b"Semantic",
        b"MotionPhoto",
        b"MicroVideo",
        b"ftyp",
        b"jumb",
        b"21496",
    ):
        assert word not in written
    assert read(written, "jpeg").dropped == ()


def test_exiftool_finds_no_gain_map_and_no_film_afterwards(tmp_path, require_tool):
    data = jpeg_with(
        xmp_segment(TITLE, ULTRA_HDR, MOTION_PHOTO), behind=encoded("jpeg") + b"\0\0\0\x18ftypmp42" + bytes(99)
    )
    program = require_tool("exiftool")
    assert {"XMP-g:Version", "XMP-GCamera:MotionPhoto"} <= set(exiftool(program, data, "jpg", tmp_path))
    after = exiftool(program, sent(read(data, "jpeg"), "jpeg", "jpeg")[0], "jpg", tmp_path)
    assert not [
        name for name in after if any(word in name for word in ("XMP-g:", "GCamera", "XMP-C:", "Trailer", "Motion"))
    ]


def test_thumbnails_in_xmp_and_photoshop_go():
    thumbnails = (
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:Thumbnails><rdf:Alt/></xmp:Thumbnails><xmp:Rating>5</xmp:Rating>'
    )
    resources = (
        photoshop.make_resource(1036, b"old picture")
        + photoshop.make_resource(1028, IPTC)
        + photoshop.make_resource(1033, b"older")
    )
    about = read(jpeg_with(xmp_segment(thumbnails), (0xED, b"Photoshop 3.0\0" + resources)), "jpeg")
    assert about.photoshop == photoshop.make_resource(1028, IPTC)
    assert about.xmp == packet('xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:Rating>5</xmp:Rating>')


# Colours without a profile -------------------------------------------------------------------------------------------


def shown(profile: bytes, colour: tuple[int, int, int]) -> tuple[int, ...]:
    """A colour of a profile as sRGB, by LittleCMS."""
    stream = io.BytesIO(profile)
    image = PIL.ImageCms.profileToProfile(
        PIL.Image.new("RGB", (1, 1), colour), stream, PIL.ImageCms.createProfile("sRGB")
    )
    assert image is not None
    return image.getpixel((0, 0))


def test_colours_that_a_png_states_without_a_profile_become_one():
    adobe = struct.pack(">8L", 31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    made = icc_profile.make_from_png_chunks({b"cHRM": adobe, b"gAMA": struct.pack(">L", 45470)})
    assert made is not None
    assert shown(made, (128, 128, 128)) == pytest.approx((128,) * 3, abs=1)
    assert shown(made, (100, 200, 100))[0] < 20  # Adobe's green is beyond sRGB's
    display_p3 = icc_profile.make_from_png_chunks({b"cICP": bytes((12, 13, 0, 1))})
    assert display_p3 is not None
    assert shown(display_p3, (200, 100, 100)) == pytest.approx((213, 93, 96), abs=3)
    linear = icc_profile.make_from_png_chunks({b"gAMA": struct.pack(">L", 100_000)})
    assert linear is not None
    assert shown(linear, (55, 55, 55)) == pytest.approx((128,) * 3, abs=1)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {b"sRGB": b"\0"},
        {b"gAMA": struct.pack(">L", 45455)},
        {b"cHRM": struct.pack(">8L", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)},
        {b"cICP": bytes((1, 13, 0, 1))},
        {b"cHRM": bytes(32)},
        {b"cHRM": b"\xff" * 32, b"gAMA": bytes(4)},
        {b"iCCP": b"a profile", b"gAMA": struct.pack(">L", 100_000)},
    ],
)
def test_srgb_nonsense_and_a_profile_that_is_there_need_none(said):
    assert icc_profile.make_from_png_chunks(said) is None


def test_code_points_in_an_avif_count_where_it_has_no_profile():
    stream = io.BytesIO()
    PIL.Image.new("RGB", (16, 16)).save(stream, "avif")  # Pillow states them, libvips does not
    plain = stream.getvalue()
    place = plain.index(b"colrnclx") + 8
    display_p3 = plain[:place] + struct.pack(">HH", 12, 13) + plain[place + 4 :]
    assert read(plain, "avif").icc is None
    assert read(display_p3, "avif").icc == icc_profile.make_from_code_points(12, 13)
    hdr = read(plain[:place] + struct.pack(">HH", 9, 16) + plain[place + 4 :], "avif")
    assert hdr.icc is None
    assert hdr.dropped == ("its colours are those of HDR (PQ) and were taken for plain ones, so they look flat",)


# AVIF and HEIC -------------------------------------------------------------------------------------------------------


def test_items_join_those_that_are_there():
    once = written("avif", Metadata(exif=camera_exif()))
    file = io.BytesIO(once)
    metadata.insert_metadata(file, "avif", Metadata(xmp=packet(TITLE)))
    about = read(file.getvalue(), "avif")
    assert about.xmp == packet(TITLE)
    assert about.exif == exif.clean_exif(camera_exif(), 1)
    assert pyvips.Image.new_from_buffer(file.getvalue(), "").avg() == pyvips.Image.new_from_buffer(once, "").avg()


def test_a_gain_map_in_heic_and_a_film_behind_it_are_named():
    name = b"auxCurn:com:apple:photo:2020:aux:hdrgainmap\0"
    data = written("avif", full())
    stream = io.BytesIO(data)
    box = next(box for box in bmff.iter_top_boxes(stream) if box.type == b"meta")
    room = data[: box.end] + struct.pack(">L4s", 8 + 4 + len(name), b"free") + b"    " + name + data[box.end :]
    longer = struct.pack(">L", box.end - box.start + 8 + 12 + len(name))
    about = read(room[: box.start - 8] + longer + room[box.start - 4 :] + b"\0\0\0\x08mpvd", "heic")
    assert set(about.dropped) == {GAIN_MAP, MOTION}


# Camera RAW ----------------------------------------------------------------------------------------------------------


def raw_like(kind: str) -> bytes:
    """A RAW file as far as its EXIF goes: a TIFF, or in "raf" and "cr3" something else around a preview."""
    if kind == "raf":
        return b"FUJIFILMCCD-RAW 0201" + bytes(99)
    if kind == "cr3":
        return b"\0\0\0\x18ftypcrx " + bytes(99)
    data = written("tiff", full())  # as in DNG, CR2, NEF, ARW
    return {"rw2": b"IIU\0", "orf": b"IIRO"}.get(kind, data[:4]) + data[4:]


@pytest.mark.parametrize("kind", ["dng", "rw2", "orf", "raf", "cr3"])
def test_exif_of_camera_raw_keeps_lens_and_place(kind, tmp_path, require_tool):
    preview = jpeg_with((0xE1, b"Exif\0\0" + camera_exif())) if kind in ("raf", "cr3") else None
    about = metadata.read_metadata(io.BytesIO(raw_like(kind)), "raw", preview)
    data, remarks = sent(about, "raw", "jpeg")
    assert any("preview" in remark for remark in remarks) == (kind == "cr3")
    found = exiftool(require_tool("exiftool"), data, "jpg", tmp_path, "-EXIF:all")
    assert {"IFD0:Make": "Canon", "ExifIFD:LensModel": "EF35mm f/2"}.items() <= found.items()
    assert "GPS:GPSLatitude" in found


def test_a_raw_file_of_a_kind_unknown_lends_the_exif_of_its_preview():
    preview = jpeg_with((0xE1, b"Exif\0\0" + camera_exif()))
    assert metadata.read_metadata(io.BytesIO(b"FOVb" + bytes(99)), "raw", preview).exif == exif.clean_exif(
        camera_exif(), 1
    )
    assert metadata.read_metadata(io.BytesIO(b"FOVb" + bytes(99)), "raw").exif is None


# Files in place, and lies --------------------------------------------------------------------------------------------


def test_a_span_of_any_length_is_replaced_in_place_in_small_pieces(monkeypatch):
    monkeypatch.setattr(file_bytes, "_CHUNK_BYTES", 7)
    draw = random.Random(0)
    for _ in range(200):
        data = draw.randbytes(draw.randrange(60))
        start, end = sorted(draw.randrange(len(data) + 1) for _ in range(2))
        content, file = draw.randbytes(draw.randrange(30)), io.BytesIO(data)
        file_bytes.replace_span(file, start, end, content)
        assert file.getvalue() == data[:start] + content + data[end:]


class Counting(io.BytesIO):
    largest = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.largest = max(self.largest, len(data))
        return data


@pytest.mark.parametrize("format", ["jpeg", "png", "tiff"])
def test_a_long_file_is_never_read_whole(format):
    data = encoded(format)
    file = Counting(
        data + bytes(5 << 20) if format != "png" else data[:-12] + png.make_chunk(b"IDAT", bytes(5 << 20)) + data[-12:]
    )
    metadata.insert_metadata(file, format, full())
    metadata.read_metadata(file, format)
    assert file.largest <= 1 << 20


def test_directories_that_lead_back_to_themselves_end():
    looped = b"II*\0\x08\0\0\0" + struct.pack("<H", 3)
    looped += b"".join(struct.pack("<HHLL", tag, 4, 1, 8) for tag in (0x8769, 0x8825, 0xA005)) + struct.pack("<L", 8)
    assert read(looped, "tiff").exif is not None
    cleaned = metadata.clean_exif(looped)
    assert cleaned is not None
    assert exif.remove_location(cleaned)[0] is not None
    assert read(written("png", Metadata(exif=cleaned)), "png").exif == cleaned


def test_a_text_that_unpacks_without_end_is_left_out():
    bomb = zlib.compress(bytes(20 << 20), 1)
    file = io.BytesIO(encoded("png"))
    metadata.insert_metadata(file, "png", Metadata(texts=(Text(b"zTXt", b"Raw profile type exif\0\0" + bomb),)))
    about = read(file.getvalue(), "png")
    assert about.texts == ()
    assert about.dropped == ("its text 'Raw profile type exif' is damaged and was dropped",)


def mutated(data: bytes, draw: random.Random) -> bytes:
    if draw.random() < 0.2:
        return data[: draw.randrange(len(data))]
    changed, way = bytearray(data), draw.randrange(3)
    for _ in range(draw.randrange(1, 10)):
        place = draw.randrange(min(len(data), 4000 if draw.random() < 0.8 else len(data)))
        if way == 0:
            changed[place] = draw.randrange(256)
        elif way == 1:
            changed[place : place + 4] = draw.choice(
                (b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\0\0\0\x08", b"\x08\0\0\0")
            )
        else:
            other = draw.randrange(len(data))
            changed[place : place + 40] = data[other : other + 40]
    return bytes(changed)


@pytest.mark.parametrize("format", [*FORMATS, "dng", "ultra"])
def test_no_lie_in_a_file_is_more_than_a_loss(format):
    draw = random.Random(format)
    if format == "dng":
        data, source = raw_like(format), "raw"
    elif format == "ultra":
        data, source = jpeg_with(xmp_segment(TITLE, ULTRA_HDR), (0xE1, b"Exif\0\0" + camera_exif())), "jpeg"
    else:
        data, source = written(format, full()), format
    bare = {target: encoded(target) for target in FORMATS}
    for _ in range(200):
        about = read(mutated(data, draw), source)
        target = draw.choice(FORMATS)
        fitted, _ = metadata.fit_metadata(about, source, target, size=(64, 48), orientation=6, provenance="mirnet",
                                 strip_location=draw.random() < 0.5)  # fmt: skip
        file = io.BytesIO(bare[target])
        metadata.insert_metadata(file, target, fitted)
        read(file.getvalue(), target)
