"""Primitives that compute nothing: they mark a value, or a place in the program.

`stage`, `device_put` and `sharding_constraint` are the identity; the last says how a program for
several devices that are not here spreads a value.  `dce_sink` keeps what it is given from being
removed as unused.  A token is an array without elements: programs run in the order of their
effects, so that there is nothing that tokens would have to order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from pullback.core import dtypes
from pullback.core.avals import ShapedArray
from pullback.core.effects import Effect
from pullback.core.meshes import Mesh, PartitionSpec
from pullback.core.primitive import (
    FIRST_ORDER,
    NO_SAMPLES,
    PURE,
    NotApplicable,
    Primitive,
    Sample,
    Zero,
)
from pullback.core.sharding import NamedSharding
from pullback.core.shardy import mesh_text, sharding_text
from pullback.ops.kinds import NONLINEAR, late, zero_tangent
from pullback.ops.samples import draw, generator

__all__ = [
    "TOKEN",
    "after_all",
    "create_token",
    "dce_sink",
    "device_put",
    "sharding_constraint",
    "stage",
]

TOKEN: Final = ShapedArray((0,), dtypes.bool_)
"""The type of tokens."""


# --------------------------------------------------------------------------- identities


def _identity(name: str, params: dict[str, Any], **rules: Any) -> Primitive:
    """An identity with these parameters; `rules` take the place of those of any identity."""
    bind = late(name)

    def jvp(primals: Any, tangents: Any, **p: Any) -> tuple[Any, Any]:
        (x,), (t,) = primals, tangents
        out = bind(x, **p)
        return out, zero_tangent(out) if type(t) is Zero else bind(t, **p)

    def samples() -> Iterator[Sample]:
        rng = generator()
        for dtype in (dtypes.float32, dtypes.int32, dtypes.complex64):
            yield Sample((draw(rng, dtype, (2, 3)),), params)

    usual = {
        "transpose": lambda ct, x, **_: [ct],
        "batch": lambda size, args, dims, **p: (bind(args[0], **p), dims[0]),
        "hlo": lambda b, x, **_: x,
    }
    return Primitive(
        name=name,
        abstract=lambda x, **_: x,
        reference=lambda x, **_: x,
        jvp=jvp,
        partial_eval=FIRST_ORDER,
        lower=lambda b, x, **_: x,
        samples=samples,
        multiple_results=False,
        effects=PURE,
        literals=False,
        **(usual | rules),
    )


stage: Final[Primitive] = _identity("stage", {})


def _constraint_transpose(ct: Any, x: Any, **params: Any) -> list[Any]:
    """The cotangent is spread as the value is."""
    return [ct if type(ct) is Zero else sharding_constraint(ct, **params)]


def _constraint_batch(size: Any, args: Any, dims: Any, *, sharding: Any, **params: Any) -> Any:
    """The partitioner chooses for the axis of the lanes."""
    if isinstance(sharding, NamedSharding):
        entries = list(sharding.spec)
        entries += [None] * (dims[0] - len(entries))
        entries.insert(dims[0], PartitionSpec.UNCONSTRAINED)
        sharding = NamedSharding(sharding.mesh, PartitionSpec(*entries))
    return sharding_constraint(args[0], sharding=sharding, **params), dims[0]


def _constraint_hlo(b: Any, x: Any, *, sharding: Any, **_: Any) -> Any:
    if not isinstance(sharding, NamedSharding) or not isinstance(sharding.mesh, Mesh):
        return x
    if sharding.mesh.devices.flat[0].is_attached:
        return x  # of one device
    mesh = f"mesh{mesh_text(sharding.mesh)}"
    text = sharding_text(mesh, sharding.spec, len(x.shape))
    return b.ops("sdy.sharding_constraint", [x], b.types, {"sharding": text})[0]


sharding_constraint: Final[Primitive] = _identity(
    "sharding_constraint",
    {"sharding": None, "layout": None, "context_mesh": None, "unconstrained_dims": frozenset()},
    transpose=_constraint_transpose,
    batch=_constraint_batch,
    hlo=_constraint_hlo,
)


def _each(function: Callable[[Any, Any], Any], cts: Any, xs: Any) -> list[Any]:
    return [function(ct, x) for ct, x in zip(cts, xs, strict=True)]


def _device_put_jvp(primals: Any, tangents: Any, **params: Any) -> tuple[list[Any], list[Any]]:
    return device_put(*primals, **params), list(tangents)


def _device_put_samples() -> Iterator[Sample]:
    x = draw(generator(), dtypes.float32, (3,))
    params = {"devices": (None,) * 2, "srcs": (None,) * 2, "copy_semantics": (None,) * 2}
    yield Sample((x, 2 * x), params)


device_put: Final[Primitive] = Primitive(
    name="device_put",
    abstract=lambda *avals, **_: list(avals),
    reference=lambda *xs, **_: list(xs),
    jvp=_device_put_jvp,
    transpose=lambda cts, *xs, **_: _each(lambda ct, x: ct, cts, xs),
    batch=lambda size, args, dims, **params: (device_put(*args, **params), list(dims)),
    partial_eval=FIRST_ORDER,
    lower=lambda b, *xs, **_: list(xs),
    hlo=lambda b, *xs, **_: list(xs),
    samples=_device_put_samples,
    multiple_results=True,
    effects=PURE,
    literals=False,
)


# --------------------------------------------------------------------------- sinks and tokens

_KEPT: Final = frozenset((Effect("DceSink", False, False),))


dce_sink: Final[Primitive] = Primitive(
    name="dce_sink",
    abstract=lambda *avals, **_: [],
    reference=lambda *xs, **_: [],
    jvp=lambda primals, tangents, **params: (dce_sink(*primals, **params), []),
    transpose=NONLINEAR,
    batch=lambda size, args, dims, **params: (dce_sink(*args, **params), []),
    partial_eval=FIRST_ORDER,
    lower=lambda b, *xs, **_: [b.materialize(x) for x in xs][:0],
    hlo=lambda b, *xs, **_: [],
    samples=NO_SAMPLES,
    multiple_results=True,
    effects=lambda **_: _KEPT,
    literals=False,
)


def _after_all_abstract(*tokens: Any) -> ShapedArray:
    for token in tokens:
        if (token.shape, token.dtype) != (TOKEN.shape, TOKEN.dtype):
            raise TypeError(f"after_all takes tokens, which create_token makes, got {token}")
    return TOKEN


def _no_token(*_: Any) -> Any:
    return np.zeros(TOKEN.shape, TOKEN.dtype)


def _token(name: str, abstract: Callable[..., Any], samples: Callable[[], Any]) -> Primitive:
    bind = late(name)
    return Primitive(
        name=name,
        abstract=abstract,
        reference=_no_token,
        jvp=lambda primals, tangents: (out := bind(*primals), zero_tangent(out)),
        transpose=NotApplicable("transpose", "tokens are not linear in anything", TypeError),
        batch=lambda size, args, dims: (bind(*map(_one_token, args, dims)), None),
        partial_eval=FIRST_ORDER,
        lower=lambda b, *_: b.full(TOKEN.shape, False, TOKEN.dtype),
        hlo=lambda b, *_: b.full(TOKEN.shape, False, TOKEN.dtype),
        samples=samples,
        multiple_results=False,
        effects=PURE,
        literals=False,
    )


def _one_token(token: Any, dim: int | None) -> Any:
    return token if dim is None else create_token()


create_token: Final[Primitive] = _token("create_token", lambda: TOKEN, lambda: [Sample(())])
after_all: Final[Primitive] = _token(
    "after_all", _after_all_abstract, lambda: [Sample((_no_token(), _no_token()))]
)
