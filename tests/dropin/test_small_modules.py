"""Small modules of the drop-in against what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.extend.random as theirs
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback.dropin.shims.extend import random as ours
from pullback.experimental.compilation_cache import compilation_cache
from pullback.experimental.shard_map import shard_map
from pullback.experimental.xla_metadata import set_xla_metadata
from pullback.runtime import cache


@pytest.mark.parametrize("shape", [(4,), (3,), (2, 3)])
def test_block_function(shape: Any) -> None:
    key = np.array([5, 9], np.uint32)
    count = np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)
    np.testing.assert_array_equal(ours.threefry_2x32(key, count), theirs.threefry_2x32(key, count))


def test_generators() -> None:
    for name in ("threefry_prng_impl", "rbg_prng_impl", "unsafe_rbg_prng_impl"):
        key = ours.seed_with_impl(getattr(ours, name), 3)
        want = theirs.seed_with_impl(getattr(theirs, name), 3)
        assert key.dtype.name == want.dtype.name
    keys = ours.random_seed(jnp.arange(3), ours.rbg_prng_impl)
    assert pb.random.key_data(keys).tolist() == [[0, k, 0, k] for k in range(3)]
    with pytest.raises(NotImplementedError):
        ours.define_prng_impl(key_shape=(2,), seed=abs, split=abs, random_bits=abs, fold_in=abs)


def test_cache_directory(tmp_path: Path) -> None:
    compilation_cache.set_cache_dir(tmp_path)
    try:
        directory = cache.stats().directory
        assert directory is not None
        assert directory.is_relative_to(tmp_path)
    finally:
        compilation_cache.reset_cache()


def test_older_shard_map_and_metadata() -> None:
    mesh = pb.make_mesh((1,), ("x",))
    f = shard_map(lambda a: pb.lax.psum(a, "x"), mesh, pb.P("x"), pb.P(), check_rep=False)
    with set_xla_metadata(key="value"):
        assert f(jnp.arange(2.0)).tolist() == [0.0, 1.0]
    assert set_xla_metadata(3.0, key="value") == 3.0
