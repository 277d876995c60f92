"""Making arrays: values, dtypes, weak types, and errors."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare

CREATION = """
jnp.arange(0,1,0.1)-np.arange(0,1,0.1).astype('f')
jnp.arange(0,5,2,dtype=float)
jnp.arange(5, dtype='int8'), jnp.arange(5, dtype=bool)
jnp.arange(2,dtype=bool)
jnp.arange(3, dtype=complex)
jnp.zeros('a')
jnp.zeros(jnp.array([2,3])).shape
jnp.full((2,), jnp.array([1,2]))
jnp.full(2, 1.0, jnp.int32)
jnp.linspace(0,10,5,dtype=int)
jnp.linspace(0,10,5,retstep=True)
jnp.linspace(0,10,1,retstep=True)
jnp.linspace(0,10,0)
jnp.linspace(jnp.arange(2),10,3,axis=1)
jnp.geomspace(1,1000,4), jnp.geomspace(-1,-8,4), jnp.geomspace(1,8,3,endpoint=False)
jnp.logspace(0,2,3)
jnp.array(True).weak_type, jnp.array(1, dtype=int).weak_type
jnp.array([])
jnp.array([[],[]])
jnp.array([1,2], ndmin=3).shape
jnp.array(1.5, dtype=int)
jnp.array([1.5], dtype=int)
jnp.array(300, dtype='uint8')
jnp.array(-1, dtype='uint8')
jnp.array([jnp.arange(2), [3,4]])
jnp.array((1,jnp.float16(2))).dtype
jnp.array(np.float64(1.)), jnp.array(np.float64(1.)).weak_type
jnp.array([1,2],order='F')
jnp.asarray([1,2],copy=False)
jnp.asarray(np.arange(3),copy=False)
jnp.array({1:2})
jnp.array(range(3))
jnp.array(x for x in range(3))
jnp.array(memoryview(b'abc'))
jnp.array(b'abc')
jnp.astype(jnp.array([1+2j]), float)
jnp.asarray(1+2j, dtype=float)
jnp.array(np.array(['a']))
jnp.array(np.array([1,2],dtype=object))
jnp.ones_like([1,2])
jnp.eye(2, k=1), jnp.eye(3,2,dtype=int), jnp.identity(2)
jnp.tri(2,3,1), jnp.tril(jnp.ones((2,3)),-1), jnp.triu(jnp.ones((2,2,2)))
jnp.tril(jnp.ones(2))
jnp.diag(jnp.arange(2),k=1), jnp.diag(jnp.arange(6).reshape(2,3),k=1), jnp.diagflat(jnp.ones((2,1)),-1)
jnp.meshgrid(jnp.arange(2),jnp.arange(3)), jnp.meshgrid(jnp.arange(2),jnp.arange(3),indexing='ij',sparse=True)
jnp.mgrid[0:2,0:2], jnp.mgrid[0:1:3j], jnp.ogrid[0:2,0:3]
jnp.r_[1:3,5], jnp.c_[jnp.arange(2),jnp.arange(2)], jnp.r_['0,2',[1,2],[3,4]], jnp.r_[0:1:3j]
jnp.indices((2,2)), jnp.indices((2,2),sparse=True)
jnp.fromfunction(lambda i,j: i+j, (2,2)), jnp.fromfunction(lambda i,j: i+j, (2,2),dtype=int)
jnp.ix_(jnp.arange(2),jnp.array([True,False,True]))
jnp.vander(jnp.array([1,2,3])), jnp.vander(jnp.array([1,2,3]),2,increasing=True)
jnp.tril_indices(2), jnp.mask_indices(2, jnp.triu), jnp.diag_indices(2)
jnp.bartlett(4), jnp.hanning(4), jnp.kaiser(3, 1.0), jnp.blackman(3)
"""


@pytest.mark.parametrize("expression", CREATION.strip().splitlines())
def test_creation(expression: str) -> None:
    compare(expression, rtol=1e-5)
