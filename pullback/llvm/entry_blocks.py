"""Memory blocks for outputs and scratch, as LLVM text: part of the module of `entry_native.py`.

A hot loop makes and drops arrays of the same few sizes.  Blocks that come back are kept in free
lists, one for each size class (four to an octave), so that such a loop neither calls the system
nor touches fresh pages.  Payloads are 64-byte aligned, as wide as a cache line and a vector.  NumPy
arrays own their block through a memory handler (NEP 49), whose functions are here as well.

Everything in this file runs with the GIL held, which is the lock of the free lists.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import NULL, Function, Module, Value, i32, i64

__all__ = ["CLASSES", "HANDLER_FUNCTIONS", "write_blocks"]

CLASSES: Final = 260
HEADER: Final = 64
"""Bytes before the payload: size class, capacity, next free block, start of the allocation."""

CLASS, CAPACITY, NEXT, START = -64, -56, -48, -40
HUGE: Final = 1 << 21
HUGE_PAGE: Final = 1 << 21
ADVISE_HUGE_PAGES: Final = 14
MOST_TOUCHED: Final = 1 << 26
"""In larger blocks threads work pages apart; and the GIL is held meanwhile."""

HANDLER_FUNCTIONS: Final = (
    "pb_numpy_malloc",
    "pb_numpy_calloc",
    "pb_numpy_realloc",
    "pb_numpy_free",
)


def write_blocks(m: Module, *, huge_pages: bool) -> None:
    """Add `pb_block_alloc`, `pb_block_free`, `pb_blocks_trim` and NumPy's four functions."""
    m.variable("pb_free_lists", f"[{CLASSES} x ptr]", exported=True)
    m.variable("pb_cached_bytes", "i64", exported=True)
    m.variable("pb_cache_limit", "i64", exported=True)
    if huge_pages:
        _write_touch(m)
    _write_system_alloc(m, huge_pages)
    _write_alloc(m)
    _write_free(m)
    _write_trim(m)
    _write_numpy(m)


def _write_system_alloc(m: Module, huge_pages: bool) -> None:
    """A new block from the system; null where there is no memory."""
    f = m.function("pb_system_alloc", "ptr", "i64", "i64")
    size_class, capacity = f.parameters
    start = f.variable("ptr", NULL)
    total = f.op("add", capacity, HEADER)
    failed, small = f.new_label(), f.new_label()
    if huge_pages:
        f.goto_if(f.compare("ult", capacity, HUGE), small)
        status = f.call("i32", "posix_memalign", start, i64(HUGE_PAGE), total)
        f.goto_if(f.compare("ne", status, 0), failed)
        whole = f.op("and", total, -HUGE_PAGE)  # not more memory than was asked for
        f.call("i32", "madvise", f.load("ptr", start), whole, i32(ADVISE_HUGE_PAGES))
        several = f.compare("ugt", f.call("i64", "pb_pool_threads"), 1)
        with f.when(f.op("and", several, f.compare("ule", whole, MOST_TOUCHED))):
            touch, pages = Value("ptr", "@pb_touch"), f.op("udiv", whole, HUGE_PAGE)
            f.call("void", "pb_parallel_for", touch, f.load("ptr", start), pages, i64(1))
        _finish_block(f, start, size_class, capacity)
    f.label(small)
    status = f.call("i32", "posix_memalign", start, i64(HEADER), total)
    f.goto_if(f.compare("ne", status, 0), failed)
    _finish_block(f, start, size_class, capacity)
    f.label(failed)
    f.ret(NULL)


def _write_touch(m: Module) -> None:
    """`void pb_touch(ptr block, i64 begin, i64 end)`: let the system fill in these huge pages.

    It clears them, a fifth of a millisecond each.  Threads that write a new block together work
    so near each other that two would wait for the same page, and both clear one.
    """
    f = m.function("pb_touch", "void", "ptr", "i64", "i64")
    block, begin, end = f.parameters
    with f.loop(f.op("sub", end, begin)) as page:
        place = f.at(block, f.op("mul", f.op("add", begin, page), HUGE_PAGE))
        f.emit(f"store atomic i8 0, {place} monotonic, align 1")
    f.ret()


def _finish_block(f: Function, start: Value, size_class: Value, capacity: Value) -> None:
    base = f.load("ptr", start)
    payload = f.at(base, HEADER)
    f.store(size_class, payload, CLASS)
    f.store(capacity, payload, CAPACITY)
    f.store(base, payload, START)
    f.ret(payload)


def _write_alloc(m: Module) -> None:
    """`ptr pb_block_alloc(i64 nbytes)`: at least one byte, 64-byte aligned, or null."""
    f = m.function("pb_block_alloc", "ptr", "i64", exported=True)
    (nbytes,) = f.parameters
    least = f.select(f.compare("ugt", nbytes, HEADER), nbytes, i64(HEADER))
    zeros = f.call("i64", "llvm.ctlz.i64", least, Value("i1", "true"))
    octave = f.op("sub", i64(63), zeros)
    quarter = f.op("sub", octave, 2)
    step = f.op("shl", i64(1), quarter)
    rounded = f.op("and", f.op("add", least, f.op("sub", step, 1)), f.op("sub", i64(0), step))
    excess = f.op("sub", rounded, f.op("shl", i64(1), octave))
    size_class = f.op("add", f.op("mul", octave, 4), f.op("lshr", excess, quarter))
    # Sizes that no machine has would overflow the table or the additions above.
    impossible = f.new_label()
    f.goto_if(f.compare("ugt", nbytes, 1 << 48), impossible)
    head = f.item(Value("ptr", "@pb_free_lists"), size_class)
    block = f.load("ptr", head)
    with f.when(f.compare("ne", block, NULL)):
        f.store(f.load("ptr", block, NEXT), head)
        _add_cached(f, f.op("sub", i64(0), f.load("i64", block, CAPACITY)))
        f.ret(block)
    made = f.call("ptr", "pb_system_alloc", size_class, rounded)
    with f.when(f.compare("ne", made, NULL)):
        f.ret(made)
    f.call("void", "pb_blocks_trim")  # what is kept for other sizes may be what is missing
    f.ret(f.call("ptr", "pb_system_alloc", size_class, rounded))
    f.label(impossible)
    f.ret(NULL)


def _add_cached(f: Function, change: Value) -> None:
    cached = Value("ptr", "@pb_cached_bytes")
    f.store(f.op("add", f.load("i64", cached), change), cached)


def _write_free(m: Module) -> None:
    """`void pb_block_free(ptr)`: back to its list, or to the system if enough is kept already."""
    f = m.function("pb_block_free", "void", "ptr", exported=True)
    (block,) = f.parameters
    with f.when(f.is_null(block)):
        f.ret()
    capacity = f.load("i64", block, CAPACITY)
    after = f.op("add", f.load("i64", Value("ptr", "@pb_cached_bytes")), capacity)
    limit = f.load("i64", Value("ptr", "@pb_cache_limit"))
    with f.when(f.compare("ugt", after, limit)):
        f.call("void", "free", f.load("ptr", block, START))
        f.ret()
    head = f.item(Value("ptr", "@pb_free_lists"), f.load("i64", block, CLASS))
    f.store(f.load("ptr", head), block, NEXT)
    f.store(block, head)
    _add_cached(f, capacity)
    f.ret()


def _write_trim(m: Module) -> None:
    """`void pb_blocks_trim()`: give all kept blocks back to the system."""
    f = m.function("pb_blocks_trim", "void", exported=True)
    with f.loop(i64(CLASSES)) as index:
        head = f.item(Value("ptr", "@pb_free_lists"), index)
        again, done = f.new_label(), f.new_label()
        f.label(again)
        block = f.load("ptr", head)
        f.goto_if(f.is_null(block), done)
        f.store(f.load("ptr", block, NEXT), head)
        f.call("void", "free", f.load("ptr", block, START))
        f.goto(again)
        f.label(done)
    f.store(i64(0), Value("ptr", "@pb_cached_bytes"))
    f.ret()


def _write_numpy(m: Module) -> None:
    """NumPy's malloc, calloc, realloc and free; the first argument is a context we do not use."""
    f = m.function("pb_numpy_malloc", "ptr", "ptr", "i64", exported=True)
    f.ret(f.call("ptr", "pb_block_alloc", f.parameters[1]))

    f = m.function("pb_numpy_calloc", "ptr", "ptr", "i64", "i64", exported=True)
    total = f.op("mul", f.parameters[1], f.parameters[2])
    block = f.call("ptr", "pb_block_alloc", total)
    with f.when(f.compare("ne", block, NULL)):
        f.call("ptr", "memset", block, i32(0), total)
    f.ret(block)

    f = m.function("pb_numpy_realloc", "ptr", "ptr", "ptr", "i64", exported=True)
    _, old, size = f.parameters
    block = f.call("ptr", "pb_block_alloc", size)
    with f.when(f.is_null(block)):
        f.ret(NULL)
    with f.when(f.compare("ne", old, NULL)):
        capacity = f.load("i64", old, CAPACITY)
        f.call(
            "ptr", "memcpy", block, old, f.select(f.compare("ult", capacity, size), capacity, size)
        )
        f.call("void", "pb_block_free", old)
    f.ret(block)

    f = m.function("pb_numpy_free", "void", "ptr", "ptr", "i64", exported=True)
    f.call("void", "pb_block_free", f.parameters[1])
    f.ret()
