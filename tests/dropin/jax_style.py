"""Cases in the style of JAX's own tests, run under the drop-in by `test_jax_style.py`."""

# ruff: noqa: PT009, PT027  (assertions as methods, as the class that is tried has them)

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized
from jax._src import config
from jax._src import test_util as jtu

config.parse_flags_with_absl()

SHAPES = [(3,), (2, 3), (), jtu.NUMPY_SCALAR_SHAPE]
OPERATIONS = [
    {"op": "add", "rng_factory": jtu.rand_default},
    {"op": "multiply", "rng_factory": jtu.rand_some_inf},
    {"op": "hypot", "rng_factory": jtu.rand_some_nan},
]


class Cases(jtu.JaxTestCase):
    @jtu.sample_product(
        OPERATIONS,
        shapes=list(itertools.combinations_with_replacement(SHAPES, 2)),
        dtype=jtu.dtypes.floating,
    )
    @jax.numpy_rank_promotion("allow")
    def testBinary(self, op: str, rng_factory: Any, shapes: Any, dtype: Any) -> None:
        rng = rng_factory(self.rng())

        def args_maker() -> list[Any]:
            return [rng(shape, dtype) for shape in shapes]

        with np.errstate(all="ignore"):
            self._CheckAgainstNumpy(getattr(np, op), getattr(jnp, op), args_maker)
        self._CompileAndCheck(getattr(jnp, op), args_maker)

    def testComparisonsCanFail(self) -> None:
        one, other = np.float32(1.0), np.float32(1.1)
        for args in ((one, other), ([one], [other]), ({"a": one}, {"a": other})):
            with self.assertRaises(AssertionError):
                self.assertAllClose(*args)
        with self.assertRaises(AssertionError):
            self.assertAllClose(one, np.int32(1))
        with self.assertRaises(AssertionError):
            self.assertArraysEqual(jnp.arange(3), np.arange(1, 4))

    def testGradients(self) -> None:
        jtu.check_grads(lambda x: jnp.sin(x) * x, (np.float32(1.3),), order=2)
        z = np.ones(3, np.complex64) * (0.3 + 0.2j)
        jtu.check_grads(lambda x: jnp.sum(jnp.exp(x) * x), (z,), order=2)

        @jax.custom_jvp
        def wrong(x: Any) -> Any:
            return 2 * x

        wrong.defjvps(lambda t, ans, x: 3 * t)
        for mode in ("fwd", "rev"):
            with self.assertRaises(AssertionError):
                jtu.check_grads(wrong, (np.float32(1.0),), order=1, modes=[mode])

    def testPromotionIsStrict(self) -> None:
        with self.assertRaises(ValueError):
            jnp.ones(3, "int32") + jnp.ones(3, "float32")

    @jtu.with_config(jax_numpy_dtype_promotion="standard")
    def testPromotionByConfig(self) -> None:
        self.assertEqual((jnp.ones(3, "int32") + jnp.ones(3, "float32")).dtype, jnp.float32)

    def testCounts(self) -> None:
        with jtu.count_jit_tracing_cache_miss() as traced:
            f = jax.jit(lambda x: x + 1)
            f(1.0)
            f(2.0)
        self.assertEqual(traced(), 1)
        with self.assertRaises(AssertionError), jtu.assert_num_jit_and_pmap_compilations(2):
            jax.jit(lambda x: x + 2.5)(1.0)

    @parameterized.parameters(*jtu.cases_from_list(range(20)))
    def testSomeOfAList(self, i: int) -> None:
        self.assertIn(i, range(20))

    def testSettings(self) -> None:
        with config.enable_x64(True):
            self.assertEqual(jnp.ones(3).dtype, np.float64)
            self.assertTrue(config.enable_x64.value)


if __name__ == "__main__":
    absltest.main(testLoader=jtu.JaxTestLoader())
