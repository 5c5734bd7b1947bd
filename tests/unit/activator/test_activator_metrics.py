"""The counters of requests: a rate needs a zero before the first request of an outcome."""

import ast
import re
from collections.abc import Iterator
from inspect import getsource

from prometheus_client import REGISTRY

from builders import NAMESPACE
from endpoint_slices import mapped
from mistral_dev.paths import CHECKOUT
from mistral_operator.activator import admission, proxy
from mistral_operator.activator.endpoints import Endpoints
from mistral_operator.activator.metrics import OUTCOMES, REQUESTS
from mistral_operator.kube.objects import Key

ONE, OTHER = Key(NAMESPACE, "counted"), Key(NAMESPACE, "counted-too")


def shown(key: Key) -> dict[str, float]:
    """Return the number of requests of an endpoint, by outcome."""
    return {
        sample.labels["outcome"]: sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "mistral_activator_requests_total"
        and (sample.labels["namespace"], sample.labels["name"]) == key
    }


def test_every_outcome_is_there_before_the_first_request() -> None:
    endpoints = Endpoints()
    endpoints.set_ports({20_000: mapped(ONE)})

    assert shown(ONE) == dict.fromkeys(OUTCOMES, 0.0)


def test_an_endpoint_keeps_its_counts_at_another_port_and_takes_them_with_it() -> None:
    endpoints = Endpoints()
    endpoints.set_ports({20_000: mapped(ONE), 20_001: mapped(OTHER)})
    REQUESTS.labels(*ONE, "timed_out").inc()

    endpoints.set_ports({20_007: mapped(ONE)})

    assert shown(ONE)["timed_out"] == 1
    assert shown(OTHER) == {}

    endpoints.set_ports({})

    assert shown(ONE) == {}


def outcomes_in(source: str) -> Iterator[str]:
    """Yield the outcomes that code returns with a response, raises or counts."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=str(outcome)), _])):
                yield outcome
            case ast.Call(
                func=ast.Name(id="NotAdmitted"), args=[ast.Constant(value=str(outcome)), _]
            ):
                yield outcome
            case ast.Call(func=ast.Name(id="_count"), args=[_, ast.Constant(value=str(outcome))]):
                yield outcome


def test_the_outcomes_are_those_of_the_code_and_of_the_documentation() -> None:
    document = (CHECKOUT / "docs" / "monitoring.md").read_text()
    (row,) = re.findall(r"^\| `mistral_activator_requests_total` .*$", document, re.MULTILINE)
    described = row.split("|")[3]

    assert {*outcomes_in(getsource(proxy)), *outcomes_in(getsource(admission))} == set(OUTCOMES)
    assert set(re.findall(r"`(\w+)`", described)) == set(OUTCOMES)
