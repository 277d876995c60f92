"""What is particular to each peer: its environment, its import, its tensors, how to wait for it.

Runs in the child process that measures; `environment` runs in the parent.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from benchmarks.registry import Form, Workload

__all__ = [
    "PEERS",
    "TITLES",
    "WITH_CACHE",
    "environment",
    "import_the_rest",
    "leaves",
    "make_call",
    "start",
    "to_numpy",
]

PEERS: Final = ("pullback", "jax", "torch", "compile", "numpy")
TITLES: Final = {
    "pullback": "Pullback",
    "jax": "JAX",
    "torch": "PyTorch",
    "compile": "torch.compile",
    "numpy": "NumPy",
}

_THREAD_VARIABLES: Final = (
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PULLBACK_NUM_THREADS",
)
# Settings of the owner of the machine that would favour one library.
_UNSET: Final = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "PULLBACK_DUMP",
    "PYTHONDONTWRITEBYTECODE",
    "XLA_FLAGS",
)


def environment(cache: Path, threads: int, *, x64: bool) -> dict[str, str]:
    """The environment of a child that keeps compiled code below `cache`.

    XLA and PyTorch also look at the affinity, which the parent sets.
    """
    env = {k: v for k, v in os.environ.items() if k not in _UNSET}
    env |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return env | {
        "JAX_ENABLE_X64": "1" if x64 else "0",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PULLBACK_CACHE_DIR": str(cache / "pullback"),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "torch"),
    }


WITH_CACHE: Final = ("pullback", "jax", "compile")
"""Peers that keep compiled code on disk."""

_MODULES: Final = ("jax", "jax.numpy")
_USED_BY_WORKLOADS: Final = (
    "jax.image",
    "jax.lax",
    "jax.nn",
    "jax.random",
    "jax.scipy.linalg",
    "jax.scipy.ndimage",
    "jax.scipy.stats",
)


def start(peer: str, threads: int) -> None:
    """Import the framework; what a program does once, whatever it computes."""
    if peer == "numpy":
        importlib.import_module("numpy")
        return
    if peer in ("torch", "compile"):
        importlib.import_module("torch").set_num_threads(threads)
        return
    if peer == "pullback":
        importlib.import_module("pullback.dropin").install()
    for name in _MODULES:
        importlib.import_module(name)


def import_the_rest(peer: str) -> None:
    """What a program imports at its top, so that no first call waits for it."""
    if peer in ("pullback", "jax"):
        for name in _USED_BY_WORKLOADS:
            with suppress(ModuleNotFoundError):  # the workloads that need it will say so
                importlib.import_module(name)


def leaves(tree: Any) -> list[Any]:
    """The leaves of nested tuples, lists and dictionaries, in a fixed order."""
    if isinstance(tree, Mapping):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, tuple | list):
        return [leaf for item in tree for leaf in leaves(item)]
    return [] if tree is None else [tree]


def _map(f: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _map(f, value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(_map(f, item) for item in tree)
    return f(tree)


def _to_torch(x: Any) -> Any:
    torch = importlib.import_module("torch")
    if getattr(x, "dtype", None) is not None and x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view("int16")).view(torch.bfloat16)
    return torch.tensor(x)


def to_numpy(x: Any) -> Any:
    """A result of any peer as a NumPy array; narrow floats as float32."""
    numpy = importlib.import_module("numpy")
    if type(x).__module__.startswith("torch"):
        torch = importlib.import_module("torch")
        x = (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).detach().numpy()
    x = numpy.asarray(x)
    return x.astype(numpy.float32) if x.dtype.kind == "V" else x


def _place(peer: str, form: Form, inputs: Sequence[Any]) -> Sequence[Any]:
    if peer in ("pullback", "jax"):
        jax = importlib.import_module("jax")
        return [_map(lambda x: x if isinstance(x, float) else jax.device_put(x), x) for x in inputs]
    if peer in ("torch", "compile"):
        inputs = [_map(_to_torch, x) for x in inputs]
    return inputs if form.prepare is None else list(form.prepare(*inputs))


def _nothing_to_wait_for(out: Any) -> Any:
    return out


def make_call(
    peer: str, task: Workload, form: Form
) -> tuple[Callable[..., Any], Sequence[Any], Callable[[Any], Any]]:
    """The function to time, its arguments, and what waits for its result."""
    arguments = _place(peer, form, task.inputs())
    if peer in ("pullback", "jax"):
        jax = importlib.import_module("jax")
        jax.block_until_ready([x for x in leaves(list(arguments)) if not isinstance(x, float)])
        wait = jax.block_until_ready
        # Starting the compiler is part of a process, not of the first call of a function.
        wait(jax.jit(lambda x: x * 2.5 + 1.0)(jax.numpy.zeros(3)))
        return (jax.jit(form.function) if task.jit else form.function), arguments, wait
    if peer == "compile":
        torch = importlib.import_module("torch")
        torch.compile(lambda x: x * 2.5 + 1.0)(torch.zeros(3))
        return torch.compile(form.function), arguments, _nothing_to_wait_for
    return form.function, arguments, _nothing_to_wait_for
