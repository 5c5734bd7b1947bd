"""Autoscaling on traces: what it costs, how long requests wait, how often replicas change.

`MISTRAL_BENCH_PLOT` names a file for the plot of docs/autoscaling.md.
"""

import os
from pathlib import Path

import pytest

from bench.plot import step_plot
from bench.policies import POLICIES
from bench.replicas import Endpoint, Result
from bench.traces import Trace, traces

SEED = int(os.environ.get("MISTRAL_BENCH_SEED", "1"))
PLOTTED_TRACE = "storms of 3 % loops"
PLOTTED = ("HPA, running + waiting", "ours", "oracle")

HEAD = f"{'':<24}{'GPU-hours':>10}{'p50 s':>8}{'p95 s':>8}{'changes':>9}{'reversals':>10}"


def line(name: str, result: Result) -> str:
    """Return a row of the table; times are those of productive requests in the queue."""
    p50, p95 = result.queue_percentile(0.5), result.queue_percentile(0.95)
    return (
        f"{name:<24}{result.gpu_hours:>10.1f}{p50:>8.1f}{p95:>8.1f}"
        f"{result.changes:>9}{result.reversals:>10}"
    )


def plot(trace: Trace, results: dict[str, Result]) -> None:
    """Write the plot, if its file is given."""
    file = os.environ.get("MISTRAL_BENCH_PLOT")
    if file and trace.name == PLOTTED_TRACE:
        lines = {name: results[name].desired for name in PLOTTED}
        Path(file).write_text(step_plot(f"Replicas, {trace.name}", lines, trace.seconds))


@pytest.mark.timeout(1800)
def test_autoscaling_on_traces() -> None:
    print(f"\nseed {SEED}")
    for trace in traces(SEED):
        results = {name: Endpoint(trace, make(trace)).run() for name, make in POLICIES.items()}
        plot(trace, results)
        requests = len(results["ours"].queue_seconds)
        print(f"\n{trace.name}: {trace.seconds / 3600:.0f} h, {requests} productive requests")
        print(HEAD)
        for name, result in results.items():
            print(line(name, result))
        ours, usual = results["ours"], results["HPA, running + waiting"]
        assert ours.gpu_hours <= 1.02 * usual.gpu_hours, "junk must not cost more than elsewhere"
