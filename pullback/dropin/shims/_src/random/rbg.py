"""`jax._src.random.rbg`: generators whose bits are those of the device."""

from __future__ import annotations

from pullback.dropin.shims.extend.random import rbg_prng_impl, unsafe_rbg_prng_impl

__all__ = ["rbg_prng_impl", "unsafe_rbg_prng_impl"]
