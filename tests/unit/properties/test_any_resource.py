"""A resource that the CRD's schema allows becomes children within bounds, or one clear sentence."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from builders import CONTEXT, resource_body
from child_rules import broken_rules
from fuzz_examples import EXAMPLES
from golden_cases import FETCHING
from mistral_operator.api import Spec, parse_resource
from mistral_operator.api.crd import structural
from mistral_operator.api.network import Peer
from mistral_operator.api.yaml_documents import to_yaml, yaml_documents
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render import NetworkDefaults, RenderContext, children
from mistral_operator.render.allowed import check_allowed
from mistral_operator.render.prepull import prepull_children
from mistral_operator.scale_to_zero import ActivatorRoute, can_scale_to_zero
from mistral_operator.status.conditions import shortened
from prepull_rules import broken_prepull_rules
from router_rules import broken_router_rules, is_of_router
from schema_documents import documents, with_a_wild_value

SPECS = documents(structural(Spec))
PEER = Peer.model_validate({"ipBlock": {"cidr": "10.0.0.0/8"}})
INSTALLATIONS = (
    CONTEXT,
    RenderContext(
        "server:1",
        pod_monitors=True,
        scaled_objects=True,
        network=NetworkDefaults("operators", "monitoring", callers=(PEER,), destinations=(PEER,)),
    ),
)
ROUTES = (None, ActivatorRoute(20_000, ("10.0.0.1",)), ActivatorRoute(20_001, ("fd00::1",), True))


def check(spec: Any, context: RenderContext, route: ActivatorRoute | None) -> None:
    """Check the outcome of a spec: children, or an error."""
    try:
        resource = parse_resource({**resource_body(), "spec": spec})
        check_allowed(resource.spec, context)
    except InvalidResource as error:
        problems = [*problems_of(error)]
    else:
        rendered = children(
            resource,
            context,
            route if can_scale_to_zero(resource.spec) else None,
            prefetch=FETCHING if resource.spec.prefetches else None,
        )
        of_router = [one for one in rendered if is_of_router(resource, one)]
        others = [one for one in rendered if one not in of_router]
        problems = broken_rules(resource, others) + broken_router_rules(resource, of_router)
        (deployment,) = [one for one in others if one["kind"] == "Deployment"]
        pulling = prepull_children(resource, context, ("gpu-0",))
        pod = deployment["spec"]["template"]["spec"]
        problems += broken_prepull_rules(resource, pulling, pod)
        rendered = (*rendered, *pulling)
        problems += [f"{child}" for child in rendered if read_again(json.dumps(child)) != child]
    assert problems == []


def problems_of(error: InvalidResource) -> Iterator[str]:
    """Yield what is wrong with an error beside the resource."""
    message = shortened(str(error))
    # A key of a map may be anything; in the message it is public text.
    if not message.startswith(shortened(error.field)) or not error.field.startswith("spec"):
        yield f"{message} names no field"
    if not message.isprintable() or len(message) > 1024:
        yield f"{message!r} is no line"


@lru_cache(maxsize=1000)
def read_again(child: str) -> Any:
    """Return a child as kubectl reads what `render` prints. Many resources share most children."""
    (document,) = yaml_documents(to_yaml(json.loads(child)))
    return document


@settings(max_examples=EXAMPLES)
@given(SPECS, st.sampled_from(INSTALLATIONS), st.sampled_from(ROUTES))
@example({"routing": {"policy": "Prefix"}}, CONTEXT, None)
@example({"routing": {"policy": "Session"}, "autoscaling": {"minReplicas": 0}}, CONTEXT, ROUTES[1])
def test_any_spec_of_the_schema(
    spec: Any, context: RenderContext, route: ActivatorRoute | None
) -> None:
    check(spec, context, route)


@settings(max_examples=EXAMPLES)
@given(with_a_wild_value(SPECS))
def test_any_value_in_place_of_one(spec: Any) -> None:
    check(spec, CONTEXT, None)
