"""Classical algorithms in array form: dynamic programs, graphs, bits, matrices, optimization."""

from __future__ import annotations

from typing import Any

from tests.parity.programs.registry import program


@program()
def shortest_paths(jax: Any) -> Any:
    """Floyd-Warshall by fori_loop, Bellman-Ford by while_loop, Dijkstra by argmin."""
    jnp, lax = jax.numpy, jax.lax
    n = 8
    key = jax.random.key(0)
    weight = jax.random.uniform(key, (n, n), minval=1.0, maxval=9.0)
    present = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.35, (n, n))
    w = jnp.where(jnp.eye(n, dtype=bool), 0.0, jnp.where(present, weight, jnp.inf))

    def relax(k: Any, d: Any) -> Any:
        return jnp.minimum(d, d[:, k, None] + d[k])

    def bellman(state: Any) -> Any:
        d, _ = state
        new = jnp.min(d[:, None] + w, axis=0)
        return new, jnp.any(new != d)

    def dijkstra(_: Any, state: Any) -> Any:
        d, done = state
        u = jnp.argmin(jnp.where(done, jnp.inf, d))
        return jnp.minimum(d, d[u] + w[u]), done.at[u].set(True)

    start = jnp.full(n, jnp.inf).at[0].set(0.0)
    everything = jax.jit(lambda w: lax.fori_loop(0, n, relax, w))(w)
    one, _ = lax.while_loop(lambda s: s[1], bellman, (start, True))
    other, done = lax.fori_loop(0, n, dijkstra, (start, jnp.zeros(n, bool)))
    return everything, one, other, done


@program()
def bits_and_hashes(jax: Any) -> Any:
    """Xorshift, a CRC by a table, FNV, popcounts, Gray codes: unsigned arithmetic that wraps."""
    jnp, lax = jax.numpy, jax.lax

    def xorshift(x: Any, _: Any) -> Any:
        x = x ^ (x << 13)
        x = x ^ (x >> 17)
        x = x ^ (x << 5)
        return x, x

    _, stream = lax.scan(xorshift, jnp.uint32(2463534242), None, length=6)

    def entry(i: Any) -> Any:
        def body(_: Any, c: Any) -> Any:
            return jnp.where(c & 1, jnp.uint32(0xEDB88320) ^ (c >> 1), c >> 1)

        return lax.fori_loop(0, 8, body, i.astype(jnp.uint32))

    table = jax.jit(jax.vmap(entry))(jnp.arange(256))
    data = jnp.array(list(b"The quick brown fox"), jnp.uint8)

    def crc(c: Any, byte: Any) -> Any:
        return table[(c ^ byte) & 0xFF] ^ (c >> 8), None

    checksum, _ = lax.scan(crc, jnp.uint32(0xFFFFFFFF), data)
    fnv, _ = lax.scan(
        lambda h, b: ((h ^ b) * jnp.uint32(16777619), None), jnp.uint32(2166136261), data
    )
    i = jnp.arange(16, dtype=jnp.uint32)
    gray = i ^ (i >> 1)
    bits = (gray[:, None] >> jnp.arange(4, dtype=jnp.uint32)) & 1
    return (
        stream,
        table[:4],
        ~checksum,
        fnv,
        gray,
        bits.astype(bool),
        lax.population_count(gray),
        lax.clz(i),
        jnp.int32(2**31 - 1) + 1,
        jnp.int8(-128) // jnp.int8(-1),
        jnp.uint8(3) - jnp.uint8(5),
        jnp.array([7, -7]) // 2,
        jnp.array([7, -7]) % 3,
        lax.shift_right_arithmetic(jnp.int32(-8), 1),
        lax.shift_right_logical(jnp.int32(-8), 1),
        jnp.packbits(bits.astype(bool), axis=1),
        lax.bitcast_convert_type(jnp.float32(1.5), jnp.int32),
    )


@program()
def dynamic_programs(jax: Any) -> Any:
    """Knapsack, longest common subsequence, coin change, and Fibonacci by matrix powers."""
    jnp, lax = jax.numpy, jax.lax
    values, weights = jnp.array([60, 100, 120, 30]), jnp.array([1, 2, 3, 1])

    def take(best: Any, item: Any) -> Any:
        v, w = item
        j = jnp.arange(len(best))
        with_item = jnp.where(j >= w, best[jnp.maximum(j - w, 0)] + v, 0)
        return jnp.maximum(best, with_item), None

    best, _ = lax.scan(take, jnp.zeros(7, jnp.int32), (values, weights))

    @jax.jit
    def lcs(a: Any, b: Any) -> Any:
        def fill(i: Any, table: Any) -> Any:
            def inner(j: Any, table: Any) -> Any:
                longer = jnp.maximum(table[i, j + 1], table[i + 1, j])
                cell = jnp.where(a[i] == b[j], table[i, j] + 1, longer)
                return table.at[i + 1, j + 1].set(cell)

            return lax.fori_loop(0, len(b), inner, table)

        return lax.fori_loop(0, len(a), fill, jnp.zeros((len(a) + 1, len(b) + 1), jnp.int32))

    def coins(i: Any, ways: Any) -> Any:
        coin = jnp.array([1, 2, 5])[i]

        def body(j: Any, w: Any) -> Any:
            return w.at[j].add(w[j - coin])

        return lax.fori_loop(coin, 21, body, ways)

    def power(n: Any) -> Any:
        def body(state: Any) -> Any:
            n, base, result = state
            result = jnp.where(n % 2 == 1, result @ base, result)
            return n // 2, base @ base, result

        m = jnp.array([[1, 1], [1, 0]])
        return lax.while_loop(lambda s: s[0] > 0, body, (n, m, jnp.eye(2, dtype=int)))[2][0, 1]

    a = jnp.array([1, 3, 4, 1, 2, 3, 4])
    return (
        best,
        lcs(a, a[::-1]),
        lax.fori_loop(0, 3, coins, jnp.zeros(21, jnp.int32).at[0].set(1)),
        jax.vmap(power)(jnp.arange(20)),
    )


@program(rtol=1e-3)
def soft_dtw(jax: Any) -> Any:
    """Dynamic time warping with a soft minimum, anti-diagonals in a scan, its gradient."""
    jnp, lax = jax.numpy, jax.lax
    x = jnp.sin(jnp.linspace(0, 6, 10))
    y = jnp.sin(jnp.linspace(0.5, 6, 8))

    def soft_min(*a: Any) -> Any:
        return -0.1 * jax.nn.logsumexp(-jnp.stack(a) / 0.1, axis=0)

    def distance(x: Any, y: Any) -> Any:
        cost = (x[:, None] - y) ** 2

        def row(previous: Any, c: Any) -> Any:
            def cell(left: Any, inputs: Any) -> Any:
                c, up, diagonal = inputs
                new = c + soft_min(left, up, diagonal)
                return new, new

            diagonal = jnp.concatenate([jnp.full(1, 1e3), previous[:-1]])
            _, new = lax.scan(cell, 1e3, (c, previous, diagonal))
            return new, None

        first = jnp.cumsum(cost[0])
        return lax.scan(row, first, cost[1:])[0][-1]

    return distance(x, y), jax.jit(jax.grad(distance, (0, 1)))(x, y)


@program(rtol=1e-3)
def matrix_decompositions(jax: Any) -> Any:
    """Cholesky, LU, Gram-Schmidt, power iteration and Taylor's exponential, written as loops."""
    jnp, lax = jax.numpy, jax.lax
    a = jax.random.normal(jax.random.key(0), (5, 5))
    spd = a @ a.T + 5 * jnp.eye(5)

    @jax.jit
    def cholesky(a: Any) -> Any:
        def column(j: Any, l: Any) -> Any:  # noqa: E741
            v = a[:, j] - l @ l[j]
            v = jnp.where(jnp.arange(5) >= j, v / jnp.sqrt(v[j]), 0.0)
            return l.at[:, j].set(v)

        return lax.fori_loop(0, 5, column, jnp.zeros_like(a))

    def lu(a: Any) -> Any:
        def eliminate(k: Any, a: Any) -> Any:
            rows = jnp.arange(5)[:, None] > k
            factor = jnp.where(rows[:, 0], a[:, k] / a[k, k], 0.0)
            a = jnp.where(rows, a - factor[:, None] * a[k], a)
            return a.at[:, k].add(factor)

        return lax.fori_loop(0, 4, eliminate, a)

    def gram_schmidt(a: Any) -> Any:
        def add(q: Any, iv: Any) -> Any:
            i, v = iv
            v = v - q.T @ (q @ v)
            return q.at[i].set(v / jnp.linalg.norm(v)), None

        return lax.scan(add, jnp.zeros_like(a), (jnp.arange(5), a.T))[0]

    def exponential(a: Any) -> Any:
        def body(k: Any, state: Any) -> Any:
            term, total = state
            term = term @ a / k
            return term, total + term

        return lax.fori_loop(1, 15, body, (jnp.eye(5), jnp.eye(5)))[1]

    def dominant(a: Any) -> Any:
        v = lax.fori_loop(0, 100, lambda _, v: (a @ v) / jnp.linalg.norm(a @ v), jnp.ones(5))
        return v @ a @ v, v

    q = gram_schmidt(a)
    gradient = jax.grad(lambda s: jnp.log(jnp.diag(lu(s))).sum())(spd)
    return cholesky(spd), lu(spd), q @ q.T, gradient, exponential(0.2 * a), dominant(spd)


@program()
def primes_and_puzzles(jax: Any) -> Any:
    """A sieve, N-queens by checking permutations, rule 30, a sandpile."""
    jnp, lax = jax.numpy, jax.lax

    def cross_out(i: Any, sieve: Any) -> Any:
        n = jnp.arange(60)
        return jnp.where(sieve[i], sieve & ~((n % i == 0) & (n > i)), sieve)

    sieve = lax.fori_loop(2, 8, cross_out, jnp.arange(60) >= 2)
    grid = jnp.stack(jnp.meshgrid(*[jnp.arange(5)] * 5, indexing="ij"), -1).reshape(-1, 5)

    def safe(queens: Any) -> Any:
        i, j = jnp.triu_indices(5, 1)
        clash = (queens[i] == queens[j]) | (jnp.abs(queens[i] - queens[j]) == j - i)
        return ~clash.any()

    def rule(row: Any, _: Any) -> Any:
        index = 4 * jnp.roll(row, 1) + 2 * row + jnp.roll(row, -1)
        new = (30 >> index) & 1
        return new, new

    def topple(piles: Any) -> Any:
        over = piles >= 4
        p = jnp.pad(over, 1).astype(piles.dtype)
        return piles - 4 * over + p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]

    row = jnp.zeros(31, jnp.int32).at[15].set(1)
    pile = jnp.zeros((7, 7), jnp.int32).at[3, 3].set(60)
    return (
        sieve,
        jnp.sum(sieve),
        jax.jit(jax.vmap(safe))(grid).sum(),
        lax.scan(rule, row, length=8)[1],
        lax.while_loop(lambda p: (p >= 4).any(), topple, pile),
    )


@program(rtol=1e-3)
def limited_memory_bfgs(jax: Any) -> Any:
    """Two-loop recursion over a ring buffer, a backtracking line search in a while_loop."""
    jnp, lax = jax.numpy, jax.lax
    a = jnp.diag(jnp.arange(1.0, 7.0)) + 0.1

    def f(x: Any) -> Any:
        return 0.5 * x @ a @ x - x.sum() + jnp.sum(jnp.cosh(0.3 * x))

    def direction(g: Any, s: Any, y: Any, rho: Any) -> Any:
        def first(q: Any, i: Any) -> Any:
            alpha = rho[i] * (s[i] @ q)
            return q - alpha * y[i], alpha

        order = jnp.arange(3)
        q, alphas = lax.scan(first, g, order[::-1])

        def second(r: Any, ia: Any) -> Any:
            i, alpha = ia
            return r + (alpha - rho[i] * (y[i] @ r)) * s[i], None

        return -lax.scan(second, 0.2 * q, (order, alphas[::-1]))[0]

    def search(x: Any, d: Any, g: Any) -> Any:
        def worse(t: Any) -> Any:
            return (f(x + t * d) > f(x) + 1e-4 * t * (g @ d)) & (t > 1e-4)

        return lax.while_loop(worse, lambda t: 0.5 * t, 1.0)

    def step(state: Any, _: Any) -> Any:
        x, s, y, rho = state
        g = jax.grad(f)(x)
        d = direction(g, s, y, rho)
        t = search(x, d, g)
        new = x + t * d
        ds, dy = new - x, jax.grad(f)(new) - g
        curvature = ds @ dy
        push = lambda buffer, v: jnp.roll(buffer, -1, axis=0).at[-1].set(v)  # noqa: E731
        good = curvature > 1e-8
        memory = (push(s, ds), push(y, dy), push(rho, 1.0 / jnp.where(good, curvature, 1.0)))
        memory = jax.tree.map(lambda a, b: jnp.where(good, a, b), memory, (s, y, rho))
        return (new, *memory), f(new)

    start = (jnp.full(6, 2.0), jnp.zeros((3, 6)), jnp.zeros((3, 6)), jnp.zeros(3))
    (x, *_), values = jax.jit(lambda s: lax.scan(step, s, length=6))(start)
    return x, values


@program(rtol=1e-4)
def evolution(jax: Any) -> Any:
    """Differential evolution and a cross-entropy method: sorting, choices, means of elites."""
    jnp, lax = jax.numpy, jax.lax

    def rastrigin(x: Any) -> Any:
        return 10.0 * x.shape[-1] + jnp.sum(x**2 - 10.0 * jnp.cos(2 * jnp.pi * x), axis=-1)

    def generation(state: Any, key: Any) -> Any:
        x, cost = state
        k1, k2, _ = jax.random.split(key, 3)
        a, b, c = (jax.random.permutation(k, x) for k in jax.random.split(k1, 3))
        trial = a + 0.7 * (b - c)
        cross = jax.random.uniform(k2, x.shape) < 0.9
        trial = jnp.where(cross, trial, x)
        new = rastrigin(trial)
        better = new < cost
        return (jnp.where(better[:, None], trial, x), jnp.where(better, new, cost)), cost.min()

    def cem(state: Any, key: Any) -> Any:
        mean, std = state
        x = mean + std * jax.random.normal(key, (24, 3))
        elite = x[jnp.argsort(rastrigin(x))[:6]]
        return (elite.mean(0), elite.std(0) + 1e-3), elite[0]

    x = jax.random.uniform(jax.random.key(0), (16, 3), minval=-4.0, maxval=4.0)
    keys = jax.random.split(jax.random.key(1), 12)
    de = jax.jit(lambda x: lax.scan(generation, (x, rastrigin(x)), keys))(x)
    return de, lax.scan(cem, (jnp.ones(3), 2 * jnp.ones(3)), keys)


@program(rtol=1e-4)
def optimal_transport(jax: Any) -> Any:
    """Sinkhorn iterations in log space, the plan's marginals, the gradient in the points."""
    jnp, lax = jax.numpy, jax.lax
    x = jax.random.normal(jax.random.key(0), (6, 2))
    y = jax.random.normal(jax.random.key(1), (7, 2)) + 1.0

    def cost(x: Any, y: Any) -> Any:
        c = jnp.sum((x[:, None] - y[None]) ** 2, -1)
        log_a, log_b = -jnp.log(6.0), -jnp.log(7.0)

        def body(fg: Any, _: Any) -> Any:
            f, g = fg
            f = log_a - jax.nn.logsumexp(g - c, axis=1)
            g = log_b - jax.nn.logsumexp(f[:, None] - c, axis=0)
            return (f, g), None

        (f, g), _ = lax.scan(body, (jnp.zeros(6), jnp.zeros(7)), None, length=30)
        plan = jnp.exp(f[:, None] + g - c)
        return jnp.sum(plan * c), plan

    (value, plan), grads = jax.jit(jax.value_and_grad(cost, (0, 1), has_aux=True))(x, y)
    return value, plan.sum(0), plan.sum(1), grads


@program(rtol=1e-4)
def discrete_fourier(jax: Any) -> Any:
    """A DFT by matrix, Cooley-Tukey by recursion in Python, convolution by the theorem."""
    jnp = jax.numpy
    x = jax.random.normal(jax.random.key(0), (16,))

    def dft(x: Any) -> Any:
        k = jnp.arange(len(x))
        return jnp.exp(-2j * jnp.pi * k[:, None] * k / len(x)) @ x

    def radix2(x: Any) -> Any:
        n = len(x)
        if n == 1:
            return x.astype(jnp.complex64)
        even, odd = radix2(x[::2]), radix2(x[1::2])
        twiddle = jnp.exp(-2j * jnp.pi * jnp.arange(n // 2) / n) * odd
        return jnp.concatenate([even + twiddle, even - twiddle])

    spectrum = jax.jit(radix2)(x)
    power = jnp.abs(spectrum) ** 2
    gradient = jax.grad(lambda x: jnp.sum(jnp.abs(radix2(x)[:4]) ** 2))(x)
    return dft(x), spectrum, power, jnp.angle(spectrum)[1:8], gradient, jnp.conj(spectrum).real


@program(rtol=1e-4)
def american_option(jax: Any) -> Any:
    """A binomial tree backwards by fori_loop; delta through it; Monte Carlo with antithetics."""
    jnp, lax = jax.numpy, jax.lax
    n = 40

    def tree(spot: Any, strike: Any, vol: Any, rate: float = 0.05) -> Any:
        dt = 1.0 / n
        up = jnp.exp(vol * jnp.sqrt(dt))
        p = (jnp.exp(rate * dt) - 1 / up) / (up - 1 / up)
        j = jnp.arange(n + 1)
        payoff = jnp.maximum(strike - spot * up ** (2.0 * j - n), 0.0)

        def back(i: Any, v: Any) -> Any:
            level = n - 1 - i
            price = spot * up ** (2.0 * j - level)
            hold = jnp.exp(-rate * dt) * (p * jnp.roll(v, -1) + (1 - p) * v)
            return jnp.where(j <= level, jnp.maximum(hold, strike - price), 0.0)

        return lax.fori_loop(0, n, back, payoff)[0]

    def monte_carlo(spot: Any, key: Any) -> Any:
        z = jax.random.normal(key, (500,))
        z = jnp.concatenate([z, -z])
        final = spot * jnp.exp(0.03 + 0.2 * z)
        return jnp.exp(-0.05) * jnp.mean(jnp.maximum(final - 100.0, 0.0))

    prices = jax.jit(jax.vmap(tree, (0, None, None)))(jnp.array([90.0, 100.0, 110.0]), 100.0, 0.2)
    delta = jax.jit(jax.grad(tree, (0, 2)))(100.0, 100.0, 0.2)
    return prices, delta, jax.value_and_grad(monte_carlo)(100.0, jax.random.key(0))
