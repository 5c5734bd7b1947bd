"""What the gate costs: the same load on the same server, through the gate and past it.

Past it goes what shows the supervisor's token. The two ways alternate, so that both meet the same
machine, and every round has prompts of its own, so that no cache helps the second.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from mistral_dev.gpu import load
from mistral_dev.gpu.rig import Scale
from mistral_dev.gpu.scenario import Room, Step
from mistral_dev.gpu.server import Server
from mistral_server.contract import SERVER_TOKEN_HEADER

Ways = Mapping[str, Mapping[str, str]]
"""Headers of the requests that go past the gate and of those that go through it."""


def gate_cost(room: Room) -> None:
    """Measure both ways at every number of requests at the same time."""
    server, scale = room.alive(), room.rig.scale
    reached = ways(server)
    for at_once, requests in scale.load:
        asked = load_on(server, scale, at_once, requests)
        times = {way: load.Times() for way in reached}
        for way, taken in measure(asked, reached, range(scale.load_rounds)):
            times[way].add(taken)
            room.findings.row(f"{at_once} at once, {way}", **times[way].figures())
        _compare(room, at_once, times)


def ways(server: Server) -> Ways:
    """Return how a server is reached without the gate and with it."""
    return {"without": {SERVER_TOKEN_HEADER: server.token()}, "with": {}}


def load_on(server: Server, scale: Scale, at_once: int, requests: int) -> load.Load:
    """Return a load of this size on a server."""
    url = f"http://127.0.0.1:{server.settings.port}/v1/chat/completions"
    name = server.settings.model.served_name
    return load.Load(url, name, at_once, requests, scale.load_words, scale.load_tokens)


def measure(
    asked: load.Load, reached: Ways, rounds: Iterable[int], warm: bool = True
) -> Iterator[tuple[str, load.Times]]:
    """Send a load several times on every way; yield each way with its times once they are there.

    Args:
        asked: what is sent in a round.
        reached: the ways.
        rounds: their numbers; each has prompts of its own.
        warm: send some in advance: kernels of this batch size are compiled once.
    """
    if warm:
        some = replace(asked, requests=asked.at_once)
        load.run(some, -asked.at_once, next(iter(reached.values())))
    for round_ in rounds:
        # The first of a round is the other one each time: where it stands must not count.
        order = list(reached.items())[:: 1 if round_ % 2 == 0 else -1]
        for number, (way, headers) in enumerate(order):
            seed = 10_000 * asked.at_once + 2 * round_ + number
            yield way, load.run(asked, seed, headers)


def _compare(room: Room, at_once: int, times: dict[str, load.Times]) -> None:
    figures = {way: taken.figures() for way, taken in times.items()}
    without, with_gate = figures["without"], figures["with"]
    ratio = with_gate["tokens_per_second"] / (without["tokens_per_second"] or 1.0)
    added = with_gate["first_p50"] - without["first_p50"]
    room.findings.note(**{f"x{at_once}": f"{ratio - 1:+.1%}/{added:+.1f}ms"})
    for way, one in figures.items():
        room.findings.equal(f"{at_once} at once, {way} the gate: failed", one["failed"], 0)


GATE_COST = Step("gate-cost", gate_cost, 240)
