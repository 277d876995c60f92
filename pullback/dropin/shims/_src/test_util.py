"""`jax._src.test_util`: what tests in the style of JAX's own are made with.

Cases are drawn at random from products of parameters, operands by samplers, and results are
compared with NumPy's and with those of compiled code.  `absl-py` is needed, as it is there.
"""

from __future__ import annotations

import collections
import itertools
import os
import re
import unittest
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, final

import numpy as np
from absl.testing import parameterized

import pullback
from pullback import tree_util
from pullback.core import dtypes as core_dtypes
from pullback.dropin.shims._src.case_base import BufferDonationTestCase, JaxTestCase
from pullback.dropin.shims._src.case_events import *  # noqa: F403
from pullback.dropin.shims._src.case_samplers import *  # noqa: F403
from pullback.dropin.shims._src.case_samplers import (
    NUMPY_SCALAR_SHAPE,
    PYTHON_SCALAR_SHAPE,
    is_sequence,
)
from pullback.dropin.shims._src.case_settings import *  # noqa: F403
from pullback.dropin.shims._src.case_tools import *  # noqa: F403
from pullback.dropin.shims._src.case_tools import NUM_GENERATED_CASES
from pullback.test_util import check_grads, check_jvp, check_vjp

__all__ = ["BufferDonationTestCase", "JaxTestCase", "check_grads", "check_jvp", "check_vjp"]

_absl: Final[Any] = parameterized
_CASES: Final = NUM_GENERATED_CASES.value


# --------------------------------------------------------------------------- names and cases


def dtype_str(dtype: Any) -> str:
    """A short name."""
    return str(np.dtype(dtype).name)


def format_shape_dtype_string(shape: Any, dtype: Any) -> str:
    """`float32[2,3]`; `npfloat32`, `pyfloat32` for the scalars of NumPy and Python."""
    name = str(getattr(dtype, "__name__", None) or np.dtype(dtype).name)
    if shape is NUMPY_SCALAR_SHAPE or shape is PYTHON_SCALAR_SHAPE:
        return ("np" if shape is NUMPY_SCALAR_SHAPE else "py") + name
    dims = tuple(shape) if is_sequence(shape) else (shape,)
    return f"{name}[{','.join(map(str, dims))}]"


def format_test_name_suffix(opname: str, shapes: Iterable[Any], dtypes: Iterable[Any]) -> str:
    """The name of a case by its operands."""
    types = map(format_shape_dtype_string, shapes, itertools.cycle(dtypes))
    return f"{opname.capitalize()}_{'_'.join(types)}"


def sample_product_testcases(*args: Any, **kw: Any) -> Iterator[dict[str, Any]]:
    """Some elements of a product: of lists by keyword, and of lists of dicts of linked parameters.

    Which ones is the same in every run.
    """
    axes: list[list[dict[str, Any]]] = [list(linked) for linked in args]
    axes += [[{name: value} for value in values] for name, values in kw.items()]
    total = int(np.prod([len(axis) for axis in axes], dtype=np.int64))
    rng = np.random.RandomState(42)
    few = total <= _CASES
    chosen = range(total) if few else sorted(rng.choice(total, _CASES, replace=False))
    for number in chosen:
        case: dict[str, Any] = {}
        rest = int(number)
        for axis in reversed(axes):
            rest, at = divmod(rest, len(axis))
            case |= axis[at]
        yield case


def sample_product(*args: Any, **kw: Any) -> Callable[[Any], Any]:
    """Run a test with some elements of a product of parameters."""
    return _absl.parameters(*sample_product_testcases(*args, **kw))  # type: ignore[no-any-return]


def cases_from_list(xs: Iterable[Any]) -> list[Any]:
    """Some elements of a list, the same in every run."""
    cases = list(xs)
    count = min(len(cases), _CASES)
    rng = np.random.RandomState(42)
    return [cases[i] for i in sorted(rng.choice(len(cases), count, replace=False))]


def named_cases_from_sampler(gen: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    """Cases by a generator that is given a function that chooses of lists."""
    seen: set[str] = set()
    rng = np.random.RandomState(42)

    def choose(options: Any, size: int | None = None) -> Any:
        options = list(options)
        if size is None:
            return options[rng.randint(len(options))]
        return [options[i] for i in rng.randint(len(options), size=size)]

    for _ in range(5 * _CASES):
        for case in gen(choose):
            if case["testcase_name"] not in seen:
                seen.add(case["testcase_name"])
                yield case
        if len(seen) >= _CASES:
            return


def parameterized_filterable(
    *,
    kwargs: Sequence[dict[str, Any]],
    testcase_name: Callable[[dict[str, Any]], str] | None = None,
    one_containing: str | None = None,
) -> Callable[[Any], Any]:
    """Named cases from dicts of parameters; with `one_containing` the one with that name."""

    def name_of(case: dict[str, Any]) -> str:
        text = testcase_name(case) if testcase_name else "_".join(map(str, case.values()))
        return re.sub(r"[^a-zA-Z0-9_]+", "_", text).strip("_")

    cases = [{"testcase_name": f"_{name_of(c)}", **c} for c in kwargs]
    if one_containing is not None:
        cases = [c for c in cases if one_containing in c["testcase_name"]][:1]
    counts = collections.Counter(c["testcase_name"] for c in cases)
    for k, case in enumerate(cases):
        if counts[case["testcase_name"]] > 1:
            case["testcase_name"] += f"_{k}"
    return _absl.named_parameters(*cases)  # type: ignore[no-any-return]


def cases_from_gens(*gens: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Named cases of several generators, a few of each."""
    for gen in gens:
        yield from itertools.islice(gen, max(1, _CASES // len(gens)))


@final
class NotPresent:
    """Stands in parameters for what is not given."""

    def __repr__(self) -> str:
        return "NotPresent"


# --------------------------------------------------------------------------- NumPy's side


def promote_like_jnp(fun: Callable[..., Any], inexact: bool = False) -> Callable[..., Any]:
    """A NumPy function on operands promoted as `jax.numpy` would."""

    def promoted(*args: Any, **kw: Any) -> Any:
        leaves, treedef = tree_util.tree_flatten(args)
        dtype = pullback.dtypes.result_type(*leaves)
        if inexact and core_dtypes.kind_of(np.dtype(dtype)) in "biu":
            dtype = pullback.dtypes.canonicalize_dtype(np.float64)
        cast = [np.asarray(x, dtype) for x in leaves]
        return fun(*tree_util.tree_unflatten(treedef, cast), **kw)

    return promoted


class JaxTestLoader(unittest.TestLoader):
    """Chooses tests by `JAX_TEST_TARGETS` and `JAX_EXCLUDE_TEST_TARGETS`, regular expressions."""

    def getTestCaseNames(self, testCaseClass: type[unittest.TestCase]) -> list[str]:
        """The names of the chosen tests of a class."""
        names = list(super().getTestCaseNames(testCaseClass))
        wanted = os.environ.get("JAX_TEST_TARGETS", "")
        unwanted = os.environ.get("JAX_EXCLUDE_TEST_TARGETS", "")
        full = {name: f"{testCaseClass.__name__}.{name}" for name in names}
        if wanted:
            names = [n for n in names if re.search(wanted, full[n])]
        if unwanted:
            names = [n for n in names if not re.search(unwanted, full[n])]
        return names
