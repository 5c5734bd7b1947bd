"""`spec.model`: which model is served and where its files come from."""

from typing import ClassVar, Literal

from pydantic import Field

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, DataKey, Image, Name, Rule, Url

DEFAULT_MODEL = "mistralai/Mistral-Small-3.2-24B-Instruct-2506"

MODEL_BYTES = {DEFAULT_MODEL: 48_022_000_000}
"""Size of the files of one format, as the hub lists them. Other models may have any size."""


class SecretKey(ApiModel):
    """One key of a Secret in the namespace of the resource."""

    name: Name
    """Name of the Secret."""
    key: DataKey = "token"
    """Key within the Secret."""


class HubSource(ApiModel):
    """Fetch the model from the Hugging Face hub before the server starts."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.tokenSecret) || !has(self.endpoint) || self.endpoint.startsWith('https://')",
            "spec.model.source.hub.endpoint must be an https:// URL while tokenSecret is set: the"
            " token would be sent in clear text",
            lambda one: (
                one.token_secret is None or (one.endpoint or "https://").startswith("https://")
            ),
        ),
    )

    token_secret: SecretKey | None = None
    """Secret with the access token for a gated repository. Only the init container that fetches the
    model reads it, never the server."""
    endpoint: Url | None = None
    """URL of a mirror of the hub. Unset: the public hub."""


class ClaimSource(ApiModel):
    """Read the model from an existing PersistentVolumeClaim that contains it."""

    claim_name: Name
    """Name of the PersistentVolumeClaim. It is mounted read-only."""
    path: str = Field(default="", max_length=512, pattern=patterns.RELATIVE_PATH)
    """Directory of the model within the volume. Unset: the root of the volume."""


class ImageSource(ApiModel):
    """Read the model from an OCI image, mounted read-only. Requires Kubernetes 1.33."""

    reference: Image
    """Image that contains the model's files, such as
    registry.example.com/models/mistral-small@sha256:..."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet pulls the image."""
    path: str = Field(default="", max_length=512, pattern=patterns.RELATIVE_PATH)
    """Directory of the model within the image. Unset: the root of the image."""


class ModelSource(ApiModel):
    """Where the model's files come from: at most one of hub, persistentVolumeClaim and image."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.hub), has(self.persistentVolumeClaim), has(self.image)]"
            ".filter(given, given).size() <= 1",
            "spec.model.source allows only one of hub, persistentVolumeClaim and image: remove the"
            " others",
            lambda one: [one.hub, one.persistent_volume_claim, one.image].count(None) >= 2,
        ),
    )

    hub: HubSource | None = None
    """Fetch the model from the Hugging Face hub. This is the default."""
    persistent_volume_claim: ClaimSource | None = None
    """Read the model from a PersistentVolumeClaim."""
    image: ImageSource | None = None
    """Read the model from an OCI image."""

    @property
    def is_mounted(self) -> bool:
        """Whether the files exist before the pod starts, so that nothing is fetched."""
        return self.persistent_volume_claim is not None or self.image is not None


class Model(ApiModel):
    """Which model is served, and how its files are read."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!(has(self.quantization) && self.quantization in ['awq', 'gptq'])"
            " || (has(self.format) && self.format == 'huggingface')",
            "spec.model.quantization awq and gptq require the Hugging Face format: set"
            " spec.model.format to huggingface and spec.model.id to a quantized repository",
            lambda one: one.quantization not in {"awq", "gptq"} or one.format == "huggingface",
        ),
    )

    id: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        max_length=200,
        pattern=patterns.REPOSITORY,
    )
    """Repository of the model on the hub, owner/name. With another source it is only the name of
    the model."""
    revision: str = Field(
        default="main",
        min_length=1,
        max_length=200,
        pattern=patterns.REVISION,
    )
    """Commit, tag or branch of the repository. Pin a commit in production: a branch can move
    between the start of one replica and the next."""
    served_name: str | None = Field(
        default=None, min_length=1, max_length=200, pattern=patterns.MODEL_NAME
    )
    """Model name that clients send in `model`. Unset: the id."""
    source: ModelSource = ModelSource()
    """Where the model's files come from."""
    format: Literal["mistral", "huggingface"] = "mistral"
    """Format of the model's files. `mistral`: params.json, tekken.json and
    consolidated*.safetensors, with Mistral's own tokenizer and tool-call grammar. `huggingface`:
    config.json and sharded weights, as in most quantized repositories."""
    random_weights: bool = False
    """Use random weights of the model's shape instead of reading the files. For tests of a cluster:
    the server behaves as with real weights, but the answers are noise."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    """Data type of weights and activations. The model was trained in bfloat16; float16 can
    overflow."""
    quantization: Literal["fp8", "awq", "gptq", "compressed-tensors"] | None = None
    """Quantization of the weights. `fp8` quantizes while loading and halves their memory. The
    others name the quantization of the files. Unset: as the model's own configuration says."""

    @property
    def name(self) -> str:
        """The name that clients use."""
        return self.served_name or self.id
