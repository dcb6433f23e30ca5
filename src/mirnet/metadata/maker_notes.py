"""The makers' own notes within EXIF, where they have to move: into a TIFF file, or out of one."""

import struct

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def moved_note(note: bytes, start: int, place: int, order: str) -> bytes:
    """A maker's own notes after a move from `start` to `place`.

    Some makers (Canon, Sony, Panasonic) write there a directory whose places count from the start of the file. If the
    first value lies right behind the directory in that way of counting, all places within the notes are moved along.
    Notes that count from their own start, or that nobody can read, stay as they are.
    """
    for skip in (0, 8, 10, 12):  # "OLYMP\0.." 8, "SONY DSC" and "Panasonic" 12, Canon none
        for sign in (order, "<", ">"):
            moved = _moved_at(note, skip, start, place, sign)
            if moved is not None:
                return moved
    return note


def _moved_at(note: bytes, skip: int, start: int, place: int, order: str) -> bytes | None:
    try:
        (count,) = struct.unpack_from(order + "H", note, skip)
        entries = [struct.unpack_from(order + "HHLL", note, skip + 2 + 12 * index) for index in range(count)]
    except struct.error:
        return None
    if not 1 <= count <= 1000 or any(kind not in TYPE_BYTES for _, kind, _, _ in entries):
        return None
    outside = {index: value for index, (_, kind, values, value) in enumerate(entries) if TYPE_BYTES[kind] * values > 4}
    table_end = start + skip + 2 + 12 * count
    if not outside or not table_end <= min(outside.values()) <= table_end + 16:
        return None
    moved = bytearray(note)
    for index, value in outside.items():
        if start <= value < start + len(note):
            struct.pack_into(order + "L", moved, skip + 2 + 12 * index + 8, value - start + place)
    return bytes(moved)
