"""Every sample of every primitive as StableHLO, read back, and compared with the reference."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from pullback import config, export
from pullback.core.jaxpr import ClosedJaxpr
from pullback.core.primitive import registry
from pullback.hlo.emit import emit_module
from tests.hlo.test_samples import (
    _BY_MEANING,
    LOOSE,
    SAMPLED,
    _close,
    _program,
    _samples,
    _wanted,
)


@pytest.mark.parametrize("name", SAMPLED)
def test_a_primitive_survives_stablehlo(name: str) -> None:
    primitive = registry[name]
    samples = _samples(primitive)
    text = emit_module(ClosedJaxpr(_program(primitive, samples), []), name).text
    call = export.import_stablehlo(text)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with config.x64.override(True):
            outs = iter(call(*[x for s in samples for x in s.args]))
        for sample in samples:
            wanted = list(_wanted(primitive, sample))
            got, what = [np.asarray(next(outs)) for _ in wanted], f"{name} {sample.params}"
            if name in _BY_MEANING:
                _BY_MEANING[name](sample, got, wanted, what)
                continue
            for x, want in zip(got, wanted, strict=True):
                _close(x, want, LOOSE * sample.tol, what)
