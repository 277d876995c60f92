"""Arrays turned along an axis (`roll`): not stored where a nest walks them, but cut.

Between what is stored (`loops/stored.py`) and fusion.  The two parts of such a tensor are read
where they are; `loops/split.py` cuts the nest where one ends and the other begins.  That works
where an index of the nest is an index of the tensor, and while little code comes of it, since each
piece has its own.  Others are stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from pullback.loops.expr import Affine, At, Axis
from pullback.loops.ir import expressions, subexpressions, walk
from pullback.loops.split import MAX_CUTS
from pullback.loops.tensors import BlockItem, Item, LazyTensor, MapItem, ReduceItem

__all__ = ["SMALL", "Cut", "block_leaves", "few_pieces", "not_walked"]

PIECES: Final = 9
"""Pieces that a nest may be cut into: eight neighbours on a torus."""
WORK: Final = 144
"""What all of them compute for an element, in additions: it is compiled for each."""
SMALL: Final = 1024
"""Elements of an array that is stored as before: it stays in the first cache."""

Cut: TypeAlias = tuple[int, int]
"""An axis of a nest, and where along it a piece begins."""
Places: TypeAlias = tuple[int | None, ...]
"""Which axis of a nest each axis of a tensor is; None where its index is known."""


def not_walked(items: Sequence[Item], lazies: Sequence[LazyTensor]) -> list[LazyTensor]:
    """The turned tensors that have to be stored, in order."""
    turned = [t for t in lazies if t.turned is not None]
    if not turned:
        return []
    found: set[int] = set()
    for item in items:
        if isinstance(item, MapItem):
            _walk(item.tensor, found)
        else:
            leaves = item.leaves if isinstance(item, ReduceItem) else block_leaves(item)
            _mark_all([leaf.tensor for leaf in leaves], found)
    return [t for t in turned if id(t) in found and t.stored is None and t.position >= 0]


def block_leaves(item: BlockItem) -> Iterable[At]:
    """The lazy tensors that statements read."""
    seen: set[int] = set()
    for stmt in walk(tuple(item.stmts)):
        for e in subexpressions(expressions(stmt), seen):
            if type(e) is At:
                yield e


def _walk(root: LazyTensor, found: set[int]) -> None:
    """Follow what the nest of a stored tensor computes, and find what it is not cut for."""
    seen: set[tuple[int, Places]] = set()
    turned: list[tuple[LazyTensor, Places]] = []
    stack: list[tuple[LazyTensor, Places]] = [(root, tuple(range(len(root.shape))))]
    while stack:
        tensor, places = stack.pop()
        if (id(tensor), places) in seen:
            continue
        seen.add((id(tensor), places))
        if tensor.turned is not None:
            turned.append((tensor, places))
        for leaf in tensor.leaves:
            if leaf.tensor.stored is None:
                inner = _places(leaf.idx, tensor.axes, places)
                if inner is None:
                    _mark_all([leaf.tensor], found)
                else:
                    stack.append((leaf.tensor, inner))
    if turned:
        root.cuts = _cut(turned, min(PIECES, int(WORK / _work(root))), found)


def _work(root: LazyTensor) -> float:
    """What computing an element takes."""
    total = 1.0
    seen: set[int] = set()
    stack = [root]
    while stack:
        tensor = stack.pop()
        if id(tensor) not in seen:
            seen.add(id(tensor))
            total += tensor.cost
            stack += [leaf.tensor for leaf in tensor.leaves if leaf.tensor.stored is None]
    return total


def _cut(
    turned: Sequence[tuple[LazyTensor, Places]], pieces: int, found: set[int]
) -> frozenset[Cut]:
    """Where a nest is cut; the tensors for which it would be cut too often are `found`."""
    cuts: frozenset[Cut] = frozenset()
    for tensor, places in turned:
        assert tensor.turned is not None
        axis, end = tensor.turned
        place = places[axis]
        if place is not None:
            more = cuts | {(place, end)}
            if few_pieces(more, pieces):
                cuts = more
            else:
                found.add(id(tensor))
    return cuts


def few_pieces(cuts: frozenset[Cut], pieces: int = PIECES) -> bool:
    """Whether a nest becomes so many pieces at most, and is cut at all along each axis."""
    if not cuts:
        return True
    axes = [axis for axis, _ in cuts]
    counts = [axes.count(axis) for axis in set(axes)]
    return math.prod(n + 1 for n in counts) <= pieces and max(counts, default=0) <= MAX_CUTS


def _places(
    idx: Sequence[Affine], axes: Sequence[Affine], places: Places
) -> tuple[int | None, ...] | None:
    """The axes of the nest along which an index walks; None if it does more."""
    own = {next(iter(a.terms)): k for a, k in zip(axes, places, strict=True) if a.terms}
    out: list[int | None] = []
    for i in idx:
        if i.is_const:
            out.append(None)
            continue
        (atom, *more) = i.terms
        if more or i.const or i.terms[atom] != 1 or not isinstance(atom, Axis):
            return None
        out.append(own.get(atom))
    return tuple(out)


def _mark_all(tensors: list[LazyTensor], found: set[int]) -> None:
    """All that is computed for tensors is read in another way than along the axes of a nest."""
    stack = list(tensors)
    while stack:
        tensor = stack.pop()
        if id(tensor) not in found and tensor.stored is None:
            found.add(id(tensor))
            stack += [leaf.tensor for leaf in tensor.leaves]
