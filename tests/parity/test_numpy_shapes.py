"""Shapes, joining, selection, vectorization and padding."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from tests.parity.numpy_oracle import compare

SHAPES = """
jnp.vectorize(lambda a,b: a+b)(x, 1.0)
jnp.vectorize(jnp.dot, signature='(n),(n)->()')(jnp.ones((4,3)), x)
jnp.vectorize(jnp.dot, signature='(n),(m)->()')(x, i[:2])
jnp.vectorize(lambda a: (a,a+1))(x)
jnp.vectorize(lambda a,b=2: a*b, excluded={'b'})(x, b=3)
jnp.apply_along_axis(jnp.cumsum, 0, jnp.ones((2,3))), jnp.apply_over_axes(jnp.sum, jnp.ones((2,3,2)), [0,2])
jnp.pad(i,2), jnp.pad(i,(1,2),constant_values=(8,9)), jnp.pad(x,1,'edge'), jnp.pad(x,2,'linear_ramp',end_values=(5,6)), jnp.pad(i,2,'linear_ramp')
jnp.pad(x,2,'reflect'), jnp.pad(x,5,'reflect'), jnp.pad(x,2,'symmetric'), jnp.pad(x,5,'wrap'), jnp.pad(x,2,'reflect',reflect_type='odd')
jnp.pad(x,1,'maximum'), jnp.pad(x,1,'mean'), jnp.pad(x,1,'median'), jnp.pad(x,1,'minimum',stat_length=2), jnp.pad(x,1,'empty'), jnp.pad(i,1,'mean')
jnp.pad(x,1,'foo')
jnp.pad(x,1,lambda v,w,a,k: v.at[0].set(7))
jnp.finfo('float32').eps, jnp.iinfo('int8').max
jnp.fromstring('1 2', sep=' '), jnp.frombuffer(b'abcd',dtype='uint8')
jnp.fromiter(range(3), int)
jnp.where(jnp.array([True]), 1, 2).weak_type, jnp.select([x>1],[x],default=5)
jnp.take(i, 5), jnp.take(x, jnp.array([5,-1,-5])), jnp.take(x, 5, mode='clip'), jnp.take(x,jnp.array([5,-1]),mode='wrap'), jnp.take(x,jnp.array([-1]),mode='clip')
jnp.take_along_axis(x, jnp.array([5,-1]), 0), jnp.put_along_axis(x, jnp.array([1]), 9., 0, inplace=False)
jnp.unravel_index(jnp.array([5,9,-1]), (2,3)), jnp.ravel_multi_index((i,i),(3,3))
jnp.insert(i,1,9), jnp.insert(i,jnp.array([1,1]),jnp.array([8,9])), jnp.delete(i,1), jnp.append(i,5.)
jnp.reshape(x,(3,-1)), jnp.reshape(x,(3,2),order='F'), jnp.ravel(x,'F'), jnp.resize(i,(2,4)), jnp.expand_dims(v,(0,2)), jnp.squeeze(v[None]), jnp.squeeze(x[None,:,None],axis=0)
jnp.reshape(x,(4,2))
jnp.reshape(x,(-1,-1))
jnp.squeeze(x,0)
jnp.transpose(a,(1,0,2)), jnp.transpose(a), jnp.moveaxis(a,0,-1), jnp.moveaxis(a,(0,1),(2,0)), jnp.swapaxes(a,0,2), jnp.rollaxis(a,2), jnp.rollaxis(a,0,3), jnp.permute_dims(m,(1,0)), jnp.matrix_transpose(a)
jnp.transpose(m,(0,0))
jnp.concatenate([v,i]), jnp.concatenate([x,x],axis=1), jnp.concatenate([x,v],axis=None), jnp.concatenate([h,i]), jnp.concatenate([v,i],dtype='int8'), jnp.concat([x,x])
jnp.concatenate([]),
jnp.concatenate([1,2])
jnp.concatenate([x,v])
jnp.stack([v,i],axis=1), jnp.stack(x), jnp.vstack([v,i]), jnp.hstack([v,i]), jnp.hstack([x,x]), jnp.dstack([v,v]), jnp.column_stack([v,x.T]), jnp.vstack(x), jnp.stack([1,2])
jnp.stack([v,x])
jnp.stack([])
jnp.block([[jnp.ones((2,2)),jnp.zeros((2,1))],[jnp.ones((1,3))]]), jnp.block([1,2]), jnp.block(x), jnp.block([v,i])
jnp.split(jnp.arange(6),3), jnp.split(jnp.arange(6),[2,3]), jnp.array_split(jnp.arange(5),3), jnp.vsplit(m,3), jnp.hsplit(m,2), jnp.dsplit(a,2), jnp.unstack(m,axis=1)
jnp.split(jnp.arange(5),2)
jnp.tile(v,2), jnp.tile(x,(2,1,3)), jnp.tile(1,(2,2)), jnp.repeat(x,2), jnp.repeat(x,jnp.array([1,2]),axis=0), jnp.repeat(v,jnp.array([1,0,2]),total_repeat_length=5), jnp.repeat(v,2,total_repeat_length=4), jnp.repeat(3,2)
jnp.flip(x), jnp.flip(x,1), jnp.fliplr(x), jnp.flipud(x), jnp.rot90(m), jnp.rot90(m,2), jnp.rot90(m,3), jnp.rot90(a,1,(1,2)), jnp.rot90(m,-1)
jnp.roll(v,1), jnp.roll(x,1), jnp.roll(x,(1,2),(0,1)), jnp.roll(x,-1,1), jnp.roll(m,jnp.array([1,1]),(0,1)), jnp.roll(x,2,(0,1)), jnp.roll(v,jnp.array(5))
jnp.broadcast_to(v,(2,3)), jnp.broadcast_arrays(x,v), jnp.broadcast_shapes((2,1),(3,)), jnp.atleast_1d(1), jnp.atleast_2d(v), jnp.atleast_3d(x,v), jnp.atleast_1d(1,v)
jnp.broadcast_to(x,(3,))
jnp.broadcast_to(v,(2,2))
jnp.append(x,x), jnp.append(x,x,axis=0), jnp.insert(x,1,9.,axis=1), jnp.insert(v,-1,8), jnp.insert(v,slice(0,2),7), jnp.insert(x,0,v,axis=0), jnp.insert(x,jnp.array([1]),jnp.ones((2,1)),axis=1)
jnp.delete(x,1,axis=1), jnp.delete(v,jnp.array([0,2])), jnp.delete(v,slice(0,2)), jnp.delete(v,np.array([True,False,False])), jnp.delete(x,0), jnp.delete(v,-1)
jnp.trim_zeros(jnp.array([0,1,0,2,0])), jnp.trim_zeros(v,'f'), jnp.shape(x), jnp.ndim(x), jnp.size(x,1), jnp.size(x)
jnp.select([v>1,v>0],[v,v*10],5), jnp.select([b],[i],2.5), jnp.piecewise(v,[v<1,v>=1],[0.,lambda z: z*2]), jnp.piecewise(v,[v<1],[1.,2.]), jnp.piecewise(i,[i<1],[5])
jnp.choose(i,[v,v+10,v+20]), jnp.choose(jnp.array([0,4]),[1,2,3],mode='clip'), jnp.choose(jnp.array([0,4]),[1,2,3],mode='wrap')
jnp.choose(jnp.array([0,4]),[1,2,3])
jnp.clip(v,1), jnp.clip(v,None,1), jnp.clip(i,0.5,1.5), jnp.clip(v,max=1), jnp.clip(v,min=1), jnp.clip(x,v,None), jnp.clip(3,0,2)
jnp.clip(c,0,1)
jnp.where(b,v,i), jnp.where(x>2,x,v), jnp.where(b,1,0.5), jnp.where(b,h,1.5), jnp.where(1,v,0), jnp.where(b,True,False), jnp.where(b, u, 300)
jnp.take(x,i,axis=1,mode='clip'), jnp.take(x,jnp.array([[0,1]])), jnp.take(a,1,axis=2), jnp.take(v,jnp.array([0,7]),fill_value=-1), jnp.take(u,7), jnp.take(x,jnp.array([0]),axis=-1)
jnp.take_along_axis(x,jnp.argsort(-x,axis=1),axis=1), jnp.take_along_axis(x,jnp.array([[5]]),axis=1), jnp.take_along_axis(x,jnp.array([[0,1]]),axis=0), jnp.take_along_axis(x,i,None), jnp.take_along_axis(a,jnp.zeros((2,1,1),int),1)
jnp.take_along_axis(x,i,0)
jnp.put_along_axis(x,jnp.array([[0],[2]]),9.,1,inplace=False), jnp.put(v,jnp.array([0,5]),jnp.array([7.,8.]),inplace=False), jnp.put(v,jnp.array([-1,5]),9,mode='wrap',inplace=False), jnp.put(v,jnp.array([1,9]),9,mode='clip',inplace=False), jnp.place(x,x>2,jnp.array([8,9]),inplace=False)
jnp.fill_diagonal(m,7,inplace=False), jnp.fill_diagonal(jnp.zeros((3,3)),v,inplace=False), jnp.compress(b,m,axis=0), jnp.extract(x>2,x), jnp.extract(x>2,x,size=5,fill_value=-1), jnp.compress(jnp.array([0,1]),v)
jnp.fill_diagonal(m,7)
jnp.apply_along_axis(jnp.sum,1,a), jnp.apply_along_axis(lambda z: jnp.stack([z,z]),1,x), jnp.apply_over_axes(jnp.sum,a,[0,2])
jnp.vectorize(jnp.matmul,signature='(n,m),(m,k)->(n,k)')(jnp.ones((4,1,2,3)),jnp.ones((5,3,2))), jnp.vectorize(lambda z,w: (z+w,z*w),signature='(),()->(),()')(x,v), jnp.vectorize(lambda z: z[0],signature='(n)->()')(x)
jnp.vectorize(jnp.dot,signature='(n),(n)')(v,v)
jnp.vectorize(jnp.dot,signature='(n),(n)->()')(v,x.T)
jnp.ravel_multi_index((i,i),(3,3),order='F'), jnp.unravel_index(7,(2,3,2)), jnp.ix_(i,jnp.array([1,2]))
"""


@pytest.mark.parametrize("expression", SHAPES.strip().splitlines())
def test_shapes(expression: str) -> None:
    compare(expression, rtol=1e-5)
