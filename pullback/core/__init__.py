"""Dtypes, abstract values, primitives, traces and jaxprs: what every other layer is written in."""
