"""What programs give on JAX, kept in files: JAX takes minutes to compile all of them.

`pytest tests/parity/test_programs.py --golden-update` runs JAX and writes the files again; one
whose program has changed since does not count.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any, Final

import jax
import jax.flatten_util
import jax.scipy.special
import jax.scipy.stats
import numpy as np

from tests.parity.programs.registry import Program

FOLDER: Final = Path(__file__).parent / "golden"

Leaf = tuple[str, Any]


def leaves(value: Any, path: str = "") -> list[Leaf]:
    """The parts of a result that are not containers, with their paths."""
    if isinstance(value, dict):
        return [leaf for k in sorted(value) for leaf in leaves(value[k], f"{path}.{k}")]
    if isinstance(value, (tuple, list)):
        return [leaf for i, part in enumerate(value) for leaf in leaves(part, f"{path}[{i}]")]
    return [(path, value)]


def describe(value: Any, array_types: tuple[type, ...]) -> str:
    """Type of a leaf: dtype and shape of an array, the class of anything else."""
    if isinstance(value, (np.ndarray, np.generic, *array_types)):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__


def elements(value: Any) -> np.ndarray:
    """A leaf as an array of a dtype that NumPy can write to a file."""
    a = np.asarray(value)
    return a.astype(np.float32) if a.dtype.name in ("bfloat16", "float16") else a


def _digest(program: Program) -> str:
    return hashlib.sha256(inspect.getsource(program.run).encode()).hexdigest()


def _path(program: Program) -> Path:
    return FOLDER / f"{program.name}.npz"


def record(program: Program) -> None:
    """Run a program on JAX and keep its results."""
    found = leaves(program.run(jax))
    types = [(path, describe(x, (jax.Array,))) for path, x in found]
    header = {"digest": _digest(program), "types": types}
    arrays = {f"r{i}": elements(x) for i, (_, x) in enumerate(found)}
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(_path(program), header=np.array(json.dumps(header)), **arrays)


def expected(program: Program) -> list[tuple[str, str, np.ndarray]]:
    """Path, type and elements of every leaf of the result on JAX."""
    with np.load(_path(program)) as file:
        header = json.loads(str(file["header"]))
        assert header["digest"] == _digest(program), (
            f"{program.name} has changed since JAX ran it: use --golden-update"
        )
        return [(path, kind, file[f"r{i}"]) for i, (path, kind) in enumerate(header["types"])]
