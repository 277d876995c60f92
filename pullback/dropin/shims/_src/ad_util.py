"""`jax._src.ad_util`: `stop_gradient_p`, which makes no equations."""

from __future__ import annotations

from typing import Final

from pullback.core.primitive import Zero, instantiate
from pullback.dropin.shims.extend.core.primitives import stop_gradient_p as _stop_gradient_p
from pullback.transforms.transpose import add_cotangents

__all__ = ["Zero", "add_tangents", "instantiate", "stop_gradient_p"]

add_tangents = add_cotangents
stop_gradient_p: Final = _stop_gradient_p
