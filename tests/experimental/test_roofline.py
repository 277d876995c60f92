"""Counts of operations and bytes against counts by hand, and against JAX's where it counts."""

from typing import Any

import jax as real_jax
import jax.experimental.roofline
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.experimental import roofline as ours

X, Y = (np.ones(s, np.float32) for s in ((4, 5), (5, 6)))
SAME: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "products": (lambda np, x, y: np.sin(x @ y) + 1, (X, Y)),
    "batches": (
        lambda np, x, y: np.einsum("bij,bjk->bik", x, y),
        (X.reshape(2, 2, 5), Y.reshape(2, 5, 3)),
    ),
    "sums": (lambda np, x: np.sum(x * x), (np.ones(100, np.float32),)),
    "element-wise": (lambda np, x: np.exp(x), (X,)),
}


@pytest.mark.parametrize("name", SAME)
def test_counts_are_those_of_jax(name: str) -> None:
    f, args = SAME[name]
    shapes, found = ours.roofline(lambda *xs: f(jnp, *xs))(*args)
    theirs = real_jax.experimental.roofline.roofline(lambda *xs: f(real_jax.numpy, *xs))
    expected_shapes, expected = theirs(*args)
    assert shapes.shape == expected_shapes.shape
    for count in ("flops", "unfused_flops", "hbm_bytes", "unfused_hbm_bytes", "peak_hbm_bytes"):
        assert getattr(found, count) == getattr(expected, count), count


def test_loops_branches_and_convolutions() -> None:
    def body(c: Any, _: Any) -> Any:
        return c @ c, None

    square = np.ones((3, 3), np.float32)
    _, found = ours.roofline(lambda x: lax.scan(body, x, None, length=7)[0])(square)
    assert found.flops == 7 * 2 * 27
    _, found = ours.roofline(lambda x: lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x, x))(
        square
    )
    assert found.flops == 54
    image, kernel = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 2, 2), np.float32)
    _, found = ours.roofline(lambda x, k: lax.conv_general_dilated(x, k, (1, 1), "VALID"))(
        image, kernel
    )
    assert found.unfused_flops == 2 * 3 * 16 * 8


def test_reverse_passes_and_settings(capsys: Any) -> None:
    f = lambda x, y: jnp.sum(x @ y)  # noqa: E731
    _, forward, backward = ours.roofline_and_grad(f, None, None, None)(X, Y)
    assert forward.flops == 240
    assert backward.flops == 2 * 240
    _, pinned = ours.roofline(f, pin_lhs_in_vmem=True, print_jaxpr=True)(X, Y)
    assert forward.hbm_bytes - pinned.hbm_bytes == X.nbytes
    assert "dot_general" in capsys.readouterr().out


def test_rules_of_ones_own() -> None:
    primitive = lax.erf_inv_p
    ours.register_roofline(primitive)(
        lambda ctx, x, **_: ours.RooflineResult(flops=7 * x.size, hbm_bytes=x.bytes)
    )
    _, found = ours.roofline(lax.erf_inv)(X)
    assert (found.flops, found.hbm_bytes) == (140, 80)
    ours.register_standard_roofline(primitive)
    assert ours.roofline(lax.erf_inv)(X)[1].flops == 0
    assert ours.RooflineShape.total_bytes([pb.typeof(X), pb.typeof(Y)]) == 200
