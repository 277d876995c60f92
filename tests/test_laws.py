"""Laws that hold for every primitive, generated over the whole registry from its samples.

reference = abstract rule (shape and dtype)        reference = compiled code
jvp = finite differences                           ⟨ct, jvp t⟩ = ⟨vjp ct, t⟩
batched = one by one                               transposed twice = itself
reference = JAX (values, dtypes, weak types), for the families whose parameters are JAX's
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

import pullback
from pullback import config
from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.primitive import (
    FIRST_ORDER,
    NotApplicable,
    Primitive,
    Sample,
    registry,
)
from pullback.errors import UnsupportedError
from pullback.experimental.sparse import dense  # noqa: F401
from pullback.ops import (
    cumulative,
    elementwise,
    hypergeometric,  # noqa: F401
    integrals,  # noqa: F401
    pooling,
    reductions,
    special,
)

SAMPLED = sorted(
    name
    for name, p in registry.items()
    if p.partial_eval is FIRST_ORDER and next(iter(p.samples()), None) is not None
)
DIFFERENTIABLE = [n for n in SAMPLED if not isinstance(registry[n].jvp, NotApplicable)]
LINEAR = [n for n in SAMPLED if not isinstance(registry[n].transpose, NotApplicable)]

_WIDER: dict[Any, Any] = {
    dtypes.float32: dtypes.float64,
    dtypes.complex64: dtypes.complex128,
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --------------------------------------------------------------------------- samples


def _is_wide(dtype: Any) -> bool:
    return dtype in (dtypes.float64, dtypes.complex128, dtypes.int64, dtypes.uint64)


def _needs_x64(sample: Sample) -> bool:
    held = [x.dtype for x in sample.args] + [
        v for v in sample.params.values() if isinstance(v, np.dtype)
    ]
    return any(_is_wide(d) for d in held)


def _under(sample: Sample) -> Any:
    return config.x64.override(_needs_x64(sample))


def _samples(name: str, smooth: bool = False) -> list[Sample]:
    samples = [replace(s, args=tuple(map(np.asarray, s.args))) for s in registry[name].samples()]
    if not smooth:
        return samples
    wide = [
        _widened(s) for s in samples if s.smooth or (name in _SYMMETRIC and _is_smooth(name, s))
    ]
    return [s for s in wide if s is not None and _inexact_places(s)]


_SYMMETRIC = ("cholesky", "eigh")
"""Primitives of symmetric matrices: their derivatives know it, and differences must, too."""


def _is_smooth(name: str, sample: Sample) -> bool:
    """Finite, with eigenvalues apart, for Cholesky's decomposition positive."""
    (x,) = sample.args
    if x.dtype.kind != "f" or not np.isfinite(x).all() or x.shape[-1] > 24:
        return False
    values = np.linalg.eigvalsh(_symmetric(x))
    apart = bool((np.diff(values) > 1e-3).all())
    return apart and (name == "eigh" or bool((values > 0).all()))


def _symmetric(x: Any) -> Any:
    return (x + x.swapaxes(-1, -2)) / 2


def _widened(sample: Sample) -> Sample | None:
    """The sample in double precision; None for one of 16-bit floats."""
    params = {k: _wide_dtype(v) for k, v in sample.params.items()}
    kept = [x.dtype for x in sample.args] + list(params.values())
    if any(isinstance(d, np.dtype) and dtypes.kind_of(d) == "f" and d.itemsize < 4 for d in kept):
        return None
    args = tuple(x.astype(_wide_dtype(x.dtype)) for x in sample.args)
    return replace(sample, args=args, params=params)


def _wide_dtype(value: Any) -> Any:
    return _WIDER.get(value, value) if isinstance(value, np.dtype) else value


def _inexact_places(sample: Sample) -> list[int]:
    places = range(len(sample.args)) if sample.differentiable is None else sample.differentiable
    return [k for k in places if sample.args[k].dtype.kind in "fc"]


def _describe(name: str, sample: Sample) -> str:
    shapes = ", ".join(str(ShapedArray(x.shape, x.dtype)) for x in sample.args)
    return f"{name}({shapes}; {sample.params})"


def _outputs(primitive: Primitive, value: Any) -> list[Any]:
    return list(value) if primitive.multiple_results else [value]


def _reference(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
    return [np.asarray(o) for o in _outputs(primitive, primitive.reference(*args, **params))]


# --------------------------------------------------------------------------- comparison

_TOLERANCE = {"float64": 1e-12, "complex128": 1e-12, "float16": 2e-3, "bfloat16": 2e-2}


def _close(got: Any, want: Any, what: str, tol: float = 1.0, rtol: float | None = None) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    assert got.dtype == want.dtype, f"{what}: dtype {got.dtype}, expected {want.dtype}"
    if dtypes.kind_of(want.dtype) not in "fc":
        np.testing.assert_array_equal(got, want, what)
        return
    rtol = (_TOLERANCE.get(want.dtype.name, 2e-6) if rtol is None else rtol) * tol
    if dtypes.kind_of(want.dtype) == "f" and want.dtype.itemsize < 4:
        got, want = got.astype(np.float32), want.astype(np.float32)
    finite = want[np.isfinite(want)]
    atol = rtol * min(float(np.abs(finite).max()), 1.0) if finite.size else 0.0
    np.testing.assert_allclose(got, want, rtol, atol, err_msg=what)


# --------------------------------------------------------------------------- the laws


@pytest.mark.parametrize("name", SAMPLED)
def test_abstract_rule_gives_the_type_of_the_reference(name: str) -> None:
    primitive = registry[name]
    for sample in _samples(name):
        with _under(sample):
            avals = [ShapedArray(x.shape, x.dtype) for x in sample.args]
            declared = _outputs(primitive, primitive.abstract(*avals, **sample.params))
            found = _reference(primitive, sample.args, sample.params)
        types = [(o.shape, o.dtype) for o in found]
        assert types == [(a.shape, dtypes.physical(a.dtype)) for a in declared], _describe(
            name, sample
        )


@pytest.mark.parametrize("name", SAMPLED)
def test_compiled_code_agrees_with_the_reference(name: str) -> None:
    """All samples of a primitive make one program, which is quicker to compile than many."""
    primitive = registry[name]
    for wide in (False, True):
        samples = [s for s in _samples(name) if _needs_x64(s) is wide]
        if samples:
            with config.x64.override(wide):
                _check_compiled(primitive, samples)


def _check_compiled(primitive: Primitive, samples: list[Sample]) -> None:
    def program(*args: Any) -> list[Any]:
        values = iter(args)
        return [
            _outputs(primitive, primitive.bind(*[next(values) for _ in s.args], **s.params))
            for s in samples
        ]

    outs = pullback.jit(program)(*itertools.chain.from_iterable(s.args for s in samples))
    for sample, out in zip(samples, outs, strict=True):
        want = _reference(primitive, sample.args, sample.params)
        for got, expected in zip(out, want, strict=True):
            _close(got, expected, _describe(primitive.name, sample), sample.tol)


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_jvp_agrees_with_finite_differences(name: str) -> None:
    primitive, step = registry[name], 1e-6
    for sample in _samples(name, smooth=True):
        with config.x64.override(True):
            f, primals, tangents = _restricted(primitive, sample)
            _, derivative = pullback.jvp(f, primals, tangents)
            up = f(*[x + step * t for x, t in zip(primals, tangents, strict=True)])
            down = f(*[x - step * t for x, t in zip(primals, tangents, strict=True)])
            for d, a, b in zip(derivative, up, down, strict=True):
                if np.asarray(a).dtype.kind in "fc":
                    slope = (np.asarray(a) - np.asarray(b)) / (2 * step)
                    _close(d, slope, _describe(name, sample), sample.tol, rtol=3e-6)


def _restricted(primitive: Primitive, sample: Sample) -> tuple[Callable[..., Any], Any, Any]:
    """The primitive as a function of its differentiable operands; these, and random tangents."""
    places, rng = _inexact_places(sample), np.random.default_rng(7)

    def f(*some: Any) -> list[Any]:
        args = list(sample.args)
        for k, x in zip(places, some, strict=True):
            args[k] = _symmetric(x) if primitive.name in _SYMMETRIC else x
        return _outputs(primitive, primitive.bind(*args, **sample.params))

    primals = tuple(sample.args[k] for k in places)
    return f, primals, tuple(_random_like(rng, x) for x in primals)


_FIRST_ORDER_ONLY = {
    "eig": (0,),  # the derivative of eigenvalues takes eigenvectors, whose own must be asked for
    "hyp1f1": (0, 1),
    "hyp2f1": (0, 1, 2),
    "igamma": (0,),
    "igammac": (0,),
}
"""Operands in which the derivative has none in turn, and says so."""


@pytest.mark.parametrize("name", _FIRST_ORDER_ONLY)
def test_missing_second_derivatives_are_errors(name: str) -> None:
    primitive = registry[name]
    sample = _samples(name, smooth=True)[0]
    for place in _FIRST_ORDER_ONLY[name]:
        with config.x64.override(True):
            f, primals, tangents = _restricted(primitive, replace(sample, differentiable=(place,)))

            def along(*xs: Any, f: Any = f, tangents: Any = tangents) -> Any:
                return pullback.jvp(f, xs, tangents)[1]

            with pytest.raises((UnsupportedError, NotImplementedError), match="derivative"):
                pullback.jvp(along, primals, tangents)


def _twice(name: str) -> list[Sample]:
    """Samples with the operands that have second derivatives."""
    once, found = _FIRST_ORDER_ONLY.get(name, ()), []
    for s in _thinned(_samples(name, smooth=True), 8):
        places = tuple(k for k in _inexact_places(s) if k not in once)
        found += [replace(s, differentiable=places)] if places else []
    return found


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_second_derivatives_agree_with_finite_differences(name: str) -> None:
    """jvp of jvp, jvp of vjp, and vjp of vjp."""
    primitive, rng = registry[name], np.random.default_rng(9)
    for sample in _twice(name):
        with config.x64.override(True):
            f, primals, tangents = _restricted(primitive, sample)
            cts = [_cotangent(rng, np.asarray(o)) for o in f(*primals)]
            _check_forward_over_forward(name, sample, f, primals, tangents)
            _check_over_reverse(name, sample, f, primals, tangents, cts)


def _check_forward_over_forward(
    name: str, sample: Sample, f: Callable[..., Any], primals: Any, tangents: Any
) -> None:
    def along(*xs: Any) -> list[Any]:
        return _inexact(pullback.jvp(f, xs, tangents)[1])

    what = f"{_describe(name, sample)} forward over forward"
    _check_slope(along, primals, tangents[::-1] if _alike(tangents) else tangents, what, sample)


def _alike(xs: Sequence[Any]) -> bool:
    return len({(x.shape, x.dtype) for x in xs}) == 1


def _inexact(xs: Any) -> list[Any]:
    return [x for x in xs if x.dtype.kind in "fc"]


def _check_over_reverse(
    name: str, sample: Sample, f: Callable[..., Any], primals: Any, tangents: Any, cts: Any
) -> None:
    def back(*xs: Any) -> list[Any]:
        return list(pullback.vjp(f, *xs)[1](cts))

    what = f"{_describe(name, sample)} over reverse"
    derivative = _check_slope(back, primals, tangents, what, sample)
    rng = np.random.default_rng(10)
    others = [_random_like(rng, np.asarray(x)) for x in primals]
    there = _pairing(others, derivative)
    here = _pairing(pullback.vjp(back, *primals)[1](others), tangents)
    scale = 1e-8 * sample.tol * (1 + sum(float(np.abs(np.asarray(d)).sum()) for d in derivative))
    assert math.isclose(there, here, abs_tol=scale), f"{what}, backwards: {there} {here}"


def _check_slope(
    f: Callable[..., Any], primals: Any, tangents: Any, what: str, sample: Sample
) -> list[Any]:
    """The derivative of `f` along the tangents, after a comparison with differences."""
    step = 1e-6
    _, derivative = pullback.jvp(f, primals, tangents)
    up = f(*[x + step * t for x, t in zip(primals, tangents, strict=True)])
    down = f(*[x - step * t for x, t in zip(primals, tangents, strict=True)])
    for d, a, b in zip(derivative, up, down, strict=True):
        slope = (np.asarray(a) - np.asarray(b)) / (2 * step)
        scale = 1e-7 * sample.tol * (1 + np.abs(np.asarray(a)).max(initial=0.0))
        np.testing.assert_allclose(d, slope, 1e-5 * sample.tol, scale, err_msg=what)
    return list(derivative)


def _random_like(rng: np.random.Generator, x: Any) -> Any:
    parts = rng.standard_normal(x.shape), rng.standard_normal(x.shape)
    return np.asarray(parts[0] + (1j * parts[1] if x.dtype.kind == "c" else 0)).astype(x.dtype)


def _pairing(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    """The bilinear pairing of cotangents and tangents; its real part for complex numbers."""
    pairs = [(np.asarray(x), np.asarray(y)) for x, y in zip(xs, ys, strict=True)]
    return sum(float(np.real(np.sum(x * y))) for x, y in pairs if x.dtype.kind in "fc")


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_vjp_is_the_transpose_of_jvp(name: str) -> None:
    primitive, rng = registry[name], np.random.default_rng(8)
    for sample in _samples(name, smooth=True):
        with config.x64.override(True):
            f, primals, tangents = _restricted(primitive, sample)
            out, derivative = pullback.jvp(f, primals, tangents)
            out, pull = pullback.vjp(f, *primals)
            cts = [_cotangent(rng, np.asarray(o)) for o in out]
            pulled = pull(cts)
        there, back = _pairing(cts, derivative), _pairing(pulled, tangents)
        scale = 1e-9 * sample.tol * (1 + abs(there))
        assert math.isclose(there, back, abs_tol=scale), (
            f"{_describe(name, sample)}: {there} {back}"
        )


def _cotangent(rng: np.random.Generator, out: Any) -> Any:
    if out.dtype.kind in "fc":
        return _random_like(rng, out)
    return np.zeros(out.shape, dtypes.float0)


@pytest.mark.parametrize("name", SAMPLED)
def test_batching_is_a_loop(name: str) -> None:
    primitive = registry[name]
    for sample in _thinned(_samples(name)):
        with _under(sample):
            for dims in _batchings(sample):
                _check_batch(primitive, sample, dims)


def _thinned(samples: list[Sample], limit: int = 24) -> list[Sample]:
    return samples[:: max(len(samples) // limit, 1)]


def _batchings(sample: Sample) -> list[tuple[int | None, ...]]:
    """Which operands are batched, and where: front, end, or not."""
    choices = [(0, x.ndim, None) if x.ndim else (0, None) for x in sample.args]
    every = [dims for dims in itertools.product(*choices) if set(dims) != {None}]
    return every[:: max(len(every) // 6, 1)]


def _check_batch(primitive: Primitive, sample: Sample, dims: tuple[int | None, ...]) -> None:
    lanes = [_lanes(x) if d is not None else None for x, d in zip(sample.args, dims, strict=True)]
    stacked = [
        x if d is None else np.stack(ls or (), axis=d)
        for x, d, ls in zip(sample.args, dims, lanes, strict=True)
    ]
    outs, out_dims = primitive.batch(3, stacked, dims, **sample.params)
    outs, out_dims = (_outputs(primitive, outs), _outputs(primitive, out_dims))
    what = f"{_describe(primitive.name, sample)} batched at {dims}"
    for lane in range(3):
        args = [x if ls is None else ls[lane] for x, ls in zip(sample.args, lanes, strict=True)]
        want = _reference(primitive, args, sample.params)
        for out, dim, expected in zip(outs, out_dims, want, strict=True):
            got = np.asarray(out) if dim is None else np.take(np.asarray(out), lane, axis=dim)
            _close(got, expected, what, sample.tol)


def _lanes(x: Any) -> list[Any]:
    backwards = np.flip(x).reshape(x.shape)
    return [x, backwards, np.full_like(x, x.flat[0]) if x.size else x]


@pytest.mark.parametrize("name", LINEAR)
def test_transposed_twice_is_itself(name: str) -> None:
    primitive = registry[name]
    for sample in _thinned(_samples(name, smooth=True)):
        for place in _inexact_places(sample):
            with config.x64.override(True):
                _check_transpose(primitive, sample, place)


def _check_transpose(primitive: Primitive, sample: Sample, place: int) -> None:
    def f(x: Any) -> Any:
        args = [x if k == place else a for k, a in enumerate(sample.args)]
        return _outputs(primitive, primitive.bind(*args, **sample.params))[0]

    x = sample.args[place]
    out = np.asarray(f(x))
    if dtypes.kind_of(out.dtype) not in "fc":
        return  # without cotangents
    try:
        once = pullback.linear_transpose(f, x)
        once(np.zeros_like(out))
    except (TypeError, NotImplementedError):
        return  # not linear in this operand
    twice = pullback.linear_transpose(lambda ct: once(ct)[0], np.zeros_like(out))
    (again,) = twice(x)
    _close(again, out - np.asarray(f(np.zeros_like(x))), _describe(primitive.name, sample))


# --------------------------------------------------------------------------- parity with JAX

_LOOSE = {  # XLA's approximations, or its order of additions
    "digamma": 1e-4,
    "polygamma": 1e-3,
    "zeta": 1e-4,
    "lgamma": 1e-4,
    "igamma": 1e-4,
    "igammac": 1e-4,
    "igamma_grad_a": 1e-3,
    "random_gamma_grad": 1e-3,
    "regularized_incomplete_beta": 1e-4,
    "erf_inv": 1e-4,
    "pow": 1e-4,
    "integer_pow": 1e-4,
}
_MODULES = (elementwise, special, reductions, cumulative, pooling)
_FAMILIES = sorted(
    {p.name for m in _MODULES for p in vars(m).values() if isinstance(p, Primitive)}
    & {name.removesuffix("_p") for name in dir(jax.lax) if name.endswith("_p")}
    - {"stop_gradient"}  # in JAX no primitive that evaluates
)

_ACCURATE = {"cos", "exp2", "logistic", "sin"}
"""What JAX misses a parameter of only when it has traced the operation."""


def _jax_bind(name: str, args: Sequence[Any], params: dict[str, Any]) -> Any:
    primitive = getattr(jax.lax, f"{name}_p")
    params = {k: v for k, v in params.items() if v is not None}
    if "rounding_method" in params:
        params["rounding_method"] = jax.lax.RoundingMethod(int(params["rounding_method"]))
    if "select_prim" in params:
        params["select_prim"] = getattr(jax.lax, f"{params['select_prim']}_p")
    extras = ({}, {"accuracy": None}, {"out_sharding": None}, {"sharding": None})
    for extra in extras[name in _ACCURATE :]:
        try:
            return primitive.bind(*args, **params, **extra)
        except (TypeError, KeyError) as error:
            last = error
    raise last


def _jax_values(name: str, samples: Sequence[Sample]) -> list[Any]:
    """What JAX gives, of one program; None where it does not do the dtype on this backend."""

    @jax.jit
    def bind(operands: Any) -> list[Any]:
        return [_jax_bind(name, x, s.params) for x, s in zip(operands, samples, strict=True)]

    try:
        return bind([s.args for s in samples])
    except NotImplementedError:
        return [None] if len(samples) == 1 else [_jax_values(name, [s])[0] for s in samples]


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("name", _FAMILIES)
def test_reference_agrees_with_jax(name: str, wide: bool) -> None:
    primitive = registry[name]
    samples = _samples(name)
    some = _thinned([s for s in samples if not s.smooth], 6)
    some += _thinned([s for s in samples if s.smooth], 8)
    some = [s for s in some if _needs_x64(s) == wide]
    with jax.enable_x64(wide):
        wanted = _jax_values(name, some)
    for sample, want in zip(some, wanted, strict=True):
        if want is None:
            continue
        with _under(sample):
            got = _reference(primitive, sample.args, sample.params)[0]
            rtol = None if got.dtype.itemsize < 4 else _LOOSE.get(name, 2e-5)
            _close(got, np.asarray(want), _describe(name, sample), rtol=rtol)


@pytest.mark.parametrize("name", [n for n in _FAMILIES if "window" not in n])
def test_weak_types_agree_with_jax(name: str) -> None:
    """Operands that are Python scalars, for the samples that have scalars only."""
    primitive = registry[name]
    for sample in _samples(name):
        plain = {"float32", "int32", "bool", "complex64"}
        if any(x.shape or x.dtype.name not in plain for x in sample.args):
            continue
        args = [x.item() for x in sample.args]
        ours, theirs = primitive(*args, **sample.params), _jax_bind(name, args, sample.params)
        assert ours.dtype == theirs.dtype, _describe(name, sample)
        assert ours.weak_type == theirs.weak_type, _describe(name, sample)


def test_the_registry_has_laws_to_obey() -> None:
    assert len(SAMPLED) > 100
    assert reductions.reduce_sum.name in LINEAR
