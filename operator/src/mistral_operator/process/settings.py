"""The settings of operator and activator, read once from the environment by `__main__`."""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


class ProcessSettings(BaseSettings):
    """What every process of ours is told."""

    model_config = SettingsConfigDict(frozen=True, use_attribute_docstrings=True)

    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces to watch, separated by commas; none means all."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port of /metrics, /healthz and /readyz; also of the operator's /autoscaling, and of the
    activator's /signals."""
    resync_seconds: float = Field(default=600, gt=0)
    """Seconds between two full comparisons with the API server."""
    log_level: str = "INFO"
    """Level of the log."""
    log_format: str = Field(default="text", pattern="^(text|json)$")
    """Shape of the log: text or json."""

    @field_validator("namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Take `a,b` as people write it in an environment variable."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value


class ActivatorSettings(ProcessSettings):
    """Settings of the activator; each is an environment variable MISTRAL_ACTIVATOR_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="MISTRAL_ACTIVATOR_")

    notice_seconds: float = Field(default=10, ge=0)
    """Seconds after a signal during which requests are still taken, since some still arrive."""
    drain_seconds: float = Field(default=600, gt=0)
    """Seconds that requests under way have to end, after that."""


class Settings(ProcessSettings):
    """Settings of the operator process; each is an environment variable MISTRAL_OPERATOR_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="MISTRAL_OPERATOR_")

    server_image: str = "mistral-small-server:0.1.0"
    """Image of the server where a resource names none."""
    namespace: str = "default"
    """Namespace of the operator itself; holds its Lease."""
    identity: str = "mistral-small-operator"
    """Name of this replica in the Lease: the name of its pod."""
    leader_election: bool = True
    """Take part in leader election; without it exactly one operator must run."""
    lease_seconds: int = Field(default=12, ge=3)
    """Seconds after which a silent leader is replaced."""
    url: str = "http://mistral-small-operator.mistral-system.svc:8080"
    """Where KEDA reaches this operator, for resources with `driver: KEDA`."""
    activator_service: str = ""
    """Service in the operator's own namespace whose pods are the activators; empty: there are none,
    and no endpoint sleeps."""
    concurrency: int = Field(default=20, ge=1)
    """Resources reconciled at the same time."""
    signal_seconds: float = Field(default=10, ge=0)
    """Seconds between two looks at a pod's /signals. 0: never; status then lacks what only a pod
    can tell, its stage and its effective configuration."""
    autoscaling_seconds: float = Field(default=15, gt=0)
    """Seconds between two decisions of the operator's own autoscaling, and between two looks at a
    ready pod whose load they are made of."""
