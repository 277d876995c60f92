"""Operators and methods of arrays."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare

METHODS = """
len(jnp.float32(1))
list(x)
iter(jnp.float32(1))
x==None
x!='a'
x<None
hash(x)
x@x
x@1
bool(x)
x+None
x//2, x%2, divmod(x,2), 2//x[1:], -x, +x, abs(x), ~jnp.arange(3), x**2, 2**x, jnp.arange(3)<<1, 1<<jnp.arange(3)
round(jnp.float32(2.567),1), round(jnp.float32(2.5))
x.astype(int), x.astype('bfloat16').dtype
x.nbytes, x.itemsize, m.T.shape, a.mT.shape, a.T.shape
x.reshape(3,1).shape, x.reshape((1,3)).shape, x.reshape(-1), x.reshape(shape=(3,1))
m.transpose(1,0).shape, m.transpose((1,0)).shape, m.transpose().shape
m.transpose(None).shape, m.flatten('F'), m.ravel().shape, m.squeeze().shape
format(jnp.float32(1.5),'.3f'), str(x)
x.sort(), x.argsort()
x.choose([x,x,x])
x.sum(where=x>0), x.std(ddof=1), x.max(initial=5)
m.dot(m.T), m.trace(), m.diagonal()
"""


@pytest.mark.parametrize("expression", METHODS.strip().splitlines())
def test_methods(expression: str) -> None:
    compare(expression, rtol=1e-5)
