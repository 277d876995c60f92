"""Convolutions for users, with JAX's signatures: thin layers over `conv_general_dilated`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from pullback import config
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.lax.contractions import PrecisionLike, dot_general
from pullback.ops import structural
from pullback.ops.convolution import ConvDimensionNumbers, output_space
from pullback.ops.convolution import conv_general_dilated as conv_general_dilated_p
from pullback.ops.precision import Precision, canonicalize_precision

__all__ = [
    "ConvDimensionNumbers",
    "ConvGeneralDilatedDimensionNumbers",
    "conv",
    "conv_dimension_numbers",
    "conv_general_dilated",
    "conv_general_dilated_local",
    "conv_general_dilated_p",
    "conv_general_dilated_patches",
    "conv_general_permutations",
    "conv_general_shape_tuple",
    "conv_shape_tuple",
    "conv_transpose",
    "conv_transpose_shape_tuple",
    "conv_with_general_padding",
    "padtype_to_pads",
]

ConvGeneralDilatedDimensionNumbers: TypeAlias = "ConvDimensionNumbers | tuple[str, str, str] | None"


def _axes(values: Any) -> tuple[int, ...]:
    return tuple(int(k) for k in values)


def conv_dimension_numbers(
    lhs_shape: Any, rhs_shape: Any, dimension_numbers: Any
) -> ConvDimensionNumbers:
    """The axes that names such as `("NHWC", "HWIO", "NHWC")` mean; None is batch, feature, space.

    >>> conv_dimension_numbers((1, 8, 8, 3), (3, 3, 3, 4), ("NHWC", "HWIO", "NHWC")).rhs_spec
    (3, 2, 0, 1)
    """
    if isinstance(dimension_numbers, ConvDimensionNumbers):
        return dimension_numbers
    if len(lhs_shape) != len(rhs_shape):
        raise TypeError(
            "convolution requires lhs and rhs ndim to be equal, got "
            f"{len(lhs_shape)} and {len(rhs_shape)}."
        )
    if dimension_numbers is None:
        return ConvDimensionNumbers(*(tuple(range(len(lhs_shape))),) * 3)
    if not isinstance(dimension_numbers, tuple | list):
        raise TypeError(
            "convolution dimension_numbers must be tuple/list or None, got "
            f"{type(dimension_numbers)}."
        )
    if len(dimension_numbers) != 3:
        raise TypeError(
            "convolution dimension_numbers list/tuple must be length 3, got "
            f"{len(dimension_numbers)}."
        )
    for k, names in enumerate(dimension_numbers):
        if len(names) != len(lhs_shape):
            raise TypeError(
                f"convolution dimension_numbers[{k}] must have len equal to the ndim of lhs and "
                f"rhs, got {len(names)} for lhs and rhs shapes {lhs_shape} and {rhs_shape}."
            )
    return ConvDimensionNumbers(*conv_general_permutations(dimension_numbers))


def conv_general_permutations(dimension_numbers: Any) -> tuple[Any, Any, Any]:
    """The axes, by role, that three strings such as `("NHWC", "HWIO", "NHWC")` name.

    >>> conv_general_permutations(("NHWC", "HWIO", "NHWC"))
    ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    """
    lhs, rhs, out = dimension_numbers
    for k, (names, pair) in enumerate(((lhs, "NC"), (rhs, "OI"), (out, "NC"))):
        if any(names.count(letter) != 1 for letter in pair):
            raise TypeError(
                f"convolution dimension_numbers[{k}] must contain the characters '{pair[0]}' and "
                f"'{pair[1]}' exactly once, got {names}."
            )
        if len(set(names)) != len(names):
            raise TypeError(
                f"convolution dimension_numbers[{k}] cannot have duplicate characters, got {names}."
            )
    space = [c for c in rhs if c not in "OI"]
    for k, names in ((0, lhs), (2, out)):
        if set(names) - {"N", "C"} != set(space):
            raise TypeError(
                f"convolution dimension_numbers[{k}] and [1] must have the same spatial "
                f"characters, got {names} and {rhs}."
            )

    def axes(names: str, pair: str) -> tuple[int, ...]:
        return tuple(names.index(c) for c in (*pair, *space))

    return axes(lhs, "NC"), axes(rhs, "OI"), axes(out, "NC")


def padtype_to_pads(
    in_shape: Any, window_shape: Any, window_strides: Any, padding: Any
) -> list[tuple[int, int]]:
    """The padding that "SAME", "SAME_LOWER" or "VALID" means for each spatial axis.

    >>> padtype_to_pads((8, 8), (3, 3), (1, 2), "SAME")
    [(1, 1), (0, 1)]
    """
    name = padding.upper() if isinstance(padding, str) else getattr(padding, "name", padding)
    if name == "VALID":
        return [(0, 0)] * len(in_shape)
    if name not in ("SAME", "SAME_LOWER"):
        raise RuntimeError(
            f"Unrecognized padding type: expected 'VALID', 'SAME', or 'SAME_LOWER', got {padding}."
        )
    pads = []
    for n, window, stride in zip(in_shape, window_shape, window_strides, strict=True):
        total = max((-(-int(n) // stride) - 1) * stride + int(window) - int(n), 0)
        small, large = total // 2, total - total // 2
        pads.append((small, large) if name == "SAME" else (large, small))
    return pads


def _preferred(dtype: Any, wanted: Any) -> Any:
    """The dtype of the result; TypeError for real ones of complex operands."""
    if wanted is None:
        return None
    found = dtypes.check_user_dtype(wanted, "conv_general_dilated")
    if dtypes.kind_of(dtype) == "c" and dtypes.kind_of(found) != "c":
        raise TypeError(
            f"conv_general_dilated: preferred_element_type {found} for operands of {dtype}"
        )
    return found


def _pads(name: str, padding: Any, space: Any, window: Any, strides: Any, dilation: Any) -> Any:
    if isinstance(padding, str):
        effective = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
        return tuple(padtype_to_pads(space, effective, strides, padding))
    try:
        return tuple((int(low), int(high)) for low, high in padding)
    except (TypeError, ValueError):
        raise ValueError(
            f"padding argument to {name} should be a string or a sequence of (low, high) pairs, "
            f"got {padding}"
        ) from None


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Any:
    """Convolve (in the sense of neural networks: correlate) arrays of any rank.

    `lhs` is the operand and `rhs` the kernel, laid out as `dimension_numbers` says, by default
    `[batch, feature, *space]` and `[out feature, in feature, *window]`.  `padding` is "SAME",
    "SAME_LOWER", "VALID" or a (low, high) pair for each spatial axis.

    Raises TypeError or ValueError where ranks, dtypes or lengths do not fit.

    >>> from pullback import lax
    >>> import numpy as np
    >>> image, kernel = np.ones((1, 3, 8, 8), "float32"), np.ones((4, 3, 3, 3), "float32")
    >>> lax.conv_general_dilated(image, kernel, (1, 1), "SAME").shape
    (1, 4, 8, 8)
    """
    if out_sharding is not None:
        raise NotImplementedError("conv_general_dilated: out_sharding needs several devices")
    x, w = aval_of(lhs), aval_of(rhs)
    numbers = conv_dimension_numbers(x.shape, w.shape, dimension_numbers)
    rank = len(numbers.lhs_spec) - 2
    lhs_dilation = (1,) * rank if lhs_dilation is None else _axes(lhs_dilation)
    rhs_dilation = (1,) * rank if rhs_dilation is None else _axes(rhs_dilation)
    strides = _axes(window_strides)
    if isinstance(padding, str) and any(d != 1 for d in lhs_dilation):
        raise ValueError(
            "String padding is not implemented for transposed convolution using this op. Please "
            "either exactly specify the required padding or use conv_transpose."
        )
    if any(d <= 0 for d in (*lhs_dilation, *rhs_dilation)):
        raise TypeError(f"All dilations must be positive, got {(*lhs_dilation, *rhs_dilation)}.")
    if len(strides) != rank or len(rhs_dilation) != rank:
        raise ValueError(
            "conv_general_dilated window and window_strides must have the same number of "
            f"dimensions, but got {rank} and {len(strides)}"
        )
    if any(s <= 0 for s in strides):
        raise ValueError(f"conv_general_dilated: window_strides must be positive, got {strides}")
    space = [x.shape[k] for k in numbers.lhs_spec[2:]]
    window = [w.shape[k] for k in numbers.rhs_spec[2:]]
    pads = _pads("conv_general_dilated", padding, space, window, strides, rhs_dilation)
    if len(pads) != rank:
        raise TypeError(
            f"Wrong number of explicit pads for convolution: expected {rank}, got {len(pads)}."
        )
    return conv_general_dilated_p(
        lhs,
        rhs,
        window_strides=strides,
        padding=pads,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=numbers,
        feature_group_count=int(feature_group_count),
        batch_group_count=int(batch_group_count),
        precision=canonicalize_precision(precision, config.default_matmul_precision()),
        preferred_element_type=_preferred(x.dtype, preferred_element_type),
        out_sharding=None,
    )


def conv(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Any,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """Convolve `[batch, feature, *space]` with `[out feature, in feature, *window]`.

    >>> from pullback import lax
    >>> import numpy as np
    >>> x, w = np.ones((1, 3, 8, 8), "float32"), np.ones((4, 3, 3, 3), "float32")
    >>> lax.conv(x, w, (2, 2), "VALID").shape
    (1, 4, 3, 3)
    """
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_with_general_padding(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None,
    rhs_dilation: Sequence[int] | None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """`conv` with explicit padding and dilations.

    >>> from pullback import lax
    >>> import numpy as np
    >>> x, w = np.ones((1, 1, 4), "float32"), np.ones((1, 1, 3), "float32")
    >>> lax.conv_with_general_padding(x, w, (1,), [(2, 0)], (1,), (1,)).shape
    (1, 1, 4)
    """
    return conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _transpose_padding(window: int, stride: int, padding: str) -> tuple[int, int]:
    """Padding of the dilated operand with which a transposed convolution undoes a "SAME" one."""
    if padding == "SAME":
        total = window + stride - 2
        before = window - 1 if stride > window - 1 else -(-total // 2)
    elif padding == "VALID":
        total = window + stride - 2 + max(window - stride, 0)
        before = window - 1
    else:
        raise ValueError('Padding mode must be "SAME" or "VALID".')
    return before, total - before


_SPATIAL: Final = {
    1: ("NHC", "HIO", "NHC"),
    2: ("NHWC", "HWIO", "NHWC"),
    3: ("NHWDC", "HWDIO", "NHWDC"),
}


def conv_transpose(
    lhs: Any,
    rhs: Any,
    strides: Sequence[int],
    padding: Any,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    transpose_kernel: bool = False,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
    use_consistent_padding: bool = False,
) -> Any:
    """The transposed ("fractionally strided") convolution, features last by default.

    With `transpose_kernel` it is the gradient of `conv_general_dilated` with the same kernel.
    Explicit padding applies to the dilated operand, or with `use_consistent_padding` to the
    convolution whose gradient this is.

    >>> from pullback import lax
    >>> import numpy as np
    >>> x, w = np.ones((1, 4, 4, 3), "float32"), np.ones((3, 3, 3, 2), "float32")
    >>> lax.conv_transpose(x, w, (2, 2), "SAME").shape
    (1, 8, 8, 2)
    """
    x, w = aval_of(lhs), aval_of(rhs)
    if len(x.shape) != len(w.shape) or len(x.shape) < 2:
        raise ValueError(
            f"conv_transpose needs operands of one rank above 1, got {x.str_short()} and "
            f"{w.str_short()}"
        )
    rank = len(x.shape) - 2
    if dimension_numbers is None:
        if rank not in _SPATIAL:
            raise ValueError("No 4+ dimensional dimension_number defaults.")
        dimension_numbers = _SPATIAL[rank]
    numbers = conv_dimension_numbers(x.shape, w.shape, dimension_numbers)
    dilation = (1,) * rank if rhs_dilation is None else _axes(rhs_dilation)
    window = [(w.shape[k] - 1) * d + 1 for k, d in zip(numbers.rhs_spec[2:], dilation, strict=True)]
    if isinstance(padding, str):
        pads: Any = [
            _transpose_padding(k, s, padding) for k, s in zip(window, strides, strict=True)
        ]
    elif use_consistent_padding:
        pads = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(window, padding, strict=True)]
    else:
        pads = padding
    if transpose_kernel:
        rhs = structural.rev(rhs, dimensions=tuple(numbers.rhs_spec[2:]))
        order = list(range(len(w.shape)))
        out_axis, in_axis = numbers.rhs_spec[:2]
        order[out_axis], order[in_axis] = in_axis, out_axis
        rhs = structural.transpose(rhs, permutation=tuple(order))
    return conv_general_dilated(
        lhs,
        rhs,
        (1,) * rank,
        pads,
        _axes(strides),
        dilation,
        numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def conv_general_dilated_patches(
    lhs: Any,
    filter_shape: Sequence[int],
    window_strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
    preferred_element_type: Any = None,
) -> Any:
    """The windows that a convolution sees, as features (feature slowest, then the window's axes).

    >>> from pullback import lax
    >>> import numpy as np
    >>> x = np.ones((1, 3, 4, 4), "float32")
    >>> lax.conv_general_dilated_patches(x, (2, 2), (1, 1), "VALID").shape
    (1, 12, 3, 3)
    """
    x: Any = aval_of(lhs)
    window = _axes(filter_shape)
    numbers = conv_dimension_numbers(x.shape, (0,) * len(x.shape), dimension_numbers)
    channels, size = x.shape[numbers.lhs_spec[1]], int(np.prod(window))
    kernel = np.tile(
        np.eye(size, dtype=x.dtype).reshape(size, 1, *window),
        (channels,) + (1,) * (len(window) + 1),
    )
    return conv_general_dilated(
        lhs,
        kernel.transpose(np.argsort(numbers.rhs_spec)),
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        numbers,
        feature_group_count=channels,
        precision=Precision.HIGHEST if precision is None else precision,
        preferred_element_type=preferred_element_type,
    )


def conv_general_dilated_local(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: Any,
    filter_shape: Sequence[int],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: ConvGeneralDilatedDimensionNumbers = None,
    precision: PrecisionLike = None,
) -> Any:
    """A convolution with a kernel of its own at every position of the result.

    In `rhs` the spatial axes are those of the result, and the input features are the features of
    `conv_general_dilated_patches`.

    >>> from pullback import lax
    >>> import numpy as np
    >>> x, w = np.ones((1, 3, 4, 4), "float32"), np.ones((5, 12, 3, 3), "float32")
    >>> lax.conv_general_dilated_local(x, w, (1, 1), "VALID", (2, 2)).shape
    (1, 5, 3, 3)
    """
    numbers = conv_dimension_numbers(aval_of(lhs).shape, aval_of(rhs).shape, dimension_numbers)
    patches = conv_general_dilated_patches(
        lhs,
        filter_shape,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        numbers,
        None if isinstance(precision, tuple) else precision,
    )
    _, rhs_spec, out_spec = numbers
    contract = ((rhs_spec[1],), (out_spec[1],))
    batch = (tuple(rhs_spec[2:]), tuple(out_spec[2:]))
    # [*space, out feature, batch]
    out = dot_general(rhs, patches, (contract, batch), precision)
    rank = len(rhs_spec) - 2
    roles = (rank + 1, rank, *range(rank))
    order = [0] * len(roles)
    for axis, role in zip(out_spec, roles, strict=True):
        order[axis] = role
    return structural.transpose(out, permutation=tuple(order))


# --------------------------------------------------------------------------- shapes


def conv_general_shape_tuple(
    lhs_shape: Any, rhs_shape: Any, window_strides: Any, padding: Any, dimension_numbers: Any
) -> tuple[int, ...]:
    """The shape of the result of a convolution without dilation.

    >>> names = ("NHWC", "HWIO", "NHWC")
    >>> conv_general_shape_tuple((1, 8, 8, 3), (3, 3, 3, 4), (2, 2), "SAME", names)
    (1, 4, 4, 4)
    """
    lhs_spec, rhs_spec, out_spec = conv_general_permutations(dimension_numbers)
    x, w = [lhs_shape[k] for k in lhs_spec], [rhs_shape[k] for k in rhs_spec]
    sizes = conv_shape_tuple(x, w, window_strides, padding)
    return tuple(sizes[k] for k in np.argsort(out_spec))


def conv_shape_tuple(
    lhs_shape: Any, rhs_shape: Any, strides: Any, pads: Any, batch_group_count: int = 1
) -> tuple[int, ...]:
    """The shape of the result of `conv`.

    >>> conv_shape_tuple((1, 3, 8, 8), (4, 3, 3, 3), (1, 1), "SAME")
    (1, 4, 8, 8)
    """
    ones = (1,) * len(strides)
    space, window = lhs_shape[2:], rhs_shape[2:]
    padding = _pads("conv", pads, space, window, strides, ones)
    out = output_space(space, window, strides, padding, ones, ones)
    return (lhs_shape[0] // batch_group_count, rhs_shape[0], *out)


def conv_transpose_shape_tuple(
    lhs_shape: Any, rhs_shape: Any, window_strides: Any, padding: Any, dimension_numbers: Any
) -> tuple[int, ...]:
    """The shape of the result of `conv_transpose`.

    >>> names = ("NHWC", "HWIO", "NHWC")
    >>> conv_transpose_shape_tuple((1, 8, 8, 3), (3, 3, 3, 4), (2, 2), "SAME", names)
    (1, 16, 16, 4)
    """
    lhs_spec, rhs_spec, out_spec = conv_general_permutations(dimension_numbers)
    x, w = [lhs_shape[k] for k in lhs_spec], [rhs_shape[k] for k in rhs_spec]
    if isinstance(padding, str):
        padding = [
            _transpose_padding(k, s, padding) for k, s in zip(w[2:], window_strides, strict=True)
        ]
    ones = (1,) * len(window_strides)
    out = output_space(x[2:], w[2:], ones, padding, window_strides, ones)
    sizes = (x[0], w[0], *out)
    return tuple(int(sizes[k]) for k in np.argsort(out_spec))
