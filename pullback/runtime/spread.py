"""Which results have a `NamedSharding`: a rule beside evaluation, for few arrays have one.

There is one device, so that a sharding moves nothing; but programs ask results for theirs. Results
of what takes arrays with a NamedSharding have one of the same mesh. Its spec is that of the first
argument that is used, where the result has as many axes and depends on an argument that was put on
the mesh; otherwise it is empty. While such an array lives, or a mesh is set, `config.ACTIVE` is not
empty: calls come through Python, and eager operations through `following`; nothing is paid
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pullback import config
from pullback.control.jit import jit as jit_primitive
from pullback.core.avals import aval_of
from pullback.core.devices import CPU
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Literal
from pullback.core.meshes import Mesh, PartitionSpec, mesh_that_is_set
from pullback.core.primitive import FIRST_ORDER, Primitive
from pullback.core.sharding import (
    NamedSharding,
    Sharding,
    SingleDeviceSharding,
    type_sharding,
)
from pullback.core.source import ASKED, marked
from pullback.core.structs import ShapeDtypeStruct
from pullback.ops.markers import sharding_constraint
from pullback.passes import explicit
from pullback.runtime.array import SPREAD, ArrayImpl, asked_sharding, is_here, place

__all__ = [
    "Flow",
    "flow_of",
    "following",
    "mesh_of",
    "of_mesh_that_is_set",
    "settled",
    "sharding_of",
    "shardings_of_program",
    "shardings_of_types",
    "spec_of",
    "wanted",
]

Evaluator = Callable[[Primitive, Sequence[Any], dict[str, Any]], Any]


def wanted() -> bool:
    """Whether results may have to be given a sharding."""
    return bool(SPREAD) or _set_mesh() is not None


def _set_mesh() -> Mesh | None:
    """The mesh that results belong to whatever they are made of."""
    mesh = mesh_that_is_set()
    return mesh if mesh is not None and _is_here(mesh) else None


def _is_here(mesh: Mesh) -> bool:
    """Whether the one device of a mesh is that of our own compiler."""
    return mesh.size == 1 and mesh.devices.flat[0] is CPU


@dataclass(frozen=True)
class Flow:
    """What shardings of results depend on in a program."""

    used: int
    """The arguments that it uses, as bits."""
    sources: tuple[int, ...]
    """The arguments that each result depends on, as bits."""
    mesh: Mesh | None
    """That of the first constraint in it."""

    def with_all(self, count: int) -> Flow:
        """The flow where arguments count as used that are not."""
        return Flow((1 << count) - 1, self.sources, self.mesh)


def flow_of(closed: ClosedJaxpr) -> Flow:
    """The flow of a program, found once."""
    found: Flow | None = closed.derived.get(Flow)
    if found is None:
        found = closed.derived[Flow] = _flow(closed.jaxpr, mesh_of(closed))
    return found


def mesh_of(closed: ClosedJaxpr) -> Mesh | None:
    """The mesh of the first constraint in a program, found once; every first call asks for it."""
    if Mesh not in closed.derived:
        closed.derived[Mesh] = _mesh(closed.jaxpr)
    found: Mesh | None = closed.derived[Mesh]
    return found


def _mesh(jaxpr: Jaxpr) -> Mesh | None:
    for eqn in jaxpr.eqns:
        if eqn.primitive is sharding_constraint:
            found = _concrete_mesh(eqn.params["sharding"])
        elif eqn.primitive is jit_primitive:
            found = mesh_of(eqn.params["jaxpr"])
        elif eqn.primitive.partial_eval is not FIRST_ORDER:
            found = _inner_mesh(eqn.params)
        else:
            continue
        if found is not None:
            return found
    return None


def _inner_mesh(params: dict[str, Any]) -> Mesh | None:
    inner = (mesh_of(x) for x in _jaxprs(params) if isinstance(x, ClosedJaxpr))
    return next((m for m in inner if m is not None), None)


def _flow(jaxpr: Jaxpr, mesh: Mesh | None) -> Flow:
    bits = {v: 1 << i for i, v in enumerate(jaxpr.invars)}
    effects = 0

    def of(v: Any) -> int:
        return 0 if isinstance(v, Literal) else bits.get(v, 0)

    for eqn in jaxpr.eqns:
        operands = [of(v) for v in eqn.invars]
        whole = _union(operands)
        if eqn.effects:
            effects |= whole
        if eqn.primitive is jit_primitive:
            chosen = [
                _union([m for i, m in enumerate(operands) if source >> i & 1])
                for source in flow_of(eqn.params["jaxpr"]).sources
            ]
        else:
            chosen = [whole] * len(eqn.outvars)
        bits.update(zip(eqn.outvars, chosen, strict=True))
    sources = tuple(of(v) for v in jaxpr.outvars)
    return Flow(_union(sources) | effects, sources, mesh)


def _union(masks: Sequence[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found


def _jaxprs(params: dict[str, Any]) -> list[Any]:
    return [y for x in params.values() for y in (x if isinstance(x, (tuple, list)) else (x,))]


def _concrete_mesh(sharding: Any) -> Mesh | None:
    mesh = sharding.mesh if isinstance(sharding, NamedSharding) else None
    return mesh if isinstance(mesh, Mesh) and _is_here(mesh) else None


def sharding_of(x: Any) -> Sharding | None:
    """The sharding that an argument, or a type in its place, was given."""
    if type(x) is ArrayImpl:
        return asked_sharding(x)
    return x.sharding if type(x) is ShapeDtypeStruct else None


def spec_of(x: Any) -> explicit.Spec:
    """The spec of an array on a mesh, with an entry for each axis."""
    found = sharding_of(x)
    return explicit.in_full(found.spec, x.ndim) if isinstance(found, NamedSharding) else None


def shardings_of_program(
    flow: Flow,
    arguments: Sequence[Sharding | None],
    ndims: tuple[Sequence[int], Sequence[int]],
    typed: Callable[[Sequence[explicit.Spec]], list[explicit.Spec]],
    asked: tuple[Sequence[Any], Sequence[Any]] = ((), ()),
) -> tuple[list[Sharding | None], list[Sharding | None]]:
    """The shardings of arguments and of results; None for what is nowhere in particular.

    `arguments` are the shardings that arguments have, if any; `ndims` counts the axes of arguments
    and of results; `typed` gives the specs of results where axes are explicit; `asked` holds what
    `in_shardings` and `out_shardings` say of each, if anything.
    """
    results: list[Any] = list(asked[1]) or [None] * len(flow.sources)
    wished = list(asked[0]) or [None] * len(arguments)
    where = [w or a for w, a in zip(wished, arguments, strict=True)]
    used = [i for i in range(len(where)) if flow.used >> i & 1]
    there = [w for i in used if (w := where[i]) is not None]
    if there and isinstance(there[0], SingleDeviceSharding) and not any(results):
        return where, [there[0]] * len(results)
    mesh = _set_mesh()
    known = (*map(_concrete_mesh, (*there, *results)), flow.mesh)
    found = mesh or next((m for m in known if m is not None), None)
    if found is None:
        return where, results
    replicated = NamedSharding(found, PartitionSpec())
    ins = [w or replicated for w in where] if mesh is not None or any(where) else where
    if found.explicit_axes:
        specs = typed(
            [
                explicit.in_full(a.spec, n) if isinstance(a, NamedSharding) else None
                for a, n in zip(arguments, ndims[0], strict=True)
            ]
        )
        if mesh is not None:
            specs = [(None,) * n if s is None else s for s, n in zip(specs, ndims[1], strict=True)]
        return ins, [
            given or (replicated if s is None else NamedSharding(found, PartitionSpec(*s)))
            for given, s in zip(results, specs, strict=True)
        ]
    meshes = [
        _concrete_mesh(w if a or mesh else None) for a, w in zip(arguments, where, strict=True)
    ]
    on_mesh = _union([1 << i for i, m in enumerate(meshes) if m is not None])
    first = used[0] if used else None
    spec = None if first is None else getattr(where[first], "spec", None)
    if any(meshes[i] not in (None, found) for i in used):
        spec = None
    outs: list[Sharding | None] = []
    for given, source, ndim in zip(results, flow.sources, ndims[1], strict=True):
        follows = spec is not None and source & on_mesh and ndim == ndims[0][first or 0]
        outs.append(given or (NamedSharding(found, spec) if follows and spec else replicated))
    return ins, outs


def shardings_of_types(closed: ClosedJaxpr, given: Sequence[Sharding | None]) -> list[Any]:
    """What types of results say where types of arguments have shardings over explicit axes."""
    avals = closed.in_avals
    types = [type_sharding(s, len(a.shape)) for s, a in zip(given, avals, strict=True)]
    mesh = next((t.mesh for t in types if t is not None and t.mesh.explicit_axes), None)
    if mesh is None:
        return [None] * len(closed.out_avals)
    consts = [spec_of(c) for c in closed.consts]
    specs = explicit.specs_of_results(closed.jaxpr, [t and tuple(t.spec) for t in types], consts)
    return [None if s is None else NamedSharding(mesh, PartitionSpec(*s)) for s in specs]


def settled(outs: Sequence[Any], shardings: Sequence[Sharding | None]) -> list[Any]:
    """The arrays with these shardings; those on a plugin's device as they are."""
    return [
        x if s is None or type(x) is not ArrayImpl or not is_here(x) else place(x, s)
        for x, s in zip(outs, shardings, strict=True)
    ]


def of_mesh_that_is_set(x: Any) -> Any:
    """An array that was made just now: on the mesh that is set, if one is."""
    mesh = _set_mesh() if type(x) is ArrayImpl else None
    if mesh is None or asked_sharding(x) is not None or not is_here(x):
        return x
    return place(x, NamedSharding(mesh, PartitionSpec()))


def following(evaluate: Evaluator) -> Evaluator:
    """An evaluator that gives results of eager operations the shardings that they have."""

    def evaluate_spread(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        out = evaluate(primitive, args, params)
        arguments = [asked_sharding(x) if type(x) is ArrayImpl else None for x in args]
        if _set_mesh() is None and not any(arguments):
            return out
        several = isinstance(out, (list, tuple))
        outs = list(out) if several else [out]
        if primitive is sharding_constraint:
            shardings: list[Any] = [params["sharding"]]
        else:
            ins, types = list(map(aval_of, args)), list(map(aval_of, outs))
            ndims = [len(a.shape) for a in ins], [len(a.shape) for a in types]
            flow = _flow_of_operation(primitive, params, len(args), len(outs))

            def typed(specs: Sequence[explicit.Spec]) -> list[explicit.Spec]:
                strict = config.is_plain() and not marked(ASKED)
                return explicit.specs_of_operation(primitive, ins, types, params, specs, strict)

            shardings = shardings_of_program(flow, arguments, ndims, typed)[1]
        made = settled(outs, shardings)
        return made if several else made[0]

    return evaluate_spread


def _flow_of_operation(primitive: Any, params: dict[str, Any], n: int, results: int) -> Flow:
    """Each result of an operation depends on all of its operands."""
    if primitive is jit_primitive:
        return flow_of(params["jaxpr"])
    whole = (1 << n) - 1
    mesh = None
    if type(primitive) is Primitive and primitive.partial_eval is not FIRST_ORDER:
        mesh = _inner_mesh(params)
    return Flow(whole, (whole,) * results, mesh)
