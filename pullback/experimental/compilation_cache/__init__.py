"""The namespace `jax.experimental.compilation_cache`."""
