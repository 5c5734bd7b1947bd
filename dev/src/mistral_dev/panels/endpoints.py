"""The endpoints of a recording: one that serves, one that scales to zero, one that cannot start."""

from __future__ import annotations

from typing import Any

import yaml

from mistral_dev.installation import EXAMPLE
from mistral_dev.tiny_endpoint import tiny_spec


def serving() -> dict[str, Any]:
    """Return the example of the demo, `tiny`, with a KV cache that its load can fill."""
    resource: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    # Half a KiB a token in each of two ranks: 6,144 tokens, for 8 requests of up to 2,048.
    resource["spec"]["engine"]["kvCache"]["memory"] = "3Mi"
    return resource


def on_demand() -> dict[str, Any]:
    """Return an endpoint that scales from zero to two replicas and back."""
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    autoscaling = {"minReplicas": 0, "maxReplicas": 2, "targetInFlight": 2, "behavior": behavior}
    return _resource("on-demand", tiny_spec(replicas=0, autoscaling=autoscaling))


def limited() -> dict[str, Any]:
    """Return an endpoint whose container may use less memory than the engine needs."""
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "300Mi"}}
    return _resource("limited", tiny_spec(pod={"resources": resources}))


def _resource(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    example = yaml.safe_load(EXAMPLE.read_text())
    return {**example, "metadata": {"name": name}, "spec": spec}
