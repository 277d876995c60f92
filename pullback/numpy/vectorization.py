"""Functions of scalars or vectors applied to whole arrays, by `vmap`."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from pullback import lax
from pullback.numpy.arrays import as_array
from pullback.numpy.creation import asarray
from pullback.numpy.promotion import broadcast_shapes, canonical_axis, check_arraylike
from pullback.numpy.ufuncs import scalar_vectorizer
from pullback.transforms.mapping import vmap

__all__ = ["apply_along_axis", "apply_over_axes", "vectorize"]

Core = list[tuple[str, ...]]

_NAME = r"\w+"
_ARGUMENT = rf"\((?:{_NAME}(?:,{_NAME})*)?\)"
_SIGNATURE = re.compile(rf"^{_ARGUMENT}(?:,{_ARGUMENT})*->{_ARGUMENT}(?:,{_ARGUMENT})*$")


def _parse_signature(signature: str) -> tuple[Core, Core]:
    """The names of the core axes of operands and results.

    >>> _parse_signature("(n,m),(m)->(n)")
    ([('n', 'm'), ('m',)], [('n',)])
    """
    text = signature.replace(" ", "")
    if not _SIGNATURE.match(text):
        raise ValueError(f"not a valid gufunc signature: {signature}")
    sides = [
        [tuple(re.findall(_NAME, part)) for part in re.findall(_ARGUMENT, side)]
        for side in text.split("->")
    ]
    return sides[0], sides[1]


def vectorize(
    pyfunc: Callable[..., Any],
    *,
    excluded: Collection[int | str] = frozenset(),
    signature: str | None = None,
) -> Callable[..., Any]:
    """A function of scalars (or of arrays with the core axes of `signature`) that broadcasts.

    Positions and names in `excluded` are passed as they are.

    >>> import pullback.numpy as jnp
    >>> jnp.vectorize(jnp.dot, signature="(n),(n)->()")(jnp.ones((2, 3)), jnp.ones(3))
    Array([3., 3.], dtype=float32)
    """
    if any(not isinstance(k, (int, str)) for k in excluded):
        raise TypeError(
            f"jax.numpy.vectorize can only exclude integer or string arguments, got {excluded}"
        )
    if any(isinstance(k, int) and k < 0 for k in excluded):
        raise ValueError(f"excluded={excluded!r} contains negative numbers")

    @functools.wraps(pyfunc)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        unmapped = {k: v for k, v in kwargs.items() if k in excluded}
        named = {k: v for k, v in kwargs.items() if k not in excluded}
        fixed = {k for k in excluded if isinstance(k, int)}
        positions = [k for k in range(len(args)) if k not in fixed]

        def function(*values: Any) -> Any:
            full = list(args)
            for k, v in zip(positions, values[: len(positions)], strict=True):
                full[k] = v
            keywords = dict(zip(named, values[len(positions) :], strict=True))
            return pyfunc(*full, **keywords, **unmapped)

        operands = [args[k] for k in positions] + list(named.values())
        return _vectorized(function, operands, signature, pyfunc)

    return wrapped


scalar_vectorizer.append(vectorize)


def _vectorized(
    function: Callable[..., Any], args: Sequence[Any], signature: str | None, pyfunc: Any
) -> Any:
    name = getattr(pyfunc, "__name__", "vectorized function")
    check_arraylike(f"vectorize({name})", *args)
    arrays = [as_array(x) for x in args]
    cores: Core = [()] * len(arrays)
    results: Core | None = None
    if signature is not None:
        cores, results = _parse_signature(signature)
        if len(cores) != len(arrays):
            raise TypeError(
                f"wrong number of positional arguments: expected {len(cores)}, got {len(arrays)}"
            )
    lengths: dict[str, int] = {}
    for x, core in zip(arrays, cores, strict=True):
        _bind_core(x.shape, core, lengths, signature)
    leads = [x.shape[: x.ndim - len(core)] for x, core in zip(arrays, cores, strict=True)]
    lead = broadcast_shapes(*leads) if leads else ()
    # Axes of length 1 that the others have longer are dropped, so that they are not repeated.
    arrays, mapped = _squeezed(arrays, leads, lead)
    checked = _check_results(function, results, lengths, signature)
    for axis in reversed(range(len(lead))):
        in_axes = tuple(0 if axis in axes else None for axes in mapped)
        size = None if any(a == 0 for a in in_axes) else lead[axis]
        checked = vmap(checked, in_axes=in_axes, axis_size=size)
    return checked(*arrays)


def _bind_core(
    shape: tuple[int, ...], core: tuple[str, ...], lengths: dict[str, int], signature: str | None
) -> None:
    if len(shape) < len(core):
        raise ValueError(
            f"input with shape {shape} does not have enough dimensions for all core dimensions "
            f"{core} of signature {signature!r}"
        )
    for name, n in zip(core, shape[len(shape) - len(core) :], strict=True):
        if lengths.setdefault(name, n) != n:
            raise ValueError(
                f"inconsistent size for core dimension {name!r}: {n} vs {lengths[name]} in "
                f"signature {signature!r}"
            )


def _squeezed(
    arrays: Sequence[Any], leads: Sequence[tuple[int, ...]], lead: tuple[int, ...]
) -> tuple[list[Any], list[list[int]]]:
    squeezed, mapped = [], []
    for x, have in zip(arrays, leads, strict=True):
        offset = len(lead) - len(have)
        drop = [k for k, n in enumerate(have) if n == 1 and lead[offset + k] != 1]
        squeezed.append(lax.squeeze(x, drop) if drop else x)
        mapped.append([offset + k for k in range(len(have)) if k not in drop])
    return squeezed, mapped


def _check_results(
    function: Callable[..., Any],
    results: Core | None,
    lengths: dict[str, int],
    signature: str | None,
) -> Callable[..., Any]:
    """Check the core shapes that the function gives against the signature."""

    def checked(*args: Any) -> Any:
        out = function(*args)
        outs = out if isinstance(out, tuple) else (out,)
        if results is None:
            return tuple(asarray(o) for o in outs) if isinstance(out, tuple) else asarray(out)
        if len(outs) != len(results):
            raise TypeError(
                f"wrong number of outputs from pyfunc: expected {len(results)}, got {len(outs)}"
            )
        arrays = tuple(asarray(o) for o in outs)
        sizes = dict(lengths)
        for x, core in zip(arrays, results, strict=True):
            if x.ndim != len(core):
                raise ValueError(
                    f"output shape {x.shape} does not match core dimensions {core} of signature "
                    f"{signature!r}"
                )
            _bind_core(x.shape, core, sizes, signature)
        return arrays if len(results) > 1 else arrays[0]

    return checked


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any
) -> Any:
    """A function of vectors applied to all vectors along an axis.

    The axes of its result stand where `axis` was.

    >>> import pullback.numpy as jnp
    >>> jnp.apply_along_axis(jnp.sum, 0, jnp.ones((2, 3)))
    Array([2., 2., 2.], dtype=float32)
    """
    check_arraylike("apply_along_axis", arr)
    arr = as_array(arr)
    axis = canonical_axis(axis, arr.ndim)

    def function(x: Any) -> Any:
        return asarray(func1d(x, *args, **kwargs))

    for k in range(1, arr.ndim - axis):
        function = vmap(function, in_axes=k, out_axes=-1)
    for _ in range(axis):
        function = vmap(function, in_axes=0, out_axes=0)
    return function(arr)


def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    """A function of an array and an axis applied for several axes in turn, keeping the rank.

    >>> import pullback.numpy as jnp
    >>> jnp.apply_over_axes(jnp.sum, jnp.ones((2, 3, 2)), [0, 2]).shape
    (1, 3, 1)
    """
    check_arraylike("apply_over_axes", a)
    result = as_array(a)
    for axis in axes if isinstance(axes, (tuple, list)) else (axes,):
        out = func(result, axis)
        if out.ndim == result.ndim:
            result = out
        elif out.ndim == result.ndim - 1:
            result = lax.expand_dims(out, (canonical_axis(axis, result.ndim),))
        else:
            raise ValueError("function is not returning an array of the correct shape")
    return result
