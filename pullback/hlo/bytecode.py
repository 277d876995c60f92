"""MLIR's bytecode: the container of serialised modules, as the MLIR documentation specifies it.

bytes -> `read` -> operations (hlo/modules) with attributes and types of the dialects (hlo/vhlo)

What is read may come from anywhere: every length is compared with what is left of the bytes, and
numbers of entries with the bytes that they would need at least, so that time and memory are bounded
by the size of the file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from pullback.hlo.modules import Block, ModuleError, Operation, Region, Value

__all__ = ["Cursor", "is_bytecode", "read"]

MAGIC: Final = b"ML\xefR"
_MAX_DEPTH: Final = 64
_STRINGS, _DIALECTS, _ENTRIES, _OFFSETS, _IR = range(5)
_PROPERTIES: Final = 8
_VERSIONS: Final = range(1, 7)
"""Versions of the container that are read; the last one is that of 2024."""
_ATTRIBUTES, _RESULTS, _OPERANDS, _SUCCESSORS, _REGIONS, _ORDERS, _PROPERTY = (
    1 << k for k in range(7)
)
Decoder: TypeAlias = "Callable[[Cursor], Any]"
Properties: TypeAlias = "Callable[[str, Cursor], dict[str, Any]]"


def is_bytecode(data: bytes) -> bool:
    """Whether bytes begin as bytecode does."""
    return data[:4] == MAGIC


class Cursor:
    """A place in bytes, from which things are read one after the other."""

    __slots__ = ("at", "attribute", "data", "end", "string_at", "type_at")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end
        self.string_at: Callable[[int], str] = _nothing
        self.attribute: Callable[[int], Any] = _nothing
        self.type_at: Callable[[int], Any] = _nothing

    def take(self, n: int) -> bytes:
        """The next n bytes."""
        if not 0 <= n <= self.end - self.at:
            raise ModuleError("the bytecode is cut off")
        self.at += n
        return self.data[self.at - n : self.at]

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """A number whose first byte tells by its trailing zeros how many bytes follow."""
        first = self.byte()
        if first & 1:
            return first >> 1
        if first == 0:
            return int.from_bytes(self.take(8), "little")
        extra = (first & -first).bit_length() - 1
        rest = int.from_bytes(self.take(extra), "little")
        return (first | rest << 8) >> (extra + 1)

    def signed(self) -> int:
        """A number with its sign in the lowest bit."""
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def count(self, least: int = 1) -> int:
        """A number of things that need at least so many bytes each."""
        n = self.varint()
        if n * least > self.end - self.at:
            raise ModuleError("the bytecode announces more than it holds")
        return n

    def blob(self) -> bytes:
        """Bytes behind their number."""
        return self.take(self.varint())

    def text(self) -> str:
        """An owned string."""
        return self.string_at(self.varint())

    def attributes(self) -> list[Any]:
        """Attributes behind their number."""
        return [self.attribute(self.varint()) for _ in range(self.count())]

    def types(self) -> list[Any]:
        """Types behind their number."""
        return [self.type_at(self.varint()) for _ in range(self.count())]

    def signeds(self) -> list[int]:
        """Signed numbers behind their number."""
        return [self.signed() for _ in range(self.count())]

    def until_zero(self) -> bytes:
        """Bytes that end with a zero."""
        end = self.data.find(b"\0", self.at, self.end)
        if end < 0:
            raise ModuleError("a string of the bytecode has no end")
        out = self.take(end - self.at)
        self.at += 1
        return out


def _nothing(index: int) -> Any:
    raise ModuleError("the bytecode refers to an entry where there is none")


def _section(cursor: Cursor) -> tuple[int, Cursor]:
    head = cursor.byte()
    length = cursor.varint()
    if head & 0x80:
        alignment = cursor.varint()
        if alignment not in (1, 2, 4, 8, 16, 32, 64, 128, 256):
            raise ModuleError("a section of the bytecode has no proper alignment")
        while cursor.at % alignment:
            if cursor.byte() != 0xCB:
                raise ModuleError("the padding of the bytecode is damaged")
    start = cursor.at
    cursor.take(length)
    return head & 0x7F, Cursor(cursor.data, start, start + length)


def _strings(cursor: Cursor) -> list[str]:
    lengths = [cursor.varint() for _ in range(cursor.count())]
    out = []
    for n in reversed(lengths):
        raw = cursor.take(n)
        if not raw.endswith(b"\0"):
            raise ModuleError("a string of the bytecode has no end")
        out.append(raw[:-1].decode("utf-8", "surrogateescape"))
    return out


class _Reader:
    """The tables of one file, and the operations that refer to them."""

    def __init__(
        self,
        version: int,
        decoders: Mapping[str, tuple[Decoder, Decoder]],
        properties_of: Properties,
    ) -> None:
        self.version = version
        self.decoders = decoders
        self.properties_of = properties_of
        self.strings: list[str] = []
        self.dialects: list[str] = []
        self.names: list[str] = []
        self.entries: tuple[list[Any], list[Any]] = ([], [])
        """For attributes and for types: where each stands, or its value once it is known."""
        self.data = Cursor(b"")
        self.properties: list[bytes] = []
        self.busy = 0

    # ------------------------------------------------------------------ tables

    def string(self, index: int) -> str:
        """A string by its number."""
        return str(_item(self.strings, index))

    def read_dialects(self, cursor: Cursor) -> None:
        """Names of dialects and of operations."""
        for _ in range(cursor.count()):
            head = cursor.varint()
            self.dialects.append(self.string(head >> 1 if self.version >= 1 else head))
            if self.version >= 1 and head & 1:
                _section(cursor)
        if self.version >= 4:
            cursor.varint()
        while cursor.at < cursor.end:
            dialect = _item(self.dialects, cursor.varint())
            for _ in range(cursor.count()):
                head = cursor.varint()
                name = self.string(head >> 1 if self.version >= 5 else head)
                self.names.append(f"{dialect}.{name}")

    def read_offsets(self, cursor: Cursor) -> None:
        """Where attributes and types stand."""
        place = self.data.at
        totals = cursor.varint(), cursor.varint()
        for table, total in zip(self.entries, totals, strict=True):
            while len(table) < total:
                dialect = _item(self.dialects, cursor.varint())
                count = cursor.count()
                if not 0 < count <= total - len(table):
                    raise ModuleError("the tables of the bytecode do not fit together")
                for _ in range(count):
                    head = cursor.varint()
                    table.append(_Entry(dialect, bool(head & 1), place, place + (head >> 1)))
                    place += head >> 1

    def attribute(self, index: int) -> Any:
        """An attribute by its number."""
        return self.entry(0, index)

    def type(self, index: int) -> Any:
        """A type by its number."""
        return self.entry(1, index)

    def entry(self, kind: int, index: int) -> Any:
        """An attribute or a type, decoded when it is first asked for."""
        found = _item(self.entries[kind], index)
        if isinstance(found, _Entry):
            if found.busy or self.busy > _MAX_DEPTH:
                raise ModuleError("attributes of the bytecode are nested without an end")
            found.busy = True
            self.busy += 1
            found.value = self.decode(kind, found)
            self.busy -= 1
            self.entries[kind][index] = _Value(found.value)
            return found.value
        return found.value

    def decode(self, kind: int, entry: _Entry) -> Any:
        """What an entry stands for."""
        cursor = self.cursor(entry.start, entry.end)
        if not entry.custom:
            return cursor.until_zero().decode("utf-8", "surrogateescape")
        decoders = self.decoders.get(entry.dialect)
        if decoders is None:
            raise ModuleError(f"attributes of the dialect {entry.dialect!r} are not known here")
        return decoders[kind](cursor)

    def cursor(self, start: int, end: int) -> Cursor:
        """A place in the data of attributes and types."""
        if not self.data.at <= start <= end <= self.data.end:
            raise ModuleError("the bytecode is cut off")
        return self.linked(Cursor(self.data.data, start, end))

    def linked(self, cursor: Cursor) -> Cursor:
        """The cursor, which can follow references now."""
        cursor.string_at, cursor.attribute = self.string, self.attribute
        cursor.type_at = self.type
        return cursor

    def read_properties(self, cursor: Cursor) -> None:
        """Attributes of operations that are no attributes of MLIR."""
        self.properties = [cursor.blob() for _ in range(cursor.count())]

    # ------------------------------------------------------------------ operations

    def block(self, cursor: Cursor, scope: _Scope, depth: int) -> Block:
        """A block, whose values take the next places of the scope."""
        if depth > _MAX_DEPTH:
            raise ModuleError("operations of the bytecode are nested too deeply")
        head = cursor.varint()
        arguments = self.arguments(cursor) if head & 1 else []
        scope.define(arguments)
        if head >> 1 > cursor.end - cursor.at:
            raise ModuleError("the bytecode announces more than it holds")
        operations = [self.operation(cursor, scope, depth) for _ in range(head >> 1)]
        return Block(arguments, operations)

    def arguments(self, cursor: Cursor) -> list[Value]:
        """The arguments of a block."""
        arguments = []
        for _ in range(cursor.count()):
            head = cursor.varint()
            if self.version < 4 or head & 1:
                cursor.varint()  # where it came from
            arguments.append(Value(self.type(head >> 1 if self.version >= 4 else head)))
        if self.version >= 3 and cursor.byte():
            self.orders(cursor, len(arguments))
        return arguments

    def orders(self, cursor: Cursor, values: int) -> None:
        """The orders of uses of values, which say nothing about what a program computes."""
        for _ in range(cursor.count() if values > 1 else 1):
            if values > 1:
                cursor.varint()
            numbers = cursor.varint() >> 1
            if numbers > cursor.end - cursor.at:
                raise ModuleError("the bytecode announces more than it holds")
            for _ in range(numbers):
                cursor.varint()

    def operation(self, cursor: Cursor, scope: _Scope, depth: int) -> Operation:
        """An operation with its regions."""
        name = str(_item(self.names, cursor.varint()))
        mask = cursor.byte()
        cursor.varint()  # where it came from
        attributes = {}
        if mask & _ATTRIBUTES:
            attributes.update(_dictionary(self.attribute(cursor.varint())))
        if mask & _PROPERTY:
            blob = _item(self.properties, cursor.varint())
            attributes.update(self.properties_of(name, self.linked(Cursor(blob))))
        results = []
        if mask & _RESULTS:
            results = [Value(self.type(cursor.varint())) for _ in range(cursor.count())]
        operands = []
        if mask & _OPERANDS:
            operands = [scope.use(cursor.varint()) for _ in range(cursor.count())]
        if mask & _SUCCESSORS:
            raise ModuleError(f"{name} has successors, which StableHLO does not know")
        if mask & _ORDERS:
            self.orders(cursor, len(results))
        scope.define(results)
        regions = self.regions(cursor, scope, depth) if mask & _REGIONS else []
        return Operation(name, operands, attributes, results, regions)

    def regions(self, cursor: Cursor, scope: _Scope, depth: int) -> list[Region]:
        """The regions of an operation."""
        head = cursor.varint()
        isolated = bool(head & 1)
        inside = _Scope() if isolated else scope
        if isolated and self.version >= 2:
            kind, cursor = _section(cursor)
            if kind != _IR:
                raise ModuleError("the bytecode has another section instead of regions")
            self.linked(cursor)
        out = []
        if (head >> 1) > cursor.end - cursor.at:
            raise ModuleError("the bytecode announces more than it holds")
        for _ in range(head >> 1):
            blocks = cursor.varint()
            if blocks > 1:
                raise ModuleError("regions of several blocks are not known to StableHLO")
            if not blocks:
                out.append(Region([], []))
                continue
            with inside.region(cursor.count()):
                block = self.block(cursor, inside, depth + 1)
            out.append(Region(block.arguments, block.operations))
        return out


class _Scope:
    """Values by number: those of a region stand behind those of the regions around it."""

    def __init__(self) -> None:
        self.values: list[Value | None] = []
        self.next = 0

    @contextlib.contextmanager
    def region(self, count: int) -> Iterator[None]:
        """The scope with places for the values of one more region."""
        before, size = self.next, len(self.values)
        self.next = size
        self.values.extend([None] * count)
        yield
        del self.values[size:]
        self.next = before

    def define(self, values: list[Value]) -> None:
        """Put values into the next places."""
        end = self.next + len(values)
        if end > len(self.values):
            raise ModuleError("a region of the bytecode has more values than it says")
        self.values[self.next : end] = values
        self.next = end

    def use(self, index: int) -> Value:
        """The value of a place."""
        found = _item(self.values, index)
        if not isinstance(found, Value):
            raise ModuleError("the bytecode uses a value before it is defined")
        return found


class _Entry:
    """An attribute or a type that has not been read yet."""

    __slots__ = ("busy", "custom", "dialect", "end", "start", "value")

    def __init__(self, dialect: str, custom: bool, start: int, end: int) -> None:
        self.dialect = dialect
        self.custom = custom
        self.start = start
        self.end = end
        self.busy = False
        self.value: Any = None


class _Value:
    """One that has."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def _item(items: Any, index: int) -> Any:
    if not 0 <= index < len(items):
        raise ModuleError("the bytecode refers to an entry that it does not have")
    return items[index]


def _dictionary(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ModuleError("the attributes of an operation are no dictionary")
    return value


def read(
    data: bytes, decoders: Mapping[str, tuple[Decoder, Decoder]], properties: Properties
) -> list[Operation]:
    """The operations of a module in bytecode.

    `decoders` has, for each dialect, what reads its attributes and its types; `properties` reads
    what an operation keeps outside of its dictionary of attributes.
    """
    if not is_bytecode(data):
        raise ModuleError("these bytes are no bytecode of MLIR")
    cursor = Cursor(data, 4)
    version = cursor.varint()
    if version not in _VERSIONS:
        raise ModuleError(f"bytecode of version {version} is not known here")
    cursor.until_zero()  # who wrote it
    sections: dict[int, Cursor] = {}
    while cursor.at < cursor.end:
        kind, content = _section(cursor)
        sections[kind] = content
    if not {_STRINGS, _DIALECTS, _ENTRIES, _OFFSETS, _IR} <= set(sections):
        raise ModuleError("a section of the bytecode is missing")
    reader = _Reader(version, decoders, properties)
    reader.strings = _strings(sections[_STRINGS])
    reader.read_dialects(sections[_DIALECTS])
    reader.data = sections[_ENTRIES]
    reader.read_offsets(sections[_OFFSETS])
    if _PROPERTIES in sections:
        reader.read_properties(sections[_PROPERTIES])
    return reader.block(sections[_IR], _Scope(), 0).operations
