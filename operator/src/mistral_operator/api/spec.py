"""`spec`: the desired endpoint. `spec: {}` is valid and is the recommended endpoint."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mistral_operator.api.autoscaling import Autoscaling
from mistral_operator.api.base import (
    ApiModel,
    Image,
    Memory,
    Rule,
    is_quantity,
    quantity_text,
    with_rules,
)
from mistral_operator.api.engine import Engine, Images, SystemPrompt, Tools
from mistral_operator.api.gate import Gate, Loops
from mistral_operator.api.logs import Logs
from mistral_operator.api.model import Model
from mistral_operator.api.network import Network
from mistral_operator.api.oom import DEFAULT_MIN_CONTEXT, OutOfMemory
from mistral_operator.api.pod import Cache, Pod
from mistral_operator.api.rollout import Rollout
from mistral_operator.api.routing import Routing
from mistral_operator.api.service import Service
from mistral_operator.kube.quantities import (
    is_at_least,
    memory_text,
    parse_quantity,
    quantity_bytes,
)

_SHARED_MEMORY_TEXT = Rule(
    "type(self) == string",
    "spec.sharedMemory: write it as a quoted quantity, such as 1Gi",
    lambda size: isinstance(size, str),
)
_SHARED_MEMORY = Rule(
    "type(self) != string || !isQuantity(self) || quantity(self).compareTo(quantity('512Mi')) >= 0",
    "spec.sharedMemory must be at least 512Mi: vLLM does not start with less",
    lambda size: not is_quantity(size) or is_at_least(size, 512 * 1024**2),
)

_DEFAULT_MEMORY_LIMIT = "64Gi"
"""On GPUs. Without a limit, images that decode to gigabytes would end other pods of the node. The
processes of a replica with eight ranks take about half of it; pages of the weights' files do not
count, since the kernel drops them first."""

_OFFLOAD_ROOM = 8
"""GiB of a memory limit or request beside the offloaded KV cache. Two ranks on H200s took 5.8 to
7.0 GiB when they were ready, and up to 8.4 later."""
_OFFLOAD = quantity_text("self.engine.kvOffload.size")


def _offload_rule(part: Literal["limits", "requests"]) -> Rule:
    """Return the rule that a limit or a request has room for the offloaded KV cache.

    vLLM fills it at its start. With a smaller request the scheduler would choose a node that lacks
    the memory, and other pods of the node would be evicted. On CPUs another rule refuses it, and
    this one would distract from that.
    """
    memory = quantity_text(f"self.pod.resources.{part}['memory']")
    return Rule(
        "!has(self.engine.kvOffload) || self.device == 'cpu'"
        f" || !has(self.pod.resources.{part})"
        f" || !('memory' in self.pod.resources.{part})"
        f" || !isQuantity({_OFFLOAD}) || !isQuantity({memory})"
        f" || quantity({memory}).sub(quantity({_OFFLOAD}))"
        f".compareTo(quantity('{_OFFLOAD_ROOM}Gi')) >= 0",
        f"spec.pod.resources.{part}.memory leaves too little beside spec.engine.kvOffload, which"
        f" counts to it: set the {part.removesuffix('s')} to at least {_OFFLOAD_ROOM}Gi more than"
        " kvOffload.size, or remove it",
        lambda one: (
            one.offload_bytes == 0
            or one.device == "cpu"
            or "memory" not in getattr(one.pod.resources, part)
            or quantity_bytes(getattr(one.pod.resources, part)["memory"]) - one.offload_bytes
            >= _OFFLOAD_ROOM * 1024**3
        ),
    )


_PATHS_AT_ZERO = 160
"""The activator knows the paths from a map of all endpoints in one object of 1 MiB. With quotes and
a comma for each, they leave room for the longest usual names in 520 bytes."""

_ORIGINS_KEY = len('"origins":[],')
"""What origins take in that map beside themselves."""


class Spec(ApiModel):
    """One served endpoint: its model, how it is run, and on which hardware."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.device != 'cpu' || has(self.engine.kvCache.memory)",
            "spec.device: cpu requires the size of the KV cache: set spec.engine.kvCache.memory,"
            " for example to 4Gi",
            lambda one: one.device != "cpu" or one.engine.kv_cache.memory is not None,
        ),
        Rule(
            "!has(self.cache) || (!has(self.model.source.persistentVolumeClaim)"
            " && !has(self.model.source.image))",
            "spec.cache applies only to a model that is fetched from the hub: remove spec.cache,"
            " or spec.model.source.persistentVolumeClaim or image",
            lambda one: one.cache is None or not one.model.source.is_mounted,
        ),
        Rule(
            "!has(self.engine.kvOffload) || self.device != 'cpu'",
            "spec.engine.kvOffload copies the KV cache of GPUs: remove it, or set spec.device to"
            " cuda",
            lambda one: one.engine.kv_offload is None or one.device != "cpu",
        ),
        _offload_rule("limits"),
        _offload_rule("requests"),
        Rule(
            "!self.model.randomWeights || has(self.model.source.persistentVolumeClaim)"
            " || has(self.model.source.image)",
            "spec.model.randomWeights still requires params.json and tekken.json: set"
            " spec.model.source.persistentVolumeClaim or image",
            lambda one: not one.model.random_weights or one.model.source.is_mounted,
        ),
        Rule(
            f"self.oom.minContextLength == {DEFAULT_MIN_CONTEXT}"
            " || type(self.engine.contextLength) == string"
            " || self.oom.minContextLength <= int(self.engine.contextLength)",
            "spec.oom.minContextLength is greater than spec.engine.contextLength: make the minimum"
            " no larger than the context",
            lambda one: (
                one.oom.min_context_length == DEFAULT_MIN_CONTEXT
                or one.engine.context_length == "auto"
                or one.oom.min_context_length <= one.engine.context_length
            ),
        ),
        Rule(
            "!has(self.autoscaling) || self.autoscaling.minReplicas > 0"
            " || self.gate.paths.map(one, one.size() + 3).sum()"
            " + self.gate.allowedOrigins.map(one, one.size() + 3).sum()"
            f" + (self.gate.allowedOrigins.size() > 0 ? {_ORIGINS_KEY} : 0) <= {_PATHS_AT_ZERO}",
            "spec.gate.paths and allowedOrigins of an endpoint that can scale to zero may have at"
            f" most {_PATHS_AT_ZERO} characters together, each counts for 3 more, and origins for"
            f" another {_ORIGINS_KEY}: replace several paths by one that ends in /*, or set"
            " spec.autoscaling.minReplicas to 1 or more",
            lambda one: (
                one.autoscaling is None
                or one.autoscaling.min_replicas > 0
                or sum(len(each) + 3 for each in (*one.gate.paths, *one.gate.allowed_origins))
                + (_ORIGINS_KEY if one.gate.allowed_origins else 0)
                <= _PATHS_AT_ZERO
            ),
        ),
    )

    model: Model = Model()
    """Which model is served."""
    engine: Engine = Engine()
    """How vLLM runs the model."""
    images: Images = Images()
    """Limits on images in prompts."""
    tools: Tools = Tools()
    """Tool calling."""
    loops: Loops = Loops()
    """Detection of endless repetition."""
    gate: Gate = Gate()
    """Request policy and accurate finish reasons."""
    oom: OutOfMemory = OutOfMemory()
    """How the operator reacts to out-of-memory failures."""
    system_prompt: SystemPrompt = SystemPrompt()
    """System prompt for conversations that do not provide one."""
    replicas: int = Field(default=1, ge=0, le=1000)
    """Number of replicas. Autoscalers set it through the scale subresource. With one replica, the
    activator queues requests while an edit replaces the pod."""
    rollout: Rollout = Rollout()
    """How edits that change the pods are rolled out, and requests while no replica is ready."""
    routing: Routing = Routing()
    """Which replica gets a request."""
    autoscaling: Autoscaling | None = None
    """Autoscaling of the replicas. Unset: as many as `replicas` says."""
    suspend: bool = False
    """Stop all replicas and keep everything else. Set it to false to start again."""
    device: Literal["cuda", "cpu"] = "cuda"
    """Device that the model runs on. `cpu` is for tests of a cluster: the tensor parallel size is
    then a number of processes."""
    image: Image | None = None
    """Server image. Unset: the default image of the operator's installation."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet pulls the server image."""
    pod: Pod = Pod()
    """Where the pods run and which resources they get."""
    service: Service = Service()
    """The Service in front of the pods."""
    logs: Logs = Logs()
    """What the pods log."""
    cache: Cache | None = None
    """PersistentVolumeClaim that keeps the model between restarts. Unset: each pod fetches the
    model again. A claim is deleted with the resource unless `cache.whenDeleted` is `Retain`;
    removing `cache` from the spec keeps it until then."""
    shared_memory: Annotated[Memory, _SHARED_MEMORY.before, _SHARED_MEMORY_TEXT.before] = Field(
        default="2Gi", json_schema_extra=with_rules(_SHARED_MEMORY_TEXT, _SHARED_MEMORY)
    )
    """Size of /dev/shm, at most 1Pi, through which the ranks of one replica communicate. That of
    `engine.kvOffload` is added."""
    startup_seconds: int = Field(default=1800, ge=60, le=86_400)
    """Maximum time from the start of a pod's server to its first answered chat, in seconds. A
    server that takes longer is restarted."""
    drain_seconds: int = Field(default=120, ge=0, le=3600)
    """Time that running requests have to finish when a pod stops, in seconds."""
    network_policy: bool = True
    """Create a NetworkPolicy that allows only the traffic that is needed."""
    network: Network = Network()
    """Traffic that the NetworkPolicy allows."""

    @property
    def most_replicas(self) -> int:
        """The most replicas that can run without another edit."""
        return self.replicas if self.autoscaling is None else self.autoscaling.max_replicas

    @property
    def prefetches(self) -> bool:
        """Whether the model is fetched before pods need it."""
        return self.cache is not None and self.cache.prefetch == "BeforePods"

    @property
    def memory_limit(self) -> str | None:
        """Memory limit of the server, None without one."""
        limits, requests = self.pod.resources.limits, self.pod.resources.requests
        if "memory" in limits or self.device != "cuda":
            return limits.get("memory")
        # The API server rejects a limit below its request.
        default = self.with_offload(_DEFAULT_MEMORY_LIMIT)
        return max(default, requests.get("memory", default), key=parse_quantity)

    @property
    def offload_bytes(self) -> int:
        """Bytes of the node's memory that hold a copy of the KV cache."""
        offload = self.engine.kv_offload
        return 0 if offload is None else quantity_bytes(offload.size)

    def with_offload(self, memory: str) -> str:
        """Return an amount of the node's memory with room for the copy of the KV cache."""
        size = self.offload_bytes
        return memory_text(quantity_bytes(memory) + size) if size else memory
