"""Settings as run folders store them: plain data, under names that stay when a field is renamed."""

import json
from dataclasses import fields, is_dataclass
from typing import Any

STORED = "stored"


def stored(name: str) -> dict[str, str]:
    """The metadata of a dataclass field that run folders store under another name."""
    return {STORED: name}


def to_stored(settings: Any) -> dict[str, Any]:
    """A settings dataclass, with those in its fields, as the plain data that `run.json` holds."""
    plain: dict[str, Any] = json.loads(json.dumps(_to_plain(settings)))  # tuples as the lists that a file gives back
    return plain


def _to_plain(value: Any) -> Any:
    if is_dataclass(value):
        return {each.metadata.get(STORED, each.name): _to_plain(getattr(value, each.name)) for each in fields(value)}
    return [_to_plain(each) for each in value] if isinstance(value, tuple) else value
