"""Lines between breakpoints, also where only two samples lie between them."""

from __future__ import annotations

import numpy as np
import scipy.signal

import pullback.scipy as jsp


def test_segments_of_one_and_two_samples() -> None:
    x = np.array([1, 5, 2, 4, 9, 3], np.float32)
    for breaks in (2, [1, 3], [2, 4]):
        expected = scipy.signal.detrend(x, bp=breaks)
        np.testing.assert_allclose(jsp.signal.detrend(x, bp=breaks), expected, atol=1e-5)
