"""The tables of rules of primitives: `ad.primitive_jvps` and others.

A table is a mapping from primitives to rules.  Setting an item sets a slot of an open primitive;
the rules of our own records can be read, and called, but not replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any, final

from pullback.core.avals import aval_of
from pullback.core.axes import batching_axis
from pullback.core.primitive import NotApplicable, registry
from pullback.core.primitive import Primitive as Record
from pullback.dropin.open_primitive import Primitive

__all__ = [
    "AxisBatchers",
    "AxisData",
    "Batchers",
    "FancyBatchers",
    "Jvps",
    "RuleTable",
    "Transposes",
]

Rule = Callable[..., Any]


class RuleTable(MutableMapping[Any, Rule]):
    """A mapping from primitives to rules of one kind."""

    slot: str
    """The attribute of an open primitive that holds the rule."""

    def __init__(self) -> None:
        self._given: dict[Primitive, Rule] = {}

    def of_record(self, record: Record) -> Rule | None:
        """The rule of one of our own primitives, called as the library expects; None if none."""
        raise NotImplementedError(type(self).__name__)

    def wrapped(self, primitive: Primitive, rule: Rule) -> Rule:
        """The library's rule, called as the slot expects."""
        return rule

    def __getitem__(self, primitive: Any) -> Rule:
        found = self.get_rule(primitive)
        if found is None:
            raise KeyError(primitive)
        return found

    def get_rule(self, primitive: Any) -> Rule | None:
        """The rule of a primitive, None if it has none."""
        if isinstance(primitive, Record):
            return self.of_record(primitive)
        return self._given.get(primitive)

    def __setitem__(self, primitive: Any, rule: Rule) -> None:
        if not isinstance(primitive, Primitive):
            raise TypeError(
                f"the rules of {primitive!r}, one of pullback's own primitives, are fixed; "
                "define a primitive of your own with jax.extend.core.Primitive"
            )
        self._given[primitive] = rule
        setattr(primitive, self.slot, self.wrapped(primitive, rule))

    def __delitem__(self, primitive: Any) -> None:
        del self._given[primitive]
        setattr(primitive, self.slot, None)

    def __iter__(self) -> Iterator[Any]:
        yield from self._given
        yield from (p for p in list(registry.values()) if self.of_record(p) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, primitive: object) -> bool:
        return self.get_rule(primitive) is not None


def _if_applicable(rule: Any) -> Rule | None:
    return None if isinstance(rule, NotApplicable) else rule


@final
class Jvps(RuleTable):
    """`rule(primals, tangents, **params)` gives results and tangents."""

    slot = "rule_of_jvp"

    def of_record(self, record: Record) -> Rule | None:
        """The rule of a record, whose signature is the same."""
        return _if_applicable(record.jvp)


@final
class Transposes(RuleTable):
    """`rule(cotangents, *operands, **params)` gives cotangents; unknown operands are linear."""

    slot = "rule_of_transpose"

    def of_record(self, record: Record) -> Rule | None:
        """The rule of a record, whose signature is the same."""
        return _if_applicable(record.transpose)


def _lanes(args: Sequence[Any], dims: Sequence[int | None]) -> int:
    sizes = {aval_of(x).shape[d] for x, d in zip(args, dims, strict=True) if d is not None}
    if len(sizes) != 1:
        raise ValueError(f"a batching rule was called with batch axes of sizes {sorted(sizes)}")
    return int(sizes.pop())


@final
class Batchers(RuleTable):
    """`rule(operands, dims, **params)` gives results and where their batch axes are."""

    slot = "rule_of_batching"

    def of_record(self, record: Record) -> Rule | None:
        """The rule of a record, which is told the size of the axis as well."""
        rule = _if_applicable(record.batch)
        if rule is None:
            return None
        return lambda args, dims, **params: rule(_lanes(args, dims), args, dims, **params)

    def wrapped(self, primitive: Primitive, rule: Rule) -> Rule:
        """The library does not ask for the size."""
        return lambda size, args, dims, **params: rule(args, dims, **params)


class AxisData:
    """What is known of the axis that is being batched over."""

    def __init__(self, name: Any, size: int) -> None:
        self.name = name
        self.size = size
        self.spmd_name: Any = None
        self.explicit_mesh_axis: Any = None


@final
class FancyBatchers(RuleTable):
    """`rule(axis_data, operands, dims, **params)`."""

    slot = "rule_of_batching"

    def of_record(self, record: Record) -> Rule | None:
        """The rule of a record."""
        rule = _if_applicable(record.batch)
        if rule is None:
            return None
        return lambda axis, args, dims, **params: rule(axis.size, args, dims, **params)

    def wrapped(self, primitive: Primitive, rule: Rule) -> Rule:
        """With the axis as an object."""

        def batch(size: int, args: Any, dims: Any, **params: Any) -> Any:
            return rule(AxisData(batching_axis(), size), args, dims, **params)

        return batch


@final
class AxisBatchers(RuleTable):
    """`rule(size, name, trace_type, operands, dims, **params)`."""

    slot = "rule_of_batching"

    def of_record(self, record: Record) -> Rule | None:
        """The rule of a record."""
        rule = _if_applicable(record.batch)
        if rule is None:
            return None
        return lambda size, name, trace, args, dims, **params: rule(size, args, dims, **params)

    def wrapped(self, primitive: Primitive, rule: Rule) -> Rule:
        """With size and name of the axis."""

        def batch(size: int, args: Any, dims: Any, **params: Any) -> Any:
            return rule(size, batching_axis(), None, args, dims, **params)

        return batch
