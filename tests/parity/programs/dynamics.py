"""Agents, environments, control, molecules, populations."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from tests.parity.programs.registry import program


@program(rtol=1e-4)
def molecular_dynamics(jax: Any) -> Any:
    """Lennard-Jones particles in a periodic box: minimum images, pairs by mask, velocity Verlet."""
    jnp, lax = jax.numpy, jax.lax
    n, box = 9, 4.5
    grid = jnp.stack(jnp.meshgrid(jnp.arange(3.0), jnp.arange(3.0)), -1).reshape(-1, 2)
    r = 1.5 * grid + 0.1
    v = 0.3 * jax.random.normal(jax.random.key(0), (n, 2))
    v = v - v.mean(0)

    def energy(r: Any) -> Any:
        d = r[:, None] - r[None]
        d = d - box * jnp.round(d / box)
        r2 = jnp.where(jnp.eye(n, dtype=bool), 1.0, jnp.sum(d * d, -1))
        s6 = 1.0 / r2**3
        e = jnp.where(jnp.eye(n, dtype=bool) | (r2 > 4.0), 0.0, 4.0 * (s6 * s6 - s6))
        return 0.5 * e.sum()

    def force(r: Any) -> Any:
        return -jax.grad(energy)(r)

    def verlet(state: Any, _: Any) -> Any:
        r, v, f = state
        v = v + 0.0025 * f
        r = jnp.mod(r + 0.005 * v, box)
        f = force(r)
        v = v + 0.0025 * f
        return (r, v, f), energy(r) + 0.5 * jnp.sum(v**2)

    (r, v, _), energies = jax.jit(lambda r: lax.scan(verlet, (r, v, force(r)), length=30))(r)
    return r, v, energies


class CartPole(NamedTuple):
    """State of the environment."""

    x: Any
    v: Any
    angle: Any
    speed: Any


@program(rtol=1e-4)
def cart_pole(jax: Any) -> Any:
    """An environment with automatic resets, policies evaluated by vmap of scan of vmap."""
    jnp, lax = jax.numpy, jax.lax

    def step(s: CartPole, action: Any) -> Any:
        force = jnp.where(action == 1, 10.0, -10.0)
        cos, sin = jnp.cos(s.angle), jnp.sin(s.angle)
        temp = (force + 0.05 * s.speed**2 * sin) / 1.1
        turn = (9.8 * sin - cos * temp) / (0.5 * (4.0 / 3.0 - 0.1 * cos**2 / 1.1))
        push = temp - 0.05 * turn * cos / 1.1
        new = CartPole(
            s.x + 0.02 * s.v, s.v + 0.02 * push, s.angle + 0.02 * s.speed, s.speed + 0.02 * turn
        )
        return new, (jnp.abs(new.x) > 2.4) | (jnp.abs(new.angle) > 0.2095)

    def reset(key: Any) -> CartPole:
        return CartPole(*jax.random.uniform(key, (4,), minval=-0.05, maxval=0.05))

    def episode(w: Any, key: Any) -> Any:
        def body(carry: Any, key: Any) -> Any:
            s, length, best = carry
            action = (jnp.dot(w, jnp.stack(s)) > 0).astype(jnp.int32)
            new, done = step(s, action)
            length = length + 1
            best = jnp.where(done, jnp.maximum(best, length), best)
            fresh = reset(key)
            s = jax.tree.map(functools.partial(jnp.where, done), fresh, new)
            return (s, jnp.where(done, 0, length), best), done

        keys = jax.random.split(key, 41)
        (_, length, best), dones = lax.scan(body, (reset(keys[0]), 0, 0), keys[1:])
        return jnp.maximum(length, best), dones.sum()

    w = jax.random.normal(jax.random.key(1), (5, 4))
    keys = jax.random.split(jax.random.key(2), 3)
    return jax.jit(jax.vmap(jax.vmap(episode, (None, 0)), (0, None)))(w, keys)


@program(rtol=1e-4)
def q_learning_with_replay(jax: Any) -> Any:
    """A ring buffer in a pytree, epsilon-greedy actions, targets without gradient."""
    jnp, lax = jax.numpy, jax.lax
    size = 16

    def add(buffer: Any, item: Any) -> Any:
        i = buffer["at"] % size
        data = jax.tree.map(lambda b, x: b.at[i].set(x), buffer["data"], item)
        return {"data": data, "at": buffer["at"] + 1}

    def loss(q: Any, target: Any, batch: Any) -> Any:
        s, a, r, s2 = batch
        y = r + 0.9 * lax.stop_gradient(target)[s2].max(-1)
        return jnp.mean((q[s, a] - y) ** 2)

    @jax.jit
    def train(carry: Any, key: Any) -> Any:
        q, target, buffer, s = carry
        k1, k2, k3 = jax.random.split(key, 3)
        greedy = q[s].argmax()
        a = jnp.where(jax.random.uniform(k1) < 0.3, jax.random.randint(k2, (), 0, 2), greedy)
        s2 = jnp.clip(s + 2 * a - 1, 0, 4)
        r = (s2 == 4).astype(jnp.float32)
        buffer = add(buffer, (s, a, r, s2))
        index = jax.random.randint(k3, (8,), 0, jnp.minimum(buffer["at"], size))
        batch = jax.tree.map(lambda b: b[index], buffer["data"])
        q = q - 0.5 * jax.grad(loss)(q, target, batch)
        target = jnp.where(buffer["at"] % 10 == 0, q, target)
        return (q, target, buffer, jnp.where(s2 == 4, 0, s2)), r

    zeros = jnp.zeros(size, jnp.int32)
    buffer = {"data": (zeros, zeros, jnp.zeros(size), zeros), "at": 0}
    start = (jnp.zeros((5, 2)), jnp.zeros((5, 2)), buffer, 0)
    return lax.scan(train, start, jax.random.split(jax.random.key(0), 60))


@program(rtol=1e-3)
def linear_quadratic_control(jax: Any) -> Any:
    """Riccati by a reverse scan, iLQR's expansions by jacobians and hessians under vmap."""
    jnp, lax = jax.numpy, jax.lax

    def dynamics(x: Any, u: Any) -> Any:
        return x + 0.1 * jnp.array([x[1], jnp.sin(x[0]) + u[0]])

    def cost(x: Any, u: Any) -> Any:
        return x @ x + 0.1 * u @ u

    def rollout(us: Any) -> Any:
        def body(x: Any, u: Any) -> Any:
            return dynamics(x, u), x

        return lax.scan(body, jnp.array([0.5, 0.0]), us)

    def backward(xs: Any, us: Any) -> Any:
        a = jax.vmap(jax.jacfwd(dynamics, 0))(xs, us)
        b = jax.vmap(jax.jacfwd(dynamics, 1))(xs, us)
        cx, cu = jax.vmap(jax.grad(cost, (0, 1)))(xs, us)
        cxx = jax.vmap(jax.hessian(cost, 0))(xs, us)
        cuu = jax.vmap(jax.hessian(cost, 1))(xs, us)

        def body(v: Any, e: Any) -> Any:
            vx, vxx = v
            a, b, cx, cu, cxx, cuu = e
            qx, qu = cx + a.T @ vx, cu + b.T @ vx
            qxx, quu, qux = cxx + a.T @ vxx @ a, cuu + b.T @ vxx @ b, b.T @ vxx @ a
            k, gain = -qu / quu[0, 0], -qux / quu[0, 0]
            return (qx + gain.T @ qu, qxx + gain.T @ qux), (k, gain)

        zero = (jnp.zeros(2), jnp.eye(2))
        return lax.scan(body, zero, (a, b, cx, cu, cxx, cuu), reverse=True)[1]

    @jax.jit
    def improve(us: Any) -> Any:
        _, xs = rollout(us)
        ks, gains = backward(xs, us)

        def body(x: Any, e: Any) -> Any:
            old, u, k, gain = e
            new = u + k + gain @ (x - old)
            return dynamics(x, new), (new, cost(x, new))

        _, (us, costs) = lax.scan(body, xs[0], (xs, us, ks, gains))
        return us, costs.sum()

    us, totals = jnp.zeros((15, 1)), []
    for _ in range(3):
        us, total = improve(us)
        totals.append(total)
    return us, totals


@program()
def stochastic_simulation(jax: Any) -> Any:
    """Gillespie's algorithm: categorical reactions in a while_loop over a pytree with a key."""
    jnp, lax = jax.numpy, jax.lax
    change = jnp.array([[-1, 1, 0], [0, -1, 1]])

    def body(state: Any) -> Any:
        key, t, n, count = state
        key, k1, k2 = jax.random.split(key, 3)
        rates = jnp.array([0.05 * n[0] * n[1], 0.4 * n[1]])
        t = t + jax.random.exponential(k1) / rates.sum()
        reaction = jax.random.categorical(k2, jnp.log(rates))
        return key, t, n + change[reaction], count + 1

    def going(state: Any) -> Any:
        return (state[1] < 5.0) & (state[2][1] > 0)

    @jax.jit
    def run(key: Any) -> Any:
        return lax.while_loop(going, body, (key, 0.0, jnp.array([20, 2, 0]), 0))[1:]

    return jax.vmap(run)(jax.random.split(jax.random.key(3), 4))


@program(rtol=1e-3)
def epidemic_fit(jax: Any) -> Any:
    """SIR with Euler steps; rates fitted with Gauss-Newton from jacfwd and normal equations."""
    jnp, lax = jax.numpy, jax.lax

    def simulate(theta: Any) -> Any:
        beta, gamma = jnp.exp(theta)

        def step(y: Any, _: Any) -> Any:
            s, i, r = y
            new, gone = beta * s * i * 0.5, gamma * i * 0.5
            return (s - new, i + new - gone, r + gone), i

        return lax.scan(step, (0.99, 0.01, 0.0), None, length=40)[1]

    data = simulate(jnp.log(jnp.array([0.8, 0.3])))

    @jax.jit
    def update(theta: Any) -> Any:
        j = jax.jacfwd(simulate)(theta)
        residual = simulate(theta) - data
        (a, b), (c, d) = j.T @ j + 1e-4 * jnp.eye(2)
        inverse = jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)
        return theta - inverse @ (j.T @ residual)

    theta = jnp.log(jnp.array([0.6, 0.35]))
    for _ in range(5):
        theta = update(theta)
    return jnp.exp(theta), data


@program(rtol=1e-4)
def forward_mode_through_while(jax: Any) -> Any:
    """Forward derivatives of square roots and fixed points computed in a while_loop."""
    jnp, lax = jax.numpy, jax.lax

    def root(a: Any) -> Any:
        def body(s: Any) -> Any:
            x, _ = s
            return 0.5 * (x + a / x), x

        return lax.while_loop(lambda s: jnp.abs(s[0] - s[1]) > 1e-6, body, (a, 0.0 * a))[0]

    def kepler(e: Any, m: Any) -> Any:
        def body(s: Any) -> Any:
            x, n = s
            return x - (x - e * jnp.sin(x) - m) / (1 - e * jnp.cos(x)), n + 1

        return lax.while_loop(lambda s: s[1] < 8, body, (m, 0))[0]

    xs = jnp.array([2.0, 9.0, 0.25])
    return (
        jax.vmap(root)(xs),
        jax.jvp(root, (2.0,), (1.0,)),
        jax.vmap(jax.jacfwd(root))(xs),
        jax.jit(jax.vmap(jax.jacfwd(kepler, (0, 1)), (0, None)))(jnp.array([0.1, 0.5]), 1.0),
        jax.grad(lambda m: lax.fori_loop(0, 5, lambda _, x: m + 0.3 * jnp.sin(x), m))(1.2),
    )
