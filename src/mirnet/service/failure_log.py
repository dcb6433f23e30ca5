"""What fails inside the service, logged by type and place alone: a message may hold what an image holds."""

import logging
import traceback

log = logging.getLogger("mirnet.serve")


def note(error: BaseException) -> None:
    """Log where something failed, once, however many places learn of it."""
    if getattr(error, "noted", False):
        return
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"  {each.filename}:{each.lineno} {each.name}" for each in frames]
    log.error("%s", "\n".join([f"{type(error).__name__} in the service:", *places]))
    error.noted = True  # type: ignore[attr-defined]
