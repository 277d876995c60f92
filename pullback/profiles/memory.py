"""What arrays hold memory, in the format of pprof (github.com/google/pprof, profile.proto)."""

from __future__ import annotations

import gzip
import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from pullback.runtime.placement import live_arrays

__all__ = ["memory_profile"]

_VARINT: Final = 0
_BYTES: Final = 2


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _message(field, b"".join(map(_varint, values)))


class _Strings:
    """The table of strings of a profile; the first is empty."""

    def __init__(self) -> None:
        self.table: dict[str, int] = {"": 0}

    def __call__(self, text: str) -> int:
        return self.table.setdefault(text, len(self.table))


def memory_profile() -> bytes:
    """A gzipped profile of the live arrays: for each type how many, and how many bytes.

    The fields are those of `profile.proto`: 1 sample_type, 2 sample, 4 location, 5 function,
    6 string_table, 9 time_nanos.
    """
    arrays = live_arrays()
    counts = Counter(x.aval.str_short() for x in arrays)
    sizes: Counter[str] = Counter()
    for x in arrays:
        sizes[x.aval.str_short()] += x.nbytes
    strings = _Strings()
    out = [
        _message(1, _number(1, strings(kind)) + _number(2, strings(unit)))
        for kind, unit in (("allocations", "count"), ("space", "bytes"))
    ]
    for i, (name, count) in enumerate(sorted(counts.items()), 1):
        out.append(_message(2, _packed(1, [i]) + _packed(2, [count, sizes[name]])))
        out.append(_message(4, _number(1, i) + _message(4, _number(1, i))))
        out.append(_message(5, _number(1, i) + _number(2, strings(f"array {name}"))))
    out += [_message(6, text.encode()) for text in strings.table]
    out.append(_number(9, time.time_ns()))
    return gzip.compress(b"".join(out))
