"""Programs and arrays on a device behind PJRT: what `jit` uses while a platform is chosen.

    PULLBACK_PLATFORM=cuda python train.py        jitted functions run on the plugin's first device

A jitted program is simplified, written as StableHLO (hlo/emit), compiled by the plugin and run on
buffers of the device.  Its results stay there: an array keeps its buffer in a table beside the
object, and its elements come to the host when something asks for them.  An argument that is on the
host is sent once, and the array remembers its copy on the device.  Eager operations, and programs
that read and write references, run on the host.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback import config, monitoring
from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import ClosedJaxpr, Literal
from pullback.lazy import LazyModule
from pullback.passes import simplify
from pullback.runtime import cache
from pullback.runtime.array import (
    ArrayImpl,
    from_numpy,
    make_remote_array,
    remember_remote,
    remote_of,
)

__all__ = ["DeviceProgram", "active", "compile_for_device", "device_put"]

_emit: Final = LazyModule("pullback.hlo.emit")
_pjrt: Final = LazyModule("pullback.hlo.pjrt")


def active() -> bool:
    """Whether jitted functions run on a plugin's device."""
    return bool(config.platform())


class DeviceProgram:
    """A compiled program, and which of its results need none."""

    def __init__(
        self,
        program: Any,
        name: str,
        constants: Sequence[Any],
        outputs: Sequence[tuple[str, Any]],
        used: Sequence[int],
        avals: Sequence[ShapedArray],
        donated: Sequence[int],
    ) -> None:
        self._program = program
        self.name = name
        self._constants = list(constants)
        self._outputs = list(outputs)
        self._used = list(used)
        self._avals = list(avals)
        self.donated = list(donated)
        """Arguments that a call deletes."""
        self.backend = program.backend
        self._all_computed = all(kind == "computed" for kind, _ in outputs)

    def __call__(self, arrays: Sequence[ArrayImpl]) -> list[ArrayImpl]:
        """Run on arrays of the types it was compiled for."""
        backend = self.backend
        buffers = [
            remote_of(x, backend) or put(x, backend) for x in map(arrays.__getitem__, self._used)
        ]
        made = self._program(self._constants + buffers if self._constants else buffers)
        if self._all_computed:
            outs = list(map(make_remote_array, made, self._avals))
        else:
            rest = iter(made)
            outs = [
                make_remote_array(next(rest), aval)
                if kind == "computed"
                else (arrays[what] if kind == "argument" else what)
                for (kind, what), aval in zip(self._outputs, self._avals, strict=True)
            ]
        if not self.donated:
            return outs
        kept = {id(x) for x in outs}
        for i in self.donated:
            if id(arrays[i]) not in kept:
                arrays[i].delete()
        return outs

    @property
    def executable(self) -> Any:
        """The plugin's own object."""
        return self._program.executable


def put(x: ArrayImpl, backend: Any) -> Any:
    """The buffer of an array on the device, which the array remembers."""
    buffer = backend.put(x._data)
    remember_remote(x, buffer)
    return buffer


def compile_for_device(
    closed: ClosedJaxpr, *, name: str, donated: Sequence[bool] = (), platform: str = ""
) -> DeviceProgram:
    """The program of a jaxpr on the first device of a platform, by default of the chosen one."""
    backend = _pjrt.open_backend(platform or config.platform())
    with monitoring.timed(monitoring.LOWER, fun_name=name):
        simple = simplify.simplify(closed)
        outputs, computed = _outputs(simple, closed.out_avals)
        jaxpr = simple.jaxpr
        needed = {v for eqn in jaxpr.eqns for v in eqn.invars if type(v) is not Literal}
        needed |= {jaxpr.outvars[i] for i in computed}
        used = [i for i, v in enumerate(jaxpr.invars) if v in needed]
        returned = {what for kind, what in outputs if kind == "argument"}
        given = [bool(donated) and bool(donated[i]) and i not in returned for i in used]
        program = ClosedJaxpr(
            jaxpr.replace(
                invars=[jaxpr.invars[i] for i in used],
                outvars=[jaxpr.outvars[i] for i in computed],
            ),
            simple.consts,
        )
        module = _emit.emit_module(
            program, name, platform=backend.lowering_platform, donated=given, hoist_constants=True
        )
    types = [_emit.physical_type(closed.out_avals[i]) for i in computed]
    aliased = [len(module.constants) + k for k in module.aliased]
    with monitoring.timed(monitoring.COMPILE, fun_name=name):
        loaded = _cached(backend, module.text, types, aliased)
    return DeviceProgram(
        loaded,
        name,
        [backend.put(c) for c in module.constants],
        outputs,
        used,
        closed.out_avals,
        [i for i, g in enumerate(donated) if g],
    )


def _cached(backend: Any, text: str, types: Sequence[Any], aliased: Sequence[int]) -> Any:
    """The program of a module, from the disk cache if it is there."""
    key = hashlib.sha256(f"{backend.version}\0{text}".encode()).digest()
    found = cache.get(key)
    monitoring.record_event(monitoring.CACHE_REQUEST)
    monitoring.record_event(monitoring.CACHE_MISS if found is None else monitoring.CACHE_HIT)
    kept = None if found is None else backend.load(found.payload, types, donated=aliased)
    if kept is not None:
        return kept
    start = time.perf_counter()
    loaded = backend.compile(text, types, donated=aliased)
    if time.perf_counter() - start >= config.persistent_cache_min_compile_time_secs():
        code = loaded.serialize()
        if code is not None and len(code) >= config.persistent_cache_min_entry_size_bytes():
            cache.put(key, cache.CacheEntry(code, {}))
    return loaded


def _outputs(
    closed: ClosedJaxpr, avals: Sequence[ShapedArray]
) -> tuple[list[tuple[str, Any]], list[int]]:
    """Where each result comes from, and the numbers of those that are computed."""
    jaxpr = closed.jaxpr
    arguments = {v: i for i, v in enumerate(jaxpr.invars)}
    found: list[tuple[str, Any]] = []
    computed = []
    for i, (v, aval) in enumerate(zip(jaxpr.outvars, avals, strict=True)):
        if type(v) is Literal:
            found.append(("known", from_numpy(np.asarray(v.val), aval)))
        elif v in arguments and v.aval is aval:
            found.append(("argument", arguments[v]))
        else:
            found.append(("computed", None))
            computed.append(i)
    return found, computed


def device_put(x: ArrayImpl) -> ArrayImpl:
    """The array, with its elements on the device."""
    backend = _pjrt.open_backend(config.platform())
    if remote_of(x, backend) is None:
        put(x, backend)
    return x
