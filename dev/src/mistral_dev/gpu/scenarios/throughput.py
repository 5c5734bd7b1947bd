"""How fast one GPU serves, with the engine as it comes and with the project's workarounds.

Two servers of one plan share the GPU, half of its memory each, so that both meet the same machine;
only one of them works at a time. Without the workarounds vLLM 0.32 spends 0.3 s of its API process
on every chat that has the real vocabulary, and the GPU waits. They start one after the other: the
memory that one takes while the other profiles would be counted as that one's.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mistral_dev.gpu import load, profile
from mistral_dev.gpu.rig import Plan, Rig, Streams
from mistral_dev.gpu.scenario import Room, Scenario, Step
from mistral_dev.gpu.scenarios.boot import BOOT
from mistral_dev.gpu.scenarios.gate_cost import Ways, load_on, measure, ways

STOCK, PATCHED = 0, 1
"""Positions of the servers."""

_ROUNDS = 2
_SHARE = 0.48
"""Of the GPU, for each: two and their CUDA contexts fit into it."""
_MEMORY_MIB = 135_000
"""Two times 44.76 GiB of weights and 3.75 for computing, and room for 256 streams: an H200."""
_GAIN_AT = 64
_GAIN = 5.0
"""Least ratio of the tokens per second of both with 64 streams; 5.8 was measured on an H200."""
_RECORD_AFTER_SECONDS = 2.0


def _plans(rig: Rig) -> tuple[Plan, ...]:
    half = {"gpuMemoryUtilization": _SHARE, "contextLength": 32_768}
    engine = half if rig.device == "cuda" else {}
    return (
        rig.plan("throughput-stock", eager=False, workarounds="Off", **engine),
        rig.plan("throughput-patched", eager=False, **engine),
    )


def throughput(streams: int, room: Room) -> None:
    """Measure both servers, each with and without the gate, at one number of streams."""
    sizes = room.rig.scale.streams[streams]
    stock = _measure(room, STOCK, "stock", sizes)
    patched = _measure(room, PATCHED, "patched", sizes)
    gain = patched / stock if stock else 0.0
    room.findings.note(gain=round(gain, 2))
    if streams == _GAIN_AT and room.rig.device == "cuda":
        room.findings.check(
            f"{_GAIN:.0f} times the tokens per second", gain >= _GAIN, f"{gain:.2f}"
        )


def _measure(room: Room, position: int, engine: str, sizes: Streams) -> float:
    """Note the figures of each way; return the tokens per second with the gate."""
    server = room.only(position).alive()
    is_stock = position == STOCK
    requests = sizes.stock if is_stock else sizes.patched
    reached = _ways(ways(server), is_stock, sizes)
    asked = load_on(server, room.rig.scale, sizes.at_once, requests)
    times = measure(asked, reached, 1 if is_stock else _ROUNDS, warm=not is_stock)
    for way, one in times.items():
        figures = one.figures()
        room.findings.row(f"{engine}, {way}", **figures)
        room.findings.equal(f"{engine}, {way} the gate: failed", figures["failed"], 0)
    return times["with"].figures()["tokens_per_second"]


def _ways(every: Ways, is_stock: bool, sizes: Streams) -> Ways:
    if is_stock and not sizes.stock_past_gate:
        return {"with": every["with"]}
    return every


def api_profile(room: Room) -> None:
    """Record what the API process does while 64 streams run, if py-spy is at hand."""
    recorder = profile.recorder(room.rig.packages)
    if recorder is None:
        room.findings.note(skipped="no py-spy here")
        return
    scale, server = room.rig.scale, room.only(PATCHED).alive()
    at_once = scale.streams[_GAIN_AT].at_once
    asked = load_on(server, scale, at_once, scale.profile_requests)
    with ThreadPoolExecutor(1) as pool:
        loaded = pool.submit(load.run, asked, -1_000_000, ways(server)["with"])
        server.until(loaded.done, _RECORD_AFTER_SECONDS)
        raw = room.rig.work / "throughput-api.raw"
        profile.record(recorder, server.api_process(), scale.profile_seconds, raw)
        room.findings.check("the load lasts as long as the record", not loaded.done())
        room.findings.equal("failed", loaded.result().failed, 0)
    shares = profile.shares(raw.read_text())
    room.findings.check("the main thread is in the record", bool(shares))
    for group, share in shares.items():
        room.findings.row(group, share=f"{share:.1%}")


def _at(streams: int, limit: float) -> Step:
    return Step(f"at-{streams}", partial(throughput, streams), limit)


def _one(position: int) -> Callable[[Room], None]:
    return lambda room: BOOT.part(room.only(position))


SCENARIOS = (
    Scenario(
        "throughput",
        priority=8,
        seconds=500,
        plans=_plans,
        steps=(
            Step("boot-stock", _one(STOCK), BOOT.limit),
            Step("boot-patched", _one(PATCHED), BOOT.limit),
            # What matters most comes first: a deadline takes the last.
            _at(64, 150),
            Step("api-profile", api_profile, 90),
            _at(16, 90),
            _at(1, 60),
            _at(256, 240),
        ),
        on_cpu=True,
        alone=True,
        memory_mib=_MEMORY_MIB,
    ),
)
