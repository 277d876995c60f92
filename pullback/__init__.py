"""Pullback: composable transformations of NumPy programs, in pure Python."""
