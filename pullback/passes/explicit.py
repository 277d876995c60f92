"""How arrays are spread over explicit axes of a mesh, followed through a program.

Where axes of a mesh are explicit, the type of an array says how it is spread, and each operation
what that makes of its results; what would be ambiguous is an error. Our types have no shardings,
since with one device they change nothing: they are followed here, equation by equation, when a
program's results are asked for theirs. A spec has one entry for each axis of an array; None stands
for arrays that are not on the mesh.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any, Final

from pullback.core.avals import spread_shape
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Literal
from pullback.core.meshes import PartitionSpec
from pullback.core.sharding import NamedSharding
from pullback.core.source import ASKED
from pullback.errors import ShardingTypeError

__all__ = ["Spec", "in_full", "specs_of_operation", "specs_of_results", "typed_text"]

Spec = tuple[Any, ...] | None
Rule = Callable[[Any, Sequence[Any], Sequence[Any], dict[str, Any], Sequence[Spec]], list[Spec]]


def in_full(spec: PartitionSpec, ndim: int) -> tuple[Any, ...]:
    """The entries of a spec, one for each axis."""
    return (*spec, *[None] * (ndim - len(spec)))


def names_of(entry: Any) -> tuple[Any, ...]:
    """The axes of a mesh that an entry names."""
    if entry is None:
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def typed_text(aval: Any, spec: Spec, short: bool = True) -> str:
    """A type with its spec: `f32[2@a,3]`."""
    text: str = aval.str_short(short_dtypes=short)
    return f"{text[: text.index('[')]}[{spread_shape(aval.shape, spec)}]" if spec else text


def specs_of_results(
    jaxpr: Jaxpr, specs: Sequence[Spec], consts: Sequence[Spec] = ()
) -> list[Spec]:
    """The specs of results, from those of the arguments; ShardingTypeError for ambiguous ones."""
    known: dict[Any, Spec] = dict(zip(jaxpr.invars, specs, strict=True))
    known.update(zip(jaxpr.constvars, consts, strict=False))

    def of(v: Any) -> Spec:
        return None if isinstance(v, Literal) else known.get(v)

    for eqn in jaxpr.eqns:
        operands = [of(v) for v in eqn.invars]
        ins, outs = [v.aval for v in eqn.invars], [v.aval for v in eqn.outvars]
        names = eqn.source_info.names
        strict = ASKED not in names and not any("transpose" in name for name in names)
        found = specs_of_operation(eqn.primitive, ins, outs, eqn.params, operands, strict)
        known.update(zip(eqn.outvars, found, strict=True))
    return [of(v) for v in jaxpr.outvars]


def specs_of_operation(
    primitive: Any,
    ins: Sequence[Any],
    outs: Sequence[Any],
    params: dict[str, Any],
    specs: Sequence[Spec],
    strict: bool = True,
) -> list[Spec]:
    """The specs of the results of one operation.

    What is ambiguous is an error if it is the user's, and otherwise nothing is spread: the
    operations of a backward pass are none that a user could tell what to do.
    """
    name = getattr(primitive, "name", "")
    if name in _MAKERS:
        return _made(outs, params)
    if not any(s is not None for s in specs):
        return [None] * len(outs)
    rule: Rule = _RULES.get(name, _unknown)
    try:
        found = rule(primitive, ins, outs, params, specs)
    except ShardingTypeError:
        if strict:
            raise
        return [
            _once(_product(ins, params, specs)) if name == "dot_general" else (None,) * len(x.shape)
            for x in outs
        ]
    return [None if s is None else tuple(s) for s in found]


# --------------------------------------------------------------------------- rules


def _made(outs: Sequence[Any], params: dict[str, Any]) -> list[Spec]:
    """What is told where to be."""
    sharding = params.get("sharding")
    if not isinstance(sharding, NamedSharding):
        return [None] * len(outs)
    return [in_full(sharding.spec, len(x.shape)) for x in outs]


def _merged(name: str, ins: Sequence[Any], specs: Sequence[Spec], out: Any) -> Spec:
    """The spec of operands that are combined element by element: the entries that there are."""
    full = [s for a, s in zip(ins, specs, strict=True) if s is not None and a.shape == out.shape]
    if not full:
        return (None,) * len(out.shape)
    entries: list[Any] = [None] * len(out.shape)
    for spec in full:
        for axis, entry in enumerate(spec):
            if entry is not None and entries[axis] not in (None, entry):
                texts = ", ".join(map(str, full))
                raise ShardingTypeError(
                    f"{name} got incompatible shardings for broadcasting: {texts}."
                )
            entries[axis] = entries[axis] or entry
    _check_once(name, ins, specs, out, entries)
    return tuple(entries)


def _check_once(
    name: str, ins: Sequence[Any], specs: Sequence[Spec], out: Any, entries: Sequence[Any]
) -> None:
    """Raise where one axis of the mesh would split two axes of a result."""
    names = [n for e in entries for n in names_of(e)]
    if len(set(names)) != len(names):
        operands = ", ".join(typed_text(a, s) for a, s in zip(ins, specs, strict=True))
        raise ShardingTypeError(
            f"{name} operation with inputs: {operands} produces an illegally sharded result: "
            f"{typed_text(out, tuple(entries))}"
        )


def _unknown(
    primitive: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Sequence[Spec]
) -> list[Spec]:
    """Element by element, as far as shapes are those of operands."""
    return [_merged(primitive.name, ins, specs, out) for out in outs]


def _first(
    primitive: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Sequence[Spec]
) -> list[Spec]:
    """As the first operand, which keeps its axes."""
    return [specs[0] if len(x.shape) == len(ins[0].shape) else (None,) * len(x.shape) for x in outs]


def _along(axis_of: str, message: str) -> Rule:
    """As the operands, which must be whole along one axis."""

    def rule(
        primitive: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Sequence[Spec]
    ) -> list[Spec]:
        axis = params[axis_of]
        for aval, spec in zip(ins, specs, strict=True):
            if spec and spec[axis] is not None:
                raise ShardingTypeError(
                    message.format(type=typed_text(aval, spec, False), axis=axis, spec=spec)
                )
        return _unknown(primitive, ins, outs, params, specs)

    return rule


def _without(axes_of: str) -> Rule:
    """Without some axes."""

    def rule(
        primitive: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Sequence[Spec]
    ) -> list[Spec]:
        gone = params[axes_of]
        kept = [tuple(e for i, e in enumerate(s) if i not in gone) for s in specs if s is not None]
        return [kept[0]] * len(outs)

    return rule


def _transpose(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    return [tuple(specs[0][i] for i in params["permutation"])]


def _broadcast(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    if isinstance(params.get("sharding"), NamedSharding):
        return _made(outs, params)
    entries: list[Any] = [None] * len(outs[0].shape)
    for i, axis in enumerate(params["broadcast_dimensions"]):
        if specs[0] and ins[0].shape[i] == outs[0].shape[axis]:
            entries[axis] = specs[0][i]
    return [tuple(entries)]


def _reshape(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    """Axes that become one have the names of all; where one becomes several, the first has them."""
    old, new = ins[0].shape, outs[0].shape
    entries: list[Any] = []
    i = 0
    for first, last in _groups(old, new):
        group = specs[0][i:first]
        i = first
        names = tuple(n for e in group for n in names_of(e))
        fresh: list[Any] = [None] * (last - len(entries))
        if names and fresh:
            at = next((k for k in range(len(entries), last) if new[k] != 1), len(entries))
            fresh[at - len(entries)] = names[0] if len(names) == 1 else names
        entries += fresh
    return [tuple(entries)]


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[int, int]]:
    """Ends of the smallest runs of axes with as many elements before and after."""
    if 0 in old or 0 in new:
        return [(len(old), len(new))]
    ends, i, j = [], 0, 0
    while i < len(old) and j < len(new):
        a, b = old[i], new[j]
        i, j = i + 1, j + 1
        while a != b:
            if a < b:
                a, i = a * old[i], i + 1
            else:
                b, j = b * new[j], j + 1
        ends.append((i, j))
    ends.append((len(old), len(new)))
    return ends


def _dot(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    if isinstance(params.get("out_sharding"), NamedSharding):
        return [in_full(params["out_sharding"].spec, len(outs[0].shape))]
    (over_l, over_r), _ = params["dimension_numbers"]
    lhs, rhs = (s or (None,) * len(a.shape) for a, s in zip(ins, specs, strict=True))
    if any(lhs[i] is not None and lhs[i] == rhs[j] for i, j in zip(over_l, over_r, strict=True)):
        raise ShardingTypeError(
            "Contracting dimensions are sharded and it is ambiguous how the output should be "
            "sharded. Please specify the output sharding via the `out_sharding` parameter. Got "
            f"lhs_contracting_spec={tuple(lhs[i] for i in over_l)} and "
            f"rhs_contracting_spec={tuple(rhs[i] for i in over_r)}"
        )
    entries = _product(ins, params, specs)
    _check_once("dot_general", ins, specs, outs[0], entries)
    return [entries]


def _product(ins: Any, params: dict[str, Any], specs: Any) -> tuple[Any, ...]:
    """The entries of the axes that a product keeps."""
    (over_l, over_r), (batch_l, batch_r) = params["dimension_numbers"]
    lhs, rhs = (s or (None,) * len(a.shape) for a, s in zip(ins, specs, strict=True))
    return (
        *(lhs[i] or rhs[j] for i, j in zip(batch_l, batch_r, strict=True)),
        *(e for i, e in enumerate(lhs) if i not in over_l and i not in batch_l),
        *(e for i, e in enumerate(rhs) if i not in over_r and i not in batch_r),
    )


def _once(entries: Sequence[Any]) -> tuple[Any, ...]:
    """Entries, of which later ones are empty where they name what earlier ones do."""
    seen: set[Any] = set()
    kept = []
    for entry in entries:
        names = set(names_of(entry))
        kept.append(None if names & seen else entry)
        seen |= names
    return tuple(kept)


def _concatenate(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    entries = [next((e for e in column if e), None) for column in zip_longest(*filter(None, specs))]
    return [tuple(entries)]


def _gather(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    """The axes that are read whole keep their entries."""
    numbers = params["dimension_numbers"]
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    kept = [i for i in range(len(ins[0].shape)) if i not in gone]
    entries: list[Any] = [None] * len(outs[0].shape)
    for i, axis in zip(kept, numbers.offset_dims, strict=True):
        if specs[0] and params["slice_sizes"][i] == ins[0].shape[i]:
            entries[axis] = specs[0][i]
    return [tuple(entries)]


def _inner(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    """What the program that an equation holds says."""
    held = next(x for x in params.values() if isinstance(x, (ClosedJaxpr, Jaxpr)))
    jaxpr = held.jaxpr if isinstance(held, ClosedJaxpr) else held
    return specs_of_results(jaxpr, specs[len(specs) - len(jaxpr.invars) :])


def _cond(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    return specs_of_results(params["branches"][0].jaxpr, specs[1:])


def _scan(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    consts, carries = params["num_consts"], params["num_carry"]
    rows = specs[consts + carries :]
    for spec in rows:
        if spec and spec[0] is not None:
            raise ValueError(
                f"0th dimension of all xs should be replicated. Got {PartitionSpec(*spec)}"
            )
    inner = [*specs[: consts + carries], *[s and s[1:] for s in rows]]
    found = specs_of_results(params["jaxpr"].jaxpr, inner)
    stacked = [None if s is None else (None, *s) for s in found[carries:]]
    return [*found[:carries], *stacked]


def _while(p: Any, ins: Any, outs: Any, params: dict[str, Any], specs: Any) -> list[Spec]:
    return list(specs[len(specs) - len(outs) :])


_MAKERS: Final = frozenset(("sharding_constraint",))
_CUMULATIVE: Final = _along(
    "axis",
    "Input should be unsharded over the axis being reduced. Got input type={type} and axis={axis}",
)
_SORTING: Final = _along(
    "dimension",
    "Arguments to sort must be unsharded over the sorting dimension. Got arg type={type} and "
    "sorting dimension={axis}",
)
_RULES: Final[dict[str, Rule]] = {
    "transpose": _transpose,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _without("dimensions"),
    "dot_general": _dot,
    "concatenate": _concatenate,
    "gather": _gather,
    "cond": _cond,
    "scan": _scan,
    "while": _while,
    **dict.fromkeys(("sort", "partition"), _SORTING),
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"), _CUMULATIVE),
    **dict.fromkeys(
        (
            *("reduce_sum", "reduce_prod", "reduce_max", "reduce_min", "reduce_and", "reduce_or"),
            *("reduce_xor", "argmax", "argmin"),
        ),
        _without("axes"),
    ),
    **dict.fromkeys(
        (
            *("slice", "dynamic_slice", "dynamic_update_slice", "pad", "rev", "scatter"),
            *("scatter-add", "scatter_add", "scatter_mul", "scatter_min", "scatter_max"),
        ),
        _first,
    ),
    **dict.fromkeys(
        ("jit", "custom_jvp_call", "custom_vjp_call", "remat2", "closed_call", "core_call"), _inner
    ),
}
