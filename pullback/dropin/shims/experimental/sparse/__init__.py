"""`jax.experimental.sparse`, with its primitives and the submodules that have other places here."""

from pullback.dropin.shims.experimental.sparse import primitives
from pullback.dropin.shims.experimental.sparse.primitives import *  # noqa: F403
from pullback.experimental.sparse import *  # noqa: F403
from pullback.experimental.sparse import __all__ as _functions

__all__ = [  # noqa: PLE0604
    *_functions,
    *(name for name in primitives.__all__ if name.endswith("_p")),
]
