"""`shard_map` where there is one device: every axis of a mesh has size 1, and each part is whole.

The names of the mesh's axes are bound for collectives as `vmap` binds a name, over one lane that
nothing is stacked along: only what asks for the name (`axis_index`, ...) has a lane at all.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, final

from pullback import tree
from pullback.core.avals import aval_of
from pullback.core.meshes import AbstractMesh, AxisType, Mesh, PartitionSpec, current_mesh
from pullback.core.sharding import NamedSharding, check_names
from pullback.core.source import describe_function
from pullback.runtime.placement import device_put
from pullback.transforms.arguments import check_callable
from pullback.transforms.mapping import vmap

__all__ = ["Infer", "shard_map", "smap"]


@final
class _Infer:
    """The specs of the arguments are those of their shardings."""

    def __repr__(self) -> str:
        return "jax.sharding.Infer"


Infer: Final = _Infer()


def shard_map(
    f: Any = None,
    /,
    *,
    out_specs: Any,
    in_specs: Any = Infer,
    mesh: Mesh | AbstractMesh | None = None,
    axis_names: Any = frozenset(),
    check_vma: bool = True,
) -> Any:
    """Map `f` over the parts of its arguments, one for each device of `mesh`.

    `in_specs` and `out_specs` (prefixes of the trees of arguments and results, with
    `PartitionSpec`s as leaves) say which axis of the mesh splits which axis of an array. There is
    one device, so that each part is the whole array; `f` may use collectives over the axes of the
    mesh, or over those in `axis_names`. Without `mesh` it is the one of the `with` block around.
    Raises ValueError for specs that do not fit. `check_vma` is accepted: where all parts are whole
    there is nothing that could differ between devices.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> mesh = pb.make_mesh((1,), ("x",))
    >>> f = pb.shard_map(
    ...     lambda a: pb.lax.psum(a, "x"), mesh=mesh, in_specs=pb.P("x"), out_specs=pb.P()
    ... )
    >>> f(jnp.arange(3.0))
    Array([0., 1., 2.], dtype=float32)
    """
    if f is None:
        return functools.partial(
            shard_map,
            out_specs=out_specs,
            in_specs=in_specs,
            mesh=mesh,
            axis_names=axis_names,
            check_vma=check_vma,
        )
    check_callable(f, "shard_map")

    @functools.wraps(f)
    def mapped(*args: Any) -> Any:
        found = _mesh(mesh)
        names = _bound_names(found, axis_names)
        if in_specs is not Infer:
            _check_specs(f, found, in_specs, args, "in_specs")
            _check_manual(in_specs, names, "in_specs")
        _check_manual(out_specs, names, "out_specs")
        with _manual(found, names):
            out = _under_names(f, names)(*args)
        specs = _check_specs(f, found, out_specs, out, "out_specs")
        if found.size != 1 or not found.devices.flat[0].is_attached:
            return out
        leaves, structure = tree.flatten(out)
        places = [None if s is None else NamedSharding(found, s) for s in specs]
        return structure.unflatten(list(map(device_put, leaves, places)))

    return mapped


def smap(f: Any = None, /, *, in_axes: Any = Infer, out_axes: Any, axis_name: Hashable) -> Any:
    """Map `f` over the parts of its arguments along one axis of the mesh around.

    `in_axes` and `out_axes` say as in `vmap` which axis of an array the axis of the mesh splits,
    which stays in place.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> with pb.set_mesh(pb.make_mesh((1,), ("x",))):
    ...     f = pb.smap(lambda a: pb.lax.psum(a, "x"), in_axes=0, out_axes=None, axis_name="x")
    ...     f(jnp.arange(3.0))
    Array([0., 1., 2.], dtype=float32)
    """
    if f is None:
        return functools.partial(smap, in_axes=in_axes, out_axes=out_axes, axis_name=axis_name)
    in_specs = in_axes if in_axes is Infer else _axis_specs(in_axes, axis_name)
    out_specs = _axis_specs(out_axes, axis_name)
    return shard_map(f, in_specs=in_specs, out_specs=out_specs, axis_names={axis_name})


def _axis_specs(axes: Any, name: Hashable) -> Any:
    def spec(axis: int | None) -> PartitionSpec:
        return PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, name)

    return tree.map(spec, axes, is_leaf=lambda x: x is None)


def _mesh(mesh: Any) -> Mesh:
    found = current_mesh() if mesh is None else mesh
    if found is None:
        raise ValueError(
            "The context mesh cannot be empty. Use `jax.set_mesh(mesh)` to enter into a mesh "
            "context, or give shard_map one"
        )
    if not isinstance(found, Mesh):
        raise ValueError(f"shard_map needs a mesh of devices, got {found!r}")
    return found


def _bound_names(mesh: Mesh, axis_names: Any) -> list[Hashable]:
    wanted = {axis_names} if isinstance(axis_names, str) else set(axis_names)
    if not wanted <= set(mesh.axis_names):
        raise ValueError(
            f"shard_map: axis_names={frozenset(wanted)} are not all axes of the mesh, which has "
            f"{mesh.axis_names}"
        )
    return [n for n in mesh.axis_names if not wanted or n in wanted]


def _manual(mesh: Mesh, names: Sequence[Hashable]) -> Mesh:
    """The mesh in force within the function: the axes that it is mapped over are its own affair."""
    types = zip(mesh.axis_names, mesh.axis_types, strict=True)
    kinds = tuple(AxisType.Manual if n in names else kind for n, kind in types)
    return Mesh(mesh.devices, mesh.axis_names, kinds)


def _check_manual(specs: Any, names: Sequence[Hashable], what: str) -> None:
    for spec in tree.leaves(specs):
        for entry in spec if isinstance(spec, PartitionSpec) else ():
            for name in entry if isinstance(entry, tuple) else (entry,):
                if name is not None and name not in names:
                    raise ValueError(
                        f"shard_map {what} argument must refer to an axis marked as manual "
                        f"({frozenset(names)}), but {what} refers to {name!r}"
                    )


def _under_names(f: Callable[..., Any], names: Sequence[Hashable]) -> Callable[..., Any]:
    """`f` with names bound to axes of size 1; what has a lane for one loses it at the end."""
    for name in names:
        f = vmap(f, in_axes=None, out_axes=0, axis_name=name, axis_size=1)

    def whole(*args: Any) -> Any:
        return tree.map(lambda x: x.reshape(x.shape[len(names) :]), f(*args))

    return whole


def _check_specs(f: Any, mesh: Mesh, specs: Any, values: Any, what: str) -> list[Any]:
    """The spec of each leaf, which fits."""
    structure = tree.structure(values)
    spread = tree.flatten_axes(f"shard_map of {describe_function(f)}: {what}", structure, specs)
    for spec, x in zip(spread, tree.leaves(values), strict=True):
        if spec is None:
            continue
        if not isinstance(spec, PartitionSpec):
            raise TypeError(f"shard_map: {what} has PartitionSpecs as leaves, got {spec!r}")
        shape = aval_of(x).shape
        if len(spec) > len(shape):
            kind = "input value from" if what == "in_specs" else "output value from"
            raise ValueError(
                f"shard_map applied to the function {describe_function(f)} was given an {what} "
                f"entry which is too long to be compatible with the corresponding {kind} the "
                f"function: {what} is {spec} which has length {len(spec)}, but the value has shape "
                f"{shape}"
            )
        check_names(mesh, spec)
    return list(spread)
