"""Every sample of every primitive on XLA:CPU through a PJRT plugin, compared with the reference.

All samples of a primitive are one module. Without the plugin only the text is checked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from pullback import config
from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, Var, new_eqn
from pullback.core.primitive import FIRST_ORDER, NotApplicable, Primitive, Sample, registry
from pullback.hlo import pjrt
from pullback.hlo.emit import emit_module
from pullback.hlo.text import physical_type
from pullback.ops import hypergeometric, integrals, special  # noqa: F401
from tests.hlo.structure import check_text

HOST_ONLY = {
    name: p.hlo.reason
    for name, p in registry.items()
    if isinstance(p.hlo, NotApplicable) and p.partial_eval is FIRST_ORDER
}
SAMPLED = sorted(
    name
    for name, p in registry.items()
    if p.partial_eval is FIRST_ORDER
    and name not in HOST_ONLY
    and next(iter(p.samples()), None) is not None
)
needs_plugin = pytest.mark.skipif(
    "xla_cpu" not in pjrt.find_plugins() or not pjrt.installed(),
    reason="no PJRT plugin for XLA:CPU is installed (extra pjrt-test)",
)
LOOSE = 8.0
"""How much less exact than ours another compiler's functions may be."""
_TOLERANCE = {"float64": 1e-12, "complex128": 1e-12, "float16": 2e-3, "bfloat16": 2e-2}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _wide(sample: Sample) -> bool:
    held = [x.dtype for x in sample.args] + list(sample.params.values())
    return any(isinstance(d, np.dtype) and d.itemsize == 8 and d.kind in "fiu" for d in held) or (
        any(isinstance(d, np.dtype) and d == dtypes.complex128 for d in held)
    )


_SLOW_TO_COMPILE = ("eigh", "qr", "svd")
"""Every shape with all parameters, but only once, of one type or the other."""


def _samples(primitive: Primitive) -> list[Sample]:
    found = [
        Sample(tuple(map(np.asarray, s.args)), s.params, s.smooth, s.tol)
        for s in primitive.samples()
    ]
    if primitive.name not in _SLOW_TO_COMPILE:
        return found
    groups: dict[Any, list[Sample]] = {}
    for sample in found:
        key = sample.args[0].shape, tuple(sample.params.items())
        groups.setdefault(key, []).append(sample)
    return [same[i % len(same)] for i, same in enumerate(groups.values())]


def _program(primitive: Primitive, samples: list[Sample]) -> Jaxpr:
    """All samples as one jaxpr."""
    invars, eqns, outs = [], [], []
    for sample in samples:
        xs = [Var(ShapedArray(x.shape, x.dtype)) for x in sample.args]
        with config.x64.override(_wide(sample)):
            avals = primitive.abstract(*[v.aval for v in xs], **sample.params)
        results = [Var(a) for a in (avals if primitive.multiple_results else [avals])]
        eqns.append(new_eqn(xs, results, primitive, sample.params))
        invars += xs
        outs += results
    return Jaxpr([], invars, outs, eqns)


def _wanted(primitive: Primitive, sample: Sample) -> list[Any]:
    with config.x64.override(_wide(sample)):
        want = primitive.reference(*sample.args, **sample.params)
    return list(want) if primitive.multiple_results else [want]


def _close(got: Any, want: Any, tol: float, what: str) -> None:
    want = np.asarray(want)
    assert got.shape == want.shape, what
    assert got.dtype == want.dtype, what
    kind = dtypes.kind_of(want.dtype)
    if kind not in "fc":
        np.testing.assert_array_equal(got, want, what)
        return
    rtol = _TOLERANCE.get(want.dtype.name, 2e-6) * tol * LOOSE
    if kind == "f" and want.dtype.itemsize < 4:
        got, want = got.astype(np.float32), want.astype(np.float32)
    finite = want[np.isfinite(want)]
    atol = rtol * min(float(np.abs(finite).max()), 1.0) if finite.size else 0.0
    np.testing.assert_allclose(got, want, rtol, atol, err_msg=what)


def _without_phases(x: Any) -> Any:
    """Vectors in columns, each scaled so that its largest element is positive."""
    if x.ndim < 2 or not x.size:
        return x
    places = np.abs(x.astype(np.complex64)).argmax(-2, keepdims=True)
    largest = np.take_along_axis(x, places, -2)
    return x * (np.abs(largest) / largest)


def _check_eigh(sample: Sample, got: list[Any], wanted: list[Any], what: str) -> None:
    """By another method, to vectors with phases of their own."""
    for x, want in zip(got, wanted, strict=True):
        _close(_without_phases(x), _without_phases(want), 10 * sample.tol, what)


def _check_svd(sample: Sample, got: list[Any], wanted: list[Any], what: str) -> None:
    """Vectors have phases of their own, and those that complete a basis are free."""
    _close(got[0], wanted[0], sample.tol, what)
    if len(got) == 1 or not sample.args[0].size:
        assert [x.shape for x in got] == [x.shape for x in wanted], what
        return
    (x,), (s, u, vt) = sample.args, got
    k = s.shape[-1]
    product = (u[..., :, :k] * s[..., None, :]) @ vt[..., :k, :]
    bad = ~np.isfinite(x).all((-2, -1), keepdims=True)
    _close(product, np.where(bad, np.nan, x).astype(x.dtype), sample.tol, what)
    for part in (u, np.swapaxes(vt, -1, -2)):
        unit = np.swapaxes(part, -1, -2).conj() @ part
        wanted_unit = np.where(bad, np.nan, np.eye(part.shape[-1])).astype(part.dtype)
        _close(unit, wanted_unit, sample.tol, what)


_BY_MEANING = {"eigh": _check_eigh, "svd": _check_svd}
"""Decompositions that are not unique."""


@pytest.mark.parametrize("name", SAMPLED)
def test_text_is_well_formed(name: str) -> None:
    jaxpr = _program(registry[name], _samples(registry[name]))
    module = emit_module(ClosedJaxpr(jaxpr), name)
    check_text(module.text, len(jaxpr.invars), len(jaxpr.outvars))


@needs_plugin
@pytest.mark.parametrize("name", SAMPLED)
def test_samples_agree_with_the_reference(name: str) -> None:
    primitive = registry[name]
    samples = _samples(primitive)
    jaxpr = _program(primitive, samples)
    module = emit_module(ClosedJaxpr(jaxpr), name, platform="cpu")
    backend = pjrt.open_backend("xla_cpu")
    program = backend.compile(module.text, [physical_type(v.aval) for v in jaxpr.outvars])
    outs = iter(program([backend.put(x) for s in samples for x in s.args]))
    for sample in samples:
        wanted = [np.asarray(want) for want in _wanted(primitive, sample)]
        got = [next(outs).to_host() for _ in wanted]
        what = f"{name} {sample.params}"
        if name in _BY_MEANING:
            _BY_MEANING[name](sample, got, wanted, what)
            continue
        for x, want in zip(got, wanted, strict=True):
            _close(x, want, sample.tol, what)


def test_what_has_no_stablehlo_says_why() -> None:
    for name, reason in HOST_ONLY.items():
        assert len(reason) > 8, name
