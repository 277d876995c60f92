"""Programs have an identity across processes: else they are compiled again in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp
from pullback import lax
from pullback.core.avals import aval_of
from pullback.core.primitive import Primitive, registry
from pullback.passes.fingerprint import fingerprint
from pullback.passes.simplify import simplify
from pullback.runtime.programs import one_equation

SAMPLED = sorted(name for name, p in registry.items() if callable(p.samples))


@pytest.mark.parametrize("name", SAMPLED)
def test_every_sampled_primitive(name: str) -> None:
    primitive: Primitive = registry[name]
    for sample in primitive.samples():
        avals = [aval_of(x) for x in sample.args]
        with pb.enable_x64():
            closed = simplify(one_equation(primitive, avals, sample.params))
        assert fingerprint(closed.jaxpr)


def pooled(kind: Callable[..., Any], start: float) -> Callable[[Any], Any]:
    return lambda x: lax.reduce_window(x, start, kind, (2, 2), (2, 2), "VALID").sum()


PROGRAMS: dict[str, Callable[[Any], Any]] = {
    "gradient of max pooling": pb.grad(pooled(lax.max, -jnp.inf)),
    "gradient of min pooling": pb.grad(pooled(lax.min, jnp.inf)),
    "tangent of max pooling": lambda x: pb.jvp(pooled(lax.max, -jnp.inf), (x,), (x,)),
    "second derivative": pb.grad(lambda x: (pb.grad(pooled(lax.max, -jnp.inf))(x) * x * x).sum()),
    "gradient of a resized image": pb.grad(
        lambda x: (pb.image.resize(x, (8, 12), "nearest") ** 2).sum()
    ),
    "gradient of a sort": pb.grad(lambda x: (jnp.sort(x, axis=0) * jnp.cumsum(x, 1)).max()),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_derivatives(name: str) -> None:
    closed = pb.make_jaxpr(PROGRAMS[name])(np.ones((4, 6), np.float32))
    assert fingerprint(simplify(closed).jaxpr)


def test_select_primitives_differ() -> None:
    up, down = (
        pb.make_jaxpr(PROGRAMS[f"gradient of {kind} pooling"])(np.ones((4, 6), np.float32))
        for kind in ("max", "min")
    )
    assert fingerprint(simplify(up).jaxpr) != fingerprint(simplify(down).jaxpr)
