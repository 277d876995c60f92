"""The jaxpr: a typed, first-order program; its grammar and its verifier.

Jaxpr       constvars, invars, eqns, outvars, effects
JaxprEqn    outvars = primitive[params] invars
Atom        Var | Literal
ClosedJaxpr a Jaxpr with values for its constvars
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pullback.core import printer
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.effects import RefEffect
from pullback.core.primitive import Primitive
from pullback.core.source import SourceInfo, replaying
from pullback.errors import VerifyError

__all__ = [
    "Atom",
    "ClosedJaxpr",
    "DebugInfo",
    "DropVar",
    "Jaxpr",
    "JaxprEqn",
    "Literal",
    "Var",
    "eval_jaxpr",
    "jaxpr_as_fun",
    "join_effects",
    "new_eqn",
    "no_effects",
    "subjaxprs",
    "verify",
]

no_effects: Final[frozenset[Any]] = frozenset()
_counter: Final = itertools.count()


class Var:
    """A value that an equation or the caller gives."""

    __slots__ = ("aval", "count")

    def __init__(self, aval: Any) -> None:
        self.aval = aval
        self.count = next(_counter)

    def __repr__(self) -> str:
        return f"Var(id={self.count}):{self.aval}"


class DropVar(Var):
    """A result that nobody uses, printed as `_`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "_"


class Literal:
    """A scalar written into the program."""

    __slots__ = ("aval", "val")

    def __init__(self, val: Any, aval: Any = None) -> None:
        self.val = val
        self.aval = aval_of(val) if aval is None else aval

    def __repr__(self) -> str:
        return f"{self.val}:{self.aval}"


Atom = Var | Literal


@dataclass(frozen=True)
class DebugInfo:
    """Which function a jaxpr came from, and the names of its arguments and results."""

    traced_for: str = ""
    func_src_info: Any = ""
    arg_names: tuple[str, ...] | None = None
    result_paths: tuple[str, ...] | None = None

    @property
    def func_name(self) -> str:
        """The name of the function."""
        return str(self.func_src_info).split(" ")[0]


_NO_DEBUG_INFO: Final = DebugInfo()


class JaxprEqn:
    """One application of a primitive."""

    __slots__ = ("effects", "invars", "outvars", "params", "primitive", "source_info")

    def __init__(
        self,
        invars: Sequence[Atom],
        outvars: Sequence[Var],
        primitive: Primitive,
        params: dict[str, Any],
        effects: frozenset[Any],
        source_info: SourceInfo,
    ) -> None:
        self.invars: list[Any] = list(invars)
        self.outvars: list[Any] = list(outvars)
        self.primitive = primitive
        self.params = params
        self.effects = effects
        self.source_info = source_info

    def replace(self, **changes: Any) -> JaxprEqn:
        """This equation with some of its fields replaced."""
        fields = {name: getattr(self, name) for name in self.__slots__} | changes
        return JaxprEqn(**fields)

    def __repr__(self) -> str:
        return printer.eqn_text(self).rstrip()


_NO_SOURCE: Final = SourceInfo(None, 0, ())


def new_eqn(
    invars: Sequence[Atom],
    outvars: Sequence[Var],
    primitive: Primitive,
    params: dict[str, Any],
    source_info: SourceInfo = _NO_SOURCE,
) -> JaxprEqn:
    """An equation whose effects are those that the primitive declares."""
    return JaxprEqn(invars, outvars, primitive, params, primitive.effects(**params), source_info)


class Jaxpr:
    """A function: `constvars ; invars` to `outvars` through `eqns` in order."""

    __slots__ = ("__weakref__", "constvars", "debug_info", "effects", "eqns", "invars", "outvars")

    def __init__(
        self,
        constvars: Sequence[Var],
        invars: Sequence[Var],
        outvars: Sequence[Atom],
        eqns: Sequence[JaxprEqn],
        effects: frozenset[Any] = no_effects,
        debug_info: DebugInfo = _NO_DEBUG_INFO,
    ) -> None:
        self.constvars = list(constvars)
        self.invars = list(invars)
        self.outvars: list[Any] = list(outvars)
        self.eqns = list(eqns)
        self.effects = effects
        self.debug_info = debug_info

    @property
    def in_avals(self) -> list[ShapedArray]:
        """Avals of the arguments."""
        return [v.aval for v in self.invars]

    @property
    def out_avals(self) -> list[ShapedArray]:
        """Avals of the results."""
        return [v.aval for v in self.outvars]

    @property
    def is_high(self) -> bool:
        """Whether it has types of the user's own; never."""
        return False

    def replace(self, **changes: Any) -> Jaxpr:
        """This jaxpr with some of its fields replaced."""
        fields = {n: getattr(self, n) for n in self.__slots__ if n != "__weakref__"} | changes
        return Jaxpr(**fields)

    def pretty_print(self, *, source_info: bool = False, name_stack: bool = False, **_: Any) -> str:
        """The text of the program; on request with the lines and name scopes of equations."""
        return printer.jaxpr_text(self, source_info, name_stack)

    def __str__(self) -> str:
        return printer.jaxpr_text(self)

    __repr__ = __str__


class ClosedJaxpr:
    """A jaxpr with the values of its constvars."""

    __slots__ = ("__weakref__", "consts", "derived", "jaxpr")

    derived: dict[Any, Any]
    """What transformations made of it (`transforms.derived`)."""

    def __init__(self, jaxpr: Jaxpr, consts: Sequence[Any] = ()) -> None:
        assert len(jaxpr.constvars) == len(consts), "one value for each constvar"
        self.jaxpr = jaxpr
        self.consts = list(consts)
        self.derived = {}

    @property
    def in_avals(self) -> list[ShapedArray]:
        """Avals of the arguments."""
        return self.jaxpr.in_avals

    @property
    def out_avals(self) -> list[ShapedArray]:
        """Avals of the results."""
        return self.jaxpr.out_avals

    @property
    def eqns(self) -> list[JaxprEqn]:
        """The equations."""
        return self.jaxpr.eqns

    @property
    def effects(self) -> frozenset[Any]:
        """The effects of all equations."""
        return self.jaxpr.effects

    @property
    def literals(self) -> list[Any]:
        """The old name of `consts`."""
        return self.consts

    def replace(self, *, jaxpr: Jaxpr | None = None, consts: Any = None) -> ClosedJaxpr:
        """This closed jaxpr with another jaxpr or other constants."""
        return ClosedJaxpr(jaxpr or self.jaxpr, self.consts if consts is None else consts)

    def pretty_print(self, *, source_info: bool = False, name_stack: bool = False, **_: Any) -> str:
        """The text of the program; on request with the lines and name scopes of equations."""
        return printer.jaxpr_text(self.jaxpr, source_info, name_stack)

    def __str__(self) -> str:
        return printer.jaxpr_text(self.jaxpr)

    __repr__ = __str__


def join_effects(eqns: Sequence[JaxprEqn]) -> frozenset[Any]:
    """The union of the effects of equations."""
    effects = no_effects
    for eqn in eqns:
        if eqn.effects:
            effects |= eqn.effects
    return effects


_NO_REPLAY: Final = contextlib.nullcontext()


def eval_jaxpr(
    jaxpr: Jaxpr, consts: Sequence[Any], *args: Any, propagate_source_info: bool = True
) -> list[Any]:
    """Apply the equations to values, under the current trace.

    What comes of an equation has the line and the scopes of that equation, or, without
    `propagate_source_info`, those of the caller.
    """
    env: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        inputs = [v.val if type(v) is Literal else env[v] for v in eqn.invars]
        with replaying(eqn.source_info) if propagate_source_info else _NO_REPLAY:
            ans = eqn.primitive.bind(*inputs, **eqn.params)
        if eqn.primitive.multiple_results:
            env.update(zip(eqn.outvars, ans, strict=True))
        else:
            env[eqn.outvars[0]] = ans
    return [v.val if type(v) is Literal else env[v] for v in jaxpr.outvars]


def jaxpr_as_fun(closed: ClosedJaxpr) -> Callable[..., list[Any]]:
    """The function that a closed jaxpr describes, on flat arguments."""
    return lambda *args: eval_jaxpr(closed.jaxpr, closed.consts, *args)


def subjaxprs(eqn: JaxprEqn) -> Iterator[Jaxpr]:
    """The jaxprs among the parameters of an equation."""
    for value in eqn.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, Jaxpr):
                yield item


def verify(jaxpr: Jaxpr) -> None:
    """Check scoping, single assignment and the type of every equation, inner jaxprs included."""
    defined = set(jaxpr.constvars) | set(jaxpr.invars)
    if len(defined) != len(jaxpr.constvars) + len(jaxpr.invars):
        raise VerifyError(f"an argument is bound twice in\n{jaxpr}")
    for eqn in jaxpr.eqns:
        _verify_eqn(eqn, defined)
        for inner in subjaxprs(eqn):
            verify(inner)
    _verify_uses(jaxpr.outvars, defined, "the results")
    missing = join_effects(jaxpr.eqns) - jaxpr.effects
    arguments = [*jaxpr.constvars, *jaxpr.invars]
    missing = frozenset(
        e for e in missing if not isinstance(e, RefEffect) or e.input_index in arguments
    )
    if missing:
        raise VerifyError(f"the jaxpr does not declare the effects {set(missing)}")


def _verify_uses(atoms: Sequence[Any], defined: set[Var], where: str) -> None:
    for atom in atoms:
        if type(atom) is not Literal and atom not in defined:
            raise VerifyError(f"{atom} is used in {where} before it is defined")


def _verify_eqn(eqn: JaxprEqn, defined: set[Var]) -> None:
    _verify_uses(eqn.invars, defined, f"`{eqn}`")
    expected = eqn.primitive.abstract(*[v.aval for v in eqn.invars], **eqn.params)
    if not eqn.primitive.multiple_results:
        expected = [expected]
    if len(expected) != len(eqn.outvars):
        raise VerifyError(f"`{eqn}` has {len(eqn.outvars)} results, its rule {len(expected)}")
    for var, aval in zip(eqn.outvars, expected, strict=True):
        if var in defined:
            raise VerifyError(f"{var} is assigned twice, the second time in `{eqn}`")
        if not compatible(var.aval, aval):
            raise VerifyError(f"`{eqn}` declares {var.aval} where its rule gives {aval}")
        if type(var) is not DropVar:
            defined.add(var)


def compatible(declared: Any, actual: Any) -> bool:
    """Whether two avals agree but for weak typing."""
    return bool(
        declared is actual or (declared.shape == actual.shape and declared.dtype == actual.dtype)
    )
