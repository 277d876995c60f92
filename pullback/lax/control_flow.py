"""Control flow for users: loops and branches on pytrees."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from pullback import config, tree
from pullback.control.cond import bind_cond
from pullback.control.invariants import run_scan, run_while
from pullback.control.policies import Binomial
from pullback.core import dtypes
from pullback.core.array import Array
from pullback.core.avals import ShapedArray, aval_of
from pullback.core.dimensions import as_length, is_symbolic
from pullback.core.jaxpr import ClosedJaxpr, DebugInfo, eval_jaxpr
from pullback.core.refs import check_aliases
from pullback.core.source import describe_function
from pullback.core.trace import concrete_or_error, is_concrete
from pullback.core.tracebacks import api_boundary
from pullback.errors import shapes_text
from pullback.lax.arithmetic import add
from pullback.ops import conversion, elementwise
from pullback.ops.dimensions import dim_as_value
from pullback.runtime.dispatch import to_array
from pullback.transforms.arguments import FlatFunction, check_callable, check_operand, function_name
from pullback.transforms.mapping import vmap
from pullback.transforms.shaping import concatenate_rows, reshape_to, row, stack_rows
from pullback.transforms.shaping import rows as rows_of
from pullback.transforms.staging import stage

_MOST_STEPS: Final = np.iinfo(np.int32).max

_LENGTH_OF_SCAN: Final = (
    "The `length` argument to `scan` expects a concrete `int` value. For scan-like iteration with "
    "a dynamic length, use `while_loop` or `fori_loop`."
)

__all__ = ["cond", "fori_loop", "map", "scan", "switch", "while_loop"]


def _stage(fun: Callable[..., Any], in_tree: Any, avals: Sequence[Any]) -> tuple[ClosedJaxpr, Any]:
    """The jaxpr of a function on pytrees, and the structure of its result."""
    flat = FlatFunction(fun, in_tree)
    info = DebugInfo("loop", function_name(fun))
    closed = stage(flat, avals, description=describe_function(fun), debug_info=info)
    return closed, flat.out_tree


def _operands(value: Any, name: str) -> tuple[list[Any], Any]:
    leaves, structure = tree.flatten(value)
    for x in leaves:
        check_operand(x, name)
    check_aliases(name, (), leaves)
    return leaves, structure


def _with_aval(x: Any, aval: Any) -> Any:
    """`x` converted to a stronger type that the loop needs."""
    if aval_of(x) is aval:
        return x
    if isinstance(x, (bool, int, float, complex, np.generic)) and not aval.weak_type:
        return np.asarray(x, aval.dtype)
    return conversion.convert_element_type(x, new_dtype=aval.dtype, weak_type=aval.weak_type)


_WIDER_KINDS: Final = {"b": "b", "i": "iufc", "u": "iufc", "f": "fc", "c": "c"}


def _yields_to(weak: Any, out: ShapedArray) -> bool:
    """Whether a weakly typed value of dtype `weak` takes the type `out`."""
    if out.weak_type:
        return bool(dtypes.promote_types(weak, out.dtype) == out.dtype)
    return dtypes.kind_of(out.dtype) in _WIDER_KINDS[dtypes.kind_of(weak)]


def _promote_weak(init: list[Any], out_avals: Sequence[Any]) -> tuple[list[Any], bool]:
    """Weakly typed initial values take the dtype that the body gives them.

    Where it is their own they stay weak in the body: only what the loop returns is as strong as
    what the body returns.
    """
    changed = False
    result = []
    for x, out in zip(init, out_avals, strict=True):
        aval = aval_of(x)
        other = aval.weak_type and out.shape == aval.shape and out.dtype != aval.dtype
        if other and _yields_to(aval.dtype, out):
            result.append(_with_aval(x, ShapedArray(aval.shape, out.dtype, False)))
            changed = True
        else:
            result.append(x)
    return result, changed


def _check_carry(
    name: str, fun: Any, carry: Any, out_tree: Any, in_tree: Any, outs: Sequence[Any], init: Any
) -> None:
    """Raise unless the carry has the same structure and types before and after the body."""
    if out_tree != in_tree:
        raise TypeError(
            f"{name} body function carry input and carry output must have the same pytree "
            f"structure, but they differ: {describe_function(fun)} was given {in_tree} and "
            f"returned {out_tree}"
        )
    paths = [path for path, _ in tree.leaves_with_path(carry)]
    problems = [
        f"  carry{tree.keystr(path)}: {aval_of(x)} before the body, {out} after it"
        for path, x, out in zip(paths, init, outs, strict=True)
        if aval_of(x).shape != out.shape or aval_of(x).dtype != out.dtype
    ]
    if problems:
        raise TypeError(
            f"{name} body function carry input and carry output must have equal types, but they "
            f"differ. {describe_function(fun)} changes them:\n" + "\n".join(problems)
        )


@api_boundary
def scan(
    f: Callable[[Any, Any], tuple[Any, Any]],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
    *,
    remat: Binomial | None = None,
) -> tuple[Any, Any]:
    """Run `carry, y = f(carry, x)` over the rows of `xs`; the final carry and the stacked ys.

    `xs` is a pytree of arrays with the same first axis, or None together with `length`. The carry
    keeps its structure, shapes and dtypes. With `reverse` the last row comes first.

    Reverse mode stacks what each step's derivative needs, row by row. With
    `remat=checkpoint_policies.binomial(slots)` it stores `slots` carries at a time instead, and
    computes the others again.

    >>> import pullback.numpy as jnp
    >>> from pullback import lax
    >>> total, sums = lax.scan(lambda c, x: (c + x, c + x), 0.0, jnp.arange(3.0))
    >>> float(total), sums.tolist()
    (3.0, [0.0, 1.0, 3.0])
    """
    check_callable(f, "scan")
    xs_leaves, xs_tree = _operands(xs, "scan")
    if isinstance(unroll, int) and unroll < 0:
        raise ValueError(f"scan: `unroll` must be a `bool` or a non-negative `int`, got {unroll}.")
    length = _scan_length(xs_leaves, length)
    init_leaves, init_tree = _operands(init, "scan")
    row_avals = [aval_of(x).update(shape=aval_of(x).shape[1:]) for x in xs_leaves]
    if config.disable_jit() and length:
        return _scan_in_python(f, init, xs_leaves, xs_tree, length, reverse)
    in_tree = tree.structure(((init, _rows_like(xs_tree)), {}))
    for _ in range(2):
        avals = [aval_of(x) for x in init_leaves] + row_avals
        closed, out_tree = _stage(f, in_tree, avals)
        children = out_tree.children()
        if len(children) != 2 or out_tree.node_data()[0] is not tuple:
            raise TypeError(
                f"scan body output must be a pair (carry, y), got {out_tree} from "
                f"{describe_function(f)}"
            )
        n = children[0].num_leaves
        if children[0] != init_tree:
            break
        init_leaves, changed = _promote_weak(init_leaves, closed.out_avals[:n])
        if not changed:
            break
    carry = init_tree.unflatten(init_leaves)
    _check_carry("scan", f, carry, children[0], init_tree, closed.out_avals[:n], init_leaves)
    outs = run_scan(
        closed,
        init_leaves,
        xs_leaves,
        length=length,
        reverse=bool(reverse),
        unroll=length if unroll is True else int(unroll),
        _split_transpose=_split_transpose,
        remat=_checked_policy("scan", remat),
    )
    return children[0].unflatten(outs[:n]), children[1].unflatten(outs[n:])


def _rows_like(structure: Any) -> Any:
    return structure.unflatten([0] * structure.num_leaves)


def _scan_length(xs: Sequence[Any], length: Any) -> Any:
    sizes = set()
    for x in xs:
        shape = aval_of(x).shape
        if not shape:
            raise ValueError(f"scan got value with no leading axis to scan over: {aval_of(x)}.")
        sizes.add(shape[0])
    if length is not None:
        length = concrete_or_error(None, length, _LENGTH_OF_SCAN)
        try:
            length = as_length(length)
        except TypeError:
            raise TypeError(f"scan: length must be an integer, got {length!r}") from None
        if any(n != length for n in sizes):
            raise ValueError(
                f"scan got `length` argument of {length} which disagrees with leading axis sizes "
                f"{sorted(sizes)}."
            )
        return length
    if not sizes:
        raise ValueError("scan got no values to scan over and `length` not provided.")
    if len(sizes) > 1:
        raise ValueError(
            "scan got values with different leading axis sizes: "
            f"{shapes_text([aval_of(x) for x in xs])}."
        )
    return as_length(sizes.pop())


def _scan_in_python(
    f: Any, carry: Any, xs: Sequence[Any], xs_tree: Any, length: int, reverse: bool
) -> tuple[Any, Any]:
    ys: list[Any] = []
    for i in reversed(range(length)) if reverse else range(length):
        x = xs_tree.unflatten([row(leaf, i) for leaf in xs])
        carry, y = f(carry, x)
        ys.append(y)
    if reverse:
        ys.reverse()
    stacked = tree.map(lambda *rows: stack_rows(rows), *ys)
    return carry, stacked


def _while_in_python(cond_fun: Any, body_fun: Any, value: Any) -> tuple[Any, bool]:
    """The value at the end, and whether it was reached: not if a predicate is traced."""
    while True:
        value = tree.map(lambda x: x if isinstance(x, Array) else to_array(x), value)
        going = cond_fun(value)
        if not is_concrete(going):
            return value, False
        if not going:
            return value, True
        value = body_fun(value)


@api_boundary
def while_loop(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    *,
    max_steps: int | None = None,
    remat: Binomial | None = None,
) -> Any:
    """Run `val = body_fun(val)` while `cond_fun(val)` is true; the final value.

    The value keeps its structure, shapes and dtypes. With `max_steps` the loop ends after so many
    steps at the latest.

    Reverse mode works through it although the number of steps is not known. The backward pass runs
    the loop once more, storing some of the values on the way, and then goes back step by step,
    computing again what was not stored (A. Griewank and A. Walther, "Algorithm 799: Revolve", ACM
    TOMS 26, 2000; for a number of steps that is not known, P. Stumm and A. Walther, SIAM J. Sci.
    Comput. 32, 2010). Memory is bounded: `remat=checkpoint_policies.binomial(slots)` says how many
    values are stored at a time; otherwise 32, or up to 1024 if they are small (64 KiB in all), and
    no more than `max_steps`, if enough of them to compute each step at most about twice again.
    With n steps and s slots each step is computed again about r times, where C(s + r, s) = n: not
    at all more for n <= s / 2, and a number that grows like log n. Steps are counted in 32 bits.
    Effects of a step happen once: computed again, it calls back no more.

    >>> from pullback import grad, lax
    >>> int(lax.while_loop(lambda n: n < 10, lambda n: 2 * n, 1))
    16
    >>> float(grad(lambda x: lax.while_loop(lambda y: y < 10.0, lambda y: y * y, x))(2.0))
    32.0
    """
    check_callable(cond_fun, "while_loop")
    check_callable(body_fun, "while_loop")
    if max_steps is None:
        return _while_loop(cond_fun, body_fun, init_val, None, remat)
    most = operator.index(max_steps)
    if not 0 <= most <= _MOST_STEPS:
        raise ValueError(f"while_loop: max_steps must be from 0 to {_MOST_STEPS}, got {max_steps}")
    _, value = _while_loop(
        lambda counted: elementwise.and_(
            elementwise.lt(counted[0], np.int32(most)), cond_fun(counted[1])
        ),
        lambda counted: (elementwise.add(counted[0], np.int32(1)), body_fun(counted[1])),
        (np.int32(0), init_val),
        most,
        remat,
    )
    return value


def _checked_policy(name: str, remat: Any) -> Binomial | None:
    if remat is not None and not isinstance(remat, Binomial):
        raise TypeError(
            f"{name}: remat must be a policy for loops, checkpoint_policies.binomial(...), got "
            f"{remat!r}. Other policies are those of jax.checkpoint, applied to the body."
        )
    return remat


def _while_loop(
    cond_fun: Callable[[Any], Any],
    body_fun: Callable[[Any], Any],
    init_val: Any,
    max_steps: int | None,
    remat: Any,
) -> Any:
    """A loop that ends by itself; after `max_steps` at the latest, if that is not None."""
    remat = _checked_policy("while_loop", remat)
    init, init_tree = _operands(init_val, "while_loop")
    if config.disable_jit():
        value, finished = _while_in_python(cond_fun, body_fun, init_tree.unflatten(init))
        if finished:
            return value
    in_tree = tree.structure(((init_val,), {}))
    for _ in range(2):
        avals = [aval_of(x) for x in init]
        body, body_tree = _stage(body_fun, in_tree, avals)
        if body_tree != init_tree:
            break
        init, changed = _promote_weak(init, body.out_avals)
        if not changed:
            break
    value = init_tree.unflatten(init)
    _check_carry("while_loop", body_fun, value, body_tree, init_tree, body.out_avals, init)
    avals = [aval_of(x) for x in init]
    cond, cond_tree = _stage(cond_fun, in_tree, avals)
    out = cond.out_avals
    if cond_tree != tree.structure(0) or out[0].shape != () or out[0].dtype != np.bool_:
        raise TypeError(
            "cond_fun must return a boolean scalar, but got "
            f"{cond_tree.unflatten(out)} from {describe_function(cond_fun)}"
        )
    return init_tree.unflatten(run_while(cond, body, init, max_steps, remat))


@api_boundary
def fori_loop(
    lower: Any,
    upper: Any,
    body_fun: Callable[[Any, Any], Any],
    init_val: Any,
    *,
    unroll: Any = None,
    max_steps: int | None = None,
    remat: Binomial | None = None,
) -> Any:
    """Run `val = body_fun(i, val)` for i from `lower` to `upper - 1`; the final value.

    With bounds that are known it is a `scan`, and i is weakly typed as a Python int is; with traced
    ones it is a `while_loop` and i has their type. Reverse mode works through both, and `remat` is
    passed on. It ends after `max_steps` at the latest.

    >>> from pullback import lax
    >>> int(lax.fori_loop(0, 5, lambda i, total: total + i, 0))
    10
    """
    check_callable(body_fun, "fori_loop")
    for bound in (lower, upper):
        check_operand(bound, "fori_loop", "bound")
        if aval_of(bound).shape != () or not dtypes.issubdtype(aval_of(bound).dtype, np.integer):
            raise TypeError(
                "lower and upper arguments to fori_loop must be integer scalars of equal types, "
                f"got {aval_of(bound)}"
            )
    lower, upper = (dim_as_value.bind(dim=x) if is_symbolic(x) else x for x in (lower, upper))
    if is_concrete(lower) and is_concrete(upper):
        first, count = int(lower), max(int(upper) - int(lower), 0)
        count = count if max_steps is None else min(count, max_steps)

        def step(carry: Any, _: Any) -> Any:
            i, value = carry
            return (add(i, 1), body_fun(i, value)), None

        (_, result), _ = scan(
            step,
            (to_array(first), init_val),
            None,
            length=count,
            unroll=1 if unroll is None else unroll,
            remat=remat,
        )
        return result
    dtype = dtypes.result_type(lower, upper)
    lower, upper = (
        x if aval_of(x).dtype == dtype else _with_aval(x, ShapedArray((), dtype))
        for x in (lower, upper)
    )
    one = 1 if aval_of(lower).weak_type else dtype.type(1)
    if max_steps is not None:
        upper = elementwise.min_(upper, elementwise.add(lower, dtype.type(max_steps)))
    result = _while_loop(
        lambda carry: elementwise.lt(carry[0], carry[1]),
        lambda carry: (
            add(carry[0], one),
            carry[1],
            body_fun(carry[0], carry[2]),
        ),
        (lower, upper, init_val),
        max_steps,
        remat,
    )
    return result[2]


@api_boundary
def cond(
    pred: Any,
    true_fun: Callable[..., Any],
    false_fun: Callable[..., Any],
    *operands: Any,
    operand: Any = ...,
) -> Any:
    """The result of `true_fun(*operands)` if `pred` is true, of `false_fun(*operands)` otherwise.

    Only one of them runs. Both must return the same structure, shapes and dtypes. `pred` is a
    scalar: a bool or a number, true unless zero.

    >>> from pullback import lax
    >>> float(lax.cond(True, lambda x: x + 1.0, lambda x: x - 1.0, 3.0))
    4.0

    The older form `cond(pred, true_operand, true_fun, false_operand, false_fun)` gives each
    function an operand of its own.
    """
    if not callable(true_fun) and len(operands) == 2 and callable(operands[1]):
        own = (true_fun, operands[0])
        true_fun, false_fun = _of_one(0, false_fun), _of_one(1, operands[1])
        return cond(pred, true_fun, false_fun, own)
    check_callable(true_fun, "cond")
    check_callable(false_fun, "cond")
    operands = _given_operands(operands, operand, "cond")
    check_operand(pred, "cond", "predicate")
    aval = aval_of(pred)
    if aval.shape != ():
        raise TypeError(
            f"Pred must be a scalar, got {aval} for cond. For a choice element by element use "
            "jnp.where or lax.select."
        )
    if config.disable_jit() and is_concrete(pred):
        return true_fun(*operands) if pred else false_fun(*operands)
    if aval.dtype != np.bool_:
        pred = elementwise.ne(pred, np.zeros((), aval.dtype))
    index = _with_aval(pred, ShapedArray((), np.int32))
    return _switch(index, [false_fun, true_fun], operands, "cond")


def _of_one(i: int, fun: Callable[..., Any]) -> Callable[..., Any]:
    """`fun` of one of several operands."""
    check_callable(fun, "cond")
    return lambda operands: fun(operands[i])


def _given_operands(operands: tuple[Any, ...], operand: Any, name: str) -> tuple[Any, ...]:
    if operand is ...:
        return operands
    if operands:
        raise TypeError(
            f"{name}: with the keyword `operand` there are no positional operands, got {operands}"
        )
    return (operand,)


@api_boundary
def switch(
    index: Any, branches: Sequence[Callable[..., Any]], *operands: Any, operand: Any = ...
) -> Any:
    """The result of `branches[index](*operands)`; the index is clamped to the branches there are.

    >>> from pullback import lax
    >>> float(lax.switch(1, [lambda x: x, lambda x: x * x], 3.0))
    9.0
    """
    operands = _given_operands(operands, operand, "switch")
    for branch in branches:
        check_callable(branch, "switch")
    if not branches:
        raise ValueError("Empty branch sequence: switch needs at least one")
    check_operand(index, "switch", "index")
    aval = aval_of(index)
    if aval.shape != ():
        raise TypeError(f"Branch index must be scalar, got {aval} for switch.")
    if not dtypes.issubdtype(aval.dtype, np.integer):
        raise TypeError(f"Index type must be an integer, got {aval} for switch.")
    if len(branches) == 1:
        return branches[0](*operands)
    if config.disable_jit() and is_concrete(index):
        return branches[max(0, min(int(index), len(branches) - 1))](*operands)
    index = _with_aval(index, ShapedArray((), np.int32))
    index = elementwise.clamp(np.int32(0), index, np.int32(len(branches) - 1))
    return _switch(index, branches, operands, "switch")


def _switch(index: Any, branches: Sequence[Any], operands: Sequence[Any], name: str) -> Any:
    leaves, in_tree = _operands((tuple(operands), {}), name)
    avals = [aval_of(x) for x in leaves]
    once = {id(b): _stage(b, in_tree, avals) for b in {id(b): b for b in branches}.values()}
    staged = [once[id(b)] for b in branches]
    out_tree = staged[0][1]
    for fun, (_, other) in zip(branches, staged, strict=True):
        if other != out_tree:
            raise TypeError(
                f"{name} branch outputs must have the same pytree structure, but they differ: "
                f"{describe_function(branches[0])} returns {out_tree} and "
                f"{describe_function(fun)} returns {other}"
            )
    closed = _same_types(name, branches, [c for c, _ in staged], out_tree)
    return out_tree.unflatten(bind_cond(index, closed, leaves))


def _same_types(
    name: str, branches: Sequence[Any], staged: Sequence[ClosedJaxpr], out_tree: Any
) -> list[ClosedJaxpr]:
    """The branches with results weakly typed where those of all branches are."""
    wanted = list(staged[0].out_avals)
    paths = [p for p, _ in tree.leaves_with_path(out_tree.unflatten(range(len(wanted))))]
    for fun, closed in zip(branches, staged, strict=True):
        for i, aval in enumerate(closed.out_avals):
            now = wanted[i]
            if now.shape == aval.shape and now.dtype == aval.dtype:
                strong = aval if now.weak_type else now
                wanted[i] = strong
                continue
            raise TypeError(
                f"{name} branches must have equal output types but they differ. At result"
                f"{tree.keystr(paths[i])} {describe_function(branches[0])} returns {now} and "
                f"{describe_function(fun)} returns {aval}"
            )
    return [_converted(c, wanted) for c in staged]


def _converted(closed: ClosedJaxpr, wanted: Sequence[Any]) -> ClosedJaxpr:
    if all(a is w for a, w in zip(closed.out_avals, wanted, strict=True)):
        return closed

    def fun(*args: Any) -> list[Any]:
        outs = eval_jaxpr(closed.jaxpr, closed.consts, *args)
        return [_with_aval(x, w) for x, w in zip(outs, wanted, strict=True)]

    return stage(fun, closed.in_avals, description="a branch")


@api_boundary
def map(f: Callable[[Any], Any], xs: Any, *, batch_size: int | None = None) -> Any:
    """`f` applied to each row of `xs`, one after the other; the stacked results.

    >>> import pullback.numpy as jnp
    >>> from pullback import lax
    >>> lax.map(lambda x: x * x, jnp.arange(3)).tolist()
    [0, 1, 4]
    """
    check_callable(f, "map")
    if batch_size is not None:
        return _map_in_batches(f, xs, batch_size)
    _, ys = scan(lambda _, x: ((), f(x)), (), xs)
    return ys


def _map_in_batches(f: Callable[[Any], Any], xs: Any, batch_size: int) -> Any:
    """Whole batches by a scan over vmap, the rest by one more vmap."""
    leaves, structure = _operands(xs, "map")
    length = _scan_length(leaves, None)
    n_batches, rest = divmod(length, batch_size)
    whole = n_batches * batch_size
    parts = []
    if n_batches:
        rows = [
            reshape_to(rows_of(x, 0, whole), (n_batches, batch_size, *aval_of(x).shape[1:]))
            for x in leaves
        ]
        _, ys = scan(lambda _, x: ((), vmap(f)(x)), (), structure.unflatten(rows))
        parts.append(tree.map(lambda y: reshape_to(y, (whole, *aval_of(y).shape[2:])), ys))
    if rest:
        tail = [rows_of(x, whole, length) for x in leaves]
        parts.append(vmap(f)(structure.unflatten(tail)))
    return tree.map(lambda *ys: concatenate_rows(ys), *parts)
