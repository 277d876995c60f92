"""Names of the modules of JAX 0.10.2's public interface."""

from __future__ import annotations

from typing import Final

OBJECTS: Final = frozenset(
    ["jax.ad_checkpoint.checkpoint_policies", "jax.checkpoint_policies", "jax.config", "jax.memory"]
)
"""Objects there that may be modules here."""

_TEXT = """
ad_checkpoint api_util core custom_batching custom_derivatives debug
distributed dlpack dtypes errors example_libraries example_libraries.optimizers
example_libraries.stax experimental export extend ffi flatten_util image interpreters lax lib
monitoring nn numpy ops profiler random ref scipy sharding stages test_util tree tree_util
typing version

experimental.array_serialization experimental.array_serialization.serialization
experimental.buffer_callback experimental.checkify experimental.colocated_python
experimental.colocated_python.func experimental.colocated_python.serialization
experimental.compute_on experimental.control_deps
experimental.compilation_cache experimental.compilation_cache.compilation_cache
experimental.custom_partitioning experimental.hijax experimental.jax2tf experimental.jet
experimental.key_reuse experimental.layout experimental.mesh_utils
experimental.multihost_utils experimental.ode experimental.pallas experimental.pallas.ops
experimental.pallas.tpu experimental.pallas.triton experimental.pjit experimental.rnn
experimental.roofline experimental.scheduling_groups experimental.serialize_executable
experimental.random experimental.shard_alike experimental.shard_map
experimental.sparse experimental.sparse.ad experimental.sparse.api
experimental.sparse.bcoo experimental.sparse.bcsr experimental.sparse.coo experimental.sparse.csr
experimental.sparse.linalg experimental.sparse.random experimental.sparse.util
experimental.sparse.transform experimental.topologies
experimental.transfer experimental.xla_metadata

extend.backend extend.core extend.core.primitives extend.ifrt_programs extend.linear_util
extend.mlir extend.random extend.sharding extend.source_info_util

interpreters.ad interpreters.batching interpreters.mlir interpreters.partial_eval
interpreters.pxla interpreters.xla

lax.linalg nn.initializers numpy.fft numpy.linalg

scipy.cluster scipy.cluster.vq scipy.fft scipy.integrate scipy.interpolate scipy.linalg
scipy.ndimage scipy.optimize scipy.signal scipy.sparse scipy.sparse.linalg scipy.spatial
scipy.spatial.transform scipy.special scipy.stats

scipy.stats.bernoulli scipy.stats.beta scipy.stats.betabinom scipy.stats.binom
scipy.stats.cauchy scipy.stats.chi2 scipy.stats.dirichlet scipy.stats.expon scipy.stats.gamma
scipy.stats.gennorm scipy.stats.geom scipy.stats.gumbel_l scipy.stats.gumbel_r
scipy.stats.laplace scipy.stats.logistic scipy.stats.multinomial
scipy.stats.multivariate_normal scipy.stats.nbinom scipy.stats.norm scipy.stats.pareto
scipy.stats.poisson scipy.stats.t scipy.stats.truncnorm scipy.stats.uniform
scipy.stats.vonmises scipy.stats.wrapcauchy
"""

MODULES: Final = frozenset(f"jax.{name}" for name in _TEXT.split())
"""Every module that `import` may be asked for, except `jax` itself."""

_PRIVATE_TEXT = """
abstract_arrays               jax.core
ad_checkpoint                 jax.ad_checkpoint
api                           jax
basearray                     jax
buffer_callback               jax.experimental.buffer_callback
compute_on                    jax.experimental.compute_on
custom_batching               jax.custom_batching
custom_derivatives            jax.custom_derivatives
debugging                     jax.debug
dlpack                        jax.dlpack
errors                        jax.errors
export                        jax.export
export._export                jax.export
export.shape_poly             jax.export
ffi                           jax.ffi
flatten_util                  jax.flatten_util
hijax                         jax.experimental.hijax
image                         jax.image
image.scale                   jax.image
interpreters.pxla             jax.interpreters.pxla
lax.ann                       jax.lax
lax.control_flow              jax.lax
lax.control_flow.common       jax.lax
lax.control_flow.conditionals jax.lax
lax.control_flow.for_loop     jax.lax
lax.control_flow.loops        jax.lax
lax.control_flow.solves       jax.lax
lax.convolution               jax.lax
lax.eval_jaxpr                jax.lax
lax.fft                       jax.lax
lax.linalg                    jax.lax.linalg
lax.other                     jax.lax
lax.parallel                  jax.lax
lax.scaled_dot                jax.lax
lax.slicing                   jax.lax
lax.special                   jax.lax
lax.windowed_reductions       jax.lax
layout                        jax.experimental.layout
linear_util                   jax.extend.linear_util
mesh_utils                    jax.experimental.mesh_utils
monitoring                    jax.monitoring
named_sharding                jax.sharding
nn                            jax.nn
nn.functions                  jax.nn
nn.initializers               jax.nn.initializers
numpy.array_api_metadata      jax.numpy
numpy.array_constructors      jax.numpy
numpy.array_creation          jax.numpy
numpy.array_methods           jax.numpy
numpy.einsum                  jax.numpy
numpy.fft                     jax.numpy.fft
numpy.hijax                   jax.numpy
numpy.index_tricks            jax.numpy
numpy.indexing                jax.numpy
numpy.lax_numpy               jax.numpy
numpy.linalg                  jax.numpy.linalg
numpy.polynomial              jax.numpy
numpy.reductions              jax.numpy
numpy.scalar_types            jax.numpy
numpy.setops                  jax.numpy
numpy.sorting                 jax.numpy
numpy.tensor_contractions     jax.numpy
numpy.ufunc_api               jax.numpy
numpy.ufuncs                  jax.numpy
numpy.vectorize               jax.numpy
numpy.window_functions        jax.numpy
ops                           jax.ops
ops.scatter                   jax.ops
ops.special                   jax.scipy.special
partition_spec                jax.sharding
pjit                          jax.experimental.pjit
pmap                          jax
profiler                      jax.profiler
random                        jax.random
random.core                   jax.random
random.stateful_rng           jax.random
ref                           jax.ref
scipy                         jax.scipy
scipy.cluster                 jax.scipy.cluster
scipy.cluster.vq              jax.scipy.cluster.vq
scipy.fft                     jax.scipy.fft
scipy.integrate               jax.scipy.integrate
scipy.linalg                  jax.scipy.linalg
scipy.ndimage                 jax.scipy.ndimage
scipy.optimize                jax.scipy.optimize
scipy.optimize.bfgs           jax.scipy.optimize
scipy.optimize.minimize       jax.scipy.optimize
scipy.signal                  jax.scipy.signal
scipy.sparse                  jax.scipy.sparse
scipy.sparse.linalg           jax.scipy.sparse.linalg
scipy.spatial                 jax.scipy.spatial
scipy.spatial.transform       jax.scipy.spatial.transform
scipy.special                 jax.scipy.special
scipy.stats                   jax.scipy.stats
scipy.stats._core             jax.scipy.stats
scipy.stats.bernoulli         jax.scipy.stats.bernoulli
scipy.stats.beta              jax.scipy.stats.beta
scipy.stats.betabinom         jax.scipy.stats.betabinom
scipy.stats.binom             jax.scipy.stats.binom
scipy.stats.cauchy            jax.scipy.stats.cauchy
scipy.stats.chi2              jax.scipy.stats.chi2
scipy.stats.dirichlet         jax.scipy.stats.dirichlet
scipy.stats.expon             jax.scipy.stats.expon
scipy.stats.gamma             jax.scipy.stats.gamma
scipy.stats.gennorm           jax.scipy.stats.gennorm
scipy.stats.geom              jax.scipy.stats.geom
scipy.stats.gumbel_l          jax.scipy.stats.gumbel_l
scipy.stats.gumbel_r          jax.scipy.stats.gumbel_r
scipy.stats.kde               jax.scipy.stats
scipy.stats.laplace           jax.scipy.stats.laplace
scipy.stats.logistic          jax.scipy.stats.logistic
scipy.stats.multinomial       jax.scipy.stats.multinomial
scipy.stats.multivariate_normal jax.scipy.stats.multivariate_normal
scipy.stats.nbinom            jax.scipy.stats.nbinom
scipy.stats.norm              jax.scipy.stats.norm
scipy.stats.pareto            jax.scipy.stats.pareto
scipy.stats.poisson           jax.scipy.stats.poisson
scipy.stats.t                 jax.scipy.stats.t
scipy.stats.truncnorm         jax.scipy.stats.truncnorm
scipy.stats.uniform           jax.scipy.stats.uniform
scipy.stats.vonmises          jax.scipy.stats.vonmises
scipy.stats.wrapcauchy        jax.scipy.stats.wrapcauchy
shard_alike                   jax.experimental.shard_alike
shard_map                     jax
sharding                      jax.sharding
source_info_util              jax.extend.source_info_util
stages                        jax.stages
third_party                   jax.scipy
third_party.scipy             jax.scipy
third_party.scipy.betaln      jax.scipy.special
third_party.scipy.interpolate jax.scipy.interpolate
third_party.scipy.linalg      jax.scipy.linalg
third_party.scipy.special     jax.scipy.special
tree                          jax.tree
typing                        jax.typing
xla_metadata                  jax.experimental.xla_metadata
"""

_words = _PRIVATE_TEXT.split()
PRIVATE: Final = {
    f"jax._src.{name}": public for name, public in zip(_words[::2], _words[1::2], strict=True)
}
"""Private modules that tests and libraries import, with the public one that has their names."""
