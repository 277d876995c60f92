"""`jit` for users: a function that is traced and compiled once per type of its arguments.

A call with types seen before does not come here at all: the native call path of `llvm.entry` takes
it.  `_miss` is everything else: new types, traced arguments, overridden configuration.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

import numpy as np

from pullback import config, monitoring, tree
from pullback.control.jit import jit as jit_primitive
from pullback.core import axes, dtypes
from pullback.core.avals import aval_of
from pullback.core.devices import CPU
from pullback.core.jaxpr import DebugInfo, eval_jaxpr
from pullback.core.refs import check_aliases, is_concrete_ref, unwrapped
from pullback.core.sharding import SingleDeviceSharding, check_fits
from pullback.core.source import Description, describe_function
from pullback.core.structs import ShapeDtypeStruct
from pullback.core.trace import EVAL, Tracer, current_trace
from pullback.llvm.entry import (
    Entry,
    FastCallable,
    LeafSpec,
    array_leaf,
    make_entry,
    ndarray_leaf,
    numpy_scalar_leaf,
    scalar_leaf,
    trim_memory,
)
from pullback.llvm.entry_spec import Out
from pullback.passes import explicit
from pullback.runtime import (
    accelerator,
    device_calls,
    executables,
    index_checks,
    key_reuse,
    nan_checks,
    programs,
    spread,
    stages,
)
from pullback.runtime.array import ArrayImpl, is_here, make_array, place
from pullback.runtime.compile import Executable
from pullback.runtime.dispatch import to_array, to_host
from pullback.runtime.explain import log_new_program, warn_of_constants
from pullback.runtime.jit_options import Options, resolve
from pullback.runtime.placement import constrained, places_of
from pullback.runtime.stages import is_simple
from pullback.runtime.statics import hashable, with_static
from pullback.runtime.structures import MISSED, Entries, FlatCalls
from pullback.runtime.traced import Program
from pullback.transforms.arguments import (
    FlatFunction,
    check_callable,
    function_name,
    is_operand,
    refuse_arguments,
    shaped,
)
from pullback.transforms.staging import forget_types, stage

__all__ = ["JitFunction", "jit"]

PROGRAMS_PER_FUNCTION: Final = 512
ENTRIES_PER_FUNCTION: Final = 32
ENTRIES_PER_PROGRAM: Final = 4
"""Of one function, by static values that are equal, but not the same objects."""
_PYTHON_SCALARS: Final = (bool, int, float, complex)


@dataclass(slots=True)
class _Call:
    """The arguments of one call, taken apart."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    static: tuple[Any, ...]
    leaves: list[Any]
    in_tree: Any

    def path_of(self, i: int) -> str:
        """How users write an argument."""
        args, kwargs = self.in_tree.unflatten(range(len(self.leaves)))
        for path, number in tree.leaves_with_path((args, kwargs)):
            if number == i:
                return ("args" if path[0].idx == 0 else "kwargs") + tree.keystr(path[1:])
        raise IndexError(i)


class JitFunction(FastCallable):
    """A jitted function; made by `jit`."""

    __slots__ = ("__dict__", "__weakref__", "_flat_calls", "_fun", "_options", "_programs")

    def __init__(self, fun: Callable[..., Any], options: Options) -> None:
        self._fun = fun
        self._options = options
        self._in_shardings = self._out_shardings = None
        self._programs = _shared_programs(fun, options)
        self._flat_calls = FlatCalls()
        functools.update_wrapper(self, fun)
        _functions.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._fun!r}>"

    @property
    def __signature__(self) -> inspect.Signature:
        """The signature of the function, for `inspect`."""
        try:
            return inspect.signature(self._fun)
        except (TypeError, ValueError) as error:
            raise AttributeError(str(error)) from None

    # -------------------------------------------------------------- calls

    def _miss(self, *args: Any, **kwargs: Any) -> Any:
        """A call that no entry fits."""
        if config.disable_jit():
            return self._fun(*args, **kwargs)
        call = self._take_apart(args, kwargs)
        if not config.ACTIVE:
            out = self._flat_calls.call((call.in_tree, call.static), call.leaves)
            if out is not MISSED:
                return out
        if current_trace() is EVAL:
            return self._evaluate(call)
        traced = self._trace(call)
        opened, consts = traced.call_jaxpr
        if traced.with_refs:
            check_aliases(f"jit of {traced.name}", consts, call.leaves)
        if self._options.inline:
            outs = eval_jaxpr(opened.jaxpr, [], *consts, *call.leaves)
            return traced.out_tree.unflatten(outs)
        outs = jit_primitive.bind(
            *consts,
            *call.leaves,
            jaxpr=opened,
            name=traced.name,
            donated_invars=(),
            keep_unused=self._options.keep_unused,
            inline=self._options.inline,
        )
        if self._out_shardings is not None:
            asked = self._asked_shardings(call, traced)[1]
            outs = [constrained(x, s) for x, s in zip(outs, asked, strict=True)]
        return traced.out_tree.unflatten(outs)

    def _evaluate(self, call: _Call) -> Any:
        for x in call.leaves:
            if isinstance(x, Tracer):
                to_array(x)  # raises: the tracer leaked
        traced = self._trace(call)
        if config.no_execution():
            raise RuntimeError(
                f"the function jit({traced.name}) would be executed, but 'no_execution' is set"
            )
        if traced.with_refs:
            return traced.out_tree.unflatten(_run_with_refs(traced, call.leaves))
        arrays = [x if type(x) is ArrayImpl else to_array(x) for x in call.leaves]
        if config.debug_key_reuse():
            key_reuse.check_program(traced.closed, arrays)
        device, committed = self._options.device or CPU, self._options.device is not None
        if not committed and accelerator.is_possible():
            again = device_calls.again(traced, arrays)
            if again is not None:
                return traced.out_tree.unflatten(again)
            device, committed = accelerator.place_of(arrays, call.path_of)
        if device is not CPU:
            options = self._options.compiler_options
            away = device_calls.run(traced, call.leaves, arrays, device, committed, options)
            return traced.out_tree.unflatten(away)
        arrays = [x if is_here(x) else to_host(x) for x in arrays]
        is_spread = spread.wanted() or self._is_spread(traced)
        places = self._shardings(call, traced)[1] if is_spread else None
        executable = traced.compiled()
        if not _is_watched() and places is None:
            found = self._enter(call, traced, executable)
            if found is not MISSED:
                return found
        outs = _run(traced, executable, call.leaves, arrays)
        if committed and accelerator.is_default():
            outs = [place(x, SingleDeviceSharding(CPU)) for x in outs]
        if places is not None:
            outs = spread.settled(outs, places)
        return traced.out_tree.unflatten(outs)

    def _enter(self, call: _Call, traced: Program, executable: Executable) -> Any:
        """The call by the native path, which takes later ones by itself; MISSED where it cannot."""
        entry = self._add_entry(call, traced, executable)
        if entry is None or not entry.native:
            return MISSED
        with monitoring.timed(monitoring.EXECUTE, fun_name=traced.name):
            return Entries(entry)(*call.args, **call.kwargs)

    def _is_spread(self, traced: Program) -> bool:
        """Whether results have shardings whatever the arguments are."""
        return (
            self._in_shardings is not None
            or self._out_shardings is not None
            or spread.mesh_of(traced.closed) is not None
        )

    def _shardings(self, call: _Call, traced: Program) -> tuple[list[Any], list[Any]]:
        """The shardings of arguments and results; None for those that are nowhere in particular."""
        arguments = [spread.sharding_of(x) for x in call.leaves]
        if not (any(arguments) or spread.wanted() or self._is_spread(traced)):
            return arguments, [None] * len(traced.closed.out_avals)
        asked = self._asked_shardings(call, traced)
        flow = spread.flow_of(traced.closed)
        if self._options.keep_unused:
            flow = flow.with_all(len(arguments))
        ndims = [a.ndim for a in traced.closed.in_avals], [a.ndim for a in traced.closed.out_avals]
        consts = [spread.spec_of(c) for c in traced.closed.consts]
        jaxpr = traced.closed.jaxpr
        typed = functools.partial(explicit.specs_of_results, jaxpr, consts=consts)
        return spread.shardings_of_program(flow, arguments, ndims, typed, asked)

    def _add_entry(self, call: _Call, traced: Program, executable: Executable) -> Entry | None:
        """Let the native path take calls with these types; None where it cannot."""
        traced.entries[:] = [(of, entry) for of, entry in traced.entries if entry() is not None]
        if call.static and sum(of() is self for of, _ in traced.entries) >= ENTRIES_PER_PROGRAM:
            return None  # static values that are made anew for each call
        leaves = [_leaf_spec(x) for x in call.leaves]
        deleted = _deleted(traced, call.leaves)
        if any(leaf is None for leaf in leaves) or _returns_no_array(executable, call.leaves):
            return None
        nodes = _argument_nodes(call, self._options)
        args, kwargs = nodes or ([("leaf",)] * len(leaves), [])
        out_tree = traced.out_tree.as_spec()
        simple = is_simple(out_tree)
        spec = executable.entry_spec(
            args=args,
            kwargs=kwargs,
            leaves=[leaf for leaf in leaves if leaf is not None],
            tree=out_tree if simple else None,
            finish=None if simple else traced.out_tree.unflatten,
            deleted=deleted,
        )
        entry = make_entry(spec)
        if nodes is None:
            flat = self._flat_calls.add((call.in_tree, call.static), entry)
            traced.entries.append((weakref.ref(flat), weakref.ref(entry)))
            return None  # the call itself has arguments that are no leaves
        if len(self.entries) >= ENTRIES_PER_FUNCTION:
            self.remove_entry(self.entries[-1])
        self.add_entry(entry)
        traced.entries.append((weakref.ref(self), weakref.ref(entry)))
        return entry

    # -------------------------------------------------------------- tracing

    def _take_apart(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
        options = self._options
        static: list[Any] = []
        dynamic = args
        if options.static_argnums:
            nums = {i % len(args) for i in options.static_argnums if -len(args) <= i < len(args)}
            static = [(i, hashable(self._fun, args[i], i)) for i in sorted(nums)]
            dynamic = tuple(None if i in nums else x for i, x in enumerate(args))
        named = kwargs
        if options.static_argnames:
            names = [n for n in options.static_argnames if n in kwargs]
            static += [(n, hashable(self._fun, kwargs[n], n)) for n in sorted(names)]
            named = {k: v for k, v in kwargs.items() if k not in names}
        return _Call(args, kwargs, tuple(static), *tree.flatten((dynamic, named)))

    def _trace(self, call: _Call, to_aval: Callable[[Any], Any] = aval_of) -> Program:
        avals = []
        for x in call.leaves:
            try:
                avals.append(to_aval(x))
            except TypeError:
                self._refuse(call)
        key = (call.in_tree, tuple(avals), call.static, config.fingerprint(), axes.environment())
        found = self._programs.get(key)
        if found is not None:
            self._programs.move_to_end(key)
            return found
        if config.explain_cache_misses() or config.log_compiles():
            log_new_program(describe_function(self._fun), key, self._programs)
        traced = self._stage(call, avals)
        if not any(isinstance(c, Tracer) for c in traced.closed.consts):
            self._programs[key] = traced
            traced.home = weakref.ref(self._programs), key
            if len(self._programs) > PROGRAMS_PER_FUNCTION:
                self._programs.popitem(last=False)
        return traced

    def _refuse(self, call: _Call) -> None:
        """Raise for the argument that is no array, saying which it is."""
        args, kwargs = call.in_tree.unflatten(call.leaves)
        refuse_arguments(self._fun, args, kwargs, is_operand)

    def _stage(self, call: _Call, avals: Sequence[Any]) -> Program:
        if config.no_tracing():
            raise RuntimeError(
                f"re-tracing function {describe_function(self._fun)} for `jit`, but 'no_tracing' "
                "is set"
            )
        fun = self._fun if not call.static else with_static(self._fun, call.static)
        flat = FlatFunction(fun, call.in_tree)
        name = function_name(self._fun)
        info = DebugInfo("jit", name)
        with monitoring.timed(monitoring.TRACE, fun_name=name):
            closed = stage(flat, avals, description=Description(self._fun, "jit"), debug_info=info)
        warn_of_constants(describe_function(self._fun), closed)
        donated = _donated(self._options, call)
        return Program(name, closed, call.in_tree, flat.out_tree, donated)

    # -------------------------------------------------------------- ahead of time, caches

    def trace(self, *args: Any, **kwargs: Any) -> stages.Traced:
        """Trace for arguments of these types, which may be `ShapeDtypeStruct`s.

        >>> import pullback as pb, pullback.numpy as jnp
        >>> pb.jit(lambda x: 2 * x).trace(jnp.ones(3)).out_info
        ShapeDtypeStruct(shape=(3,), dtype=float32)
        """
        call = self._take_apart(args, kwargs)
        traced = self._trace(call, shaped)
        places = self._shardings(call, traced)
        positions = tuple(i for i, _ in call.static if isinstance(i, int))
        signature = stages.Signature(
            traced.name,
            traced.closed,
            traced.in_tree,
            traced.out_tree,
            positions,
            traced.donated,
            *self._asked_shardings(call, traced),
            places=places if any(map(any, places)) else ((), ()),
        )
        compiler = stages.Compiler(traced.loaded, traced.on_device, self._options.device)
        return stages.Traced(signature, compiler)

    def _asked_shardings(self, call: _Call, traced: Program) -> tuple[Any, Any]:
        """The shardings that types of arguments, and options, ask for; empty if none does."""
        types = [x.sharding if type(x) is ShapeDtypeStruct else None for x in call.leaves]
        where = self._in_shardings, self._out_shardings
        if where == (None, None) and not any(types):
            return (), ()
        args, _ = call.in_tree.unflatten(call.leaves)
        statics = [i for i, _ in call.static]
        dynamic = tuple(x for i, x in enumerate(args) if i not in statics)
        results = traced.out_tree.unflatten([0] * len(traced.closed.out_avals))
        if where[0] is not None and call.kwargs:
            raise ValueError("pjit does not support kwargs when in_shardings is specified.")
        _, _, of_args = places_of(dynamic, where[0], "jit: in_shardings")
        _, _, of_results = places_of(results, where[1], "jit: out_shardings")
        for i, (sharding, aval) in enumerate(zip(of_args, traced.closed.in_avals, strict=False)):
            if sharding is not None:
                what = f"One of pjit arguments with pytree key path {call.path_of(i)}"
                check_fits(sharding, aval.shape, what)
        for sharding, aval in zip(of_results, traced.closed.out_avals, strict=True):
            if sharding is not None:
                check_fits(sharding, aval.shape, "One of pjit outputs")
        asked = [x or y for x, y in zip_longest(types, of_args)]
        return tuple(asked), tuple(of_results)

    def lower(
        self,
        *args: Any,
        _experimental_lowering_platform: Any = None,
        **kwargs: Any,
    ) -> stages.Lowered:
        """Trace and lower for arguments of these types.

        >>> import pullback as pb, pullback.numpy as jnp
        >>> compiled = pb.jit(lambda x: 2 * x).lower(jnp.ones(3)).compile()
        >>> compiled(jnp.ones(3)).tolist()
        [2.0, 2.0, 2.0]
        """
        return self.trace(*args, **kwargs).lower()

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Shapes and dtypes of the result, without computing it."""
        return self.trace(*args, **kwargs).out_info

    def clear_cache(self) -> None:
        """Forget the programs of this function."""
        self._programs.clear()
        self.clear_entries()

    def clear_entries(self) -> None:
        """Forget all native entries."""
        super().clear_entries()
        self._flat_calls.clear()

    def _cache_size(self) -> int:
        return len(self._programs)


_functions: weakref.WeakSet[JitFunction] = weakref.WeakSet()
_by_function: weakref.WeakKeyDictionary[Any, dict[Options, OrderedDict[Any, Program]]] = (
    weakref.WeakKeyDictionary()
)


def _shared_programs(fun: Any, options: Options) -> OrderedDict[Any, Program]:
    """The programs of a function: the same for every `jit` of the same function."""
    if not inspect.isfunction(fun):
        return OrderedDict()
    return _by_function.setdefault(fun, {}).setdefault(options, OrderedDict())


def clear_caches() -> None:
    """Forget all compiled programs of the process; the disk cache stays."""
    for function in list(_functions):
        function.clear_cache()
    _by_function.clear()
    executables.forget_all()
    accelerator.forget_programs()
    programs.forget_structures()
    forget_types()
    trim_memory()


def _forget_entries() -> None:
    for function in list(_functions):
        function.clear_entries()


config.on_update(_forget_entries)


def _with_arrays(leaves: Sequence[Any]) -> list[Any]:
    """The arguments of a program with references: these and arrays."""
    return [x if is_concrete_ref(x) else to_array(x) for x in unwrapped(list(leaves))]


def _run_with_refs(traced: Program, leaves: Sequence[Any]) -> list[Any]:
    """The results of a program that reads and writes references."""
    check_aliases(f"jit of {traced.name}", traced.closed.consts, leaves)
    check = nan_checks.check_program if nan_checks.wanted() else None
    run = traced.checked if index_checks.wanted() else None
    outs: list[Any] = traced.ref_program(_with_arrays(leaves), check, run)
    return outs


def _run(
    traced: Program, executable: Executable, leaves: Sequence[Any], arrays: Sequence[ArrayImpl]
) -> list[Any]:
    """The results of a program by the Python route; arguments given away are gone after it."""
    deleted = _deleted(traced, leaves)
    arrays = _without_hosts(executable, leaves, arrays)
    outs: Any = MISSED
    with monitoring.timed(monitoring.EXECUTE, fun_name=traced.name):
        if deleted and config.LOOKERS and not nan_checks.wanted():
            outs = _donating(traced, executable, deleted)(*arrays)
        if outs is MISSED:
            outs = (traced.checked if index_checks.wanted() else executable)(arrays)
    if nan_checks.wanted():
        nan_checks.check_program(traced.closed, traced.name, arrays, outs)
    for i in deleted:
        leaves[i].delete()
    results: list[Any] = outs
    return results


def _donated(options: Options, call: _Call) -> tuple[bool, ...]:
    if not options.donate_argnums and not options.donate_argnames:
        return ()
    args, kwargs = call.in_tree.unflatten([False] * len(call.leaves))
    n = len(args)
    nums = {i % n for i in options.donate_argnums if -n <= i < n}
    marked_args = tuple(tree.map(lambda _, d=i in nums: d, x) for i, x in enumerate(args))
    marked_kwargs = {
        k: tree.map(lambda _, d=k in options.donate_argnames: d, v) for k, v in kwargs.items()
    }
    return tuple(tree.leaves((marked_args, marked_kwargs)))


def _is_watched() -> bool:
    """Whether calls take the Python route, for somebody who looks at each."""
    return bool(
        config.ACTIVE
        or index_checks.wanted()
        or nan_checks.wanted()
        or config.debug_key_reuse()
        or accelerator.is_default()
    )


def _deleted(traced: Program, leaves: Sequence[Any]) -> list[int]:
    """Leaves whose buffers are given away by a call."""
    return [i for i, gone in enumerate(traced.donated) if gone and type(leaves[i]) is ArrayImpl]


def _donating(traced: Program, executable: Executable, deleted: Sequence[int]) -> Any:
    """What runs a program, and lets results take the memory of arguments that are given away."""
    if index_checks.wanted():
        return lambda *_: MISSED
    found = traced.donating
    if found is None or found[0] is not executable or found[1] != tuple(deleted):
        spec = executable.entry_spec(
            args=[("leaf",)] * len(executable.in_avals),
            leaves=[array_leaf(a) for a in executable.in_avals],
            tree=("list", [("leaf",)] * len(executable.outputs)),
            active=[],
            deleted=deleted,
        )
        found = traced.donating = executable, tuple(deleted), Entries(make_entry(spec))
    return found[2]


def _returns_no_array(executable: Executable, leaves: Sequence[Any]) -> bool:
    """Whether a result is an argument that came as something else than an Array of ours."""
    return any(
        out.origin is Out.INPUT and type(leaves[out.source]) is not ArrayImpl
        for out in executable.outputs
    )


def _without_hosts(
    executable: Executable, leaves: Sequence[Any], arrays: Sequence[ArrayImpl]
) -> list[ArrayImpl]:
    """The operands; NumPy arrays that are results as well are copied: their owner may write."""
    returned = {o.source for o in executable.outputs if o.origin is Out.INPUT}
    return [
        make_array(x._data.copy(), x.aval) if i in returned and isinstance(leaf, np.ndarray) else x
        for i, (x, leaf) in enumerate(zip(arrays, leaves, strict=True))
    ]


def _leaf_spec(x: Any) -> LeafSpec | None:
    if type(x) is ArrayImpl:
        return array_leaf(x.aval)
    if type(x) in _PYTHON_SCALARS:
        return scalar_leaf(type(x), dtypes.python_scalar_dtype(type(x), x))
    if isinstance(x, np.generic):
        aval = aval_of(x)
        return (
            numpy_scalar_leaf(x.dtype)
            if aval.dtype == x.dtype and type(x) is x.dtype.type
            else None
        )
    if type(x) is np.ndarray:
        return ndarray_leaf(x.dtype, x.shape) if aval_of(x).dtype == x.dtype else None
    return None


def _argument_nodes(call: _Call, options: Options) -> tuple[list[Any], list[Any]] | None:
    """The structure of the arguments for the native path, or None where it cannot say it."""
    args, kwargs = call.in_tree.as_spec()[1]
    if not is_simple(args) or not is_simple(kwargs):
        return None
    nodes = list(args[1])
    for i, _ in call.static:
        if isinstance(i, int):
            nodes[i] = ("static", call.args[i])
    named = dict(zip(kwargs[1], kwargs[2], strict=True))
    for n, _ in call.static:
        if isinstance(n, str):
            named[n] = ("static", call.kwargs[n])
    return nodes, sorted(named.items())


def jit(
    fun: Any = None,
    /,
    *,
    in_shardings: Any = None,
    out_shardings: Any = None,
    static_argnums: int | Sequence[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnums: int | Sequence[int] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    keep_unused: bool = False,
    device: Any = None,
    backend: str | None = None,
    inline: bool = False,
    compiler_options: Any = None,
) -> Any:
    """Compile a function: it is traced once per type of its arguments, then runs as machine code.

    Arguments are pytrees of arrays and scalars; `static_argnums`/`static_argnames` name those that
    are Python values, which the program is specialised on (hashable). Usable as a decorator, with
    or without options. `device` or `backend` says where the function runs; by default it is where
    its arguments were put, or else the default device. `compiler_options` are for the compiler of a
    plugin (XLA's, by name); our own has none.

    >>> import pullback as pb, pullback.numpy as jnp
    >>> @pb.jit
    ... def f(x):
    ...     return jnp.sum(x ** 2)
    >>> float(f(jnp.arange(3.0)))
    5.0
    """
    if fun is None:
        options = {k: v for k, v in locals().items() if k not in ("fun",)}
        return functools.partial(jit, **options)
    check_callable(fun, "jit")
    statics = resolve(fun, static_argnums, static_argnames, "static")
    donated = resolve(fun, donate_argnums, donate_argnames, "donate")
    both = sorted({*map(str, statics[0]), *statics[1]} & {*map(str, donated[0]), *donated[1]})
    if both:
        raise ValueError(
            "static_argnames and donate_argnames cannot intersect. Arguments "
            f"{', '.join(both)} of {describe_function(fun)} appear in both"
        )
    for name, given in (("in_shardings", in_shardings), ("out_shardings", out_shardings)):
        if given is not None and (device is not None or backend is not None):
            raise ValueError(
                f"If backend or device is specified on jit, then {name} should not be specified."
            )
    where = device_calls.chosen_device(device, backend)
    chosen = tuple(sorted(dict(compiler_options or {}).items()))
    made = JitFunction(
        fun, Options(*statics, *donated, bool(keep_unused), bool(inline), where, chosen)
    )
    made._in_shardings, made._out_shardings = in_shardings, out_shardings
    return made
