"""The operations below `pullback.numpy`: the namespace `jax.lax`.

They are stricter than NumPy's: operands must have one shape and one dtype.
"""

from __future__ import annotations

from pullback.lax import linalg as linalg
from pullback.lax.bitcasts import *  # noqa: F403
from pullback.lax.combinators import *  # noqa: F403
from pullback.lax.contractions import *  # noqa: F403
from pullback.lax.control_flow import *  # noqa: F403
from pullback.lax.convolutions import *  # noqa: F403
from pullback.lax.elementwise import *  # noqa: F403
from pullback.lax.fft import *  # noqa: F403
from pullback.lax.indexing import *  # noqa: F403
from pullback.lax.markers import *  # noqa: F403
from pullback.lax.parallel import *  # noqa: F403
from pullback.lax.ragged import *  # noqa: F403
from pullback.lax.reductions import *  # noqa: F403
from pullback.lax.sorting import *  # noqa: F403
from pullback.lax.structural import *  # noqa: F403
