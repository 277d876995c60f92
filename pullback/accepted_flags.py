"""Settings of JAX that mean nothing here, with the reason: data of `pullback.config`.

Programs set them without harm, and read back what they set.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["ACCEPTED"]

_NO_XLA: Final = "An option of XLA's compiler; pullback has its own."
_NO_GPU: Final = "An option for accelerators; programs run on the CPU."
_ONE_PROCESS: Final = "An option for several processes; a program runs in one."
_ONE_DEVICE: Final = "An option for several devices; there is one."
_NO_PALLAS: Final = "An option of Pallas, which is not part of pullback."
_INTERNAL: Final = "Chooses between two implementations inside JAX; there is one here."
_NO_PGLE: Final = "An option of XLA's profile-guided scheduling; pullback has no such thing."
_NO_MLIR: Final = "An option for locations and dumps of MLIR, which is not made here."

ACCEPTED: Final[dict[str, tuple[Any, str]]] = {
    "check_vma": (False, _ONE_DEVICE),
    "eager_constant_folding": (False, _INTERNAL),
    "jax2tf_associative_scan_reductions": (False, "An option of jax2tf, which is not provided."),
    "jax2tf_default_native_serialization": (True, "An option of jax2tf, which is not provided."),
    "jax_array_garbage_collection_guard": (
        None,
        "What to do when the garbage collector frees arrays; they are in the host's memory, where "
        "nothing is lost by it.",
    ),
    "jax_auto_pcast": (True, _ONE_DEVICE),
    "jax_backend_target": ("", _ONE_PROCESS),
    "jax_bcoo_cusparse_lowering": (False, _NO_GPU),
    "jax_check_proxy_envs": (True, _ONE_PROCESS),
    "jax_compilation_cache_check_contents": (
        False,
        "Every entry of the cache is checked by its SHA-256 in any case.",
    ),
    "jax_compilation_cache_expect_pgle": (False, _NO_PGLE),
    "jax_compilation_cache_include_metadata_in_key": (
        False,
        "Names and lines of the source never belong to the key.",
    ),
    "jax_compiler_detailed_logging_min_ops": (10, _NO_XLA),
    "jax_compiler_enable_remat_pass": (True, _NO_XLA),
    "jax_cpu_collectives_implementation": ("gloo", _ONE_PROCESS),
    "jax_cpu_enable_async_dispatch": (True, "Programs run to their end before a call returns."),
    "jax_cpu_get_global_topology_timeout_minutes": (5, _ONE_PROCESS),
    "jax_cpu_get_local_topology_timeout_minutes": (2, _ONE_PROCESS),
    "jax_cross_host_transfer_socket_address": ("", _ONE_PROCESS),
    "jax_cross_host_transfer_timeout_seconds": (None, _ONE_PROCESS),
    "jax_cross_host_transfer_transfer_size": (None, _ONE_PROCESS),
    "jax_cross_host_transport_addresses": ("", _ONE_PROCESS),
    "jax_cuda_visible_devices": ("all", _NO_GPU),
    "jax_custom_vjp3": (False, _INTERNAL),
    "jax_debug_leaked_clients_on_clear_backends": (False, "There are no clients to leak."),
    "jax_disable_most_optimizations": (False, _NO_XLA),
    "jax_disable_vmap_shmap_error": (False, _ONE_DEVICE),
    "jax_disallow_mesh_context_manager": (False, "Meshes are context managers in any case."),
    "jax_distributed_debug": (False, _ONE_PROCESS),
    "jax_embedded_constants_max_bytes": (32, "Constants are operands of the program at any size."),
    "jax_enable_pgle": (False, _NO_PGLE),
    "jax_enable_preemption_service": (True, _ONE_PROCESS),
    "jax_enable_recoverability": (False, _ONE_PROCESS),
    "jax_error_checking_behavior_divide": ("ignore", "Set for jax.experimental.error_check."),
    "jax_error_checking_behavior_nan": ("ignore", "Set for jax.experimental.error_check."),
    "jax_error_checking_behavior_oob": ("ignore", "Set for jax.experimental.error_check."),
    "jax_exec_time_optimization_effort": (0.0, _NO_XLA),
    "jax_experimental_unsafe_xla_runtime_errors": (False, _NO_XLA),
    "jax_export_calling_convention_version": (10, "Exported programs have the newest one."),
    "jax_export_ignore_forward_compatibility": (False, "An option of jax.export, not provided."),
    "jax_force_dcn_cross_host_transfers": (False, _ONE_PROCESS),
    "jax_hlo_source_file_canonicalization_regex": (None, _NO_MLIR),
    "jax_include_debug_info_in_dumps": (True, _NO_MLIR),
    "jax_include_full_tracebacks_in_locations": (True, _NO_MLIR),
    "jax_log_checkpoint_residuals": (
        False,
        "ad_checkpoint.print_saved_residuals shows what is kept.",
    ),
    "jax_memory_fitting_effort": (0.0, _NO_XLA),
    "jax_memory_fitting_level": ("O2", _NO_XLA),
    "jax_mock_gpu_topology": ("", _NO_GPU),
    "jax_mosaic_allow_hlo": (False, _NO_PALLAS),
    "jax_mutable_array_checks": (True, "Uses of Refs are checked in any case."),
    "jax_optimization_level": ("UNKNOWN", _NO_XLA),
    "jax_pallas_enable_debug_checks": (False, _NO_PALLAS),
    "jax_pallas_poison_buffers": (False, _NO_PALLAS),
    "jax_pallas_use_mosaic_gpu": (True, _NO_PALLAS),
    "jax_pallas_verbose_errors": (False, _NO_PALLAS),
    "jax_persistent_cache_enable_xla_caches": ("xla_gpu_per_fusion_autotune_cache_dir", _NO_XLA),
    "jax_pgle_aggregation_percentile": (90, _NO_PGLE),
    "jax_pgle_profiling_runs": (3, _NO_PGLE),
    "jax_pjrt_client_create_options": (None, _NO_GPU),
    "jax_pprint_use_color": (True, "Jaxprs are printed without colours."),
    "jax_ragged_dot_use_gpu_pallas_triton_lowering": (False, _NO_GPU),
    "jax_ragged_dot_use_ragged_dot_instruction": (True, _INTERNAL),
    "jax_raise_persistent_cache_errors": (
        False,
        "Failures of the cache are counted in its statistics, and never stop a program.",
    ),
    "jax_refs_to_pins": (False, _INTERNAL),
    "jax_remat3": (False, _INTERNAL),
    "jax_remove_custom_partitioning_ptr_from_cache_key": (False, _ONE_DEVICE),
    "jax_remove_size_one_mesh_axis_from_type": (False, _ONE_DEVICE),
    "jax_rocm_visible_devices": ("all", _NO_GPU),
    "jax_oneapi_visible_devices": ("all", _NO_GPU),
    "jax_scan3": (False, _INTERNAL),
    "jax_send_traceback_to_runtime": ("off", _NO_XLA),
    "jax_serialization_version": (0, "An option of jax.export, not provided."),
    "jax_share_binary_between_hosts": (False, _ONE_PROCESS),
    "jax_share_binary_between_hosts_timeout_ms": (1_200_000, _ONE_PROCESS),
    "jax_sort_devices_by_process_index": (True, _ONE_PROCESS),
    "jax_source_url_schema": (None, _NO_MLIR),
    "jax_thread_guard": (
        False,
        "Refuses operations of several processes in other threads; there are none.",
    ),
    "jax_threefry_gpu_kernel_lowering": (False, _NO_GPU),
    "jax_traceback_in_locations_limit": (100, _NO_MLIR),
    "jax_tracer_error_num_traceback_frames": (
        5,
        "Errors about tracers name the line that made them.",
    ),
    "jax_use_direct_linearize": (True, _INTERNAL),
    "jax_use_emit_pipeline_primitive": (False, _NO_PALLAS),
    "jax_use_magma": ("auto", _NO_GPU),
    "jax_use_shardy_partitioner": (True, _ONE_DEVICE),
    "jax_use_simplified_jaxpr_constants": (False, _INTERNAL),
    "jax_xla_backend": ("", _NO_XLA),
    "jax_xla_profile_version": (0, _NO_XLA),
    "mock_num_gpu_processes": (0, _NO_GPU),
}
"""Name, default value, and why it changes nothing."""
