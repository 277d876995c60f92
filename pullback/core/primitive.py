"""The record of one primitive operation: everything the system knows about it, in one place.

`ops/` and `control/` make these records; the transformations, the evaluator and the compilers only
read them.  No slot has a default: what does not apply to a primitive is said by one of the markers
below, and an omission fails when the module is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pullback.core.avals import aval_of
from pullback.core.trace import current
from pullback.errors import UnsupportedError

__all__ = [
    "FIRST_ORDER",
    "NO_SAMPLES",
    "PURE",
    "Linear",
    "NotApplicable",
    "Primitive",
    "Sample",
    "Zero",
    "instantiate",
    "is_linear",
    "registry",
]


class Zero:
    """A tangent or cotangent known to be zero, without a value."""

    __slots__ = ("aval",)

    def __init__(self, aval: Any) -> None:
        self.aval = aval

    @staticmethod
    def from_primal_value(value: Any) -> Zero:
        """The zero tangent of a value.

        >>> Zero.from_primal_value(1)
        Zero(float0[])
        """
        return Zero(aval_of(value).to_tangent_aval())

    def __repr__(self) -> str:
        return f"Zero({self.aval})"


class Linear:
    """Stands for a linear argument in a transpose rule; its value is not known."""

    __slots__ = ("aval",)

    def __init__(self, aval: Any) -> None:
        self.aval = aval

    def __repr__(self) -> str:
        return f"Linear({self.aval})"


def is_linear(x: Any) -> bool:
    """Whether an argument of a transpose rule is the linear one."""
    return type(x) is Linear


@dataclass(frozen=True)
class NotApplicable:
    """A rule that a primitive does not have, with the reason; calling it raises the reason."""

    what: str
    reason: str
    error: type[Exception] = UnsupportedError

    def __call__(self, *args: Any, **params: Any) -> Any:
        raise self.error(f"{self.what}: {self.reason}")

    def __bool__(self) -> bool:
        return False


@dataclass(frozen=True)
class Sample:
    """One call that the generated tests try: operands as NumPy arrays, and the parameters.

    `smooth` says that the operation is differentiable at this point, so that finite differences
    are a valid oracle; `tol` loosens comparisons where the mathematics is ill-conditioned;
    `differentiable` limits derivative checks to these argument positions (None: all inexact ones).
    """

    args: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    tol: float = 1.0
    differentiable: tuple[int, ...] | None = None


FIRST_ORDER: Final = NotApplicable("partial_eval", "first-order: known if all operands are known")


def PURE(**params: Any) -> frozenset[Any]:
    """The effects of a primitive that has none."""
    return _NO_EFFECTS


def NO_SAMPLES() -> Iterable[Sample]:
    """The samples of a higher-order primitive, which has tests of its own."""
    return ()


_NO_EFFECTS: Final[frozenset[Any]] = frozenset()
registry: Final[dict[str, Primitive]] = {}


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Primitive:
    """A primitive operation.

    - `abstract(*avals, **params)`: the aval of the result (a list with `multiple_results`); raises
      TypeError on operands that do not fit.
    - `reference(*arrays, **params)`: the same by NumPy, independent of the compiler.
    - `jvp(primals, tangents, **params)`: (result, its tangent); a tangent may be `Zero(aval)`.
    - `transpose(ct, *args, **params)`: one cotangent (or None) per argument.
    - `batch(size, args, dims, **params)`: (result, its batch axis or None).
    - `partial_eval`: how a higher-order primitive splits into known and unknown parts.
    - `lower(b, *xs, **params)`: loops or a library call, see `core.lowering`.
    - `hlo`: the StableHLO operation, by name or by a function that emits it.
    - `samples()`: calls for the generated tests.
    - `effects(**params)`: the effects of one application.
    - `literals`: Python scalars among the operands of a call take the dtype of the other operands.
    """

    name: str
    abstract: Callable[..., Any]
    reference: Callable[..., Any]
    jvp: Callable[..., Any]
    transpose: Callable[..., Any]
    batch: Callable[..., Any]
    partial_eval: Any
    lower: Callable[..., Any]
    hlo: str | Callable[..., Any]
    samples: Callable[[], Iterable[Sample]]
    multiple_results: bool
    effects: Callable[..., frozenset[Any]]
    literals: bool

    def __post_init__(self) -> None:
        if self.name in registry:
            raise ValueError(f"there is already a primitive {self.name!r}")
        registry[self.name] = self

    def bind(self, *args: Any, **params: Any) -> Any:
        """Apply the primitive under the current trace."""
        return current.trace.process(self, args, params)

    def bind_with_trace(
        self, trace: Any, args: Sequence[Any], avals: Sequence[Any], params: dict[str, Any]
    ) -> Any:
        """Apply the primitive under `trace`; types are those of the operands."""
        return trace.process(self, args, params)

    def __call__(self, *args: Any, **params: Any) -> Any:
        if self.literals and not _SCALARS.isdisjoint(map(type, args)):
            args = _type_literals(args)
        return current.trace.process(self, args, params)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> Any:
        return _by_name, (self.name,)


def _by_name(name: str) -> Primitive:
    return registry[name]


_SCALARS: Final = frozenset((bool, int, float, complex))
_WEAK: Final[dict[str, Any]] = {"b": bool, "i": int, "u": int, "f": float, "c": complex, "V": float}


def _type_literals(args: Sequence[Any]) -> tuple[Any, ...]:
    """The operands, some of which are Python scalars, with these in the dtype of the others."""
    typed = next((x for x in args if type(x) not in _SCALARS), None)
    if typed is None:
        kinds = {type(x) for x in args}
        widest = next(kind for kind in (complex, float, int, bool) if kind in kinds)
        return tuple(widest(x) for x in args)
    aval = aval_of(typed)
    dtype: Any = aval.dtype
    if aval.weak_type:
        kind = _WEAK[dtype.kind]
        if aval_of(kind()).dtype == dtype:
            return tuple(kind(x) if type(x) in _SCALARS else x for x in args)
    return tuple(dtype.type(x) if type(x) in _SCALARS else x for x in args)


zeros_hook: list[Callable[[Any], Any]] = []
"""Filled by `ops.structural`: makes an array of zeros of an aval under the current trace."""


def instantiate(tangent: Any) -> Any:
    """The value of a tangent: a `Zero` becomes an array of zeros."""
    return zeros_hook[0](tangent.aval) if type(tangent) is Zero else tangent
