"""Our docstrings as the site shows them: lines such as `tile: side of the tiles in pixels` become a list."""

import re
from typing import Any

import griffe

FIELD = re.compile(r"^(\w+): (.*)")


class Fields(griffe.Extension):
    """Griffe calls it for each class and function that it reads."""

    def on_class(self, *, cls: griffe.Class, **ignored: Any) -> None:
        """The names are those of a dataclass' fields."""
        _list_fields(cls, set(cls.members))

    def on_function(self, *, func: griffe.Function, **ignored: Any) -> None:
        """The names are those of the parameters."""
        _list_fields(func, {parameter.name for parameter in func.parameters})


def _list_fields(thing: griffe.Object, names: set[str]) -> None:
    if thing.docstring is not None:
        thing.docstring.value = as_list(thing.docstring.value, names)


def as_list(text: str, names: set[str]) -> str:
    """Lines `name: what` turned into a list of Markdown; the lines that go on, indented, stay with theirs."""
    return "\n".join(_item(line, names) for line in text.splitlines())


def _item(line: str, names: set[str]) -> str:
    found = FIELD.match(line)
    return f"- `{found[1]}`: {found[2]}" if found and found[1] in names else line
