"""Packages of extras, imported where they are used: the error about a missing one says how to install it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mirnet.errors import MirnetError, SettingsError


@contextmanager
def needs(extra: str, error: type[MirnetError] = SettingsError, who: str = "This") -> Iterator[None]:
    """Raises `error` where an import inside this context fails because `mirnet[extra]` is not installed.

    `who` begins the message: what needs the extra.
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        raise error(
            f"{who} needs the extra `{extra}`, which is not installed ({missing.name} is missing). "
            f'Run: pip install "mirnet[{extra}]" (in a clone: pip install ".[{extra}]").'
        ) from missing
