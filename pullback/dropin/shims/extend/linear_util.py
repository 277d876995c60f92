"""`jax.extend.linear_util`: functions wrapped by transformations that are written as generators.

A transformation is a generator that is given the arguments, yields the arguments for the function
inside and gets its results, and yields its own results last.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

from pullback.dropin.shims._src.util import curry

__all__ = [
    "StoreException",
    "WrappedFun",
    "cache",
    "merge_linear_aux",
    "transformation",
    "transformation2",
    "transformation_with_aux",
    "transformation_with_aux2",
    "wrap_init",
]


class StoreException(Exception):
    """An auxiliary output was read before the function was called, or stored twice."""


class Store:
    """A place for one value, filled when the function is called."""

    __slots__ = ("_full", "_value")

    def __init__(self) -> None:
        self._full = False
        self._value: Any = None

    def store(self, value: Any) -> None:
        """Keep the value; an equal one may come again."""
        if self._full and not self._value == value:
            raise StoreException(f"stored {value!r} where {self._value!r} already is")
        self._full, self._value = True, value

    def reset(self) -> None:
        """Forget the value."""
        self._full, self._value = False, None

    @property
    def val(self) -> Any:
        """The value."""
        if not self._full:
            raise StoreException("the function that gives this auxiliary output was not called yet")
        return self._value

    def __bool__(self) -> bool:
        return self._full


class WrappedFun:
    """A function with the transformations around it; `call_wrapped` applies them all."""

    __slots__ = ("debug_info", "f", "f_transformed", "in_type", "params", "stores", "transforms")

    def __init__(
        self,
        f: Callable[..., Any],
        f_transformed: Callable[..., Any],
        transforms: tuple[Any, ...],
        stores: tuple[Store, ...],
        params: tuple[Any, ...],
        in_type: Any = None,
        debug_info: Any = None,
    ) -> None:
        self.f, self.f_transformed = f, f_transformed
        self.transforms, self.stores, self.params = transforms, stores, params
        self.in_type, self.debug_info = in_type, debug_info

    @property
    def __name__(self) -> str:
        return getattr(self.f, "__name__", "<unnamed function>")

    def call_wrapped(self, *args: Any, **kwargs: Any) -> Any:
        """The result of the function with its transformations."""
        return self.f_transformed(*args, **kwargs)

    def wrap(
        self, transformation: Any, static: tuple[Any, ...], f: Callable[..., Any], *stores: Store
    ) -> WrappedFun:
        """With one more transformation outside, whose effect is that of `f`."""
        transforms = ((transformation, static), *self.transforms)
        return WrappedFun(
            self.f, f, transforms, (*stores, *self.stores), self.params, None, self.debug_info
        )

    def with_unknown_names(self) -> WrappedFun:
        """The same function; names of arguments are not tracked."""
        return self

    def _key(self) -> tuple[Any, ...]:
        return (self.f, self.transforms, self.params)

    def __hash__(self) -> int:
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WrappedFun) and self._key() == other._key()

    def __repr__(self) -> str:
        around = "".join(f"{getattr(t, '__name__', t)}: {s}\n" for t, s in self.transforms)
        return f"Wrapped function:\n{around}Core: {self.__name__}\n"


def wrap_init(f: Callable[..., Any], params: Any = None, *, debug_info: Any = None) -> WrappedFun:
    """A function without transformations yet; `params` are keyword arguments for it.

    >>> wrap_init(lambda x: x + 1).call_wrapped(1)
    2
    """
    given = dict(params or {})

    def call(*args: Any, **kwargs: Any) -> Any:
        return f(*args, **{**given, **kwargs})

    items = tuple(sorted(given.items()))
    return WrappedFun(f, call if given else f, (), (), items, None, debug_info)


Steps = Generator[tuple[Sequence[Any], dict[str, Any]], Any, None]


def _run(steps: Any, inner: Callable[..., Any]) -> Any:
    """Drive a generator around one call of `inner`; its last yield is the result."""
    args, kwargs = next(steps)
    out = steps.send(inner(*args, **kwargs))
    steps.close()
    return out


@curry
def transformation(gen: Callable[..., Any], fun: WrappedFun, *gen_static_args: Any) -> WrappedFun:
    """Apply the transformation that a generator describes, with static arguments.

    Called with the generator only, as a decorator, it gives the function of the other arguments.

    >>> @transformation
    ... def doubled(x):
    ...     out = yield (x,), {}
    ...     yield 2 * out
    >>> doubled(wrap_init(lambda x: x + 1)).call_wrapped(1)
    4
    """
    inner = fun.f_transformed

    def call(*args: Any, **kwargs: Any) -> Any:
        return _run(gen(*gen_static_args, *args, **kwargs), inner)

    return fun.wrap(gen, gen_static_args, call)


@curry
def transformation_with_aux(
    gen: Callable[..., Any],
    fun: WrappedFun,
    *gen_static_args: Any,
) -> tuple[WrappedFun, Callable[[], Any]]:
    """The same, for a generator whose last yield is (result, auxiliary output).

    It gives the new function and a thunk for the auxiliary output.
    """
    inner, store = fun.f_transformed, Store()

    def call(*args: Any, **kwargs: Any) -> Any:
        result, aux = _run(gen(*gen_static_args, *args, **kwargs), inner)
        store.store(aux)
        return result

    return fun.wrap(gen, gen_static_args, call, store), lambda: store.val


@curry
def transformation2(gen: Callable[..., Any], fun: WrappedFun, *gen_static_args: Any) -> WrappedFun:
    """The same for a plain function `gen(f, *static, *args)`."""
    inner = fun.f_transformed

    def call(*args: Any, **kwargs: Any) -> Any:
        return gen(inner, *gen_static_args, *args, **kwargs)

    return fun.wrap(gen, gen_static_args, call)


@curry
def transformation_with_aux2(
    gen: Callable[..., Any],
    fun: WrappedFun,
    *gen_static_args: Any,
    use_eq_store: bool = False,
    unk_names: bool = False,
) -> tuple[WrappedFun, Callable[[], Any]]:
    """The same for `gen(f, store, *static, *args)`, which keeps its auxiliary output in `store`.

    An equal one may be stored again, whatever `use_eq_store` says.
    """
    inner, store = fun.f_transformed, Store()

    def call(*args: Any, **kwargs: Any) -> Any:
        return gen(inner, store, *gen_static_args, *args, **kwargs)

    return fun.wrap(gen, gen_static_args, call, store), lambda: store.val


def merge_linear_aux(aux1: Callable[[], Any], aux2: Callable[[], Any]) -> tuple[bool, Any]:
    """Of two thunks the one that was filled: whether it is the first, and its value."""
    try:
        first = aux1()
    except StoreException:
        return False, aux2()
    try:
        aux2()
    except StoreException:
        return True, first
    raise StoreException("both auxiliary outputs were stored")


def cache(call: Callable[..., Any], *, explain: Any = None) -> Callable[..., Any]:
    """Remember the results of `call(wrapped_function, *args)` by function and arguments.

    Auxiliary outputs are remembered with them.
    """
    found: dict[Any, tuple[Any, list[Any]]] = {}

    def cached(fun: WrappedFun, *args: Any) -> Any:
        key = (fun, args)
        if key not in found:
            result = call(fun, *args)
            found[key] = result, [s.val for s in fun.stores if s]
            return result
        result, kept = found[key]
        for store, value in zip(fun.stores, kept, strict=False):
            store.store(value)
        return result

    def clear() -> None:
        found.clear()

    cached.cache_clear = clear  # type: ignore[attr-defined]
    return cached
