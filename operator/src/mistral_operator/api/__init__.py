"""The public API: MistralSmallDeployment as pydantic models. `crd.py` generates the CRD."""

from mistral_operator.api.autoscaling import (
    Activation,
    Autoscaling,
    AutoscalingStatus,
    ScalingReason,
)
from mistral_operator.api.model import DEFAULT_MODEL
from mistral_operator.api.oom_status import Change, Oom, OomEvent, OomTotal, Overrides, Step
from mistral_operator.api.parsed_status import parse_status
from mistral_operator.api.resource import Resource, parse_resource, parse_spec, resource_with_spec
from mistral_operator.api.rollout import Rollout
from mistral_operator.api.spec import Spec
from mistral_operator.api.status import (
    Condition,
    ConditionType,
    Effective,
    ImageEngine,
    Reason,
    Status,
)

__all__ = [
    "DEFAULT_MODEL",
    "Activation",
    "Autoscaling",
    "AutoscalingStatus",
    "Change",
    "Condition",
    "ConditionType",
    "Effective",
    "ImageEngine",
    "Oom",
    "OomEvent",
    "OomTotal",
    "Overrides",
    "Reason",
    "Resource",
    "Rollout",
    "ScalingReason",
    "Spec",
    "Status",
    "Step",
    "parse_resource",
    "parse_spec",
    "parse_status",
    "resource_with_spec",
]
