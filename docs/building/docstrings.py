"""Turns docstrings into Markdown for the site: lines such as `tile: side of the tiles in pixels` become a list."""

import re
from typing import Any

import griffe

from mirnet.inference.settings import settings_table

FIELD = re.compile(r"^(\w+): (.*)")


class Fields(griffe.Extension):
    """An extension of griffe, which calls it for each class and function that it reads."""

    def on_class(self, *, cls: griffe.Class, **ignored: Any) -> None:
        """Lists the lines of a class whose names are its members; `Settings` gets the help of its fields."""
        if cls.canonical_path == "mirnet.inference.settings.Settings" and cls.docstring is not None:
            cls.docstring.value += "\n\n" + "\n".join(_settings())
        _list_fields(cls, set(cls.members))

    def on_function(self, *, func: griffe.Function, **ignored: Any) -> None:
        """Lists the lines of a function whose names are its parameters."""
        _list_fields(func, {parameter.name for parameter in func.parameters})


def _list_fields(thing: griffe.Object, names: set[str]) -> None:
    if thing.docstring is not None:
        thing.docstring.value = as_list(thing.docstring.value, names)


def _settings() -> list[str]:
    """A line `name: what it does [range]` for each field of `Settings`."""
    return [f"{row.name}: {row.help}" + (f" [{row.range}]" if row.range else "") for row in settings_table()]


def as_list(text: str, names: set[str]) -> str:
    """`text` with its lines `name: what` as a Markdown list; indented lines that follow stay with their item."""
    return "\n".join(_item(line, names) for line in text.splitlines())


def _item(line: str, names: set[str]) -> str:
    found = FIELD.match(line)
    return f"- `{found[1]}`: {found[2]}" if found and found[1] in names else line
