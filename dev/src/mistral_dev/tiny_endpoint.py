"""The smallest endpoint that an installation of this machine can serve."""

from __future__ import annotations

from typing import Any

from mistral_dev.installation import CLAIM


def tiny_spec(**fields: Any) -> dict[str, Any]:
    """Return the spec of an endpoint with the tiny model: one process on a CPU.

    Args:
        fields: of the spec, added or in place of those here.
    """
    source = {"persistentVolumeClaim": {"claimName": CLAIM}}
    return {
        "device": "cpu",
        "model": {"id": "tiny", "dtype": "float32", "source": source},
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
        "drainSeconds": 30,
        "pod": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}},
        **fields,
    }
