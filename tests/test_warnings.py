"""`python -W error`: importing every module, and ordinary use, raise no warning."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import gc, importlib, pkgutil
import pullback
for module in pkgutil.walk_packages(pullback.__path__, "pullback."):
    if not module.name.startswith("pullback.dropin.shims"):  # these are modules of jax
        importlib.import_module(module.name)
import pullback.numpy as jnp
f = pullback.jit(lambda x: jnp.sin(x).sum() / 0.0)
print(pullback.grad(f)(jnp.ones(3)).shape, pullback.vmap(jnp.log)(jnp.zeros((2, 2))).shape)
key = pullback.random.key(0)
y, ys = pullback.lax.scan(lambda c, x: (c + x, c * x), 0.0, pullback.random.normal(key, (5,)))
print(jnp.linalg.svd(jnp.eye(3))[0].shape, jnp.full(3, 1e38) * 10, ys.shape)
pullback.clear_caches()
gc.collect()
"""


def test_nothing_warns() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", _SCRIPT], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    assert "Warning" not in run.stderr, run.stderr
