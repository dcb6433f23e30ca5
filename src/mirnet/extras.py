"""What an extra brings, asked for where it is used: a missing one is answered with the line that installs it."""

from collections.abc import Iterator
from contextlib import contextmanager

from mirnet.errors import MirnetError, SettingsError


@contextmanager
def needs(extra: str, error: type[MirnetError] = SettingsError, who: str = "This") -> Iterator[None]:
    """Imports inside this context may fail for want of `mirnet[extra]`; then `error` says how to install it."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise error(
            f"{who} needs the extra `{extra}`, which is not installed ({missing.name} is missing). "
            f'Run: pip install "mirnet[{extra}]" (in a clone: pip install ".[{extra}]").'
        ) from missing
