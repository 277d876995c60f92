"""Programs of the libraries that are built on JAX, run unmodified, against JAX's own numbers.

Each program of `programs/` uses a library as its documentation does, and writes named arrays to a
file.  It is run by `pullback run`, and its arrays are compared with those that the same program
wrote under JAX, which are kept in `goldens/`; `--golden-update` runs the programs under JAX again.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
PROGRAMS = {
    "blackjax_nuts": ["blackjax"],
    "chex_asserts": ["chex"],
    "diffrax_ode": ["diffrax", "optax", "optimistix"],
    "distrax_flows": ["distrax", "optax"],
    "einops_patches": ["einops"],
    "equinox_train": ["equinox", "optax"],
    "flax_linen_cnn": ["flax", "optax"],
    "flax_nnx_mlp": ["flax", "optax"],
    "haiku_rnn": ["haiku", "optax", "tree"],
    "jaxopt_solvers": ["jaxopt"],
    "jaxtyping_checks": ["jaxtyping", "beartype"],
    "jraph_gnn": ["jraph", "optax"],
    "lineax_solves": ["lineax"],
    "numpyro_nuts": ["numpyro"],
    "optax_train": ["optax"],
    "optimistix_roots": ["optimistix", "optax"],
    "orbax_checkpoint": ["orbax.checkpoint", "flax", "optax"],
    "tfp_substrate": ["tensorflow_probability"],
    "treescope_render": ["treescope"],
}
"""What each program imports besides JAX and NumPy."""

TOLERANCE = {"f": {4: 3e-4, 8: 1e-7}, "c": {8: 3e-4, 16: 1e-7}}
"""Of errors relative to the largest element, by kind and size of the elements."""


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def run(command: list[str], out: Path) -> dict[str, np.ndarray]:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, *command, str(out)],
        capture_output=True,
        text=True,
        timeout=1200,
        cwd=HERE.parent.parent,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    with np.load(out) as arrays:
        return dict(arrays)


def assert_close(found: np.ndarray, wanted: np.ndarray, name: str) -> None:
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), name
    sizes = TOLERANCE.get(wanted.dtype.kind)
    if sizes is None:
        np.testing.assert_array_equal(found, wanted, err_msg=name)
        return
    tolerance = sizes[wanted.dtype.itemsize]
    finite = np.abs(wanted[np.isfinite(wanted)])
    largest = float(finite.max()) if finite.size else 0.0
    np.testing.assert_allclose(
        found, wanted, rtol=tolerance, atol=tolerance * largest, err_msg=name
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_program_gives_the_numbers_of_jax(
    program: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    missing = [m for m in PROGRAMS[program] if not is_installed(m)]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed: pip install 'pullback[ecosystem]'")
    path, golden = HERE / "programs" / f"{program}.py", HERE / "goldens" / f"{program}.npz"
    if request.config.getoption("--golden-update"):
        arrays = run([str(path)], tmp_path / "jax.npz")
        golden.parent.mkdir(exist_ok=True)
        np.savez(golden, **arrays)
    found = run(["-m", "pullback", "run", str(path)], tmp_path / "pullback.npz")
    with np.load(golden) as wanted:
        assert set(found) == set(wanted)
        for name in found:
            assert_close(found[name], wanted[name], name)
