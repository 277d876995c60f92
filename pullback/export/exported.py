"""Exported functions: made, called, written and read.

A function is traced and written as StableHLO.  Whoever calls it, from a file or not, reads that
module back (export/programs) for the types of the call, as any other module of StableHLO.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pullback import config, tree
from pullback.control.custom_vjp import custom_vjp
from pullback.control.jit import bind_jit
from pullback.core import dtypes
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.dimension_specs import solve
from pullback.core.dimensions import evaluate, is_symbolic
from pullback.core.dtypes import KeyDtype
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, subjaxprs
from pullback.errors import UnsupportedError
from pullback.export import container, programs
from pullback.export.container import Contents
from pullback.hlo.modules import ModuleError
from pullback.lazy import LazyModule
from pullback.ops import rearrange, rng
from pullback.passes import simplify
from pullback.runtime.artifact import HOST, ArtifactError
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
    "import_stablehlo",
    "maximum_supported_calling_convention_version",
    "minimum_supported_calling_convention_version",
]

_emit: Final = LazyModule("pullback.hlo.emit")
minimum_supported_calling_convention_version = 9
maximum_supported_calling_convention_version = 10
MAX_BYTES: Final = 1 << 31
_SAME: Final = {"gpu": ("cuda", "rocm")}


@dataclass(frozen=True)
class DisabledSafetyCheck:
    """A check that is left out when a function is exported or called."""

    _impl: str

    @staticmethod
    def platform() -> DisabledSafetyCheck:
        """Call the program on platforms that it was not exported for."""
        return DisabledSafetyCheck("platform")

    @staticmethod
    def custom_call(target_name: str) -> DisabledSafetyCheck:
        """Export a program with a custom call that is not known to be stable; none is refused."""
        return DisabledSafetyCheck(f"custom_call:{target_name}")

    def is_custom_call(self) -> str | None:
        """The name of the custom call that is allowed, if this is about one."""
        kind, _, target = self._impl.partition(":")
        return target if kind == "custom_call" else None


def default_export_platform() -> str:
    """What programs are exported for if nothing is said: where jitted functions run.

    >>> default_export_platform()
    'cpu'
    """
    chosen = config.platform()
    return "cpu" if chosen in ("", "xla_cpu") else str(chosen)


@dataclass(frozen=True, eq=False)
class Exported:
    """A function as a program; made by `export` or `deserialize`."""

    fun_name: str
    in_tree: Any
    in_avals: tuple[ShapedArray, ...]
    out_tree: Any
    out_avals: tuple[ShapedArray, ...]
    platforms: tuple[str, ...]
    disabled_safety_checks: tuple[DisabledSafetyCheck, ...]
    mlir_module_serialized: bytes = field(repr=False)
    """The StableHLO module, as text or as bytecode."""
    module_kept_var_idx: tuple[int, ...]
    """The leaves of the arguments that the module takes."""
    uses_global_constants: bool = False
    """Whether lengths or the platform are computed when the module is called."""
    ordered_effects: tuple[str, ...] = ()
    unordered_effects: tuple[str, ...] = ()
    nr_devices: int = 1
    calling_convention_version: int = maximum_supported_calling_convention_version
    _get_vjp: Callable[[], Exported] | None = field(repr=False, default=None)

    @property
    def in_shardings_hlo(self) -> tuple[None, ...]:
        """How arguments are spread over devices: not at all."""
        return (None,) * len(self.in_avals)

    @property
    def out_shardings_hlo(self) -> tuple[None, ...]:
        """How results are spread over devices: not at all."""
        return (None,) * len(self.out_avals)

    def in_shardings_jax(self, mesh: Any) -> tuple[None, ...]:
        """How arguments are spread over a mesh: as it comes."""
        return self.in_shardings_hlo

    def out_shardings_jax(self, mesh: Any) -> tuple[None, ...]:
        """How results are spread over a mesh: as it comes."""
        return self.out_shardings_hlo

    def mlir_module(self) -> str:
        """The module as text."""
        return programs.module_text(self.mlir_module_serialized)

    def has_vjp(self) -> bool:
        """Whether its derivative is known."""
        return self._get_vjp is not None

    def vjp(self) -> Exported:
        """The program of the reverse derivative.

        It takes the leaves of the arguments and cotangents of all results, and returns cotangents
        of all arguments; those of integers have the type `float0`.
        """
        if self._get_vjp is None:
            raise ValueError(
                f"the exported function {self.fun_name} has no derivative: serialize it with "
                "vjp_order=1 or more"
            )
        return self._get_vjp()

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The results for arguments of the exported types.

        A type with symbolic lengths stands for all that fit: the program is made for the lengths
        of the call.  ValueError for other structures, types, platforms.
        """
        leaves, structure = tree.flatten((args, kwargs))
        if structure != self.in_tree:
            raise ValueError(
                f"{self.fun_name} was exported for arguments {self.in_tree}, called with "
                f"{structure}"
            )
        self._sizes([aval_of(x) for x in leaves])
        self._check_platform()
        return self.out_tree.unflatten(self._function(*leaves))

    def _check_platform(self) -> None:
        here = default_export_platform()
        unchecked = DisabledSafetyCheck.platform() in self.disabled_safety_checks
        if here not in self.platforms and not unchecked:
            raise ValueError(
                f"{self.fun_name} was exported for {', '.join(self.platforms)}; this is {here}"
            )
        if self.nr_devices != 1:
            raise UnsupportedError(
                f"{self.fun_name} was exported for {self.nr_devices} devices, one is here"
            )
        if self.ordered_effects:
            raise UnsupportedError(
                f"{self.fun_name} has the effects {', '.join(self.ordered_effects)}"
            )

    def _sizes(self, found: Sequence[Any]) -> dict[str, int]:
        """The values of dimension variables for arguments of these types, which are checked."""
        pairs = []
        for k, (here, aval) in enumerate(zip(found, self.in_avals, strict=True)):
            fits = here.ndim == aval.ndim and here.dtype == aval.dtype
            if fits:
                fits = all(
                    is_symbolic(n) or n == m for n, m in zip(aval.shape, here.shape, strict=True)
                )
            if not fits:
                raise ValueError(
                    f"{self.fun_name} was exported for {aval} as leaf {k} of its arguments, "
                    f"called with {here}"
                )
            if any(map(is_symbolic, here.shape)) and any(map(is_symbolic, aval.shape)):
                raise UnsupportedError(
                    f"{self.fun_name}, which has symbolic shapes, called with the symbolic {here}"
                )
            pairs += [
                (n, m, f"the length of axis {axis} of leaf {k} of the arguments")
                for axis, (n, m) in enumerate(zip(aval.shape, here.shape, strict=True))
            ]
        return solve(pairs)

    @functools.cached_property
    def _module(self) -> Any:
        return _in_order(lambda: programs.read_module(self.mlir_module_serialized))

    @functools.cached_property
    def _programs(self) -> dict[Any, ClosedJaxpr]:
        return {}

    def _program(self, avals: tuple[Any, ...]) -> ClosedJaxpr:
        """The program for arguments of these types, from their leaves to the results."""
        found = self._programs.get(avals)
        if found is None:
            found = self._programs[avals] = _in_order(lambda: self._made(avals))
        return found

    def _made(self, avals: tuple[Any, ...]) -> ClosedJaxpr:
        kept = [avals[k] for k in self.module_kept_var_idx]
        first = [np.asarray(self._platform_index(), np.int32)] if len(self.platforms) > 1 else []
        closed = programs.program(self._module, [_plain_type(a) for a in kept], first)
        sizes = self._sizes(avals)
        outs = [_with_sizes(a, sizes) for a in self.out_avals]
        declared = [_plain_type(a) for a in outs]
        if [(a.shape, a.dtype) for a in closed.out_avals] != [(a.shape, a.dtype) for a in declared]:
            raise ModuleError("the module has results of other types than its file says")

        def flat(*leaves: Any) -> list[Any]:
            given = [_unwrapped(leaves[k]) for k in self.module_kept_var_idx]
            results = _bound(closed, given, self.fun_name)
            return [_wrapped(x, a) for x, a in zip(results, outs, strict=True)]

        return stage(flat, avals)

    def _platform_index(self) -> int:
        here = default_export_platform()
        return self.platforms.index(here) if here in self.platforms else 0

    @functools.cached_property
    def _function(self) -> Any:
        """The program as a function of flat arguments."""
        return _callable(self)

    def serialize(self, vjp_order: int = 0) -> bytearray:
        """The program as bytes, with its derivatives up to an order, in the format of
        `jax.export`."""
        return bytearray(container.write_file(_contents(self, vjp_order)))


def _in_order(make: Callable[[], Any]) -> Any:
    """What is made of a module from anywhere, whose errors are of one kind."""
    try:
        return make()
    except (UnsupportedError, ArtifactError):
        raise
    except RecursionError as error:
        raise ArtifactError("the module is nested too deeply") from error
    except Exception as error:
        # A ValueError of an assertion in the module is about the call.
        if type(error) is ValueError:
            raise
        raise ArtifactError(f"the module is not in order: {error}") from error


# --------------------------------------------------------------------------- types


def _plain_type(aval: Any) -> ShapedArray:
    """The type that a module has for values of an aval: keys are words."""
    if isinstance(aval.dtype, KeyDtype):
        return ShapedArray((*aval.shape, aval.dtype.words), np.dtype(np.uint32))
    if aval.dtype == dtypes.float0:
        return ShapedArray(aval.shape, dtypes.bool_)
    return ShapedArray(aval.shape, aval.dtype)


def _unwrapped(x: Any) -> Any:
    aval = aval_of(x)
    if isinstance(aval.dtype, KeyDtype):
        return rng.random_unwrap(x)
    return np.zeros(aval.shape, bool) if aval.dtype == dtypes.float0 else x


def _wrapped(x: Any, aval: Any) -> Any:
    if isinstance(aval.dtype, KeyDtype):
        return rng.random_wrap(x, impl=aval.dtype.tag)
    return np.zeros(aval.shape, dtypes.float0) if aval.dtype == dtypes.float0 else x


def _with_sizes(aval: Any, sizes: dict[str, int]) -> ShapedArray:
    return ShapedArray(tuple(evaluate(n, sizes) for n in aval.shape), aval.dtype)


def _inexact(aval: Any) -> bool:
    return dtypes.kind_of(aval.dtype) in "fc"


# --------------------------------------------------------------------------- calls


def _bound(closed: ClosedJaxpr, xs: Sequence[Any], name: str, inline: bool = False) -> list[Any]:
    """The results of a program, called as one equation."""
    return bind_jit(closed, xs, name, donated_invars=(), keep_unused=False, inline=inline)


def _apply(exported: Exported, leaves: Sequence[Any]) -> list[Any]:
    avals = tuple(aval_of(x).strip_weak_type() for x in leaves)
    return _bound(exported._program(avals), leaves, exported.fun_name)


def _callable(exported: Exported) -> Any:
    """The program as a function of flat arguments whose derivative is the exported one."""

    @custom_vjp
    def call(*leaves: Any) -> Any:
        return _apply(exported, leaves)

    def forward(*leaves: Any) -> Any:
        return _apply(exported, leaves), leaves

    def backward(leaves: Any, cts: Any) -> Any:
        outs = exported.vjp()._function(*leaves, *cts)
        return tuple(
            ct if _inexact(a) else None for ct, a in zip(outs, exported.in_avals, strict=True)
        )

    call.defvjp(forward, backward)
    return jit(call)


# --------------------------------------------------------------------------- export


def export(
    fun_jit: Wrapped,
    *,
    platforms: Sequence[str] | None = None,
    disabled_checks: Sequence[DisabledSafetyCheck] = (),
    _override_lowering_rules: Any = None,
) -> Callable[..., Exported]:
    """A function from arguments (or `ShapeDtypeStruct`s) to the exported program for their types.

    Lengths of axes may be symbolic (`symbolic_shape`).  With several platforms one program serves
    all of them.

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
        closed = traced.jaxpr
        source = _Source(
            closed,
            tuple(a.strip_weak_type() for a in closed.in_avals),
            tuple(range(len(closed.in_avals))),
            tuple(a.strip_weak_type() for a in closed.out_avals),
            tuple(range(len(closed.out_avals))),
        )
        return _exported(
            traced.fun_name,
            traced.in_tree,
            traced.out_tree,
            source,
            tuple(platforms or (default_export_platform(),)),
            tuple(disabled_checks),
        )

    return exported


@dataclass(frozen=True)
class _Source:
    """A program, and the types of which it takes and gives some: the others are trivial."""

    closed: ClosedJaxpr
    in_avals: tuple[ShapedArray, ...]
    taken: tuple[int, ...]
    out_avals: tuple[ShapedArray, ...]
    given: tuple[int, ...]

    def symbolic(self) -> bool:
        """Whether lengths of arguments are symbolic."""
        return any(is_symbolic(n) for a in self.in_avals for n in a.shape)


def _module_of(source: _Source, name: str, platforms: tuple[str, ...], kept: Any) -> str:
    """The text of the module, which takes words for keys, and nothing for trivial tangents."""
    closed = source.closed

    def flat(*xs: Any) -> list[Any]:
        words = dict(zip(kept, xs, strict=True))
        leaves = [
            _wrapped(words[k], source.in_avals[k])
            if k in words
            else np.zeros(source.in_avals[k].shape, dtypes.float0)
            for k in source.taken
        ]
        outs = _bound(closed, leaves, name, inline=True)
        found = dict(zip(source.given, outs, strict=True))
        return [
            _unwrapped(found[k]) if k in found else _nothing(a)
            for k, a in enumerate(source.out_avals)
        ]

    whole = stage(flat, [_plain_type(source.in_avals[k]) for k in kept])
    chosen = platforms[0] if len(platforms) == 1 else ""
    several = platforms if len(platforms) > 1 else ()
    simple = whole if source.symbolic() else simplify.simplify(whole)
    module = _emit.emit_module(simple, name, platform=chosen, platforms=several)
    return str(module.text)


def _refuse_host(jaxpr: Jaxpr, name: str) -> None:
    """Raise UnsupportedError where a program calls code of this process."""
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in HOST:
            raise UnsupportedError(
                f"{name} cannot be exported: {eqn.primitive} calls code of this process"
            )
        for inner in subjaxprs(eqn):
            _refuse_host(inner, name)


def _nothing(aval: Any) -> Any:
    """What modules have for a trivial tangent."""
    return rearrange.broadcast_in_dim(
        np.False_, shape=aval.shape, broadcast_dimensions=(), sharding=None
    )


def _exported(
    name: str,
    in_tree: Any,
    out_tree: Any,
    source: _Source,
    platforms: tuple[str, ...],
    disabled: tuple[DisabledSafetyCheck, ...],
) -> Exported:
    _refuse_host(source.closed.jaxpr, name)
    effects = source.closed.effects
    if effects:
        raise UnsupportedError(f"{name} has the effects {set(effects)}: not exported")
    kept = tuple(k for k in source.taken if source.in_avals[k].dtype != dtypes.float0)

    @functools.cache
    def derivative() -> Exported:
        return _derivative(name, source, platforms, disabled)

    return Exported(
        fun_name=name,
        in_tree=in_tree,
        in_avals=source.in_avals,
        out_tree=out_tree,
        out_avals=source.out_avals,
        platforms=platforms,
        disabled_safety_checks=disabled,
        mlir_module_serialized=_module_of(source, name, platforms, kept).encode(),
        module_kept_var_idx=kept,
        uses_global_constants=source.symbolic() or len(platforms) > 1,
        _get_vjp=derivative,
    )


def _derivative(name: str, source: _Source, platforms: Any, disabled: Any) -> Exported:
    """The reverse derivative of a program, custom rules used."""
    closed, n = source.closed, len(source.taken)
    ins = [k for k in range(n) if _inexact(closed.in_avals[k])]
    outs = [k for k, a in enumerate(closed.out_avals) if _inexact(a)]

    def backward(*flat: Any) -> Sequence[Any]:
        leaves, cts = list(flat[:n]), flat[n:]

        def part(*chosen: Any) -> Any:
            whole = list(leaves)
            for k, x in zip(ins, chosen, strict=True):
                whole[k] = x
            results = _bound(closed, whole, name)
            return [results[k] for k in outs]

        return list(vjp(part, *[leaves[k] for k in ins])[1](list(cts)))

    types = [a.strip_weak_type() for a in (*closed.in_avals, *[closed.out_avals[k] for k in outs])]
    first = len(source.in_avals)
    made = _Source(
        stage(backward, types),
        (*source.in_avals, *[a.to_cotangent_aval() for a in source.out_avals]),
        (*source.taken, *[first + source.given[k] for k in outs]),
        tuple(a.to_cotangent_aval() for a in source.in_avals),
        tuple(source.taken[k] for k in ins),
    )
    in_tree = tree.structure((tuple([0] * len(made.in_avals)), {}))
    out_tree = tree.structure(tuple([0] * first))
    return _exported(f"{name}_vjp", in_tree, out_tree, made, platforms, disabled)


# --------------------------------------------------------------------------- files


def _contents(exported: Exported, vjp_order: int) -> Contents:
    return Contents(
        fun_name=exported.fun_name,
        in_tree=exported.in_tree,
        in_avals=exported.in_avals,
        out_tree=exported.out_tree,
        out_avals=exported.out_avals,
        platforms=exported.platforms,
        ordered_effects=exported.ordered_effects,
        unordered_effects=exported.unordered_effects,
        disabled=tuple(check._impl for check in exported.disabled_safety_checks),
        module=exported.mlir_module_serialized,
        version=exported.calling_convention_version,
        kept=exported.module_kept_var_idx,
        uses_global_constants=exported.uses_global_constants,
        nr_devices=exported.nr_devices,
        vjp=_contents(exported.vjp(), vjp_order - 1) if vjp_order > 0 else None,
    )


def deserialize(blob: bytes | bytearray) -> Exported:
    """The exported function in bytes that `Exported.serialize`, ours or JAX's, made.

    Bytes may come from anywhere: nothing is executed or imported while they are read, sizes are
    bounded by those of the bytes, and a file that is not in order is an `ArtifactError`; what is
    wrong in its module is one when the function is called.

    >>> deserialize(b"else")
    Traceback (most recent call last):
    ...
    pullback.runtime.artifact.ArtifactError: no exported function: these bytes are too few
    """
    if len(blob) > MAX_BYTES:
        raise ArtifactError(f"a file of {len(blob)} bytes: at most {MAX_BYTES} are read")
    try:
        contents = container.read_file(bytes(blob))
    except (ValueError, TypeError, RecursionError) as error:
        raise ArtifactError(f"no exported function: {error}") from error
    return _from_contents(contents)


def _from_contents(c: Contents) -> Exported:
    made = None if c.vjp is None else _from_contents(c.vjp)
    return Exported(
        fun_name=c.fun_name,
        in_tree=c.in_tree,
        in_avals=c.in_avals,
        out_tree=c.out_tree,
        out_avals=c.out_avals,
        platforms=c.platforms,
        disabled_safety_checks=tuple(map(DisabledSafetyCheck, c.disabled)),
        mlir_module_serialized=c.module,
        module_kept_var_idx=c.kept,
        uses_global_constants=c.uses_global_constants,
        ordered_effects=c.ordered_effects,
        unordered_effects=c.unordered_effects,
        nr_devices=c.nr_devices,
        calling_convention_version=c.version,
        _get_vjp=None if made is None else (lambda: made),
    )


def import_stablehlo(module: str | bytes, name: str = "main") -> Callable[..., list[Any]]:
    """A function of a StableHLO module, from text or from a portable artifact.

    It takes and returns flat arrays, of the types that the module declares, and is made of our own
    operations: it can be compiled, differentiated, mapped.  Only JAX has no name for this.

    >>> import pullback.numpy as jnp
    >>> square = import_stablehlo('''
    ...     func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
    ...       %0 = stablehlo.multiply %x, %x : tensor<2xf32>
    ...       return %0 : tensor<2xf32>
    ...     }''')
    >>> square(jnp.array([2.0, 3.0]))
    [Array([4., 9.], dtype=float32)]
    """
    data = module.encode() if isinstance(module, str) else bytes(module)
    operation = _in_order(lambda: programs.read_module(data))
    made: dict[Any, ClosedJaxpr] = {}

    def call(*xs: Any) -> list[Any]:
        avals = tuple(aval_of(x).strip_weak_type() for x in xs)
        if avals not in made:
            made[avals] = _in_order(lambda: programs.program(operation, avals, name=name))
        return _bound(made[avals], xs, name)

    return call
