"""The namespace `jax.ad_checkpoint`: rematerialization and what belongs to it."""

from __future__ import annotations

from pullback import checkpoint_policies
from pullback.control.policies import Offloadable, Recompute, Saveable, checkpoint_name
from pullback.control.remat import checkpoint, remat
from pullback.control.residuals import print_saved_residuals, saved_residuals

__all__ = [
    "Offloadable",
    "Recompute",
    "Saveable",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "print_saved_residuals",
    "remat",
    "saved_residuals",
]
