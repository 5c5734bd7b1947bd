"""What the installation has to allow: where tokens are sent, and what KEDA queries."""

from typing import Any

import pytest

from mistral_operator.api import parse_spec
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render import RenderContext
from mistral_operator.render.allowed import check_allowed, not_allowed

MIRROR = "https://hub.example.com"
PROMETHEUS = "http://prometheus.monitoring.svc:9090"


def hub(**fields: Any) -> dict[str, Any]:
    """Return the spec of an endpoint that fetches its model with a token."""
    return {"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}, **fields}}}}


def keda(**fields: Any) -> dict[str, Any]:
    """Return the spec of an endpoint that KEDA scales."""
    return {
        "autoscaling": {"driver": "KEDA", "maxReplicas": 2, "targetInFlight": 8, "keda": fields}
    }


def context(hubs: tuple[str, ...] = (), servers: tuple[str, ...] = ()) -> RenderContext:
    """Return an installation with its allow-lists."""
    return RenderContext("server:1", hub_endpoints=hubs, prometheus_urls=servers)


@pytest.mark.parametrize(
    ("spec", "installation"),
    [
        ({}, context()),
        (hub(), context()),
        (hub(endpoint="https://huggingface.co"), context()),
        (hub(endpoint="https://huggingface.co/"), context()),
        (hub(endpoint=MIRROR, tokenSecret=None), context()),
        (hub(endpoint="http://hub.example.com", tokenSecret=None), context()),
        (hub(endpoint=MIRROR), context(hubs=(MIRROR,))),
        (hub(endpoint=f"{MIRROR}/"), context(hubs=(MIRROR,))),
        (hub(endpoint=MIRROR), context(hubs=(f"{MIRROR}/",))),
        (keda(), context()),
        (keda(prometheus=PROMETHEUS), context(servers=(PROMETHEUS,))),
    ],
)
def test_what_the_installation_allows_is_accepted(
    spec: dict[str, Any], installation: RenderContext
) -> None:
    check_allowed(parse_spec(spec), installation)


@pytest.mark.parametrize(
    "allowed",
    [
        (),
        (PROMETHEUS,),
        (f"{MIRROR}/path",),
        ("https://hub.example.com.evil.example",),
        ("https://hub.example",),
    ],
)
def test_a_token_is_sent_to_no_other_hub(allowed: tuple[str, ...]) -> None:
    with pytest.raises(InvalidResource) as refused:
        check_allowed(parse_spec(hub(endpoint=MIRROR)), context(hubs=allowed))

    assert str(refused.value).startswith("spec.model.source.hub.endpoint: this installation sends")
    assert f"add {MIRROR} to the chart value allowedHubEndpoints" in str(refused.value)


def test_keda_queries_no_other_url() -> None:
    with pytest.raises(InvalidResource) as refused:
        check_allowed(parse_spec(keda(prometheus=PROMETHEUS)), context(hubs=(PROMETHEUS,)))

    assert f"add {PROMETHEUS} to the chart value allowedPrometheusUrls" in str(refused.value)


def test_everything_that_the_lists_do_not_allow_is_said_at_once() -> None:
    spec = hub(endpoint=MIRROR) | keda(prometheus=PROMETHEUS)
    spec |= {"service": {"type": "LoadBalancer"}, "pod": {"serviceAccountName": "gpu-users"}}

    fields = [one.field for one in not_allowed(parse_spec(spec), context())]

    assert fields == [
        "spec.model.source.hub.endpoint",
        "spec.autoscaling.keda.prometheus",
        "spec.pod.serviceAccountName",
        "spec.service.type",
    ]
