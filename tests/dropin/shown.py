"""What users print while they look at traced programs; run under the drop-in and under JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def show(x):  # type: ignore[no-untyped-def]
    print(x, repr(x), f"{x}")
    return x


jax.jit(show)(jnp.ones((2, 3)))
jax.jit(lambda t: jax.tree.map(show, t))({"a": 1, "b": jnp.ones(2, "bfloat16")})
jax.vmap(show)(jnp.ones((2, 3)))
jax.vmap(show, in_axes=1)(jnp.ones((2, 3)))
jax.grad(show)(2.0)
jax.grad(lambda x: show(x).sum())(jnp.ones(2))
jax.vjp(show, 1.0)
jax.linearize(show, 1.0)
jax.jvp(show, (1.0,), (2.0,))
jax.jvp(show, (jnp.ones(2),), (jnp.ones(2),))
jax.jacfwd(show)(jnp.ones(2))
jax.hessian(lambda x: show(x).sum())(jnp.ones(2))
jax.vmap(jax.grad(show))(jnp.ones(2))
jax.jit(jax.grad(show))(1.0)
jax.jit(jax.vmap(show))(jnp.ones(2))
jax.lax.cond(True, show, show, 1.0)
jax.checkpoint(show)(1.0)
jax.make_jaxpr(show)(jax.random.key(0))
print(jax.typeof(1.0), jax.typeof(jnp.ones(2)), jnp.ones(2, "int8").aval)

jaxpr = jax.make_jaxpr(lambda x: x + 1)(1.0)
print(jaxpr, jaxpr.eqns[0].invars[1], jaxpr.jaxpr.invars[0].aval)
inner = jax.jit(lambda x, y: x * 2 + y, inline=True)
print(jax.make_jaxpr(inner)(1, 2), jax.make_jaxpr(lambda x: inner(jnp.cos(x), x))(1.0))
print(jax.vmap(inner)(jnp.arange(2), jnp.arange(2)), jax.grad(inner)(1.0, 2.0), inner(3, 4))
print(str(jax.jit(show)).split(" of ")[0])

mesh = jax.sharding.Mesh(jax.devices(), "x")
print(mesh, repr(mesh), jax.sharding.AbstractMesh((2,), ("x",)))
print(jax.make_mesh((1, 1), ("d", "m")), jax.sharding.get_abstract_mesh())
print(jax.sharding.NamedSharding(mesh, jax.P("x")), jax.P(("x", "y"), None))
print(jax.sharding.NamedSharding(jax.sharding.AbstractMesh((2,), ("x",)), jax.P("x")))
