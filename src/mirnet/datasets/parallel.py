"""Processing many files in parallel."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(function: Callable[[T], R], values: Sequence[T], progress: Callable[[float], None]) -> Iterator[R]:
    """Yield `function(value)` for each value, in order, computed by as many threads as there are cores."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for number, result in enumerate(pool.map(function, values)):
            yield result
            progress((number + 1) / len(values))
    finally:
        pool.shutdown(cancel_futures=True)  # a caller that stops does not wait for the rest
