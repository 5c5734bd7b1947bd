"""The cost of the gate: the same load on the same server, with and without the gate.

Requests with the supervisor's token bypass the gate. The two routes alternate under equal
conditions, and every round has its own prompts, so that no cache helps the second.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from mistral_dev.gpu import load
from mistral_dev.gpu.rig import Scale
from mistral_dev.gpu.scenario import ScenarioContext, Step
from mistral_dev.gpu.server import Server
from mistral_server.contract import SERVER_TOKEN_HEADER

Routes = Mapping[str, Mapping[str, str]]
"""Headers of the requests that go past the gate and of those that go through it."""


def gate_cost(context: ScenarioContext) -> None:
    """Measure both routes at every number of concurrent requests."""
    server, scale = context.alive(), context.rig.scale
    routes = routes_to(server)
    for at_once, requests in scale.load:
        batch = load_on(server, scale, at_once, requests)
        times = {route: load.Times() for route in routes}
        for route, taken in measure(batch, routes, range(scale.load_rounds)):
            times[route].add(taken)
            context.findings.row(f"{at_once} at once, {route}", **times[route].figures())
        _compare(context, at_once, times)


def routes_to(server: Server) -> Routes:
    """Return how a server is reached without the gate and with it."""
    return {"without": {SERVER_TOKEN_HEADER: server.token()}, "with": {}}


def load_on(server: Server, scale: Scale, at_once: int, requests: int) -> load.Load:
    """Return a load of this size on a server."""
    url = f"http://127.0.0.1:{server.settings.port}/v1/chat/completions"
    name = server.settings.model.served_name
    return load.Load(url, name, at_once, requests, scale.load_words, scale.load_tokens)


def measure(
    batch: load.Load, routes: Routes, rounds: Iterable[int], warm: bool = True
) -> Iterator[tuple[str, load.Times]]:
    """Send a load several times on every route; yield each route with its times.

    Args:
        batch: the load of a round.
        routes: the routes with their headers.
        rounds: numbers of the rounds; each has its own prompts.
        warm: send some in advance: kernels of this batch size are compiled once.
    """
    if warm:
        warm_up = replace(batch, requests=batch.at_once)
        load.run_load(warm_up, -batch.at_once, next(iter(routes.values())))
    for round_ in rounds:
        # The first of a round alternates: the order must not matter.
        order = list(routes.items())[:: 1 if round_ % 2 == 0 else -1]
        for number, (route, headers) in enumerate(order):
            seed = 10_000 * batch.at_once + 2 * round_ + number
            yield route, load.run_load(batch, seed, headers)


def _compare(context: ScenarioContext, at_once: int, times: dict[str, load.Times]) -> None:
    figures = {route: taken.figures() for route, taken in times.items()}
    without, with_gate = figures["without"], figures["with"]
    ratio = with_gate["tokens_per_second"] / (without["tokens_per_second"] or 1.0)
    added = with_gate["first_p50"] - without["first_p50"]
    context.findings.note(**{f"x{at_once}": f"{ratio - 1:+.1%}/{added:+.1f}ms"})
    for route, one in figures.items():
        context.findings.equal(f"{at_once} at once, {route} the gate: failed", one["failed"], 0)


GATE_COST = Step("gate-cost", gate_cost, 240)
