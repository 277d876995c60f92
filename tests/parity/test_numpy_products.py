"""Products of arrays, einsum, and what there is of linalg and fft."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare

PRODUCTS = """
jnp.fft.fftfreq(4), jnp.fft.rfftfreq(4), jnp.fft.fftshift(x)
jnp.matmul(jnp.ones((2,2),bool), jnp.ones((2,2),bool))
jnp.einsum('ii', jnp.eye(2)), jnp.einsum('ii->i', jnp.eye(2)), jnp.einsum('i,i', x,i), jnp.einsum('...i->...', jnp.ones((2,3))), jnp.einsum('ij', jnp.array([[1,2]]).T)
jnp.einsum('i->', jnp.array([True,True]))
jnp.einsum('i,i->', jnp.array([1,2],'int8'), jnp.array([1,2],'int8'))
jnp.dot(1,2), jnp.dot(2.,x), jnp.vdot(1j,1j), jnp.inner(jnp.ones((2,3)),x), jnp.outer(x,i)
jnp.cross(jnp.array([1,2]),jnp.array([3,4])), jnp.cross(jnp.array([1,2,3]),jnp.array([3,4]))
jnp.einsum_path('ij,jk,kl->il', jnp.ones((2,2)),jnp.ones((2,2)),jnp.ones((2,2)))[0]
jnp.dot(m,m.T), jnp.dot(a,jnp.ones((4,2))), jnp.dot(v,v), jnp.dot(x,v), jnp.dot(v,x.T), jnp.dot(c,c), jnp.dot(h,h), jnp.dot(i,i), jnp.dot(2,3.), jnp.dot(a,a[0].T)
jnp.matmul(a,a.swapaxes(1,2)), jnp.matmul(m,jnp.ones((2,4,5))), jnp.matmul(jnp.ones((2,1,3,4)),jnp.ones((5,4,2))), jnp.matmul(v,m), jnp.matmul(a,jnp.arange(4)), jnp.matmul(jnp.arange(3),a), jnp.matmul(v,v), jnp.matmul(jnp.ones((1,2,3)),jnp.ones((4,3,2)))
jnp.matmul(v,m.T)
jnp.matmul(1,v)
jnp.matmul(jnp.ones((2,3,4)),jnp.ones((3,4,2)))
jnp.inner(m,m), jnp.outer(v,i), jnp.vdot(c,c), jnp.vdot(x,x), jnp.kron(v,i), jnp.kron(x,m), jnp.kron(2,v), jnp.tensordot(a,a,3), jnp.tensordot(a,m,((1,2),(0,1))), jnp.tensordot(v,v,0), jnp.tensordot(m,m,(0,0))
jnp.tensordot(m,m,3)
jnp.cross(v,v[::-1]), jnp.cross(x,v), jnp.cross(x.T,v,axisa=0), jnp.matvec(m,jnp.arange(4.)), jnp.vecmat(v,m), jnp.vecdot(x,v), jnp.vecdot(c,c), jnp.matvec(a,jnp.ones((2,4)))
jnp.einsum('ij,jk->ik',x,m), jnp.einsum('ij,jk,kl',x,m,m.T), jnp.einsum('ii->i',m[:,:3]), jnp.einsum('ij->ji',x), jnp.einsum('ij->',x), jnp.einsum('i,j->ij',v,i), jnp.einsum('bij,bjk->bik',a,a.swapaxes(1,2)), jnp.einsum('...ij,...j->...i',a,jnp.arange(4.)), jnp.einsum('ij,ij->i',x,x), jnp.einsum('i,i,i->',v,v,v)
jnp.einsum(x,[0,1],m,[1,2]), jnp.einsum(x,[0,1],m,[1,2],[2,0]), jnp.einsum('ij,jk->ik',x,m,optimize=False), jnp.einsum('ij,jk,kl->il',x,m,m.T,optimize=True), jnp.einsum('a,b,c->abc',v,v,v), jnp.einsum('iij->j',jnp.ones((3,3,2))), jnp.einsum('...,...->...',x,v), jnp.einsum('ij,kj->',x,x)
jnp.einsum('ij,jk->ik',x,x)
jnp.einsum('ijk',x)
jnp.linalg.norm(v), jnp.linalg.norm(x), jnp.linalg.norm(x,axis=1), jnp.linalg.norm(x,1), jnp.linalg.norm(x,-1), jnp.linalg.norm(x,jnp.inf), jnp.linalg.norm(x,-jnp.inf), jnp.linalg.norm(x,'fro'), jnp.linalg.norm(v,3), jnp.linalg.norm(v,0), jnp.linalg.norm(v,-jnp.inf), jnp.linalg.norm(c), jnp.linalg.norm(i), jnp.linalg.norm(x,keepdims=True), jnp.linalg.norm(a,axis=(0,1)), jnp.linalg.norm(v,0.5)
jnp.linalg.norm(v,'fro')
jnp.linalg.norm(a,2)
jnp.linalg.vector_norm(x), jnp.linalg.vector_norm(x,axis=0,ord=1), jnp.linalg.matrix_norm(a), jnp.linalg.matrix_norm(x,ord=1), jnp.linalg.matrix_power(m[:,:3],3), jnp.linalg.matrix_power(m[:,:3],0), jnp.linalg.multi_dot([x,m,m.T]), jnp.linalg.multi_dot([v,m,m.T,v]), jnp.linalg.trace(a), jnp.linalg.diagonal(a), jnp.linalg.outer(v,i), jnp.linalg.cross(v,v), jnp.linalg.tensordot(m,m.T,axes=1), jnp.linalg.vecdot(v,v), jnp.linalg.matrix_transpose(a), jnp.linalg.matmul(x,m)
jnp.linalg.outer(x,v)
jnp.fft.fftfreq(5,2.), jnp.fft.rfftfreq(5), jnp.fft.fftshift(x), jnp.fft.ifftshift(x,axes=1), jnp.fft.fftshift(jnp.arange(4))
jnp.dot(v,v,preferred_element_type=jnp.float16), jnp.matmul(i,i,preferred_element_type=jnp.float32), jnp.einsum('i,i',h,h,preferred_element_type=jnp.float32)
"""


@pytest.mark.parametrize("expression", PRODUCTS.strip().splitlines())
def test_products(expression: str) -> None:
    compare(expression, rtol=1e-5)
