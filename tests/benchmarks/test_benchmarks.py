"""The instrument: it measures, it checks results, and what it writes says what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import report, session, timing
from benchmarks.registry import Workload, load, select

PEERS = ["pullback", "numpy"]


def _record(**peers: dict[str, Any]) -> dict[str, Any]:
    limits = {"bandwidth": 1e10, "float32": 1e11, "float64": 5e10}
    rest = {"title": "t", "family": "f", "bytes": 1e7, "flops": 0.0, "double": False}
    return {"limits": limits, "tolerance": 1e-4, "commit": "c", "peers": peers} | rest


def test_every_workload_has_inputs_and_limits_of_its_own():
    for task in load().values():
        assert task.bytes >= 0
        assert task.flops >= 0
        assert set(task.forms) <= {"torch", "numpy"}
        assert task.form("pullback").function is task.form("jax").function


def test_selection_by_name_family_and_pattern():
    assert [t.name for t in select(["softmax"])] == ["softmax"]
    assert {t.family for t in select(["calls"])} == {"calls"}
    assert len(select(["matmul_*"])) > 3
    with pytest.raises(ValueError, match="no workload"):
        select(["nonsense"])


def test_two_workloads_run_in_fresh_processes_and_agree(tmp_path: Path):
    options = session.Options(PEERS, rounds=2, seconds=0.02)
    ticks: list[str] = []
    for name in ("eager_mlp", "sum_columns"):
        record = session.measure(load()[name], options, ticks.append)
        mine = record["peers"]["pullback"]
        assert mine["difference"] < 1e-4
        assert mine["same_bits"]
        assert 0 < mine["steady"] <= mine["first"]
        assert mine["warm"] > 0
    assert sorted(ticks) == sorted(PEERS * 4)


def test_the_command_keeps_what_it_measured(tmp_path: Path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    pytest.importorskip("tqdm")
    limits = {"bandwidth": 1e10, "float32": 1e11, "float64": 5e10}
    monkeypatch.setattr(command, "HERE", tmp_path)
    monkeypatch.setattr(command, "RECORDS", tmp_path / "results.json")
    monkeypatch.setattr(session, "limits", lambda threads: limits)
    monkeypatch.setattr(session, "pin", lambda threads: None)
    monkeypatch.setattr(session, "prepare", lambda cache, threads: 1.5)
    for name in ("scalar_add", "eager_add"):
        arguments = [name, "--peers", *PEERS, "--rounds", "1", "--seconds", "0.01", "--update"]
        assert command.main(arguments) == 0
    kept = json.loads((tmp_path / "results.json").read_text())
    assert list(kept["workloads"]) == ["scalar_add", "eager_add"]
    text = (tmp_path / "results.md").read_text()
    assert "jitted scalar add" in text
    assert "10.0 GB/s" in text
    assert "1.50 s" in text
    assert (tmp_path / "results.png").stat().st_size > 1000


def test_bits_are_compared_at_four_numbers_of_threads(capsys, monkeypatch):
    assert command.main(["total", "--bits"]) == 0
    assert "1 of 1 give the same bits" in capsys.readouterr().out
    monkeypatch.setattr(session, "bits", lambda task, options: {1: "a", 2: "b"})
    assert command.main(["total", "--bits"]) == 1
    assert "0 of 1" in capsys.readouterr().out


def test_differences_are_relative_to_the_largest_magnitude():
    assert session._distance([np.array([1.0, 200.0])], [np.array([1.0, 100.0])]) == 1.0
    assert session._distance([np.array([np.nan])], [np.array([np.nan])]) == 0.0
    assert session._distance([np.array([np.nan])], [np.array([1.0])]) == float("inf")
    assert session._distance([np.zeros(3)], [np.zeros(4)]) == float("inf")


def test_what_is_below_the_bar_is_named():
    good = _record(pullback={"steady": 1e-3, "difference": 0.0}, jax={"steady": 3e-3})
    assert report.below_the_bar("x", good) == []
    assert report.ratio(good, "steady", ["jax"]) == pytest.approx(3.0)
    slow = _record(pullback={"steady": 4e-3, "first": 2.0}, jax={"steady": 3e-3, "first": 1.0})
    words = report.below_the_bar("x", slow)
    assert words == ["steady 0.75× JAX", "first call 0.50× JAX", "25% of the limit of bandwidth"]
    assert report.is_wrong(_record(pullback={"error": "boom"}))
    assert report.is_wrong(_record(pullback={"steady": 1.0, "difference": 1.0}))
    assert not report.is_wrong(good)


def test_a_workload_that_fails_is_recorded_and_named():
    record = _record(pullback={"error": "ValueError: no"}, jax={"steady": 1.0})
    assert report.below_the_bar("x", record) == ["fails: ValueError: no"]
    assert "ValueError: no" in report.line("x", record)


def test_a_batch_is_long_enough_for_the_clock(monkeypatch):
    """By a clock that only calls and its own readings move: no other process does."""
    now, batches = [0.0], [0]

    def call(_):
        now[0] += 1e-8
        batches[-1] += 1

    def clock():
        now[0] += 1e-7
        batches.append(0)
        return now[0]

    monkeypatch.setattr(timing.time, "perf_counter", clock)
    best = timing.steady_time(call, [1], lambda out: out, seconds=0.01, call=True)
    assert best == pytest.approx(1e-8, rel=0.01)
    longest = max(batches)
    assert longest * best >= timing.SHORTEST_SAMPLE
    assert batches.count(longest) >= timing.FEWEST_SAMPLES


def test_peers_that_cannot_express_a_workload_are_left_out():
    task: Workload = load()["scalar_loop"]
    assert task.form("numpy") is None
    assert task.form("compile") is None
    assert load()["chain"].form("compile") is not None
