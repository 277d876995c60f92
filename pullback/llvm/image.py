"""Object code linked to one block of memory: between LLVM and the running program, for `llvm.jit`.

`link` lays the sections of some ELF objects side by side and resolves what is relative; `place`
copies the block into memory, writes the addresses of external symbols into its table, and makes it
executable.  What lies between the two is kept on disk, so that a process that finds its programs
there places them in microseconds, and needs no linker.

A block is code, constants and the table, which nobody may write to when it is placed, followed by
what the program writes to.  A call to the outside goes through a jump, and the jump through the
table, so that it reaches any address.

`link` gives None for what it does not know (other kinds of object files, other processors), which
LLVM then links in each process.  The formats are those of the System V ABI, AMD64 supplement.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np

from pullback.errors import LoweringError

__all__ = ["Image", "Placed", "decode", "encode", "is_image", "link", "place"]

MAGIC: Final = b"PBIMAGE1"
_HEADER: Final = struct.Struct("<8s8I")
_PAGE: Final = 4096

_X86_64: Final = 62
_PROGBITS, _NOBITS, _RELA, _SYMTAB = 1, 8, 4, 2
_WRITE, _ALLOC, _THREAD_LOCAL = 1, 2, 0x400
_LOCAL, _GLOBAL = 0, 1
_RESERVED: Final = 0xFF00
"""Section numbers from here on are no sections."""

_ABSOLUTE: Final = 1
_RELATIVE: Final = (2, 4)
"""PC32, and PLT32, whose target may be a jump to the outside."""
_BY_TABLE: Final = (9, 41, 42)
"""GOTPCREL, GOTPCRELX, REX_GOTPCRELX: the place of an address in the table."""

_JUMP: Final = b"\xff\x25"
"""`jmp *offset(%rip)`, four bytes of offset to come."""
_JUMP_BYTES: Final = 8

_SECTION: Final = np.dtype([
    ("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("address", "<u8"), ("offset", "<u8"),
    ("size", "<u8"), ("link", "<u4"), ("info", "<u4"), ("align", "<u8"), ("entry", "<u8"),
])  # fmt: skip
_SYMBOL: Final = np.dtype([
    ("name", "<u4"), ("info", "u1"), ("other", "u1"), ("section", "<u2"),
    ("value", "<u8"), ("size", "<u8"),
])  # fmt: skip
_RELOCATION: Final = np.dtype([
    ("offset", "<u8"), ("type", "<u4"), ("symbol", "<u4"), ("addend", "<i8"),
])  # fmt: skip


class Image(NamedTuple):
    """A linked block.  All offsets are from its start."""

    content: bytes
    size: int
    """Bytes of memory: those of `content`, then zeros."""
    writable: int
    """From here on, a whole page, the program may write."""
    table: int
    """Where the addresses of `externals` go, eight bytes each."""
    externals: tuple[str, ...]
    rebased: tuple[int, ...]
    """Words that hold an offset and are to hold an address."""
    exports: dict[str, int]


class _Unknown(Exception):
    """Something that only LLVM's linker knows."""


# ------------------------------------------------------------------------------------- ELF objects


class _Object:
    """The parts of one object file that take memory."""

    def __init__(self, data: bytes) -> None:
        start, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
        self.data = data
        self.sections = np.frombuffer(data, _SECTION, count, start)
        self.loaded = [
            k for k, s in enumerate(self.sections)
            if s["flags"] & _ALLOC and s["type"] in (_PROGBITS, _NOBITS) and s["size"]
            and self._name(s) != b".eh_frame"
        ]  # fmt: skip
        if any(s["flags"] & _THREAD_LOCAL or s["align"] > _PAGE for s in self.sections):
            raise _Unknown
        (symbols,) = [s for s in self.sections if s["type"] == _SYMTAB]
        self.symbols = self._table(symbols, _SYMBOL)
        self._strings = int(self.sections[symbols["link"]]["offset"])
        self.places: dict[int, int] = {}
        """Where each loaded section went."""

    def _table(self, section: Any, kind: Any) -> Any:
        count = int(section["size"]) // kind.itemsize
        return np.frombuffer(self.data, kind, count, int(section["offset"]))

    def _text(self, at: int) -> bytes:
        return self.data[at : self.data.index(b"\0", at)]

    def _name(self, section: Any) -> bytes:
        """Its name is in the table of strings that the header of the file names."""
        strings = self.sections[struct.unpack_from("<H", self.data, 62)[0]]
        return self._text(int(strings["offset"]) + int(section["name"]))

    def bytes_of(self, k: int) -> bytes:
        s = self.sections[k]
        return self.data[int(s["offset"]) :][: int(s["size"])]

    def shared(self) -> Iterator[tuple[int, str, Any]]:
        """Symbols that other objects may see: number, name, record."""
        for k in np.flatnonzero(self.symbols["info"] >> 4 != _LOCAL):
            record = self.symbols[k]
            if record["info"] >> 4 != _GLOBAL or record["section"] >= _RESERVED:
                raise _Unknown
            yield int(k), self._text(self._strings + int(record["name"])).decode(), record

    def relocations(self) -> Iterator[tuple[int, Any]]:
        """Number of a loaded section, and what is to be resolved in it."""
        for s in self.sections:
            if s["type"] == _RELA and int(s["info"]) in self.places:
                yield int(s["info"]), self._table(s, _RELOCATION)


def _is_elf(data: bytes) -> bool:
    """64 bits, little-endian, relocatable, for x86-64."""
    return data[:6] == b"\x7fELF\x02\x01" and struct.unpack_from("<HH", data, 16) == (1, _X86_64)


@cache
def _supported() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"


# ------------------------------------------------------------------------------------- linking


class _Linker:
    """Lays out the sections, then resolves."""

    def __init__(self, objects: Sequence[bytes]) -> None:
        self.objects = [_Object(data) for data in objects]
        self.size = 0
        self.place_sections(writable=False)
        self.exports: dict[str, int] = {}
        wanted: dict[str, None] = {}
        for o in self.objects:
            wanted |= dict.fromkeys(name for _, name, s in o.shared() if s["section"] == 0)
        defined = {n for o in self.objects for _, n, s in o.shared() if s["section"]}
        self.externals = tuple(name for name in wanted if name not in defined)
        self.jumps = self.reserve(_JUMP_BYTES * len(self.externals), 16)
        # After the addresses of externals those of symbols of our own that are asked for so.
        own = sum(self.asked_by_table(o) for o in self.objects)
        self.table = self.reserve(8 * (len(self.externals) + own), 64)
        self.next_own = self.table + 8 * len(self.externals)
        self.writable = self.reserve(0, _PAGE)
        self.place_sections(writable=True)
        self.memory = np.zeros(self.size, np.uint8)
        self.rebased: list[int] = []

    def reserve(self, size: int, alignment: int) -> int:
        start = -(-self.size // alignment) * alignment
        self.size = start + size
        return start

    def place_sections(self, *, writable: bool) -> None:
        for o in self.objects:
            for k in o.loaded:
                s = o.sections[k]
                if bool(s["flags"] & _WRITE) == writable:
                    o.places[k] = self.reserve(int(s["size"]), max(1, int(s["align"])))

    def asked_by_table(self, o: _Object) -> int:
        records = [table for _, table in o.relocations()]
        return sum(int(np.isin(table["type"], _BY_TABLE).sum()) for table in records)

    def linked(self) -> Image:
        for o in self.objects:
            for k, at in o.places.items():
                if o.sections[k]["type"] == _PROGBITS:
                    content = np.frombuffer(o.bytes_of(k), np.uint8)
                    self.memory[at : at + len(content)] = content
            for _, name, record in o.shared():
                if record["section"]:
                    if name in self.exports:
                        raise _Unknown
                    self.exports[name] = o.places[int(record["section"])] + int(record["value"])
        for k in range(len(self.externals)):
            at = self.jumps + _JUMP_BYTES * k
            offset = self.table + 8 * k - (at + 6)
            self.write(at, _JUMP + struct.pack("<i", offset))
        for o in self.objects:
            self.resolve(o)
        filled = np.flatnonzero(self.memory)
        end = int(filled[-1]) + 1 if filled.size else 0
        return Image(
            self.memory[:end].tobytes(), self.size, self.writable, self.table, self.externals,
            tuple(self.rebased), self.exports,
        )  # fmt: skip

    def write(self, at: int, value: bytes) -> None:
        self.memory[at : at + len(value)] = np.frombuffer(value, np.uint8)

    def resolve(self, o: _Object) -> None:
        values, slots = self.targets(o)
        for k, records in o.relocations():
            kinds = records["type"]
            if not np.isin(kinds, (_ABSOLUTE, *_RELATIVE, *_BY_TABLE)).all():
                raise _Unknown
            at = o.places[k] + records["offset"].astype(np.int64)
            by_table = np.isin(kinds, _BY_TABLE)
            for i in np.flatnonzero(by_table & (slots[records["symbol"]] < 0)):
                symbol = records["symbol"][i]
                if slots[symbol] < 0:
                    slots[symbol] = self.own_slot(int(values[symbol]))
            target = np.where(by_table, slots[records["symbol"]], values[records["symbol"]])
            if (target < 0).any():
                raise _Unknown
            target = target + records["addend"]
            absolute = kinds == _ABSOLUTE
            if (values[records["symbol"]][absolute] >= self.jumps).any():
                self.refuse_jumps(values[records["symbol"]][absolute])
            self.patch(at[absolute], target[absolute], "<i8")
            self.rebased.extend(map(int, at[absolute]))
            self.patch(at[~absolute], (target - at)[~absolute], "<i4")

    def refuse_jumps(self, values: Any) -> None:
        """The address of an external symbol is not that of the jump to it."""
        end = self.jumps + _JUMP_BYTES * len(self.externals)
        if ((values >= self.jumps) & (values < end)).any():
            raise _Unknown

    def targets(self, o: _Object) -> tuple[Any, Any]:
        """For each symbol of an object where it is, and its place in the table; or -1."""
        sections = np.full(len(o.sections), -1, np.int64)
        for k, at in o.places.items():
            sections[k] = at
        inside = (o.symbols["section"] > 0) & (o.symbols["section"] < len(o.sections))
        numbers = np.where(inside, o.symbols["section"], 0)
        starts = np.where(inside, sections[numbers], -1)
        values = np.where(starts >= 0, starts + o.symbols["value"].astype(np.int64), -1)
        slots = np.full(len(values), -1, np.int64)
        places = {name: k for k, name in enumerate(self.externals)}
        for k, name, record in o.shared():
            if record["section"]:
                continue
            if name in places:
                values[k] = self.jumps + _JUMP_BYTES * places[name]
                slots[k] = self.table + 8 * places[name]
            else:
                values[k] = self.exports[name]
        return values, slots

    def own_slot(self, value: int) -> int:
        if value < 0:
            raise _Unknown
        at, self.next_own = self.next_own, self.next_own + 8
        self.write(at, struct.pack("<q", value))
        self.rebased.append(at)
        return at

    def patch(self, at: Any, values: Any, kind: str) -> None:
        """Write a number at each place."""
        width = np.dtype(kind).itemsize
        narrow = values.astype(kind)
        if (narrow != values).any():
            raise _Unknown
        self.memory[at[:, None] + np.arange(width)] = narrow.view(np.uint8).reshape(-1, width)


def link(objects: Sequence[bytes]) -> Image | None:
    """Link objects that call each other; None where that is left to LLVM."""
    if not _supported() or not objects or not all(map(_is_elf, objects)):
        return None
    try:
        return _Linker(objects).linked()
    except _Unknown:
        return None


# ------------------------------------------------------------------------------------- as bytes


def is_image(data: bytes) -> bool:
    """Whether these bytes are those of `encode`."""
    return data.startswith(MAGIC)


def encode(image: Image) -> bytes:
    """An image as bytes."""
    names = "\0".join((*image.externals, *image.exports)).encode()
    numbers = struct.pack(
        f"<{len(image.rebased) + len(image.exports)}I", *image.rebased, *image.exports.values()
    )
    sizes = (len(image.content), image.size, image.writable, image.table)
    counts = (len(image.externals), len(image.rebased), len(image.exports), len(names))
    return _HEADER.pack(MAGIC, *sizes, *counts) + numbers + names + image.content


def decode(data: bytes) -> Image:
    """The image in the bytes of `encode`; LoweringError where they are not consistent.

    >>> decode(encode(Image(b"code", 4, 4096, 0, (), (), {"f": 0}))).exports
    {'f': 0}
    """
    magic, length, size, writable, table, outside, words, inside, text = _HEADER.unpack_from(data)
    at = _HEADER.size + 4 * (words + inside)
    if magic != MAGIC or len(data) != at + text + length:
        raise LoweringError("the image of a program is incomplete")
    numbers = struct.unpack_from(f"<{words + inside}I", data, _HEADER.size)
    names = data[at : at + text].decode().split("\0") if text else []
    whole = length <= size and table + 8 * outside <= size and len(names) == outside + inside
    if not whole or any(n + 8 > size for n in numbers[:words]) or writable % _PAGE:
        raise LoweringError("the image of a program contradicts itself")
    exports = dict(zip(names[outside:], numbers[words:], strict=True))
    if any(n >= size for n in exports.values()):
        raise LoweringError("the image of a program contradicts itself")
    externals = tuple(names[:outside])
    return Image(data[at + text :], size, writable, table, externals, numbers[:words], exports)


# ------------------------------------------------------------------------------------- placing


class Placed:
    """An image in memory, which is freed with this object, but not when the process ends."""

    __slots__ = ("_room", "addresses")

    def __init__(self, room: tuple[int, int], addresses: dict[str, int]) -> None:
        self._room = room
        self.addresses = addresses

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not ending():  # threads may still be running it
            _memory().unmap(*self._room)


class _Memory(NamedTuple):
    """What the C library does for us."""

    map: Any
    protect: Any
    unmap: Any


@cache
def _memory() -> _Memory:
    c = ctypes.CDLL(None, use_errno=True)
    c.mmap.restype = ctypes.c_void_p
    word, number = ctypes.c_size_t, ctypes.c_int
    c.mmap.argtypes = [ctypes.c_void_p, word, number, number, number, ctypes.c_long]
    c.mprotect.argtypes = [ctypes.c_void_p, word, number]
    c.munmap.argtypes = [ctypes.c_void_p, word]
    return _Memory(c.mmap, c.mprotect, c.munmap)


_READ_WRITE, _READ_EXECUTE = 3, 5
_PRIVATE_ANONYMOUS: Final = 0x22


def _room(size: int) -> int:
    start = _memory().map(None, size, _READ_WRITE, _PRIVATE_ANONYMOUS, -1, 0)
    if start is None or start == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise LoweringError(f"no memory for a program of {size} bytes: {os.strerror(code)}")
    return int(start)


def place(image: Image, symbols: Mapping[str, int]) -> Placed:
    """Copy an image into memory; `symbols` gives the addresses of its externals.

    Raises LoweringError where one of them is missing.
    """
    missing = [name for name in image.externals if name not in symbols]
    if missing:
        raise LoweringError(f"a compiled program cannot be linked: no symbol {', '.join(missing)}")
    size = max(_PAGE, -(-image.size // _PAGE) * _PAGE)
    start = _room(size)
    end = max(image.table + 8 * len(image.externals), *(at + 8 for at in image.rebased), 0)
    content = bytearray(image.content.ljust(end, b"\0"))
    addresses = (symbols[name] for name in image.externals)
    struct.pack_into(f"<{len(image.externals)}Q", content, image.table, *addresses)
    for at in image.rebased:
        (offset,) = struct.unpack_from("<Q", content, at)
        struct.pack_into("<Q", content, at, start + offset)
    ctypes.memmove(start, bytes(content), len(content))
    exports = {name: start + offset for name, offset in image.exports.items()}
    placed = Placed((start, size), exports)
    if _memory().protect(start, min(size, image.writable), _READ_EXECUTE):
        raise LoweringError(f"code may not run here: {os.strerror(ctypes.get_errno())}")
    return placed
