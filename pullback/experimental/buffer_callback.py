"""The namespace `jax.experimental.buffer_callback`: callbacks that write into their results.

On top of `pure_callback` and `io_callback` (`control/callbacks.py`): the results are made first,
and the user's function fills them in.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from pullback import tree
from pullback.control.callbacks import VMAP_METHODS, io_callback, pure_callback
from pullback.core import dtypes
from pullback.core.avals import aval_of
from pullback.errors import UnsupportedError

__all__ = ["Buffer", "ExecutionContext", "ExecutionStage", "buffer_callback"]


class ExecutionStage(enum.Enum):
    """What is being done when a callback is called; here it is always `EXECUTE`."""

    INSTANTIATE = 0
    PREPARE = 1
    INITIALIZE = 2
    EXECUTE = 3


@final
@dataclass(frozen=True)
class ExecutionContext:
    """What a callback is told besides its operands."""

    stage: ExecutionStage = ExecutionStage.EXECUTE

    @property
    def stream(self) -> int:
        """The stream of a GPU; ValueError, since programs run on the host."""
        raise ValueError("an ExecutionContext on the CPU has no stream")


@final
class Buffer:
    """Memory of an operand, which can be read, or of a result, which is to be written.

    It has the protocols of arrays: `np.asarray(buffer)[...] = 1` writes.
    """

    __slots__ = ("_array",)

    def __init__(self, array: np.ndarray[Any, Any], *, writeable: bool) -> None:
        self._array = array.view()
        self._array.flags.writeable = writeable

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return tuple(self._array.shape)

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self._array.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._array.ndim

    @property
    def writeable(self) -> bool:
        """Whether it may be written."""
        return self._array.flags.writeable

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self._array, dtype=dtype) if copy else np.asarray(self._array, dtype=dtype)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._array.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


def buffer_callback(
    callback: Callable[..., None],
    result_shape_dtypes: Any,
    *,
    has_side_effect: bool = False,
    vmap_method: str | None = None,
    input_output_aliases: dict[int, int] | None = None,
    command_buffer_compatible: bool = False,
) -> Callable[..., Any]:
    """A function that calls `callback(context, out, *args)`, which fills in the buffers `out`.

    `out` is a pytree of `Buffer`s like `result_shape_dtypes`, `args` are those of the function
    with a `Buffer` for each leaf; the callback returns nothing. A result that takes the place of
    an operand (`input_output_aliases`, from leaf to leaf) begins as a copy of it. `vmap_method` is
    that of `pure_callback`; with side effects lanes go one after the other. On the CPU there are
    no command buffers.

    >>> import numpy as np, pullback as pb
    >>> def double(context, out, x):
    ...     np.asarray(out)[...] = 2 * np.asarray(x)
    >>> float(pb.jit(buffer_callback(double, pb.ShapeDtypeStruct((), "float32")))(1.5))
    3.0
    """
    if vmap_method not in VMAP_METHODS:
        raise ValueError(
            f"buffer_callback: vmap_method must be one of {VMAP_METHODS}, got {vmap_method!r}"
        )
    if has_side_effect and vmap_method not in (None, "sequential", "sequential_unrolled"):
        raise UnsupportedError(
            f"buffer_callback: vmap_method {vmap_method!r} of a callback with side effects; its "
            "lanes are called one after the other"
        )
    specs, out_tree = tree.flatten(result_shape_dtypes)
    aliases = dict(input_output_aliases or {})

    def call(*args: Any) -> Any:
        ranks = [len(aval_of(x).shape) for x in tree.leaves(args)]

        def run(*given: Any) -> Any:
            leaves, in_tree = tree.flatten(given)
            arrays = [np.asarray(x) for x in leaves]
            outs = _results(specs, arrays, ranks, aliases)
            targets = out_tree.unflatten([Buffer(x, writeable=True) for x in outs])
            sources = in_tree.unflatten([Buffer(x, writeable=False) for x in arrays])
            callback(ExecutionContext(), targets, *sources)
            return out_tree.unflatten(outs)

        if has_side_effect:
            return io_callback(run, result_shape_dtypes, *args)
        return pure_callback(run, result_shape_dtypes, *args, vmap_method=vmap_method)

    return call


def _results(
    specs: Sequence[Any], arrays: Sequence[Any], ranks: Sequence[int], aliases: dict[int, int]
) -> list[np.ndarray[Any, Any]]:
    """Memory for the results: of all lanes, if the operands are those of all lanes."""
    lanes = np.broadcast_shapes(
        *(x.shape[: x.ndim - n] for x, n in zip(arrays, ranks, strict=True))
    )
    outs = [np.zeros((*lanes, *s.shape), dtypes.canonicalize_dtype(s.dtype)) for s in specs]
    for i, k in aliases.items():
        outs[k][...] = arrays[i]
    return outs
