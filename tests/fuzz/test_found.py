"""What random programs found: each failed before it was mended."""

from __future__ import annotations

from typing import Any

from tests.fuzz.laws import Case, obey
from tests.fuzz.values import array


def test_lanes_choose_a_branch_that_returns_an_argument() -> None:
    """The argument may still be NumPy's array."""

    def program(jax: Any, x: Any) -> Any:
        return (jax.lax.cond(x.sum() > 0.0, jax.numpy.sin, lambda v: v, x),)

    obey("lanes", Case(program, [array((2,), "float32")]))


def test_the_index_of_a_loop_is_weak() -> None:
    """With known bounds it yields to other dtypes, as a Python int does."""

    def known(jax: Any, x: Any) -> Any:
        added = jax.lax.fori_loop(0, 3, lambda i, v: v + i, x)
        return added, jax.lax.fori_loop(0, 2, lambda i, c: i, jax.numpy.asarray(0))

    def traced(jax: Any, n: Any) -> Any:
        return (jax.lax.fori_loop(0, n, lambda i, v: i, jax.numpy.asarray(5)),)

    for wide in (False, True):
        obey("values", Case(known, [array((2,), "int8", 2)], wide))
        obey("against_jax", Case(known, [array((2,), "int8", 2)], wide))
        obey("against_jax", Case(traced, [array((), "int32", 2)], wide))


def test_the_parts_of_a_small_array_are_computed_in_any_order() -> None:
    """LLVM joined vectors on the stack before all of them were there, and gave up."""

    def program(jax: Any, x: Any) -> Any:
        low = jax.lax.convert_element_type(jax.lax.min(x, jax.numpy.uint8(9)), "int32")
        falling = jax.lax.cummax(low, axis=0, reverse=True)
        wide = jax.lax.convert_element_type(x, "int32")
        pair = jax.lax.concatenate([falling, wide], 0)
        return (jax.lax.concatenate([pair, low], 0),)

    case = Case(program, [array((2,), "uint8", 2)])
    obey("values", case)
    obey("against_jax", case)


def test_a_derivative_is_as_weak_as_what_it_belongs_to() -> None:
    """A Python number's gradient yields to other dtypes, as the number does."""
    functions: dict[str, Any] = {
        "itself": lambda jax, x, w: x,
        "square": lambda jax, x, w: x * x,
        "sine": lambda jax, x, w: jax.numpy.sin(x),
        "sum": lambda jax, x, w: jax.numpy.sum(x * w),
        "constant": lambda jax, x, w: jax.numpy.sin(2.0) + 0 * jax.numpy.sum(w),
        "choice": lambda jax, x, w: jax.numpy.where(x > 0, x, 0.0),
        "scan": lambda jax, x, w: jax.lax.scan(lambda c, _: (c * x, c), x, None, length=3)[0],
        "loop": lambda jax, x, w: jax.lax.fori_loop(0, 3, lambda i, c: c * x, x),
        "branch": lambda jax, x, w: jax.lax.cond(x > 0, lambda v: v * 2, lambda v: v, x),
    }

    def program(jax: Any, w: Any) -> Any:
        found: list[Any] = []
        for f in functions.values():

            def of(x: Any, f: Any = f) -> Any:
                return f(jax, x, w)

            for x in (2.0, jax.numpy.float32(2.0)):
                found += [jax.grad(of)(x), jax.jacfwd(of)(x), *jax.jvp(of, (x,), (x,))]
                found += [jax.vjp(of, x)[1](x / x)[0], jax.linearize(of, x)[1](x / x)]
        return tuple(map(jax.numpy.asarray, found))

    obey("against_jax", Case(program, [array((2,), "float32")]))


def test_second_derivatives_of_rules_that_call_rules() -> None:
    """Forward over reverse mode of them is an error, as in JAX; twice in reverse they are right."""

    def program(jax: Any, x: Any) -> Any:
        def ruled(f: Any) -> Any:
            g = jax.custom_vjp(f)
            g.defvjp(lambda *xs: (f(*xs), xs), lambda xs, ct: jax.vjp(f, *xs)[1](ct))
            return g

        return (ruled(lambda a: ruled(jax.nn.sigmoid)(jax.lax.map(jax.nn.sigmoid, a)))(x),)

    x = array((2,), "float64", 0)
    obey("smooth_derivatives", Case(program, [x], True, forward=False, mixed=False))


def test_a_condition_looks_at_what_it_does_not_need() -> None:
    """Its unused constant has a tangent, of which the loop that is run at once knows nothing."""

    def program(jax: Any, x: Any) -> Any:
        def row(v: Any) -> Any:
            def going(n: Any) -> Any:
                jax.numpy.sin(v)
                return n < 4

            return v * jax.lax.while_loop(going, lambda n: n + 1, 0)

        return (jax.lax.map(row, x),)

    obey("derivatives_agree", Case(program, [array((2, 3), "float32")], reversible=False))
    obey("smooth_derivatives", Case(program, [array((2, 3), "float64")], True, reversible=False))
