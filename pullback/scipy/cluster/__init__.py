"""`jax.scipy.cluster`: vector quantisation."""

from pullback.scipy.cluster import vq as vq
