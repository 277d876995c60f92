"""A primitive that a library defines: its rules serve every transformation."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np

import pullback
from pullback.dropin.open_primitive import Primitive

PROGRAM = """
from pullback import dropin
dropin.install()
import numpy as np
import jax, jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

# x ** 3, and y, of two results
cube = Primitive("cube")
cube.multiple_results = True
calls = []

def impl(x, y, *, power):
    calls.append(power)
    return [x ** power, y]

cube.def_impl(impl)
cube.def_abstract_eval(lambda x, y, *, power: [x, y])

def jvp(primals, tangents, *, power):
    (x, y), (dx, dy) = primals, tangents
    dx = ad.instantiate_zeros(dx)
    return cube.bind(x, y, power=power), [power * x ** (power - 1) * dx, dy]

ad.primitive_jvps[cube] = jvp
def batch(args, dims, *, power):
    return cube.bind(*args, power=power), list(dims)
batching.primitive_batchers[cube] = batch
mlir.register_lowering(cube, mlir.lower_fun(impl, multiple_results=True))

def f(x, y=1.0):
    return cube.bind(x, y, power=3)[0]
"""


def check(program: str) -> None:
    code = PROGRAM + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_under_every_transformation() -> None:
    check(
        """
        x = jnp.arange(1.0, 4.0)
        np.testing.assert_allclose(f(x), [1, 8, 27])
        assert calls == [3]
        np.testing.assert_allclose(jax.jit(f)(x), [1, 8, 27])
        np.testing.assert_allclose(jax.vmap(f)(x), [1, 8, 27])
        np.testing.assert_allclose(jax.grad(f)(2.0), 12)
        np.testing.assert_allclose(jax.jit(jax.grad(f))(2.0), 12)
        np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(f)))(x), 6 * x)
        np.testing.assert_allclose(jax.jvp(f, (x,), (x,))[1], 3 * x ** 3)
        _, ys = jax.lax.scan(lambda c, v: (f(c) / 2, f(v)), 1.0, x)
        np.testing.assert_allclose(ys, [1, 8, 27])
        np.testing.assert_allclose(jax.lax.cond(True, f, lambda v: v, 2.0), 8)
        assert "cube[power=3]" in str(jax.make_jaxpr(f)(2.0))
        # The rules of our own primitives can be read and called.
        out, dot = ad.primitive_jvps[jax.lax.sin_p]([x], [x])
        np.testing.assert_allclose(dot, np.cos(x) * x, rtol=1e-6)
        out, dim = batching.primitive_batchers[jax.lax.sin_p]([x], [0])
        assert dim == 0 and out.shape == (3,)
        """
    )


def test_linear_primitives_are_transposed() -> None:
    check(
        """
        twice = Primitive("twice")
        twice.def_impl(lambda x: x + x)
        twice.def_abstract_eval(lambda x: x)
        ad.deflinear(twice, lambda ct: [twice.bind(ct)])
        batching.defvectorized(twice)
        mlir.register_lowering(twice, mlir.lower_fun(lambda x: x + x, multiple_results=False))
        np.testing.assert_allclose(jax.grad(lambda x: twice.bind(x) * x)(3.0), 12)
        np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(twice.bind)))(jnp.ones(2)), [2, 2])

        times = Primitive("times")
        times.def_impl(lambda x, y: x * y)
        times.def_abstract_eval(lambda x, y: x)
        ad.defbilinear(times, lambda ct, x, y: ct * y, lambda ct, x, y: ct * x)
        mlir.register_lowering(times, mlir.lower_fun(lambda x, y: x * y, multiple_results=False))
        grads = jax.grad(times.bind, (0, 1))(2.0, 5.0)
        np.testing.assert_allclose(grads, (5, 2))

        def transpose(ct, x, y):
            assert ad.is_undefined_primal(x) and not ad.is_undefined_primal(y)
            assert x.aval.shape == () and x.aval.dtype == np.float32
            return [ct * y, None]
        ad.primitive_transposes[times] = transpose
        by7 = jax.linear_transpose(lambda x: times.bind(x, 7.0), 1.0)
        np.testing.assert_allclose(by7(2.0), (14,))
        ad.primitive_transposes[twice] = lambda ct, x: ad.Zero
        np.testing.assert_allclose(jax.grad(twice.bind)(3.0), 0)
        """
    )


def test_rules_that_ask_for_the_axis() -> None:
    check(
        """
        lanes = Primitive("lanes")
        lanes.def_impl(lambda x: x)
        lanes.def_abstract_eval(lambda x: x)
        seen = []
        def batch(size, name, trace_type, args, dims):
            seen.append((size, name))
            return args[0] * size, dims[0]
        batching.axis_primitive_batchers[lanes] = batch
        out = jax.vmap(lanes.bind, axis_name="i")(jnp.ones(5))
        np.testing.assert_allclose(out, 5 * np.ones(5))
        assert seen == [(5, "i")]
        """
    )


def test_what_is_missing_is_named() -> None:
    check(
        """
        def message(f, *args):
            try:
                f(*args)
            except Exception as e:
                return str(e)
            raise AssertionError
        bare = Primitive("bare")
        assert "bare" in message(bare.bind, 1.0) and "def_impl" in message(bare.bind, 1.0)
        bare.def_abstract_eval(lambda x: x)
        assert "register_lowering" in message(jax.jit(bare.bind), 1.0)
        assert "primitive_jvps" in message(jax.grad(bare.bind), 1.0)
        assert "primitive_batchers" in message(jax.vmap(bare.bind), jnp.ones(2))
        assert "fixed" in message(lambda: ad.primitive_jvps.update({jax.lax.sin_p: 0}))
        """
    )


def test_a_trace_of_a_librarys_own() -> None:
    check(
        """
        from jax import core
        from jax.extend.core import TraceTag, set_current_trace, take_current_trace
        names = []
        class Tracer(core.Tracer):
            def __init__(self, trace, val):
                super().__init__(trace, jax.typeof(val))
                self.val = val
        class Trace(core.Trace):
            def __init__(self, parent):
                super().__init__()
                self.around = parent
            def process_primitive(self, primitive, tracers, params):
                names.append(primitive.name)
                vals = [t.val if isinstance(t, Tracer) else t for t in tracers]
                avals = [jax.typeof(v) for v in vals]
                out = primitive.bind_with_trace(self.around, vals, avals, params)
                return jax.tree.map(lambda v: Tracer(self, v), out)
            def process_custom_jvp_call(self, primitive, fun, jvp, tracers, *, symbolic_zeros):
                names.append("custom")
                with set_current_trace(self):
                    return fun.call_wrapped(*tracers)
        ones = jnp.ones(2)
        with take_current_trace() as parent:
            trace = Trace(parent)
            with set_current_trace(trace):
                out = jax.nn.relu(jnp.sin(Tracer(trace, ones)))
        np.testing.assert_allclose(out.val, np.sin(np.ones(2)), rtol=1e-6)
        assert "sin" in names and "max" in names, names
        """
    )


def test_settings_leave_open_primitives_alone() -> None:
    doubled = Primitive("doubled_under_settings")
    doubled.def_impl(lambda x: 2 * x)
    doubled.def_abstract_eval(lambda x: x)
    assert float(doubled.bind(np.float32(3.0))) == 6.0
    with pullback.debug_nans(True):
        assert float(doubled.bind(np.float32(3.0))) == 6.0
    assert float(doubled.bind(np.float32(3.0))) == 6.0


def test_private_attributes_that_libraries_read() -> None:
    check(
        """
        assert jax.lax.sin_p.call_primitive is False
        assert type(jax.jit(f)).__name__ == "PjitFunction"
        (eqn,) = jax.make_jaxpr(jnp.sin)(1.0).eqns
        params = eqn.primitive.get_bind_params(eqn.params)
        np.testing.assert_allclose(eqn.primitive.bind(2.0, **params), np.sin(2), 1e-6)
        (device,) = jnp.ones(2).sharding._addressable_device_assignment
        assert device == jax.devices()[0]
        assert jax.typeof(1).at_least_vspace().dtype == jax.dtypes.float0
        seen = []
        jax.jvp(lambda x: seen.append(x._trace.main is x._trace.main) or x, (1.0,), (1.0,))
        assert seen == [True]
        """
    )


def test_compilations_can_be_forbidden() -> None:
    check(
        """
        from jax._src import compiler
        before = compiler.backend_compile_and_load
        def forbid(backend, *args, **kwargs):
            raise RuntimeError("not on the " + backend.platform)
        compiler.backend_compile_and_load = forbid
        try:
            jax.jit(lambda x: x * 3.25)(jnp.ones(7))
        except RuntimeError as e:
            assert "not on the cpu" in str(e)
        else:
            raise AssertionError
        compiler.backend_compile_and_load = before
        jax.jit(lambda x: x * 3.25)(jnp.ones(7))
        """
    )


def test_wrapped_functions_and_partial_values() -> None:
    check(
        """
        from jax import api_util
        from jax.extend import linear_util as lu
        from jax.interpreters import partial_eval as pe
        wrapped, out_tree = api_util.flatten_fun(
            lu.wrap_init(lambda x, y: {"sum": x + y, "two": y * 2}),
            jax.tree.structure(((0, 0), {})),
        )
        assert wrapped.call_wrapped(1, 2) == [3, 4]
        assert jax.tree.unflatten(out_tree(), [3, 4]) == {"sum": 3, "two": 4}
        aval = jax.core.ShapedArray((), np.dtype("float32"))
        pvals = [pe.PartialVal.unknown(aval), pe.PartialVal.known(jnp.float32(2.0))]
        jaxpr, outs, consts = pe.trace_to_jaxpr_nounits(wrapped, pvals)
        assert [p.is_known() for p in outs] == [False, True]
        assert float(outs[1].get_known()) == 4.0
        (total,) = jax.core.eval_jaxpr(jaxpr, consts, jnp.float32(5.0))
        assert float(total) == 7.0
        pruned, used = pe.dce_jaxpr(jax.make_jaxpr(lambda x, y: (x * 2, y + 1))(1.0, 2.0).jaxpr,
                                    [True, False])
        assert used == [True, False] and len(pruned.eqns) == 1
        """
    )
