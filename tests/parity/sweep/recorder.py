"""`python -m tests.parity.sweep.recorder [RECIPE...]`: runs on JAX the calls that have no result.

Results of calls that are no longer in the table go. To record everything again, delete `golden`.
"""

from __future__ import annotations

import sys
import time

import jax
import jax.flatten_util
import jax.image
import jax.ops
import jax.scipy.cluster.vq
import jax.scipy.fft
import jax.scipy.integrate
import jax.scipy.interpolate
import jax.scipy.ndimage
import jax.scipy.optimize
import jax.scipy.signal
import jax.scipy.sparse.linalg
import jax.scipy.spatial.transform
import jax.scipy.special
import jax.scipy.stats

from tests.parity.sweep import golden, tables
from tests.parity.sweep.evaluation import Namespace, evaluate


def record(recipe: str) -> int:
    """Evaluate what is missing, keep it, and say how many calls that were."""
    names, known = Namespace(jax), golden.read(recipe)
    wanted = tables.calls(recipe)
    missing = [call for call in wanted if call not in known]
    results = dict(known)
    saved = time.monotonic()
    for call in missing:
        results[call] = evaluate(call, names)
        if time.monotonic() - saved > 20:
            golden.write(recipe, results)
            jax.clear_caches()  # of gigabytes
            saved = time.monotonic()
    results = {call: results[call] for call in wanted}
    if results != known or list(results) != list(known):
        golden.write(recipe, results)
    golden.read.cache_clear()
    jax.clear_caches()
    return len(missing)


if __name__ == "__main__":
    for name in sys.argv[1:] or tables.recipes():
        start = time.monotonic()
        print(name, record(name), f"{time.monotonic() - start:.0f} s", flush=True)
