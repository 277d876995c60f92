"""The runtime: concrete arrays, dispatch, compilation, cache."""
