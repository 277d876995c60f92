"""`jax.lib`: a namespace that has no public names in JAX 0.10.2."""
