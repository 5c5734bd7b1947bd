"""`spec.pod`, `spec.cache`: where the pods run and which resources they get."""

import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator

from mistral_operator.api import patterns
from mistral_operator.api.affinity import Affinity
from mistral_operator.api.base import (
    SHORT_PREFIX,
    ApiModel,
    LabelKey,
    LabelValue,
    Memory,
    Name,
    Quantity,
    Rule,
    is_quantity,
    prefix_of,
    quantity_text,
    with_rules,
)
from mistral_operator.api.environment import Environment
from mistral_operator.api.metadata import Annotations, PodAnnotations, PodLabels
from mistral_operator.api.pod_network import DnsConfig, HostAliases
from mistral_operator.api.pull_secrets import PullSecrets
from mistral_operator.api.volumes import VolumeMounts, Volumes
from mistral_operator.kube.quantities import is_at_least, parse_quantity, quantity_bytes

ComputeResource = Literal["cpu", "memory", "ephemeral-storage"]


_REQUEST, _LIMIT = (quantity_text(f"self.{one}[key]") for one in ("requests", "limits"))


def _requests_fit(resources: "Resources") -> bool:
    return all(
        parse_quantity(request) <= parse_quantity(resources.limits[key])
        for key, request in resources.requests.items()
        if key in resources.limits
    )


def _memory_rule(part: Literal["requests", "limits"]) -> Rule:
    memory = quantity_text(f"self.{part}['memory']")
    return Rule(
        f"!has(self.{part}) || !('memory' in self.{part}) || !isQuantity({memory})"
        f" || quantity({memory}).compareTo(quantity('64Mi')) >= 0",
        f"{part}.memory is less than 64Mi: check the unit, such as 32Gi",
        lambda one: quantity_bytes(getattr(one, part).get("memory", "64Mi")) >= 64 * 1024**2,
    )


def _are_different(constraints: "list[TopologySpread]") -> bool:
    keys = [(one.topology_key, one.when_unsatisfiable) for one in constraints]
    return len(keys) == len(set(keys))


class ContainerResources(ApiModel):
    """CPU, memory and disk of a container."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.requests) || !has(self.limits) || self.requests.all(key,"
            f" !(key in self.limits) || !isQuantity({_REQUEST}) || !isQuantity({_LIMIT})"
            f" || quantity({_REQUEST}).compareTo(quantity({_LIMIT})) <= 0)",
            "a request is larger than the limit: raise the limit or lower the request",
            _requests_fit,
        ),
        *(_memory_rule(one) for one in ("requests", "limits")),
    )

    requests: dict[ComputeResource, Quantity] = Field(default={})
    """Resource requests."""
    limits: dict[ComputeResource, Quantity] = Field(default={})
    """Resource limits."""


class Resources(ContainerResources):
    """CPU and memory of the server's container; GPUs follow from the tensor parallel size."""

    requests: dict[ComputeResource, Quantity] = Field(default={})
    """Resource requests. Unset: 4 CPUs and 24Gi per replica on GPUs, with the size of
    `engine.kvOffload` added, 2 CPUs and 4Gi on CPUs, and 50Gi of ephemeral-storage if the
    recommended model is fetched without `spec.cache`; or the limit if that is lower. For another
    model without `spec.cache`, set ephemeral-storage to the size of its files plus 5Gi."""
    limits: dict[ComputeResource, Quantity] = Field(default={})
    """Resource limits. Unset: 64Gi of memory per replica on GPUs, with the size of
    `engine.kvOffload` added, or the request if that is higher; no other limit. The container that
    fetches the model has the same limits, but at most 8Gi of memory, unless `fetchResources` sets
    others."""


class FetchResources(ContainerResources):
    """CPU and memory of the container that fetches the model."""

    requests: dict[ComputeResource, Quantity] = Field(default={})
    """Resource requests. Unset: 1 CPU, 1Gi and, if it has a limit of ephemeral-storage, as much of
    it as the server; or the limit if that is lower."""
    limits: dict[ComputeResource, Quantity] = Field(default={})
    """Resource limits. Unset: those of the server, and at most 8Gi of memory."""


_NOT_NATIVE = Rule(
    "!self.startsWith('requests.') && !self.matches('^([^/]*[.])?kubernetes[.]io/')",
    "spec.pod.gpu.resourceName must be the extended resource of a device plugin, such as"
    " nvidia.com/gpu",
    lambda name: re.match(r"requests\.|([^/]*\.)?kubernetes\.io/", name) is None,
)


_QUOTA_PREFIX = prefix_of(253 - len("requests."))
"""Quotas put `requests.` in front of the name, so the API server wants room for it."""

_MEMORY_TEXT = quantity_text("self")
_TOO_LITTLE = "spec.pod.gpu.memory is less than 1Gi: "
_WITHOUT_UNIT = "write the unit, such as 80Gi"


def _explain_gpu_memory(memory: Any) -> str:
    text = str(memory)
    if not re.fullmatch("[0-9]+", text):
        return _TOO_LITTLE + _WITHOUT_UNIT
    # 80 is meant in GiB, and 81559 is what nvidia-smi and the node label say, in MiB.
    return f"{_TOO_LITTLE}did you mean {text}{'Gi' if len(text) < 4 else 'Mi'}?"


_GPU_MEMORY = Rule(
    f"!isQuantity({_MEMORY_TEXT}) || quantity({_MEMORY_TEXT}).compareTo(quantity('1Gi')) >= 0",
    _TOO_LITTLE + _WITHOUT_UNIT,
    lambda memory: not is_quantity(memory) or is_at_least(str(memory), 1024**3),
    message_expression=(
        f"'{_TOO_LITTLE}' + (!{_MEMORY_TEXT}.matches('^[0-9]+$') ? '{_WITHOUT_UNIT}'"
        f" : 'did you mean ' + {_MEMORY_TEXT}"
        f" + ({_MEMORY_TEXT}.size() < 4 ? 'Gi?' : 'Mi?'))"
    ),
    explain=_explain_gpu_memory,
)


class Gpu(ApiModel):
    """How GPUs are requested."""

    resource_name: Annotated[str, _NOT_NATIVE.after, _QUOTA_PREFIX.after] = Field(
        default="nvidia.com/gpu",
        max_length=308,
        pattern=patterns.EXTENDED_RESOURCE,
        json_schema_extra=with_rules(_NOT_NATIVE, _QUOTA_PREFIX),
    )
    """Extended resource that represents one GPU."""
    memory: Annotated[
        Memory | None, Field(json_schema_extra=with_rules(_GPU_MEMORY)), _GPU_MEMORY.before
    ] = None
    """Memory of one GPU, such as 80Gi, from 1Gi to 1Pi, for the condition ModelFits. Unset: the
    value of the node label nvidia.com/gpu.memory, or that of the MIG slice, if GPU feature
    discovery sets it."""


_TaintKey = Annotated[
    str,
    Field(max_length=317, pattern=patterns.TAINT_KEY, json_schema_extra=with_rules(SHORT_PREFIX)),
    SHORT_PREFIX.after,
]


class Toleration(ApiModel):
    """One toleration, as in a pod."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.operator == 'Exists' || (has(self.key) && self.key != '')",
            "a toleration without a key tolerates every taint: set operator to Exists, or add the"
            " key of the taint",
            lambda one: one.operator == "Exists" or bool(one.key),
        ),
        Rule(
            "self.operator != 'Exists' || !has(self.value) || self.value == ''",
            "operator Exists tolerates every value: remove value, or set operator to Equal",
            lambda one: one.operator != "Exists" or not one.value,
        ),
        Rule(
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds applies to the effect NoExecute only: set effect to NoExecute, or"
            " remove tolerationSeconds",
            lambda one: one.toleration_seconds is None or one.effect == "NoExecute",
        ),
    )

    key: _TaintKey | None = None
    """Key of the taint. Unset: every taint, with operator `Exists`."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """`Exists` matches any value."""
    value: LabelValue | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Unset: every effect."""
    toleration_seconds: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """How long a NoExecute taint is tolerated, in seconds. Unset: forever."""


class TopologySpread(ApiModel):
    """One topology spread constraint over the replicas of this resource."""

    topology_key: LabelKey
    """Node label whose values are the domains to spread over, such as
    topology.kubernetes.io/zone."""
    max_skew: int = Field(default=1, ge=1, le=1000)
    """Maximum difference in replicas between two domains."""
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = "ScheduleAnyway"
    """What the scheduler does if the constraint cannot be satisfied."""


_DIFFERENT = Rule(
    "self.all(one, self.exists_one(other, one.topologyKey == other.topologyKey"
    " && one.whenUnsatisfiable == other.whenUnsatisfiable))",
    "spec.pod.topologySpread has two constraints with the same topologyKey and whenUnsatisfiable:"
    " remove one",
    _are_different,
)


_Id = Annotated[int, Field(ge=1, le=2**31 - 1)]


class PodSecurityContext(ApiModel):
    """Users and groups of the processes.

    Everything else is fixed to what the Pod Security Standard `restricted` requires.
    """

    run_as_user: _Id | None = None
    """User of the processes; never 0."""
    run_as_group: _Id | None = None
    """Group of the processes."""
    fs_group: _Id | None = None
    """Group that owns the files of volumes."""
    supplemental_groups: list[_Id] = Field(default=[], max_length=8)
    """Additional groups of the processes, such as that of a shared file system."""


_MOUNTS_HAVE_VOLUMES = Rule(
    "!has(self.volumeMounts) || self.volumeMounts.all(mount,"
    " has(self.volumes) && self.volumes.exists(one, one.name == mount.name))",
    "spec.pod.volumeMounts names a volume that is not in spec.pod.volumes: add the volume, or"
    " correct the name",
    lambda pod: {one.name for one in pod.volume_mounts} <= {one.name for one in pod.volumes},
)
_ANNOTATIONS_HAVE_ACCOUNT = Rule(
    "!has(self.serviceAccountName) || !has(self.serviceAccountAnnotations)"
    " || self.serviceAccountAnnotations.size() == 0",
    "spec.pod.serviceAccountAnnotations are those of the endpoint's own ServiceAccount: annotate"
    " the ServiceAccount of spec.pod.serviceAccountName yourself",
    lambda pod: pod.service_account_name is None or not pod.service_account_annotations,
)


class PodParts(ApiModel):
    """What an installation can set for the pods of all endpoints, and a resource for its own."""

    labels: PodLabels = Field(default={}, max_length=16)
    """Additional labels of the pods, such as those of an injector or a queue."""
    annotations: PodAnnotations = Field(default={}, max_length=12)
    """Annotations of the pods, such as `karpenter.sh/do-not-disrupt: "true"`."""
    env: Environment = Field(default=[])
    """Environment variables of the server and of the container that fetches the model, such as
    HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE."""
    volumes: Volumes = Field(default=[])
    """Additional volumes."""
    volume_mounts: VolumeMounts = Field(default=[])
    """Where the volumes are mounted, in both containers."""
    node_selector: dict[LabelKey, LabelValue] = Field(default={}, max_length=32)
    """Labels that a node must have."""
    tolerations: list[Toleration] = Field(default=[], max_length=32)
    """Tolerations of the pods, in addition to those of the GPU resource itself, and of
    nvidia.com/gpu for MIG slices and shared GPUs."""
    affinity: Affinity | None = None
    """Which nodes and which neighbors the pods need or prefer."""
    image_pull_secrets: PullSecrets = Field(default=[])
    """Names of Secrets with registry credentials, such as `[my-registry]`: only the names, unlike
    in a pod, where each is `name: my-registry`."""
    priority_class_name: Name | None = None
    """PriorityClass of the pods."""
    runtime_class_name: Name | None = None
    """RuntimeClass of the pods, such as nvidia."""
    scheduler_name: Name | None = None
    """Scheduler of the pods."""
    dns_config: DnsConfig | None = None
    """Additional settings of the resolver."""
    host_aliases: HostAliases = Field(default=[])
    """Additional entries of /etc/hosts."""
    security_context: PodSecurityContext | None = None
    """Users and groups of the processes. Fields that are unset: user, group and file system group
    1000. With `{}`, the platform chooses all of them, as OpenShift does."""


class PodDefaults(PodParts):
    """What an installation sets for the pods of all endpoints."""

    model_config = ConfigDict(extra="forbid")
    rules: ClassVar[tuple[Rule, ...]] = (_MOUNTS_HAVE_VOLUMES,)

    @field_validator("image_pull_secrets", mode="before")
    @classmethod
    def _take_references(cls, value: Any) -> Any:
        """Take `name: my-registry` too, as charts do: no schema of a CRD could allow both."""
        if not isinstance(value, list):
            return value
        return [
            one["name"] if isinstance(one, dict) and one.keys() == {"name"} else one
            for one in value
        ]


class Pod(PodParts):
    """Where the pods run, which resources they get, and what they need of their surroundings.

    There is no pod template. Commands, containers, host paths, host namespaces and privileges
    cannot be set: the pods comply with the Pod Security Standard `restricted`.
    """

    rules: ClassVar[tuple[Rule, ...]] = (_MOUNTS_HAVE_VOLUMES, _ANNOTATIONS_HAVE_ACCOUNT)

    resources: Resources = Resources()
    """CPU and memory of the server."""
    fetch_resources: FetchResources = FetchResources()
    """CPU and memory of the container that fetches the model."""
    gpu: Gpu = Gpu()
    """How GPUs are requested."""
    topology_spread: Annotated[
        list[TopologySpread],
        Field(max_length=8, json_schema_extra=with_rules(_DIFFERENT)),
        _DIFFERENT.after,
    ] = Field(default=[])
    """How replicas are spread over nodes or zones."""
    host_users: bool | None = None
    """`false` runs the pods in a user namespace of their own, so that no user of a container is one
    of the node. Requires Kubernetes 1.33 and a container runtime that supports it with your GPUs.
    Unset: the users of the node."""
    service_account_name: Name | None = None
    """ServiceAccount of the pods, without its token. The chart value `allowedServiceAccounts` must
    list it. Unset: one of the endpoint's own, without permissions."""
    service_account_annotations: Annotations = Field(default={}, max_length=4)
    """Annotations of the endpoint's own ServiceAccount, such as the role of a cloud."""


AccessMode = Literal["ReadWriteOnce", "ReadWriteMany"]


class Cache(ApiModel):
    """A PersistentVolumeClaim that keeps the model and compiled code between restarts.

    The operator replaces a claim that was never bound, so every field can be corrected until then.
    Of a bound claim, only the size can be increased, if its StorageClass allows that.
    """

    size: Memory = "80Gi"
    """Size of the claim, at most 1Pi. The default holds one copy of the recommended model (48 GB in
    bf16), but no second revision beside it: set 150Gi to change the revision later. A claim is
    never shrunk."""
    storage_class_name: Name | None = None
    """StorageClass of the claim. Unset: the cluster's default."""
    access_mode: AccessMode | None = None
    """Access mode of the claim. ReadWriteMany lets replicas on several nodes share the claim, and
    few StorageClasses offer it. With ReadWriteOnce, all replicas run on one node. Unset: the mode
    of the existing claim; for a new one ReadWriteOnce if `replicas` (with autoscaling:
    `maxReplicas`) is at most 1, otherwise ReadWriteMany."""
    verify: Literal["Sizes", "Hashes"] = "Sizes"
    """What each start of a pod compares of a model that is already there. A file that is missing or
    damaged is fetched again. `Hashes` finds all damage and reads the entire model, which takes a
    minute or more."""
    compiled: Literal["Keep", "Discard"] = "Keep"
    """How the code that vLLM compiles at the start is handled. `Keep` stores it on the claim, at
    most 1Gi, so that the next start takes half a minute less; anyone who can write to the claim can
    then run code in the engine. `Discard` compiles it in every new pod."""
    prefetch: Literal["Never", "BeforePods"] = "Never"
    """When the model is fetched. `Never`: by the first pod that needs it, which holds its GPUs
    meanwhile. `BeforePods`: by a Job without GPUs, before a pod starts. The pods of an earlier
    model or revision serve until the new one is on the claim, which needs room for both."""
    when_deleted: Literal["Delete", "Retain"] = "Delete"
    """What happens to the claim when the resource is deleted. `Retain` keeps it, and a resource of
    the same name in the namespace uses it again."""


def to_kubernetes(model: ApiModel) -> dict[str, Any]:
    """Return a model in the form of Kubernetes: camelCase, without unset fields."""
    return model.model_dump(by_alias=True, exclude_none=True)


def without_empty(value: Any) -> Any:
    """Return a value without the empty lists within it, which the API server drops.

    Empty maps stay: an empty selector selects everything.
    """
    if isinstance(value, dict):
        return {key: without_empty(one) for key, one in value.items() if one != []}
    return [without_empty(one) for one in value] if isinstance(value, list) else value
