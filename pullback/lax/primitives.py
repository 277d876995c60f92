"""`lax`: the records of the element-wise primitives, under the names `<name>_p`."""

from __future__ import annotations

from pullback.ops import barrier, special
from pullback.ops import elementwise as ops

__all__ = [
    "abs_p",
    "acos_p",
    "acosh_p",
    "add_p",
    "and_p",
    "asin_p",
    "asinh_p",
    "atan2_p",
    "atan_p",
    "atanh_p",
    "bessel_i0e_p",
    "bessel_i1e_p",
    "bitcast_convert_type_p",
    "cbrt_p",
    "ceil_p",
    "clamp_p",
    "clz_p",
    "complex_p",
    "conj_p",
    "convert_element_type_p",
    "copy_p",
    "cos_p",
    "cosh_p",
    "digamma_p",
    "div_p",
    "eq_p",
    "eq_to_p",
    "erf_inv_p",
    "erf_p",
    "erfc_p",
    "exp2_p",
    "exp_p",
    "expm1_p",
    "floor_p",
    "ge_p",
    "gt_p",
    "igamma_grad_a_p",
    "igamma_p",
    "igammac_p",
    "imag_p",
    "integer_pow_p",
    "is_finite_p",
    "le_p",
    "le_to_p",
    "lgamma_p",
    "log1p_p",
    "log_p",
    "logistic_p",
    "lt_p",
    "lt_to_p",
    "max_p",
    "min_p",
    "mul_p",
    "mulhi_p",
    "ne_p",
    "neg_p",
    "nextafter_p",
    "not_p",
    "optimization_barrier_p",
    "or_p",
    "polygamma_p",
    "population_count_p",
    "pow_p",
    "random_gamma_grad_p",
    "real_p",
    "reduce_precision_p",
    "regularized_incomplete_beta_p",
    "rem_p",
    "round_p",
    "rsqrt_p",
    "select_n_p",
    "shift_left_p",
    "shift_right_arithmetic_p",
    "shift_right_logical_p",
    "sign_p",
    "sin_p",
    "sinh_p",
    "sqrt_p",
    "square_p",
    "stop_gradient_p",
    "sub_p",
    "tan_p",
    "tanh_p",
    "xor_p",
    "zeta_p",
]

abs_p = ops.abs_
acos_p = ops.acos
acosh_p = ops.acosh
add_p = ops.add
and_p = ops.and_
asin_p = ops.asin
asinh_p = ops.asinh
atan2_p = ops.atan2
atan_p = ops.atan
atanh_p = ops.atanh
bessel_i0e_p = special.bessel_i0e
bessel_i1e_p = special.bessel_i1e
bitcast_convert_type_p = ops.bitcast_convert_type
cbrt_p = ops.cbrt
ceil_p = ops.ceil
clamp_p = ops.clamp
clz_p = ops.clz
complex_p = ops.complex_
conj_p = ops.conj
convert_element_type_p = ops.convert_element_type
copy_p = ops.copy
cos_p = ops.cos
cosh_p = ops.cosh
digamma_p = special.digamma
div_p = ops.div
eq_p = ops.eq
eq_to_p = ops.eq_to
erf_inv_p = special.erf_inv
erf_p = special.erf
erfc_p = special.erfc
exp2_p = ops.exp2
exp_p = ops.exp
expm1_p = ops.expm1
floor_p = ops.floor
ge_p = ops.ge
gt_p = ops.gt
igamma_grad_a_p = special.igamma_grad_a
igamma_p = special.igamma
igammac_p = special.igammac
imag_p = ops.imag
integer_pow_p = ops.integer_pow
is_finite_p = ops.is_finite
le_p = ops.le
le_to_p = ops.le_to
lgamma_p = special.lgamma
log1p_p = ops.log1p
log_p = ops.log
logistic_p = ops.logistic
lt_p = ops.lt
lt_to_p = ops.lt_to
max_p = ops.max_
min_p = ops.min_
mul_p = ops.mul
mulhi_p = ops.mulhi
ne_p = ops.ne
neg_p = ops.neg
nextafter_p = ops.nextafter
not_p = ops.not_
optimization_barrier_p = barrier.optimization_barrier
or_p = ops.or_
polygamma_p = special.polygamma
population_count_p = ops.population_count
pow_p = ops.pow_
random_gamma_grad_p = special.random_gamma_grad
real_p = ops.real
reduce_precision_p = ops.reduce_precision
regularized_incomplete_beta_p = special.regularized_incomplete_beta
rem_p = ops.rem
round_p = ops.round_
rsqrt_p = ops.rsqrt
select_n_p = ops.select_n
shift_left_p = ops.shift_left
shift_right_arithmetic_p = ops.shift_right_arithmetic
shift_right_logical_p = ops.shift_right_logical
sign_p = ops.sign
sin_p = ops.sin
sinh_p = ops.sinh
sqrt_p = ops.sqrt
square_p = ops.square
stop_gradient_p = ops.stop_gradient
sub_p = ops.sub
tan_p = ops.tan
tanh_p = ops.tanh
xor_p = ops.xor
zeta_p = special.zeta
