"""`jax.example_libraries`: small examples of neural networks and of optimizers."""
