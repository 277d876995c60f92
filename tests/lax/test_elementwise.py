"""Every element-wise function of `lax` gives what the one of the same name in `jax.lax` gives."""

from __future__ import annotations

import inspect
import itertools
from typing import Any

import jax
import numpy as np
import pytest

from pullback import lax
from pullback.core import dtypes
from pullback.lax import arithmetic, functions

NAMES = [
    name
    for module in (arithmetic, functions)
    for name in module.__all__
    if inspect.isfunction(getattr(module, name))
    and name not in ("random_gamma_grad", "stop_gradient")
]
ARRAYS = [
    np.array([0.25, 0.5, 0.75], np.float32),
    np.array([1, 2, 3], np.int32),
    np.array([0.25 + 0.5j, 0.5 - 0.25j, 0.75], np.complex64),
    np.array([True, False, True]),
    np.array([1, 2, 3], np.uint8),
    np.array([0.25, 0.5, 0.75], dtypes.bfloat16),
    0.5,
    2,
]
SPECIAL = {
    "integer_pow": [(x, y) for x in ARRAYS for y in (-1, 0, 3)],
    "convert_element_type": [(x, d) for x in ARRAYS for d in (np.float32, int, bool, "bfloat16")],
    "bitcast_convert_type": [(ARRAYS[0], np.int32), (ARRAYS[1], np.uint8), (ARRAYS[5], np.int16)],
    "reduce_precision": [(x, 5, 4) for x in ARRAYS],
    "select_n": [(ARRAYS[3], x, x) for x in ARRAYS[:6]] + [(True, 1.0, 2.0)],
    "select": [(ARRAYS[3], x, x) for x in ARRAYS[:6]] + [(ARRAYS[1], 1.0, 2.0)],
    "round": [(x, m) for x in ARRAYS for m in (0, 1)],
}


def _count(name: str) -> int:
    parameters = inspect.signature(getattr(lax, name)).parameters.values()
    return sum(p.default is p.empty and p.kind is not p.VAR_POSITIONAL for p in parameters)


def _calls(name: str) -> list[tuple[Any, ...]]:
    if name in SPECIAL:
        return SPECIAL[name]
    count = _count(name)
    alike = [(x,) * count for x in ARRAYS]
    mixed = list(itertools.permutations(ARRAYS, 2)) if count == 2 else []
    scalars = [(ARRAYS[0],) * (count - 1) + (0.5,)]
    return alike + mixed[::5] + scalars


def _jax_call(name: str, args: tuple[Any, ...]) -> Any:
    if name == "round":
        args = (args[0], jax.lax.RoundingMethod(args[1]))
    return getattr(jax.lax, name)(*map(_for_jax, args))


def _for_jax(x: Any) -> Any:
    return jax.numpy.asarray(x) if isinstance(x, np.ndarray) else x


def _adopting(args: tuple[Any, ...]) -> bool:
    """Python scalars take the dtype of arrays here; `jax.lax` refuses where the default differs."""
    return any(isinstance(x, int | float) for x in args)


@pytest.mark.filterwarnings("ignore:Casting complex values:numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("name", NAMES)
def test_function_agrees_with_jax(name: str) -> None:
    tried = 0
    for args in _calls(name):
        try:
            want = _jax_call(name, args)
        except (TypeError, ValueError, AttributeError):
            if not _adopting(args):
                with pytest.raises((TypeError, ValueError)):
                    getattr(lax, name)(*args)
            continue
        got = getattr(lax, name)(*args)
        what = f"{name}{args}"
        assert (got.dtype, got.shape) == (want.dtype, want.shape), what
        assert got.weak_type == want.weak_type, what
        wide = np.complex128 if got.dtype.kind == "c" else np.float64
        got, want = np.asarray(got).astype(wide), np.asarray(want).astype(wide)
        np.testing.assert_allclose(got, want, 1e-2 if "bf" in what else 1e-4, 1e-6, err_msg=what)
        tried += 1
    assert tried, f"no call of {name} was compared"


def test_signatures_have_the_parameters_of_jax() -> None:
    for name in NAMES:
        ours = list(inspect.signature(getattr(lax, name)).parameters)
        theirs = list(inspect.signature(getattr(jax.lax, name)).parameters)
        assert ours == theirs[: len(ours)] or len(ours) == len(theirs), name


def test_loss_of_an_imaginary_part_is_told() -> None:
    with pytest.warns(np.exceptions.ComplexWarning):
        lax.convert_element_type(1 + 2j, np.float32)
