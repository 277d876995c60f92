"""FlatBuffers: the layout of tables in bytes, as its documentation describes it; written and read.

A file begins with the place of its root table.  A table points back to the list of where its fields
stand, and fields point forwards to strings, vectors and other tables.  What is read may come from
anywhere: every place is checked before it is used, and no table is read twice in a row of others.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Fields", "FormatError", "Table", "write"]

_SIZES: Final = {"B": 1, "H": 2, "I": 4}


class FormatError(ValueError):
    """Bytes that are not laid out as FlatBuffers are."""


@dataclass(frozen=True)
class Fields:
    """A table to be written: values by the number of their field.

    A number is given with the letter of its size (`("H", 3)`), a vector of numbers likewise
    (`("H", [1, 2])`); other values are strings, bytes, `Fields`, and lists of strings or `Fields`.
    """

    values: dict[int, Any] = field(default_factory=dict)


# --------------------------------------------------------------------------- writing


class _Writer:
    def __init__(self) -> None:
        self.data = bytearray(4)

    def align(self, size: int) -> int:
        self.data.extend(bytes(-len(self.data) % size))
        return len(self.data)

    def point(self, at: int, target: int) -> None:
        struct.pack_into("<I", self.data, at, target - at)

    def table(self, table: Fields) -> int:
        """Write a table, its list of fields before it, and what it points to behind it."""
        layout: list[tuple[int, str, Any]] = []
        size = 4
        for k, value in sorted(table.values.items()):
            scalar = isinstance(value, tuple) and isinstance(value[1], int)
            letter = value[0] if scalar else "I"
            size += -size % _SIZES[letter]
            layout.append((k, letter if scalar else "", size))
            size += _SIZES[letter]
        count = 1 + max(table.values, default=-1)
        slots = [0] * count
        for k, _, at in layout:
            slots[k] = at
        self.align(4)
        if count % 2:
            self.data.extend(bytes(2))
        start = len(self.data)
        self.data.extend(struct.pack(f"<{2 + count}H", 4 + 2 * count, size, *slots))
        place = self.align(4)
        self.data.extend(struct.pack("<i", place - start) + bytes(size - 4))
        for k, letter, at in layout:
            value = table.values[k]
            if letter:
                struct.pack_into(f"<{letter}", self.data, place + at, value[1])
            else:
                self.point(place + at, self.value(value))
        return place

    def value(self, value: Any) -> int:
        """Write what a field points to."""
        if isinstance(value, Fields):
            return self.table(value)
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, bytes):
            return self.vector(len(value), value + b"\0")
        if isinstance(value, tuple):
            letter, numbers = value
            return self.vector(len(numbers), struct.pack(f"<{len(numbers)}{letter}", *numbers))
        place = self.vector(len(value), bytes(4 * len(value)))
        for k, item in enumerate(value):
            at = place + 4 + 4 * k
            self.point(at, self.value(item))
        return place

    def vector(self, count: int, data: bytes) -> int:
        place = self.align(4)
        self.data.extend(struct.pack("<I", count) + data)
        return place


def write(root: Fields) -> bytes:
    """The bytes of a file with this root table."""
    writer = _Writer()
    writer.point(0, writer.table(root))
    return bytes(writer.data)


# --------------------------------------------------------------------------- reading


class Table:
    """A table of a file."""

    __slots__ = ("_at", "_data", "_fields", "_size")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at
        start = at - self._number("i", at)
        width = self._number("H", start)
        self._size = self._number("H", start + 2)
        if width < 4 or width % 2 or start + width > len(data):
            raise FormatError("the fields of a table are damaged")
        self._fields = struct.unpack_from(f"<{(width - 4) // 2}H", data, start + 4)

    @staticmethod
    def root(data: bytes) -> Table:
        """The root table of a file."""
        if len(data) < 8:
            raise FormatError("these bytes are too few")
        return Table(data, struct.unpack_from("<I", data)[0])

    def _number(self, letter: str, at: int) -> int:
        size = struct.calcsize(letter)
        if not 0 <= at <= len(self._data) - size:
            raise FormatError("a place is outside of the file")
        return int(struct.unpack_from(f"<{letter}", self._data, at)[0])

    def _place(self, k: int) -> int | None:
        offset = self._fields[k] if k < len(self._fields) else 0
        if not offset:
            return None
        if offset >= self._size:
            raise FormatError("a field is outside of its table")
        return self._at + offset

    def number(self, k: int, letter: str, default: int = 0) -> int:
        """A number."""
        at = self._place(k)
        return default if at is None else self._number(letter, at)

    def _target(self, at: int) -> int:
        return at + self._number("I", at)

    def _span(self, k: int, size: int) -> tuple[int, int]:
        """Where the items of a vector begin, and how many there are."""
        at = self._place(k)
        if at is None:
            return 0, 0
        return self._items(self._target(at), size)

    def _items(self, at: int, size: int) -> tuple[int, int]:
        count = self._number("I", at)
        if count * size > len(self._data) - at - 4:
            raise FormatError("a vector is longer than the file")
        return at + 4, count

    def bytes(self, k: int) -> bytes:
        """Bytes."""
        at, count = self._span(k, 1)
        return self._data[at : at + count]

    def text(self, k: int) -> str:
        """A string."""
        return _text(self.bytes(k))

    def numbers(self, k: int, letter: str) -> tuple[int, ...]:
        """A vector of numbers."""
        at, count = self._span(k, _SIZES[letter])
        return struct.unpack_from(f"<{count}{letter}", self._data, at) if count else ()

    def texts(self, k: int) -> list[str]:
        """A vector of strings."""
        at, count = self._span(k, 4)
        out = []
        for place in range(at, at + 4 * count, 4):
            start, length = self._items(self._target(place), 1)
            out.append(_text(self._data[start : start + length]))
        return out

    def tables(self, k: int) -> list[Table]:
        """A vector of tables."""
        at, count = self._span(k, 4)
        places = range(at, at + 4 * count, 4)
        return [Table(self._data, self._target(place)) for place in places]

    def table(self, k: int) -> Table | None:
        """A table."""
        at = self._place(k)
        return None if at is None else Table(self._data, self._target(at))

    def has(self, k: int) -> bool:
        """Whether a field is given."""
        return self._place(k) is not None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("a string of the file is not UTF-8") from error
