"""One traced signature of a jitted function: its jaxpr, and the machine code made of it."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pullback.control.jit import open_consts
from pullback.control.refs_discharge import holds_refs
from pullback.core.devices import Device
from pullback.core.jaxpr import ClosedJaxpr
from pullback.runtime import accelerator, executables, index_checks
from pullback.runtime.compile import Executable, compile_jaxpr
from pullback.runtime.refs import RefProgram

__all__ = ["Program"]


@dataclass
class Program:
    """One traced signature of a jitted function."""

    name: str
    closed: ClosedJaxpr
    in_tree: Any
    out_tree: Any
    donated: tuple[bool, ...]
    executable: Executable | None = None
    entries: list[tuple[Any, Any]] = field(default_factory=list)
    """Weak references to functions and the native entries of this program in them."""
    donating: tuple[Executable, tuple[int, ...], Any] | None = None
    """What calls the machine code where calls come through Python and give these arguments away."""
    device_programs: dict[Any, accelerator.DeviceProgram] = field(default_factory=dict)
    """Programs for plugins' devices, by the device and the options of the compiler."""
    last_on_device: accelerator.DeviceProgram | None = None
    """The last one of them that ran, if it takes all arguments."""
    home: tuple[Any, Any] | None = None
    """Where the function keeps it: a weak reference to the dictionary, and the key."""

    def compiled(self) -> Executable:
        """The machine code, made at the first need."""
        if self.executable is None:
            made = compile_jaxpr(self.closed, name=self.name, donated=self.donated)
            self.executable = made
            executables.keep(made, *_weakly(self))
            return made
        executables.used(self.executable)
        return self.executable

    def cool(self) -> bool:
        """Take its native entries away; says whether there were any."""
        pairs = [(function(), entry()) for function, entry in self.entries]
        self.entries.clear()
        hot = False
        for function, entry in pairs:
            if function is not None and entry in function.entries:
                function.remove_entry(entry)
                hot = True
        return hot

    def forget(self) -> None:
        """Leave the machine code, and the dictionary of the function."""
        self.executable = self.donating = None
        if self.home is not None:
            where, key = self.home
            kept = where()
            if kept is not None:
                kept.pop(key, None)

    def on_device(
        self, device: Device, compiler_options: Sequence[tuple[str, Any]] = ()
    ) -> accelerator.DeviceProgram:
        """The program for a plugin's device, made at the first need."""
        key = device, compiler_options
        found = self.device_programs.get(key)
        if found is None:
            found = self.device_programs[key] = accelerator.compile_for_device(
                self.closed,
                name=self.name,
                device=device,
                donated=self.donated,
                compiler_options=dict(compiler_options),
            )
        self.last_on_device = found if found.takes_all else None
        return found

    @functools.cached_property
    def checked(self) -> index_checks.CheckedProgram:
        """The machine code that looks at indices."""
        closed = self.ref_program.pure if self.with_refs else self.closed
        made = index_checks.CheckedProgram(closed, self.name)
        executables.keep(made.executable, *_weakly(self))
        return made

    def loaded(self) -> Executable | RefProgram:
        """What runs the machine code."""
        return self.ref_program if self.with_refs else self.compiled()

    @functools.cached_property
    def with_refs(self) -> bool:
        """Whether it takes references, or closes over some."""
        return holds_refs(self.closed)

    @functools.cached_property
    def ref_program(self) -> RefProgram:
        """The machine code, and how it reads and writes references."""
        made = RefProgram(self.closed, name=self.name)
        executables.keep(made.executable, *_weakly(self))
        return made

    @functools.cached_property
    def call_jaxpr(self) -> tuple[ClosedJaxpr, list[Any]]:
        """The jaxpr with its constants as operands, for the jit equation."""
        return open_consts(self.closed)


def _weakly(program: Program) -> tuple[Callable[[], None], Callable[[], bool]]:
    """`forget` and `cool` of a program, which do not keep it alive."""
    ref = weakref.ref(program)

    def forget() -> None:
        found = ref()
        if found is not None:
            found.forget()

    def cool() -> bool:
        found = ref()
        return found is not None and found.cool()

    return forget, cool
