"""The picture: how many times faster than each peer, workload by workload."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import pyplot as plt

from benchmarks.report import RIVALS, ratio

__all__ = ["draw"]

SERIES: Final = (
    ("steady", ("jax",), "steady, against JAX", "o", "#1f4e9c"),
    ("steady", RIVALS, "steady, against the better of PyTorch and NumPy", "s", "#d9822b"),
    ("first", ("jax",), "first call, against JAX", "^", "#3a8f5c"),
)


def draw(found: Mapping[str, Any], machine: Mapping[str, Any], path: Path) -> None:
    """Write the picture of all records to `path`."""
    mpl.use("Agg")
    titles = [record["title"] for record in found.values()][::-1]
    height = 1.6 + 0.22 * len(titles)
    figure, axes = plt.subplots(figsize=(9.5, height), layout="constrained")
    for what, peers, label, marker, colour in SERIES:
        ratios = [ratio(record, what, peers) for record in found.values()][::-1]
        points = [(r, i) for i, r in enumerate(ratios) if r is not None]
        axes.plot(
            [r for r, _ in points],
            [i for _, i in points],
            linestyle="none",
            marker=marker,
            markersize=5,
            color=colour,
            label=label,
            alpha=0.85,
        )
    families = [record["family"] for record in found.values()][::-1]
    for i in range(1, len(families)):
        if families[i] != families[i - 1]:
            axes.axhline(i - 0.5, color="0.8", linewidth=0.8)
    axes.axvline(1.0, color="0.2", linewidth=1.2)
    axes.axvspan(1e-3, 1.0, color="#c0392b", alpha=0.06, linewidth=0)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(max(low, 0.05), high)
    axes.set_yticks(range(len(titles)), titles, fontsize=7.5)
    axes.set_ylim(-0.7, len(titles) - 0.3)
    axes.grid(axis="x", which="major", color="0.88", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("times faster than the peer (right of the line: Pullback is faster)")
    axes.set_title(
        f"Pullback at {machine['commit']}, {machine['threads']} threads, {machine['date']}",
        fontsize=10,
    )
    axes.tick_params(axis="x", labeltop=True, top=True)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}×")
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
