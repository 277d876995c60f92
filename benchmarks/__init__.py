"""Measures Pullback beside JAX, PyTorch and NumPy on the same machine: `python -m benchmarks`."""
