"""Keys that name a child of a node, and the text of paths made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

KeyEntry = TypeVar("KeyEntry")
KeyPath = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class SequenceKey:
    """The child of a list or tuple at index `idx`."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx!r}]"


@dataclass(frozen=True, slots=True)
class DictKey:
    """The child of a dict under `key`."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclass(frozen=True, slots=True)
class GetAttrKey:
    """The child that is the attribute `name`, as of a named tuple or a dataclass."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


@dataclass(frozen=True, slots=True)
class FlattenedIndexKey:
    """The child number `key` of a custom node that was registered without keys."""

    key: int

    def __str__(self) -> str:
        return f"[<flat index {self.key}>]"


def _simple(entry: Any) -> str:
    match entry:
        case SequenceKey(idx=value) | DictKey(key=value) | FlattenedIndexKey(key=value):
            return str(value)
        case GetAttrKey(name=name):
            return name
    return str(entry)


def keystr(keys: KeyPath, *, simple: bool = False, separator: str = "") -> str:
    """Text of a path: as Python would write the access, or only the names with `simple`.

    >>> path = (DictKey("layers"), SequenceKey(0), GetAttrKey("weight"))
    >>> keystr(path), keystr(path, simple=True, separator="/")
    ("['layers'][0].weight", 'layers/0/weight')
    """
    return separator.join((_simple if simple else str)(key) for key in keys)
