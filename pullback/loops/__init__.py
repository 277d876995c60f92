"""Jaxprs become loop nests over buffers: lazy tensors, fusion, schedules, memory."""
