"""The steps of a loop from the last to the first, with a fixed number of stored states.

`run_backwards` writes the computation by `while` loops under the current trace; the primitive that
stands for it is in `control/checkpointing.py`.

A state is what one step gives to the next. Going backwards needs the states in the opposite order,
and only `slots` of them are stored at a time; the others are computed again from the nearest stored
one before them. The stored states are a stack: at the bottom the state before the first step, at
the top the one nearest to the step that is due.

- If the number of steps is known, the stack starts with the first state alone. Between it and the
  step that is due, states are stored where the binomial schedule says (A. Griewank and A. Walther,
  "Algorithm 799: Revolve", ACM TOMS 26, 2000): `n` steps and `s` slots need each step at most `r`
  times, where `r` is the smallest number with C(s + r, s) >= n.
- If it is not known, a first pass stores states at equal distances; whenever it runs out of slots,
  it drops every other state and doubles the distance (the simplest of the methods for adaptive
  loops that P. Stumm and A. Walther discuss, SIAM J. Sci. Comput. 32, 2010). A quarter of the slots
  is left free, for the binomial schedule between stored states.

Steps are counted in 32 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback.control.jit import split_list
from pullback.control.loop_parts import bind_while
from pullback.control.policies import Binomial
from pullback.core.avals import aval_of
from pullback.ops import elementwise, slicing, structural
from pullback.transforms.shaping import concatenate_rows, reshape_to
from pullback.transforms.shaping import rows as rows_of
from pullback.transforms.staging import stage

__all__ = ["read_row", "run_backwards", "slots_for", "slots_of", "write_row"]

FEWEST: Final = 32
MOST: Final = 1024
SMALL: Final = 1 << 16
"""Bytes up to which the default is generous with slots."""
LIMIT: Final = np.iinfo(np.int32).max

Step = Callable[[Any, Sequence[Any]], Sequence[Any]]


def slots_for(steps: int) -> int:
    """The fewest slots with which `steps` steps are computed again at most twice.

    >>> slots_for(1000), slots_for(3)
    (44, 1)
    """
    slots = max((math.isqrt(8 * steps + 1) - 3) // 2, 1)
    return slots if math.comb(slots + 2, 2) >= steps else slots + 1


def slots_of(policy: Binomial | None, most_steps: int | None) -> int | None:
    """How many states a policy wants to be stored; None if that depends on their size."""
    if policy is None or (policy.slots is None and most_steps is None):
        return None
    return slots_for(most_steps or 1) if policy.slots is None else policy.slots


def _default_slots(state: Sequence[Any], most_steps: int | None) -> int:
    """How many states are stored if nobody says: all of them if they are small."""
    nbytes = sum(a.size * a.dtype.itemsize for a in map(aval_of, state))
    slots = min(max(SMALL // max(nbytes, 1), FEWEST), MOST)
    if most_steps is None:
        return slots
    return max(min(most_steps, max(slots, slots_for(most_steps))), 1)


def run_backwards(
    going: Callable[[Sequence[Any]], Any] | None,
    step: Step,
    back: Callable[[Any, Sequence[Any], Sequence[Any]], Sequence[Any]],
    state: Sequence[Any],
    result: Sequence[Any],
    *,
    length: int | None,
    slots: int | None,
    max_steps: int | None,
) -> list[Any]:
    """`result = back(i, state_i, result)` for i = n - 1, ..., 0.

    `state_0` is `state`, and `state_{i+1}` is `step(i, state_i)`. The number of steps n is
    `length`, or if that is None the number until `going(state_i)` is false, which is known to be
    `max_steps` at most. Without `slots`, there are as many as seem reasonable.
    """
    if not state:
        assert length is not None, "a loop whose end is not known has a state"
        return _without_states(back, result, length)
    if slots is None:
        slots = _default_slots(state, max_steps)
    sweep = _Sweep(step, state, max(slots, 1 if going is None else 2))
    if going is None:
        assert length is not None, "the number of steps or when they end"
        stack = sweep.bottom()
        last = np.int32(length - 1)
    else:
        stack, last = sweep.first_pass(going)
    return sweep.down(back, stack, last, result)


def _without_states(back: Any, result: Sequence[Any], length: int) -> list[Any]:
    outs = _while(
        lambda i, *_: elementwise.ge(i, np.int32(0)),
        lambda i, *now: [elementwise.sub(i, np.int32(1)), *back(i, [], now)],
        [np.int32(length - 1), *result],
    )
    return outs[1:]


class _Sweep:
    """The stack of stored states: `order[k]` is the slot of level k, `position[k]` its step."""

    def __init__(self, step: Step, state: Sequence[Any], slots: int) -> None:
        self.step, self.state, self.slots = step, list(state), slots
        self.n = len(self.state)

    def _room(self) -> list[Any]:
        """One more row than there are slots: for a state that is used at once."""
        return [structural.broadcast(x, self.slots + 1, 0) for x in self.state]

    def _levels(self) -> Any:
        return structural.iota(
            dtype=np.dtype(np.int32), shape=(self.slots + 1,), dimension=0, sharding=None
        )

    def bottom(self) -> list[Any]:
        """A stack with the first state alone: top, order, positions, states."""
        levels = self._levels()
        return [np.int32(0), levels, elementwise.mul(levels, np.int32(0)), *self._room()]

    def first_pass(self, going: Callable[[Sequence[Any]], Any]) -> tuple[list[Any], Any]:
        """Go to the end, storing states at equal distances; the stack and the last step."""
        level = max((self.slots - self.slots // 4) // 2 * 2, 2)

        def outer(i: Any, count: Any, stride: Any, order: Any, *rest: Any) -> list[Any]:
            now, rows = split_list(rest, self.n)
            full = elementwise.eq(count, np.int32(level))
            parts = [_every_other(order, 0, level), _every_other(order, 1, level)]
            parts.append(rows_of(order, level, self.slots + 1))
            order = elementwise.where(full, concatenate_rows(parts), order)
            stride = elementwise.where(full, elementwise.mul(stride, np.int32(2)), stride)
            count = elementwise.where(full, np.int32(level // 2), count)
            slot = read_row(order, count)
            rows = [write_row(r, x, slot) for r, x in zip(rows, now, strict=True)]
            end = elementwise.add(i, stride)
            i, *now = _while(
                lambda i, *now: elementwise.and_(elementwise.lt(i, end), going(now)),
                lambda i, *now: [elementwise.add(i, np.int32(1)), *self.step(i, now)],
                [i, *now],
            )
            return [i, elementwise.add(count, np.int32(1)), stride, order, *now, *rows]

        start = [np.int32(0), np.int32(0), np.int32(1), self._levels(), *self.state, *self._room()]
        outs = _while(lambda *xs: going(xs[4 : 4 + self.n]), outer, start)
        steps, count, stride, order = outs[:4]
        positions = elementwise.mul(self._levels(), _spread(stride, self.slots + 1))
        stack = [elementwise.sub(count, np.int32(1)), order, positions, *outs[4 + self.n :]]
        return stack, elementwise.sub(steps, np.int32(1))

    def down(self, back: Any, stack: Sequence[Any], last: Any, result: Sequence[Any]) -> list[Any]:
        """All steps from `last` to the first."""
        top, order, position, *rows = stack

        def body(due: Any, top: Any, position: Any, *rest: Any) -> list[Any]:
            rows, now = split_list(rest, self.n)
            slot = read_row(order, top)
            here = read_row(position, top)
            state = [read_row(r, slot) for r in rows]
            here, top, position, *more = _while(
                lambda here, *_: elementwise.lt(here, due),
                lambda *xs: self._towards(due, order, *xs),
                [here, top, position, *state, *rows],
            )
            state, rows = split_list(more, self.n)
            now = list(back(due, state, now))
            stored = elementwise.eq(read_row(position, top), due)
            top = elementwise.where(stored, elementwise.sub(top, np.int32(1)), top)
            return [elementwise.sub(due, np.int32(1)), top, position, *rows, *now]

        outs = _while(
            lambda due, *_: elementwise.ge(due, np.int32(0)),
            body,
            [last, top, position, *rows, *result],
        )
        return outs[3 + self.n :]

    def _towards(
        self, due: Any, order: Any, here: Any, top: Any, position: Any, *rest: Any
    ) -> list[Any]:
        """Go from the top of the stack to the next state worth storing, or to the one due."""
        state, rows = split_list(rest, self.n)
        end = elementwise.add(here, _distance(elementwise.sub(due, here), top, self.slots))
        here, *state = _while(
            lambda here, *_: elementwise.lt(here, end),
            lambda here, *now: [elementwise.add(here, np.int32(1)), *self.step(here, now)],
            [here, *state],
        )
        above = elementwise.add(top, np.int32(1))
        slot = read_row(order, above)
        rows = [write_row(r, x, slot) for r, x in zip(rows, state, strict=True)]
        position = write_row(position, here, above)
        top = elementwise.where(elementwise.lt(here, due), above, top)
        return [here, top, position, *state, *rows]


def _distance(steps: Any, top: Any, slots: int) -> Any:
    """How far to go from the top of the stack, when the state `steps` steps later is due.

    With s slots (that of the top included) each of n steps is computed at most r times if
    n <= C(s + r, s) =: b(s, r). The right part has s - 1 slots and r more times, the left part s
    slots and r - 1.
    """
    n = elementwise.add(steps, np.int32(1))
    s = elementwise.sub(np.int32(slots), top)

    def more(r: Any, less: Any, now: Any) -> list[Any]:
        r = elementwise.add(r, np.int32(1))
        return [r, now, _add_saturated(now, _times_ratio(now, s, r))]

    r, less, _ = _while(
        lambda r, less, now: elementwise.and_(
            elementwise.lt(now, n), elementwise.gt(s, np.int32(1))
        ),
        more,
        [np.int32(1), np.int32(1), elementwise.add(s, np.int32(1))],
    )
    right = _times_ratio(less, s, elementwise.sub(elementwise.add(s, r), np.int32(1)))
    distance = elementwise.min_(less, elementwise.sub(n, right))
    return elementwise.where(elementwise.eq(s, np.int32(1)), steps, distance)


def _times_ratio(x: Any, s: Any, d: Any) -> Any:
    """`x * s // d`, or the largest integer if it is larger; d is small if s is large."""
    whole = elementwise.div(x, d)
    part = elementwise.div(elementwise.mul(elementwise.rem(x, d), s), d)
    fits = elementwise.lt(whole, elementwise.div(np.int32(LIMIT), s))
    product = elementwise.mul(whole, s)
    return elementwise.where(fits, _add_saturated(product, part), np.int32(LIMIT))


def _add_saturated(x: Any, y: Any) -> Any:
    fits = elementwise.le(x, elementwise.sub(np.int32(LIMIT), y))
    return elementwise.where(fits, elementwise.add(x, y), np.int32(LIMIT))


def _every_other(x: Any, start: int, stop: int) -> Any:
    return slicing.slice_(x, start_indices=(start,), limit_indices=(stop,), strides=(2,))


def _spread(x: Any, n: int) -> Any:
    return structural.broadcast_in_dim(x, shape=(n,), broadcast_dimensions=(), sharding=None)


def read_row(x: Any, i: Any) -> Any:
    """Row `i` of `x`, where `i` is computed."""
    shape = aval_of(x).shape
    start = [i, *[np.int32(0)] * (len(shape) - 1)]
    return reshape_to(slicing.dynamic_slice(x, *start, slice_sizes=(1, *shape[1:])), shape[1:])


def write_row(x: Any, row: Any, i: Any) -> Any:
    """`x` with another row `i`."""
    shape = aval_of(x).shape
    start = [i, *[np.int32(0)] * (len(shape) - 1)]
    return slicing.dynamic_update_slice(x, reshape_to(row, (1, *shape[1:])), *start)


def _while(cond: Any, body: Any, init: Sequence[Any]) -> list[Any]:
    """A while loop of functions on flat values."""
    avals = [aval_of(x).strip_weak_type() for x in init]
    return bind_while(
        stage(lambda *xs: [cond(*xs)], avals, description="cond of a sweep"),
        stage(body, avals, description="body of a sweep"),
        [],
        [],
        init,
    )
