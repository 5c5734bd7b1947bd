"""How fast one GPU serves, with the engine as it comes and with the project's workarounds.

Two servers of one plan share the GPU, half of its memory each, under equal conditions;
only one of them works at a time. Without the workarounds vLLM 0.32 spends 0.3 s of its API process
on every chat that has the real vocabulary, and the GPU waits. They start one after the other: the
memory that one takes while the other profiles would be counted as that one's.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from mistral_dev.gpu import load, profile
from mistral_dev.gpu.rig import Plan, Rig, Streams
from mistral_dev.gpu.scenario import Scenario, ScenarioContext, Step
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.gate_cost import load_on, measure, routes_to

STOCK, PATCHED = 0, 1
"""Positions of the servers."""

_ROUNDS = 2
_SHARE = 0.48
"""Of the GPU, for each: two and their CUDA contexts fit into it."""
_MEMORY_MIB = 135_000
"""Two times 44.76 GiB of weights and 3.75 for computing, and room for 256 streams: an H200."""
_GAIN_AT = 64
_GAIN = 5.0
"""Least ratio of the tokens per second of both with 64 streams; 7.5 was measured on an H200."""
_RECORD_AFTER_SECONDS = 2.0


def _plans(rig: Rig) -> tuple[Plan, ...]:
    return (
        _half(rig, "throughput-stock", workarounds="Disabled"),
        _half(rig, "throughput-patched"),
    )


def _api_server_plans(rig: Rig) -> tuple[Plan, ...]:
    return (_half(rig, "one-api-server"), _half(rig, "two-api-servers", apiServers=2))


def _half(rig: Rig, name: str, **engine: Any) -> Plan:
    half = {"gpuMemoryUtilization": _SHARE, "contextLength": 32_768}
    return rig.plan(name, eager=False, **(half if rig.device == "cuda" else {}), **engine)


def throughput(streams: int, context: ScenarioContext) -> None:
    """Measure both servers at one number of streams."""
    sizes = context.rig.scale.streams[streams]
    speeds = _compare(context, sizes.at_once, (stock(sizes), patched(sizes)))
    gain = speeds[PATCHED] / speeds[STOCK] if speeds[STOCK] else 0.0
    context.findings.note(gain=round(gain, 2))
    if streams == _GAIN_AT and context.rig.device == "cuda":
        context.findings.check(
            f"{_GAIN:.0f} times the tokens per second", gain >= _GAIN, f"{gain:.2f}"
        )


def one_server(streams: int, side: Callable[[Streams], "Side"], context: ScenarioContext) -> None:
    """Measure one of the servers at one number of streams."""
    sizes = context.rig.scale.streams[streams]
    _compare(context, sizes.at_once, (side(sizes),))


def api_servers(streams: int, context: ScenarioContext) -> None:
    """Measure one and two API server processes, with the gate, at one number of streams."""
    at_once = context.rig.scale.streams[streams].at_once
    one, two = (
        Side(at, name, 2 * at_once, _ROUNDS, ("with",))
        for at, name in enumerate(("one API server", "two API servers"))
    )
    speeds = _compare(context, at_once, (one, two))
    context.findings.note(gain=round(speeds[1] / speeds[0], 2) if speeds[0] else 0.0)


@dataclass(frozen=True)
class Side:
    """One of the servers that are compared, and what is sent to it."""

    position: int
    name: str
    requests: int
    """Of a round, on each way."""
    rounds: int
    routes: tuple[str, ...] = ("without", "with")
    warm: bool = True
    """Send some in advance; that takes half a minute where every chat takes 0.3 s."""


def stock(sizes: Streams) -> Side:
    """Return the engine as it comes."""
    routes = ("without", "with") if sizes.stock_past_gate else ("with",)
    return Side(STOCK, "stock", sizes.stock, sizes.stock_rounds, routes, warm=False)


def patched(sizes: Streams) -> Side:
    """Return the engine with the workarounds."""
    return Side(PATCHED, "patched", sizes.patched, _ROUNDS)


def _compare(context: ScenarioContext, at_once: int, sides: tuple[Side, ...]) -> list[float]:
    """Note the figures of every way to each side; return the tokens per second with the gate.

    The sides take turns, and the first of a round is the other one each time. Every round is noted
    as it comes, so that a part that runs out of time keeps those that it had.
    """
    times = {(side.name, route): load.Times() for side in sides for route in side.routes}
    for round_ in range(_ROUNDS):
        for side in sides[:: 1 if round_ % 2 == 0 else -1]:
            if round_ < side.rounds:
                for route, taken in _round(context, at_once, side, round_):
                    times[side.name, route].add(taken)
                    figures = times[side.name, route].figures()
                    context.findings.row(f"{side.name}, {route}", **figures)
    for (name, route), taken in times.items():
        context.findings.equal(f"{name}, {route} the gate: failed", taken.failed, 0)
    return [times[side.name, "with"].figures()["tokens_per_second"] for side in sides]


def _round(
    context: ScenarioContext, at_once: int, side: Side, round_: int
) -> Iterator[tuple[str, load.Times]]:
    server = context.only(side.position).alive()
    routes = {
        route: headers for route, headers in routes_to(server).items() if route in side.routes
    }
    batch = load_on(server, context.rig.scale, at_once, side.requests)
    return measure(batch, routes, [round_], warm=side.warm and round_ == 0)


def api_profile(context: ScenarioContext) -> None:
    """Record what the API process does while 64 streams run, if py-spy is installed."""
    recorder = profile.recorder(context.rig.packages)
    if recorder is None:
        context.findings.note(skipped="no py-spy here")
        return
    scale, server = context.rig.scale, context.only(PATCHED).alive()
    at_once = scale.streams[_GAIN_AT].at_once
    batch = load_on(server, scale, at_once, scale.profile_requests)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load.run_load, batch, -1_000_000, routes_to(server)["with"])
        server.wait_for(loaded.done, _RECORD_AFTER_SECONDS)
        raw = context.rig.work / "throughput-api.raw"
        profile.record(recorder, server.api_process(), scale.profile_seconds, raw)
        context.findings.check("the load lasts as long as the record", not loaded.done())
        context.findings.equal("failed", loaded.result().failed, 0)
    shares = profile.shares(raw.read_text())
    context.findings.check("the main thread is in the record", bool(shares))
    for group, share in shares.items():
        context.findings.row(group, share=f"{share:.1%}")


def _at(streams: int, limit: float) -> Step:
    return Step(f"at-{streams}", partial(throughput, streams), limit)


def _one(position: int) -> Callable[[ScenarioContext], None]:
    return lambda context: BOOT.part(context.only(position))


SCENARIOS = (
    Scenario(
        "throughput",
        priority=8,
        seconds=440,  # without the last part, for which some more may be left
        plans=_plans,
        steps=(
            Step("boot-stock", _one(STOCK), BOOT.limit),
            Step("boot-patched", _one(PATCHED), BOOT.limit),
            # What matters most comes first: a deadline takes the last.
            _at(64, 120),
            Step("api-profile", api_profile, 60),
            Step("at-256", partial(one_server, 256, patched), 90),
            _at(16, 60),
            _at(1, 60),
            # 100 s, to see that the chats a second do not depend on the number of streams
            Step("stock-at-256", partial(one_server, 256, stock), 140, least=110),
        ),
        on_cpu=True,
        alone=True,
        memory_mib=_MEMORY_MIB,
    ),
    Scenario(
        "api-servers",
        priority=9,
        seconds=310,
        plans=_api_server_plans,
        steps=(
            Step("boot-one", _one(0), BOOT.limit),
            Step("boot-two", _one(1), BOOT.limit),
            Step("at-256", partial(api_servers, 256), 150),
            Step("at-64", partial(api_servers, 64), 90),
        ),
        on_cpu=True,
        memory_mib=_MEMORY_MIB,
    ),
)
