"""`spec.pod.env`: environment variables of the server and of the container that fetches the model.

Variables that run code, that open what is closed, or that a field of the resource sets are refused
by name. That is why each variable is named here: `envFrom` does not exist, as the operator would
know its names only after the pods have started.
"""

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from mistral_operator.api import patterns
from mistral_operator.api.base import ApiModel, DataKey, Line, Name, Rule, with_rules

_TUNING = (
    "VLLM_ATTENTION_BACKEND",
    "VLLM_ENGINE_ITERATION_TIMEOUT_S",
    "VLLM_FLASH_ATTN_VERSION",
    "VLLM_IMAGE_FETCH_TIMEOUT",
    "VLLM_USE_FLASHINFER_SAMPLER",
)
"""Variables of vLLM that only tune. Others load code, open paths or change what is logged."""

_RESERVED = (
    # The operator's and the server's own; where models, caches, metrics and temporary files are.
    r"MISTRAL_.*|PROMETHEUS_.*|HOME|USER|LOGNAME|TMP|TEMP|TMPDIR|XDG_.*|KUBERNETES_.*",
    # The hub, its token, and whether it is used at all.
    r"HF_(TOKEN.*|ENDPOINT|HOME|DEBUG|HUB_OFFLINE|INFERENCE_.*|STORED_.*|.*CACHE)",
    r"HUGGING_?FACE_.*|TRANSFORMERS_.*",
    # Code that is loaded into the server, or written by it, and TLS keys in a file.
    r"LD_.*|PYTHON.*|PATH|ENV|BASH_ENV|GCONV_PATH|GLIBC_.*|OPENSSL_.*|SSLKEYLOGFILE",
    r"TORCH.*|TRITON_.*|FLASHINFER_.*|CUDA_.*|NCCL_.*(PLUGIN|CONF_FILE).*",
    # All GPUs of the node, and where the ranks of a replica listen.
    r"NVIDIA_.*|GLOO_.*|NCCL_(SOCKET_.*|COMM_ID)|MASTER_.*|RANK|LOCAL_RANK|WORLD_SIZE|RAY_.*",
)
_NOT_FREE = f"^({'|'.join(_RESERVED)})$"

_FREE = Rule(
    f"!self.matches('{_NOT_FREE}')"
    f" && (!self.startsWith('VLLM_') || self in [{', '.join(map(repr, _TUNING))}])",
    "spec.pod.env cannot set this variable: it is the operator's, a field of the resource sets it,"
    " or the safety of the server depends on it. Of vLLM's variables it can set"
    f" {', '.join(_TUNING)}",
    lambda name: (
        re.fullmatch(_NOT_FREE, name) is None and (not name.startswith("VLLM_") or name in _TUNING)
    ),
)

_NO_REFERENCE = Rule(
    "!self.contains('$(')",
    "a value cannot refer to another variable by $(NAME): write the whole value",
    lambda value: "$(" not in value,
)
"""A reference would copy the hub's token into a variable that is sent elsewhere."""


class KeyReference(ApiModel):
    """One key of a Secret or a ConfigMap in the namespace of the resource."""

    name: Name
    """Name of the Secret or ConfigMap."""
    key: DataKey
    """Key within it."""


class FieldReference(ApiModel):
    """A field of the pod."""

    field_path: Literal[
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "status.hostIP",
        "status.podIP",
    ]
    """Path of the field."""


class ValueFrom(ApiModel):
    """Where the value of a variable comes from."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.secretKeyRef) ? 1 : 0) + (has(self.configMapKeyRef) ? 1 : 0)"
            " + (has(self.fieldRef) ? 1 : 0) == 1",
            "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
            lambda one: len(one.model_dump(exclude_none=True)) == 1,
        ),
    )

    secret_key_ref: KeyReference | None = None
    """Key of a Secret. It must have the name of the variable, so that a Secret is only used for
    what it was made for."""
    config_map_key_ref: KeyReference | None = None
    """Key of a ConfigMap."""
    field_ref: FieldReference | None = None
    """Field of the pod."""


def _has_one_value(one: "Variable") -> bool:
    return (one.value is None) != (one.value_from is None)


def _has_its_own_key(one: "Variable") -> bool:
    secret = one.value_from.secret_key_ref if one.value_from is not None else None
    return secret is None or secret.key == one.name


class Variable(ApiModel):
    """One environment variable."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.value) != has(self.valueFrom)",
            "set either value or valueFrom",
            _has_one_value,
        ),
        Rule(
            "!has(self.valueFrom) || !has(self.valueFrom.secretKeyRef)"
            " || self.valueFrom.secretKeyRef.key == self.name",
            "the key of the Secret must have the name of the variable: a Secret is used for what it"
            " was made for. Add such a key to the Secret",
            _has_its_own_key,
        ),
    )

    name: Annotated[str, _FREE.after] = Field(
        min_length=1,
        max_length=128,
        pattern=patterns.VARIABLE_NAME,
        json_schema_extra=with_rules(_FREE),
    )
    """Name of the variable, such as HTTPS_PROXY."""
    value: Annotated[Line, _NO_REFERENCE.after] | None = Field(
        default=None, json_schema_extra=with_rules(_NO_REFERENCE)
    )
    """Value, one line of printable ASCII. It appears in the pod: put secrets into a Secret."""
    value_from: ValueFrom | None = None
    """Source of the value."""


def _without_duplicates(variables: list[Variable]) -> list[Variable]:
    names = [one.name for one in variables]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise ValueError(f"{twice} is set twice: remove one")
    return variables


Environment = Annotated[
    list[Variable],
    Field(
        max_length=24,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    ),
    AfterValidator(_without_duplicates),
]
"""Environment variables with different names."""

CA_VARIABLES = frozenset({"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"})
"""Which certificate authorities the client of the hub believes."""
