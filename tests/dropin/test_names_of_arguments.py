"""Small functions and properties that libraries ask for, against JAX's."""

from __future__ import annotations

import inspect
from typing import Any

import jax
import numpy as np
import pytest
from jax._src import api_util as their_api_util
from jax._src import dtypes as their_dtypes

import pullback as pb
import pullback.numpy as jnp
from pullback.dropin.shims import api_util
from pullback.dropin.shims._src import dtypes

QUESTIONS = [(1, None), (0, None), (-1, None), (5, None), ((0, 1), None), (None, "d"), (None, None)]


@pytest.mark.parametrize(("nums", "names"), [*QUESTIONS, (None, ("b", "d")), (0, "b")])
def test_positions_and_names_of_arguments(nums: Any, names: Any) -> None:
    def fun(a: Any, /, b: Any, *c: Any, d: Any) -> None:
        """Every kind of parameter."""

    signature = inspect.signature(fun)
    want = their_api_util.infer_argnums_and_argnames(signature, nums, names)
    assert api_util.infer_argnums_and_argnames(signature, nums, names) == want


@pytest.mark.parametrize("dtype", ["bool", "int8", "int64", "float16", "float64", "complex64"])
def test_complex_dtypes(dtype: str) -> None:
    assert dtypes.to_complex_dtype(dtype) == their_dtypes.to_complex_dtype(dtype)


def test_kinds_of_axes_of_a_mesh() -> None:
    names = ("auto_axes", "explicit_axes", "manual_axes")
    names += tuple(f"are_all_axes_{kind}" for kind in ("auto", "explicit", "manual"))
    for kinds in (("Auto", "Explicit"), ("Auto", "Auto"), ("Explicit", "Explicit"), None):
        answers = []
        for library in (jax, pb):
            types = kinds and tuple(getattr(library.sharding.AxisType, k) for k in kinds)
            mesh = library.make_mesh((1, 1), ("x", "y"), axis_types=types)
            answers.append([getattr(m, n) for m in (mesh, mesh.abstract_mesh) for n in names])
        assert answers[0] == answers[1]
    none = pb.sharding.get_abstract_mesh()
    assert not none.are_all_axes_explicit
    assert not none.are_all_axes_auto


def test_keys_are_close_if_they_are_equal() -> None:
    keys = pb.random.split(pb.random.key(0), 3)
    assert jnp.allclose(keys, keys)
    np.testing.assert_array_equal(jnp.isclose(keys, keys[0]), [True, False, False])
