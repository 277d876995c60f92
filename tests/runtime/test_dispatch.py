"""Eager evaluation."""

from __future__ import annotations

import numpy as np

from pullback.core.primitive import registry


def test_result_types_are_remembered_by_the_names_of_parameters() -> None:
    """Equal values under other names, in another order, are another call."""
    svd = registry["svd"]
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    rest = {"subset_by_index": None, "algorithm": None}
    (values,) = svd.bind(x, compute_uv=False, full_matrices=True, **rest)
    three = svd.bind(x, full_matrices=False, compute_uv=True, **rest)
    assert len(three) == 3
    np.testing.assert_allclose(values, three[0], rtol=1e-5)
