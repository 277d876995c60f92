"""Programs that tests run under the drop-in are no modules to be collected."""

from __future__ import annotations

collect_ignore = ["jax_style.py", "shown.py"]
