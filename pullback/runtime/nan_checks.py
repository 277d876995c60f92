"""`debug_nans` and `debug_infs`: stop where the first NaN or infinity is made.

The same evaluator refuses to run anything where `no_execution` is set, and looks at indices where
`check_indices` is.

While one of them is on, every eager operation is checked (the evaluator is replaced, so that
nothing is paid otherwise), and so are the results of compiled programs; one with a bad result is
run again operation by operation to find the equation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pullback import config
from pullback.core import dtypes
from pullback.core.jaxpr import ClosedJaxpr, eval_jaxpr
from pullback.core.primitive import FIRST_ORDER, Primitive
from pullback.core.source import current_source
from pullback.core.trace import EVAL, eager
from pullback.runtime import index_checks, key_reuse, spread
from pullback.runtime.array import ArrayImpl
from pullback.runtime.dispatch import evaluate, to_array

__all__ = ["check_program", "wanted"]


def wanted() -> bool:
    """Whether values are to be checked in this thread."""
    return bool(config.debug_nans() or config.debug_infs())


def _problem(outs: Sequence[Any]) -> str | None:
    """What is wrong with some results."""
    for x in outs:
        data = getattr(x, "_data", None)
        if data is None or not dtypes.issubdtype(data.dtype, np.inexact):
            continue
        if data.dtype.kind not in "fc":
            data = data.astype(np.float32)
        if config.debug_nans() and np.isnan(data).any():
            return "invalid value (nan)"
        if config.debug_infs() and np.isinf(data).any():
            return "invalid value (inf)"
    return None


def _evaluate_checked(primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
    """Evaluate, and raise FloatingPointError for a bad result."""
    if config.no_execution():
        raise RuntimeError(f"{primitive} would be executed, but 'no_execution' is set")
    if index_checks.wanted() and index_checks.applies(primitive, args):
        out = index_checks.evaluate(primitive, args, params)
    elif config.debug_key_reuse():
        out = key_reuse.evaluate_followed(evaluate, primitive, args, params)
    else:
        out = evaluate(primitive, args, params)
    if not wanted():
        return out
    problem = _problem(out if primitive.multiple_results else [out])
    if problem is None:
        return out
    if primitive.partial_eval is not FIRST_ORDER:
        _locate(lambda: primitive.reference(*map(to_array, args), **params))
    operands = ", ".join(str(to_array(x).aval) for x in args)
    raise FloatingPointError(
        f"{problem} encountered in {primitive} of {operands}\n  At: {current_source()}"
    )


def _locate(run: Any) -> None:
    """Run something that gave a bad result, one operation after the other."""
    try:
        with eager():
            run()
    except FloatingPointError:
        raise
    except Exception:  # what cannot be run so is reported as a whole
        return


def check_program(closed: ClosedJaxpr, name: str, arrays: Any, outs: Sequence[ArrayImpl]) -> None:
    """Raise FloatingPointError if results of a compiled program are bad, saying what made them."""
    problem = _problem(outs)
    if problem is None:
        return
    _locate(lambda: eval_jaxpr(closed.jaxpr, closed.consts, *arrays))
    raise FloatingPointError(
        f"{problem} encountered in a result of the compiled function {name}; operation by "
        "operation there is none"
    )


_WATCHED: Final = (
    config.debug_nans,
    config.debug_infs,
    config.no_execution,
    config.check_indices,
    config.debug_key_reuse,
)


def _choose_evaluator() -> None:
    overridden = any(x is setting for x in config.ACTIVE for setting in _WATCHED)
    checked = overridden or any(setting() for setting in _WATCHED)
    chosen = _evaluate_checked if checked else evaluate
    EVAL.evaluator = spread.following(chosen) if config.LOOKERS else chosen


for _setting in _WATCHED:
    _setting.watchers.append(_choose_evaluator)
config.watchers_of_calls.append(_choose_evaluator)
_choose_evaluator()
