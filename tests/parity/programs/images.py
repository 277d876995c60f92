"""Images: filters, interpolation, rendering, labels."""

from __future__ import annotations

from typing import Any

from tests.parity.programs.registry import program


@program()
def edge_detection(jax: Any) -> Any:
    """Gaussian blur as two 1-D convolutions, Sobel filters, non-maximum suppression, pooling."""
    jnp, lax = jax.numpy, jax.lax
    y, x = jnp.mgrid[0:16, 0:16]
    image = ((x - 8) ** 2 + (y - 7) ** 2 < 25).astype(jnp.float32) + jnp.sin(x + 2.0 * y) / 5
    t = jnp.arange(-2, 3)
    g = jnp.exp(-(t**2) / 2.0)
    g = g / g.sum()

    def rows(a: Any) -> Any:
        return jax.vmap(lambda r: jnp.convolve(r, g, mode="same"))(a)

    blurred = rows(rows(image).T).T
    sobel = jnp.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    kernels = jnp.stack([sobel, sobel.T])[:, None]
    gx, gy = lax.conv_general_dilated(blurred[None, None], kernels, (1, 1), "SAME")[0]
    magnitude = jnp.hypot(gx, gy)
    local = lax.reduce_window(magnitude, -jnp.inf, lax.max, (3, 3), (1, 1), "SAME")
    edges = (magnitude == local) & (magnitude > 0.5)
    return blurred, magnitude, edges, jnp.arctan2(gy, gx)[4:12, 4:12]


@program(rtol=1e-4)
def warping(jax: Any) -> Any:
    """Bilinear sampling at rotated coordinates, differentiable in the angle; registration."""
    jnp = jax.numpy
    y, x = jnp.meshgrid(jnp.arange(12.0), jnp.arange(12.0), indexing="ij")
    image = jnp.sin(x / 2) * jnp.cos(y / 3)

    def sample(image: Any, y: Any, x: Any) -> Any:
        y0, x0 = jnp.floor(y), jnp.floor(x)
        fy, fx = y - y0, x - x0
        yi, xi = y0.astype(int), x0.astype(int)

        def pixel(i: Any, j: Any) -> Any:
            inside = (i >= 0) & (i < 12) & (j >= 0) & (j < 12)
            return jnp.where(inside, image[jnp.clip(i, 0, 11), jnp.clip(j, 0, 11)], 0.0)

        top = pixel(yi, xi) * (1 - fx) + pixel(yi, xi + 1) * fx
        bottom = pixel(yi + 1, xi) * (1 - fx) + pixel(yi + 1, xi + 1) * fx
        return top * (1 - fy) + bottom * fy

    def rotate(angle: Any) -> Any:
        c, s = jnp.cos(angle), jnp.sin(angle)
        u, v = y - 5.3, x - 5.7
        return sample(image, c * u - s * v + 5.3, s * u + c * v + 5.7)

    target = rotate(0.15)
    loss = jax.jit(jax.value_and_grad(lambda a: jnp.mean((rotate(a) - target) ** 2)))
    angle, history = jnp.float32(0.05), []
    for _ in range(4):
        value, g = loss(angle)
        angle = angle - 0.05 * g
        history.append(value)
    return target, angle, history


@program(rtol=2e-3)
def sphere_tracing(jax: Any) -> Any:
    """Ray marching a signed distance with while_loop under two vmaps; normals by grad."""
    jnp, lax = jax.numpy, jax.lax

    def scene(p: Any) -> Any:
        sphere = jnp.linalg.norm(p - jnp.array([0.0, 0.1, 3.0])) - 1.0
        q = p - jnp.array([0.9, -0.4, 2.4])
        ring = jnp.sqrt(q[0] ** 2 + q[1] ** 2) - 0.5
        torus = jnp.sqrt(ring**2 + q[2] ** 2) - 0.2
        return -0.1 * jnp.logaddexp(-sphere / 0.1, -torus / 0.1)

    def march(direction: Any) -> Any:
        def going(s: Any) -> Any:
            t, d, n = s
            return (d > 1e-3) & (t < 10.0) & (n < 40)

        def body(s: Any) -> Any:
            t, _, n = s
            d = scene(t * direction)
            return t + d, d, n + 1

        return lax.while_loop(going, body, (0.0, 1.0, 0))[0]

    def shade(u: Any, v: Any) -> Any:
        direction = jnp.array([u, v, 1.5])
        direction = direction / jnp.linalg.norm(direction)
        t = march(direction)
        normal = jax.grad(scene)(t * direction)
        light = jnp.clip(normal @ jnp.array([0.6, 0.7, -0.4]), 0.05, 1.0)
        return jnp.where(t < 10.0, light, 0.0)

    grid = jnp.linspace(-0.93, 0.91, 9)
    return jax.jit(jax.vmap(jax.vmap(shade, (0, None)), (None, 0)))(grid, grid)


@program()
def connected_components(jax: Any) -> Any:
    """Labels spread to neighbours until nothing changes; areas by bincount; equalization."""
    jnp, lax = jax.numpy, jax.lax
    mask = jax.random.bernoulli(jax.random.key(4), 0.55, (10, 10))
    start = jnp.where(mask, jnp.arange(1, 101).reshape(10, 10), 0)

    def spread(labels: Any) -> Any:
        p = jnp.pad(labels, 1)
        near = jnp.stack([p[:-2, 1:-1], p[2:, 1:-1], p[1:-1, :-2], p[1:-1, 2:], labels])
        return jnp.where(mask, near.max(0), 0)

    def body(s: Any) -> Any:
        return s[1], spread(s[1])

    _, labels = jax.jit(lambda s: lax.while_loop(lambda s: (s[0] != s[1]).any(), body, s))(
        (jnp.zeros_like(start), start)
    )
    areas = jnp.bincount(labels.ravel(), length=101)
    names, index = jnp.unique(labels, size=30, return_inverse=True)
    grey = jnp.floor(64 * jax.random.beta(jax.random.key(0), 2.0, 5.0, (10, 10))).astype(int)
    cdf = jnp.cumsum(jnp.bincount(grey.ravel(), length=64)) / 100.0
    return labels, areas, names, index.reshape(10, 10), cdf[grey]


@program(rtol=1e-4)
def non_local_operations(jax: Any) -> Any:
    """Median filter by sorting patches, bilateral weights, integral images, resizing by einsum."""
    jnp, lax = jax.numpy, jax.lax
    image = jax.random.uniform(jax.random.key(0), (9, 9))
    padded = jnp.pad(image, 1, mode="edge")
    patches = jnp.stack([padded[i : i + 9, j : j + 9] for i in range(3) for j in range(3)])
    median = jnp.sort(patches, axis=0)[4]
    weights = jnp.exp(-((patches - image) ** 2) / 0.05)
    bilateral = (weights * patches).sum(0) / weights.sum(0)
    integral = jnp.pad(image.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = integral[3:, 3:] - integral[:-3, 3:] - integral[3:, :-3] + integral[:-3, :-3]
    extracted = lax.conv_general_dilated_patches(image[None, None], (3, 3), (1, 1), "VALID")
    at = jnp.linspace(0, 8, 5)
    hat = jnp.maximum(0.0, 1 - jnp.abs(at[:, None] - jnp.arange(9)))
    small = jnp.einsum("ai,bj,ij->ab", hat, hat, image)
    return median, bilateral, boxes, extracted.shape, extracted.sum(1), small


@program(rtol=1e-4, needs=("image",))
def image_library(jax: Any) -> Any:
    """jax.image.resize by several methods."""
    jnp = jax.numpy
    image = jnp.sin(jnp.arange(48.0)).reshape(4, 4, 3)
    return [jax.image.resize(image, (8, 6, 3), m) for m in ("nearest", "bilinear", "cubic")]
