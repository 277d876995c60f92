"""Programs that leave the process: `export`, files, and calling them again.

An exported function is its program for given types, the structure of its arguments and results,
and perhaps the programs of its derivatives.  It is called like a function, under any
transformation that its derivatives allow, by our own compiler or on a plugin's device.  Its text
as StableHLO is for other systems.

>>> import pullback as pb, pullback.numpy as jnp
>>> from pullback import export
>>> exported = export.export(pb.jit(lambda x: 2 * jnp.sin(x)))(jnp.ones(3))
>>> again = export.deserialize(exported.serialize(vjp_order=1))
>>> float(pb.grad(lambda x: again.call(x).sum())(jnp.zeros(3))[0])
2.0
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pullback import config, tree
from pullback.control.custom_vjp import custom_vjp
from pullback.control.jit import jit as jit_primitive
from pullback.control.jit import open_consts
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr
from pullback.errors import UnsupportedError
from pullback.lazy import LazyModule
from pullback.passes import simplify
from pullback.runtime import artifact
from pullback.runtime.artifact import ArtifactError
from pullback.runtime.jit import JitFunction, jit
from pullback.runtime.stages import Wrapped
from pullback.transforms.derivatives import vjp
from pullback.transforms.staging import stage

__all__ = [
    "ArtifactError",
    "DisabledSafetyCheck",
    "Exported",
    "default_export_platform",
    "deserialize",
    "export",
    "is_symbolic_dim",
    "maximum_supported_calling_convention_version",
    "minimum_supported_calling_convention_version",
    "symbolic_shape",
]

_emit: Final = LazyModule("pullback.hlo.emit")
minimum_supported_calling_convention_version = 1
maximum_supported_calling_convention_version = 1
_ANYWHERE: Final = ("cpu", "cuda", "rocm", "tpu")


@dataclass(frozen=True)
class DisabledSafetyCheck:
    """A check that is left out; there are none to leave out, since nothing unsafe is exported."""

    _impl: str

    @staticmethod
    def platform() -> DisabledSafetyCheck:
        """Call the program on platforms that it was not exported for."""
        return DisabledSafetyCheck("platform")


def default_export_platform() -> str:
    """What programs are exported for if nothing is said: where jitted functions run.

    >>> default_export_platform()
    'cpu'
    """
    chosen = config.platform()
    return "cpu" if chosen in ("", "xla_cpu") else str(chosen)


@dataclass(frozen=True)
class Exported:
    """A function as a program; made by `export` or `deserialize`."""

    fun_name: str
    in_tree: Any
    in_avals: tuple[ShapedArray, ...]
    out_tree: Any
    out_avals: tuple[ShapedArray, ...]
    platforms: tuple[str, ...]
    disabled_safety_checks: tuple[DisabledSafetyCheck, ...]
    closed: ClosedJaxpr = field(repr=False)
    _get_vjp: Callable[[], Exported] | None = field(repr=False, default=None)
    nr_devices: int = 1
    calling_convention_version: int = maximum_supported_calling_convention_version

    def mlir_module(self) -> str:
        """The program as StableHLO text, for the first of its platforms."""
        platform = self.platforms[0] if len(self.platforms) == 1 else ""
        module = _emit.emit_module(self.closed, self.fun_name, platform=platform)
        return str(module.text)

    @property
    def mlir_module_serialized(self) -> bytes:
        """The same text as bytes."""
        return self.mlir_module().encode()

    def has_vjp(self) -> bool:
        """Whether its derivative is known."""
        return self._get_vjp is not None

    def vjp(self) -> Exported:
        """The program of the reverse derivative.

        It takes the leaves of the arguments, then cotangents of the results that have any, and
        returns cotangents of the arguments that have any.
        """
        if self._get_vjp is None:
            raise ValueError(
                f"the exported function {self.fun_name} has no derivative: serialize it with "
                "vjp_order=1 or more"
            )
        return self._get_vjp()

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The results for arguments of exactly the exported types."""
        leaves, structure = tree.flatten((args, kwargs))
        if structure != self.in_tree:
            raise ValueError(
                f"{self.fun_name} was exported for arguments {self.in_tree}, called with "
                f"{structure}"
            )
        for k, (x, aval) in enumerate(zip(leaves, self.in_avals, strict=True)):
            found = aval_of(x)
            if (found.shape, found.dtype) != (aval.shape, aval.dtype):
                raise ValueError(
                    f"{self.fun_name} was exported for {aval} as leaf {k} of its arguments, "
                    f"called with {found}"
                )
        here = default_export_platform()
        unchecked = DisabledSafetyCheck.platform() in self.disabled_safety_checks
        if here not in self.platforms and not unchecked:
            raise ValueError(
                f"{self.fun_name} was exported for {', '.join(self.platforms)}; this is {here}"
            )
        return self.out_tree.unflatten(self._function(*leaves))

    @functools.cached_property
    def _function(self) -> Any:
        """The program as a function of flat arguments."""
        return _callable(self)

    def serialize(self, vjp_order: int = 0) -> bytes:
        """The program as bytes, with its derivatives up to an order."""
        writer = artifact.Writer()
        header = {"format": 1, "exported": _written(self, writer, vjp_order)}
        return artifact.pack(header, writer.arrays)


def _apply(exported: Exported, leaves: Sequence[Any]) -> list[Any]:
    opened, consts = open_consts(exported.closed)
    outs: list[Any] = jit_primitive.bind(
        *consts,
        *leaves,
        jaxpr=opened,
        name=exported.fun_name,
        donated_invars=(),
        keep_unused=False,
        inline=False,
    )
    return outs


def _callable(exported: Exported) -> Any:
    """The program as a function of flat arguments whose derivative is the exported one."""

    @custom_vjp
    def call(*leaves: Any) -> Any:
        return _apply(exported, leaves)

    def forward(*leaves: Any) -> Any:
        return _apply(exported, leaves), leaves

    def backward(leaves: Any, cts: Any) -> Any:
        kept = [ct for ct, a in zip(cts, exported.out_avals, strict=True) if _inexact(a)]
        found = iter(exported.vjp()._function(*leaves, *kept))
        return tuple(next(found) if _inexact(a) else None for a in exported.in_avals)

    call.defvjp(forward, backward)
    return jit(call)


def _inexact(aval: Any) -> bool:
    return dtypes.kind_of(aval.dtype) in "fc"


def export(
    fun_jit: Wrapped,
    *,
    platforms: Sequence[str] | None = None,
    disabled_checks: Sequence[DisabledSafetyCheck] = (),
    _override_lowering_rules: Any = None,
) -> Callable[..., Exported]:
    """A function from arguments (or `ShapeDtypeStruct`s) to the exported program for their types.

    >>> import pullback as pb
    >>> exported = export(pb.jit(lambda x: x + 1))(pb.ShapeDtypeStruct((2,), "float32"))
    >>> exported.in_avals, exported.platforms
    ((ShapedArray(float32[2]),), ('cpu',))
    """
    if not isinstance(fun_jit, JitFunction):
        raise ValueError(f"export takes a jitted function, got {fun_jit!r}")
    if _override_lowering_rules:
        raise UnsupportedError("export: lowering rules cannot be overridden")

    def exported(*args: Any, **kwargs: Any) -> Exported:
        traced = fun_jit.trace(*args, **kwargs)
        return _exported(
            traced.fun_name,
            traced.in_tree,
            traced.out_tree,
            traced.jaxpr,
            tuple(platforms or (default_export_platform(),)),
            tuple(disabled_checks),
        )

    return exported


def _exported(
    name: str,
    in_tree: Any,
    out_tree: Any,
    closed: ClosedJaxpr,
    platforms: tuple[str, ...],
    disabled: tuple[DisabledSafetyCheck, ...],
) -> Exported:
    if closed.effects:
        raise UnsupportedError(f"{name} has the effects {set(closed.effects)}: not exported")

    @functools.cache
    def derivative() -> Exported:
        return _derivative(name, closed, platforms, disabled)

    return Exported(
        name,
        in_tree,
        tuple(closed.in_avals),
        out_tree,
        tuple(closed.out_avals),
        platforms,
        disabled,
        simplify.simplify(closed),
        derivative,
    )


def _derivative(name: str, closed: ClosedJaxpr, platforms: Any, disabled: Any) -> Exported:
    """The reverse derivative of a program, custom rules used."""
    ins = [k for k, a in enumerate(closed.in_avals) if _inexact(a)]
    outs = [k for k, a in enumerate(closed.out_avals) if _inexact(a)]
    n = len(closed.in_avals)

    def backward(*flat: Any) -> Sequence[Any]:
        leaves, cts = list(flat[:n]), flat[n:]

        def part(*chosen: Any) -> Any:
            whole = list(leaves)
            for k, x in zip(ins, chosen, strict=True):
                whole[k] = x
            opened, consts = open_consts(closed)
            results = jit_primitive.bind(
                *consts, *whole, jaxpr=opened, name=name, donated_invars=(), keep_unused=False,
                inline=False,
            )  # fmt: skip
            return [results[k] for k in outs]

        pull = vjp(part, *[leaves[k] for k in ins])[1]
        return list(pull(list(cts)))

    avals = [*closed.in_avals, *[closed.out_avals[k].strip_weak_type() for k in outs]]
    made = stage(backward, avals)
    in_tree = tree.structure((tuple([0] * len(avals)), {}))
    out_tree = tree.structure(tuple([0] * len(ins)))
    return _exported(f"{name}_vjp", in_tree, out_tree, made, platforms, disabled)


# --------------------------------------------------------------------------- files


def _written(exported: Exported, writer: artifact.Writer, vjp_order: int) -> dict[str, Any]:
    return {
        "name": exported.fun_name,
        "in_tree": _spec(exported.in_tree),
        "out_tree": _spec(exported.out_tree),
        "platforms": list(exported.platforms),
        "disabled": [check._impl for check in exported.disabled_safety_checks],
        "version": exported.calling_convention_version,
        "program": writer.closed(exported.closed),
        "vjp": _written(exported.vjp(), writer, vjp_order - 1) if vjp_order > 0 else None,
    }


def _spec(structure: Any) -> Any:
    """A structure of tuples, lists, dicts with string keys and None, as JSON."""

    def part(spec: Any) -> Any:
        kind = spec[0]
        if kind == "other":
            raise UnsupportedError(
                f"the structure {structure} has nodes that an artifact cannot hold: export a "
                "function of tuples, lists and dictionaries"
            )
        if kind == "dict":
            if not all(isinstance(key, str) for key in spec[1]):
                raise UnsupportedError("an artifact holds dictionaries with string keys only")
            return [kind, list(spec[1]), [part(child) for child in spec[2]]]
        return [kind] if len(spec) == 1 else [kind, [part(child) for child in spec[1]]]

    return part(structure.as_spec())


def _skeleton(spec: Any) -> Any:
    """A pytree with the structure that `_spec` wrote."""
    try:
        kind, *rest = spec
        if kind == "dict":
            return {str(k): _skeleton(v) for k, v in zip(*rest, strict=True)}
        if kind in ("tuple", "list"):
            parts = [_skeleton(v) for v in rest[0]]
            return tuple(parts) if kind == "tuple" else parts
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError("a structure of the artifact is damaged") from error
    if kind not in ("leaf", "none"):
        raise ArtifactError(f"there are no structures of kind {kind!r}")
    return 0 if kind == "leaf" else None


def deserialize(blob: bytes | bytearray) -> Exported:
    """The exported function in bytes that `Exported.serialize` made.

    Bytes may come from anywhere: nothing is executed or imported while they are read, sizes are
    bounded by those of the bytes, and a program that is not in order is an `ArtifactError`.

    >>> deserialize(b"something else")
    Traceback (most recent call last):
    ...
    pullback.runtime.artifact.ArtifactError: these bytes are no program that Pullback exported
    """
    header, data = artifact.unpack(bytes(blob))
    if header.get("format") != 1:
        raise ArtifactError(f"artifacts of format {header.get('format')!r} are not known here")
    return _read(header.get("exported"), artifact.Reader(data))


def _read(value: Any, reader: artifact.Reader, depth: int = 0) -> Exported:
    if not isinstance(value, dict) or depth > 16:
        raise ArtifactError("the artifact is damaged")
    try:
        closed = reader.program(value["program"])
        trees = [tree.structure(_skeleton(value[key])) for key in ("in_tree", "out_tree")]
        derivative = value["vjp"]
        names = [str(p) for p in value["platforms"]]
        checks = tuple(DisabledSafetyCheck(str(c)) for c in value["disabled"])
        name, version = str(value["name"]), int(value["version"])
    except (KeyError, TypeError) as error:
        raise ArtifactError("the artifact is damaged") from error
    if [t.num_leaves for t in trees] != [len(closed.in_avals), len(closed.out_avals)]:
        raise ArtifactError("the structures of the artifact do not fit its program")
    pull = None if derivative is None else _read(derivative, reader, depth + 1)
    return Exported(
        name,
        trees[0],
        tuple(closed.in_avals),
        trees[1],
        tuple(closed.out_avals),
        tuple(names),
        checks,
        closed,
        None if pull is None else (lambda: pull),
        1,
        version,
    )


# --------------------------------------------------------------------------- symbolic shapes


def is_symbolic_dim(p: Any) -> bool:
    """Whether a length is a symbol; no length is, since programs have static shapes.

    >>> is_symbolic_dim(3)
    False
    """
    return False


def symbolic_shape(
    shape_spec: str | None,
    *,
    constraints: Sequence[str] = (),
    scope: Any = None,
    like: Sequence[int | None] | None = None,
) -> Sequence[int]:
    """The shape of a specification without symbols.

    >>> symbolic_shape("2, 3")
    (2, 3)
    """
    parts = [part.strip() for part in (shape_spec or "").strip("()").split(",") if part.strip()]
    if any(not part.isdigit() for part in parts) or constraints:
        raise UnsupportedError(
            f"symbolic_shape({shape_spec!r}): programs are exported for known shapes only"
        )
    return tuple(map(int, parts))
