"""The namespace `jax.lax`."""
