"""Modules of `jax.experimental` and `jax.extend` that only the drop-in has, against JAX."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import jax as theirs
import numpy as np
import pytest
from jax.experimental import jet as their_jet
from jax.experimental import sparse as their_sparse
from jax.experimental.sparse import coo as their_coo
from jax.experimental.sparse.util import SparseInfo
from jax.extend.core import Primitive as TheirPrimitive
from jax.interpreters import mlir as their_mlir

import pullback as pb
import pullback.numpy as jnp
from pullback.dropin import incidental
from pullback.dropin.open_primitive import Primitive
from pullback.dropin.shims.experimental import jet as our_jet
from pullback.dropin.shims.experimental import sparse as our_sparse
from pullback.dropin.shims.experimental.compute_on import compute_on
from pullback.dropin.shims.experimental.shard_alike import shard_alike
from pullback.dropin.shims.experimental.sparse import primitives as our_sparse_primitives
from pullback.dropin.shims.extend import linear_util as lu
from pullback.dropin.shims.extend import source_info_util
from pullback.dropin.shims.extend.core import jaxpr_as_fun
from pullback.dropin.shims.interpreters import mlir as our_mlir
from pullback.dropin.shims.interpreters import partial_eval as pe
from pullback.errors import UnsupportedError
from pullback.experimental.buffer_callback import Buffer, ExecutionStage, buffer_callback
from pullback.experimental.serialize_executable import deserialize_and_load, serialize
from pullback.runtime import cache
from pullback.runtime import compile as pipeline


def _series(jax: Any, jet: Any, primitive: Any, mlir: Any) -> Any:
    """Taylor coefficients through primitives whose rules were given in each of the four ways."""

    def make(name: str, f: Any) -> Any:
        p = primitive(name)
        p.def_abstract_eval(lambda a, *_: a)
        p.def_impl(f)
        mlir.register_lowering(p, mlir.lower_fun(f, multiple_results=False))
        return p

    three = make("three_times", lambda x: 3 * x)
    floor = make("step", jax.numpy.floor)
    sine = make("sine", jax.numpy.sin)
    both = make("both", lambda x, y: jax.numpy.exp(x) * y)
    jet.deflinear(three)
    jet.defzero(floor)
    jet.def_deriv(sine, jax.numpy.cos)
    jet.def_comp(both, lambda x, y: jax.numpy.exp(x) * y)

    def f(x: Any) -> Any:
        return (
            sine.bind(three.bind(x))
            + floor.bind(x)
            + both.bind(x, 2.0) * both.bind(x, three.bind(x))
        )

    value, terms = jet.jet(f, (1.2,), ((1.0, 0.5, 2.0, -1.0),))
    return [value, *terms]


def test_rules_of_taylor_mode() -> None:
    want = _series(theirs, their_jet, TheirPrimitive, their_mlir)
    got = _series(pb, our_jet, Primitive, our_mlir)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    with pytest.raises(TypeError, match="fixed"):
        our_jet.jet_rules[pb.lax.sin_p] = abs


def test_a_compiled_program_comes_back_without_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.arange(40_000.0, dtype=np.float32)

    def f(x: Any, scale: float, *, shift: Any) -> Any:
        return {"sum": jnp.sum(x * table) * scale, "x": x + shift}

    compiled = pb.jit(f, static_argnums=1).lower(jnp.ones(40_000), 2.0, shift=1.0).compile()
    blob, in_tree, out_tree = serialize(compiled)
    monkeypatch.setattr(pipeline, "_generate", None)
    monkeypatch.setattr(pipeline, "_cached_code", None)
    again = deserialize_and_load(blob, in_tree, out_tree)
    want = compiled(jnp.ones(40_000), shift=1.0)
    got = again(jnp.ones(40_000), shift=1.0)
    assert float(got["sum"]) == float(want["sum"])
    np.testing.assert_array_equal(got["x"], want["x"])


def test_foreign_machine_code_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = pb.jit(lambda x: 3 * x).lower(jnp.ones(2)).compile()
    blob, *trees = serialize(compiled)
    monkeypatch.setattr(cache, "surroundings", lambda: b"another machine")
    compiled_anew: list[str] = []
    generate = pipeline._generate

    def counted(closed: Any, name: str, candidates: Any) -> Any:
        compiled_anew.append(name)
        return generate(closed, name, candidates)

    monkeypatch.setattr(pipeline, "_generate", counted)
    monkeypatch.setattr(cache, "get", lambda key: None)
    monkeypatch.setattr(cache, "put", lambda key, entry: None)
    assert deserialize_and_load(blob, *trees)(jnp.ones(2)).tolist() == [3.0, 3.0]
    assert len(compiled_anew) == 1
    with pytest.raises(ValueError, match="no program"):
        deserialize_and_load(b"nothing", *trees)


def _double(context: Any, out: Any, x: Any) -> None:
    assert context.stage is ExecutionStage.EXECUTE
    assert isinstance(x, Buffer)
    assert not x.writeable
    assert out.writeable
    np.asarray(out)[...] = 2 * np.asarray(x)


@pytest.mark.parametrize("method", ["sequential", "expand_dims", "broadcast_all"])
def test_callbacks_that_write(method: str) -> None:
    spec = pb.ShapeDtypeStruct((3,), "float32")
    f = buffer_callback(_double, spec, vmap_method=method)
    x = jnp.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(pb.jit(f)(x[0]), 2 * x[0])
    np.testing.assert_array_equal(pb.vmap(f)(x), 2 * x)
    again = buffer_callback(_double, spec, has_side_effect=True)
    np.testing.assert_array_equal(pb.jit(again)(x[1]), 2 * x[1])


def test_a_result_in_the_place_of_an_operand() -> None:
    def add_one(context: Any, out: Any, x: Any) -> None:
        np.asarray(out)[1:] += 1

    f = buffer_callback(add_one, pb.ShapeDtypeStruct((3,), "float32"), input_output_aliases={0: 0})
    assert pb.jit(f)(jnp.arange(3.0)).tolist() == [0.0, 2.0, 3.0]
    with pytest.raises(UnsupportedError, match="one after the other"):
        buffer_callback(add_one, f, has_side_effect=True, vmap_method="expand_dims")


def test_annotations_check_what_they_are_given() -> None:
    with pytest.raises(ValueError, match="compute type"), compute_on("moon"):
        pass
    with pytest.raises(ValueError, match="shapes"):
        shard_alike(jnp.ones(3), jnp.ones(4))


def test_constants_that_are_dead() -> None:
    first, second = jnp.arange(3.0), jnp.ones(3)
    closed = pb.make_jaxpr(lambda x, y: (x + first, y * second))(1.0, 2.0)
    jaxpr, consts, used = pe.dce_jaxpr_consts(closed.jaxpr, [False, True])
    assert (consts, used) == ([False, True], [False, True])
    assert [len(jaxpr.constvars), len(jaxpr.invars), len(jaxpr.outvars)] == [1, 1, 1]


def test_only_the_inputs_that_are_kept() -> None:
    fun = lu.wrap_init(lambda x, y: [x + 1], debug_info=None)
    aval = pb.make_jaxpr(lambda x: x)(1.0).in_avals[0]
    jaxpr, _, _ = pe.trace_to_jaxpr_dynamic(fun, [aval, aval], keep_inputs=[True, False])
    assert len(jaxpr.invars) == 1
    with pytest.raises(Exception, match=r"\bVar|unbound|defined|scope"):
        pe.trace_to_jaxpr_dynamic(fun, [aval, aval], keep_inputs=[False, True])


def test_jaxprs_as_functions_and_name_stacks() -> None:
    closed = pb.make_jaxpr(lambda x: x * 2)(1.0)
    assert jaxpr_as_fun(closed)(3.0) == [6.0]
    stack = source_info_util.new_name_stack("outer")
    with source_info_util.set_name_stack(stack):
        assert str(source_info_util.current_name_stack()) == "outer"
        with source_info_util.reset_name_stack():
            assert str(source_info_util.current_name_stack()) == ""


def test_names_that_modules_import() -> None:
    """In a process of its own: there `import jax` is ours."""
    lines = [
        f"import {module} as m, pullback.dropin.incidental as i; m.{name}"
        for module in sorted(incidental._NAMES_IN)
        for name in sorted(incidental.names_of(module))
    ]
    code = "import pullback.dropin\npullback.dropin.install()\n" + "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _bound(sparse: Any, numpy: Any, infos: Any) -> list[Any]:
    """Each primitive of sparse arrays, applied to the arrays of small ones."""
    dense = numpy.asarray([[1.0, 0.0, 2.0], [0.0, 3.0, 0.0]])
    info = infos.SparseInfo((2, 3), True, True)
    a, r = sparse.BCOO.fromdense(dense), sparse.BCSR.fromdense(dense)
    c, k = sparse.COO.fromdense(dense), sparse.CSR.fromdense(dense)
    by_coordinates, by_rows = (a.data, a.indices), (r.data, r.indices, r.indptr)
    coo, csr = (c.data, c.row, c.col), (k.data, k.indices, k.indptr)
    order = infos.COOInfo((2, 3), True, False)
    product = {"dimension_numbers": (((1,), (0,)), ((), ())), "preferred_element_type": None}
    rows = {"dimension_numbers": (((1,), (1,)), ((), ())), "preferred_element_type": None}
    x, v = numpy.arange(6.0).reshape(3, 2), numpy.arange(3.0)
    kept = {"nse": 3, "index_dtype": np.int32}
    found = [
        sparse.bcoo_todense_p.bind(*by_coordinates, spinfo=info),
        sparse.bcoo_fromdense_p.bind(dense, n_batch=0, n_dense=0, **kept),
        sparse.bcoo_extract_p.bind(a.indices, 2 * dense, assume_unique=True),
        sparse.bcoo_sort_indices_p.bind(*by_coordinates, spinfo=info),
        sparse.bcoo_sum_duplicates_p.bind(*by_coordinates, spinfo=info, nse=3),
        sparse.bcoo_transpose_p.bind(*by_coordinates, permutation=(1, 0), spinfo=info),
        sparse.bcoo_dot_general_p.bind(*by_coordinates, x, lhs_spinfo=info, **product),
        sparse.bcoo_dot_general_sampled_p.bind(
            x.T, numpy.ones((3, 3)), a.indices, dimension_numbers=product["dimension_numbers"]
        ),
        sparse.BCOO(
            sparse.bcoo_spdot_general_p.bind(
                *by_coordinates, *by_coordinates, lhs_spinfo=info, rhs_spinfo=info, **rows
            ),
            shape=(2, 2),
        ).todense(),
        sparse.bcsr_todense_p.bind(*by_rows, spinfo=info),
        sparse.bcsr_fromdense_p.bind(dense, n_batch=0, n_dense=0, **kept),
        sparse.bcsr_extract_p.bind(r.indices, r.indptr, 2 * dense),
        sparse.bcsr_dot_general_p.bind(*by_rows, x, lhs_spinfo=info, **product),
        sparse.coo_todense_p.bind(*coo, spinfo=order),
        sparse.coo_fromdense_p.bind(dense, **kept),
        sparse.coo_matvec_p.bind(*coo, v, spinfo=order, transpose=False),
        sparse.coo_matmat_p.bind(*coo, x, spinfo=order, transpose=False),
        sparse.csr_todense_p.bind(*csr, shape=(2, 3)),
        sparse.csr_fromdense_p.bind(dense, **kept),
        sparse.csr_matvec_p.bind(*csr, v, shape=(2, 3), transpose=False),
        sparse.csr_matmat_p.bind(*csr, x, shape=(2, 3), transpose=False),
    ]
    return [np.asarray(y) for z in found for y in (z if isinstance(z, (tuple, list)) else [z])]


def test_primitives_of_sparse_arrays() -> None:
    from_jax = SimpleNamespace(SparseInfo=SparseInfo, COOInfo=their_coo.COOInfo)
    want = _bound(their_sparse, theirs.numpy, from_jax)
    got = _bound(our_sparse, jnp, our_sparse_primitives)
    assert len(got) == len(want)
    for ours, wanted in zip(got, want, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-6)
