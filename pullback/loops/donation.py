"""Donated arguments: which outputs may be computed in the memory of an argument.

After memory is placed, before code is emitted.  A program that accepts a pair works both ways,
with the output in the argument's memory and apart from it: whether the memory is really reused is
decided at each call, by whether anything else refers to it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pullback.loops.ir import Block, Buffer, Program
from pullback.loops.memory import accesses, in_place

__all__ = ["reuse_arguments"]

Pair = tuple[int, int]


def reuse_arguments(
    program: Program, candidates: Sequence[tuple[int, Sequence[int]]]
) -> list[Pair]:
    """The accepted pairs of argument and output; changes the program where that makes one work.

    `candidates` gives for an argument the outputs of its type, the most likely first.
    """
    accepted: list[Pair] = []
    taken: set[int] = set()
    touched = [accesses(s) for s in program.body]
    for arg, outs in candidates:
        for out in outs:
            if out in taken:
                continue
            source, target = program.args[arg].root(), program.outs[out].root()
            body = _shared(program.body, touched, source, target)
            if body is not None:
                program.body = body
                accepted.append((arg, out))
                taken.add(out)
                break
    return accepted


def _shared(
    body: Block, touched: Sequence[tuple[set[Buffer], set[Buffer]]], arg: Buffer, out: Buffer
) -> Block | None:
    """The program that tolerates `out` in the memory of `arg`, or None.

    The argument must not be read once the output is begun; where one statement does both, every
    element must be read where it is written.
    """
    if out.kind != "out" or arg.size == 0:
        return None
    first = next((k for k, (r, w) in enumerate(touched) if out in r or out in w), None)
    if first is None or any(arg in reads for reads, _ in touched[first + 1 :]):
        return None
    if arg not in touched[first][0]:
        return body
    made = in_place(body[first], arg, out)
    return None if made is None else (*body[:first], made, *body[first + 1 :])
