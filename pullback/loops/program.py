"""From a closed jaxpr to a loop program: the front door of `loops/`.

lower equations into a region   build
fuse and schedule it            fuse, schedule
share and place memory          memory
"""

from __future__ import annotations

import math

from pullback.core import dtypes
from pullback.core.jaxpr import ClosedJaxpr
from pullback.loops.build import LoopBuilder
from pullback.loops.expr import affine
from pullback.loops.fuse import region_statements
from pullback.loops.ir import Buffer, Program, Stmt, verify
from pullback.loops.memory import place_buffers
from pullback.loops.nests import machine
from pullback.loops.tensors import BufferTensor, LazyTensor, MapItem, Tensor, new_axes

__all__ = ["lower_program"]


def lower_program(
    closed: ClosedJaxpr,
    *,
    vector_bits: int = 512,
    kernels: frozenset[str] = frozenset(),
    name: str = "program",
) -> Program:
    """The loop program of a jaxpr: arguments are its invars, then its constvars.

    The values of constants are not looked at, so that programs that differ in them alone are one.
    """
    machine.vector_bits, machine.kernels = vector_bits, kernels
    builder = LoopBuilder()
    jaxpr = closed.jaxpr
    args = [_argument(v.aval, k) for k, v in enumerate([*jaxpr.invars, *jaxpr.constvars])]
    opened = jaxpr.replace(invars=[*jaxpr.invars, *jaxpr.constvars], constvars=[])
    results = builder.inline(opened, *args)
    outs = [
        Buffer(dtypes.physical(v.aval.dtype), v.aval.size, "out", k)
        for k, v in enumerate(jaxpr.outvars)
    ]
    for k, (out, tensor) in enumerate(zip(outs, results, strict=True)):
        outs[k] = _deliver(builder, out, tensor)
    body: list[Stmt] = region_statements(builder.region)
    program = Program(
        name,
        [a.buffer for a in args],
        builder.consts,
        outs,
        tuple(body),
        builder.const_values,
    )
    place_buffers(program, builder.carried)
    return verify(program)


def _argument(aval: object, index: int) -> BufferTensor:
    shape: tuple[int, ...] = aval.shape  # type: ignore[attr-defined]
    dtype = dtypes.physical(aval.dtype)  # type: ignore[attr-defined]
    return BufferTensor(Buffer(dtype, math.prod(shape), "arg", index), shape, affine(0))


def _deliver(builder: LoopBuilder, out: Buffer, tensor: Tensor) -> Buffer:
    """Make a result be computed into an output, or copied there; the buffer of the output.

    What a loop updates is copied: small, it stays in registers, and a large one may exchange its
    memory with its next value. Other such copies are dropped when memory is placed.
    """
    if out.size == 0:
        return out
    stored = tensor.stored if isinstance(tensor, LazyTensor) else tensor
    if stored is None:
        assert isinstance(tensor, LazyTensor)
        target = BufferTensor(out, tensor.shape, affine(0))
        builder.add(MapItem(_whole(builder, tensor), target))
        tensor.stored = target
        return out
    buffer = stored.buffer
    carried = buffer in builder.carried
    if buffer.kind == "temp" and buffer.size == out.size and not carried:
        buffer.kind, buffer.index, buffer.name = "out", out.index, out.name
        return buffer
    builder.store_into(stored, BufferTensor(out, stored.shape, affine(0)))
    return out


def _whole(builder: LoopBuilder, tensor: LazyTensor) -> LazyTensor:
    """The tensor itself, or an alias if it was made within another nest."""
    axes = new_axes(tensor.shape)
    return tensor if tensor.position >= 0 else LazyTensor(tensor.shape, axes, tensor.at(axes), 0)
