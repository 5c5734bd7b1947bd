"""Settings of the operator and the activator, read once from the environment by `cli`."""

from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mistral_operator.api.logs import Logs
from mistral_operator.api.network import Destination, Peer
from mistral_operator.api.pod import PodDefaults
from mistral_operator.kube.errors import CannotStart
from mistral_operator.process.json_setting import JSON_ERROR, json_of
from mistral_operator.render import NetworkDefaults, RenderContext
from mistral_operator.render.context import DEFAULT_ROUTER_IMAGE

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def _in_capitals(level: str) -> str:
    """Return a level in capitals; an unknown one unchanged, for the message."""
    return level.upper() if level.upper() in get_args(LogLevel) else level


_MAX_QUOTED = 32
"""Characters of an invalid value that are quoted."""


def _split(value: object) -> object:
    """Split a value such as `a,b` of an environment variable."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


class ProcessSettings(BaseSettings):
    """Settings of every process."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True)

    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces to watch, separated by commas. Empty: all namespaces."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port of /metrics, /healthz and /readyz; also of the operator's /autoscaling, and of the
    activator's /signals."""
    resync_seconds: float = Field(default=600, gt=0)
    """Interval between two full comparisons with the API server, in seconds."""
    log_level: Annotated[LogLevel, BeforeValidator(_in_capitals)] = "INFO"
    """Minimum log level."""
    log_format: Literal["text", "json"] = "text"
    """Log format: text or json."""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split_namespaces(cls, value: object) -> object:
        return _split(value)


class ActivatorSettings(ProcessSettings):
    """Settings of the activator; each is an environment variable MISTRAL_ACTIVATOR_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="MISTRAL_ACTIVATOR_")

    namespace: str = Field(default="default", min_length=1)
    """Namespace of the activator and the operator; holds the port map."""
    notice_seconds: float = Field(default=10, ge=0)
    """How long the activator accepts requests after SIGTERM, in seconds: some still arrive."""
    drain_seconds: float = Field(default=600, gt=0)
    """Time that running requests have to finish after that, in seconds."""
    limit_callers: bool = False
    """Become ready only when the operator has written the NetworkPolicies of the activators."""
    probe_port: int = Field(default=0, ge=0, le=65535)
    """Additional port of /healthz and /readyz, which only the kubelet needs to reach. 0: none."""
    connections: int = Field(default=2000, ge=10)
    """Maximum number of open connections to the ports of all endpoints. Namespaces share them."""
    request_memory_mib: int = Field(default=96, ge=1)
    """Maximum memory of queued and forwarded requests, in MiB. Namespaces share it."""


class Settings(ProcessSettings):
    """Settings of the operator process; each is an environment variable MISTRAL_OPERATOR_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="MISTRAL_OPERATOR_")

    server_image: str = Field(default="ghcr.io/mistral-small-operator/server:0.1.0", min_length=1)
    """Server image for resources that do not set one."""
    router_image: str = Field(default=DEFAULT_ROUTER_IMAGE, min_length=1)
    """Image of Envoy for resources with a routing policy."""
    namespace: str = Field(default="default", min_length=1)
    """Namespace of the operator itself; holds its Lease."""
    identity: str = Field(default="mistral-small-operator", min_length=1)
    """Name of this replica in the Lease: the name of its pod."""
    leader_election: bool = True
    """Take part in leader election. Without it, exactly one operator must run."""
    lease_seconds: int = Field(default=12, ge=3)
    """Lease duration: seconds without renewal after which another replica takes over."""
    url: str = "http://mistral-small-operator.mistral-system.svc:8080"
    """URL at which KEDA reaches this operator, for resources with `driver: KEDA`."""
    allowed_hub_endpoints: Annotated[tuple[str, ...], NoDecode] = ()
    """URLs of hubs that tokens (spec.model.source.hub.tokenSecret) may be sent to, separated by
    commas, besides https://huggingface.co."""
    allowed_prometheus_urls: Annotated[tuple[str, ...], NoDecode] = ()
    """URLs of Prometheus servers that spec.autoscaling.keda.prometheus may name, separated by
    commas."""
    activator_service: str = ""
    """Service in the operator's own namespace whose pods are the activators. Empty: there are none,
    and no endpoint is scaled to zero."""
    activator_ports_per_namespace: int = Field(default=100, ge=1, le=2000)
    """Maximum number of endpoints of a namespace that can scale to zero. Each needs one of the
    2,000 ports of the activators."""
    activator_network_policy: str = ""
    """NetworkPolicy of the chart for the pods of the activators, in the operator's own namespace.
    The operator adds who may call which endpoint. Empty: everyone may call all of them there."""
    concurrency: int = Field(default=20, ge=1)
    """Maximum number of resources that are reconciled at the same time."""
    signal_seconds: float = Field(default=10, ge=0)
    """Polling interval for a starting pod's /signals, in seconds. 0: never; the status then lacks
    the stage and the effective configuration, which only the pod reports."""
    autoscaling_seconds: float = Field(default=15, gt=0)
    """Interval between two decisions of the operator's own autoscaling, and polling interval for
    the load of ready pods, in seconds."""
    isolate_endpoints: bool = False
    """Allow endpoints that do not set spec.network.callers only the callers of
    `endpoint_callers`. Otherwise everyone may call them."""
    endpoint_callers: Annotated[tuple[Peer, ...], NoDecode, json_of(tuple[Peer, ...])] = ()
    """Callers of isolated endpoints, as a JSON list in the form of spec.network.callers."""
    endpoint_destinations: Annotated[
        tuple[Destination, ...], NoDecode, json_of(tuple[Destination, ...])
    ] = ()
    """What every endpoint may connect to in addition, as a JSON list in the form of
    spec.network.destinations."""
    allowed_service_accounts: Annotated[tuple[str, ...], NoDecode] = ()
    """ServiceAccounts that spec.pod.serviceAccountName may name, separated by commas."""
    allowed_service_types: Annotated[tuple[str, ...], NoDecode] = ()
    """Types that spec.service.type may have besides ClusterIP, separated by commas."""
    allowed_variables: Annotated[tuple[str, ...], NoDecode] = ()
    """Environment variables that spec.pod.env may set besides the usual ones, separated by
    commas."""
    endpoint_pods: Annotated[PodDefaults, NoDecode, json_of(PodDefaults)] = PodDefaults()
    """What the pods of every endpoint have unless the resource says otherwise, as JSON in the form
    of spec.pod."""
    endpoint_logs: Annotated[Logs, NoDecode, json_of(Logs)] = Logs(requests=True)
    """What these pods log unless the resource says otherwise, as JSON in the form of spec.logs."""
    pod_monitor_labels: Annotated[dict[str, str], NoDecode, json_of(dict[str, str])] = {}
    """Additional labels of the PodMonitors of endpoints, as JSON."""
    monitoring_namespace: str = ""
    """Namespace of Prometheus. Empty: its pods are found by their usual label, in any namespace."""

    @property
    def network(self) -> NetworkDefaults:
        """What the installation says of the traffic of every endpoint."""
        return NetworkDefaults(
            self.namespace,
            self.monitoring_namespace,
            self.endpoint_callers if self.isolate_endpoints else None,
            self.endpoint_destinations,
        )

    def render_context(self, *, pod_monitors: bool, scaled_objects: bool) -> RenderContext:
        """Return what the installation says of every child.

        Args:
            pod_monitors: render a PodMonitor for each endpoint.
            scaled_objects: render a ScaledObject for each endpoint that KEDA scales.
        """
        return RenderContext(
            self.server_image,
            pod_monitors=pod_monitors,
            scaled_objects=scaled_objects,
            operator_url=self.url,
            network=self.network,
            hub_endpoints=self.allowed_hub_endpoints,
            prometheus_urls=self.allowed_prometheus_urls,
            service_accounts=self.allowed_service_accounts,
            service_types=self.allowed_service_types,
            variables=self.allowed_variables,
            pods=self.endpoint_pods,
            logs=self.endpoint_logs,
            pod_monitor_labels=tuple(sorted(self.pod_monitor_labels.items())),
            router_image=self.router_image,
        )

    @field_validator(
        "allowed_hub_endpoints",
        "allowed_prometheus_urls",
        "allowed_service_accounts",
        "allowed_service_types",
        "allowed_variables",
        mode="before",
    )
    @classmethod
    def _split_lists(cls, value: object) -> object:
        return _split(value)


SomeSettings = TypeVar("SomeSettings", bound=ProcessSettings)


def read_settings(kind: type[SomeSettings]) -> SomeSettings:
    """Return the settings in the environment.

    Raises:
        CannotStart: a variable is invalid; the message names each one, its value, and what is
            allowed.
    """
    try:
        return kind()
    except ValidationError as error:
        problems = (_problem(kind, one) for one in error.errors(include_url=False))
        raise CannotStart("; ".join(problems)) from None


def _problem(kind: type[ProcessSettings], error: ErrorDetails) -> str:
    name, value = str(error["loc"][0]), str(error["input"])
    shown = value if len(value) <= _MAX_QUOTED else f"{value[:_MAX_QUOTED]}..."
    variable = f"{kind.model_config['env_prefix']}{name.upper()}"
    if error["type"] == JSON_ERROR:
        return f"{variable}={shown!r} is not valid: {error['msg']}"
    return f"{variable}={shown!r} is not valid: it must be {allowed(kind, name)}"


def allowed(kind: type[ProcessSettings], name: str) -> str:
    """Return what a setting may be, such as `an integer of at least 3`."""
    schema: dict[str, Any] = kind.model_json_schema()["properties"][name]
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    text = _TYPES[schema.get("type", "object")]
    if "maximum" in schema:
        return f"{text} from {schema['minimum']} to {schema['maximum']}"
    if "minimum" in schema:
        return f"{text} of at least {schema['minimum']:g}"
    if "exclusiveMinimum" in schema:
        return f"{text} greater than {schema['exclusiveMinimum']:g}"
    return text


_TYPES = {
    "array": "a list in JSON",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "object": "an object in JSON",
    "string": "text that is not empty",
}
