"""Why a workload is below its bar: what is known about each, for the document."""

from __future__ import annotations

from typing import Final

__all__ = ["EXPLANATIONS"]

_EAGER: Final = (
    "NumPy does the arithmetic of small eager operations here too, so that NumPy alone is always "
    "faster; what is on top of it is the type of the result and an array that knows transformations"
)

_MKL: Final = (
    "PyTorch brings MKL, whose decomposition is faster than the one of OpenBLAS, which SciPy "
    "brings; ours runs on one thread, since OpenBLAS's own wait in busy loops and change results"
)

_STREAMS: Final = (
    "the machine's limit: 16 to 50 MiB that stay in the last cache pass at twice the rate of the "
    "triad, whose arrays are larger; nothing but loads, stores and what hides behind them is left"
)
_PACKING: Final = (
    "the kernel in registers alone reaches 92 to 95 percent of the limit, which is that of a loop "
    "without loads; each thread packs half of the left operand and all of the right one, at the "
    "rate of the last cache, which takes most of the rest"
)
_FEW_TILES: Final = (
    "one or two tiles for each thread, of which the one that is woken begins some microseconds "
    "later; the share of the limit varies between 76 and 89 percent from run to run"
)
_STEPS: Final = (
    "what is left in a step, a product with the state and the gates, takes each of two threads "
    "some ten microseconds, after which they wait for one another"
)
_TRANSFORM: Final = (
    "PyTorch brings MKL. Columns go from array to array, but rows are transposed into memory of "
    "the first caches and out of it, beside their passes; an odd column takes a whole vector"
)

EXPLANATIONS: Final[dict[str, str]] = {
    "axpy": _STREAMS,
    "blur": (
        "eight megabytes are counted and thirty moved: the frame of edges is a copy of the image "
        "before each of the two passes, and the first one stores its result beside the second "
        "frame"
    ),
    "chain_bfloat16": (
        "arithmetic: tanh in float32 and three roundings to bfloat16 are 60 vector instructions "
        "for 16 elements, 0.72 ns an element on data in the first cache, nine tenths of the time"
    ),
    "chain_float64": (
        "three elementary functions of float64 an element take longer than memory does"
    ),
    "convolution": (
        "level with PyTorch, and as near the limit as matrix products of the same size: nothing is "
        "copied but the kernel, whose rows come from the second cache for every six positions"
    ),
    "convolution_gradients": (
        "level with PyTorch: three convolutions as near the limit as matrix products; the gradient "
        "of the kernel is summed over several rows of an image in registers, and blocks of its "
        "sums come from the second cache in between"
    ),
    "cumsum": (
        "an addition waits for the one before, half a nanosecond each, on one thread: sums are "
        "those from the first element on, in order, as NumPy rounds them"
    ),
    "dense_layer": _PACKING,
    "eager_add": _EAGER,
    "eager_grad_sin": (
        "rules of differentiation are Python: one operation passes two traces, its equation is "
        "recorded and transposed; PyTorch does this in C++"
    ),
    "eager_mlp": _EAGER,
    "exp": _STREAMS,
    "fft_images": _TRANSFORM,
    "fft_million": _TRANSFORM,
    "linear_recurrence": (
        "a scan by halves: its twelve levels load 47 MB and store 15, at more than twice the rate "
        "of the triad, where 12.6 are counted for a loop from step to step"
    ),
    "logsumexp": (
        "arithmetic: the largest number of a row and its exponentials take 0.28 ns an element on "
        "data in cache, five sixths of the time; memory is read once"
    ),
    "long_attention": (
        "one kernel, which leaves out what the mask hides, as PyTorch's does; its products have "
        "64 terms and 64 columns, few for our matrix kernels"
    ),
    "lstm": _STEPS,
    "lstm_gradient": _STEPS,
    "matmul_1024": _PACKING,
    "matmul_256": _FEW_TILES,
    "matmul_512": _FEW_TILES,
    "matmul_batch": (
        "operands and results, three megabytes, come from beyond the second cache, and nothing "
        "asks for those of the next product early; those that stay in it run a fifth faster"
    ),
    "matmul_bfloat16": (
        "without instructions for it, operands are converted to float32 before the product, which "
        "is that of `matmul_512`, and its result back: loops over memory on either side"
    ),
    "matmul_float64": _PACKING,
    "matmul_int8": (
        "both operands are packed in every call, a seventh of the time, and the register block of "
        "8 by 2 vectors loads each row's bytes again for every 32 columns"
    ),
    "matvec": _STREAMS,
    "mixed_step": (
        "products of float32 after conversion, at the rate of JAX's and within what runs differ "
        "by; conversions and roundings to bfloat16 are the rest"
    ),
    "mlp_step": (
        "products of 128 rows, a fifth of a millisecond each, and new weights, which memory "
        "limits: JAX's time is the same within what runs differ by"
    ),
    "permutation": (
        "JAX's algorithm, bit for bit: two rounds, each of 65,536 Threefry numbers (50 µs) and a "
        "sort of them with their positions (350 µs, one on each thread); NumPy shuffles in place, "
        "with a cheaper generator"
    ),
    "quantise": (
        "the array is read twice, for its largest number and for the quotients, and written once: "
        "three passes at the rate of the triad, where two are counted"
    ),
    "rows_in_a_scan": (
        "zeros are written first, and then every row by the one thread that runs the scan: eight "
        "megabytes, where four are counted"
    ),
    "segment_sum": (
        "level with PyTorch: a million additions at random places of a table in the cache"
    ),
    "solve_512": (
        "0.85 of a millisecond is the LU decomposition on one thread: two are slower, since strips "
        "of a matrix that a core's cache holds would move from core to core after each of sixteen "
        "blocks; 0.6 of it are products of depth 32, which read and write all that is left of the "
        "matrix each time, 0.2 LAPACK's blocks; the two triangles are the rest"
    ),
    "svd_256": _MKL,
    "total": _STREAMS,
    "transformer_gradient": (
        "level with PyTorch, now above and now below: products take most of it, at the rates that "
        "the single ones reach"
    ),
}
