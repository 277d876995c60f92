"""Code for systems that are not here: what its objects call is there when they are loaded."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from pullback.llvm import embedding, interrupts, jit, library, pool_text

TARGETS = {
    "aarch64-unknown-linux-gnu": "",
    "arm64-apple-darwin23.0.0": "apple-m1",
    "x86_64-apple-darwin23.0.0": "",
    "x86_64-unknown-linux-gnu": "",
}
KERNELS = ("pb_gemm_f32", "pb_fft_f64", "pb_direct_f32", "pb_radix_u32", "pb_sort_rows_f32")


def _name(data: bytes, at: int) -> str:
    return data[at : data.index(b"\0", at)].decode()


def _undefined_in_elf(data: bytes) -> Iterator[str]:
    start, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    sections = [struct.unpack_from("<IIQQQQII", data, start + 64 * k) for k in range(count)]
    (table,) = [s for s in sections if s[1] == 2]
    strings = sections[table[6]][4]
    for at in range(table[4], table[4] + table[5], 24):
        name, _, _, section = struct.unpack_from("<IBBH", data, at)
        if name and section == 0:
            yield _name(data, strings + name)


def _undefined_in_macho(data: bytes) -> Iterator[str]:
    """Names as C has them: those of the file begin with a line."""
    at = 32
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size, symbols, count, strings = struct.unpack_from("<5I", data, at)
        for place in range(symbols, symbols + 16 * count, 16) if command == 2 else ():
            name, kind = struct.unpack_from("<IB", data, place)
            if kind & 0x0F == 1:
                full = _name(data, strings + name)
                assert full.startswith("_")
                yield full[1:]
        at += size


def _calls(texts: list[str], triple: str) -> set[str]:
    wanted = embedding.Target(triple, TARGETS[triple], "", 128)
    code = embedding.object_code(texts, _EXPORTS, wanted)
    read = _undefined_in_elf if code.startswith(b"\x7fELF") else _undefined_in_macho
    return set(read(code))


_EXPORTS = (*KERNELS, *pool_text.SYMBOLS, "pb_poll")


@pytest.mark.parametrize("triple", TARGETS)
@pytest.mark.parametrize("symbol", KERNELS)
def test_kernels_call_what_they_say(symbol: str, triple: str) -> None:
    found = library.kernel_text(symbol, 128)
    assert found is not None
    text, needed = found
    assert _calls([text], triple) <= {*needed, *jit.IMPLIED}


@pytest.mark.parametrize("triple", TARGETS)
def test_the_pool_and_interrupts_call_what_they_say(triple: str) -> None:
    text, needed = pool_text.module_text(triple.split("-", 1)[0])
    known = {*needed, *interrupts._SYMBOLS, *jit.IMPLIED}
    calls = _calls([text, interrupts._TEXT], triple)
    assert {"pthread_create", "clock_gettime"} <= calls <= known


def test_what_llvm_may_call_is_looked_up_where_it_exists() -> None:
    """Each process has the functions of its own system, and loads without those of others."""
    there = jit._always_there()
    assert {"memcpy", "memset", "fma", "floorf"} <= there.keys() <= set(jit.IMPLIED)
    assert all(there.values())
