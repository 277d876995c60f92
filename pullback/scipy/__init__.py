"""`jax.scipy`: SciPy's functions on arrays that can be traced, differentiated and compiled."""

from pullback.scipy import linalg as linalg
from pullback.scipy import special as special
from pullback.scipy import stats as stats
