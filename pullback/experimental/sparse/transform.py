"""`sparsify`: functions of dense arrays applied to sparse ones, operation by operation.

The function is recorded once as a jaxpr, as if its sparse arguments were dense, and the jaxpr is
then evaluated with rules for sparse operands.  What has no rule is an error rather than a dense
array that nobody asked for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import lax, tree
from pullback import numpy as jnp
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.jaxpr import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var
from pullback.core.primitive import registry
from pullback.core.source import replaying
from pullback.experimental.sparse import operations
from pullback.experimental.sparse.base import JAXSparse
from pullback.experimental.sparse.bcoo import BCOO, bcoo_transpose, same_places, unique
from pullback.experimental.sparse.bcsr import BCSR
from pullback.experimental.sparse.products import bcoo_dot_general, bcoo_multiply_sparse
from pullback.transforms.arguments import FlatFunction
from pullback.transforms.staging import stage

__all__ = ["sparse_rule", "sparsify"]

Rule = Callable[..., Any]
_RULES: Final[dict[str, Rule]] = {}


def sparse_rule(*names: str) -> Callable[[Rule], Rule]:
    """Registers `rule(*operands, **params)` for primitives, some of whose operands are sparse."""

    def register(rule: Rule) -> Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return register


def _is_sparse(x: Any) -> bool:
    return isinstance(x, JAXSparse)


def sparsify(f: Callable[..., Any], use_tracer: bool = False) -> Callable[..., Any]:
    """`f` for arguments some of which are BCOO or BCSR arrays.

    Its results are sparse where sparse operands make them so, and NotImplementedError is raised for
    an operation that would make a sparse array dense; `todense` within `f` does so on purpose.
    `use_tracer` changes nothing.

    >>> import pullback.numpy as jnp
    >>> m = BCOO.fromdense(jnp.array([[0.0, 2.0], [3.0, 0.0]]))
    >>> sparsify(lambda m, v: jnp.tanh(2 * m) @ v)(m, jnp.ones(2)).round(3)
    Array([0.999, 1.   ], dtype=float32)
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves, in_tree = tree.flatten((args, kwargs), is_leaf=_is_sparse)
        values = [x.to_bcoo() if isinstance(x, BCSR) else x for x in leaves]
        flat = FlatFunction(f, in_tree)
        closed = stage(flat, [_dense_aval(x) for x in values], description="sparsify")
        outs = _evaluate(closed.jaxpr, closed.consts, values)
        return tree.unflatten(flat.out_tree, outs)

    return wrapped


def _dense_aval(x: Any) -> Any:
    if isinstance(x, BCOO):
        return ShapedArray(x.shape, x.dtype)
    if _is_sparse(x):
        raise NotImplementedError(f"sparsify of {type(x)}; use BCOO or BCSR")
    return aval_of(x)


def _evaluate(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    env: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))
    for eqn in jaxpr.eqns:
        inputs = [v.val if type(v) is Literal else env[v] for v in eqn.invars]
        with replaying(eqn.source_info):
            outs = _apply(eqn, inputs)
        env.update(zip(eqn.outvars, outs, strict=True))
    return [v.val if type(v) is Literal else env[v] for v in jaxpr.outvars]


def _apply(eqn: JaxprEqn, inputs: list[Any]) -> list[Any]:
    """The results of an equation on dense and sparse values."""
    name = eqn.primitive.name
    if not any(_is_sparse(x) for x in inputs):
        outs = eqn.primitive.bind(*inputs, **eqn.params)
    elif name in _RULES:
        outs = _RULES[name](*inputs, **eqn.params)
    else:
        raise NotImplementedError(
            f"sparse rule for {name} is not implemented because it would result in dense output. "
            "If this is your intent, use sparse.todense() to convert your arguments to dense "
            "matrices."
        )
    return list(outs) if eqn.primitive.multiple_results else [outs]


# --------------------------------------------------------------------------- element by element

_LINEAR: Final = ("neg", "real", "imag", "conj", "copy")
_ZERO_AT_ZERO: Final = """
abs asin asinh atan atanh cbrt ceil erf expm1 floor log1p round sign sin sinh sqrt square
stop_gradient tan tanh integer_pow convert_element_type reduce_precision
"""


def _unary(name: str, linear: bool) -> Rule:
    def rule(x: BCOO, **params: Any) -> BCOO:
        if name == "integer_pow" and params["y"] <= 0:
            raise NotImplementedError("powers of sparse arrays: positive exponents only")
        mat = x if linear else unique(x)
        return same_places(mat, registry[name].bind(mat.data, **params))

    return rule


for _name in _LINEAR:
    sparse_rule(_name)(_unary(_name, linear=True))
for _name in _ZERO_AT_ZERO.split():
    sparse_rule(_name)(_unary(_name, linear=False))


@sparse_rule("mul")
def _mul(x: Any, y: Any) -> BCOO:
    if _is_sparse(x) and _is_sparse(y):
        return bcoo_multiply_sparse(x, y)
    mat, dense = (x, y) if _is_sparse(x) else (y, x)
    return same_places(mat, operations.bcoo_multiply_dense(mat, dense))


@sparse_rule("div")
def _div(x: Any, y: Any) -> BCOO:
    if _is_sparse(y):
        raise NotImplementedError("division by a sparse array would divide by zeros")
    return same_places(x, operations.bcoo_multiply_dense(x, 1 / jnp.asarray(y)))


@sparse_rule("add", "add_any")
def _add(x: Any, y: Any) -> Any:
    return x + y if _is_sparse(x) else y + x


@sparse_rule("sub")
def _sub(x: Any, y: Any) -> Any:
    return _add(x, -y)


# --------------------------------------------------------------------------- structure


@sparse_rule("dot_general")
def _dot_general(x: Any, y: Any, **params: Any) -> Any:
    return bcoo_dot_general(
        x,
        y,
        dimension_numbers=params["dimension_numbers"],
        preferred_element_type=params["preferred_element_type"],
    )


@sparse_rule("reduce_sum")
def _reduce_sum(x: BCOO, *, axes: Sequence[int], **_: Any) -> Any:
    found = operations.bcoo_reduce_sum(x, axes=axes)
    return found.todense() if not found.shape else found


@sparse_rule("transpose")
def _transpose(x: BCOO, *, permutation: Sequence[int]) -> BCOO:
    return bcoo_transpose(x, permutation=permutation)


@sparse_rule("reshape")
def _reshape(x: BCOO, *, new_sizes: Any, dimensions: Any, **_: Any) -> BCOO:
    return operations.bcoo_reshape(x, new_sizes=new_sizes, dimensions=dimensions)


@sparse_rule("broadcast_in_dim")
def _broadcast_in_dim(x: BCOO, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> BCOO:
    return operations.bcoo_broadcast_in_dim(
        x, shape=shape, broadcast_dimensions=broadcast_dimensions
    )


@sparse_rule("squeeze")
def _squeeze(x: BCOO, *, dimensions: Sequence[int]) -> BCOO:
    return operations.bcoo_squeeze(x, dimensions=dimensions)


@sparse_rule("rev")
def _rev(x: BCOO, *, dimensions: Sequence[int]) -> BCOO:
    return operations.bcoo_rev(x, dimensions)


@sparse_rule("slice")
def _slice(x: BCOO, **params: Any) -> BCOO:
    return operations.bcoo_slice(x, **params)


@sparse_rule("dynamic_slice")
def _dynamic_slice(x: BCOO, *starts: Any, slice_sizes: Sequence[int], **_: Any) -> BCOO:
    return operations.bcoo_dynamic_slice(x, starts, slice_sizes)


@sparse_rule("gather")
def _gather(x: BCOO, starts: Any, *, dimension_numbers: Any, slice_sizes: Any, **_: Any) -> BCOO:
    return operations.bcoo_gather(x, starts, dimension_numbers, slice_sizes)


@sparse_rule("concatenate")
def _concatenate(*xs: Any, dimension: int) -> BCOO:
    first = next(x for x in xs if _is_sparse(x))
    mats = [
        x
        if _is_sparse(x)
        else BCOO.fromdense(x, nse=_room(x), n_batch=first.n_batch, n_dense=first.n_dense)
        for x in xs
    ]
    return operations.bcoo_concatenate(mats, dimension=dimension)


def _room(x: Any) -> int:
    return int(jnp.size(x))


@sparse_rule("todense")
def _todense(x: BCOO) -> Any:
    return x.todense()


# --------------------------------------------------------------------------- inner programs


def _inner(jaxpr: Any) -> Callable[..., list[Any]]:
    if isinstance(jaxpr, ClosedJaxpr):
        return lambda *args: _evaluate(jaxpr.jaxpr, jaxpr.consts, args)
    return lambda *args: _evaluate(jaxpr, (), args)


@sparse_rule("jit", "remat2")
def _call(*args: Any, jaxpr: Any, **_: Any) -> list[Any]:
    return _inner(jaxpr)(*args)


@sparse_rule("custom_jvp_call", "custom_vjp_call")
def _custom_call(*args: Any, call_jaxpr: Any, **_: Any) -> list[Any]:
    return _inner(call_jaxpr)(*args)


@sparse_rule("cond")
def _cond(index: Any, *args: Any, branches: Sequence[Any]) -> list[Any]:
    outs: list[Any] = lax.switch(index, [_inner(b) for b in branches], *args)
    return outs


@sparse_rule("while")
def _while(
    *args: Any, cond_nconsts: int, cond_jaxpr: Any, body_nconsts: int, body_jaxpr: Any, **_: Any
) -> list[Any]:
    cond_consts, rest = args[:cond_nconsts], args[cond_nconsts:]
    body_consts, start = rest[:body_nconsts], list(rest[body_nconsts:])
    condition, body = _inner(cond_jaxpr), _inner(body_jaxpr)
    outs: list[Any] = lax.while_loop(
        lambda c: condition(*cond_consts, *c)[0], lambda c: body(*body_consts, *c), start
    )
    return outs


@sparse_rule("scan")
def _scan(
    *args: Any, jaxpr: Any, length: int, reverse: bool, num_consts: int, num_carry: int,
    unroll: int, **_: Any,
) -> list[Any]:  # fmt: skip
    consts, start = args[:num_consts], list(args[num_consts : num_consts + num_carry])
    xs = [
        x.update_layout(n_batch=1, on_inefficient=None)
        if isinstance(x, BCOO) and x.n_batch == 0
        else x
        for x in args[num_consts + num_carry :]
    ]
    body = _inner(jaxpr)

    def step(carry: Any, x: Any) -> tuple[Any, Any]:
        outs = body(*consts, *carry, *x)
        return outs[:num_carry], outs[num_carry:]

    carry, ys = lax.scan(step, start, xs, length=length, reverse=reverse, unroll=unroll)
    return [*carry, *ys]
