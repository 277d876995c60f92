"""What holds for every program: the ways to compute the same agree."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy
import numpy as np

import pullback
import pullback.nn
import pullback.numpy
import pullback.random
import pullback.scipy.special
from tests.fuzz.lattice import Type, numpy_dtype
from tests.fuzz.noise import spread
from tests.fuzz.program import NotInterpretedError, Program

Fun = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """A function of a system (Pullback or JAX) and inputs, with what is known about it."""

    program: Fun
    inputs: Sequence[Any]
    wide: bool = False
    """64-bit types are on."""
    forward: bool = True
    """Forward mode exists: there is no custom_vjp."""
    reversible: bool = True
    """Reverse mode exists: no loop has a number of steps that is known only when it runs."""
    mixed: bool = True
    """Forward over reverse mode exists: no rule of a custom_vjp calls another custom_vjp."""
    types: Sequence[Type] | None = None
    """Of the results, by the documented rules."""
    numpy: Callable[[], list[Any]] | None = None
    """The results by NumPy."""
    ask_jax: bool = True
    """Compare derivatives with JAX, which takes long to compile."""

    def on(self, system: Any) -> Fun:
        """The function of the inputs alone."""
        return lambda *xs: self.program(system, *xs)

    def arrays(self) -> list[Any]:
        """The inputs as arrays of ours."""
        return [pullback.numpy.asarray(x) for x in self.inputs]


def case_of(p: Program) -> Case:
    """The case that a drawn program makes."""
    return Case(
        p.python,
        p.values(),
        p.wide,
        p.forward,
        p.reversible,
        p.mixed,
        [r.type for r in p.function.results],
        p.interpret,
        len(p.source) % 3 == 0,
    )


@contextlib.contextmanager
def environment(wide: bool) -> Iterator[None]:
    """What programs run under: 64-bit types or not, and no warnings of NumPy about NaN."""
    with (
        pullback.enable_x64(wide),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


# --------------------------------------------------------------------------- comparison


def agree(got: Any, want: Any, again: Callable[[], Any], what: str, slack: float = 1.0) -> None:
    """The leaves of `got` are those of `want`, up to what rounding does to `again()`."""
    ours, theirs = pullback.tree.leaves(got), pullback.tree.leaves(want)
    assert len(ours) == len(theirs), what
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True)]
    for k, (a, b) in enumerate(pairs):
        assert a.shape == b.shape, f"{what}: result {k} has shape {a.shape}, expected {b.shape}"
        assert a.dtype == b.dtype, f"{what}: result {k} has dtype {a.dtype}, expected {b.dtype}"
    wrong = [k for k, (a, b) in enumerate(pairs) if not _close(a, b, _base(b) * slack).all()]
    for runs in (4, 32):
        if not wrong:
            return
        moved = spread(again, runs)
        wrong = [k for k in wrong if not _within(*pairs[k], [m[k] for m in moved], slack)]
    for k in wrong:
        a, b = pairs[k]
        places = [tuple(i) for i in np.argwhere(~_close(a, b, _base(b) * slack))[:5].tolist()]
        first = "\n".join(f"{i}: {a[i]!r}, expected {b[i]!r}" for i in places)
        raise AssertionError(f"{what}: result {k} of {a.shape} {a.dtype} differs\n{first}")


def _base(want: Any) -> Any:
    if want.dtype.kind in "biu" or not want.size:
        return np.float64(0)
    eps = float(np.finfo(np.float32).eps)
    if want.dtype.name in ("float64", "complex128"):
        eps = float(np.finfo(np.float64).eps)
    if want.dtype.name in ("float16", "bfloat16"):
        eps = {"float16": 2.0**-10, "bfloat16": 2.0**-7}[want.dtype.name]
    return 8 * eps * np.abs(_wide(want))


def _wide(x: Any) -> Any:
    if x.dtype.kind == "c":
        return x.astype(np.complex128)
    return x if x.dtype.kind in "biu" else x.astype(np.float64)


def _close(a: Any, b: Any, tolerance: Any) -> Any:
    a, b = np.asarray(_wide(a)), np.asarray(_wide(b))
    if a.dtype.kind in "biu":
        return a == b
    if a.dtype.kind == "c":
        return _close(a.real, b.real, tolerance) & _close(a.imag, b.imag, tolerance)
    with np.errstate(all="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        return same | (np.abs(a - b) <= tolerance)


def _within(a: Any, b: Any, moved: list[Any], slack: float) -> bool:
    """Rounding explains it: evaluations differ as much there, or in what is special."""
    if a.dtype.kind in "biu":
        return bool(((a == b) | (np.min(moved, 0) != np.max(moved, 0))).all())
    runs = np.stack([_wide(m) for m in moved])
    parts = [runs.real, runs.imag] if runs.dtype.kind == "c" else [runs]
    widest, odd = np.zeros(b.shape), np.zeros(b.shape, bool)
    with np.errstate(all="ignore"):
        for part in parts:
            special = np.where(np.isfinite(part), 0.0, part)
            odd |= ~_close(special, special[:1], 0.0).all(0)
            widest += np.where(np.isfinite(part).all(0), np.ptp(part, 0), 0.0)
        near = _close(a, b, slack * (_base(b) + 16 * widest + 4 * widest.mean()))
    return bool((near | odd).all())


# --------------------------------------------------------------------------- values


def values(p: Case) -> None:
    """Compiled = eager = operation by operation = NumPy, of the expected types."""
    xs, f = p.arrays(), p.on(pullback)

    def again() -> Any:
        return f(*xs)

    eager = again()
    for k, (x, t) in enumerate(zip(eager, p.types or (), strict=bool(p.types))):
        assert (x.shape, x.dtype) == (t.shape, numpy_dtype(t.dtype)), f"result {k}: {x.aval}, {t}"
    with pullback.disable_jit():
        agree(f(*xs), eager, again, "disable_jit against eager")
    agree(pullback.jit(f)(*xs), eager, again, "compiled against eager")
    if p.numpy is not None:
        with contextlib.suppress(NotInterpretedError):
            agree(eager, p.numpy(), again, "eager against NumPy")


def against_jax(p: Case) -> None:
    """Values, dtypes and weak types are JAX's."""
    f, xs = p.on(pullback), p.arrays()
    with jax.enable_x64(p.wide):
        theirs = jax.jit(p.on(jax))(*p.inputs)
    ours = pullback.jit(f)(*xs)
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert a.weak_type == b.weak_type, f"result {k}: {a.aval}, of JAX {b.aval}"
    again = [_without_subnormals(x) for x in ours], [_without_subnormals(x) for x in theirs]
    agree(*again, lambda: f(*xs), "compiled against JAX", slack=16.0)


def _without_remainders(xs: Any) -> list[Any]:
    """What cancels exactly by one formula leaves rounding by another; none of it counts here."""
    out = []
    for x in map(np.asarray, pullback.tree.leaves(xs)):
        if x.dtype.kind in "fc" and x.size:
            size = np.abs(x)
            least = np.finfo(x.dtype).eps * np.max(size, initial=0.0, where=np.isfinite(size))
            x = np.where(size <= least, x.dtype.type(0), x)
        out.append(x)
    return out


def _without_subnormals(x: Any) -> Any:
    """XLA takes numbers below the smallest normal one for zero; we keep them."""
    a = np.asarray(x)
    if a.dtype not in (np.float32, np.float64):
        return a
    return np.where(np.abs(a) < np.finfo(a.dtype).tiny, a.dtype.type(0), a)


def lanes(p: Case) -> None:
    """vmap, compiled or not, is a loop."""
    xs = p.inputs
    places = [k % (x.ndim + 1) for k, x in enumerate(xs)]
    rows = [[x, np.flip(x), np.roll(x, 1)] for x in xs]
    stacked = [np.stack(r, k) for r, k in zip(rows, places, strict=True)]
    f = p.on(pullback)

    def loop() -> Any:
        outs = [f(*map(pullback.numpy.asarray, row)) for row in zip(*rows, strict=True)]
        return [np.stack([np.asarray(y) for y in ys]) for ys in zip(*outs, strict=True)]

    mapped = pullback.vmap(f, tuple(places))
    want = loop()
    agree(mapped(*stacked), want, loop, "vmap against a loop")
    agree(pullback.jit(mapped)(*stacked), want, loop, "compiled vmap against a loop")


# --------------------------------------------------------------------------- derivatives


def _float_function(p: Case, system: Any) -> tuple[Fun, list[Any]]:
    """The float results as a function of the float inputs, and these."""
    places = [k for k, x in enumerate(p.inputs) if _is_float(x)]
    whole = p.on(system)

    def f(*some: Any) -> Any:
        xs = [system.numpy.asarray(x) for x in p.inputs]
        for k, x in zip(places, some, strict=True):
            xs[k] = x
        return [y for y in whole(*xs) if _is_float(y)]

    return f, [pullback.numpy.asarray(p.inputs[k]) for k in places]


def _differentiable(p: Case) -> tuple[Fun, list[Any]] | None:
    """The float results as a function of the float inputs; None if one of them is missing."""
    f, xs = _float_function(p, pullback)
    return (f, xs) if xs and pullback.eval_shape(f, *xs) else None


def _is_float(x: Any) -> bool:
    return bool(pullback.numpy.issubdtype(x.dtype, np.floating))


def _directions(xs: Sequence[Any], seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [pullback.numpy.asarray(rng.uniform(-1, 1, x.shape), x.dtype) for x in xs]


def derivatives_agree(p: Case) -> None:
    """jvp, linearize, vjp: compiled = eager, for any floats; transposed = forward."""
    found = _differentiable(p)
    if found is None:
        return
    f, xs = found
    if p.forward:
        _check_forward(f, xs)
    if p.reversible:
        _check_reverse(p, f, xs)


def _check_forward(f: Fun, xs: Sequence[Any]) -> None:
    ts = _directions(xs, 1)

    def forward() -> Any:
        return pullback.jvp(f, tuple(xs), tuple(ts))

    out = forward()
    agree(pullback.jit(forward_of(f))(xs, ts), out, forward, "compiled jvp against eager jvp")
    with pullback.disable_jit():
        agree(forward(), out, forward, "jvp operation by operation")
    y, linear = pullback.linearize(f, *xs)
    agree((y, linear(*ts)), out, forward, "linearize against jvp", slack=4.0)


def _check_reverse(p: Case, f: Fun, xs: Sequence[Any]) -> None:
    cts = _directions(f(*xs), 2)

    def reverse() -> Any:
        return pullback.vjp(f, *xs)[1](cts)

    back = reverse()
    agree(
        pullback.jit(reverse_of(f))(xs, cts), back, reverse, "compiled vjp against eager vjp", 2.0
    )
    with pullback.disable_jit():
        agree(reverse(), back, reverse, "vjp operation by operation")
    if p.ask_jax:
        _check_reverse_of_jax(p, xs, cts, back, reverse)


def _check_reverse_of_jax(
    p: Case, xs: Sequence[Any], cts: Any, back: Any, again: Callable[[], Any]
) -> None:
    f, _ = _float_function(p, jax)
    try:
        with jax.enable_x64(p.wide):
            theirs = jax.jit(lambda xs, ct: jax.vjp(f, *xs)[1](ct))(
                list(map(np.asarray, xs)), list(map(np.asarray, cts))
            )
    except NotImplementedError as error:
        if "Differentiation rule for 'pmax'" not in str(error):
            raise
        return
    agree(*map(_without_remainders, (back, theirs)), again, "vjp against JAX", slack=8.0)


def forward_of(f: Fun) -> Fun:
    """The jvp of `f` as a function of lists."""
    return lambda xs, ts: pullback.jvp(f, tuple(xs), tuple(ts))


def reverse_of(f: Fun) -> Fun:
    """The vjp of `f` as a function of lists."""
    return lambda xs, cts: pullback.vjp(f, *xs)[1](cts)


def smooth_derivatives(p: Case) -> None:
    """jvp = finite differences; ⟨ct, jvp t⟩ = ⟨vjp ct, t⟩; second derivatives are symmetric."""
    found = _differentiable(p)
    if found is None:
        return
    f, xs = found
    ts = _directions(xs, 1)
    y, slope, trusted = _slope(f, xs, ts)
    if p.forward:
        _, dy = pullback.jvp(f, tuple(xs), tuple(ts))
        for k, (d, s, sure) in enumerate(zip(dy, slope, trusted, strict=True)):
            near = np.abs(np.asarray(d) - s) <= 1e-4 * (1 + np.abs(s).max(initial=0.0))
            assert (near | ~sure).all(), f"jvp of result {k}:\n{d!r}\nby differences\n{s!r}"
    if not p.reversible:
        return
    cts = _directions(y, 2)
    back = _pairing(pullback.vjp(f, *xs)[1](cts), ts)
    if p.forward or all(s.all() for s in trusted):
        there, rtol = (_pairing(cts, dy), 1e-8) if p.forward else (_pairing(cts, slope), 1e-3)
        scale = 1 + sum(float(np.sum(np.abs(s), where=np.isfinite(s))) for s in slope)
        assert abs(there - back) <= rtol * scale, f"vjp is not jvp's transpose: {there} {back}"
    _check_gradients(f, xs, ts, cts, p.mixed)


def _slope(f: Fun, xs: Sequence[Any], ts: Sequence[Any]) -> tuple[Any, list[Any], list[Any]]:
    """Central differences, and where two steps agree: elsewhere the function is not smooth."""
    slopes = []
    for step in (1e-5, 2e-5):
        up = f(*[x + step * t for x, t in zip(xs, ts, strict=True)])
        down = f(*[x - step * t for x, t in zip(xs, ts, strict=True)])
        pairs = zip(up, down, strict=True)
        slopes.append([(np.asarray(a) - np.asarray(b)) / (2 * step) for a, b in pairs])
    trusted = [np.abs(s - t) <= 1e-5 * (1 + np.abs(s)) for s, t in zip(*slopes, strict=True)]
    return up, slopes[0], trusted


def _pairing(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    return sum(float(np.sum(np.asarray(x) * np.asarray(y))) for x, y in zip(xs, ys, strict=True))


def _check_gradients(
    f: Fun, xs: Sequence[Any], ts: Sequence[Any], cts: Sequence[Any], mixed: bool
) -> None:
    def loss(*some: Any) -> Any:
        return sum(pullback.numpy.sum(c * y) for c, y in zip(cts, f(*some), strict=True))

    places = tuple(range(len(xs)))
    gradient = pullback.grad(loss, places)

    def eager() -> Any:
        return gradient(*xs)

    agree(pullback.jit(gradient)(*xs), eager(), eager, "compiled grad against eager grad", 4.0)
    rows = [[x, pullback.numpy.flip(x)] for x in xs]

    def loop() -> Any:
        outs = [gradient(*row) for row in zip(*rows, strict=True)]
        return [np.stack([np.asarray(y) for y in ys]) for ys in zip(*outs, strict=True)]

    stacked = [pullback.numpy.stack(r) for r in rows]
    agree(pullback.jit(pullback.vmap(gradient))(*stacked), loop(), loop, "jit(vmap(grad))", 4.0)

    def forward_over_reverse(*some: Any) -> Any:
        return pullback.jvp(gradient, some, tuple(ts))[1]

    def reverse_over_reverse(*some: Any) -> Any:
        def along(*inner: Any) -> Any:
            return sum(pullback.numpy.sum(g * t) for g, t in zip(gradient(*inner), ts, strict=True))

        return pullback.grad(along, places)(*some)

    second = forward_over_reverse if mixed else reverse_over_reverse

    def again() -> Any:
        return second(*xs)

    want = again()
    if mixed:
        agree(reverse_over_reverse(*xs), want, again, "reverse over reverse", 1e3)
    agree(pullback.jit(reverse_over_reverse)(*xs), want, again, "compiled second order", 1e3)


LAWS: dict[str, tuple[bool, Callable[[Case], None]]] = {
    "values": (False, values),
    "against_jax": (False, against_jax),
    "lanes": (False, lanes),
    "derivatives_agree": (False, derivatives_agree),
    "smooth_derivatives": (True, smooth_derivatives),
    "smooth_values": (True, values),
}
"""By name: whether the law wants smooth programs, and the law."""


def obey(law: str, p: Case) -> None:
    """Raise unless the law holds for the case."""
    with environment(p.wide):
        LAWS[law][1](p)
