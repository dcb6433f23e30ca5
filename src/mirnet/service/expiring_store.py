"""Things that are kept in memory for a while: of bounded size, dropped some time after their last use."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
ID_BYTES = 16  # too many to guess one


@dataclass
class _Kept(Generic[T]):
    item: T
    used: float


class ExpiringStore(Generic[T]):
    """Keeps items for `seconds` after their last use, and as many bytes of them as there is room for.

    `size(item)` is asked anew each time, since items may grow. What `needed(item)` is neither dropped nor counted.
    For one thread; `sweep` wants to be called every now and then.
    """

    def __init__(self, room_bytes: int, seconds: float, size: Callable[[T], int],
                 needed: Callable[[T], bool] = lambda item: False,
                 clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        self._room, self.seconds, self._size, self._needed, self._clock = room_bytes, seconds, size, needed, clock
        self._kept: dict[str, _Kept[T]] = {}  # the longest unused first

    @property
    def bytes(self) -> int:
        return sum(self._size(each.item) for each in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def items(self) -> list[T]:
        """All that is kept."""
        return [kept.item for kept in self._kept.values()]

    def put(self, item: T) -> str:
        """Keep an item; returns the name under which it is found again."""
        name = secrets.token_urlsafe(ID_BYTES)
        self._kept[name] = _Kept(item, self._clock())
        self.sweep()
        return name

    def get(self, name: str) -> T | None:
        """The item, used just now; None where it is gone or never was."""
        self.sweep()
        kept = self._kept.pop(name, None)
        if kept is None:
            return None
        kept.used = self._clock()
        self._kept[name] = kept
        return kept.item

    def drop(self, name: str) -> T | None:
        """Forget an item, and return it; None where there is none."""
        kept = self._kept.pop(name, None)
        return None if kept is None else kept.item

    def sweep(self) -> None:
        """Drop what is too old, then the longest unused until the rest has room; the newest stays whatever its size."""
        now = self._clock()
        for kept in self._kept.values():
            if self._needed(kept.item):
                kept.used = now  # its time begins when it is needed no more
        free = {name: kept for name, kept in self._kept.items() if not self._needed(kept.item)}
        for name, kept in free.items():
            if now - kept.used > self.seconds:
                del self._kept[name]
        rest = [(name, self._size(kept.item)) for name, kept in free.items() if name in self._kept]
        total = sum(size for _, size in rest)
        for name, size in rest[:-1]:
            if total <= self._room:
                break
            del self._kept[name]
            total -= size
