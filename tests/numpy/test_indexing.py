"""Indexing against NumPy on random indices, eagerly and traced; what tracing adds."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

import pullback as pb
import pullback.numpy as jnp
from pullback.errors import NonConcreteBooleanIndexError

SHAPE = (3, 4, 2)
DATA = np.arange(24, dtype=np.float32).reshape(SHAPE)


@st.composite
def entries(draw: Any, length: int) -> Any:
    """An entry for one axis: an int, a slice, an array of ints, a mask."""
    kind = draw(st.sampled_from(["int", "slice", "slice", "array", "mask"]))
    if kind == "int":
        return draw(st.integers(-length, length - 1))
    if kind == "slice":
        bound = st.none() | st.integers(-length - 1, length + 1)
        step = draw(st.sampled_from([None, 1, 2, -1, -2]))
        return slice(draw(bound), draw(bound), step)
    if kind == "mask":
        return np.array(draw(st.lists(st.booleans(), min_size=length, max_size=length)))
    numbers = st.lists(st.integers(-length, length - 1), min_size=2, max_size=2)
    return np.array(draw(numbers))


@st.composite
def indices(draw: Any) -> Any:
    """A tuple index, perhaps with None and Ellipsis."""
    count = draw(st.integers(0, 3))
    index = [draw(entries(SHAPE[k])) for k in range(count)]
    masks = [k for k, e in enumerate(index) if isinstance(e, np.ndarray) and e.dtype == bool]
    for k in masks:  # so that several arrays broadcast: masks pick two elements
        index[k] = np.arange(SHAPE[k]) < 2
    if draw(st.booleans()):
        index.insert(draw(st.integers(0, count)), None)
    if draw(st.booleans()):
        index.append(Ellipsis)
    return tuple(index)


@settings(max_examples=150)
@given(index=indices())
def test_reads_are_those_of_numpy(index: Any) -> None:
    np.testing.assert_array_equal(jnp.array(DATA)[index], DATA[index])


@settings(max_examples=60)
@given(index=indices())
def test_updates_are_those_of_numpy(index: Any) -> None:
    want = DATA.copy()
    want[index] = -1
    np.testing.assert_array_equal(jnp.array(DATA).at[index].set(-1), want)
    want = DATA.copy()
    np.add.at(want, index, 10)
    np.testing.assert_array_equal(jnp.array(DATA).at[index].add(10), want)


@settings(max_examples=15)
@given(index=indices())
def test_tracing_changes_nothing(index: Any) -> None:
    np.testing.assert_array_equal(pb.jit(lambda x: x[index])(DATA), DATA[index])


def test_traced_indices() -> None:
    def pick(x: Any, i: Any, js: Any) -> Any:
        return x[i], x[i, 1:, 0], x[js], x[:, js], x[js, i], x[i, js]

    got = pb.jit(pick)(DATA, 1, np.array([0, -1]))
    js = np.array([0, -1])
    for mine, want in zip(
        got, (DATA[1], DATA[1, 1:, 0], DATA[js], DATA[:, js], DATA[js, 1], DATA[1, js]), strict=True
    ):
        np.testing.assert_array_equal(mine, want)


def test_basic_indices_lower_to_slices() -> None:
    text = str(pb.make_jaxpr(lambda x: x[1, ::-1, None, :1])(DATA))
    assert "slice" in text
    assert "rev" in text
    assert "gather" not in text


def test_a_traced_scalar_lowers_to_dynamic_slice() -> None:
    text = str(pb.make_jaxpr(lambda x, i: x[i])(DATA, 0))
    assert "dynamic_slice" in text
    assert "gather" not in text


def test_a_traced_mask_is_refused_with_advice() -> None:
    with pytest.raises(NonConcreteBooleanIndexError, match=r"jnp\.where"):
        pb.jit(lambda x, m: x[m])(DATA, np.array([True, False, True]))


def test_a_traced_slice_bound_is_refused_with_advice() -> None:
    with pytest.raises(IndexError, match="dynamic_slice"):
        pb.jit(lambda x, k: x[k:])(DATA, 1)


def test_assignment_is_refused_with_advice() -> None:
    x = jnp.zeros(3)
    with pytest.raises(TypeError, match=r"x\.at\[idx\]\.set\(y\)"):
        x[0] = 1.0


def test_gradients_of_reads_and_updates() -> None:
    js = np.array([0, 0, 2])
    gradient = pb.grad(lambda x: (x[js] * np.arange(3.0)[:, None, None]).sum())(DATA)
    want = np.zeros(SHAPE)
    np.add.at(want, js, np.arange(3.0)[:, None, None] * np.ones((3, 4, 2)))
    np.testing.assert_allclose(gradient, want)
    gradient = pb.grad(lambda x: (x.at[0].set(0.0) ** 2).sum())(DATA)
    want = 2 * DATA
    want[0] = 0
    np.testing.assert_allclose(gradient, want)
