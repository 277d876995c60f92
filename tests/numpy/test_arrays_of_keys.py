"""Random keys where arrays of numbers are usual: constants, structs, sizes, narrow draws."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp


def test_constants_like_keys() -> None:
    keys, theirs = pb.random.split(pb.random.key(0), 3), jax.random.split(jax.random.key(0), 3)
    for ours, want in (
        (jnp.zeros_like(keys), jax.numpy.zeros_like(theirs)),
        (pb.lax.full_like(keys, 0), jax.lax.full_like(theirs, 0)),
    ):
        assert ours.dtype == keys.dtype
        np.testing.assert_array_equal(pb.random.key_data(ours), jax.random.key_data(want))
    with pytest.raises(ValueError, match="Cannot convert_element_type from key<fry> to uint32"):
        keys.astype("uint32")


def test_structs_of_keys() -> None:
    struct = pb.ShapeDtypeStruct((2,), pb.random.key(0).dtype)
    out = pb.eval_shape(lambda keys: pb.random.split(keys[0], 5), struct)
    assert (out.shape, out.dtype) == ((5,), pb.random.key(0).dtype)


def test_sizes_are_known_while_tracing() -> None:
    sizes: list[Any] = []
    pb.jit(lambda x: sizes.append((x.nbytes, x.itemsize)))(jnp.ones((3, 4), "float16"))
    assert sizes == [(24, 2)]


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int2", "uint2"])
def test_narrow_integers(dtype: str) -> None:
    low, high = (-2, 2) if dtype[0] == "i" else (0, 4)
    got = pb.random.randint(pb.random.key(1), (64,), low, high, dtype)
    assert got.dtype == jnp.dtype(dtype)
    assert set(np.asarray(got).astype(int).tolist()) == set(range(low, high))


def test_wrong_generators() -> None:
    with pytest.raises(TypeError, match="unrecognized type <class 'int'> for specifying PRNG"):
        pb.random.key(0, impl=3)
    with pytest.raises(ValueError, match='PRNG implementation "foo"'):
        pb.random.key(0, impl="foo")
    with pytest.raises(ValueError, match="fold_in accepts a single key"):
        pb.random.fold_in(pb.random.split(pb.random.key(0)), 1)
