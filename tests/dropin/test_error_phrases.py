"""Errors are found by the phrases that programs written for JAX look for, in both libraries."""

# ruff: noqa: E501  (a call and a phrase a line)

from __future__ import annotations

import importlib
from typing import Any

import jax
import pytest

import pullback

CALLS = r"""
grad(lambda x: x)(jnp.arange(3.0)) :: Gradient only defined for scalar-output functions. Output had shape: (3,)
grad(lambda x: (x, x))(1.0) :: Gradient only defined for scalar-output functions. Output was
grad(lambda x: x)(1) :: grad requires real- or complex-valued inputs (input dtype that is a sub-dtype of np.inexact), but got int32
grad(lambda x: x.astype(complex))(1.0) :: grad requires real-valued outputs (output dtype that is a sub-dtype of np.floating), but got complex64
grad(lambda x: x, holomorphic=True)(1.0) :: grad with holomorphic=True requires inputs with complex dtype, but got float32
grad(lambda x: x, argnums=2)(1.0) :: differentiating with respect to argnums=2 requires at least 3 positional arguments to be passed by the caller, but got only 1 positional arguments
jacfwd(lambda x: x)(1) :: jacfwd requires real-valued inputs (input dtype that is a sub-dtype of np.floating), but got int32
jacrev(lambda x: x)(1) :: jacrev requires real- or complex-valued inputs
jacrev(lambda x: x, holomorphic=True)(1.0) :: jacrev with holomorphic=True requires inputs with complex dtype, but got float32
jvp(jnp.sin, 1.0, 1.0) :: primal and tangent arguments to jax.jvp must be tuples or lists; found float and float
jvp(jnp.sin, (1.0,), (1,)) :: primal and tangent arguments to jax.jvp do not match; dtypes must be equal
jvp(jnp.sin, (jnp.float16(1),), (1.0,)) :: primal and tangent arguments to jax.jvp do not match; dtypes must be equal
jvp(jnp.sin, (1.0,), (1.0, 2.0)) :: primal and tangent arguments to jax.jvp must have the same tree structure; primals
jvp(jnp.sin, (jnp.ones(2),), (jnp.ones(3),)) :: jvp called with different primal and tangent shapes
vjp(jnp.sin, 1.0)[1]((1.0, 2.0)) :: unexpected tree structure
vjp(jnp.sin, 1.0)[1](1) :: unexpected JAX type (e.g. shape/dtype) for argument to VJP function: got
vjp(jnp.sin, 1.0)[1](1j) :: unexpected JAX type (e.g. shape/dtype) for argument to VJP function: got
vjp(jnp.sin, 1.0)[1](jnp.ones(2)) :: unexpected JAX type (e.g. shape/dtype) for argument to VJP function: got
linearize(jnp.sin, 1.0)[1](1) :: linearized function called on tangent values inconsistent with the original primal values
linear_transpose(lambda x: 2 * x, 1.0)(1) :: cotangent type does not match function output
linear_transpose(lambda x: 2 * x, 1.0)((1.0,)) :: cotangent tree does not match function output, expected
vmap(jnp.add)(jnp.ones(3), jnp.ones(4)) :: vmap got inconsistent sizes for array axes to be mapped:
vmap(jnp.sin)(1.0) :: vmap was requested to map its argument along axis 0, which implies that its rank should be at least 1, but is only 0 (its shape is ()
vmap(jnp.sin, in_axes=(0, 0))(jnp.ones(3)) :: vmap in_axes must be an int, None, or a tuple of entries corresponding to the positional arguments passed to the function, but got len(in_axes)=2, len(args)=1
vmap(jnp.sin, in_axes="a")(jnp.ones(3)) :: vmap in_axes must be an int, None, or a tuple of entries corresponding to the positional arguments passed to the function, but got
vmap(jnp.sin, in_axes={0: 0}) :: vmap in_axes must be an int, None, or a tuple of entries corresponding to the positional arguments passed to the function, but got {0: 0}.
vmap(jnp.sin, in_axes=None)(jnp.ones(3)) :: vmap must have at least one non-None value in in_axes or axis_size must be specified
vmap(lambda: 1.0)() :: vmap wrapped function must be passed at least one argument containing an array or axis_size must be specified, got empty *args=() and **kwargs={}
vmap(jnp.sin, out_axes=None)(jnp.ones(3)) :: vmap out_axes, got axis spec None but output was batched on axis 0
vmap(jnp.sin, out_axes=3)(jnp.ones(3)) :: axis 3 is out of bounds for array of dimension 1
vmap(lambda x: (x, x), out_axes=(0, 0, 0))(jnp.ones(3)) :: vmap out_axes specification must be a tree prefix of the corresponding value
vmap(lambda x: x, in_axes=({"a": 0},))({"b": jnp.ones(3)}) :: vmap in_axes specification must be a tree prefix of the corresponding value
jit(lambda x: x if x > 0 else -x)(1.0) :: Attempted boolean conversion of traced array with shape bool[]
jit(lambda x: int(x))(1.0) :: Abstract tracer value encountered where concrete value is expected: traced array with shape float32[]
jit(lambda x: range(x))(1) :: The __index__() method was called on traced array with shape int32[]
jit(lambda x: x.__array__())(jnp.ones((2, 3))) :: The numpy.ndarray conversion method __array__() was called on traced array with shape float32[2,3]
jit(lambda n: jnp.zeros(n))(3) :: Shapes must be 1D sequences of concrete values of integer type
jit(lambda x: x, static_argnums=0)([1]) :: Non-hashable static arguments are not supported.
jit(lambda x: x, static_argnums=0, donate_argnums=0) :: static_argnames and donate_argnames cannot intersect
lax.scan(lambda c, x: ((c[0],), x), (1.0, 2.0), jnp.ones(2)) :: scan body function carry input and carry output must have the same pytree structure, but they differ
lax.scan(lambda c, x: (jnp.ones(2), x), 1.0, jnp.ones(2)) :: scan body function carry input and carry output must have equal types, but they differ
lax.scan(lambda c, x: (c.astype(int), x), 1.0, jnp.ones(2)) :: scan body function carry input and carry output must have equal types, but they differ
lax.scan(lambda c, x: c, 1.0, jnp.ones(2)) :: scan body output must be a pair
lax.scan(lambda c, x: (c, x), 1.0, 1.0) :: scan got value with no leading axis to scan over
lax.scan(lambda c, x: (c, x), 1.0, None) :: scan got no values to scan over and `length` not provided.
lax.scan(lambda c, x: (c, x), 1.0, jnp.ones(2), length=3) :: scan got `length` argument of 3 which disagrees with leading axis sizes [2].
jit(lambda n: lax.scan(lambda c, x: (c, x), 1.0, None, length=n))(3) :: The `length` argument to `scan` expects a concrete `int` value.
lax.scan(lambda c, x: (c, x), 1.0, (jnp.ones(2), jnp.ones(3))) :: scan got values with different leading axis sizes:
lax.scan(lambda c, x: (c, x), 1.0, jnp.ones(2), unroll=-1) :: `unroll` must be a `bool` or a non-negative `int`
lax.cond(True, lambda x: x, lambda x: (x, x), 1.0) :: cond branch outputs must have the same pytree structure, but they differ
lax.cond(True, lambda x: x, lambda x: x.astype(int), 1.0) :: cond branches must have equal output types but they differ.
lax.cond(jnp.ones(2) > 0, lambda x: x, lambda x: x, 1.0) :: Pred must be a scalar, got
lax.switch(0, [], 1.0) :: Empty branch sequence
lax.switch(1.0, [jnp.sin, jnp.cos], 1.0) :: Index type must be an integer, got
lax.switch(jnp.ones(2, int), [jnp.sin, jnp.cos], 1.0) :: Branch index must be scalar, got
lax.switch(0, [jnp.sin, lambda x: 1], 1.0) :: switch branches must have equal output types but they differ.
lax.while_loop(lambda x: x, lambda x: x, 1.0) :: cond_fun must return a boolean scalar, but got
lax.while_loop(lambda x: x < 0, lambda x: (x, x), 1.0) :: while_loop body function carry input and carry output must have the same pytree structure, but they differ
lax.while_loop(lambda x: x < 0, lambda x: x.astype(int), 1.0) :: while_loop body function carry input and carry output must have equal types, but they differ
lax.fori_loop(0, 3.0, lambda i, x: x, 1.0) :: lower and upper arguments to fori_loop must
lax.add(jnp.ones(2), jnp.ones(3)) :: add got incompatible shapes for broadcasting: (2,), (3,).
lax.add(jnp.ones(2), jnp.ones(2, int)) :: lax.add requires arguments to have the same dtypes, got float32, int32
lax.sin(1) :: sin does not accept dtype int32
lax.broadcast_in_dim(jnp.ones(3), (4,), (0,)) :: broadcast_in_dim operand dimension sizes must either be 1, or be equal to their corresponding dimensions in the target broadcast shape
lax.transpose(jnp.ones((2, 3)), (0, 0)) :: transpose permutation isn't a permutation of operand dimensions, got permutation (0, 0) for operand shape (2, 3).
lax.concatenate([jnp.ones((2, 2)), jnp.ones(3)], 0) :: Cannot concatenate arrays with different numbers of dimensions: got (2, 2), (3,).
lax.concatenate([jnp.ones((2, 2)), jnp.ones((2, 3))], 0) :: Cannot concatenate arrays with shapes that differ in dimensions other than the one being concatenated: concatenating along dimension 0 for shapes (2, 2), (2, 3).
lax.concatenate([jnp.ones(2), jnp.ones(3, int)], 0) :: lax.concatenate requires arguments to have the same dtypes, got float32, int32
lax.iota("int32", -1) :: shape must have every element be nonnegative, got (-1,).
lax.reduce_window(jnp.ones((4, 4)), 0.0, lax.add, (2,), (1, 1), "VALID") :: reduce_window got the wrong number of window_dimensions for operand: got operand shape (4, 4) with window_dimensions (2,).
jnp.zeros(-1) :: shape must have every element be nonnegative, got (-1,).
jnp.concatenate(jnp.float32(1)) :: Need at least one array to concatenate
jnp.ones(2).__setitem__(0, 1) :: JAX arrays are immutable and do not support in-place item assignment. Instead of x[idx] = y, use x = x.at[idx].set(y)
custom_jvp(lambda x: x)(1.0) :: No JVP defined for custom_jvp function <lambda> using defjvp.
custom_vjp(lambda x: x)(1.0) :: No VJP defined for custom_vjp function <lambda> using defvjp.
device_put("a") :: is not a valid JAX type
grad(1) :: Expected a callable value, got 1
jit(1) :: Expected a callable value, got 1
grad(lambda x: x)() :: differentiating with respect to argnums=0 requires at least 1 positional arguments to be passed by the caller, but got only 0 positional arguments.
grad(lambda x: x)("a") :: Argument 'a' of type <class 'str'> is not a valid JAX type
grad(lambda x: x, has_aux=True)(1.0) :: expected function with aux output to return a two-element tuple, but got type
jacrev(lambda x: x.astype(int))(1.0) :: jacrev requires real-valued outputs (output dtype that is a sub-dtype of np.floating), but got int32
jvp(jnp.sin, (1.0,), [1.0]) :: primal and tangent arguments to jax.jvp must have the same tree structure; primals have tree structure PyTreeDef((*,)) whereas tangents have tree structure PyTreeDef([*]).
jvp(jnp.sin, (jnp.ones(2),), (1.0,)) :: jvp called with different primal and tangent shapes;Got primal shape (2,) and tangent shape as ()
linear_transpose(jnp.sin, 1.0)(1.0) :: Transpose rule (for reverse-mode differentiation) for 'sin' not implemented
vmap(lambda x: x, in_axes=("a",))(jnp.ones(3)) :: vmap in_axes must be an int, None, or (nested) container with those types as leaves, but got ('a',).
vmap(lambda x: "a")(jnp.ones(2)) :: Output from batched function 'a' with type <class 'str'> is not a valid JAX type
lax.axis_index("i") :: Found an unbound axis name: i.
jit(lambda a, b: b)(1, b=[object()]) :: was passed to the function at path b[0].
jit(lambda *a: 1)(1, object()) :: was passed to the function at path a[1].
jit(lambda **k: 1)(z=object()) :: was passed to the function at path k['z'].
jit(lambda x: 1.0)("a") :: The problematic value is of type <class 'str'> and was passed to the function at path x.
jit(lambda x: {"a": (x, "s")})(1) :: traced for jit returned a value of type <class 'str'> at output component ['a'][1], which is not a valid JAX type
make_jaxpr(lambda x: x)("a") :: The problematic value is of type <class 'str'> and was passed to the function at path x.
jit(lambda x: x, static_argnums=5) :: Jitted function has static_argnums=(5,), but only accepts 1 positional arguments.
jit(lambda x: x, static_argnames="y") :: Jitted function has invalid argnames {'y'} in static_argnames. Function does not take these args.
jit(lambda x: x, static_argnums="a") :: 'str' object cannot be interpreted as an integer
jit(lambda x: x, static_argnums=0)({}) :: An error occurred while trying to hash an object of type <class 'dict'>, {}. The error was:
checkpoint(lambda x: x, static_argnums=(5,))(1.0) :: argument to `jax.checkpoint` / `jax.remat` can only take integer values greater than or equal to `-len(args)` and less than `len(args)`, but got (5,), while `len(args)` = 1
jit(lambda x: x.devices())(jnp.ones(2)) :: The devices() method was called on traced array with shape float32[2].
jit(lambda x: x.is_fully_replicated)(jnp.ones(2)) :: The is_fully_replicated property was called on traced array with shape float32[2].
jit(lambda x: x.block_until_ready())(jnp.ones(2)) :: The 'block_until_ready' method is not available on traced array with shape float32[2].
jit(lambda x: x.sharding)(jnp.ones(2)) :: The 'sharding' attribute is not available on traced array with shape float32[2].
jit(lambda x: __import__("pickle").dumps(x))(1.0) :: The error occurred in the __reduce__ method, which may indicate an attempt to serialize/pickle a traced value.
jit(lambda x: int(x))(jnp.ones(2)) :: Only scalar arrays can be converted to Python scalars; got arr.ndim=1
jit(lambda x: bool(x))(jnp.ones(0)) :: The truth value of an empty array is ambiguous.
bool(jnp.ones(2)) :: The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()
float(jnp.ones(2)) :: Only scalar arrays can be converted to Python scalars; got arr.ndim=1
hash(jnp.ones(2)) :: unhashable type:
ShapeDtypeStruct((2,), None) :: dtype must be specified.
device_put(1, 3) :: Received invalid value: 3
named_scope(1) :: named_scope name argument must be a string.
tree.structure((1, 2)).unflatten([1]) :: Too few leaves for PyTreeDef; expected 2, got 1
tree.structure((1, 2)).flatten_up_to((1,)) :: Tuple arity mismatch: 1 != 2
tree.structure((1, 2)).flatten_up_to([1, 2]) :: Expected tuple, got [1, 2].
tree.structure({"a": 1}).flatten_up_to(3) :: Expected dict, got 3.
tree.map(lambda x, y: x, {"a": 1}, {"b": 1}) :: pytree structure error: different pytree metadata at key path
tree.map(lambda x, y: x, (1, 2), (1,)) :: has a subtree of type tuple of length 2, but the full pytree has a subtree of the same type but of length 1.
random.key(0, impl="no") :: unrecognized PRNG implementation "no". Did you mean one of:
random.wrap_key_data(jnp.zeros(2, "int32")) :: JAX encountered invalid PRNG key data: expected key_data.dtype = uint32; got dtype=int32
random.split(1) :: JAX encountered invalid PRNG key data: expected key_data to have ndim, shape, and dtype attributes. Got
random.PRNGKey(jnp.ones(2, int)) :: PRNGKey accepts a scalar seed, but was given an array of shape (2,) != ()
random.key(0).__array__() :: JAX array with PRNGKey dtype cannot be converted to a NumPy array.
jnp.ones(3)["a"] :: JAX does not support string indexing; got idx='a'
(~jnp.ones(2)) :: not does not accept dtype float32. Accepted dtypes are subtypes of integer, bool.
(-jnp.array([True])) :: neg does not accept dtype bool. Accepted dtypes are subtypes of integer, floating, complexfloating.
jnp.zeros(3, dtype="S") :: JAX only supports number, bool, and string dtypes, got dtype S in zeros
jnp.ones((2, 3)).reshape(4) :: cannot reshape array of shape (2, 3) (size 6) into shape 4 (size 4)
jnp.ones((2, 3)).transpose(0) :: transpose permutation isn't a permutation of operand dimensions, got permutation (0,) for operand shape (2, 3).
jnp.stack([jnp.ones(2), jnp.ones(3)]) :: All input arrays must have the same shape. Got (2,), (3,).
jnp.broadcast_to(jnp.ones(2), (3,)) :: Incompatible types for broadcasting: input type=float32[2] and requested type=float32[3]
jnp.einsum("ij,jk", jnp.ones((2, 3)), jnp.ones((2, 3))) :: Size of label 'j' for operand 1 (3) does not match previous terms (2).
jnp.matmul(jnp.ones((2, 3)), jnp.ones((2, 3))) :: dot_general requires contracting dimensions to have the same shape, got (3,) and (2,)
random.uniform(1) :: JAX encountered invalid PRNG key data
config.update("jax_no", 1) :: Unrecognized config option: jax_no
numpy_rank_promotion("no").__enter__() :: new enum value must be in ['allow', 'warn', 'raise'], got no of type <class 'str'>.
grad(lambda x: pure_callback(abs, x, x))(1.0) :: Pure callbacks do not support JVP. Please use `jax.custom_jvp` to use callbacks while taking gradients
grad(lambda x: experimental.io_callback(abs, x, x))(1.0) :: IO callbacks do not support JVP
vmap(lambda x: experimental.io_callback(abs, x, x, ordered=True))(jnp.ones(2)) :: Cannot `vmap` ordered IO callback
vmap(lambda x: pure_callback(abs, x, x))(jnp.ones(2)) :: vmap is only supported for the pure_callback primitive when vmap_method is one of 'sequential'
pure_callback(abs, 1.0, 1.0, vmap_method="no") :: vmap_method must be on of the allowed methods
experimental.checkify.check(1, "no") :: check takes a scalar pred as argument, got 1
experimental.checkify.check(False, "{}", object()) :: Formatting arguments to checkify.check need to be PyTrees of arrays, but got <object
jit(lambda x: experimental.checkify.check(x > 0, "no"))(1.0) :: Cannot abstractly evaluate a checkify.check which was not functionalized.
with_jvp(lambda p, t: 1) :: must produce a pair (list or tuple of length two) representing primal and tangent outputs, but got 1.
with_jvp(lambda p, t: (p[0], (t[0], t[0]))) :: must produce primal and tangent outputs with equal container (pytree) structures, but got PyTreeDef(*) and PyTreeDef((*, *)) respectively.
with_jvp(lambda p, t: (p[0], jnp.ones(2))) :: Custom JVP rule must produce primal and tangent outputs with corresponding shapes and dtypes. Expected float32[] (tangent type of float32[]) but got float32[2].
with_vjp(lambda x: x, lambda r, g: (g,)) :: must produce a pair (list or tuple of length two) where the first element represents the primal output
with_vjp(lambda x: (x, x), lambda r, g: (g, g)) :: Custom VJP bwd rule must produce an output with the same container (pytree) structure as the args tuple of the primal function, and in particular must produce a tuple of length equal to the number of arguments to the primal function
with_vjp(lambda x: (x, x), lambda r, g: (jnp.ones(2),)) :: at output[0] the bwd rule produced an output of type float32[2] corresponding to an input of
custom_batching.custom_vmap(lambda x: x)(1.0) :: No batching rule defined for custom_vmap function <lambda> using def_vmap.
jit(jnp.sin).lower(1.0).compile()(jnp.ones(2)) :: Argument types differ from the types for which this computation was compiled.
jit(jnp.sin).lower(1.0).compile()(1.0, 2.0) :: Function compiled with input pytree does not match the input pytree it was called with.
jnp.promote_types("int4", "int8") :: Input dtypes ('int4', 'int8') have no available implicit dtype promotion path. To avoid unintended promotion, 1-bit, 2-bit and 4-bit integers do not support implicit promotion.
jnp.result_type() :: at least one array or dtype is required
make_mesh((2,), ("x",)) :: Number of devices 1 must be >= the product of mesh_shape (2,)
NamedSharding(make_mesh((1,), ("x",)), P("y")) :: Resource axis: y of P('y',) is not found in mesh: ('x',).
jnp.take(jnp.ones(3), jnp.array([1.5])) :: indices must have an integer type
"""

PAIRS = [line.split(" :: ") for line in CALLS.strip().splitlines()]


def names_of(library: Any) -> dict[str, Any]:
    def with_jvp(rule: Any) -> Any:
        f = library.custom_jvp(lambda x: x)
        f.defjvp(rule)
        return library.jvp(f, (1.0,), (1.0,))

    def with_vjp(fwd: Any, bwd: Any) -> Any:
        f = library.custom_vjp(lambda x: x)
        f.defvjp(fwd, bwd)
        return library.grad(f)(1.0)

    importlib.import_module(f"{library.__name__}.experimental.checkify")
    modules = {n: getattr(library, n) for n in ("random", "custom_batching", "experimental")}
    more = {"jnp": library.numpy, "lax": library.lax, "with_jvp": with_jvp, "with_vjp": with_vjp}
    return {
        **vars(library),
        **modules,
        **more,
        "NamedSharding": library.sharding.NamedSharding,
        "numpy_rank_promotion": library.numpy_rank_promotion,
    }


def raised(call: str, library: Any) -> Exception:
    names = names_of(library)
    with pytest.raises(Exception) as info:  # noqa: PT011  (which class is what is compared)
        eval(call, names)
    return info.value


@pytest.mark.parametrize(("call", "phrase"), PAIRS)
def test_phrases(call: str, phrase: str) -> None:
    ours, theirs = raised(call, pullback), raised(call, jax)
    assert phrase in str(theirs)
    assert phrase in str(ours)
    builtin = next(c for c in type(theirs).__mro__ if c.__module__ == "builtins")
    assert isinstance(ours, builtin)
    if type(theirs).__module__ == "jax.errors":
        assert type(ours).__name__ == type(theirs).__name__


def test_weak_carries_take_the_type_of_the_body() -> None:
    for library in (pullback, jax):
        jnp, lax = library.numpy, library.lax
        total, _ = lax.scan(lambda c, x: (c + x, None), 0, jnp.ones(3))
        assert (total.dtype, total.weak_type) == ("float32", False)
        assert lax.fori_loop(0, 3, lambda i, x: x * 1j, 1.0).dtype == "complex64"
