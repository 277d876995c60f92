"""What a workload is, and the table of all of them.

A workload is a function written once against JAX's API; Pullback and JAX run the same function.
Beside it may stand forms for PyTorch and NumPy, which take the same inputs and give the same
results, so that all can be checked against each other.
"""

from __future__ import annotations

import fnmatch
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks import workloads

__all__ = ["REGISTRY", "Form", "Workload", "load", "select", "workload"]

Function = Callable[..., Any]


@dataclass(frozen=True)
class Form:
    """How one peer runs a workload."""

    function: Function
    prepare: Callable[..., Sequence[Any]] | None = None
    """Turns inputs into what is natural for the peer (another layout), outside the timing."""
    compiled: bool = False
    """Whether `torch.compile` is what a user would reach for here."""


@dataclass(frozen=True)
class Workload:
    """One thing to measure."""

    name: str
    family: str
    title: str
    function: Function
    inputs: Callable[[], Sequence[Any]]
    bytes: float = 0.0
    """What has to be moved between memory and cores; 0 where memory is not the limit."""
    flops: float = 0.0
    """Operations of floats; 0 where arithmetic is not the limit."""
    double: bool = False
    """Whether those are of 64 bits."""
    jit: bool = True
    call: bool = False
    """Measures the cost of a call: results are waited for once a sample, not once a call."""
    x64: bool = False
    tolerance: float = 1e-4
    """Of the largest difference, relative to the largest magnitude of a result."""
    same_as: tuple[str, ...] = ("jax", "torch", "compile", "numpy")
    """Peers that give the same result; others draw other random numbers, say."""
    forms: dict[str, Form] = field(default_factory=dict)

    def torch(
        self, prepare: Callable[..., Sequence[Any]] | None = None, *, compiled: bool = False
    ) -> Callable[[Function], Function]:
        """Adds the form for PyTorch."""
        return self._adder("torch", prepare, compiled)

    def numpy(
        self, prepare: Callable[..., Sequence[Any]] | None = None
    ) -> Callable[[Function], Function]:
        """Adds the form for NumPy."""
        return self._adder("numpy", prepare, False)

    def _adder(
        self, peer: str, prepare: Callable[..., Sequence[Any]] | None, compiled: bool
    ) -> Callable[[Function], Function]:
        def add(function: Function) -> Function:
            self.forms[peer] = Form(function, prepare, compiled)
            return function

        return add

    def form(self, peer: str) -> Form | None:
        """How this peer runs it; None where it cannot."""
        if peer in ("pullback", "jax"):
            return Form(self.function)
        if peer == "compile":
            form = self.forms.get("torch")
            return form if form is not None and form.compiled else None
        return self.forms.get(peer)


REGISTRY: Final[dict[str, Workload]] = {}


def workload(
    title: str, inputs: Callable[[], Sequence[Any]], **options: Any
) -> Callable[[Function], Workload]:
    """Registers a function under its own name; the options are fields of `Workload`."""

    def register(function: Function) -> Workload:
        name = function.__name__
        if name in REGISTRY:
            raise ValueError(f"two workloads are called {name}")
        family = function.__module__.rpartition(".")[2]
        made = Workload(name, family, title, function, inputs, **options)
        REGISTRY[name] = made
        return made

    return register


_ORDER: Final = (
    "calls",
    "elementwise",
    "reductions",
    "products",
    "linear_algebra",
    "indexing",
    "sampling",
    "loops",
    "simulation",
    "learning",
    "images",
    "precision",
    "scaling",
)


def load() -> dict[str, Workload]:
    """All workloads, family by family."""
    found = {m.name for m in pkgutil.iter_modules(workloads.__path__)}
    if found != set(_ORDER):
        raise RuntimeError(f"families without a place in the order: {found ^ set(_ORDER)}")
    for family in _ORDER:
        importlib.import_module(f"{workloads.__name__}.{family}")
    return REGISTRY


def select(patterns: Sequence[str]) -> list[Workload]:
    """The workloads whose name or family matches one of the patterns; all if there is none.

    Raises ValueError for a pattern that matches nothing.
    """
    everything = list(load().values())
    if not patterns:
        return everything
    chosen: dict[str, Workload] = {}
    for pattern in patterns:
        fits = [
            w
            for w in everything
            if fnmatch.fnmatch(w.name, pattern) or fnmatch.fnmatch(w.family, pattern)
        ]
        if not fits:
            raise ValueError(f"no workload or family is called {pattern}")
        chosen.update((w.name, w) for w in fits)
    return list(chosen.values())
