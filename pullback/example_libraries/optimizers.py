"""`jax.example_libraries.optimizers`: first-order methods as triples of functions.

An optimizer is `(init_fun, update_fun, get_params)`.  Each is written for one array; `optimizer`
makes it work on pytrees, whose states are kept by leaf.

>>> import pullback as pb, pullback.numpy as jnp
>>> init, update, get = sgd(0.5)
>>> loss = lambda p: jnp.sum((p["w"] - 1.0) ** 2)
>>> state = init({"w": jnp.zeros(2)})
>>> state = update(0, pb.grad(loss)(get(state)), state)
>>> get(state)["w"]
Array([1., 1.], dtype=float32)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias, final

from pullback import numpy as jnp
from pullback import tree
from pullback.core.array import Array
from pullback.tree_util import register_pytree_node

__all__ = [
    "Array",
    "InitFn",
    "JoinPoint",
    "Optimizer",
    "OptimizerState",
    "Params",
    "ParamsFn",
    "Schedule",
    "State",
    "Step",
    "UpdateFn",
    "Updates",
    "adagrad",
    "adam",
    "adamax",
    "clip_grads",
    "constant",
    "exponential_decay",
    "inverse_time_decay",
    "l2_norm",
    "make_schedule",
    "momentum",
    "nesterov",
    "optimizer",
    "pack_optimizer_state",
    "piecewise_constant",
    "polynomial_decay",
    "rmsprop",
    "rmsprop_momentum",
    "sgd",
    "sm3",
    "unpack_optimizer_state",
]

Params: TypeAlias = Any
State: TypeAlias = Any
Updates: TypeAlias = Any
Step: TypeAlias = int
Schedule: TypeAlias = Callable[[Any], Any]
InitFn: TypeAlias = Callable[[Any], "OptimizerState"]
UpdateFn: TypeAlias = Callable[[Any, Any, "OptimizerState"], "OptimizerState"]
ParamsFn: TypeAlias = Callable[["OptimizerState"], Any]


class OptimizerState(NamedTuple):
    """The states of all leaves, flat: arrays, the tree of parameters, the trees of states."""

    packed_state: Any
    tree_def: Any
    subtree_defs: Any


register_pytree_node(
    OptimizerState,
    lambda state: ((state.packed_state,), (state.tree_def, state.subtree_defs)),
    lambda static, children: OptimizerState(children[0], *static),
)


class Optimizer(NamedTuple):
    """`init_fn(params)`, `update_fn(step, grads, state)` and `params_fn(state)`."""

    init_fn: InitFn
    update_fn: UpdateFn
    params_fn: ParamsFn


def optimizer(opt_maker: Callable[..., Any]) -> Callable[..., Optimizer]:
    """An optimizer of pytrees from one of arrays.

    >>> @optimizer
    ... def plain(rate):
    ...     return (lambda x: x), (lambda i, g, x: x - rate * g), (lambda x: x)
    >>> init, update, get = plain(1.0)
    >>> get(update(0, (1.0,), init((3.0,))))
    (2.0,)
    """

    @functools.wraps(opt_maker)
    def tree_opt_maker(*args: Any, **kwargs: Any) -> Optimizer:
        init, update, get_params = opt_maker(*args, **kwargs)

        @functools.wraps(init)
        def tree_init(params: Any) -> OptimizerState:
            leaves, tree_def = tree.flatten(params)
            return _packed([init(x) for x in leaves], tree_def)

        @functools.wraps(update)
        def tree_update(i: Any, grads: Any, state: OptimizerState) -> OptimizerState:
            packed, tree_def, subtrees = state
            leaves, given = tree.flatten(grads)
            if given != tree_def:
                raise TypeError(
                    "optimizer update function was passed a gradient tree that did not match the "
                    "parameter tree structure with which it was initialized: parameter tree was "
                    f"{tree_def} and grad tree was {given}."
                )
            states = map(tree.unflatten, subtrees, packed)
            new = [update(i, g, s) for g, s in zip(leaves, states, strict=True)]
            found = _packed(new, tree_def)
            for now, before in zip(found.subtree_defs, subtrees, strict=True):
                if now != before:
                    raise TypeError(
                        "optimizer update function produced an output structure that did not match "
                        f"its input structure: input {before} and output {now}."
                    )
            return found

        @functools.wraps(get_params)
        def tree_get_params(state: OptimizerState) -> Any:
            packed, tree_def, subtrees = state
            return tree.unflatten(tree_def, map(get_params, map(tree.unflatten, subtrees, packed)))

        return Optimizer(tree_init, tree_update, tree_get_params)

    return tree_opt_maker


def _packed(states: Sequence[Any], tree_def: Any) -> OptimizerState:
    flat = [tree.flatten(s) for s in states]
    leaves = tuple(tuple(x) for x, _ in flat)
    return OptimizerState(leaves, tree_def, tuple(d for _, d in flat))


# --------------------------------------------------------------------------- optimizers


@optimizer
def sgd(step_size: Any) -> Any:
    """Gradient descent."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        return x0

    def update(i: Any, g: Any, x: Any) -> Any:
        return x - rate(i) * g

    def get_params(x: Any) -> Any:
        return x

    return init, update, get_params


def _first(state: Any) -> Any:
    return state[0]


@optimizer
def momentum(step_size: Any, mass: float) -> Any:
    """Gradient descent with momentum (Polyak, 1964)."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        return x0, jnp.zeros_like(x0)

    def update(i: Any, g: Any, state: Any) -> Any:
        x, velocity = state
        velocity = mass * velocity + g
        return x - rate(i) * velocity, velocity

    return init, update, _first


@optimizer
def nesterov(step_size: Any, mass: float) -> Any:
    """Nesterov's accelerated gradient (1983)."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        return x0, jnp.zeros_like(x0)

    def update(i: Any, g: Any, state: Any) -> Any:
        x, velocity = state
        velocity = mass * velocity + g
        return x - rate(i) * (mass * velocity + g), velocity

    return init, update, _first


@optimizer
def adagrad(step_size: Any, momentum: float = 0.9) -> Any:
    """Steps divided by the root of the sum of squared gradients (Duchi et al., 2011)."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        return x0, jnp.zeros_like(x0), jnp.zeros_like(x0)

    def update(i: Any, g: Any, state: Any) -> Any:
        x, total, m = state
        total = total + jnp.square(g)
        scaled = jnp.where(total > 0, g / jnp.sqrt(jnp.where(total > 0, total, 1)), 0.0)
        m = (1.0 - momentum) * scaled + momentum * m
        return x - rate(i) * m, total, m

    return init, update, _first


@optimizer
def rmsprop(step_size: Any, gamma: float = 0.9, eps: float = 1e-8) -> Any:
    """Steps divided by the root of a moving average of squared gradients (Hinton, 2012)."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        return x0, jnp.zeros_like(x0)

    def update(i: Any, g: Any, state: Any) -> Any:
        x, average = state
        average = average * gamma + jnp.square(g) * (1.0 - gamma)
        return x - rate(i) * g / jnp.sqrt(average + eps), average

    return init, update, _first


@optimizer
def rmsprop_momentum(
    step_size: Any, gamma: float = 0.9, eps: float = 1e-8, momentum: float = 0.9
) -> Any:
    """`rmsprop` with momentum."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        return x0, jnp.zeros_like(x0), jnp.zeros_like(x0)

    def update(i: Any, g: Any, state: Any) -> Any:
        x, average, m = state
        average = average * gamma + jnp.square(g) * (1.0 - gamma)
        m = momentum * m + rate(i) * g / jnp.sqrt(average + eps)
        return x - m, average, m

    return init, update, _first


@optimizer
def adam(step_size: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Any:
    """Adaptive moments (Kingma and Ba, 2015)."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        return x0, jnp.zeros_like(x0), jnp.zeros_like(x0)

    def update(i: Any, g: Any, state: Any) -> Any:
        x, m, v = state
        m = (1 - b1) * g + b1 * m
        v = (1 - b2) * jnp.square(g) + b2 * v
        mhat = m / (1 - jnp.asarray(b1, m.dtype) ** (i + 1))
        vhat = v / (1 - jnp.asarray(b2, m.dtype) ** (i + 1))
        return x - rate(i) * mhat / (jnp.sqrt(vhat) + eps), m, v

    return init, update, _first


@optimizer
def adamax(step_size: Any, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Any:
    """Adam with the largest gradient in place of the root mean square (Kingma and Ba, 2015)."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        return x0, jnp.zeros_like(x0), jnp.zeros_like(x0)

    def update(i: Any, g: Any, state: Any) -> Any:
        x, m, v = state
        m = (1 - b1) * g + b1 * m
        v = jnp.maximum(b2 * v, jnp.abs(g))
        unbiased = rate(i) / (1 - jnp.asarray(b1, m.dtype) ** (i + 1))
        return x - unbiased * m / (v + eps), m, v

    return init, update, _first


def _along(vector: Any, axis: int, ndim: int) -> Any:
    return vector.reshape([-1 if k == axis else 1 for k in range(ndim)])


@optimizer
def sm3(step_size: Any, momentum: float = 0.9) -> Any:
    """Adagrad with one accumulator for each row, column, ... of an array (Anil et al., 2019)."""
    rate = make_schedule(step_size)

    def init(x0: Any) -> Any:
        x0 = jnp.asarray(x0)
        wide = jnp.atleast_1d(x0)
        return x0, jnp.zeros_like(x0), [jnp.zeros(n, x0.dtype) for n in wide.shape]

    def update(i: Any, g: Any, state: Any) -> Any:
        x, m, rows = state
        wide = jnp.atleast_1d(g)
        ndim = wide.ndim
        total = functools.reduce(jnp.minimum, [_along(v, k, ndim) for k, v in enumerate(rows)])
        total = total + jnp.square(wide)
        scaled = jnp.where(total > 0, wide / jnp.sqrt(jnp.where(total > 0, total, 1)), 0.0)
        m = (1.0 - momentum) * scaled.reshape(m.shape) + momentum * m
        others = [tuple(j for j in range(ndim) if j != k) for k in range(ndim)]
        return x - rate(i) * m, m, [jnp.max(total, axis=axes) for axes in others]

    return init, update, _first


# --------------------------------------------------------------------------- schedules


def constant(step_size: Any) -> Schedule:
    """The same step size always."""

    def schedule(i: Any) -> Any:
        return step_size

    return schedule


def exponential_decay(step_size: Any, decay_steps: Any, decay_rate: Any) -> Schedule:
    """step_size decay_rate^(i / decay_steps).

    >>> exponential_decay(1.0, 2, 0.25)(1)
    0.5
    """

    def schedule(i: Any) -> Any:
        return step_size * decay_rate ** (i / decay_steps)

    return schedule


def inverse_time_decay(
    step_size: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False
) -> Schedule:
    """step_size / (1 + decay_rate i / decay_steps), in steps with `staircase`."""

    def schedule(i: Any) -> Any:
        ratio = jnp.floor(i / decay_steps) if staircase else i / decay_steps
        return step_size / (1 + decay_rate * ratio)

    return schedule


def polynomial_decay(
    step_size: Any, decay_steps: Any, final_step_size: Any, power: Any = 1.0
) -> Schedule:
    """From `step_size` to `final_step_size` in `decay_steps`, as a power of what is left."""

    def schedule(step: Any) -> Any:
        step = jnp.minimum(step, decay_steps)
        left = (1 - step / decay_steps) ** power
        return left * (step_size - final_step_size) + final_step_size

    return schedule


def piecewise_constant(boundaries: Any, values: Any) -> Schedule:
    """`values[k]` after the k-th of the `boundaries`; there is one value more than boundaries.

    >>> piecewise_constant([10], [1.0, 0.1])(20)
    Array(0.1, dtype=float32)
    """
    boundaries, values = jnp.array(boundaries), jnp.array(values)
    if not boundaries.ndim == values.ndim == 1:
        raise ValueError("boundaries and values must be sequences")
    if boundaries.shape[0] != values.shape[0] - 1:
        raise ValueError("boundaries length must be one shorter than values length")

    def schedule(i: Any) -> Any:
        return values[jnp.sum(i > boundaries)]

    return schedule


def make_schedule(scalar_or_schedule: Any) -> Schedule:
    """A schedule from a scalar; a schedule as it is; TypeError for something else."""
    if callable(scalar_or_schedule):
        return scalar_or_schedule  # type: ignore[no-any-return]
    if jnp.ndim(scalar_or_schedule) == 0:
        return constant(scalar_or_schedule)
    raise TypeError(type(scalar_or_schedule))


# --------------------------------------------------------------------------- gradients, states


_leaves = tree.leaves


def l2_norm(tree: Any) -> Any:
    """The Euclidean norm of all leaves together.

    >>> import pullback.numpy as jnp
    >>> l2_norm((jnp.array([3.0]), jnp.array([4.0])))
    Array(5., dtype=float32)
    """
    return jnp.sqrt(sum(jnp.vdot(x, x) for x in _leaves(tree)))


def clip_grads(grad_tree: Any, max_norm: Any) -> Any:
    """Gradients scaled down to a norm of `max_norm` where it is larger."""
    norm = l2_norm(grad_tree)
    return tree.map(lambda g: jnp.where(norm < max_norm, g, g * (max_norm / norm)), grad_tree)


@final
class JoinPoint:
    """Marks where the state of one leaf stands in a tree of parameters."""

    def __init__(self, subtree: Any) -> None:
        self.subtree = subtree

    def __iter__(self) -> Any:
        yield self.subtree


def unpack_optimizer_state(opt_state: OptimizerState) -> Any:
    """The state as a tree of parameters with a `JoinPoint` for each leaf, for serialisation."""
    packed, tree_def, subtrees = opt_state
    states = map(tree.unflatten, subtrees, packed)
    return tree.unflatten(tree_def, [JoinPoint(s) for s in states])


def pack_optimizer_state(marked_pytree: Any) -> OptimizerState:
    """The state from what `unpack_optimizer_state` gave."""
    sentinels, tree_def = tree.flatten(marked_pytree)
    if not all(isinstance(s, JoinPoint) for s in sentinels):
        raise TypeError("pack_optimizer_state takes a tree whose leaves are JoinPoints")
    return _packed([s.subtree for s in sentinels], tree_def)
