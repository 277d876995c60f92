"""`jax.extend.linear_util`: functions wrapped by transformations that are written as generators.

A transformation is a generator that is given the arguments, yields the arguments for the function
inside and gets its results, and yields its own results last.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

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


class _Transformation:
    """What the decorators give: apply it to a `WrappedFun`, with static arguments."""

    def __init__(self, gen: Callable[..., Any], *, generator: bool, aux: bool) -> None:
        self.gen, self.generator, self.aux = gen, generator, aux
        self.__name__ = getattr(gen, "__name__", "transformation")
        self.__doc__ = gen.__doc__

    def __call__(self, fun: WrappedFun, *static: Any, **options: Any) -> Any:
        inner, store = fun.f_transformed, Store()
        if self.generator:

            def call(*args: Any, **kwargs: Any) -> Any:
                out = _run(self.gen(*static, *args, **kwargs), inner)
                return self._kept(out, store)

        else:

            def call(*args: Any, **kwargs: Any) -> Any:
                if self.aux:
                    return self.gen(inner, store, *static, *args, **kwargs)
                return self.gen(inner, *static, *args, **kwargs)

        if not self.aux:
            return fun.wrap(self.gen, static, call)
        return fun.wrap(self.gen, static, call, store), lambda: store.val

    def _kept(self, out: Any, store: Store) -> Any:
        if not self.aux:
            return out
        result, aux = out
        store.store(aux)
        return result


def _decorator(gen: Any, args: tuple[Any, ...], options: Any, *, generator: bool, aux: bool) -> Any:
    made = _Transformation(gen, generator=generator, aux=aux)
    return made(*args, **options) if args else made


def transformation(gen: Callable[..., Any], *args: Any) -> Any:
    """Make a transformation of a generator; with a function and arguments, apply it at once.

    >>> @transformation
    ... def doubled(x):
    ...     out = yield (x,), {}
    ...     yield 2 * out
    >>> doubled(wrap_init(lambda x: x + 1)).call_wrapped(1)
    4
    """
    return _decorator(gen, args, {}, generator=True, aux=False)


def transformation_with_aux(gen: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """The same, for a generator whose last yield is (result, auxiliary output).

    Applied to a function it gives the new function and a thunk for the auxiliary output.
    """
    return _decorator(gen, args, options, generator=True, aux=True)


def transformation2(gen: Callable[..., Any], *args: Any) -> Any:
    """Make a transformation of a plain function `gen(f, *static, *args)`."""
    return _decorator(gen, args, {}, generator=False, aux=False)


def transformation_with_aux2(gen: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """The same for `gen(f, store, *static, *args)`, which keeps its auxiliary output in `store`."""
    return _decorator(gen, args, options, generator=False, aux=True)


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
