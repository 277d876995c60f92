"""Carries that are updated in place: each is computed from the old values of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax


def by_hand(body: Any, carry: Any, xs: Any) -> Any:
    for x in xs:
        carry = body(carry, x)
    return carry


BODIES = {
    "second reads first": lambda c, x: (c[0] * x, c[1] * 0.5 + c[0] * x),
    "swap": lambda c, x: (c[1], c[0]),
    "rotation": lambda c, x: (c[0] * 0.6 - c[1] * 0.8, c[0] * 0.8 + c[1] * 0.6 + x),
    "reversed": lambda c, x: (c[1][::-1] + x, c[0][::-1] * 2.0),
    "reduction of the other": lambda c, x: (c[0] + c[1].sum(), c[1] * c[0].max() * 0.5),
    "cumulative": lambda c, x: (c[0].cumsum() * 0.5, c[1] + c[0]),
}


@pytest.mark.parametrize("size", [1, 2, 3, 16, 37])
@pytest.mark.parametrize("name", BODIES)
def test_scan_and_loops(name: str, size: int) -> None:
    body = BODIES[name]
    init = (jnp.linspace(0.1, 1.0, size), jnp.linspace(1.0, 0.3, size))
    xs = jnp.array([0.3, -0.2, 0.5, 0.1])
    expected = by_hand(body, init, xs)
    scanned, _ = lax.scan(lambda c, x: (body(c, x), None), init, xs)
    looped = lax.fori_loop(0, 4, lambda i, c: body(c, xs[i]), init)
    whiled = pb.jit(
        lambda c: lax.while_loop(
            lambda s: s[0] < 4, lambda s: (s[0] + 1, body(s[1], xs[s[0]])), (0, c)
        )[1]
    )(init)
    for result in (scanned, looped, whiled):
        for a, b in zip(result, expected, strict=True):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)
