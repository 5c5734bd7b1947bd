"""What a diagnosis is made of: objects of a cluster, as the API server has them. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mistral_operator.api import ConditionType, Reason
from mistral_operator.api.parsed_status import parse_status
from mistral_operator.api.resource import Resource, parse_resource
from mistral_operator.api.spec import Spec
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.names import KIND
from mistral_operator.kube.objects import Body

Bodies = tuple[Body, ...]


class Finding(NamedTuple):
    """One problem, with the object that has it and what to do about it."""

    object: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        """Return it as one line."""
        return f"{self.object}: {self.problem}: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One namespace, its cluster and the installation; None is what may not be read."""

    namespace: str
    now: str
    version: str
    """Version of this program."""
    nodes: Bodies | None = None
    resources: Bodies | None = None
    """MistralSmallDeployments of the namespace."""
    deployments: Bodies | None = None
    """Their Deployments."""
    storage_classes: Bodies | None = None
    quotas: Bodies | None = None
    limit_ranges: Bodies | None = None
    network_policies: Bodies | None = None
    pod_monitors: Bodies | None = None
    namespace_body: Body | None = None
    definition: Body | None = None
    definition_is_readable: bool = False
    operators: Bodies | None = None
    """Deployments of operators, in all namespaces that may be read."""
    activators: Bodies | None = None
    operator_policies: Bodies | None = None
    """NetworkPolicies in the namespaces of the operators."""
    leases: Mapping[str, Body | None] = field(default_factory=dict)
    """Lease of the leader by namespace of an operator, None where there is none."""
    webhooks: Bodies | None = None
    services: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    """Whether the Services of webhooks exist, by namespace and name."""
    secrets: Mapping[str, bool] = field(default_factory=dict)
    """Whether Secrets that endpoints name exist, as far as they may be read."""
    prometheuses: Bodies | None = None
    """Prometheus and PrometheusAgent, which select alike."""
    victoria_agents: Bodies | None = None

    @property
    def is_installed(self) -> bool | None:
        """Whether there is anything of the operator in the cluster; None if that is not known."""
        if self.operators or self.definition is not None or self.resources:
            return True
        return False if self.definition_is_readable and self.operators is not None else None

    def endpoints(self) -> Iterator[Resource]:
        """Yield the resources that this program can parse."""
        for body in self.resources or ():
            try:
                yield parse_resource(body)
            except InvalidResource:
                continue  # the operator reports on it

    def without_replicas(self) -> set[str]:
        """Return the names of endpoints that are suspended or scaled to zero, which need no GPU."""
        reasons = {
            name_of(KIND, body): one.reason
            for body in self.resources or ()
            for one in parse_status(body.get("status")).status.conditions
            if one.type == ConditionType.READY
        }
        return {
            label(one)
            for one in self.endpoints()
            if one.spec.suspend or reasons.get(label(one)) in {Reason.ASLEEP, Reason.SUSPENDED}
        }

    def planned(self) -> list[tuple[str, Spec]]:
        """Return the endpoints on GPUs, or else the recommended one, each with a name for it."""
        if self.resources is None:
            return []
        named = [(label(one), one.spec) for one in self.endpoints()]
        return [(name, spec) for name, spec in named if spec.device == "cuda"] or (
            [] if named else [("the recommended deployment", Spec())]
        )


def label(resource: Resource) -> str:
    """Return the name of a resource for a finding."""
    return f"{KIND} {resource.namespace}/{resource.name}"


def name_of(kind: str, body: Body) -> str:
    """Return the name of an object for a finding."""
    metadata: Mapping[str, Any] = body["metadata"]
    namespace = metadata.get("namespace")
    return f"{kind} {namespace}/{metadata['name']}" if namespace else f"{kind} {metadata['name']}"
