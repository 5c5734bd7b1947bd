"""The types of the chart's values; their defaults and descriptions are in values.yaml.

The model has no defaults and takes no unknown fields, so a value that only one of the two knows is
an error. `chart_documents.py` reads both.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

from mistral_dev.closed_schemas import PEER, POD

_Dns = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
_Override = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")]
"""A DNS label that the templates shorten, or an empty text."""
_ObjectOrEmpty = Annotated[
    str, Field(pattern=r"^([a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$", max_length=253)
]
_Object = Annotated[
    str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
]
_Tag = Annotated[str, Field(pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*)?$", max_length=128)]
_Digest = Annotated[str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$")]
_Interval = Annotated[str, Field(pattern=r"^([0-9]+(ms|s|m|h))+$")]
_Url = Annotated[str, Field(pattern=r"^(https?://[^\s#]+)?$")]
_Https = Annotated[str, Field(pattern=r"^https://[^\s#?@,]+$", max_length=512)]
_Address = Annotated[str, Field(pattern=r"^https?://[^\s#?@,]+$", max_length=512)]
_Account = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", max_length=253)]
_Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
_Port = Annotated[int, Field(ge=1, le=65535)]
_Strings = dict[str, str]
_Quantity = Annotated[
    str, Field(pattern=r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([numkMGTPE]|[KMGTPE]i|[eE][0-9]+)?$")
]
# Not literals: helm names a wrong place for what `propertyNames` refuses.
_ONLY = Field(json_schema_extra={"additionalProperties": False})
_Quantities = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^(cpu|memory|ephemeral-storage)$")],
        _Quantity | Annotated[float, Field(ge=0)] | None,
    ],
    _ONLY,
]
_Resources = Annotated[
    dict[Annotated[str, Field(pattern=r"^(requests|limits)$")], _Quantities | None], _ONLY
]
"""Resources of a container; null removes a default."""
_Allowed = list[Annotated[str, Field(pattern=r"^[^'\"\\\s]+$", max_length=512)]] | None
"""Values of an allow-list; None allows everything. They become text of CEL."""
_ImagePrefix = Annotated[str, Field(pattern=r"^[^'\"\\\s]*[^'\"\\\s/]$", max_length=512)]
"""A registry or repository; one that ends in a slash would allow nothing."""
_Maximum = Annotated[int, Field(ge=0)] | None
_Kubernetes = dict[str, Any]
"""An object of the Kubernetes API that the chart passes on: the API server knows its fields."""

_Peer = Annotated[dict[str, Any], WithJsonSchema(PEER)]
"""A caller or destination of endpoints."""
_Pod = Annotated[dict[str, Any], WithJsonSchema(POD)]
"""What the pods of all endpoints have."""

_Global = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "imageRegistry": {
                    "type": ["string", "null"],
                    "pattern": r"^([a-z0-9][a-z0-9.-]*(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*)?$",
                }
            },
        }
    ),
]
"""Values of a parent chart, and in them a registry: a host without scheme, and a path."""


class _Values(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class ServerImage(_Values):
    """`server.image` and `router.image`."""

    repository: str = Field(min_length=1)
    tag: _Tag
    digest: _Digest


class Image(ServerImage):
    """`image`."""

    pull_policy: Literal["Always", "IfNotPresent", "Never"]


class Server(_Values):
    """`server`."""

    image: ServerImage


class Router(_Values):
    """`router`."""

    image: ServerImage


class EndpointLogs(_Values):
    """`endpoints.logs`."""

    requests: bool
    format: Literal["", "Text", "JSON"]


class Endpoints(_Values):
    """`endpoints`."""

    isolate: bool
    callers: list[_Peer]
    destinations: list[_Peer]
    monitoring_namespace: str = Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=63)
    pod: _Pod
    logs: EndpointLogs
    pod_monitor_labels: _Strings


class AdmissionOfResources(_Values):
    """`admission.resources`."""

    enabled: bool
    allowed_images: list[_ImagePrefix] | None
    require_digests: bool
    allowed_hub_endpoints: _Allowed
    allowed_priority_classes: _Allowed
    allowed_toleration_keys: _Allowed
    allowed_node_selector_keys: _Allowed
    allowed_gpu_resources: _Allowed
    allowed_label_keys: _Allowed
    allowed_annotation_keys: _Allowed
    allowed_env: _Allowed
    max_replicas: _Maximum
    max_gpus: _Maximum
    require_network_policy: bool
    allowed_callers: list[_Peer] | None
    allowed_destinations: list[_Peer] | None
    forbid_scale_to_zero: bool


class AdmissionOfOperator(_Values):
    """`admission.operator`."""

    enabled: bool


class Admission(_Values):
    """`admission`."""

    resources: AdmissionOfResources
    operator: AdmissionOfOperator


class LeaderElection(_Values):
    """`leaderElection`."""

    enabled: bool
    lease_seconds: int = Field(ge=3)


class Log(_Values):
    """`log`."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "debug", "info", "warning", "error"]
    format: Literal["text", "json"]


class Activator(_Values):
    """`activator`."""

    enabled: bool
    replicas: int = Field(ge=1)
    drain_seconds: float = Field(gt=0)
    ports_per_namespace: int = Field(ge=1, le=2000)
    connections: int = Field(ge=10)
    request_memory_mi_b: int = Field(ge=1, alias="requestMemoryMiB")
    resources: _Resources


class Crds(_Values):
    """`crds`."""

    enabled: bool
    keep: bool


class ServiceAccount(_Values):
    """`serviceAccount`."""

    create: bool
    name: _ObjectOrEmpty
    annotations: _Strings


class Rbac(_Values):
    """`rbac`."""

    create: bool
    aggregate_to_user_roles: bool


class MetricsService(_Values):
    """`metrics.service`."""

    enabled: bool
    annotations: _Strings


class Monitor(_Values):
    """`metrics.podMonitor` and `metrics.serviceMonitor`."""

    enabled: bool
    interval: _Interval
    labels: _Strings


class Metrics(_Values):
    """`metrics`."""

    service: MetricsService
    pod_monitor: Monitor
    service_monitor: Monitor


class RateAlert(_Values):
    """`prometheusRule.loops` and `prometheusRule.toolErrors`."""

    above: float = Field(ge=0, lt=1)
    minimum: int = Field(ge=1)


class ShareAlert(_Values):
    """`prometheusRule.looping` and `.kvCache`."""

    above: float = Field(ge=0, lt=1)


class FirstTokenAlert(_Values):
    """`prometheusRule.firstToken`."""

    above_seconds: float = Field(gt=0)
    minimum: int = Field(ge=1)


class WaitingAlert(_Values):
    """`prometheusRule.waiting`."""

    above: float = Field(ge=0)


class PrometheusRule(_Values):
    """`prometheusRule`."""

    enabled: bool
    labels: _Strings
    runbook: _Url
    loops: RateAlert
    tool_errors: RateAlert
    looping: ShareAlert
    errors: RateAlert
    first_token: FirstTokenAlert
    waiting: WaitingAlert
    kv_cache: ShareAlert


class Dashboard(_Values):
    """`dashboard`."""

    enabled: bool
    labels: _Strings
    annotations: _Strings


class PodDisruptionBudget(_Values):
    """`podDisruptionBudget`."""

    enabled: bool


class NetworkPolicy(_Values):
    """`networkPolicy`."""

    enabled: bool
    # `from` is a word of Python's.
    from_: list[_Kubernetes] = Field(alias="from")
    api_server_ports: list[_Port] = Field(min_length=1)


class ChartValues(_Values):
    """All values of the chart."""

    replicas: int = Field(ge=0)
    image: Image
    image_pull_secrets: list[_Object | _Kubernetes]
    server: Server
    router: Router
    endpoints: Endpoints
    admission: Admission
    activator: Activator
    watch_namespaces: list[_Dns]
    allowed_hub_endpoints: list[_Https]
    allowed_prometheus_urls: list[_Address]
    allowed_service_accounts: list[_Account]
    allowed_service_types: list[Literal["NodePort", "LoadBalancer"]]
    allowed_variables: list[_Variable]
    leader_election: LeaderElection
    log: Log
    concurrency: int = Field(ge=1)
    resync_seconds: float = Field(gt=0)
    signal_seconds: float = Field(ge=0)
    autoscaling_seconds: float = Field(gt=0)
    crds: Crds
    service_account: ServiceAccount
    rbac: Rbac
    metrics: Metrics
    prometheus_rule: PrometheusRule
    dashboard: Dashboard
    pod_disruption_budget: PodDisruptionBudget
    network_policy: NetworkPolicy
    resources: _Resources
    pod_security_context: _Kubernetes
    security_context: _Kubernetes
    pod_annotations: _Strings
    pod_labels: _Strings
    common_labels: _Strings
    extra_env: list[_Kubernetes]
    node_selector: _Strings
    tolerations: list[_Kubernetes]
    affinity: _Kubernetes
    topology_spread_constraints: list[_Kubernetes]
    priority_class_name: _ObjectOrEmpty
    name_override: _Override
    fullname_override: _Override
    # `global` is a word of Python's.
    global_: _Global = Field(alias="global")
