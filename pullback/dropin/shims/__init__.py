"""Modules of JAX's that have no counterpart of the same name in pullback."""
