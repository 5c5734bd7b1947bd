"""`spec.pod`, `spec.cache`: where the pods run and which resources they get."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, Memory, Name, Quantity, Rule

ComputeResource = Literal["cpu", "memory", "ephemeral-storage"]
LabelKey = Annotated[str, Field(min_length=1, max_length=317, pattern=patterns.LABEL_KEY)]
LabelValue = Annotated[str, Field(max_length=63, pattern=patterns.LABEL_VALUE)]


class Resources(ApiModel):
    """CPU and memory of the server's container; GPUs follow from the tensor parallel size."""

    requests: dict[ComputeResource, Quantity] = Field(default={})
    """Resource requests. Unset: 4 CPUs and 24Gi per replica on GPUs, 2 CPUs and 4Gi on CPUs, or the
    limit if that is lower."""
    limits: dict[ComputeResource, Quantity] = Field(default={})
    """Resource limits. Unset: no limit."""


class Gpu(ApiModel):
    """How GPUs are requested."""

    resource_name: str = Field(
        default="nvidia.com/gpu",
        max_length=317,
        pattern=patterns.EXTENDED_RESOURCE,
    )
    """Extended resource that represents one GPU."""
    memory: Memory | None = None
    """Memory of one GPU, such as 80Gi and at most 1Pi, for the condition ModelFits. Unset: the
    value of the node label nvidia.com/gpu.memory, or that of the MIG slice, if GPU feature
    discovery sets it."""


class Toleration(ApiModel):
    """One toleration, as in a pod."""

    key: str | None = Field(default=None, max_length=317, pattern=patterns.TAINT_KEY)
    """Key of the taint. Unset: every taint."""
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


class Pod(ApiModel):
    """Where the pods run and which resources they get.

    There is no pod template: fields that could raise a pod's privileges (service account, security
    context, host paths, init containers) are not available.
    """

    resources: Resources = Resources()
    """CPU and memory of the server."""
    gpu: Gpu = Gpu()
    """How GPUs are requested."""
    node_selector: dict[LabelKey, LabelValue] = Field(default={}, max_length=32)
    """Labels that a node must have."""
    tolerations: list[Toleration] = Field(default=[], max_length=32)
    """Tolerations of the pods, in addition to those of the GPU resource itself."""
    topology_spread: list[TopologySpread] = Field(default=[], max_length=8)
    """How replicas are spread over nodes or zones."""
    priority_class_name: Name | None = None
    """PriorityClass of the pods."""
    runtime_class_name: Name | None = None
    """RuntimeClass of the pods, such as nvidia."""
    scheduler_name: Name | None = None
    """Scheduler of the pods."""
    image_pull_secrets: list[Name] = Field(default=[], max_length=8)
    """Names of Secrets with registry credentials."""


class Cache(ApiModel):
    """A PersistentVolumeClaim that keeps the fetched model between restarts."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName)"
            " && (!has(self.storageClassName)"
            " || self.storageClassName == oldSelf.storageClassName)",
            "spec.cache.storageClassName is immutable, as it is in a PersistentVolumeClaim: remove"
            " spec.cache, delete the claim, then set spec.cache again",
            None,
        ),
    )

    size: Memory = "80Gi"
    """Size of the claim, at most 1Pi. The default holds the 48 GB of one bf16 model and a second
    revision."""
    storage_class_name: Name | None = None
    """StorageClass of the claim. Unset: the cluster's default."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = "ReadWriteMany"
    """Access mode of the claim. ReadWriteMany lets replicas on several nodes share the claim.
    ReadWriteOnce supports one node."""


def to_kubernetes(model: ApiModel) -> dict[str, Any]:
    """Return a model in the form of Kubernetes: camelCase, without unset fields."""
    return model.model_dump(by_alias=True, exclude_none=True)
