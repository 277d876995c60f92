"""Derivatives with respect to sparse arrays: of their data, at places that stay."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pullback import tree
from pullback.experimental.sparse.base import JAXSparse
from pullback.experimental.sparse.bcoo import BCOO
from pullback.transforms import gradients, jacobians

__all__ = ["grad", "jacfwd", "jacobian", "jacrev", "value_and_grad"]


def _is_sparse(x: Any) -> bool:
    return isinstance(x, JAXSparse)


def _parts(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """What is differentiated of an argument, and how to put it back."""
    leaves, structure = tree.flatten(x, is_leaf=_is_sparse)
    data = [leaf.data if _is_sparse(leaf) else leaf for leaf in leaves]

    def rebuilt(new: Any) -> Any:
        found = [_with_data(a, d) if _is_sparse(a) else d for a, d in zip(leaves, new, strict=True)]
        return tree.unflatten(structure, found)

    return data, rebuilt


def _with_data(mat: Any, data: Any) -> Any:
    children, aux = mat.tree_flatten()
    return type(mat).tree_unflatten(aux, (data, *children[1:]))


def _split(
    fun: Callable[..., Any], argnums: int | Sequence[int], args: tuple[Any, ...]
) -> tuple[Callable[..., Any], list[Any], list[Callable[[Any], Any]], list[int]]:
    """`fun` on the data of the arguments that are differentiated."""
    places = [argnums] if isinstance(argnums, int) else list(argnums)
    places = [k % len(args) for k in places]
    found = [_parts(args[k]) for k in places]

    def on_data(*data: Any, **kwargs: Any) -> Any:
        given = list(args)
        for k, d, (_, rebuilt) in zip(places, data, found, strict=True):
            given[k] = rebuilt(d)
        return fun(*given, **kwargs)

    return on_data, [d for d, _ in found], [r for _, r in found], places


def _reassembled(argnums: Any, grads: Any, rebuilt: Sequence[Callable[[Any], Any]]) -> Any:
    out = tuple(r(g) for r, g in zip(rebuilt, grads, strict=True))
    return out[0] if isinstance(argnums, int) else out


def value_and_grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, **kwargs: Any
) -> Callable[..., tuple[Any, Any]]:
    """`pullback.value_and_grad` where arguments may be sparse; so are their gradients then."""

    def value_and_grad_fun(*args: Any, **kw: Any) -> tuple[Any, Any]:
        on_data, data, rebuilt, _ = _split(fun, argnums, args)
        nums = tuple(range(len(data)))
        both = gradients.value_and_grad(on_data, argnums=nums, has_aux=has_aux, **kwargs)
        value, grads = both(*data, **kw)
        return value, _reassembled(argnums, grads, rebuilt)

    return value_and_grad_fun


def grad(
    fun: Callable[..., Any], argnums: int | Sequence[int] = 0, has_aux: bool = False, **kwargs: Any
) -> Callable[..., Any]:
    """`pullback.grad` where arguments may be sparse: the gradient has their places.

    >>> import pullback.numpy as jnp
    >>> m = BCOO.fromdense(jnp.array([[0.0, 2.0]]))
    >>> grad(lambda m: jnp.sum(m @ jnp.array([1.0, 5.0])))(m).data
    Array([5.], dtype=float32)
    """
    both = value_and_grad(fun, argnums=argnums, has_aux=has_aux, **kwargs)

    def grad_fun(*args: Any, **kw: Any) -> Any:
        value, grads = both(*args, **kw)
        return (grads, value[1]) if has_aux else grads

    return grad_fun


def _jacobian(transform: Callable[..., Any]) -> Callable[..., Any]:
    def make(
        fun: Callable[..., Any],
        argnums: int | Sequence[int] = 0,
        has_aux: bool = False,
        **kwargs: Any,
    ) -> Callable[..., Any]:
        def jac_fun(*args: Any, **kw: Any) -> Any:
            on_data, data, _, places = _split(fun, argnums, args)
            nums = tuple(range(len(data)))
            results: list[Any] = []

            def noted(*given: Any, **settings: Any) -> Any:
                out = on_data(*given, **settings)
                results.append(tree.flatten(out[0] if has_aux else out))
                return out

            found = transform(noted, argnums=nums, has_aux=has_aux, **kwargs)(*data, **kw)
            jac, aux = found if has_aux else (found, None)
            out_leaves, out_tree = results[0]
            arguments = [args[k] for k in places]
            wrapped = [
                _wrapped(row, arguments, argnums, aval)
                for row, aval in zip(_rows(jac, out_tree), out_leaves, strict=True)
            ]
            out = tree.unflatten(out_tree, wrapped)
            return (out, aux) if has_aux else out

        return jac_fun

    return make


def _rows(jac: Any, out_tree: Any) -> list[Any]:
    return list(out_tree.flatten_up_to(jac))


def _wrapped(row: Any, arguments: Any, argnums: Any, aval: Any) -> Any:
    """Jacobians of one result: those with respect to sparse arguments become sparse arrays."""
    out = []
    for entry, argument in zip(row, arguments, strict=True):
        leaves, structure = tree.flatten(argument, is_leaf=_is_sparse)
        made = [
            _sparse_jacobian(x, leaf, len(aval.shape)) if _is_sparse(leaf) else x
            for x, leaf in zip(entry, leaves, strict=True)
        ]
        out.append(tree.unflatten(structure, made))
    return out[0] if isinstance(argnums, int) else tuple(out)


def _sparse_jacobian(x: Any, mat: Any, lead: int) -> BCOO:
    """A Jacobian (results..., data...) with the axes of the results as batch axes."""
    if not isinstance(mat, BCOO):
        raise NotImplementedError(f"Jacobians with respect to {type(mat)}; use BCOO")
    indices = mat.indices.reshape(*(1,) * lead, *mat.indices.shape)
    shape = (*x.shape[:lead], *mat.shape)
    return BCOO(
        (x, indices),
        shape=shape,
        indices_sorted=mat.indices_sorted,
        unique_indices=mat.unique_indices,
    )


jacfwd = _jacobian(jacobians.jacfwd)
jacfwd.__doc__ = "`pullback.jacfwd` where arguments may be BCOO; axes of results are batch axes."
jacrev = _jacobian(jacobians.jacrev)
jacrev.__doc__ = "`pullback.jacrev` where arguments may be BCOO; axes of results are batch axes."
jacobian = jacrev
