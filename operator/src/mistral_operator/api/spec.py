"""`spec`: what a user asks for. `spec: {}` is valid and is the recommended endpoint."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mistral_operator.api.autoscaling import Autoscaling
from mistral_operator.api.base import ApiModel, Quantity, Rule, with_rules
from mistral_operator.api.engine import Engine, Images, SystemPrompt, Tools
from mistral_operator.api.gate import Gate, Loops
from mistral_operator.api.model import Model
from mistral_operator.api.oom import OutOfMemory
from mistral_operator.api.pod import Cache, Pod
from mistral_operator.kube.quantities import is_at_least

_SHARED_MEMORY = Rule(
    "type(self) == string && quantity(self).compareTo(quantity('512Mi')) >= 0",
    "spec.sharedMemory must be at least 512Mi: vLLM does not start with less",
    lambda size: isinstance(size, str) and is_at_least(size, 512 * 1024**2),
)


class Spec(ApiModel):
    """One served endpoint: its model, how it is run, and on what."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.device != 'cpu' || has(self.engine.kvCache.memory)",
            "device: cpu needs the size of the KV cache: set spec.engine.kvCache.memory,"
            " for example 4Gi",
            lambda one: one.device != "cpu" or one.engine.kv_cache.memory is not None,
        ),
        Rule(
            "!has(self.cache) || (!has(self.model.source.persistentVolumeClaim)"
            " && !has(self.model.source.image))",
            "spec.cache keeps a model that is fetched from the hub: remove it, or remove"
            " spec.model.source.persistentVolumeClaim or image",
            lambda one: one.cache is None or not one.model.source.is_mounted,
        ),
        Rule(
            "!self.model.randomWeights || has(self.model.source.persistentVolumeClaim)"
            " || has(self.model.source.image)",
            "spec.model.randomWeights still needs params.json and tekken.json: set"
            " spec.model.source.persistentVolumeClaim or image",
            lambda one: not one.model.random_weights or one.model.source.is_mounted,
        ),
    )

    model: Model = Model()
    """Which model is served."""
    engine: Engine = Engine()
    """How vLLM runs the model."""
    images: Images = Images()
    """Images in prompts."""
    tools: Tools = Tools()
    """Tool calling."""
    loops: Loops = Loops()
    """Generations that repeat themselves for ever."""
    gate: Gate = Gate()
    """Policy for requests, and honesty in answers."""
    oom: OutOfMemory = OutOfMemory()
    """What is done about a lack of memory."""
    system_prompt: SystemPrompt = SystemPrompt()
    """The system prompt of conversations that bring none of their own."""
    replicas: int = Field(default=1, ge=0, le=1000)
    """Copies of the endpoint. Autoscalers write it through the scale subresource."""
    autoscaling: Autoscaling | None = None
    """How many replicas follow the load. Unset: as many as `replicas` says."""
    suspend: bool = False
    """Stop all replicas and keep everything else, until it is false again."""
    device: Literal["cuda", "cpu"] = "cuda"
    """What the model runs on. `cpu` is for tests of a cluster: tensor parallelism then means
    processes."""
    image: str | None = Field(default=None, min_length=1, max_length=1024)
    """Server image. Unset: the one that the operator was installed with."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet pulls the server image."""
    pod: Pod = Pod()
    """Where the pods run and what they get."""
    cache: Cache | None = None
    """Claim that keeps the model between restarts. Unset: each pod fetches it anew."""
    shared_memory: Annotated[Quantity, _SHARED_MEMORY.before] = Field(
        default="2Gi", json_schema_extra=with_rules(_SHARED_MEMORY)
    )
    """Size of /dev/shm, which the ranks of one replica talk through. At least 512Mi."""
    startup_seconds: int = Field(default=1800, ge=60, le=86_400)
    """Seconds from the start of a pod's server to its first answered chat; a slower one is
    restarted."""
    drain_seconds: int = Field(default=120, ge=0, le=3600)
    """Seconds that running requests get to finish when a pod stops."""
    network_policy: bool = True
    """Allow traffic to the API and health ports only. The ranks of one replica listen on further
    ports that nobody else may reach."""
