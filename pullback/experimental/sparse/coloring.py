"""Colourings of sparse matrices: which columns can share one directional derivative.

Two columns that have a nonzero in the same row need different colours (Curtis, Powell and Reid, J.
Inst. Math. Appl. 13, 1974).  A symmetric matrix needs less: a star colouring, in which every path
on four vertices has three colours (Coleman and Moré, Math. Prog. 28, 1984).  Both are greedy,
largest degree first (Gebremedhin, Manne and Pothen, "What color is your Jacobian?", SIAM Review 47,
2005, algorithms 3.2 and 4.1).
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["column_colors", "star_colors"]


def _by_degree(degrees: Any) -> Any:
    return np.argsort(-np.asarray(degrees), kind="stable")


def _least(forbidden: set[int]) -> int:
    color = 0
    while color in forbidden:
        color += 1
    return color


def column_colors(pattern: Any) -> Any:
    """A colour for every column of a `scipy.sparse` matrix.

    >>> import numpy as np, scipy.sparse as sp
    >>> column_colors(sp.csr_matrix(np.eye(3)))
    array([0, 0, 0])
    """
    rows, columns = pattern.tocsr(), pattern.tocsc()
    colors = np.full(pattern.shape[1], -1)
    for j in _by_degree(np.diff(columns.indptr)):
        forbidden: set[int] = set()
        for i in columns.indices[columns.indptr[j] : columns.indptr[j + 1]]:
            near = rows.indices[rows.indptr[i] : rows.indptr[i + 1]]
            forbidden.update(colors[near].tolist())
        colors[j] = _least(forbidden)
    return colors


def star_colors(pattern: Any) -> Any:
    """A colour for every row and column of a symmetric `scipy.sparse` matrix.

    >>> import numpy as np, scipy.sparse as sp
    >>> arrow = np.eye(4); arrow[0] = arrow[:, 0] = 1
    >>> star_colors(sp.csr_matrix(arrow))
    array([0, 1, 1, 1])
    """
    matrix = pattern.tocsr()
    near = [
        [int(k) for k in matrix.indices[a:b] if k != i]
        for i, (a, b) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True))
    ]
    colors = [-1] * len(near)
    for v in _by_degree([len(n) for n in near]):
        forbidden: set[int] = set()
        for w in near[v]:
            forbidden.add(colors[w])
            for x in near[w]:
                if x == v or colors[x] < 0:
                    continue
                # v - w - x - y must not have two colours only.
                if colors[w] < 0 or any(y != w and colors[y] == colors[w] for y in near[x]):
                    forbidden.add(colors[x])
        colors[v] = _least(forbidden)
    return np.array(colors, int)
