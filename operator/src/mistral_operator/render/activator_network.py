"""The NetworkPolicies of the activators: who may call which endpoint at its port there. Pure.

The pods of an endpoint see the activator in place of its clients, so their own policy cannot tell
who may call. Each policy here has the rules of some ports. The ports are fixed, so that no number
or length of callers that tenants write makes an object larger than the API server accepts.
"""

import json
from collections.abc import Mapping
from typing import Any

from mistral_operator.api.network import Labels, Network, Peer
from mistral_operator.kube import names
from mistral_operator.kube.objects import Body
from mistral_operator.render.context import NetworkDefaults
from mistral_operator.scale_to_zero import FIRST_PORT

Object = dict[str, Any]

PORTS_PER_POLICY = 50
"""With the longest callers, the rules of a port take 10 KB, and an object may have 1.5 MiB."""

Callers = str
"""Who may call: the peers of a rule as JSON, the same for the same peers, or `EVERYONE`."""

EVERYONE: Callers = ""

_OWN_NAMESPACE = '{"podSelector":{}}'
"""The operator's namespace, which the policies of endpoints admit, too."""

NO_CALLERS: Callers = f"[{_OWN_NAMESPACE}]"
"""Only the operator's namespace."""


def callers_of(
    network: Network,
    namespace: str,
    defaults: NetworkDefaults,
    router: Mapping[str, str] | None = None,
) -> Callers:
    """Return who may call an endpoint through the activators.

    Args:
        network: what the endpoint says.
        namespace: of the endpoint. A selector of pods alone means those in it.
        defaults: what the installation says.
        router: labels of the pods of its router; None without one.
    """
    peers = defaults.callers if network.callers is None else network.callers
    if peers is None:
        return EVERYONE
    texts = {_peer(one, namespace) for one in peers}
    if router is not None:
        texts.add(_peer(Peer(pod_selector=Labels(match_labels=dict(router))), namespace))
    return f"[{','.join((_OWN_NAMESPACE, *sorted(texts)))}]"


def _peer(peer: Peer, namespace: str) -> str:
    # The API server leaves out empty labels.
    rendered = peer.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    if peer.ip_block is None and peer.namespace_selector is None:
        rendered["namespaceSelector"] = {"matchLabels": {names.LABEL_NAMESPACE_NAME: namespace}}
    return json.dumps(rendered, sort_keys=True, separators=(",", ":"))


def by_policy(callers: Mapping[int, Callers]) -> dict[int, dict[int, Callers]]:
    """Return the callers of each port, by the first port of its policy."""
    policies: dict[int, dict[int, Callers]] = {}
    for port in sorted(callers):
        first = port - (port - FIRST_PORT) % PORTS_PER_POLICY
        policies.setdefault(first, {})[port] = callers[port]
    return policies


def activator_policy(first: int, callers: Mapping[int, Callers], of_chart: Body) -> Object:
    """Return the policy of some ports. Ports with the same callers share a rule.

    Args:
        first: the first port that it may have rules of.
        callers: the callers of each port in use.
        of_chart: the policy of the chart for the same pods. With it, this one is deleted.
    """
    ports: dict[Callers, list[int]] = {}
    for port in sorted(callers):
        ports.setdefault(callers[port], []).append(port)
    metadata = of_chart["metadata"]
    owner = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": names.activator_policy(first),
            "namespace": metadata["namespace"],
            "labels": {names.LABEL_MANAGED_BY: names.MANAGED_BY},
            "ownerReferences": [owner],
        },
        "spec": {
            "podSelector": of_chart["spec"]["podSelector"],
            "policyTypes": ["Ingress"],
            "ingress": [_rule(one, among) for one, among in ports.items()],
        },
    }


def _rule(callers: Callers, ports: list[int]) -> Object:
    rule: Object = {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}
    # A rule with an empty list of peers would admit everyone; this list is never empty.
    return rule if callers == EVERYONE else {**rule, "from": json.loads(callers)}
