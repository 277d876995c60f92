"""`jax.numpy`: NumPy's functions on arrays that can be traced, differentiated and compiled.

The way of a call: operands are checked and promoted (`promotion`), then a few operations of `lax`
are applied. Importing this package gives arrays their operators and methods (`array_methods`).
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as _np

from pullback.core.array import Array
from pullback.numpy import array_methods as _array_methods
from pullback.numpy import elementwise as _elementwise
from pullback.numpy import fft as fft
from pullback.numpy import linalg as linalg
from pullback.numpy import scalar_types as _scalar_types
from pullback.numpy import ufunc_table as _ufunc_table
from pullback.numpy.arithmetic import (
    divmod as divmod,
)
from pullback.numpy.arithmetic import (
    float_power as float_power,
)
from pullback.numpy.arithmetic import (
    floor_divide as floor_divide,
)
from pullback.numpy.arithmetic import (
    fmod as fmod,
)
from pullback.numpy.arithmetic import (
    gcd as gcd,
)
from pullback.numpy.arithmetic import (
    lcm as lcm,
)
from pullback.numpy.arithmetic import (
    log2 as log2,
)
from pullback.numpy.arithmetic import (
    log10 as log10,
)
from pullback.numpy.arithmetic import (
    mod as mod,
)
from pullback.numpy.arithmetic import (
    pow as pow,
)
from pullback.numpy.arithmetic import (
    power as power,
)
from pullback.numpy.arithmetic import (
    reciprocal as reciprocal,
)
from pullback.numpy.arithmetic import (
    remainder as remainder,
)
from pullback.numpy.arithmetic import (
    square as square,
)
from pullback.numpy.comparisons import (
    allclose as allclose,
)
from pullback.numpy.comparisons import (
    array_equal as array_equal,
)
from pullback.numpy.comparisons import (
    array_equiv as array_equiv,
)
from pullback.numpy.comparisons import (
    isclose as isclose,
)
from pullback.numpy.comparisons import (
    iscomplexobj as iscomplexobj,
)
from pullback.numpy.comparisons import (
    isrealobj as isrealobj,
)
from pullback.numpy.comparisons import (
    isscalar as isscalar,
)
from pullback.numpy.comparisons import (
    iterable as iterable,
)
from pullback.numpy.comparisons import (
    packbits as packbits,
)
from pullback.numpy.comparisons import (
    unpackbits as unpackbits,
)
from pullback.numpy.creation import (
    arange as arange,
)
from pullback.numpy.creation import (
    array as array,
)
from pullback.numpy.creation import (
    asarray as asarray,
)
from pullback.numpy.creation import (
    astype as astype,
)
from pullback.numpy.creation import (
    copy as copy,
)
from pullback.numpy.creation import (
    empty as empty,
)
from pullback.numpy.creation import (
    empty_like as empty_like,
)
from pullback.numpy.creation import (
    from_dlpack as from_dlpack,
)
from pullback.numpy.creation import (
    frombuffer as frombuffer,
)
from pullback.numpy.creation import (
    full as full,
)
from pullback.numpy.creation import (
    full_like as full_like,
)
from pullback.numpy.creation import (
    geomspace as geomspace,
)
from pullback.numpy.creation import (
    linspace as linspace,
)
from pullback.numpy.creation import (
    logspace as logspace,
)
from pullback.numpy.creation import (
    ones as ones,
)
from pullback.numpy.creation import (
    ones_like as ones_like,
)
from pullback.numpy.creation import (
    zeros as zeros,
)
from pullback.numpy.creation import (
    zeros_like as zeros_like,
)
from pullback.numpy.cumulative import (
    cumprod as cumprod,
)
from pullback.numpy.cumulative import (
    cumsum as cumsum,
)
from pullback.numpy.cumulative import (
    cumulative_prod as cumulative_prod,
)
from pullback.numpy.cumulative import (
    cumulative_sum as cumulative_sum,
)
from pullback.numpy.cumulative import (
    diff as diff,
)
from pullback.numpy.cumulative import (
    ediff1d as ediff1d,
)
from pullback.numpy.cumulative import (
    gradient as gradient,
)
from pullback.numpy.cumulative import (
    nancumprod as nancumprod,
)
from pullback.numpy.cumulative import (
    nancumsum as nancumsum,
)
from pullback.numpy.cumulative import (
    trapezoid as trapezoid,
)
from pullback.numpy.cumulative import (
    unwrap as unwrap,
)
from pullback.numpy.einsums import (
    einsum as einsum,
)
from pullback.numpy.einsums import (
    einsum_path as einsum_path,
)
from pullback.numpy.files import (
    array_repr as array_repr,
)
from pullback.numpy.files import (
    array_str as array_str,
)
from pullback.numpy.files import (
    fromfile as fromfile,
)
from pullback.numpy.files import (
    fromiter as fromiter,
)
from pullback.numpy.files import (
    fromstring as fromstring,
)
from pullback.numpy.files import (
    get_printoptions as get_printoptions,
)
from pullback.numpy.files import (
    load as load,
)
from pullback.numpy.files import (
    printoptions as printoptions,
)
from pullback.numpy.files import (
    save as save,
)
from pullback.numpy.files import (
    savez as savez,
)
from pullback.numpy.files import (
    set_printoptions as set_printoptions,
)
from pullback.numpy.floats import (
    angle as angle,
)
from pullback.numpy.floats import (
    arctan2 as arctan2,
)
from pullback.numpy.floats import (
    atan2 as atan2,
)
from pullback.numpy.floats import (
    conj as conj,
)
from pullback.numpy.floats import (
    conjugate as conjugate,
)
from pullback.numpy.floats import (
    copysign as copysign,
)
from pullback.numpy.floats import (
    deg2rad as deg2rad,
)
from pullback.numpy.floats import (
    degrees as degrees,
)
from pullback.numpy.floats import (
    fabs as fabs,
)
from pullback.numpy.floats import (
    frexp as frexp,
)
from pullback.numpy.floats import (
    heaviside as heaviside,
)
from pullback.numpy.floats import (
    hypot as hypot,
)
from pullback.numpy.floats import (
    i0 as i0,
)
from pullback.numpy.floats import (
    imag as imag,
)
from pullback.numpy.floats import (
    ldexp as ldexp,
)
from pullback.numpy.floats import (
    modf as modf,
)
from pullback.numpy.floats import (
    positive as positive,
)
from pullback.numpy.floats import (
    rad2deg as rad2deg,
)
from pullback.numpy.floats import (
    radians as radians,
)
from pullback.numpy.floats import (
    real as real,
)
from pullback.numpy.floats import (
    signbit as signbit,
)
from pullback.numpy.floats import (
    sinc as sinc,
)
from pullback.numpy.floats import (
    spacing as spacing,
)
from pullback.numpy.grids import (
    bartlett as bartlett,
)
from pullback.numpy.grids import (
    blackman as blackman,
)
from pullback.numpy.grids import (
    c_ as c_,
)
from pullback.numpy.grids import (
    fromfunction as fromfunction,
)
from pullback.numpy.grids import (
    hamming as hamming,
)
from pullback.numpy.grids import (
    hanning as hanning,
)
from pullback.numpy.grids import (
    index_exp as index_exp,
)
from pullback.numpy.grids import (
    indices as indices,
)
from pullback.numpy.grids import (
    ix_ as ix_,
)
from pullback.numpy.grids import (
    kaiser as kaiser,
)
from pullback.numpy.grids import (
    meshgrid as meshgrid,
)
from pullback.numpy.grids import (
    mgrid as mgrid,
)
from pullback.numpy.grids import (
    ogrid as ogrid,
)
from pullback.numpy.grids import (
    r_ as r_,
)
from pullback.numpy.grids import (
    s_ as s_,
)
from pullback.numpy.joining import (
    append as append,
)
from pullback.numpy.joining import (
    array_split as array_split,
)
from pullback.numpy.joining import (
    block as block,
)
from pullback.numpy.joining import (
    column_stack as column_stack,
)
from pullback.numpy.joining import (
    concat as concat,
)
from pullback.numpy.joining import (
    concatenate as concatenate,
)
from pullback.numpy.joining import (
    delete as delete,
)
from pullback.numpy.joining import (
    dsplit as dsplit,
)
from pullback.numpy.joining import (
    dstack as dstack,
)
from pullback.numpy.joining import (
    hsplit as hsplit,
)
from pullback.numpy.joining import (
    hstack as hstack,
)
from pullback.numpy.joining import (
    insert as insert,
)
from pullback.numpy.joining import (
    split as split,
)
from pullback.numpy.joining import (
    stack as stack,
)
from pullback.numpy.joining import (
    trim_zeros as trim_zeros,
)
from pullback.numpy.joining import (
    unstack as unstack,
)
from pullback.numpy.joining import (
    vsplit as vsplit,
)
from pullback.numpy.joining import (
    vstack as vstack,
)
from pullback.numpy.matrices import (
    diag as diag,
)
from pullback.numpy.matrices import (
    diag_indices as diag_indices,
)
from pullback.numpy.matrices import (
    diag_indices_from as diag_indices_from,
)
from pullback.numpy.matrices import (
    diagflat as diagflat,
)
from pullback.numpy.matrices import (
    diagonal as diagonal,
)
from pullback.numpy.matrices import (
    eye as eye,
)
from pullback.numpy.matrices import (
    fill_diagonal as fill_diagonal,
)
from pullback.numpy.matrices import (
    identity as identity,
)
from pullback.numpy.matrices import (
    mask_indices as mask_indices,
)
from pullback.numpy.matrices import (
    trace as trace,
)
from pullback.numpy.matrices import (
    tri as tri,
)
from pullback.numpy.matrices import (
    tril as tril,
)
from pullback.numpy.matrices import (
    tril_indices as tril_indices,
)
from pullback.numpy.matrices import (
    tril_indices_from as tril_indices_from,
)
from pullback.numpy.matrices import (
    triu as triu,
)
from pullback.numpy.matrices import (
    triu_indices as triu_indices,
)
from pullback.numpy.matrices import (
    triu_indices_from as triu_indices_from,
)
from pullback.numpy.matrices import (
    vander as vander,
)
from pullback.numpy.nan_reductions import (
    nanargmax as nanargmax,
)
from pullback.numpy.nan_reductions import (
    nanargmin as nanargmin,
)
from pullback.numpy.nan_reductions import (
    nanmax as nanmax,
)
from pullback.numpy.nan_reductions import (
    nanmean as nanmean,
)
from pullback.numpy.nan_reductions import (
    nanmin as nanmin,
)
from pullback.numpy.nan_reductions import (
    nanprod as nanprod,
)
from pullback.numpy.nan_reductions import (
    nanstd as nanstd,
)
from pullback.numpy.nan_reductions import (
    nansum as nansum,
)
from pullback.numpy.nan_reductions import (
    nanvar as nanvar,
)
from pullback.numpy.padding import (
    pad as pad,
)
from pullback.numpy.polynomials import (
    convolve as convolve,
)
from pullback.numpy.polynomials import (
    correlate as correlate,
)
from pullback.numpy.polynomials import (
    poly as poly,
)
from pullback.numpy.polynomials import (
    polyadd as polyadd,
)
from pullback.numpy.polynomials import (
    polyder as polyder,
)
from pullback.numpy.polynomials import (
    polydiv as polydiv,
)
from pullback.numpy.polynomials import (
    polyfit as polyfit,
)
from pullback.numpy.polynomials import (
    polyint as polyint,
)
from pullback.numpy.polynomials import (
    polymul as polymul,
)
from pullback.numpy.polynomials import (
    polysub as polysub,
)
from pullback.numpy.polynomials import (
    polyval as polyval,
)
from pullback.numpy.polynomials import (
    roots as roots,
)
from pullback.numpy.predicates import (
    around as around,
)
from pullback.numpy.predicates import (
    bitwise_count as bitwise_count,
)
from pullback.numpy.predicates import (
    bitwise_left_shift as bitwise_left_shift,
)
from pullback.numpy.predicates import (
    bitwise_right_shift as bitwise_right_shift,
)
from pullback.numpy.predicates import (
    fmax as fmax,
)
from pullback.numpy.predicates import (
    fmin as fmin,
)
from pullback.numpy.predicates import (
    iscomplex as iscomplex,
)
from pullback.numpy.predicates import (
    isfinite as isfinite,
)
from pullback.numpy.predicates import (
    isinf as isinf,
)
from pullback.numpy.predicates import (
    isnan as isnan,
)
from pullback.numpy.predicates import (
    isneginf as isneginf,
)
from pullback.numpy.predicates import (
    isposinf as isposinf,
)
from pullback.numpy.predicates import (
    isreal as isreal,
)
from pullback.numpy.predicates import (
    left_shift as left_shift,
)
from pullback.numpy.predicates import (
    logical_not as logical_not,
)
from pullback.numpy.predicates import (
    nan_to_num as nan_to_num,
)
from pullback.numpy.predicates import (
    right_shift as right_shift,
)
from pullback.numpy.predicates import (
    rint as rint,
)
from pullback.numpy.predicates import (
    round as round,
)
from pullback.numpy.predicates import (
    to_bool as to_bool,
)
from pullback.numpy.products import (
    cross as cross,
)
from pullback.numpy.products import (
    dot as dot,
)
from pullback.numpy.products import (
    inner as inner,
)
from pullback.numpy.products import (
    kron as kron,
)
from pullback.numpy.products import (
    matmul as matmul,
)
from pullback.numpy.products import (
    matvec as matvec,
)
from pullback.numpy.products import (
    outer as outer,
)
from pullback.numpy.products import (
    tensordot as tensordot,
)
from pullback.numpy.products import (
    vdot as vdot,
)
from pullback.numpy.products import (
    vecdot as vecdot,
)
from pullback.numpy.products import (
    vecmat as vecmat,
)
from pullback.numpy.reductions import (
    all as all,
)
from pullback.numpy.reductions import (
    amax as amax,
)
from pullback.numpy.reductions import (
    amin as amin,
)
from pullback.numpy.reductions import (
    any as any,
)
from pullback.numpy.reductions import (
    argmax as argmax,
)
from pullback.numpy.reductions import (
    argmin as argmin,
)
from pullback.numpy.reductions import (
    average as average,
)
from pullback.numpy.reductions import (
    count_nonzero as count_nonzero,
)
from pullback.numpy.reductions import (
    max as max,
)
from pullback.numpy.reductions import (
    mean as mean,
)
from pullback.numpy.reductions import (
    min as min,
)
from pullback.numpy.reductions import (
    prod as prod,
)
from pullback.numpy.reductions import (
    ptp as ptp,
)
from pullback.numpy.reductions import (
    std as std,
)
from pullback.numpy.reductions import (
    sum as sum,
)
from pullback.numpy.reductions import (
    var as var,
)
from pullback.numpy.scalar_types import can_cast as can_cast
from pullback.numpy.scalar_types import finfo as finfo
from pullback.numpy.scalar_types import iinfo as iinfo
from pullback.numpy.scalar_types import isdtype as isdtype
from pullback.numpy.scalar_types import issubdtype as issubdtype
from pullback.numpy.scalar_types import promote_types as promote_types
from pullback.numpy.scalar_types import result_type as result_type
from pullback.numpy.selection import (
    argwhere as argwhere,
)
from pullback.numpy.selection import (
    choose as choose,
)
from pullback.numpy.selection import (
    clip as clip,
)
from pullback.numpy.selection import (
    compress as compress,
)
from pullback.numpy.selection import (
    extract as extract,
)
from pullback.numpy.selection import (
    flatnonzero as flatnonzero,
)
from pullback.numpy.selection import (
    nonzero as nonzero,
)
from pullback.numpy.selection import (
    piecewise as piecewise,
)
from pullback.numpy.selection import (
    place as place,
)
from pullback.numpy.selection import (
    put as put,
)
from pullback.numpy.selection import (
    put_along_axis as put_along_axis,
)
from pullback.numpy.selection import (
    ravel_multi_index as ravel_multi_index,
)
from pullback.numpy.selection import (
    select as select,
)
from pullback.numpy.selection import (
    take as take,
)
from pullback.numpy.selection import (
    take_along_axis as take_along_axis,
)
from pullback.numpy.selection import (
    unravel_index as unravel_index,
)
from pullback.numpy.selection import (
    where as where,
)
from pullback.numpy.sets import (
    intersect1d as intersect1d,
)
from pullback.numpy.sets import (
    isin as isin,
)
from pullback.numpy.sets import (
    setdiff1d as setdiff1d,
)
from pullback.numpy.sets import (
    setxor1d as setxor1d,
)
from pullback.numpy.sets import (
    union1d as union1d,
)
from pullback.numpy.sets import (
    unique as unique,
)
from pullback.numpy.sets import (
    unique_all as unique_all,
)
from pullback.numpy.sets import (
    unique_counts as unique_counts,
)
from pullback.numpy.sets import (
    unique_inverse as unique_inverse,
)
from pullback.numpy.sets import (
    unique_values as unique_values,
)
from pullback.numpy.shaping import (
    atleast_1d as atleast_1d,
)
from pullback.numpy.shaping import (
    atleast_2d as atleast_2d,
)
from pullback.numpy.shaping import (
    atleast_3d as atleast_3d,
)
from pullback.numpy.shaping import (
    broadcast_arrays as broadcast_arrays,
)
from pullback.numpy.shaping import (
    broadcast_shapes as broadcast_shapes,
)
from pullback.numpy.shaping import (
    broadcast_to as broadcast_to,
)
from pullback.numpy.shaping import (
    expand_dims as expand_dims,
)
from pullback.numpy.shaping import (
    flip as flip,
)
from pullback.numpy.shaping import (
    fliplr as fliplr,
)
from pullback.numpy.shaping import (
    flipud as flipud,
)
from pullback.numpy.shaping import (
    matrix_transpose as matrix_transpose,
)
from pullback.numpy.shaping import (
    moveaxis as moveaxis,
)
from pullback.numpy.shaping import (
    ndim as ndim,
)
from pullback.numpy.shaping import (
    permute_dims as permute_dims,
)
from pullback.numpy.shaping import (
    ravel as ravel,
)
from pullback.numpy.shaping import (
    repeat as repeat,
)
from pullback.numpy.shaping import (
    reshape as reshape,
)
from pullback.numpy.shaping import (
    resize as resize,
)
from pullback.numpy.shaping import (
    roll as roll,
)
from pullback.numpy.shaping import (
    rollaxis as rollaxis,
)
from pullback.numpy.shaping import (
    rot90 as rot90,
)
from pullback.numpy.shaping import (
    shape as shape,
)
from pullback.numpy.shaping import (
    size as size,
)
from pullback.numpy.shaping import (
    squeeze as squeeze,
)
from pullback.numpy.shaping import (
    swapaxes as swapaxes,
)
from pullback.numpy.shaping import (
    tile as tile,
)
from pullback.numpy.shaping import (
    transpose as transpose,
)
from pullback.numpy.sorting import (
    argpartition as argpartition,
)
from pullback.numpy.sorting import (
    argsort as argsort,
)
from pullback.numpy.sorting import (
    digitize as digitize,
)
from pullback.numpy.sorting import (
    lexsort as lexsort,
)
from pullback.numpy.sorting import (
    partition as partition,
)
from pullback.numpy.sorting import (
    searchsorted as searchsorted,
)
from pullback.numpy.sorting import (
    sort as sort,
)
from pullback.numpy.sorting import (
    sort_complex as sort_complex,
)
from pullback.numpy.statistics import (
    bincount as bincount,
)
from pullback.numpy.statistics import (
    corrcoef as corrcoef,
)
from pullback.numpy.statistics import (
    cov as cov,
)
from pullback.numpy.statistics import (
    histogram as histogram,
)
from pullback.numpy.statistics import (
    histogram2d as histogram2d,
)
from pullback.numpy.statistics import (
    histogram_bin_edges as histogram_bin_edges,
)
from pullback.numpy.statistics import (
    histogramdd as histogramdd,
)
from pullback.numpy.statistics import (
    interp as interp,
)
from pullback.numpy.statistics import (
    median as median,
)
from pullback.numpy.statistics import (
    nanmedian as nanmedian,
)
from pullback.numpy.statistics import (
    nanpercentile as nanpercentile,
)
from pullback.numpy.statistics import (
    nanquantile as nanquantile,
)
from pullback.numpy.statistics import (
    percentile as percentile,
)
from pullback.numpy.statistics import (
    quantile as quantile,
)
from pullback.numpy.ufuncs import frompyfunc as frompyfunc
from pullback.numpy.ufuncs import ufunc as ufunc
from pullback.numpy.vectorization import (
    apply_along_axis as apply_along_axis,
)
from pullback.numpy.vectorization import (
    apply_over_axes as apply_over_axes,
)
from pullback.numpy.vectorization import (
    vectorize as vectorize,
)

ndarray: Final = Array
dtype: Final = _np.dtype
ComplexWarning: Final = _np.exceptions.ComplexWarning

_TABLES: Final[tuple[dict[str, Any], ...]] = (
    _elementwise.FUNCTIONS,
    _ufunc_table.UFUNCS,
    _scalar_types.SCALAR_TYPES,
    _scalar_types.CATEGORIES,
    _scalar_types.CONSTANTS,
)
for _table in _TABLES:
    globals().update(_table)
_array_methods.namespace.append(sys.modules[__name__])


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'jax.numpy' has no attribute {name!r} (or not yet)")
