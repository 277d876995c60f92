"""Convolutions of bfloat16 with features last on tile registers, as LLVM text.

    void pb_tiles_direct_bf16(bf16 *x, bf16 *w, f32 *out, i8 *scratch, i64 *plan)

Windows of 32 positions are copied into tiles, line by line: a line is 32 features of the operand,
or zeros outside of it.  `plan` is that of `pb_direct_T` (`llvm.direct_kernels`), for one group, a
multiple of 32 features of the operand, and a result without gaps.  The kernel, `[*window, in
feature, out feature]`, is packed into `scratch`, a tile for each 32 rows and 16 columns.
"""

from __future__ import annotations

from typing import Final

from pullback.llvm.entry_ir import Function, Module, Value, i64
from pullback.llvm.scratch import Scratch
from pullback.ops.convolution_plan import HEADER, MOST_TILES

__all__ = ["write_convolutions"]

SIDE: Final = 16
LINE: Final = 64
TILE: Final = 1024
FEATURES: Final = 32
"""Features of a line."""
GRAIN: Final = 2_000_000
"""Products of a task."""


def write_convolutions(m: Module, config: Value) -> None:
    """All functions of this module; those for products must have been written."""
    scratch = Scratch(m, "pb_tiles_windows", 2 * MOST_TILES * TILE + LINE)
    zeros = m.variable("pb_tiles_zeros", f"[{LINE} x i8]")
    _write_windows(m, zeros)
    _write_tasks(m, config, scratch)
    _write_entry(m)


def _header(f: Function, plan: Value) -> dict[str, Value]:
    v = {name: f.load("i64", plan, 8 * i) for i, name in enumerate(HEADER)}
    v["blocks"] = f.op("udiv", v["k"], FEATURES)
    v["taps"] = f.op("mul", v["outer_taps"], v["inner_taps"])
    v["tiles"] = f.op("mul", v["taps"], v["blocks"])
    v["rows"] = f.op("mul", v["batch"], f.op("mul", v["outer"], v["inner"]))
    return v


def _up(f: Function, size: Value, part: int) -> Value:
    return f.op("udiv", f.op("add", size, part - 1), part)


def _write_windows(m: Module, zeros: Value) -> None:
    """`windows(dst, x, plan, position)`: tiles of two strips of positions; missing ones repeat."""
    f = m.function("windows", "void", "ptr", "ptr", "ptr", "i64")
    dst, x, plan, position = f.parameters
    v = _header(f, plan)
    far_step = f.op("mul", f.op("add", v["outer_taps"], 1), 8)
    near_step = f.op("mul", f.op("add", v["inner_taps"], 1), 8)
    far_table = f.at(plan, 8 * len(HEADER))
    near_table = f.at(far_table, f.op("mul", v["outer"], far_step))
    kind = "<16 x i32>"
    with f.loop(i64(2 * SIDE)) as r:
        next_one = f.op("add", position, r)
        at = f.select(f.compare("slt", next_one, v["rows"]), next_one, position)
        cell, rest = f.op("urem", at, v["inner"]), f.op("udiv", at, v["inner"])
        line, image = f.op("urem", rest, v["outer"]), f.op("udiv", rest, v["outer"])
        far = f.at(far_table, f.op("mul", line, far_step))
        near = f.at(near_table, f.op("mul", cell, near_step))
        base = f.at(x, f.op("mul", image, v["image_x"]))
        strip = f.op("mul", f.op("udiv", r, SIDE), f.op("mul", v["tiles"], TILE))
        row = f.at(f.at(dst, strip), f.op("mul", f.op("urem", r, SIDE), LINE))
        target = f.variable("ptr", row)
        with f.loop(v["outer_taps"]) as t:
            above = f.load("i64", f.item(far, f.op("add", t, 1)))
            with f.loop(v["inner_taps"]) as u:
                beside = f.load("i64", f.item(near, f.op("add", u, 1)))
                outside = f.compare("slt", f.op("or", above, beside), 0)
                source = f.select(outside, zeros, f.at(base, f.op("add", above, beside)))
                step = f.select(outside, i64(0), i64(LINE))
                with f.loop(v["blocks"]) as q:
                    place = f.at(source, f.op("mul", q, step))
                    value = f.value(kind, f"load {kind}, {place}, align 2")
                    out = f.load("ptr", target)
                    f.emit(f"store {value}, {out}, align 64")
                    f.store(f.at(out, TILE), target)
    f.ret()


def _write_tasks(m: Module, config: Value, scratch: Scratch) -> None:
    """`direct_tasks(env, begin, end)`: two strips of positions, and all features of theirs."""
    f = m.function("direct_tasks", "void", "ptr", "i64", "i64")
    env, begin, end = f.parameters
    x, packed, out, plan = (f.load("ptr", env, 8 * i) for i in range(4))
    v = _header(f, plan)
    strip = f.op("mul", v["tiles"], TILE)
    f.call("void", "llvm.x86.ldtilecfg", config)
    with scratch.held(f) as windows, f.loop(f.op("sub", end, begin)) as number:
        position = f.op("mul", f.op("add", begin, number), 2 * SIDE)
        f.call("void", "windows", windows, x, plan, position)
        left = f.op("sub", v["rows"], position)
        line = f.at(out, f.op("mul", f.op("mul", position, v["n"]), 4))
        with f.loop(_up(f, v["n"], 2 * SIDE)) as square:
            column = f.op("mul", square, 2 * SIDE)
            right = f.at(packed, f.op("mul", f.op("mul", square, 2), strip))
            columns = f.op("sub", v["n"], column)
            place = f.item(line, column, 4)
            f.call(
                "void", "square", windows, right, v["tiles"], place, v["n"], left, columns
            )  # fmt: skip
    f.call("void", "llvm.x86.tilerelease")
    f.ret()


def _write_entry(m: Module) -> None:
    """`pb_tiles_direct_bf16`: packs the kernel, and gives positions to the threads."""
    f = m.function("pb_tiles_direct_bf16", "void", *["ptr"] * 5, exported=True)
    x, w, out, packed, plan = f.parameters
    v = _header(f, plan)
    depth = f.op("mul", v["taps"], v["k"])
    packing = (w, packed, v["n"], depth, i64(1), v["n"], i64(1))  # side 1: the right operand
    strips = _up(f, v["n"], SIDE)
    f.call("void", "pb_parallel_for", Value("ptr", "@pack_tasks"), f.words(packing), strips, i64(1))
    env = f.words((x, packed, out, plan))
    work = f.op("mul", f.op("mul", depth, v["n"]), 2 * SIDE)
    grain = f.op("add", f.op("udiv", i64(GRAIN), work), 1)
    count = _up(f, v["rows"], 2 * SIDE)
    f.call("void", "pb_parallel_for", Value("ptr", "@direct_tasks"), env, count, grain)
    f.ret()
