"""What an extra brings, asked for where it is used: a missing one is answered with the line that installs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mirnet.errors import SettingsError


@contextmanager
def needs(extra: str) -> Iterator[None]:
    """Imports inside this context may fail for want of `mirnet[extra]`; then a SettingsError says how to install it."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"This needs the extra `{extra}`, which is not installed ({error.name} is missing). "
            f'Run: pip install "mirnet[{extra}]" (in a clone: pip install ".[{extra}]").'
        ) from error
