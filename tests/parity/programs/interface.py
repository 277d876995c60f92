"""Less common parts of the interface, each as a program uses it."""

from __future__ import annotations

import functools
from typing import Any

from tests.parity.programs.registry import program


@program()
def lax_toolbox(jax: Any) -> Any:
    """lax functions used directly: iota, clamp, reduce, gather by dnums, pad, dot_general, map."""
    jnp, lax = jax.numpy, jax.lax
    x = jnp.arange(12.0).reshape(3, 4)
    return [
        lax.iota(jnp.int32, 4),
        lax.broadcasted_iota(jnp.float32, (2, 3), 1),
        lax.clamp(2.0, x, 7.0),
        lax.rsqrt(x + 1.0),
        lax.reduce(x, 0.0, lax.add, (1,)),
        lax.reduce(x, -jnp.inf, lax.max, (0, 1)),
        lax.reduce(x, 1.0, lambda a, b: a * b, (0,)),
        lax.pad(x, 0.5, ((1, 0, 0), (-1, 1, 1))),
        lax.rev(x, (0,)),
        lax.transpose(x, (1, 0)),
        lax.broadcast(x[0], (2,)),
        lax.broadcast_in_dim(x[0], (4, 2), (0,)),
        lax.reshape(x, (4, 3)),
        lax.squeeze(x[None], (0,)),
        lax.expand_dims(x, (1,)),
        lax.concatenate([x, x], 1),
        lax.slice(x, (0, 1), (3, 4), (2, 2)),
        lax.slice_in_dim(x, 1, 3, axis=1),
        lax.dynamic_index_in_dim(x, 1, 0, False),
        lax.dot_general(x, x, (((1,), (1,)), ((), ()))),
        lax.dot(x, x.T),
        lax.batch_matmul(x[None], x.T[None]),
        lax.map(lambda r: r.sum() * r, x),
        lax.select_n(x[:, 0] > 3, x[:, 1], x[:, 2]),
        lax.sign(x - 5),
        lax.integer_pow(x, 3),
        lax.erf(x),
        lax.lgamma(x + 1),
        lax.digamma(x + 1),
        lax.argmax(x, 1, jnp.int32),
        lax.cumsum(x, axis=1, reverse=True),
        lax.population_count(jnp.arange(4)),
        lax.is_finite(x / 0),
        lax.nextafter(1.0, 2.0),
        lax.erf_inv(x / 20),
        lax.convert_element_type(x, jnp.int8),
        lax.expm1(x / 9),
        lax.log1p(x),
        lax.round(x / 2),
        lax.atan2(x, 2 + x),
        lax.rem(x, 3.0),
        lax.full((2,), 7),
        lax.stop_gradient(x),
        lax.reduce_precision(x / 3, 8, 7),
        lax.associative_scan(jnp.maximum, x, axis=1, reverse=True),
        lax.collapse(x, 0),
        lax.index_in_dim(x, 2),
        lax.linear_solve if False else 0,
        lax.conv(x[None, None], jnp.ones((1, 1, 2, 2)), (1, 1), "VALID"),
        lax.tan(x),
        lax.logistic(x),
        lax.square(x),
        lax.cbrt(x),
        lax.gather(x, jnp.array([[2], [0]]), lax.GatherDimensionNumbers((1,), (0,), (0,)), (1, 4)),
        lax.scatter_add(
            x, jnp.array([[1]]), jnp.ones((1, 4)), lax.ScatterDimensionNumbers((1,), (0,), (0,))
        ),
    ]


@program()
def vectorized_functions(jax: Any) -> Any:
    """jnp.vectorize with a signature, apply_along_axis, fromfunction, frompyfunc-free ufuncs."""
    jnp = jax.numpy

    @functools.partial(jnp.vectorize, signature="(n,m),(m)->(n)")
    def matvec(a: Any, x: Any) -> Any:
        return a @ x

    @functools.partial(jnp.vectorize, excluded=(1,))
    def poly(x: Any, coefficients: Any) -> Any:
        return jnp.polyval(coefficients, x)

    a = jnp.arange(24.0).reshape(2, 3, 4)
    return [
        matvec(a, jnp.ones(4)),
        matvec(a[0], jnp.ones((5, 4))),
        poly(jnp.arange(3.0), jnp.array([1.0, 2.0])),
        jnp.apply_along_axis(lambda v: v - v.mean(), 1, a[0]),
        jnp.apply_over_axes(jnp.sum, a, [0, 2]),
        jnp.fromfunction(lambda i, j: i * 10 + j, (2, 3), dtype=int),
        jnp.add.reduce(a[0], axis=0) if isinstance(jnp.add, jnp.ufunc) else a[0].sum(0),
        jnp.multiply.outer(jnp.arange(3), jnp.arange(2)),
        jnp.add.at(jnp.zeros(3), jnp.array([0, 0, 2]), 1.0, inplace=False),
        jnp.logaddexp.accumulate(jnp.arange(4.0)),
    ]


@program()
def activations(jax: Any) -> Any:
    """Every activation of jax.nn and its derivative at several points."""
    jnp = jax.numpy
    names = (
        "relu relu6 sigmoid softplus sparse_plus soft_sign silu swish log_sigmoid leaky_relu "
        "hard_sigmoid hard_silu hard_swish hard_tanh elu celu selu gelu squareplus mish identity"
    )
    x = jnp.array([-4.0, -1.0, -0.3, 0.0, 0.7, 2.0, 7.0])
    plain = {
        n: (getattr(jax.nn, n)(x), jax.vmap(jax.grad(getattr(jax.nn, n)))(x)) for n in names.split()
    }
    return plain, {
        "exact gelu": jax.nn.gelu(x, approximate=False),
        "glu": jax.nn.glu(x[:6]),
        "softmax": jax.nn.softmax(x, where=x > -2.0),
        "standardize": jax.nn.standardize(x),
        "one_hot": jax.nn.one_hot(jnp.array([0, 2, 5]), 4),
        "logsumexp": jax.nn.logsumexp(x, b=jnp.abs(x)),
        "log_softmax": jax.nn.log_softmax(x.reshape(7, 1), axis=0),
    }


@program()
def aux_and_argnums(jax: Any) -> Any:
    """has_aux everywhere, holomorphic and allow_int gradients, vjp with aux, closures in jvp."""
    jnp = jax.numpy

    def f(x: Any, n: Any, *, scale: float = 1.0) -> Any:
        y = scale * jnp.sum(x**n)
        return y, {"y": y, "x": x}

    x = jnp.array([1.0, 2.0])
    value, aux = jax.value_and_grad(f, has_aux=True)(x, 2, scale=3.0)
    out, pull, extra = jax.vjp(lambda x: f(x, 3), x, has_aux=True)
    tangent = jax.jvp(lambda x: f(x, 2), (x,), (x,), has_aux=True)
    return (
        value,
        aux,
        out,
        pull(1.0),
        extra,
        tangent,
        jax.jacrev(f, has_aux=True)(x, 2),
        jax.jacfwd(f, has_aux=True)(x, 2),
        jax.grad(jnp.sin, holomorphic=True)(0.3 + 0.1j),
        jax.grad(lambda z: jnp.abs(z) ** 2)(1.0 + 2.0j),
        jax.hessian(lambda x: jnp.prod(x), 0)(x),
        jax.linearize(lambda x: f(x, 2)[0], x)[1](x),
        jax.grad(lambda x: x["a"] * x["b"])({"a": 2.0, "b": 3.0}),
        jax.grad(lambda x, y: x * y, argnums=(1, 0))(2.0, 5.0),
        jax.grad(lambda x: jnp.float32(3.0))(1.0),
        jax.vmap(lambda: jnp.ones(2), axis_size=3, in_axes=())() if False else 0,
    )


@program()
def collectives_under_vmap(jax: Any) -> Any:
    """psum, pmax, all_gather, ppermute, axis_index, all_to_all over named vmapped axes."""
    jnp, lax = jax.numpy, jax.lax
    x = jnp.arange(12.0).reshape(4, 3)

    def named(f: Any) -> Any:
        return jax.vmap(f, axis_name="i")(x)

    def both(v: Any) -> Any:
        return (
            lax.psum(v, ("i", "j")),
            lax.pmean(v, "j"),
            lax.axis_index("i") * 10 + lax.axis_index("j"),
        )

    return [
        named(lambda v: v / lax.psum(v, "i")),
        named(lambda v: lax.pmax(v, "i") - lax.pmin(v, "i")),
        named(lambda v: lax.all_gather(v, "i")),
        named(lambda v: lax.ppermute(v, "i", [(k, (k + 1) % 4) for k in range(4)])),
        named(lambda v: lax.psum({"a": v, "n": 1}, "i")),
        jax.vmap(jax.vmap(both, axis_name="j"), axis_name="i")(x),
        jax.grad(
            lambda x: jax.vmap(lambda v: jnp.sum(v * lax.psum(v, "i")), axis_name="i")(x).sum()
        )(x),
        jax.jit(lambda x: jax.vmap(lambda v: v - lax.pmean(v, "i"), axis_name="i", out_axes=1)(x))(
            x
        ),
    ]


@program(whole_jit=False)
def random_interface(jax: Any) -> Any:
    """Old and new keys, splits of many shapes, clones, vmapped draws, integer ranges, shuffles."""
    jnp = jax.numpy
    old, new = jax.random.PRNGKey(3), jax.random.key(3)
    many = jax.random.split(new, (2, 3))
    return (
        old,
        jax.random.split(old),
        jax.random.key_data(new),
        many.shape,
        str(new.dtype),
        jax.random.key_data(many[1, ::-1]),
        jax.random.uniform(old) == jax.random.uniform(new),
        jax.vmap(lambda k: jax.random.normal(k, (2,)))(many[0]),
        jax.vmap(jax.vmap(jax.random.uniform))(many),
        jax.random.randint(new, (5,), -10, 10),
        jax.random.randint(new, (3,), 0, 100, dtype=jnp.uint8),
        jax.random.normal(new, (2,), jnp.bfloat16),
        jax.random.uniform(new, (3,), minval=2.0, maxval=jnp.array([3.0, 4.0, 5.0])),
        jax.random.permutation(new, jnp.arange(12).reshape(4, 3), axis=1, independent=True),
        jax.random.choice(new, 10, (3, 2)),
        jax.random.bernoulli(new, jnp.array([0.1, 0.9])),
        jax.random.key_data(jax.random.fold_in(new, 7)),
        jax.random.key_data(jax.random.wrap_key_data(jnp.array([1, 2], jnp.uint32))),
        jax.random.categorical(new, jnp.zeros((4, 3)), axis=0),
        jax.random.weibull_min(new, 1.0, 2.0, (2,)),
        jax.random.ball(new, 3, shape=(2,)),
        jnp.where(jnp.array([True, False, True]), many[0], many[1]).shape,
        jax.random.key_data(jnp.stack([new, new])),
        jax.random.gumbel(new, (2,)),
        jax.random.logistic(new, (2,)),
        jax.random.geometric(new, 0.3, (4,)),
        jax.random.binomial(new, 10, 0.4, (4,)),
        jax.random.maxwell(new, (2,)),
        jax.random.double_sided_maxwell(new, 0.0, 1.0, (2,)),
        jax.random.pareto(new, 3.0, (2,)),
        jax.random.rayleigh(new, 1.0, (2,)),
        jax.random.chisquare(new, 3.0, (2,)),
        jax.random.f(new, 3.0, 4.0, (2,)),
        jax.random.triangular(new, 0.0, 0.3, 1.0, (2,)),
        jax.random.wald(new, 1.0, (2,)),
        jax.random.loggamma(new, 0.3, (2,)),
        jax.random.generalized_normal(new, 1.5, (2,)),
        jax.random.lognormal(new, 0.5, (2,)),
    )


@program(whole_jit=False, eager=False)
def errors_users_meet(jax: Any) -> Any:
    """The kinds of errors that programs catch."""
    jnp, lax = jax.numpy, jax.lax

    def kind(f: Any, *args: Any) -> list[bool]:
        try:
            f(*args)
        except Exception as error:
            return [isinstance(error, k) for k in (TypeError, ValueError, IndexError, KeyError)]
        return []

    x = jnp.arange(3.0)
    return [
        kind(jax.jit(lambda x: 1 if x > 0 else 2), 1.0),
        kind(jax.jit(lambda x: float(x)), 1.0),
        kind(jax.jit(lambda x: x[x > 0]), x),
        kind(jax.jit(lambda n: jnp.zeros(n)), 3),
        kind(jax.grad(lambda x: x), x),
        kind(jax.grad(lambda n: n * 2.0), 3),
        kind(lambda: x + jnp.ones(4)),
        kind(lambda: jnp.dot(x, jnp.ones(4))),
        kind(lambda: x.reshape(2, 2)),
        kind(lambda: jax.vmap(lambda a, b: a + b)(jnp.ones(2), jnp.ones(3))),
        kind(lambda: lax.scan(lambda c, _: (c + 1.5, None), 0, None, length=2)),
        kind(lambda: lax.cond(True, lambda: 1.0, lambda: jnp.ones(2))),
        kind(lambda: x.__setitem__(0, 1.0)),
        kind(lambda: jnp.concatenate([])),
        kind(lambda: jax.jit(lambda x: x, static_argnums=0)([1])),
        kind(lambda: bool(x)),
        kind(lambda: jnp.array("text")),
        kind(lambda: lax.add(x, "a")),
        kind(lambda: hash(x)),
        kind(lambda: x[1.5]),
        kind(lambda: x["a"]),
        kind(lambda: jnp.zeros(3).at[0].set(jnp.ones(2))),
        kind(lambda: jax.jit(lambda x: np_asarray(x))(x)),
        kind(lambda: lax.while_loop(lambda s: s, lambda s: s, x)),
        kind(lambda: jnp.linspace(0, 1, 3)(2)),
    ]


def np_asarray(x: Any) -> Any:
    """What users do by mistake inside jit."""
    import numpy as np

    return np.asarray(x)
