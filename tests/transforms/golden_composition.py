"""What the compositions give on JAX, kept in a file: JAX takes minutes to compile all of them.

`pytest tests/transforms/test_composition.py --golden-update` writes it again, in full.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.ad_checkpoint
import jax.experimental
import jax.numpy
import numpy as np

from tests.transforms import wrappers
from tests.transforms.wrappers import Chain, System, X, compose, derivative

_PATH = Path(__file__).parent / "golden" / "composition.json"
RULE = 1.5
"""Custom rules of what is compared with JAX are this many times too large."""


def _digest() -> str:
    tree = ast.parse(Path(wrappers.__file__).read_text())
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()


def key(chain: Chain, function: Any) -> str:
    """The name of a chain applied to a function."""
    return " ".join(w.__name__[2:] for w in (*chain, function))


def write(cases: Iterable[tuple[Chain, Any]]) -> None:
    """Run JAX."""
    results = {}
    system = System(jax, RULE)
    with jax.enable_x64(True):
        for k, (chain, function) in enumerate(cases):
            f = compose(system, chain, function)
            g = derivative(system, chain, f)
            outs = jax.jit(g)(X) if g is not None else [jax.jit(f)(X)]
            results[key(chain, function)] = [np.asarray(x).tolist() for x in outs]
            if k % 50 == 49:
                jax.clear_caches()
    _PATH.parent.mkdir(exist_ok=True)
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in results.items())
    _PATH.write_text(f'{{\n  "digest": "{_digest()}",\n{lines}\n}}\n')
    read.cache_clear()


@cache
def read() -> dict[str, list[list[float]]]:
    """Value, and derivative if there is one, by key."""
    found = json.loads(_PATH.read_text())
    assert found.pop("digest") == _digest(), "wrappers.py has changed: use --golden-update"
    return found
