"""What the gate costs: the same load on the same server, through the gate and past it.

Past it goes what shows the supervisor's token. The two ways alternate, so that both meet the same
machine, and every round has prompts of its own, so that no cache helps the second.
"""

from dataclasses import replace

from mistral_dev.gpu import load
from mistral_dev.gpu.scenario import Room, Step
from mistral_server.contract import SERVER_TOKEN_HEADER


def gate_cost(room: Room) -> None:
    """Measure both ways at every number of requests at the same time."""
    server, scale = room.alive(), room.rig.scale
    url = f"http://127.0.0.1:{server.settings.port}/v1/chat/completions"
    ways = {"without": {SERVER_TOKEN_HEADER: server.token()}, "with": {"x-none": "1"}}
    name = server.settings.model.served_name
    for at_once, requests in scale.load:
        asked = load.Load(url, name, at_once, requests, scale.load_words, scale.load_tokens)
        times = {way: load.Times() for way in ways}
        warm = replace(asked, requests=at_once)  # kernels of this batch size compile once
        load.run(warm, -at_once, ways["without"])
        for round_ in range(scale.load_rounds):
            # The first of a round is the other one each time: where it stands must not count.
            order = list(ways.items())[:: 1 if round_ % 2 == 0 else -1]
            for number, (way, headers) in enumerate(order):
                times[way].add(load.run(asked, 10_000 * at_once + 2 * round_ + number, headers))
        _note(room, at_once, times)


def _note(room: Room, at_once: int, times: dict[str, load.Times]) -> None:
    figures = {way: taken.figures() for way, taken in times.items()}
    room.findings.note(**{f"at_{at_once}": figures})
    without, with_gate = figures["without"], figures["with"]
    ratio = with_gate["tokens_per_second"] / (without["tokens_per_second"] or 1.0)
    added = with_gate["first_p50"] - without["first_p50"]
    room.findings.note(**{f"x{at_once}": f"{ratio - 1:+.1%}/{added:+.1f}ms"})
    for way, one in figures.items():
        room.findings.equal(f"{at_once} at once, {way} the gate: failed", one["failed"], 0)


GATE_COST = Step("gate-cost", gate_cost, 240)
