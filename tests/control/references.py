"""What the tests of references share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as jnp

ref_add: Any = pb.ref.addupdate
ref_get: Any = pb.ref.get
ref_set: Any = pb.ref.set
ref_swap: Any = pb.ref.swap


def ref(*shape: int) -> Any:
    n = int(np.prod(shape))
    return pb.new_ref(jnp.arange(n, dtype=jnp.float32).reshape(shape))


def array(*shape: int) -> Any:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def run(mode: str, fun: Callable[..., Any], *args: Any) -> Any:
    return pb.jit(fun)(*args) if mode == "jit" else fun(*args)


modes = pytest.mark.parametrize("mode", ["eager", "jit"])


def update(r: Any, x: Any) -> Any:
    r[1] += x
    r[:1] = jnp.ones(1)
    return r[...].sum()
