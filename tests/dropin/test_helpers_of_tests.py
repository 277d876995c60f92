"""Helpers of `jax._src.test_util`, and private modules that stand for public ones."""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.dropin.names import PRIVATE
from pullback.dropin.shims._src import case_tools as tools
from pullback.dropin.shims._src.tree_util import prefix_errors


def test_values() -> None:
    tools.check_close({"a": (1.0, 2)}, {"a": (1.0 + 1e-7, 2)})
    tools.check_eq([jnp.arange(3)], [np.arange(3)])
    for check in (tools.check_close, tools.check_eq):
        with pytest.raises(AssertionError):
            check((1.0,), (1.1,))
        with pytest.raises(ValueError, match="structure"):
            check((1.0,), [1.0])
    tools.check_raises(lambda: int("a"), ValueError, "invalid literal")
    tools.check_raises_regexp(lambda: int("a"), ValueError, "invalid .* base 10")
    with pytest.raises(AssertionError):
        tools.check_raises(lambda: int("a"), ValueError, "literal")
    with pytest.raises(AssertionError):
        tools.check_raises_regexp(lambda: 1, ValueError, "invalid")


def test_samples() -> None:
    rng = np.random.RandomState(0)
    assert tools.rand_like(rng, np.ones((2, 3), np.complex64)).dtype == np.complex64
    tiny, huge = np.finfo(np.float32).tiny, np.finfo(np.float32).max
    grid = tools.complex_plane_sample(np.complex64, 0, 3)
    assert grid.dtype == np.complex64
    wanted = [-np.inf, -huge, -2, -tiny, 0, tiny, 2, huge, np.inf]
    np.testing.assert_array_equal(grid[:, 1].imag, np.array(wanted, np.float32))
    np.testing.assert_array_equal(grid[4].real, [-np.inf, 0, np.inf])


def test_default_dtypes() -> None:
    def both() -> Any:
        return np.arange(3), np.ones(2)

    assert [x.dtype.name for x in tools.with_jax_dtype_defaults(both)()] == ["int32", "float32"]
    some = tools.with_jax_dtype_defaults(both, (True, False))()
    assert [x.dtype.name for x in some] == ["int32", "float64"]


def test_programs() -> None:
    jaxpr = pb.make_jaxpr(pb.jit(lambda x: pb.lax.cond(x > 0, jnp.sin, jnp.cos, x)))(1.0)
    found = [e.primitive.name for e in tools.iter_eqns(jaxpr.jaxpr)]
    assert found[:4] == ["jit", "gt", "convert_element_type", "cond"]
    assert sorted(found[4:]) == ["cos", "sin"]
    forward, backward = tools.fwd_bwd_jaxprs(jnp.sin, 1.0)
    assert [e.primitive.name for e in forward.eqns] == ["sin", "cos"]
    assert [e.primitive.name for e in backward.eqns] == ["mul"]
    product, high = jnp.ones((2, 2)), pb.lax.Precision.HIGH
    tools.assert_dot_precision(None, jnp.dot, product, product)
    tools.assert_dot_precision(
        high, lambda x: pb.jit(jnp.dot, static_argnames="precision")(x, x, precision=high), product
    )
    tools.assert_dot_preferred_element_type(np.dtype("float32"), jnp.dot, product, product)
    with pytest.raises(AssertionError, match="Unexpected precision"):
        tools.assert_dot_precision(high, jnp.dot, product, product)
    with pytest.raises(AssertionError, match="int32 != float32"):
        tools.assert_dot_preferred_element_type(np.dtype("int32"), jnp.dot, product, product)


def test_meshes() -> None:
    assert tools.create_mesh((1,), ("x",)).shape == {"x": 1}
    with pytest.raises(unittest.SkipTest, match="requires 2 global devices"):
        tools.create_mesh((2,), ("x",))

    @tools.with_explicit_mesh((1,), ("x",))
    def explicit(number: int, mesh: Any) -> Any:
        return number, mesh.axis_types

    assert explicit(3) == (3, (pb.sharding.AxisType.Explicit,))


def test_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    with tools.set_env(PULLBACK_TEST_A="1"):
        assert os.environ["PULLBACK_TEST_A"] == "1"
        with tools.set_env(PULLBACK_TEST_A=None):
            assert "PULLBACK_TEST_A" not in os.environ
    assert "PULLBACK_TEST_A" not in os.environ
    with tools.capture_stdout() as out, tools.capture_stderr() as err:
        print("here")
        print("there", file=sys.stderr)
    assert (out(), err()) == ("here\n", "there\n")
    assert capsys.readouterr().out == ""
    assert tools.is_running_under_pytest()


def test_prefix_errors() -> None:
    assert prefix_errors((1, (2, 3)), (1, (2, [3]))) == []
    assert "in_axes" in str(prefix_errors({"a": 0}, {"b": 1})[0]("in_axes"))


def test_private_modules_have_the_names_of_public_ones() -> None:
    program = (
        "from pullback import dropin; dropin.install(); import importlib, jax\n"
        f"for name, public in {PRIVATE!r}.items():\n"
        "    module = importlib.import_module(name)\n"
        "    assert public == 'jax' or dir(module) == dir(importlib.import_module(public)), name\n"
        "from jax._src.lax import lax as lax_internal\n"
        "from jax._src import linear_util as lu, mesh, test_util as jtu\n"
        "assert lax_internal.add_p is jax.lax.add_p and jtu.check_close and mesh.AxisType\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
