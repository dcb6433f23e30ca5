"""Request bodies: streamed into memory and never to disk, within limits of bytes and time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from mirnet.service.problems import TELL_TO_WAIT_SECONDS, Problem

PICTURES = ("file", "match")  # the parts that hold images
TEXT_BYTES = 1024  # of an option beside the file
MOST_PARTS = 40
MULTIPART = b"multipart/form-data"
NOT_PICTURES = (b"application/x-www-form-urlencoded", b"application/json")


class MemoryBudget:
    """Memory for all uploads together; a client that needs more than is left is asked to try again later."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes, self.used = room_bytes, 0

    def take(self, count: int) -> None:
        """Raises Problem 503."""
        if self.used + count > self.room_bytes:
            told = f"Other uploads fill the {self.room_bytes / 1e6:.0f} MB that there is for them; try again later."
            raise Problem("memory", told, {"Retry-After": str(TELL_TO_WAIT_SECONDS)})
        self.used += count

    def give_back(self, count: int) -> None:
        self.used -= count


@dataclass
class Upload:
    """What a body held. Its bytes count against the room until `release`, which the context calls at its end."""

    memory: MemoryBudget
    file: bytes | None = None
    match: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)
    taken: int = 0

    def __enter__(self) -> "Upload":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Forget what was sent, and give its room back. May be called again."""
        self.file = self.match = None  # other references to the upload must not keep the image
        taken, self.taken = self.taken, 0
        self.memory.give_back(taken)


@dataclass(frozen=True)
class Reader:
    """How bodies are read: at most `max_bytes` of them, none of whose bytes is `stall_seconds` in coming."""

    max_bytes: int
    stall_seconds: float
    memory: MemoryBudget

    def refuse_early(self, request: Request) -> None:
        """Raises Problem 413, 415 or 400 for what the head says of the body, before a byte of it is read."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.max_bytes:
            raise self._too_large(int(length))
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Problem("media-type", "Expected a body as it is, not compressed; send it without Content-Encoding.")
        kind, said = _media_type(request)
        if kind in NOT_PICTURES:
            raise Problem("media-type", f"Expected a picture as the body or multipart/form-data with a part `file`, "
                          f"not {kind.decode()}; curl sends one with -F file=@NAME.")  # fmt: skip
        if kind.startswith(b"multipart/") and kind != MULTIPART:
            raise Problem("media-type", "Of multipart bodies only multipart/form-data is taken.")
        if kind == MULTIPART and not said.get(b"boundary"):
            raise Problem("malformed", "The multipart body has no boundary in its Content-Type.")

    async def read(self, request: Request, seconds: float) -> Upload:
        """The whole body, within so many seconds. Raises Problem, ClientDisconnect; then nothing counts any more."""
        self.refuse_early(request)
        upload = Upload(self.memory)
        try:
            async with asyncio.timeout(seconds):
                await self._fill(upload, request)
        except TimeoutError as error:
            upload.release()
            told = f"The body was not complete after {seconds:.0f} s; send it again on a faster line, or smaller."
            raise Problem("stalled", told, {"Connection": "close"}) from error
        except BaseException:
            upload.release()
            raise
        return upload

    async def _fill(self, upload: Upload, request: Request) -> None:
        kind, said = _media_type(request)
        if kind == MULTIPART:
            parts = _Parts()
            try:
                parser = MultipartParser(said[b"boundary"], parts.callbacks())
                async for piece in self._pieces(request, upload):
                    parser.write(piece)
                parser.finalize()
            except FormParserError as error:
                raise Problem("malformed", "The multipart body is broken; send it again.") from error
            parts.give_to(upload)
            return
        body = bytearray()
        async for piece in self._pieces(request, upload):
            body += piece
        if body or kind:
            upload.file = bytes(body)

    async def _pieces(self, request: Request, upload: Upload) -> AsyncIterator[bytes]:
        """The body's bytes as they come, counted."""
        while True:
            try:
                async with asyncio.timeout(self.stall_seconds):
                    message = await request.receive()
            except TimeoutError as error:
                told = f"No byte of the body came for {self.stall_seconds:g} s; send it again."
                raise Problem("stalled", told, {"Connection": "close"}) from error
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            piece: bytes = message.get("body", b"")
            if upload.taken + len(piece) > self.max_bytes:
                raise self._too_large()
            self.memory.take(len(piece))
            upload.taken += len(piece)
            if piece:
                yield piece
            if not message.get("more_body", False):
                return

    def _too_large(self, came: int | None = None) -> Problem:
        what = f"{came / 1e6:.1f} MB" if came else "more"
        return Problem("too-large", f"Expected an upload of at most {self.max_bytes / 1e6:g} MB, and {what} came; "
                       "send a smaller file, or ask the operator of the service (--max-megabytes).")  # fmt: skip


async def gone(receive: Callable[[], Any]) -> None:
    """Returns when the client has hung up; for after the body was read."""
    with suppress(ClientDisconnect):
        while (await receive())["type"] != "http.disconnect":
            pass


def _media_type(request: Request) -> tuple[bytes, dict[bytes, bytes]]:
    kind, said = parse_options_header(request.headers.get("content-type"))
    return kind.lower(), said


class _Parts:
    """What python-multipart calls while it reads: parts are known by their names, and file names are not looked at."""

    def __init__(self) -> None:
        self._pictures: dict[str, bytearray] = {}
        self._texts: dict[str, bytearray] = {}
        self._header, self._value = b"", b""
        self._disposition = b""
        self._data: bytearray | None = None
        self._room = 0
        self._parts = 0
        self._ended = False

    def callbacks(self) -> Any:
        return {name: getattr(self, name) for name in vars(_Parts) if name.startswith("on_")}

    def give_to(self, upload: Upload) -> None:
        if not self._ended:
            raise Problem("malformed", "The multipart body ends before its last boundary; send it again.")
        pictures = {name: bytes(self._pictures.pop(name)) for name in PICTURES if name in self._pictures}
        upload.file, upload.match = pictures.get("file"), pictures.get("match")
        upload.fields = {name: text.decode("utf-8", "replace") for name, text in self._texts.items()}

    def on_part_begin(self) -> None:
        self._disposition, self._parts = b"", self._parts + 1
        if self._parts > MOST_PARTS:
            raise Problem("malformed", f"Expected at most {MOST_PARTS} parts: a picture and options beside it.")

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def on_headers_finished(self) -> None:
        _, said = parse_options_header(self._disposition)
        if b"name" not in said:
            raise Problem("malformed", "A part of the multipart body has no name in its Content-Disposition.")
        name = said[b"name"].decode("utf-8", "replace")
        if name in self._pictures or name in self._texts:
            raise Problem("settings", f"Expected one part `{name[:40]}`, and several came; send one picture a request.")
        self._data = (self._pictures if name in PICTURES else self._texts).setdefault(name, bytearray())
        self._room = -1 if name in PICTURES else TEXT_BYTES

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._data is not None, "data before its head"
        self._data += data[start:end]
        if 0 <= self._room < len(self._data):
            raise Problem("settings", f"Pictures come as the part `file` (and `match`); another part is an option, of "
                          f"at most {TEXT_BYTES} bytes.")  # fmt: skip

    def on_part_end(self) -> None:
        self._data = None

    def on_end(self) -> None:
        self._ended = True
