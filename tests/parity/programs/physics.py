"""Differential equations, stencils, fractals."""

from __future__ import annotations

import functools
from typing import Any

from tests.parity.programs.registry import program


@program(rtol=1e-4)
def lorenz(jax: Any) -> Any:
    """RK4 on the Lorenz system, the sensitivity of the end state to parameters and start."""
    jnp, lax = jax.numpy, jax.lax

    def field(state: Any, sigma: Any, rho: Any, beta: Any) -> Any:
        x, y, z = state
        return jnp.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])

    def rk4(state: Any, dt: Any, theta: Any) -> Any:
        k1 = field(state, *theta)
        k2 = field(state + dt / 2 * k1, *theta)
        k3 = field(state + dt / 2 * k2, *theta)
        k4 = field(state + dt * k3, *theta)
        return state + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    @jax.jit
    def solve(theta: Any, start: Any) -> Any:
        def body(s: Any, _: Any) -> Any:
            return rk4(s, 0.01, theta), s

        return lax.scan(body, start, None, length=100)

    theta, start = (10.0, 28.0, 8.0 / 3.0), jnp.array([1.0, 1.0, 1.0])
    final, path = solve(theta, start)
    forward = jax.jacfwd(lambda s: solve(theta, s)[0])(start)
    reverse = jax.jacrev(lambda t: solve(t, start)[0])(theta)
    return final, path[::10], forward, reverse


@program(rtol=1e-4)
def n_body(jax: Any) -> Any:
    """Leapfrog n-body: forces as minus the gradient of the energy; energy is nearly conserved."""
    jnp, lax = jax.numpy, jax.lax
    k1, k2 = jax.random.split(jax.random.key(0))
    q = 2.0 * jax.random.normal(k1, (5, 3))
    p = 0.1 * jax.random.normal(k2, (5, 3))
    m = jnp.array([1.0, 0.5, 2.0, 1.5, 1.0])

    def potential(q: Any) -> Any:
        d = q[:, None] - q[None, :]
        r = jnp.sqrt(jnp.sum(d**2, -1) + 0.01)
        i, j = jnp.triu_indices(5, k=1)
        return -jnp.sum((m[:, None] * m / r)[i, j])

    def energy(q: Any, p: Any) -> Any:
        return jnp.sum(p**2 / (2 * m[:, None])) + potential(q)

    def leapfrog(state: Any, _: Any) -> Any:
        q, p = state
        p = p - 0.005 * jax.grad(potential)(q)
        q = q + 0.01 * p / m[:, None]
        p = p - 0.005 * jax.grad(potential)(q)
        return (q, p), energy(q, p)

    @jax.jit
    def simulate(q: Any, p: Any) -> Any:
        return lax.scan(leapfrog, (q, p), length=40)

    (q1, p1), energies = simulate(q, p)
    sensitivity = jax.grad(lambda q: simulate(q, p)[0][0].sum())(q)
    return q1, p1, energies, sensitivity


@program()
def heat_equation(jax: Any) -> Any:
    """An explicit stencil by slices, source identified by gradient descent through the solver."""
    jnp, lax = jax.numpy, jax.lax

    def step(u: Any, _: Any) -> Any:
        laplacian = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * u[1:-1, 1:-1]
        return u.at[1:-1, 1:-1].add(0.2 * laplacian), None

    def solve(u: Any) -> Any:
        return lax.scan(step, u, None, length=20)[0]

    n = 16
    x, y = jnp.meshgrid(jnp.linspace(0, 1, n), jnp.linspace(0, 1, n), indexing="ij")
    truth = jnp.exp(-50.0 * ((x - 0.3) ** 2 + (y - 0.6) ** 2))
    target = solve(truth)
    loss_grad = jax.jit(jax.value_and_grad(lambda u: jnp.sum((solve(u) - target) ** 2)))
    guess = jnp.zeros((n, n))
    for _ in range(3):
        value, g = loss_grad(guess)
        guess = guess - 0.4 * g
    return target, value, guess


@program()
def wave_equation_periodic(jax: Any) -> Any:
    """Periodic boundaries by roll; odd-even fields; energy."""
    jnp, lax = jax.numpy, jax.lax
    n, c = 64, 0.5
    x = jnp.arange(n) / n

    def step(i: Any, state: Any) -> Any:
        u, v = state
        v = v + c * (jnp.roll(u, 1) + jnp.roll(u, -1) - 2 * u)
        return u + c * v, v

    u0 = jnp.exp(-100 * (x - 0.5) ** 2)
    u, v = jax.jit(lambda u: lax.fori_loop(0, 50, step, (u, jnp.zeros_like(u))))(u0)
    return u, v, jnp.sum(v**2) + jnp.sum(jnp.diff(u, append=u[:1]) ** 2)


@program(rtol=1e-4)
def adaptive_ode(jax: Any) -> Any:
    """Bogacki-Shampine with step control in a while_loop, vmapped over stiffness."""
    jnp, lax = jax.numpy, jax.lax

    def field(y: Any, mu: Any) -> Any:
        return jnp.stack([y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]])

    def solve(mu: Any) -> Any:
        def body(state: Any) -> Any:
            t, y, h, steps = state
            h = jnp.minimum(h, 3.0 - t)
            k1 = field(y, mu)
            k2 = field(y + h * 0.5 * k1, mu)
            k3 = field(y + h * 0.75 * k2, mu)
            new = y + h * (2 * k1 + 3 * k2 + 4 * k3) / 9
            k4 = field(new, mu)
            error = h * jnp.linalg.norm(-5 / 72 * k1 + k2 / 12 + k3 / 9 - k4 / 8)
            accept = error < 1e-3
            factor = jnp.clip(0.9 * (1e-3 / (error + 1e-10)) ** (1 / 3), 0.2, 5.0)
            t, y = jnp.where(accept, t + h, t), jnp.where(accept, new, y)
            return t, y, h * factor, steps + 1

        start = (0.0, jnp.array([2.0, 0.0]), 0.1, 0)
        t, y, _, steps = lax.while_loop(lambda s: s[0] < 3.0 - 1e-5, body, start)
        return t, y, steps

    mus = jnp.array([0.1, 1.0, 3.0])
    return jax.jit(jax.vmap(solve))(mus), solve(1.0)


@program()
def game_of_life(jax: Any) -> Any:
    """Neighbours by rolls and by convolution agree; history of a glider."""
    jnp, lax = jax.numpy, jax.lax
    board = jnp.zeros((12, 12), jnp.uint8)
    board = board.at[(jnp.array([1, 2, 3, 3, 3]), jnp.array([2, 3, 1, 2, 3]))].set(1)

    def by_rolls(b: Any) -> Any:
        shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
        n = sum(jnp.roll(b, s, axis=(0, 1)) for s in shifts)
        return ((n == 3) | ((b == 1) & (n == 2))).astype(b.dtype)

    kernel = jnp.ones((3, 3)).at[1, 1].set(0.0)

    def by_convolution(b: Any) -> Any:
        padded = jnp.pad(b.astype(jnp.float32), 1, mode="wrap")
        n = lax.conv(padded[None, None], kernel[None, None], (1, 1), "VALID")[0, 0]
        return jnp.where(n == 3, 1, jnp.where((b == 1) & (n == 2), 1, 0)).astype(b.dtype)

    final, history = lax.scan(lambda b, _: (by_rolls(b), b.sum()), board, None, length=10)
    other = lax.fori_loop(0, 10, lambda _, b: by_convolution(b), board)
    return final, history, jnp.array_equal(final, other), jnp.nonzero(final, size=5)


@program(rtol=1e-4)
def mandelbrot(jax: Any) -> Any:
    """Escape times with fori_loop on complex numbers, and with while_loop under two vmaps."""
    jnp, lax = jax.numpy, jax.lax
    x, y = jnp.linspace(-2.0, 0.6, 24), jnp.linspace(-1.1, 1.1, 16)
    c = x[None, :] + 1j * y[:, None]

    @jax.jit
    def counts(c: Any) -> Any:
        def body(_: Any, state: Any) -> Any:
            z, n = state
            inside = jnp.abs(z) < 2.0
            return jnp.where(inside, z * z + c, z), n + inside

        return lax.fori_loop(0, 20, body, (jnp.zeros_like(c), jnp.zeros(c.shape, jnp.int32)))[1]

    def escape(x: Any, y: Any) -> Any:
        def body(s: Any) -> Any:
            a, b, n = s
            return a * a - b * b + x, 2 * a * b + y, n + 1

        def going(s: Any) -> Any:
            return (s[0] ** 2 + s[1] ** 2 < 4.0) & (s[2] < 20)

        return lax.while_loop(going, body, (0.0, 0.0, 0))[2]

    grid = jax.vmap(jax.vmap(escape, (0, None)), (None, 0))
    return counts(c), jax.jit(grid)(x, y)


@program(rtol=1e-4)
def double_pendulum_lagrangian(jax: Any) -> Any:
    """Equations of motion derived from a Lagrangian by grad, hessian and jacobian."""
    jnp, lax = jax.numpy, jax.lax

    def lagrangian(q: Any, v: Any) -> Any:
        t1, t2 = q
        w1, w2 = v
        kinetic = 0.5 * w1**2 + 0.5 * (w1**2 + w2**2 + 2 * w1 * w2 * jnp.cos(t1 - t2))
        return kinetic + 9.8 * (2 * jnp.cos(t1) + jnp.cos(t2))

    def acceleration(q: Any, v: Any) -> Any:
        mass = jax.hessian(lagrangian, 1)(q, v)
        mixed = jax.jacfwd(jax.grad(lagrangian, 1), 0)(q, v)
        force = jax.grad(lagrangian, 0)(q, v) - mixed @ v
        det = mass[0, 0] * mass[1, 1] - mass[0, 1] * mass[1, 0]
        inverse = jnp.array([[mass[1, 1], -mass[0, 1]], [-mass[1, 0], mass[0, 0]]]) / det
        return inverse @ force

    def step(state: Any, dt: Any) -> Any:
        q, v = state
        v = v + dt * acceleration(q, v)
        return (q + dt * v, v), q

    start = (jnp.array([1.0, 0.5]), jnp.zeros(2))
    return jax.jit(lambda s: lax.scan(step, s, jnp.full(50, 0.01)))(start)


@program()
def ising(jax: Any) -> Any:
    """A checkerboard Ising sweep with boolean masks and uniform numbers."""
    jnp, lax = jax.numpy, jax.lax
    i, j = jnp.indices((8, 8))
    black = (i + j) % 2 == 0

    @functools.partial(jax.jit, static_argnames="sweeps")
    def run(key: Any, beta: Any, sweeps: int) -> Any:
        def half(spins: Any, key: Any, mask: Any) -> Any:
            around = sum(jnp.roll(spins, s, a) for s in (1, -1) for a in (0, 1))
            accept = jax.random.uniform(key, spins.shape) < jnp.exp(-2.0 * beta * spins * around)
            return jnp.where(mask & accept, -spins, spins)

        def sweep(spins: Any, key: Any) -> Any:
            k1, k2 = jax.random.split(key)
            spins = half(half(spins, k1, black), k2, ~black)
            return spins, jnp.mean(spins)

        return lax.scan(sweep, jnp.ones((8, 8), jnp.int8), jax.random.split(key, sweeps))

    betas = jnp.array([0.2, 0.44, 0.8])
    return jax.vmap(lambda b: run(jax.random.key(3), b, sweeps=12))(betas)
