"""`jax.scipy.sparse`: linear problems that are given by products."""

from pullback.scipy.sparse import linalg as linalg
