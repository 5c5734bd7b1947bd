"""The endpoints of a recording: one that serves, one that scales to zero, one that cannot start."""

from __future__ import annotations

from typing import Any

import yaml

from mistral_dev.installation import CLAIM, EXAMPLE

_SMALL: dict[str, Any] = {
    "device": "cpu",
    "model": {
        "id": "tiny",
        "dtype": "float32",
        "source": {"persistentVolumeClaim": {"claimName": CLAIM}},
    },
    "images": {"perPrompt": 1},
    "engine": {
        "tensorParallelSize": 1,
        "contextLength": 2048,
        "maxSequences": 8,
        "maxBatchedTokens": 2048,
        "kvCache": {"memory": "64Mi"},
    },
    "sharedMemory": "512Mi",
    "startupSeconds": 600,
    "drainSeconds": 20,
    "pod": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}},
}
"""One process on a CPU."""


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
    return _resource("on-demand", {**_SMALL, "replicas": 0, "autoscaling": autoscaling})


def limited() -> dict[str, Any]:
    """Return an endpoint whose container may use less memory than the engine needs."""
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "300Mi"}}
    return _resource("limited", {**_SMALL, "pod": {"resources": resources}})


def _resource(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    example = yaml.safe_load(EXAMPLE.read_text())
    return {**example, "metadata": {"name": name}, "spec": spec}
