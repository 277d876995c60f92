"""chex: assertions, dataclasses, variants, counts of traces, fakes, checks of values."""

from __future__ import annotations

import sys
import unittest
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import parameterized


@chex.dataclass(frozen=True)
class Moments:
    mean: chex.Array
    var: chex.Array


@chex.dataclass
class State:
    step: chex.Array
    moments: Moments


def update(state: State, x: Any) -> State:
    chex.assert_rank(x, 1)
    chex.assert_equal_shape([x, state.moments.mean])
    n = state.step + 1
    delta = x - state.moments.mean
    mean = state.moments.mean + delta / n
    var = state.moments.var + (delta * (x - mean) - state.moments.var) / n
    return state.replace(step=n, moments=Moments(mean=mean, var=var))


def refused(f: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether an assertion fails."""
    try:
        f(*args, **kwargs)
    except AssertionError:
        return True
    return False


def assertions() -> dict[str, Any]:
    x, y = jnp.ones((2, 3)), jnp.zeros((2, 3), jnp.int32)
    good = {"a": x, "b": [y]}
    chex.assert_shape([x, y], (2, None))
    chex.assert_shape(x, (..., 3))
    chex.assert_type([x, y], [float, int])
    chex.assert_axis_dimension(x, 1, 3)
    chex.assert_tree_all_finite(good)
    chex.assert_trees_all_equal_shapes_and_dtypes(good, jax.tree.map(jnp.copy, good))
    chex.assert_trees_all_close(good, jax.tree.map(lambda v: v + 0, good))
    chex.assert_trees_all_equal_structs(good, {"a": 1, "b": [2]})
    chex.assert_numerical_grads(lambda v: jnp.sum(jnp.sin(v)), (jnp.arange(3.0),), order=1)
    chex.assert_is_broadcastable((1, 3), (2, 3))
    chex.assert_scalar_in(0.5, 0, 1)
    chex.assert_max_traces(n=1)
    return {
        "refused": np.array(
            [
                refused(chex.assert_shape, x, (3, 2)),
                refused(chex.assert_rank, x, 1),
                refused(chex.assert_type, x, int),
                refused(chex.assert_equal_shape, [x, x[0]]),
                refused(chex.assert_trees_all_equal, good, {"a": x, "b": [y + 1]}),
                refused(chex.assert_trees_all_close, x, x + 1e-3, atol=1e-5),
                refused(chex.assert_tree_all_finite, {"a": x / 0}),
                refused(chex.assert_trees_all_equal_dtypes, x, y),
                refused(chex.assert_scalar_positive, -1.0),
                refused(chex.assert_tree_has_only_ndarrays, {"a": 1}),
                refused(chex.assert_shape, x, (2, 3)),
            ]
        )
    }


def traces() -> dict[str, Any]:
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def f(x: Any) -> Any:
        return 2 * x

    values = [f(1.0), f(2.0)]
    again = refused(f, jnp.ones(2))
    with chex.fake_pmap_and_jit():
        calls = []
        jax.jit(lambda v: calls.append(v) or v)(3.0)
        parallel = jax.pmap(lambda v: jax.lax.psum(v, "i"), axis_name="i")(jnp.arange(4.0))
    return {
        "traced": jnp.stack(values),
        "limits": np.array([again, float(calls[0]) == 3.0]),
        "parallel": parallel,
    }


class Variants(chex.TestCase):
    @chex.all_variants(with_pmap=True)
    @parameterized.parameters(1.0, -2.0)
    def test_sum(self, scale: float) -> None:
        fn = self.variant(lambda x, y: scale * x + y)
        assert abs(float(fn(3.0, 1.0)) - (scale * 3 + 1)) < 1e-6

    @chex.variants(with_jit=True, without_jit=True)
    def test_static(self) -> None:
        fn = self.variant(lambda n, x: x * jnp.ones(n), static_argnums=(0,))
        chex.assert_shape(fn(4, 2.0), (4,))


def variants() -> dict[str, Any]:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Variants).run(result)
    assert not result.failures + result.errors, result.failures + result.errors
    return {"variants": np.array(result.testsRun)}


def checks_of_values() -> dict[str, Any]:
    @chex.chexify
    @jax.jit
    def positive_log(x: Any) -> Any:
        chex.assert_tree_all_finite(x)
        chex.assert_trees_all_close(x, jnp.abs(x))
        return jnp.log(x)

    good = positive_log(jnp.array([1.0, 2.0]))

    def run_bad() -> None:
        positive_log(jnp.array([1.0, -2.0]))
        chex.block_until_chexify_assertions_complete()

    bad = refused(run_bad)
    return {"log": good, "chexified": np.array(bad)}


def main() -> dict[str, Any]:
    state = State(step=jnp.array(0), moments=Moments(mean=jnp.zeros(2), var=jnp.zeros(2)))
    data = jnp.asarray(np.random.default_rng(0).normal(2.0, 3.0, (50, 2)), jnp.float32)
    state, _ = jax.lax.scan(lambda s, x: (update(s, x), None), state, data)
    np.testing.assert_allclose(state.moments.var, np.var(data, 0), rtol=1e-4)
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(state)]
    return {
        "mean": state.moments.mean,
        "names": np.array(names),
        **assertions(),
        **traces(),
        **variants(),
        **checks_of_values(),
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
