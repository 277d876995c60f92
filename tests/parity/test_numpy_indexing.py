"""Indexing and functional updates: every form of index, modes out of bounds, and errors."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare

READS = """
v[1], v[-1], v[10], v[-10], m[10], m[0, 10], m[one], v[np.int64(1)]
v[jnp.array(10)], v[jnp.array(-10)], v[jnp.array([10, -10, -1])], m[jnp.array([5]), 1:3]
v[1:], v[:-1], v[::-1], v[::2], v[5:1:-1], m[::-1, ::2], m[2:0:-1, 3:0:-2], m[1:1], m[:, 3:1]
v[None], v[..., None], m[None, ..., None, 0], m[...], m[..., 0], a[0, ..., 1], v[()]
m[[0, 1], 1], m[(0, [1, 2])], m[:, [0, 2]]
v[True], v[False], v[jnp.array(True)], v[b], v[np.array([True, False, True])], m[b], m[b, 1], m[:, np.array([1, 0, 1, 0], bool)]
a[np.zeros((2, 3), bool)], a[:, np.zeros((3, 4), bool)], a[np.arange(24).reshape(2, 3, 4) % 3 == 0]
a[jnp.array([0, 1]), :, jnp.array([0, 1])], a[0, :, jnp.array([0, 1])], a[:, 0, jnp.array([0, 1])]
a[:, one, jnp.array([0, 1])], a[0, None, jnp.array([0, 1])], a[jnp.array([0, 1]), None, jnp.array([0, 1])]
a[jnp.array([[0], [1]]), jnp.array([0, 1, 2])], a[..., jnp.array([0, 1])], a[jnp.array([0, 1]), ..., 1:3]
a[jnp.array([1, 0]), 2:0:-1, ::2], a[1, jnp.array([0, 2]), ::-1], a[None, jnp.array([1]), :, None]
v[jnp.array([], dtype=int)], v[jnp.array([0, 1], dtype=jnp.uint8)], v[jnp.array([[0, 1], [2, -1]])]
jnp.float32(3)[...], jnp.float32(3)[()], jnp.float32(3)[None]
v[jnp.array(1):], v[slice(0, 2, one)], m[1:, jnp.array([1, 2]), None]
u[jnp.array([0, 1])], h[1], b[1:], c[::-1]
"""

ERRORS = """
v[0, 0]
m[0, 0, 0]
v[1.0]
v[[0, 1]]
v[[]]
v["a"]
v[{}]
v[np.array([])]
v[np.array([True, False])]
v[1.5:]
v[1:2:0]
v[..., ...]
jnp.float32(3)[0]
a[jnp.array([0, 1, 2]), jnp.array([0, 1])]
v.at[0].foo
v.at[0] + 1
v.at[0].set(jnp.arange(2))
m.at[0].set(jnp.arange(3))
m.at[0].set(jnp.arange(4)[None])
v.at[0].get(mode="nope")
"""

UPDATES = """
v.at[0].set(7), v.at[-1].set(7), v.at[10].set(5), v.at[-10].set(5), v.at[jnp.array([10, -10, -1])].set(5)
v.at[jnp.array([10, -10, -1])].set(5, mode="clip"), v.at[jnp.array([10, -10, -1])].set(5, mode="fill")
v.at[jnp.array([0, 1])].set(jnp.array([5.0, 6.0])), v.at[1:].set(9), v.at[::2].set(jnp.array([8.0, 9.0]))
m.at[0].set(jnp.arange(4.0)), m.at[:, 0].set(1), m.at[1, 2].add(10), m.at[::-1, 1].set(jnp.arange(3.0))
m.at[jnp.array([0, 2]), 1:3].set(0), m.at[:, jnp.array([0, 0])].add(1), m.at[0, jnp.array([1, 3])].multiply(2)
m.at[1:, ::2].set(jnp.ones((2, 2))), m.at[1:, ::-1].add(jnp.arange(4.0)), m.at[...].set(3), m.at[None, 0].set(5)
a.at[jnp.array([0, 1]), :, jnp.array([0, 1])].set(jnp.arange(6).reshape(2, 3))
a.at[0, :, jnp.array([0, 1])].add(1), a.at[:, 0, jnp.array([3, 3])].add(1), a.at[1, 1:, ::2].set(0)
a.at[jnp.array([[0], [1]]), jnp.array([0, 2])].set(-1), a.at[..., 0].set(jnp.arange(3))
v.at[b].set(9), v.at[b].add(jnp.array([1.0, 2.0])), m.at[b].set(0), m.at[m > 5].set(-1), m.at[m > 5].multiply(2)
v.at[jnp.array([1, 1])].add(2), v.at[jnp.array([1, 1])].subtract(2), v.at[jnp.array([1, 1])].multiply(3)
v.at[jnp.array([1, 1])].divide(2), v.at[jnp.array([1, 1])].power(2), v.at[jnp.array([1, 1])].max(3)
v.at[jnp.array([1, 1])].min(-3), v.at[1:].mul(3), v.at[0].apply(jnp.cos), m.at[1:, 0].apply(jnp.negative)
v.at[10].get(mode="fill"), v.at[10].get(), v.at[jnp.array([10, -10, -1])].get(), v.at[jnp.array([9])].get(mode="fill", fill_value=7)
v.at[jnp.array([10, -10, -1])].get(mode="fill"), v.at[jnp.array([10, -10, -1])].get(mode="clip")
v.at[jnp.array([-1, 1])].get(mode="fill", wrap_negative_indices=False)
i.at[jnp.array([10])].get(mode="fill"), u.at[jnp.array([10])].get(mode="fill"), b.at[jnp.array([10])].get(mode="fill")
i.at[0].set(1.5), i.at[0].add(1.5), h.at[0].add(jnp.float32(1.5)), b.at[0].set(0), jnp.asarray(1).at[()].add(1.5)
v.at[jnp.array([], dtype=int)].set(3), v.at[0:0].add(1), jnp.float32(3).at[()].set(4), i.at[1].set(jnp.int8(4))
"""


@pytest.mark.parametrize("expression", READS.strip().splitlines())
def test_reads(expression: str) -> None:
    compare(f"[{expression}]")


@pytest.mark.parametrize("expression", ERRORS.strip().splitlines())
def test_errors(expression: str) -> None:
    compare(expression)


@pytest.mark.parametrize("expression", UPDATES.strip().splitlines())
def test_updates(expression: str) -> None:
    compare(f"[{expression}]")
