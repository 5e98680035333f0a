"""`samovar bench` measures what it promises, says so in one JSON object, and ends in time.

SAMOVAR_TOOL names the command. SAMOVAR_TEST_LONG=1 runs the test of the whole `--quick`, too (half a minute).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

TOOL = os.environ.get("SAMOVAR_TOOL", "samovar")
QUICK_LIMIT_S = 40

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="the benchmark needs two CPUs")

PAYLOAD_PEERS = ("multiprocessing_pipe", "shared_memory", "zeromq", "grpc")
PEERS = ("jsonrpc_stdio", "multiprocessing_pipe", "process_pool_executor", "zeromq", "process_per_call")
KEYS = {
    "host",
    "options",
    "floor_rtt_ns",
    "bare_lane_rtt_ns",
    "call_rtt_ns",
    "call_over_floor",
    "typed_added_ns",
    "co_await_added_ns",
    "throughput_per_s",
    "floor_throughput_per_s",
    "idle_cpu_fraction",
    "wake_rtt_ns",
    "futex_floor_rtt_ns",
    "peers",
    "tensor_8mib_rtt_ns",
    "call_64_rtt_ns",
    "tensor_sum_over_in_process",
    "schema_field_ns",
    "stock_field_ns",
    "reply_384_native_ns",
    "reply_384_stock_ns",
    "kill_to_error_ns",
    "kill_to_error_1gb_ns",
    "kill_to_next_reply_ns",
    "stop_detect_ns",
    "wedge_detect_ns",
    "fork_ready_ns",
    "exec_ready_ns",
    "burst_ready_ns",
    "model_burst_ready_ns",
    "memory_ratio_8_over_1",
}


def bench(*arguments: str, limit_s: float = 2 * QUICK_LIMIT_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run([TOOL, "bench", *arguments], capture_output=True, text=True, timeout=limit_s, check=False)


def figures_of(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert finished.returncode == 0, finished.stderr
    figures: dict[str, Any] = json.loads(finished.stdout)  # the whole of stdout: one object and nothing else
    assert figures.keys() >= KEYS
    assert figures["failures"] == []
    return figures


def check_percentiles(series: dict[str, float], keys: tuple[str, ...], lowest_ns: float, highest_ns: float) -> None:
    values = [series[key] for key in keys]
    assert all(math.isfinite(value) for value in values)
    assert lowest_ns < values[0] < highest_ns
    assert values == sorted(values)


def check_trips(figures: dict[str, Any]) -> None:
    check_percentiles(figures["floor_rtt_ns"], ("p50", "p99", "p999"), 10, 20_000)
    check_percentiles(figures["bare_lane_rtt_ns"], ("p50",), 50, 50_000)
    assert figures["call_rtt_ns"].keys() == {"64", "1024", "4096", "67108864"}
    for size in ("64", "1024", "4096"):
        check_percentiles(figures["call_rtt_ns"][size], ("p50", "p99", "p999", "max"), 50, 100_000)
    assert figures["floor_rtt_ns"]["p50"] < figures["call_rtt_ns"]["64"]["p50"]
    ratio = figures["call_rtt_ns"]["64"]["p50"] / figures["floor_rtt_ns"]["p50"]
    assert figures["call_over_floor"] == pytest.approx(ratio, rel=0.01)


def check_throughput(figures: dict[str, Any]) -> None:
    assert 1_000 < figures["throughput_per_s"] < 1e8
    assert 1_000 < figures["floor_throughput_per_s"] < 1e8
    assert figures["throughput"]["prefetch"] > 1


def check_host_and_options(figures: dict[str, Any]) -> None:
    host = figures["host"]
    assert host["cpus"] >= 2
    assert host["host_cpu"] != host["worker_cpu"]
    assert all(host[key] for key in ("cpu", "kernel", "compiler", "build_type", "python", "topology"))
    assert figures["options"]["workers"] == 1
    assert figures["options"]["dispatcher"] == "caller"


def test_sections_asked_for_are_measured_and_the_others_are_null() -> None:
    figures = figures_of(bench("--quick", "--json", "--only", "floor,bare,call,throughput"))
    check_host_and_options(figures)
    check_trips(figures)
    check_throughput(figures)
    assert figures["idle_cpu_fraction"] is None
    assert figures["wake_rtt_ns"]["p50"] is None
    assert figures["peers"] == {}


def test_ways_to_call_are_compared_with_one_another() -> None:
    figures = figures_of(bench("--quick", "--json", "--only", "interfaces"))
    for series in figures["interfaces"].values():
        check_percentiles(series, ("p50", "p99", "p999", "max"), 50, 100_000)
    assert -1_000 < figures["co_await_added_ns"] < 10_000
    assert -1_000 < figures["typed_added_ns"] < 10_000
    assert figures["verdicts"]["typed_added_ns"]["bar"] == 400
    assert figures["call_rtt_ns"]["64"]["p50"] is None


def test_large_payloads_are_measured() -> None:
    figures = figures_of(bench("--quick", "--json", "--only", "large,churn"))
    check_percentiles(figures["call_rtt_ns"]["67108864"], ("p50", "p99", "p999", "max"), 50, 1_000_000)
    assert figures["call_rtt_ns"]["64"]["p50"] is None
    assert 0.1 < figures["large_touch_over_memcpy"] < 100
    assert 100 < figures["arena_churn_per_s"] < 1e7
    assert figures["churn"]["refused"] == 0
    assert 0.3 < figures["churn"]["fill"] < 0.7


def test_payloads_are_measured_beside_their_peers() -> None:
    figures = figures_of(bench("payload", "--quick", "--json"))
    check_percentiles(figures["tensor_8mib_rtt_ns"], ("p50", "p99", "p999", "max"), 50, 1_000_000)
    check_percentiles(figures["call_64_rtt_ns"], ("p50", "p99", "p999", "max"), 50, 1_000_000)
    assert 0.1 < figures["tensor_sum_over_in_process"] < 100
    assert 0.01 < figures["batch32_item_over_single"] < 10
    check_percentiles(figures["payload"]["batch_32_rtt_ns"], ("p50", "p99", "p999", "max"), 50, 10_000_000)
    assert 1_000 < figures["stream_chunks_per_s"] < 1e8
    assert 1 < figures["schema_field_ns"] < figures["stock_field_ns"] < 1e6
    assert 1 < figures["reply_384_native_ns"] < figures["reply_384_stock_ns"] < 1e9
    assert tuple(figures["peers"]) == PAYLOAD_PEERS
    assert figures["peers"] == figures["payload"]["peers"]
    for peer in figures["peers"].values():
        assert 100_000 < peer["p50"] < 10e9
        assert peer["over_tensor"] > 1
    assert figures["verdicts"]["tensor_over_call"]["bar"] == 3
    assert figures["verdicts"]["batch32_item_over_single"]["bar"] == 0.35
    assert figures["verdicts"]["stream_chunks_per_s"]["bar"] == 1e6
    assert figures["call_rtt_ns"]["64"]["p50"] is None


def test_a_peer_that_is_not_installed_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grpc.py").write_text('raise ImportError("not here")\n')
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finished = bench("payload", "--quick", "--json")
    assert finished.returncode == 1
    figures = json.loads(finished.stdout)
    assert figures["peers"]["grpc"]["p50"] is None
    assert "make setup" in figures["peers"]["grpc"]["failure"]
    assert all(figures["peers"][name]["p50"] > 0 for name in PAYLOAD_PEERS if name != "grpc")
    (failure,) = figures["failures"]
    assert failure.startswith("payload: grpc: ")


def test_recovery_is_measured_and_a_section_needs_no_option() -> None:
    figures = figures_of(bench("recovery", "--quick", "--json"))
    for key in ("kill_to_error_ns", "kill_to_error_1gb_ns", "kill_to_next_reply_ns"):
        check_percentiles(figures[key], ("p50", "p99", "max"), 50_000, 30e9)
    assert figures["kill_to_error_ns"]["p50"] < figures["kill_to_next_reply_ns"]["p50"]
    assert figures["verdicts"]["kill_to_error_p50_ms"]["bar"] == 2
    assert figures["call_rtt_ns"]["64"]["p50"] is None
    assert figures["idle_cpu_fraction"] is None


def test_start_is_measured_with_a_model() -> None:
    figures = figures_of(bench("start", "--quick", "--json", limit_s=300))
    for key in ("fork_ready_ns", "exec_ready_ns", "kill_to_next_reply_ns"):
        check_percentiles(figures[key], ("p50", "p99", "max"), 100_000, 60e9)
    assert figures["fork_ready_ns"]["p50"] < figures["exec_ready_ns"]["p50"]
    assert figures["kill_to_next_reply_ns"] == figures["start"]["kill_to_next_reply_ns"]
    assert 80e6 < figures["start"]["model_bytes"] < 160e6
    assert 0 < figures["burst_ready_ns"] < 10e9
    assert 1 < figures["memory_ratio_8_over_1"] < 4
    assert figures["verdicts"]["fork_ready_p50_ms"]["bar"] == 10
    assert figures["kill_to_error_ns"]["p50"] is None


def test_progress_goes_to_stderr_and_the_table_to_stdout() -> None:
    finished = bench("--quick", "--only", "floor,bare")
    assert finished.returncode == 0, finished.stderr
    assert "samovar bench: " in finished.stderr
    for said in ("topology", "floor: a line each way", "bare lane, 64 B"):
        assert said in finished.stdout


def test_python_that_does_not_exist_is_a_clear_error() -> None:
    finished = bench("--quick", "--json", "--only", "call", "--python", "/nonexistent/python")
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert "/nonexistent/python" in finished.stderr


def test_section_that_does_not_exist_is_wrong_usage() -> None:
    finished = bench("--only", "call,speed")
    assert finished.returncode == 2
    assert "speed" in finished.stderr


@pytest.mark.skipif(os.environ.get("SAMOVAR_TEST_LONG") != "1", reason="takes half a minute: SAMOVAR_TEST_LONG=1")
def test_quick_run_yields_every_figure_within_40_seconds() -> None:
    begin_s = time.monotonic()
    figures = figures_of(bench("--quick", "--json"))
    assert time.monotonic() - begin_s < QUICK_LIMIT_S
    check_host_and_options(figures)
    check_trips(figures)
    check_throughput(figures)
    assert 0 <= figures["idle_cpu_fraction"] < 0.5
    check_percentiles(figures["futex_floor_rtt_ns"], ("p50", "p99", "p999"), 500, 10_000_000)
    check_percentiles(figures["wake_rtt_ns"], ("p50", "p99", "p999"), 500, 10_000_000)
    assert tuple(figures["peers"]) == PEERS
    for name in PEERS:
        check_percentiles(figures["peers"][name], ("p50",), 1_000, 1e9)
