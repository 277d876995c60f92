"""How programs are put together: pytrees, classes, static arguments, nesting, control flow."""

from __future__ import annotations

import collections
import dataclasses
import functools
from typing import Any, NamedTuple

import numpy as np

from tests.parity.programs.registry import program


class Parameters(NamedTuple):
    """A namedtuple of arrays."""

    weight: Any
    bias: Any


@program(whole_jit=False)
def trees(jax: Any) -> Any:
    """Namedtuples, ordered dictionaries, None, registered classes and dataclasses as pytrees."""
    jnp, tu = jax.numpy, jax.tree_util

    @dataclasses.dataclass
    class Model:
        params: Any
        scale: Any
        name: str

    tu.register_dataclass(Model, data_fields=["params", "scale"], meta_fields=["name"])

    @tu.register_pytree_node_class
    class Interval:
        def __init__(self, low: Any, high: Any) -> None:
            self.low, self.high = low, high

        def tree_flatten(self) -> Any:
            return (self.low, self.high), None

        @classmethod
        def tree_unflatten(cls, _: Any, children: Any) -> Any:
            return cls(*children)

    def loss(model: Any, interval: Any) -> Any:
        w, b = model.params["layer"]
        y = model.scale * (w @ jnp.ones(3) + b) + len(model.name)
        return jnp.sum(jnp.clip(y, interval.low, interval.high) ** 2)

    params = collections.OrderedDict(layer=Parameters(jnp.arange(6.0).reshape(2, 3), jnp.ones(2)))
    model, interval = Model(params, jnp.array(0.1), "net"), Interval(0.0, 10.0)
    value, (g_model, g_interval) = jax.jit(jax.value_and_grad(loss, (0, 1)))(model, interval)
    leaves, treedef = tu.tree_flatten((g_model, g_interval, None))
    names = [
        tu.keystr(path)
        for path, _ in tu.tree_flatten_with_path({"a": [1, (2,)], "b": model.params})[0]
    ]
    doubled = tu.tree_unflatten(treedef, [2 * x for x in leaves])
    total = tu.tree_reduce(lambda a, b: a + jnp.sum(b), doubled[0].params, 0.0)
    shapes = tu.tree_map(jnp.shape, model.params)["layer"]
    both = tu.tree_map(lambda a, b: a + b, (1, {"x": 2}), (3, {"x": 4}))
    transposed = tu.tree_transpose(
        tu.tree_structure([0, 0]),
        tu.tree_structure({"p": 0, "q": 0}),
        [{"p": 1, "q": 2}, {"p": 3, "q": 4}],
    )
    flags = tu.tree_all([True, {"a": 1}]), tu.tree_leaves([None, (1, None)])
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return value, leaves, names, total, shapes, both, transposed, flags, flat, unravel(2 * flat)


@program()
def nested_transformations(jax: Any) -> Any:
    """jit in vmap in grad in jit, vmap with dictionaries in in_axes, out_axes, axis names."""
    jnp, lax = jax.numpy, jax.lax

    @jax.jit
    def inner(p: Any, x: Any) -> Any:
        return jnp.tanh(jnp.dot(p["w"], x) + p["b"])

    def outer(p: Any, xs: Any) -> Any:
        return jax.vmap(jax.jit(inner), in_axes=({"w": None, "b": 0}, 1), out_axes=0)(p, xs).sum()

    p = {"w": jnp.array([0.5, -1.0]), "b": jnp.arange(3.0)}
    xs = jnp.arange(6.0).reshape(2, 3)
    twice = jax.jit(jax.grad(lambda p: outer(p, xs) * jax.jit(outer)(p, xs)))(p)

    def standardize(x: Any) -> Any:
        mean = lax.pmean(x, "batch")
        return (x - mean) / jnp.sqrt(lax.pmean((x - mean) ** 2, "batch") + 1e-6)

    named = jax.vmap(standardize, axis_name="batch")(xs)
    ranks = jax.vmap(lambda x: x * lax.axis_index("i") + lax.psum(1, "i"), axis_name="i")(xs[0])
    outs = jax.vmap(lambda x, y: {"s": x + y, "p": x * y}, (0, None), {"s": 0, "p": 1})(
        xs[0], xs[1]
    )
    return outer(p, xs), twice, named, ranks, outs, jax.vmap(jnp.vdot, (1, 1))(xs, xs)


@program()
def state_machine(jax: Any) -> Any:
    """A stack machine interpreted with lax.switch in a while_loop; conditions with operands."""
    jnp, lax = jax.numpy, jax.lax
    code = jnp.array([[0, 3], [0, 4], [1, 0], [0, 5], [2, 0], [3, 0], [4, 0]])

    def push(s: Any, arg: Any) -> Any:
        stack, top = s
        return stack.at[top].set(arg), top + 1

    def binary(f: Any) -> Any:
        def run(s: Any, _: Any) -> Any:
            stack, top = s
            return stack.at[top - 2].set(f(stack[top - 2], stack[top - 1])), top - 1

        return run

    def negate(s: Any, _: Any) -> Any:
        stack, top = s
        return stack.at[top - 1].multiply(-1), top

    table = [push, binary(lax.add), binary(lax.mul), negate, lambda s, _: s]

    @jax.jit
    def run(code: Any) -> Any:
        def body(state: Any) -> Any:
            pc, s = state
            return pc + 1, lax.switch(code[pc, 0], table, s, code[pc, 1])

        return lax.while_loop(lambda s: code[s[0], 0] != 4, body, (0, (jnp.zeros(4, jnp.int32), 0)))

    def piecewise(x: Any) -> Any:
        return lax.cond(x > 0, lambda x: jnp.sin(x), lambda x: x**2, x)

    def collatz(n: Any) -> Any:
        def body(s: Any) -> Any:
            n, k = s
            return lax.cond(n % 2 == 0, lambda n: n // 2, lambda n: 3 * n + 1, n), k + 1

        return lax.while_loop(lambda s: s[0] != 1, body, (n, 0))[1]

    xs = jnp.array([-1.5, 0.7, 2.0])
    return (
        run(code),
        [piecewise(x) for x in xs],
        jax.vmap(jax.grad(piecewise))(xs),
        jax.vmap(collatz)(jnp.array([1, 6, 7, 27])),
        lax.switch(9, [lambda x: x, lambda x: -x], 3.0),
        lax.select(jnp.array([True, False]), jnp.ones(2), jnp.zeros(2)),
    )


@program(whole_jit=False, eager=False)
def donation_and_static(jax: Any) -> Any:
    """donate_argnums, static arguments of several types, keyword arguments, retracing, closures."""
    jnp = jax.numpy
    traces: list[Any] = []

    @functools.partial(jax.jit, donate_argnums=0)
    def update(state: Any, x: Any) -> Any:
        return {k: v + x for k, v in state.items()}

    @functools.partial(jax.jit, static_argnames=("axis", "shape"))
    def reshape_sum(x: Any, *, axis: int, shape: Any = None) -> Any:
        traces.append((axis, shape))
        return x.reshape(shape or x.shape).sum(axis)

    state = {"a": jnp.zeros(3), "b": jnp.ones(())}
    for i in range(3):
        state = update(state, float(i))
    x = jnp.arange(12.0).reshape(3, 4)
    sums = [reshape_sum(x, axis=0), reshape_sum(x, axis=1), reshape_sum(x, axis=0)]
    sums += [reshape_sum(x, axis=-1, shape=(2, 6)), reshape_sum(2 * x, axis=0)]
    lowered = jax.jit(lambda x: x * 2).lower(x).compile()
    shape = jax.eval_shape(lambda x: {"y": x @ x.T}, x)["y"]
    closed = jax.make_jaxpr(lambda x: jnp.sin(x) * 2)(1.0)
    return state, sums, len(traces), lowered(x), shape.shape, shape.dtype.name, str(closed)


@program()
def optimizer_library(jax: Any) -> Any:
    """An optimizer in the style of optax: transformations chained as pairs of functions."""
    jnp = jax.numpy

    class Transformation(NamedTuple):
        init: Any
        update: Any

    def chain(*ts: Any) -> Any:
        def update(g: Any, states: Any) -> Any:
            new = []
            for t, s in zip(ts, states, strict=True):
                g, s = t.update(g, s)
                new.append(s)
            return g, tuple(new)

        return Transformation(lambda p: tuple(t.init(p) for t in ts), update)

    def scale(c: float) -> Any:
        return Transformation(lambda p: (), lambda g, s: (jax.tree.map(lambda g: c * g, g), s))

    def trace(decay: float) -> Any:
        def update(g: Any, s: Any) -> Any:
            s = jax.tree.map(lambda s, g: decay * s + g, s, g)
            return s, s

        return Transformation(lambda p: jax.tree.map(jnp.zeros_like, p), update)

    def rms(decay: float) -> Any:
        def update(g: Any, s: Any) -> Any:
            s = jax.tree.map(lambda s, g: decay * s + (1 - decay) * g**2, s, g)
            return jax.tree.map(lambda g, s: g * jax.lax.rsqrt(s + 1e-8), g, s), s

        return Transformation(lambda p: jax.tree.map(jnp.ones_like, p), update)

    optimizer = chain(rms(0.9), trace(0.5), scale(-0.1))

    @jax.jit
    def step(p: Any, s: Any) -> Any:
        g = jax.grad(lambda p: jnp.sum((p["x"] - 3.0) ** 2) + p["y"][0] ** 4)(p)
        u, s = optimizer.update(g, s)
        return jax.tree.map(jnp.add, p, u), s

    p = {"x": jnp.arange(3.0), "y": [jnp.array(1.0), jnp.zeros(2)]}
    s = optimizer.init(p)
    for _ in range(10):
        p, s = step(p, s)
    return p, s


@program(whole_jit=False)
def numpy_arguments(jax: Any) -> Any:
    """NumPy arrays and Python numbers as arguments of transformed functions."""
    jnp = jax.numpy
    x = np.arange(6, dtype=np.float64).reshape(2, 3)
    f = jax.jit(lambda x, n, flag: jnp.where(flag, x * n, -x))
    values, index = np.array([1.0, 2.0], np.float32), np.int64(1)
    table = np.linspace(0, 1, 4)
    return (
        f(x, 2, True),
        f(x, np.float32(2.5), False),
        f(1, 2, True),
        f(np.int8(3), 2, True),
        jax.grad(lambda x: (x**2).sum())(x),
        jax.vmap(jnp.sum)(x),
        jax.jit(jnp.sum)(values),
        jnp.asarray(table)[index],
        jnp.arange(4)[np.array([0, 2])],
        jax.jit(lambda i: jnp.asarray(table)[i])(2),
        jax.value_and_grad(jnp.sin)(np.float32(1.0)),
        jnp.dot(x, values.repeat(2)[:3]),
        jax.device_put(x).dtype.name,
    )


@program(rtol=1e-4)
def reinforcement_learning(jax: Any) -> Any:
    """REINFORCE on a corridor: rollouts by scan under vmap, returns by a reverse scan."""
    jnp, lax = jax.numpy, jax.lax

    def policy(p: Any, s: Any) -> Any:
        return jax.nn.log_softmax(p[s])

    def rollout(p: Any, key: Any) -> Any:
        def step(s: Any, key: Any) -> Any:
            a = jax.random.categorical(key, policy(p, s))
            new = jnp.clip(s + 2 * a - 1, 0, 5)
            reward = jnp.where(new == 5, 1.0, -0.05)
            return new, (s, a, reward)

        return lax.scan(step, 2, jax.random.split(key, 12))[1]

    def returns(rewards: Any) -> Any:
        def body(g: Any, r: Any) -> Any:
            g = r + 0.95 * g
            return g, g

        return lax.scan(body, 0.0, rewards, reverse=True)[1]

    @jax.jit
    def update(p: Any, key: Any) -> Any:
        states, actions, rewards = jax.vmap(rollout, (None, 0))(p, jax.random.split(key, 8))
        g = jax.vmap(returns)(rewards)
        advantage = g - g.mean(0)

        def loss(p: Any) -> Any:
            log_p = jax.vmap(jax.vmap(lambda s, a: policy(p, s)[a]))(states, actions)
            return -jnp.mean(log_p * advantage)

        return p - 2.0 * jax.grad(loss)(p), rewards.sum(1).mean()

    p, history = jnp.zeros((6, 2)), []
    for i in range(5):
        p, mean = update(p, jax.random.key(i))
        history.append(mean)
    return p, history


@program()
def value_iteration(jax: Any) -> Any:
    """Gridworld by dynamic programming: max over shifted arrays until the change is small."""
    jnp, lax = jax.numpy, jax.lax
    walls = jnp.zeros((5, 6), bool).at[1:4, 2].set(True)
    goal = (0, 5)

    def moves(v: Any) -> Any:
        p = jnp.pad(v, 1, constant_values=-jnp.inf)
        around = jnp.stack([p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:]])
        return jnp.where(jnp.pad(walls, 0), -jnp.inf, around)

    def sweep(v: Any) -> Any:
        new = jnp.where(walls, -100.0, -1.0 + moves(jnp.where(walls, -jnp.inf, v)).max(0))
        return new.at[goal].set(0.0)

    def body(s: Any) -> Any:
        v, _, n = s
        new = sweep(v)
        return new, jnp.abs(new - v).max(), n + 1

    v, _, n = lax.while_loop(lambda s: s[1] > 1e-3, body, (jnp.full((5, 6), -50.0), jnp.inf, 0))
    return v, n, moves(v).argmax(0)


@program()
def callbacks_and_scopes(jax: Any) -> Any:
    """named_scope, jax.named_call, default arguments, partial."""
    jnp = jax.numpy

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def layer(x: Any, w: Any, scale: float = 2.0) -> Any:
        with jax.named_scope("layer"):
            return scale * jnp.dot(w, x)

    partial = jax.tree_util.Partial(lambda a, x: a * x, jnp.array(3.0))
    applied = jax.jit(lambda f, x: f(x) + 1.0)(partial, 2.0)
    w = jnp.arange(6.0).reshape(2, 3)
    return layer(w, jnp.ones(3)), applied, jax.named_call(jnp.sum, name="total")(w)
