"""Keys: making, splitting and taking them apart.

Samplers take a key of either style through `one_key`: an array of dtype `key<fry>`, or two uint32.
"""

from __future__ import annotations

import operator
import warnings
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import aval_of
from pullback.core.dtypes import KEY, KeyDtype
from pullback.core.element_types import GENERATORS
from pullback.lax.structural import canonical_shape
from pullback.ops import conversion, elementwise, rearrange, rng, slicing
from pullback.random.engines import fold_keys, seeded, split_keys
from pullback.runtime.composites import compiled_when_eager

__all__ = [
    "PRNGKey",
    "clone",
    "fold_in",
    "key",
    "key_data",
    "key_dtype",
    "key_impl",
    "many_keys",
    "one_key",
    "split",
    "split_into",
    "wrap_key_data",
]

_TAGS: Final = {impl: tag for tag, (impl, _) in GENERATORS.items()}


def _tag(impl: Any, dtype: Any = None) -> str:
    """The tag of the dtype of keys of a generator; the default one's for None."""
    if impl is not None and dtype is not None:
        raise ValueError("only one of impl and dtype may be given")
    wanted = dtype if impl is None else impl
    if isinstance(wanted, KeyDtype):
        return wanted.tag
    if dtype is not None:
        raise TypeError(f"keys have dtypes such as {KEY}, got {dtype}")
    name = config.default_prng_impl() if impl is None else getattr(impl, "name", impl)
    if not isinstance(name, str):
        raise TypeError(f"unrecognized type {type(name)} for specifying PRNG implementation.")
    tag = _TAGS.get(name, name)
    if tag not in GENERATORS:
        raise ValueError(
            f'unrecognized PRNG implementation "{name}". Did you mean one of: '
            f"{', '.join(map(repr, _TAGS))}?"
        )
    return str(tag)


def _seed_operand(seed: Any) -> Any:
    """A seed as an integer operand; a Python integer keeps the bits that fit."""
    if isinstance(seed, (int, np.integer, np.bool_)):
        value = operator.index(int(seed))
        if not -(2**63) <= value < 2**64:
            raise OverflowError(f"the seed {value} does not fit into 64 bits")
        if config.x64():
            return np.array(value & 0xFFFFFFFFFFFFFFFF, np.uint64).view(np.int64)[()]
        return np.array(value & 0xFFFFFFFF, np.uint32).view(np.int32)[()]
    aval = aval_of(seed)
    if dtypes.kind_of(aval.dtype) not in "iub":
        raise TypeError(f"PRNG key seed must be an integer; got {aval}")
    if aval.shape != ():
        raise TypeError(
            f"PRNGKey accepts a scalar seed, but was given an array of shape {aval.shape} != (). "
            "Use jax.vmap for batching"
        )
    return conversion.convert(seed, np.dtype(np.int32)) if aval.dtype == np.bool_ else seed


def key(seed: Any, *, impl: Any = None, dtype: Any = None) -> Any:
    """The key of a seed: an array of rank 0 and dtype `key<fry>`, or that of another generator.

    `impl` is "threefry2x32", "rbg" or "unsafe_rbg" (see `random/engines.py`); the default is the
    setting `jax_default_prng_impl`.

    >>> key(0)
    Array((), dtype=key<fry>) overlaying:
    [0 0]
    """
    tag = _tag(impl, dtype)
    operand = _seed_operand(seed)
    if offset := config.random_seed_offset():
        operand = elementwise.add(operand, dtypes.physical(aval_of(operand).dtype).type(offset))
    return seeded(operand, tag)


def PRNGKey(seed: Any, *, impl: Any = None) -> Any:
    """The key of a seed in the old style: two uint32; of the new with `enable_custom_prng`.

    >>> PRNGKey(7)
    Array([0, 7], dtype=uint32)
    """
    made = key(seed, impl=impl)
    return made if config.enable_custom_prng() else rng.random_unwrap(made)


def is_typed(x: Any) -> bool:
    """Whether `x` is an array of keys of the new style."""
    return isinstance(x, Array) and isinstance(x.dtype, KeyDtype)


def many_keys(x: Any) -> tuple[Any, bool]:
    """Keys of the new style, and whether they came as such; raises TypeError on anything else."""
    if is_typed(x):
        return x, True
    if not isinstance(x, (Array, np.ndarray)) or x.shape == ():
        given = aval_of(x) if isinstance(x, Array) else repr(x)
        raise TypeError(
            "JAX encountered invalid PRNG key data: expected key_data to have ndim, shape, and "
            f"dtype attributes. Got {given}; jax.random.key(seed) makes a key"
        )
    return _wrapped(x, _tag(None)), False


def _wrapped(bits: Any, tag: str) -> Any:
    """Keys of the new style from their bits."""
    aval, words = aval_of(bits), KeyDtype(tag).words
    if aval.ndim < 1 or aval.shape[-1] != words:
        raise TypeError(
            "JAX encountered invalid PRNG key data: expected key_data.shape to end with "
            f"({words},); got shape={aval.shape} for impl={tag}"
        )
    if aval.dtype != np.uint32:
        raise TypeError(
            "JAX encountered invalid PRNG key data: expected key_data.dtype = uint32; got "
            f"dtype={aval.dtype.name}"
        )
    return rng.random_wrap(bits, impl=tag)


def _refuse_legacy(name: str) -> None:
    message = (
        f"a key of the old style (uint32) was passed to random.{name}; make keys by random.key(), "
        'or set jax_legacy_prng_key to "allow"'
    )
    if config.legacy_prng_key() == "error":
        raise ValueError(message)
    warnings.warn(message, stacklevel=dtypes.user_stacklevel())


def one_key(name: str, x: Any) -> Any:
    """A single key of either style, as one of the new."""
    keys, typed = many_keys(x)
    if not typed and config.legacy_prng_key() != "allow":
        _refuse_legacy(name)
    if keys.shape != ():
        raise ValueError(
            f"{name} accepts a single key, but was given a key array of shape {keys.shape} != (). "
            "Use jax.vmap for batching."
        )
    return keys


def sample_shape(shape: Any) -> tuple[int, ...]:
    """The shape of what is drawn, as a tuple; ValueError if a length is negative."""
    result = canonical_shape(shape)
    if any(n < 0 for n in result):
        raise ValueError(f"lengths of axes must not be negative, got shape {result}")
    return result


@compiled_when_eager("num")
def split(key: Any, num: Any = 2) -> Any:
    """`num` (a number or a shape) new keys; the old one should not be used again.

    >>> split(PRNGKey(0)).shape
    (2, 2)
    """
    keys, typed = many_keys(key)
    if keys.shape != ():
        raise ValueError(
            f"split accepts a single key, but was given a key array of shape {keys.shape} != (). "
            "Use jax.vmap for batching."
        )
    out = split_keys(keys, sample_shape(num))
    return out if typed else rng.random_unwrap(out)


def split_into(key: Any, num: int) -> list[Any]:
    """`num` new keys one by one, for samplers that need several."""
    keys = split_keys(key, (num,))
    return [pick(keys, k) for k in range(num)]


def pick(keys: Any, k: int) -> Any:
    """Key number `k` of a one-dimensional array of keys."""
    part = slicing.slice_(keys, start_indices=(k,), limit_indices=(k + 1,), strides=None)
    return rearrange.squeeze(part, dimensions=(0,))


def fold_in(key: Any, data: Any) -> Any:
    """A new key made of a key and an integer.

    >>> fold_in(PRNGKey(0), 1).shape
    (2,)
    """
    if isinstance(data, (bool, int)):
        if not 0 <= data < 2**32:
            raise OverflowError(f"Python integer {data} out of bounds for uint32")
        data = np.uint32(data)
    return _folded(key, data)


@compiled_when_eager()
def _folded(key: Any, data: Any) -> Any:
    keys, typed = many_keys(key)
    if keys.shape != ():
        raise ValueError(
            f"fold_in accepts a single key, but was given a key array of shape {keys.shape} != (). "
            "Use jax.vmap for batching."
        )
    out = fold_keys(keys, _fold_operand(data))
    return out if typed else rng.random_unwrap(out)


def _fold_operand(data: Any) -> Any:
    aval = aval_of(data)
    if aval.shape != ():
        raise TypeError(
            f"fold_in accepts a scalar, but was given an array of shape {aval.shape} != (). "
            "Use jax.vmap for batching."
        )
    return conversion.convert(data, np.dtype(np.uint32))


def key_data(keys: Any) -> Any:
    """The bits of keys: uint32[..., 2], or [..., 4] for the generators of four words.

    >>> key_data(key(3))
    Array([0, 3], dtype=uint32)
    """
    return rng.random_unwrap(keys) if is_typed(keys) else rng.random_unwrap(many_keys(keys)[0])


def wrap_key_data(key_bits_array: Any, *, impl: Any = None, dtype: Any = None) -> Any:
    """Keys of the new style from their bits, uint32 with 2 or 4 words on the last axis.

    >>> wrap_key_data(np.array([0, 3], np.uint32)).dtype
    key<fry>
    """
    tag = _tag(impl, dtype)
    if is_typed(key_bits_array):
        raise TypeError("wrap_key_data takes uint32 bits, got keys")
    if not isinstance(key_bits_array, (Array, np.ndarray)):
        raise TypeError(f"wrap_key_data takes an array of bits, got {key_bits_array!r}")
    return _wrapped(key_bits_array, tag)


def key_impl(keys: Any) -> str:
    """The name of the generator that keys belong to.

    >>> key_impl(key(0))
    'threefry2x32'
    """
    dtype = aval_of(many_keys(keys)[0]).dtype
    return dtype.impl if isinstance(dtype, KeyDtype) else ""


def key_dtype(impl_spec: Any = None) -> Any:
    """The dtype of keys.

    >>> key_dtype()
    key<fry>
    """
    return KeyDtype(_tag(impl_spec))


def clone(key: Any) -> Any:
    """The same key again, for a checker of reuse: says that using it twice is meant.

    >>> bool((key_data(clone(PRNGKey(1))) == key_data(PRNGKey(1))).all())
    True
    """
    keys, typed = many_keys(key)
    out = rng.random_clone(keys)
    return out if typed else rng.random_unwrap(out)
