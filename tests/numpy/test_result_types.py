"""Dtypes and weak types of results, for functions with operands of all kinds: as JAX's."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import jax
import pytest

import pullback

OPERANDS: Final = [
    "bool",
    "int8",
    "uint8",
    "int32",
    "uint32",
    "int64",
    "float16",
    "bfloat16",
    "float32",
    "float64",
    "complex64",
    "weak_int",
    "weak_float",
    "weak_complex",
    "python_int",
    "python_float",
]
"""Arrays of four elements by dtype, weakly typed ones, and Python's scalars."""

UNARY: Final = """
jnp.angle(x)|jnp.angle(x, deg=True)|jnp.unwrap(x)|jnp.unwrap(x, period=4)|jnp.trapezoid(x)
jnp.deg2rad(x)|jnp.rad2deg(x)|jnp.sinc(x)|jnp.signbit(x)|jnp.isreal(x)|jnp.iscomplex(x)
jnp.logical_not(x)|jnp.round(x, 1)|jnp.round(x, 0)|jnp.vander(x)|jnp.gradient(x)
jnp.diag(x)|jnp.diag(jnp.diag(x))|jnp.diagflat(x)|jnp.diagonal(jnp.diag(x))
jnp.unique(x, size=2)|jnp.unique(x, size=2, fill_value=1)|jnp.unique_all(x, size=2)
jnp.argpartition(x, 1)|jnp.partition(x, 1)|jnp.argsort(x)|jnp.sort(x)
jnp.pad(x, 1)|jnp.pad(x, 1, mode="mean")|jnp.pad(x, 1, mode="linear_ramp")
jnp.pad(x, 1, mode="maximum")|jnp.pad(x, 1, mode="edge")|jnp.cov(x)|jnp.corrcoef(x)
jnp.linalg.vector_norm(x)|jnp.linalg.norm(x)|jnp.linalg.matrix_rank(x)
scipy.special.logsumexp(x)|scipy.special.logit(x)|scipy.special.gamma(x)
scipy.special.loggamma(x)|scipy.special.entr(x)
nn.gelu(x)|nn.gelu(x, approximate=False)|nn.logmeanexp(x)|nn.softplus(x)|nn.log_sigmoid(x)
nn.mish(x)|nn.softmax(x)|nn.relu(x)|nn.elu(x)|lax.top_k(x, 2)
"""

BINARY: Final = """
jnp.logical_and(x, y)|jnp.logical_or(x, y)|jnp.logical_xor(x, y)|jnp.hypot(x, y)
jnp.heaviside(x, y)|jnp.logaddexp(x, y)|jnp.logaddexp2(x, y)|jnp.gcd(x, y)|jnp.lcm(x, y)
jnp.arctan2(x, y)|jnp.add(x, y)|jnp.true_divide(x, y)|jnp.floor_divide(x, y)
jnp.where(x != 0, x, y)|jnp.convolve(x, y)|jnp.correlate(x, y)|jnp.polymul(x, y)
jnp.polydiv(x, y)|jnp.cov(x, y)|jnp.corrcoef(x, y)|jnp.trapezoid(x, y)
scipy.special.rel_entr(x, y)|scipy.special.kl_div(x, y)|scipy.special.logsumexp(x, b=y)
lax.scan(lambda c, v: (c + v, c), 0.0, x)|lax.scan(lambda c, v: (c + v, c), 0, x)
lax.scan(lambda c, v: (c, (v, 1, c * v)), y, x)
lax.fori_loop(0, 3, lambda i, c: c + x[0], 0.0)|lax.fori_loop(0, 3, lambda i, c: c + i, x)
lax.fori_loop(0, 3, lambda i, c: (c[0] + x[0], c[1] * c[0]), (0.0, y))
lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, x))
"""

NEAREST: Final = ("int32", "float16", "weak_int", "python_float")
"""Second operands: those that differ from each other in how they promote."""

UNARY_CALLS: Final = UNARY.strip().replace("\n", "|").split("|")
BINARY_CALLS: Final = BINARY.strip().replace("\n", "|").split("|")


def _operand(library: ModuleType, kind: str) -> Any:
    scalars = {"int": 1, "float": 1.0, "complex": 1j}
    origin, _, name = kind.rpartition("_")
    if origin == "python":
        return scalars[name]
    if origin == "weak":
        return library.jit(lambda x: library.lax.broadcast(x, (4,)))(scalars[name])
    return library.numpy.ones(4, kind)


def _types(result: Any) -> Any:
    if isinstance(result, (tuple, list)):
        return [_types(r) for r in result]
    return f"{result.dtype}{'*' if result.weak_type else ''}{result.shape}"


def _results(library: ModuleType, call: str, seconds: Sequence[str]) -> dict[str, Any]:
    """The types of results by operands; those of operands that the call refuses are missing."""
    names = {"jnp": library.numpy, "lax": library.lax, "scipy": library.scipy, "nn": library.nn}
    found: dict[str, Any] = {}
    for first in OPERANDS:
        for second in seconds:
            both = {"x": _operand(library, first), "y": _operand(library, second)}
            scope = {**names, **both}
            # What fails is the subject of other tests.
            with contextlib.suppress(TypeError, ValueError, LookupError, NotImplementedError):
                evaluated = library.eval_shape(lambda scope=scope: eval(call, scope))
                found[f"{first}, {second}"] = _types(evaluated)
    return found


@pytest.fixture(scope="module", autouse=True)
def _modules() -> None:
    for library in (jax, pullback):
        for module in ("scipy.special", "nn"):
            importlib.import_module(f"{library.__name__}.{module}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("call", [*UNARY_CALLS, *BINARY_CALLS])
def test_types(call: str, x64: bool) -> None:
    seconds = NEAREST if call in BINARY_CALLS else NEAREST[:1]
    with jax.enable_x64(x64), pullback.enable_x64(x64):
        want = _results(jax, call, seconds)
        got = _results(pullback, call, seconds)
    differ = {k: (v, got.get(k)) for k, v in want.items() if v != got.get(k)}
    assert want
    assert not differ
