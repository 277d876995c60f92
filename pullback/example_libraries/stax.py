"""`jax.example_libraries.stax`: neural networks as pairs of functions.

A layer is `(init_fun, apply_fun)`: `init_fun(rng, input_shape)` gives the shape of the output and
the parameters, `apply_fun(params, inputs, **kwargs)` the output; `rng=` is handed on to layers that
draw.

>>> import pullback as pb
>>> init, apply = serial(Dense(4), Relu, Dense(2))
>>> shape, params = init(pb.random.key(0), (-1, 3))
>>> shape, apply(params, pb.numpy.ones((5, 3))).shape
((-1, 2), (5, 2))
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Final

from pullback import lax, random
from pullback import numpy as jnp
from pullback.nn import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    relu,
    selu,
    sigmoid,
    softmax,
    softplus,
    standardize,
)
from pullback.nn.initializers import glorot_normal, normal, ones, zeros

__all__ = [
    "AvgPool",
    "BatchNorm",
    "Conv",
    "Conv1DTranspose",
    "ConvTranspose",
    "Dense",
    "Dropout",
    "Elu",
    "Exp",
    "FanInConcat",
    "FanInSum",
    "FanOut",
    "Flatten",
    "Gelu",
    "GeneralConv",
    "GeneralConvTranspose",
    "Identity",
    "LeakyRelu",
    "LogSoftmax",
    "MaxPool",
    "Relu",
    "Selu",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "SumPool",
    "Tanh",
    "elementwise",
    "elu",
    "gelu",
    "glorot",
    "glorot_normal",
    "leaky_relu",
    "log_softmax",
    "logsoftmax",
    "normal",
    "ones",
    "parallel",
    "randn",
    "relu",
    "selu",
    "serial",
    "shape_dependent",
    "sigmoid",
    "softmax",
    "softplus",
    "standardize",
    "zeros",
]

Layer = tuple[Callable[..., Any], Callable[..., Any]]

# Older names of functions.
glorot = glorot_normal
randn = normal
logsoftmax = log_softmax


_GLOROT: Final = glorot_normal()
_NORMAL: Final = normal()
_SMALL: Final = normal(1e-6)


def Dense(out_dim: int, W_init: Any = _GLOROT, b_init: Any = _NORMAL) -> Layer:
    """A matrix of weights and a bias on the last axis."""

    def init_fun(rng: Any, input_shape: Sequence[int]) -> Any:
        k1, k2 = random.split(rng)
        weights, bias = W_init(k1, (input_shape[-1], out_dim)), b_init(k2, (out_dim,))
        return (*input_shape[:-1], out_dim), (weights, bias)

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        weights, bias = params
        return jnp.dot(inputs, weights) + bias

    return init_fun, apply_fun


# --------------------------------------------------------------------------- convolutions


def _kernel_shape(
    rhs_spec: str, out_chan: int, in_chan: int, filter_shape: Sequence[int]
) -> tuple[int, ...]:
    sizes = iter(filter_shape)
    channels = {"O": out_chan, "I": in_chan}
    return tuple(channels[c] if c in channels else next(sizes) for c in rhs_spec)


def _convolution(
    dimension_numbers: Any,
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Any,
    padding: Any,
    W_init: Any,
    b_init: Any,
    out_shape: Callable[..., Any],
    convolve: Callable[..., Any],
) -> Layer:
    lhs_spec, rhs_spec, out_spec = dimension_numbers
    steps = tuple(strides or (1,) * len(filter_shape))
    weights_init = W_init or glorot_normal(rhs_spec.index("I"), rhs_spec.index("O"))

    def init_fun(rng: Any, input_shape: Sequence[int]) -> Any:
        kernel = _kernel_shape(rhs_spec, out_chan, input_shape[lhs_spec.index("C")], filter_shape)
        bias = tuple(out_chan if c == "C" else 1 for c in out_spec)
        k1, k2 = random.split(rng)
        params = weights_init(k1, kernel), b_init(k2, bias)
        shape = out_shape(tuple(input_shape), kernel, steps, padding, dimension_numbers)
        return tuple(operator.index(n) for n in shape), params

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        weights, bias = params
        return convolve(inputs, weights, steps, padding, dimension_numbers=dimension_numbers) + bias

    return init_fun, apply_fun


def GeneralConv(
    dimension_numbers: Any,
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Any = None,
    padding: Any = "VALID",
    W_init: Any = None,
    b_init: Any = _SMALL,
) -> Layer:
    """A convolution with layouts such as ("NHWC", "HWIO", "NHWC"), and a bias."""
    return _convolution(
        dimension_numbers,
        out_chan,
        filter_shape,
        strides,
        padding,
        W_init,
        b_init,
        lax.conv_general_shape_tuple,
        lax.conv_general_dilated,
    )


Conv = functools.partial(GeneralConv, ("NHWC", "HWIO", "NHWC"))


def GeneralConvTranspose(
    dimension_numbers: Any,
    out_chan: int,
    filter_shape: Sequence[int],
    strides: Any = None,
    padding: Any = "VALID",
    W_init: Any = None,
    b_init: Any = _SMALL,
) -> Layer:
    """A transposed convolution, and a bias."""
    return _convolution(
        dimension_numbers,
        out_chan,
        filter_shape,
        strides,
        padding,
        W_init,
        b_init,
        lax.conv_transpose_shape_tuple,
        lax.conv_transpose,
    )


Conv1DTranspose = functools.partial(GeneralConvTranspose, ("NHC", "HIO", "NHC"))
ConvTranspose = functools.partial(GeneralConvTranspose, ("NHWC", "HWIO", "NHWC"))


# --------------------------------------------------------------------------- normalisation


def BatchNorm(
    axis: Any = (0, 1, 2),
    epsilon: float = 1e-5,
    center: bool = True,
    scale: bool = True,
    beta_init: Any = zeros,
    gamma_init: Any = ones,
) -> Layer:
    """Standardisation over `axis`, then a shift and a scale learned for the other axes."""
    axis = (axis,) if jnp.isscalar(axis) else tuple(axis)

    def init_fun(rng: Any, input_shape: Sequence[int]) -> Any:
        shape = tuple(n for k, n in enumerate(input_shape) if k not in axis)
        k1, k2 = random.split(rng)
        beta = beta_init(k1, shape) if center else ()
        gamma = gamma_init(k2, shape) if scale else ()
        return input_shape, (beta, gamma)

    def apply_fun(params: Any, x: Any, **kwargs: Any) -> Any:
        beta, gamma = params
        spread = tuple(None if k in axis else slice(None) for k in range(jnp.ndim(x)))
        z = standardize(x, axis, epsilon=epsilon)
        z = gamma[spread] * z if scale else z
        return z + beta[spread] if center else z

    return init_fun, apply_fun


# --------------------------------------------------------------------------- element-wise


def elementwise(fun: Callable[..., Any], **fun_kwargs: Any) -> Layer:
    """A layer without parameters that applies a function."""

    def init_fun(rng: Any, input_shape: Any) -> Any:
        return input_shape, ()

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return fun(inputs, **fun_kwargs)

    return init_fun, apply_fun


Tanh = elementwise(jnp.tanh)
Relu = elementwise(relu)
Exp = elementwise(jnp.exp)
LogSoftmax = elementwise(log_softmax, axis=-1)
Softmax = elementwise(softmax, axis=-1)
Softplus = elementwise(softplus)
Sigmoid = elementwise(sigmoid)
Elu = elementwise(elu)
LeakyRelu = elementwise(leaky_relu)
Selu = elementwise(selu)
Gelu = elementwise(gelu)
Identity = elementwise(lambda x: x)


# --------------------------------------------------------------------------- pooling


def _pooling(reducer: Any, start: Any, rescale: Any = None) -> Callable[..., Layer]:
    def pool(
        window_shape: Sequence[int], strides: Any = None, padding: Any = "VALID", spec: Any = None
    ) -> Layer:
        """A window that slides over the spatial axes, which `spec` tells from "N" and "C"."""
        steps = tuple(strides or (1,) * len(window_shape))
        layout = "N" + "H" * len(window_shape) + "C" if spec is None else spec
        window, moves = list(window_shape), list(steps)
        for k in sorted((layout.index("N"), layout.index("C"))):
            window.insert(k, 1)
            moves.insert(k, 1)

        def init_fun(rng: Any, input_shape: Sequence[int]) -> Any:
            pads = lax.padtype_to_pads(input_shape, window, moves, padding)
            ones_ = (1,) * len(window)
            shape = lax.reduce_window_shape_tuple(
                tuple(input_shape), tuple(window), tuple(moves), pads, ones_, ones_
            )
            return tuple(operator.index(n) for n in shape), ()

        def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
            out = lax.reduce_window(inputs, start, reducer, window, moves, padding)
            return rescale(out, inputs, window, moves, padding) if rescale else out

        return init_fun, apply_fun

    return pool


def _by_count(out: Any, inputs: Any, window: Any, moves: Any, padding: Any) -> Any:
    """Sums over the number of elements in each window, without those of the padding."""
    alone = [inputs.shape[k] if n > 1 else 1 for k, n in enumerate(window)]
    count = lax.reduce_window(jnp.ones(alone, inputs.dtype), 0.0, lax.add, window, moves, padding)
    return out / count


MaxPool = _pooling(lax.max, -math.inf)
SumPool = _pooling(lax.add, 0.0)
AvgPool = _pooling(lax.add, 0.0, _by_count)


# --------------------------------------------------------------------------- shapes, randomness


def _flatten() -> Layer:
    def init_fun(rng: Any, input_shape: Sequence[int]) -> Any:
        return (input_shape[0], math.prod(input_shape[1:])), ()

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return jnp.reshape(inputs, (inputs.shape[0], -1))

    return init_fun, apply_fun


Flatten = _flatten()


def Dropout(rate: float, mode: str = "train") -> Layer:
    """Inputs kept with probability `rate`, and divided by it, where `mode` is "train"."""

    def init_fun(rng: Any, input_shape: Any) -> Any:
        return input_shape, ()

    def apply_fun(params: Any, inputs: Any, rng: Any = None, **kwargs: Any) -> Any:
        if rng is None:
            raise ValueError(
                "Dropout layer requires apply_fun to be called with a PRNG key argument. That is, "
                "instead of `apply_fun(params, inputs)`, call it like "
                "`apply_fun(params, inputs, rng)` where `rng` is a PRNG key (e.g. from "
                "`jax.random.key`)."
            )
        if mode != "train":
            return inputs
        keep = random.bernoulli(rng, rate, inputs.shape)
        return jnp.where(keep, inputs / rate, 0)

    return init_fun, apply_fun


# --------------------------------------------------------------------------- combinators


def FanOut(num: int) -> Layer:
    """The input `num` times, for `parallel`."""
    return (lambda rng, shape: ([shape] * num, ())), (lambda params, x, **kwargs: [x] * num)


def _fan_in_sum() -> Layer:
    def init_fun(rng: Any, input_shape: Any) -> Any:
        return input_shape[0], ()

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return sum(inputs[1:], start=inputs[0])

    return init_fun, apply_fun


FanInSum = _fan_in_sum()


def FanInConcat(axis: int = -1) -> Layer:
    """Several inputs in one, along an axis."""

    def init_fun(rng: Any, input_shape: Any) -> Any:
        first = input_shape[0]
        k = axis % len(first)
        total = sum(shape[k] for shape in input_shape)
        return (*first[:k], total, *first[k + 1 :]), ()

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return jnp.concatenate(inputs, axis)

    return init_fun, apply_fun


def _keys(kwargs: dict[str, Any], count: int) -> Any:
    rng = kwargs.pop("rng", None)
    return random.split(rng, count) if rng is not None else (None,) * count


def serial(*layers: Layer) -> Layer:
    """Layers one after the other."""
    inits, applies = [init for init, _ in layers], [apply for _, apply in layers]

    def init_fun(rng: Any, input_shape: Any) -> Any:
        params = []
        for init in inits:
            rng, layer_rng = random.split(rng)
            input_shape, param = init(layer_rng, input_shape)
            params.append(param)
        return input_shape, params

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        keys = _keys(kwargs, len(applies))
        for fun, param, rng in zip(applies, params, keys, strict=True):
            inputs = fun(param, inputs, rng=rng, **kwargs)
        return inputs

    return init_fun, apply_fun


def parallel(*layers: Layer) -> Layer:
    """Layers side by side, on a list of inputs, as `FanOut` makes one."""
    inits, applies = [init for init, _ in layers], [apply for _, apply in layers]

    def init_fun(rng: Any, input_shape: Any) -> Any:
        keys = random.split(rng, len(inits))
        found = [f(k, s) for f, k, s in zip(inits, keys, input_shape, strict=True)]
        return [shape for shape, _ in found], [params for _, params in found]

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        keys = _keys(kwargs, len(applies))
        rows = zip(applies, params, inputs, keys, strict=True)
        return [f(p, x, rng=k, **kwargs) for f, p, x, k in rows]

    return init_fun, apply_fun


def shape_dependent(make_layer: Callable[[Any], Layer]) -> Layer:
    """A layer that `make_layer` makes once it knows the shape of its input."""

    def init_fun(rng: Any, input_shape: Any) -> Any:
        return make_layer(input_shape)[0](rng, input_shape)

    def apply_fun(params: Any, inputs: Any, **kwargs: Any) -> Any:
        return make_layer(inputs.shape)[1](params, inputs, **kwargs)

    return init_fun, apply_fun
