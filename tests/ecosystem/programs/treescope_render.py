"""treescope: arrays, trees, functions and models as text and as HTML."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import treescope


@dataclasses.dataclass
class Config:
    width: int
    weights: Any


def main() -> dict[str, Any]:
    tree = {
        "w": jnp.arange(6.0).reshape(2, 3),
        "b": jnp.array([True, False]),
        "key": jax.random.key_data(jax.random.key(1)),
        "list": [1, 2.5, "text", None],
        "config": Config(3, jnp.ones((2, 2), jnp.bfloat16)),
        "numpy": np.arange(3),
        "struct": jax.ShapeDtypeStruct((2, 3), jnp.float32),
    }
    text = treescope.render_to_text(tree)
    html = treescope.render_to_html(tree, compressed=False)
    figure = treescope.render_array(jnp.sin(jnp.arange(40.0)).reshape(5, 8))
    with treescope.active_autovisualizer.set_scoped(treescope.ArrayAutovisualizer()):
        pictured = treescope.render_to_html(tree, compressed=False)
    seen = []

    @jax.jit
    def traced(x: Any) -> Any:
        seen.append(treescope.render_to_text({"x": x}))
        return x

    traced(jnp.ones(3))
    names = ["w", "Config", "width", "float32", "bool", "bfloat16", "ShapeDtypeStruct", "text"]
    summary = treescope.render_to_text(jnp.linspace(0.0, 1.0, 100))
    return {
        "named": np.array([name in text for name in names]),
        "html": np.array([name in html for name in ("treescope", "float32", "Config")]),
        "sizes": np.array([len(html) > 3000, len(pictured) > len(html)]),
        "figure": np.array("html" in str(type(figure)).lower() or bool(figure)),
        "traced": np.array("[3]" in seen[0]),
        "summary": np.array(["100" in summary, "≈" in summary or "mean" in summary.lower()]),
    }


if __name__ == "__main__":
    np.savez(sys.argv[1], **main())
