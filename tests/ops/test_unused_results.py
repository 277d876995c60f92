"""Decompositions compute no vectors that nobody reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
from pullback import numpy as pnp

VALUES_ONLY: dict[str, tuple[Callable[[Any], Any], str]] = {
    "eigvalsh": (pnp.linalg.eigvalsh, "syevd"),
    "values of eigh": (lambda x: pnp.linalg.eigh(x)[0] * 2, "syevd"),
    "values of svd": (lambda x: pnp.linalg.svd(x, full_matrices=False)[1], "gesdd"),
}
VECTORS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "vectors of eigh": (lambda x: pnp.linalg.eigh(x)[1], "syevd"),
    "gradient": (pb.grad(lambda x: pnp.linalg.eigvalsh(x)[-1]), "syevd"),
    "left vectors of svd": (lambda x: pnp.linalg.svd(x, full_matrices=False)[0], "gesdd"),
    "right vectors of svd": (lambda x: pnp.linalg.svd(x, full_matrices=False)[2], "gesdd"),
}


def _jobs(f: Any, routine: str, x: Any) -> list[str]:
    """The first argument of each call of a routine: a letter."""
    text = pb.jit(f).lower(x).as_text("loops")
    calls = [line for line in text.splitlines() if f"{routine}(" in line]
    return [chr(int(line.split("(ref ")[1].split(",")[0])) for line in calls]


def _matrix(dtype: str) -> Any:
    x = np.random.default_rng(1).normal(size=(6, 6)).astype(dtype)
    return x + x.T


@pytest.mark.parametrize("name", VALUES_ONLY)
def test_values_alone(name: str) -> None:
    f, routine = VALUES_ONLY[name]
    x = _matrix("float32")
    assert _jobs(f, routine, x) == ["N"]
    np.testing.assert_allclose(pb.jit(f)(x), f(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", VECTORS)
def test_vectors_that_are_read(name: str) -> None:
    f, routine = VECTORS[name]
    assert _jobs(f, routine, _matrix("float32"))[0] in "VS"


def test_complex_values_of_several_matrices() -> None:
    x = np.stack([_matrix("complex64") for _ in range(3)])
    x[1] = np.nan
    found = np.asarray(pb.jit(pnp.linalg.eigvalsh)(x))
    np.testing.assert_allclose(found[[0, 2]], np.linalg.eigvalsh(x[[0, 2]]), rtol=1e-4, atol=1e-4)
    assert np.isnan(found[1]).all()
