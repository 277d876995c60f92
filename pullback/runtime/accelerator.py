"""Programs on the devices of PJRT plugins: what `jit`, and eager operations, use there.

    PULLBACK_PLATFORM=cuda python train.py        programs run on the plugin's first device

A program runs where its committed arguments are (`device_put`), otherwise on the default device.
It is simplified, written as StableHLO (hlo/emit), compiled by the plugin and run on buffers of the
device.  Its results stay there.  An argument that is on the host is sent once, and the array
remembers its copy on the device.  Eager operations run on the device if an operand lives there, or
if they are programs or large: one compiled program for each operation and types.  Programs that
read and write references run on the host.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pullback import config, monitoring
from pullback.core.avals import ShapedArray
from pullback.core.devices import Client, Device, default_device, open_client
from pullback.core.jaxpr import ClosedJaxpr, Literal
from pullback.core.primitive import Primitive
from pullback.lazy import LazyModule
from pullback.passes import simplify
from pullback.passes.host_calls import number_callbacks
from pullback.passes.ordering import thread_order
from pullback.runtime import cache, device_callbacks, programs, transfers
from pullback.runtime.array import (
    PLACED,
    ArrayImpl,
    device_of,
    make_remote_array,
)
from pullback.runtime.device_callbacks import Calls
from pullback.runtime.residence import REMOTE, living, remember

__all__ = [
    "DeviceProgram",
    "compile_for_device",
    "forget_programs",
    "is_default",
    "is_possible",
    "on_device",
    "place_of",
    "run_primitive",
    "send",
]

_emit: Final = LazyModule("pullback.hlo.emit")
_pjrt: Final = LazyModule("pullback.hlo.pjrt")
_NO_OPTIONS: Final[Mapping[str, Any]] = {}


def _open(platform: str) -> Client:
    client: Client = _pjrt.open_backend(platform).owner
    return client


open_client.append(_open)

# --------------------------------------------------------------------------- where to run


def is_default() -> bool:
    """Whether programs whose arguments are nowhere in particular may run on a plugin's device."""
    return config.platform() != "" or config.default_device() is not None


def is_possible() -> bool:
    """Whether anything may be on a plugin's device: false costs a few looks only."""
    return bool(REMOTE) or is_default()


def on_device(args: Sequence[Any]) -> bool:
    """Whether an operand of an eager operation has its elements on a device."""
    return any(type(x) is ArrayImpl and living(x) is not None for x in args)


def place_of(args: Sequence[Any], names: Callable[[int], str] | None = None) -> tuple[Device, bool]:
    """The device that a program with such arguments runs on, and whether they are committed to it.

    Raises ValueError for arguments that are committed to different ones.
    """
    places = [
        (i, x)
        for i, x in enumerate(args)
        # What `is_committed` says, without a call for each argument of each program that runs.
        if (id(x) in PLACED if (r := REMOTE.get(id(x))) is None or r.is_copy else r.committed)
    ]
    if not places:
        return default_device(), False
    first, found = places[0][0], device_of(places[0][1])
    for i, x in places[1:]:
        device = device_of(x)
        if device is not found:
            naming = names or "argument {}".format
            raise ValueError(
                "Received incompatible devices for jitted computation. Got "
                f"{naming(first)} with shape {args[first].aval.str_short()} on {found!r} and "
                f"{naming(i)} with shape {x.aval.str_short()} on {device!r}"
            )
    return found, True


# --------------------------------------------------------------------------- programs


class DeviceProgram:
    """A compiled program, and which of its results need none."""

    def __init__(
        self,
        program: Any,
        name: str,
        constants: Sequence[Any],
        outputs: Sequence[int | None],
        used: Sequence[int],
        avals: Sequence[ShapedArray],
        donated: Sequence[int],
    ) -> None:
        self.program = program
        """`hlo.pjrt.LoadedProgram`."""
        self.name = name
        self._constants = list(constants)
        self._outputs = list(outputs)
        self._used = list(used)
        self._avals = list(avals)
        self.donated = list(donated)
        """Arguments that a call deletes."""
        self.device: Device = program.device
        self._all_computed = all(source is None for source in outputs)
        self.text = ""
        """The StableHLO that it is made of."""
        self.calls: Calls | None = None
        """The Python functions that it calls."""
        self.takes_all = False
        """Whether every argument of the function is one of the program."""

    def __call__(self, arrays: Sequence[ArrayImpl], committed: bool = False) -> list[ArrayImpl]:
        """Run on arrays of the types it was compiled for; says of results if they are committed."""
        device = self.device
        buffers = list(self._constants)
        for i in self._used:
            found = REMOTE.get(id(arrays[i]))
            if found is not None and found.buffer.device is device:
                buffers.append(found.buffer)
            else:
                buffers.append(send(arrays[i], device))
        return self._run(buffers, arrays, committed)

    def again(self, arrays: Sequence[ArrayImpl]) -> list[ArrayImpl] | None:
        """The same, if a look shows that the arguments belong here; None if it does not.

        This is `place_of` and `__call__` in one pass, which a small program spends its time in.
        """
        buffers = list(self._constants)
        device, committed = self.device, False
        for x in arrays:
            found = REMOTE.get(id(x))
            if found is None or found.is_copy or found.buffer.device is not device:
                return None
            committed = committed or found.committed
            buffers.append(found.buffer)
        if not committed and default_device() is not device:
            return None
        return self._run(buffers, arrays, committed)

    def _run(
        self, buffers: Sequence[Any], arrays: Sequence[ArrayImpl], committed: bool
    ) -> list[ArrayImpl]:
        run, calls = self.program, self.calls
        made = run(buffers) if calls is None else calls.guarded(run, buffers)
        if self._all_computed:
            outs = [make_remote_array(x, a, committed) for x, a in zip(made, self._avals)]  # noqa: B905
        else:
            rest = iter(made)
            outs = [
                make_remote_array(next(rest), aval, committed) if source is None else arrays[source]
                for source, aval in zip(self._outputs, self._avals, strict=True)
            ]
        if self.donated:
            kept = {id(x) for x in outs}
            for i in self.donated:
                if id(arrays[i]) not in kept:
                    arrays[i].delete()
        return outs


def send(x: ArrayImpl, device: Device, *, explicit: bool = False) -> Any:
    """The buffer of an array on a device, where it was not; an array of the host remembers it."""
    found = living(x)
    if found is not None:
        transfers.check_between_devices(found.buffer, device, explicit=explicit)
        return found.buffer.copy_to(device)
    buffer = device.client.backend.put(x._data, device)
    remember(x, buffer, is_copy=True)
    return buffer


def compile_for_device(
    closed: ClosedJaxpr,
    *,
    name: str,
    device: Device,
    donated: Sequence[bool] = (),
    compiler_options: Mapping[str, Any] = _NO_OPTIONS,
) -> DeviceProgram:
    """The program of a jaxpr on a plugin's device."""
    backend = device.client.backend
    with monitoring.timed(monitoring.LOWER, fun_name=name):
        simple, host_calls = number_callbacks(_in_order(simplify.simplify(closed)))
        calls = Calls(host_calls) if host_calls else None
        outputs = _outputs(simple, closed.out_avals)
        computed = [i for i, source in enumerate(outputs) if source is None]
        jaxpr = simple.jaxpr
        needed = {v for eqn in jaxpr.eqns for v in eqn.invars if type(v) is not Literal}
        needed |= {v for i in computed if type(v := jaxpr.outvars[i]) is not Literal}
        used = [i for i, v in enumerate(jaxpr.invars) if v in needed]
        returned = {source for source in outputs if source is not None}
        given = [bool(donated) and bool(donated[i]) and i not in returned for i in used]
        program = ClosedJaxpr(
            jaxpr.replace(
                invars=[jaxpr.invars[i] for i in used],
                outvars=[jaxpr.outvars[i] for i in computed],
            ),
            simple.consts,
        )
        module = _emit.emit_module(
            program,
            name,
            platform=backend.lowering_platform,
            donated=given,
            hoist_constants=True,
            first_host_call=0 if calls is None else calls.first,
        )
    types = [_emit.physical_type(closed.out_avals[i]) for i in computed]
    aliased = [len(module.constants) + k for k in module.aliased]
    with monitoring.timed(monitoring.COMPILE, fun_name=name):
        if calls is None:
            loaded = _cached(device, module.text, types, aliased, compiler_options)
        else:  # the functions are this process's
            backend.let_call(device_callbacks.enter)
            loaded = backend.compile(
                module.text,
                types,
                donated=aliased,
                device=device,
                compiler_options=compiler_options,
            )
            loaded.waits = True
    made = DeviceProgram(
        loaded,
        name,
        [backend.put(c, device) for c in module.constants],
        outputs,
        used,
        closed.out_avals,
        [i for i, g in enumerate(donated) if g],
    )
    made.text, made.calls = module.text, calls
    made.takes_all = len(used) == len(jaxpr.invars)
    return made


def _in_order(closed: ClosedJaxpr) -> ClosedJaxpr:
    """The program whose ordered callbacks stay in order; a single one does by itself."""
    if any(getattr(e, "ordered", False) for e in closed.jaxpr.effects):
        _, calls = number_callbacks(closed)
        return thread_order(closed) if len(calls) > 1 else closed
    return closed


def _cached(
    device: Device,
    text: str,
    types: Sequence[Any],
    aliased: Sequence[int],
    options: Mapping[str, Any],
) -> Any:
    """The program of a module, from the disk cache if it is there."""
    backend = device.client.backend
    key = hashlib.sha256(f"{backend.version(device, options)}\0{text}".encode()).digest()
    found = cache.get(key)
    monitoring.record_event(monitoring.CACHE_REQUEST)
    monitoring.record_event(monitoring.CACHE_MISS if found is None else monitoring.CACHE_HIT)
    if found is not None:
        kept = backend.load(found.payload, types, donated=aliased, device=device)
        if kept is not None:
            return kept
    start = time.perf_counter()
    loaded = backend.compile(text, types, donated=aliased, device=device, compiler_options=options)
    if time.perf_counter() - start >= config.persistent_cache_min_compile_time_secs():
        code = loaded.serialize()
        if code is not None and len(code) >= config.persistent_cache_min_entry_size_bytes():
            cache.put(key, cache.CacheEntry(code, {}))
    return loaded


def _outputs(closed: ClosedJaxpr, avals: Sequence[ShapedArray]) -> list[int | None]:
    """For each result the argument that it is; None if it is computed."""
    arguments = {v: i for i, v in enumerate(closed.jaxpr.invars)}
    return [
        arguments.get(v) if type(v) is not Literal and v.aval is aval else None
        for v, aval in zip(closed.jaxpr.outvars, avals, strict=True)
    ]


# --------------------------------------------------------------------------- eager operations

_eager: Final[OrderedDict[Any, DeviceProgram]] = OrderedDict()
_EAGER_LIMIT: Final = 2048


def run_primitive(
    primitive: Primitive,
    arrays: Sequence[ArrayImpl],
    params: dict[str, Any],
    device: Device,
    committed: bool,
) -> Any:
    """Apply a primitive on a device, by a program that is compiled once for its types."""
    structure, make = programs.structure_of(primitive, arrays, params)
    key = device, structure
    found = _eager.get(key)
    if found is None:
        found = _eager[key] = compile_for_device(make(), name=primitive.name, device=device)
        if len(_eager) > _EAGER_LIMIT:
            _eager.popitem(last=False)
    else:
        _eager.move_to_end(key)
    outs = found(arrays, committed)
    return outs if primitive.multiple_results else outs[0]


def forget_programs() -> None:
    """Forget the programs of eager operations."""
    _eager.clear()
