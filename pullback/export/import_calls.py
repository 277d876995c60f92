"""Custom calls of StableHLO modules: LAPACK's routines as JAX names them, XLA's expansions, checks.

A custom call names code outside of the module.  Only those that are listed here are known, and each
is one of our own operations; nothing is looked up in the process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import lax
from pullback.core import dtypes
from pullback.errors import UnsupportedError
from pullback.export.import_control import reduced_windows
from pullback.export.import_structure import adjoint
from pullback.export.interpreter import Interpreter, ints, is_known, rule
from pullback.hlo.modules import ModuleError, Operation
from pullback.ops.linalg import geqrf

__all__: list[str] = []

_Call = Callable[[Interpreter, Operation, Sequence[Any]], Any]
_calls: Final[dict[str, _Call]] = {}


def _named(*names: str) -> Callable[[_Call], _Call]:
    def add(fn: _Call) -> _Call:
        for name in names:
            _calls[name] = fn
        return fn

    return add


def _lapack(routine: str) -> Callable[[_Call], _Call]:
    """Names of a routine for all four types; `?` is where the letter of the type stands."""
    return _named(*(f"lapack_{routine.replace('?', letter)}_ffi" for letter in "sdcz"))


@rule("stablehlo.custom_call")
def _custom_call(interpreter: Interpreter, operation: Operation, *xs: Any) -> Any:
    target = str(operation.attributes.get("call_target_name"))
    fn = _calls.get(target)
    if fn is None:
        raise UnsupportedError(f"the custom call {target!r}: it is code outside of the module")
    return fn(interpreter, operation, xs)


def _options(operation: Operation) -> dict[str, Any]:
    found = operation.attributes.get("mhlo.backend_config")
    if not isinstance(found, dict):
        found = operation.attributes.get("backend_config")
    return found if isinstance(found, dict) else {}


def _letter(operation: Operation, name: str) -> str:
    value = _options(operation).get(name)
    if value is None:
        raise ModuleError(f"a custom call of the module lacks its option {name!r}")
    return chr(int(value) & 127)


def _good(xs: Any, axes: int) -> Any:
    """LAPACK's code for success, one for each matrix."""
    return np.zeros(xs.shape[: len(xs.shape) - axes], np.int32)


# --------------------------------------------------------------------------- checks, markers


@_named("Sharding", "annotate_device_placement", "SPMDFullToShardShape", "SPMDShardToFullShape")
def _same(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> Any:
    return xs[0]


@_named("shape_assertion")
def _assertion(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    if not xs or not all(map(is_known, xs)):
        raise ModuleError("an assertion about lengths of axes depends on values of arrays")
    if not xs[0]:
        message = str(operation.attributes.get("error_message", "the lengths of axes do not fit"))
        for k, x in enumerate(xs[1:]):
            message = message.replace(f"{{{k}}}", str(int(x)))
        raise ValueError(message)
    return []


@rule("sdy.sharding_constraint", "builtin.unrealized_conversion_cast")
def _constraint(interpreter: Interpreter, operation: Operation, x: Any) -> Any:
    return x


# --------------------------------------------------------------------------- linear algebra


@_lapack("?potrf")
def _potrf(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    (x,) = xs
    lower = _letter(operation, "uplo") == "L"
    factor = lax.linalg.cholesky(x if lower else adjoint(x), symmetrize_input=False)
    return [factor if lower else adjoint(factor), _good(x, 2)]


@_lapack("?getrf")
def _getrf(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    lu, pivots, _ = lax.linalg.lu(xs[0])
    return [lu, lax.add(pivots, lax.full_like(pivots, 1)), _good(xs[0], 2)]


@_lapack("?trsm")
def _trsm(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> Any:
    a, b = xs[:2]
    kind = _letter(operation, "trans_x")
    return lax.linalg.triangular_solve(
        a,
        b,
        left_side=_letter(operation, "side") == "L",
        lower=_letter(operation, "uplo") == "L",
        transpose_a=kind in "TC",
        conjugate_a=kind == "C",
        unit_diagonal=_letter(operation, "diag") == "U",
    )


@_lapack("?geqrf")
@_named("Qr")
def _geqrf(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    return list(geqrf.bind(xs[0]))


_named(*(f"lapack_{t}orgqr_ffi" for t in "sd"), *(f"lapack_{t}ungqr_ffi" for t in "cz"))(
    lambda interpreter, operation, xs: lax.linalg.householder_product(*xs)
)
_named("ProductOfElementaryHouseholderReflectors")(
    lambda interpreter, operation, xs: lax.linalg.householder_product(*xs)
)


@_lapack("?gesdd")
def _gesdd(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    (x,) = xs
    mode = _letter(operation, "mode")
    if mode == "N":
        values = lax.linalg.svd(x, compute_uv=False)
        vectors = [lax.full(v.type.shape, 0, x.dtype) for v in operation.results[2:4]]
        return [x, values, *vectors, _good(x, 2)]
    u, values, v = lax.linalg.svd(x, full_matrices=mode == "A")
    return [x, values, u, v, _good(x, 2)]


_EIGENVALUES: Final = tuple(f"lapack_{t}_ffi" for t in ("ssyevd", "dsyevd", "cheevd", "zheevd"))


@_named(*_EIGENVALUES)
def _syevd(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    lower = _letter(operation, "uplo") == "L"
    vectors, values = lax.linalg.eigh(xs[0], lower=lower, symmetrize_input=False)
    return [vectors, values, _good(xs[0], 2)]


@_named("Eigh")
def _eigh(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    text = str(operation.attributes.get("backend_config"))
    lower = not text.startswith("0")
    return list(lax.linalg.eigh(xs[0], lower=lower, symmetrize_input=False))


@_named(*(f"lapack_{t}geev_ffi" for t in "sdcz"))
def _geev(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    (x,) = xs
    left, right = (_letter(operation, f"compute_{side}") == "V" for side in ("left", "right"))
    values, *vectors = lax.linalg.eig(
        x, compute_left_eigenvectors=left, compute_right_eigenvectors=right
    )
    given = iter(vectors)
    shape, dtype = x.shape, values.dtype
    both = [next(given) if wanted else lax.full(shape, 0, dtype) for wanted in (left, right)]
    parts = [values] if dtypes.kind_of(x.dtype) == "c" else [lax.real(values), lax.imag(values)]
    return [*parts, *both, _good(x, 2)]


# --------------------------------------------------------------------------- unknown lengths


@_named("stablehlo.dynamic_reduce_window")
def _dynamic_reduce_window(
    interpreter: Interpreter, operation: Operation, xs: Sequence[Any]
) -> list[Any]:
    n = (len(xs) - 5) // 2
    if n < 1 or len(xs) != 2 * n + 5 or not all(map(is_known, xs[2 * n :])):
        raise ModuleError("stablehlo.dynamic_reduce_window lacks some of its operands")
    window, strides, base, dilation = (ints(x) for x in xs[2 * n : -1])
    names = operation.attributes.get("called_computations") or []
    if len(names) != 1:
        raise ModuleError("stablehlo.dynamic_reduce_window needs one function")
    body = interpreter.function(str(names[0])).regions[0]
    padding = [(int(p), int(q)) for p, q in np.asarray(xs[-1]).reshape(-1, 2)]
    return reduced_windows(
        body,
        interpreter.region(body, {}),
        xs[:n],
        xs[n : 2 * n],
        window,
        strides,
        padding,
        base,
        dilation,
    )


@_named("stablehlo.dynamic_top_k")
def _dynamic_top_k(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    if not is_known(xs[1]):
        raise ModuleError("stablehlo.dynamic_top_k of a number that depends on values of arrays")
    return list(lax.top_k(xs[0], int(xs[1])))


@_named("mhlo.topk")
def _mhlo_top_k(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> list[Any]:
    return list(lax.top_k(xs[0], int(operation.results[0].type.shape[-1])))


@_named("mhlo.erf")
def _mhlo_erf(interpreter: Interpreter, operation: Operation, xs: Sequence[Any]) -> Any:
    return lax.erf(xs[0])
