"""What an extra brings, as the commands ask for it."""

from mirnet.extras import needs

__all__ = ["needs"]
