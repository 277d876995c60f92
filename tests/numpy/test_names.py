"""The names of `jax.numpy` and its submodules: which are there, and that they are well formed."""

from __future__ import annotations

import doctest
import inspect

import jax.numpy
import pytest

import pullback.numpy as jnp
from pullback.numpy import elementwise, ufunc_table


def public(module: object) -> set[str]:
    return {name for name in dir(module) if not name.startswith("_")}


def test_every_name_of_jax_numpy_is_here() -> None:
    assert public(jax.numpy) - public(jnp) == set()


def test_the_names_of_the_submodules() -> None:
    assert public(jax.numpy.linalg) - public(jnp.linalg) == set()
    assert public(jax.numpy.fft) - public(jnp.fft) == set()


def test_a_missing_name_is_named() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        jnp.linalg.nothing  # noqa: B018
    with pytest.raises(AttributeError, match="'nothing'"):
        jnp.nothing  # noqa: B018


FUNCTIONS = sorted(
    name
    for name in public(jax.numpy)
    if inspect.isfunction(getattr(jnp, name, None)) and callable(getattr(jax.numpy, name))
)
# NumPy's own, or taking names that JAX gives only by position.
OTHER_SIGNATURE = {"iterable", "vectorize"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_parameters_are_those_of_jax(name: str) -> None:
    theirs = inspect.signature(getattr(jax.numpy, name)).parameters.values()
    ours = inspect.signature(getattr(jnp, name)).parameters
    for p in theirs:
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL, p.POSITIONAL_ONLY):
            continue
        assert p.name in ours or any(q.kind == q.VAR_KEYWORD for q in ours.values()), p.name


@pytest.mark.parametrize("table", [elementwise.FUNCTIONS, ufunc_table.UFUNCS])
def test_families_are_documented_by_examples_that_run(table: dict[str, object]) -> None:
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(verbose=False)
    for name, function in table.items():
        text = function.__doc__ or ""
        assert ">>> jnp." in text, name
        runner.run(parser.get_doctest(text, {}, name, None, 0))
    assert runner.failures == 0
