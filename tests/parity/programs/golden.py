"""What the programs give on JAX, kept in files: JAX takes minutes to compile all of them.

`pytest tests/parity/test_programs.py --golden-update` runs JAX and writes the files again
(`recorder`). A file whose program has changed since does not count.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.parity.programs.registry import Program

FOLDER: Final = Path(__file__).parent / "golden"
_SCALARS: Final = ("int", "float", "float32[]", "int32[]", "bool")


def leaves(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """The parts of a result that are not containers, with their paths."""
    if isinstance(value, dict):
        return [leaf for k in sorted(value) for leaf in leaves(value[k], f"{path}.{k}")]
    if isinstance(value, (tuple, list)):
        return [leaf for i, part in enumerate(value) for leaf in leaves(part, f"{path}[{i}]")]
    return [(path, value)]


def describe(value: Any, array_type: type) -> str:
    """Type of a leaf: dtype and shape of an array, the class of anything else."""
    if isinstance(value, (np.ndarray, np.generic, array_type)):
        return f"{value.dtype}{list(value.shape)}"
    return type(value).__name__


def elements(value: Any) -> np.ndarray:
    """A leaf as an array of a dtype that NumPy can write to a file."""
    a = np.asarray(value)
    return a.astype(np.float32) if a.dtype.name in ("bfloat16", "float16") else a


def _digest(program: Program) -> str:
    """Of the program's syntax tree: not of its layout."""
    tree = ast.parse(inspect.getsource(program.run))
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def _path(program: Program) -> Path:
    return FOLDER / f"{program.name}.npz"


def write(program: Program, result: Any, array_type: type) -> None:
    """Keep the result of a program on JAX."""
    found = leaves(result)
    types = [(path, describe(x, array_type)) for path, x in found]
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


def _close(ours: np.ndarray, theirs: np.ndarray, rtol: float, path: str) -> None:
    if theirs.dtype.kind not in "fc":
        np.testing.assert_array_equal(ours, theirs, err_msg=path)
        return
    kind = np.complex128 if theirs.dtype.kind == "c" else np.float64
    a, b = ours.astype(kind), theirs.astype(kind)
    finite = b[np.isfinite(b)]
    largest = float(np.abs(finite).max()) if finite.size else 0.0
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * largest, err_msg=path)


def check(program: Program, result: Any, array_type: type, *, scalars: bool = True) -> None:
    """Raise AssertionError where a result differs from that of JAX.

    Without `scalars` a Python number may stand for an array without axes.
    """
    ours, theirs = leaves(result), expected(program)
    types = {(path, describe(x, array_type)) for path, x in ours}
    differing = types ^ {(path, kind) for path, kind, _ in theirs}
    if not scalars:
        differing = {(path, kind) for path, kind in differing if not kind.startswith(_SCALARS)}
    assert not differing, f"types differ at {sorted(differing)}"
    for (path, x), (_, _, wanted) in zip(ours, theirs, strict=True):
        _close(elements(x), wanted, program.rtol, path)
