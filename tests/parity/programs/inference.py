"""Statistics: regression, filtering, clustering, sampling."""

from __future__ import annotations

from typing import Any

from tests.parity.programs.registry import program


@program(rtol=1e-4)
def logistic_newton(jax: Any) -> Any:
    """Logistic regression by Newton's method; the 3×3 system is solved by elimination."""
    jnp = jax.numpy
    key = jax.random.key(0)
    x = jnp.concatenate([jnp.ones((50, 1)), jax.random.normal(key, (50, 2))], axis=1)
    noise = jax.random.logistic(jax.random.fold_in(key, 1), (50,))
    y = (x @ jnp.array([0.3, -1.0, 2.0]) + noise > 0).astype(jnp.float32)

    def loss(w: Any) -> Any:
        z = x @ w
        return jnp.sum(jnp.logaddexp(0.0, z) - y * z) + 0.05 * w @ w

    def solve(a: Any, b: Any) -> Any:
        n = len(b)
        for i in range(n):
            for k in range(i + 1, n):
                f = a[k, i] / a[i, i]
                a, b = a.at[k].add(-f * a[i]), b.at[k].add(-f * b[i])
        w = jnp.zeros(n)
        for i in reversed(range(n)):
            w = w.at[i].set((b[i] - a[i] @ w) / a[i, i])
        return w

    @jax.jit
    def newton(w: Any) -> Any:
        return w - solve(jax.hessian(loss)(w), jax.grad(loss)(w))

    w = jnp.zeros(3)
    for _ in range(6):
        w = newton(w)
    return w, loss(w), jnp.abs(jax.grad(loss)(w)).max() < 1e-3


@program(rtol=1e-3)
def gaussian_process(jax: Any) -> Any:
    """Regression with the kernel system solved by conjugate gradients in a while_loop."""
    jnp, lax = jax.numpy, jax.lax
    x = jnp.linspace(-3.0, 3.0, 20)
    y = jnp.sin(x) + 0.1 * jax.random.normal(jax.random.key(0), (20,))
    xs = jnp.linspace(-4.0, 4.0, 9)

    def kernel(a: Any, b: Any, scale: Any = 1.0) -> Any:
        return jnp.exp(-0.5 * (a - b) ** 2 / scale**2)

    def gram(xs: Any, ys: Any) -> Any:
        return jax.vmap(lambda a: jax.vmap(lambda b: kernel(a, b))(ys))(xs)

    def cg(matvec: Any, b: Any) -> Any:
        def body(s: Any) -> Any:
            x, r, p, rr, i = s
            ap = matvec(p)
            alpha = rr / jnp.vdot(p, ap)
            x, r = x + alpha * p, r - alpha * ap
            new = jnp.vdot(r, r)
            return x, r, r + (new / rr) * p, new, i + 1

        def going(s: Any) -> Any:
            return (s[3] > 1e-8) & (s[4] < 200)

        return lax.while_loop(going, body, (jnp.zeros_like(b), b, b, jnp.vdot(b, b), 0))[0]

    k = gram(x, x) + 0.1 * jnp.eye(20)
    solve = jax.jit(lambda b: cg(lambda v: k @ v, b))
    cross = gram(xs, x)
    mean = cross @ solve(y)
    variance = 1.0 - jnp.einsum("ij,ji->i", cross, jax.vmap(solve, 1, 1)(cross.T))
    return mean, variance


@program()
def k_means(jax: Any) -> Any:
    """Lloyd's algorithm until assignments stop changing; sums by segment with .at[].add."""
    jnp, lax = jax.numpy, jax.lax
    key = jax.random.key(5)
    centers = jnp.array([[0.0, 0.0], [4.0, 0.0], [0.0, 5.0]])
    label = jax.random.randint(key, (90,), 0, 3)
    points = centers[label] + jax.random.normal(jax.random.fold_in(key, 1), (90, 2))

    def assign(c: Any) -> Any:
        return jnp.argmin(jnp.sum((points[:, None] - c[None]) ** 2, -1), axis=1)

    def body(state: Any) -> Any:
        c, old, _, n = state
        labels = assign(c)
        sums = jnp.zeros_like(c).at[labels].add(points)
        counts = jnp.bincount(labels, length=3)
        c = jnp.where(counts[:, None] > 0, sums / jnp.maximum(counts, 1)[:, None], c)
        return c, labels, jnp.any(labels != old), n + 1

    start = (points[:3], jnp.full(90, -1), True, 0)
    c, labels, _, n = jax.jit(lambda s: lax.while_loop(lambda s: s[2], body, s))(start)
    return c, labels, n, jnp.bincount(labels, length=3)


@program(rtol=1e-4)
def metropolis(jax: Any) -> Any:
    """Random-walk Metropolis on a banana, several chains by vmap, a scan over keys."""
    jnp, lax = jax.numpy, jax.lax

    def log_density(x: Any) -> Any:
        return -0.5 * (x[0] ** 2 + (x[1] - x[0] ** 2) ** 2 / 0.5)

    def kernel(state: Any, key: Any) -> Any:
        x, value = state
        k1, k2 = jax.random.split(key)
        proposal = x + 0.7 * jax.random.normal(k1, x.shape)
        new = log_density(proposal)
        accept = jnp.log(jax.random.uniform(k2)) < new - value
        state = jax.tree.map(lambda a, b: jnp.where(accept, a, b), (proposal, new), state)
        return state, (state[0], accept)

    @jax.jit
    def chain(key: Any) -> Any:
        x = jax.random.normal(key, (2,))
        return lax.scan(kernel, (x, log_density(x)), jax.random.split(key, 60))

    _, (samples, accepted) = jax.vmap(chain)(jax.random.split(jax.random.key(0), 4))
    return samples[:, ::10], accepted.mean(1), samples.mean((0, 1)), samples.std(axis=(0, 1))


@program(rtol=1e-3)
def hamiltonian_monte_carlo(jax: Any) -> Any:
    """HMC: leapfrog by fori_loop around grad of a log density, in a scan."""
    jnp, lax = jax.numpy, jax.lax
    data = jax.random.normal(jax.random.key(1), (30,)) * 2.0 + 1.0

    def log_density(theta: Any) -> Any:
        mu, log_sigma = theta["mu"], theta["log_sigma"]
        z = (data - mu) / jnp.exp(log_sigma)
        return -0.5 * jnp.sum(z**2) - 30 * log_sigma - 0.5 * mu**2 - 0.5 * log_sigma**2

    def leapfrog(q: Any, p: Any) -> Any:
        def body(_: Any, qp: Any) -> Any:
            q, p = qp
            p = jax.tree.map(lambda p, g: p + 0.025 * g, p, jax.grad(log_density)(q))
            q = jax.tree.map(lambda q, p: q + 0.05 * p, q, p)
            return q, jax.tree.map(lambda p, g: p + 0.025 * g, p, jax.grad(log_density)(q))

        return lax.fori_loop(0, 8, body, (q, p))

    def kernel(q: Any, key: Any) -> Any:
        k1, k2, k3 = jax.random.split(key, 3)
        p = {"mu": jax.random.normal(k1), "log_sigma": jax.random.normal(k2)}
        q1, p1 = leapfrog(q, p)

        def hamiltonian(q: Any, p: Any) -> Any:
            return -log_density(q) + 0.5 * sum(v**2 for v in jax.tree.leaves(p))

        log_ratio = hamiltonian(q, p) - hamiltonian(q1, p1)
        accept = jnp.log(jax.random.uniform(k3)) < log_ratio
        q = lax.cond(accept, lambda: q1, lambda: q)
        return q, (q, jnp.exp(jnp.minimum(log_ratio, 0.0)))

    start = {"mu": jnp.array(0.0), "log_sigma": jnp.array(0.0)}
    run = jax.jit(lambda key: lax.scan(kernel, start, jax.random.split(key, 15)))
    return run(jax.random.key(2))


@program(rtol=1e-4)
def kalman_filter(jax: Any) -> Any:
    """A constant-velocity filter, a scan of matrix products; its likelihood differentiated."""
    jnp, lax = jax.numpy, jax.lax
    f = jnp.array([[1.0, 0.1], [0.0, 1.0]])
    h = jnp.array([[1.0, 0.0]])
    truth = jnp.cumsum(jnp.full(30, 0.2))
    zs = truth + 0.3 * jax.random.normal(jax.random.key(0), (30,))

    def run(log_q: Any, log_r: Any) -> Any:
        q, r = jnp.exp(log_q) * jnp.eye(2), jnp.exp(log_r) * jnp.eye(1)

        def step(state: Any, z: Any) -> Any:
            x, p = state
            x, p = f @ x, f @ p @ f.T + q
            innovation = z[None] - h @ x
            s = h @ p @ h.T + r
            gain = p @ h.T / s
            x, p = x + gain @ innovation, (jnp.eye(2) - gain @ h) @ p
            log_likelihood = -0.5 * (jnp.log(2 * jnp.pi * s[0, 0]) + innovation[0] ** 2 / s[0, 0])
            return (x, p), (x[0], log_likelihood)

        return lax.scan(step, (jnp.zeros(2), jnp.eye(2)), zs)

    def negative(log_q: Any, log_r: Any) -> Any:
        return -run(log_q, log_r)[1][1].sum()

    (x, p), (path, _) = jax.jit(run)(-4.0, -2.0)
    return x, p, path, jax.jit(jax.value_and_grad(negative, (0, 1)))(-4.0, -2.0)


@program(rtol=1e-4, needs=("scipy.special",))
def mixture_em(jax: Any) -> Any:
    """Expectation-maximization of a mixture of diagonal Gaussians, by logsumexp."""
    jnp, lax = jax.numpy, jax.lax
    key = jax.random.key(3)
    k1, k2, k3 = jax.random.split(key, 3)
    which = jax.random.categorical(k1, jnp.log(jnp.array([0.2, 0.3, 0.5])), shape=(80,))
    means = jnp.array([[0.0, 0.0], [5.0, 5.0], [-5.0, 5.0]])
    x = means[which] + jax.random.normal(k2, (80, 2))

    def log_normal(x: Any, mean: Any, var: Any) -> Any:
        return -0.5 * jnp.sum((x - mean) ** 2 / var + jnp.log(2 * jnp.pi * var), axis=-1)

    def em(state: Any, _: Any) -> Any:
        pi, mean, var = state
        joint = jax.vmap(lambda p, m, v: jnp.log(p) + log_normal(x, m, v))(pi, mean, var)
        total = jax.scipy.special.logsumexp(joint, axis=0)
        r = jnp.exp(joint - total)
        n = r.sum(1)
        mean = (r @ x) / n[:, None]
        var = (r @ x**2) / n[:, None] - mean**2 + 1e-3
        return (n / len(x), mean, var), total.sum()

    start = (jnp.ones(3) / 3, means + jax.random.normal(k3, (3, 2)), jnp.ones((3, 2)))
    return jax.jit(lambda s: lax.scan(em, s, None, length=8))(start)


@program(rtol=1e-4)
def particle_filter(jax: Any) -> Any:
    """A bootstrap filter: systematic resampling with searchsorted on cumulative weights."""
    jnp, lax = jax.numpy, jax.lax
    ys = jnp.sin(jnp.arange(12) / 3.0)

    def step(state: Any, inputs: Any) -> Any:
        particles, key = state
        y = inputs
        key, k1, k2 = jax.random.split(key, 3)
        particles = 0.9 * particles + 0.3 * jax.random.normal(k1, particles.shape)
        log_w = -0.5 * (y - particles) ** 2 / 0.1
        evidence = jax.nn.logsumexp(log_w) - jnp.log(len(particles))
        w = jax.nn.softmax(log_w)
        u = (jnp.arange(len(particles)) + jax.random.uniform(k2)) / len(particles)
        index = jnp.searchsorted(jnp.cumsum(w), u)
        index = jnp.clip(index, 0, len(particles) - 1)
        return (particles[index], key), (jnp.sum(w * particles), evidence, index)

    key = jax.random.PRNGKey(0)
    start = (jax.random.normal(key, (32,)), key)
    (particles, _), outs = jax.jit(lambda s: lax.scan(step, s, ys))(start)
    return jnp.sort(particles), outs


@program()
def per_example_gradients(jax: Any) -> Any:
    """Differentially private SGD: vmap of grad, clipping per example, noise."""
    jnp = jax.numpy
    key = jax.random.key(0)
    x = jax.random.normal(key, (10, 4))
    y = jnp.sign(x[:, 0])
    params = {"w": jnp.full(4, 0.1), "b": jnp.array(0.0)}

    def loss(p: Any, x: Any, y: Any) -> Any:
        return jax.nn.softplus(-y * (x @ p["w"] + p["b"]))

    @jax.jit
    def private_grad(p: Any, key: Any) -> Any:
        grads = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(p, x, y)
        norms = jnp.sqrt(sum(jnp.sum(g.reshape(10, -1) ** 2, 1) for g in jax.tree.leaves(grads)))
        factor = 1.0 / jnp.maximum(1.0, norms / 0.5)
        clipped = jax.tree.map(lambda g: jnp.einsum("b...,b->...", g, factor), grads)
        leaves, treedef = jax.tree.flatten(clipped)
        keys = jax.random.split(key, len(leaves))
        noisy = [g + 0.01 * jax.random.normal(k, g.shape) for g, k in zip(leaves, keys)]  # noqa: B905
        return jax.tree.unflatten(treedef, noisy), norms

    return private_grad(params, jax.random.key(1))


@program(rtol=1e-4, needs=("scipy.stats",))
def variational_inference(jax: Any) -> Any:
    """A reparametrized ELBO of a mean-field Gaussian, Adam inside a scan with keys as xs."""
    jnp, lax = jax.numpy, jax.lax

    def log_target(z: Any) -> Any:
        return jax.scipy.stats.norm.logpdf(z[0], 1.0, 0.5) + jax.scipy.stats.norm.logpdf(
            z[1], z[0], 0.3
        )

    def elbo(params: Any, key: Any) -> Any:
        mean, log_std = params
        eps = jax.random.normal(key, (8, 2))
        z = mean + jnp.exp(log_std) * eps
        return jnp.mean(jax.vmap(log_target)(z)) + jnp.sum(log_std)

    def step(state: Any, inputs: Any) -> Any:
        params, m, v = state
        i, key = inputs
        value, g = jax.value_and_grad(lambda p: -elbo(p, key))(params)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        rate = 0.05 * jnp.sqrt(1 - 0.99 ** (i + 1.0)) / (1 - 0.9 ** (i + 1.0))
        return (params - rate * m / (jnp.sqrt(v) + 1e-8), m, v), value

    zero = jnp.zeros((2, 2))
    xs = (jnp.arange(20), jax.random.split(jax.random.key(4), 20))
    return jax.jit(lambda: lax.scan(step, (zero, zero, zero), xs))()


@program()
def distributions(jax: Any) -> Any:
    """Draws from what users draw from, and categorical against the Gumbel trick."""
    jnp = jax.numpy
    ks = jax.random.split(jax.random.key(17), 12)
    logits = jnp.array([0.1, 1.0, -0.5, 0.7])
    gumbel = jax.random.gumbel(ks[0], (6, 4))
    return {
        "gumbel argmax": jnp.argmax(logits + gumbel, -1),
        "categorical": jax.random.categorical(ks[0], logits, shape=(6,)),
        "exponential": jax.random.exponential(ks[1], (5,)),
        "laplace": jax.random.laplace(ks[2], (5,)),
        "gamma": jax.random.gamma(ks[3], 2.5, (5,)),
        "beta": jax.random.beta(ks[4], 2.0, 3.0, (4,)),
        "dirichlet": jax.random.dirichlet(ks[5], jnp.ones(3), (2,)),
        "poisson": jax.random.poisson(ks[6], 3.0, (6,)),
        "permutation": jax.random.permutation(ks[7], 10),
        "choice": jax.random.choice(ks[8], jnp.arange(10), (4,), replace=False),
        "weighted": jax.random.choice(ks[9], 4, (5,), p=jax.nn.softmax(logits)),
        "cauchy": jax.random.cauchy(ks[10], (3,)),
        "bits": jax.random.bits(ks[11], (3,)),
        "multivariate": jax.random.multivariate_normal(
            ks[11], jnp.zeros(2), jnp.array([[2.0, 0.5], [0.5, 1.0]]), (3,)
        ),
        "rademacher": jax.random.rademacher(ks[0], (4,)),
        "t": jax.random.t(ks[1], 4.0, (3,)),
        "key data": jax.random.key_data(ks[2]),
    }


@program(rtol=1e-4)
def minibatches_by_permutation(jax: Any) -> Any:
    """Epochs over a shuffled data set; batches by dynamic_slice of a permutation."""
    jnp, lax = jax.numpy, jax.lax
    x = jax.random.normal(jax.random.key(0), (40, 3))
    y = x @ jnp.array([1.0, -2.0, 0.5]) + 0.7

    def loss(p: Any, x: Any, y: Any) -> Any:
        return jnp.mean((x @ p[:3] + p[3] - y) ** 2)

    @jax.jit
    def epoch(p: Any, key: Any) -> Any:
        order = jax.random.permutation(key, len(x))

        def step(i: Any, p: Any) -> Any:
            index = lax.dynamic_slice_in_dim(order, i * 8, 8)
            return p - 0.1 * jax.grad(loss)(p, jnp.take(x, index, axis=0), y[index])

        return lax.fori_loop(0, 5, step, p)

    p = jnp.zeros(4)
    for e in range(6):
        p = epoch(p, jax.random.fold_in(jax.random.key(1), e))
    return p, loss(p, x, y)


@program(rtol=1e-4)
def bootstrap(jax: Any) -> Any:
    """Bootstrap quantiles of a median, by vmap over keys."""
    jnp = jax.numpy
    data = jax.random.gamma(jax.random.key(0), 2.0, (40,))

    def replicate(key: Any) -> Any:
        return jnp.median(jax.random.choice(key, data, (40,)))

    medians = jax.jit(jax.vmap(replicate))(jax.random.split(jax.random.key(1), 50))
    return jnp.quantile(medians, jnp.array([0.05, 0.5, 0.95])), medians.std(ddof=1)


@program(rtol=1e-4)
def hidden_markov_model(jax: Any) -> Any:
    """Forward algorithm in log space, its gradient, and Viterbi with a backward scan."""
    jnp, lax = jax.numpy, jax.lax
    transition = jax.nn.log_softmax(jnp.array([[2.0, 0.0, 1.0], [0.5, 2.0, 0.0], [0.0, 0.3, 2.0]]))
    emission = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 5)), axis=1)
    observed = jnp.array([0, 3, 1, 1, 4, 2, 2, 0, 3])

    def likelihood(transition: Any, emission: Any) -> Any:
        def step(alpha: Any, o: Any) -> Any:
            alpha = jax.nn.logsumexp(alpha[:, None] + transition, axis=0) + emission[:, o]
            return alpha, None

        alpha, _ = lax.scan(step, emission[:, observed[0]] - jnp.log(3.0), observed[1:])
        return jax.nn.logsumexp(alpha)

    def viterbi() -> Any:
        def forward(delta: Any, o: Any) -> Any:
            scores = delta[:, None] + transition
            return scores.max(0) + emission[:, o], scores.argmax(0)

        delta, back = lax.scan(forward, emission[:, observed[0]], observed[1:])
        last = delta.argmax()
        _, path = lax.scan(lambda s, b: (b[s], s), last, back, reverse=True)
        return path, last

    return jax.value_and_grad(likelihood, (0, 1))(transition, emission), jax.jit(viterbi)()
