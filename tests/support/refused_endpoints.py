"""Rules of engines, gates and autoscaling that a resource breaks, with the sentence of each."""

from typing import Any

_KEDA = {"driver": "KEDA", "maxReplicas": 2}
_PROMETHEUS = {"prometheus": "http://prometheus:9090"}

ENDPOINT_RULES: dict[str, tuple[dict[str, Any], str]] = {
    "a share in percent": (
        {"engine": {"gpuMemoryUtilization": 90}},
        "write a share of a GPU's memory from 0.1 to 0.99",
    ),
    "no memory of the GPU at all": (
        {"engine": {"gpuMemoryUtilization": 0}},
        "write a share of a GPU's memory from 0.1 to 0.99",
    ),
    "all memory of the GPU": (
        {"oom": {"maxGpuMemoryUtilization": 1}},
        "write a share of a GPU's memory from 0.1 to 0.99",
    ),
    "a tensor parallel size that does not divide the heads": (
        {"engine": {"tensorParallelSize": 3}},
        "must divide the model's 32 attention heads and 8 KV heads: write 1, 2, 4 or 8",
    ),
    "a context length in quotes": ({"engine": {"contextLength": "4096"}}, "without quotes"),
    "a context longer than the model's": (
        {"engine": {"contextLength": 131073}},
        "must be auto or a number of tokens from 1024 to 131072",
    ),
    "a context that is too short": (
        {"engine": {"contextLength": 5}},
        "must be auto or a number of tokens from 1024 to 131072",
    ),
    "a shortest context above the longest": (
        {"engine": {"contextLength": 4096}, "oom": {"minContextLength": 5000}},
        "spec.oom.minContextLength is greater than spec.engine.contextLength",
    ),
    "a method of speculation that needs a draft model": (
        {"engine": {"speculation": {"method": "EAGLE"}}},
        "spec.engine.speculation.method must be NGram",
    ),
    "another spelling of the method": (
        {"engine": {"speculation": {"method": "ngram_gpu"}}},
        "spec.engine.speculation.method must be NGram",
    ),
    "a shortest n-gram above the longest": (
        {"engine": {"speculation": {"lookupMin": 5}}},
        "spec.engine.speculation.lookupMin is greater than lookupMax",
    ),
    "speculation with an argument that excludes it": (
        {"engine": {"speculation": {}, "extraArgs": ["--async_scheduling"]}},
        "spec.engine.speculation does not work with --async-scheduling",
    ),
    "an offloaded KV cache that is too small": (
        {"engine": {"kvOffload": {"size": "512Mi"}}},
        "spec.engine.kvOffload.size must be at least 1Gi",
    ),
    "an offloaded KV cache without a unit": (
        {"engine": {"kvOffload": {"size": 17179869184}}},
        "spec.engine.kvOffload.size: write it as a quoted quantity, such as 16Gi",
    ),
    "an offloaded KV cache on CPUs": (
        {
            "device": "cpu",
            "engine": {"kvOffload": {"size": "2Gi"}, "kvCache": {"memory": "4Gi"}},
        },
        "spec.engine.kvOffload copies the KV cache of GPUs",
    ),
    "an offloaded KV cache that fills the memory": (
        {
            "engine": {"kvOffload": {"size": "16Gi"}},
            "pod": {"resources": {"limits": {"memory": "23Gi"}}},
        },
        "set the limit to at least 8Gi more than kvOffload.size",
    ),
    "one that is larger than the memory, in bytes": (
        {
            "engine": {"kvOffload": {"size": "64Gi"}},
            "pod": {"resources": {"limits": {"memory": 34359738368}}},
        },
        "set the limit to at least 8Gi more than kvOffload.size",
    ),
    "an offloaded KV cache that the scheduler does not know of": (
        {
            "engine": {"kvOffload": {"size": "200Gi"}},
            "pod": {"resources": {"requests": {"memory": "24Gi"}}},
        },
        "set the request to at least 8Gi more than kvOffload.size",
    ),
    "a memory with another unit": (
        {"engine": {"kvCache": {"memory": "40GB"}}},
        "write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "an argument that runs code": (
        {"engine": {"extraArgs": ["--trust-remote-code"]}},
        "allows only arguments that tune speed or memory",
    ),
    "the same with underscores": (
        {"engine": {"extraArgs": ["--trust_remote_code"]}},
        "allows only arguments that tune",
    ),
    "an abbreviation of it": (
        {"engine": {"extraArgs": ["--trust-remote"]}},
        "allows only arguments that tune",
    ),
    "an allowed argument with another inside": (
        {"engine": {"extraArgs": ["--seed 1 --trust-remote-code"]}},
        "write each item as --flag or --flag=value",
    ),
    "an argument of two lines": (
        {"engine": {"extraArgs": ["--seed=1\n2"]}},
        "write each item as --flag or --flag=value",
    ),
    "an argument with a NUL": (
        {"engine": {"extraArgs": ["--seed=1\x002"]}},
        "write each item as --flag or --flag=value",
    ),
    "an argument with an escape of a terminal": (
        {"engine": {"extraArgs": ["--seed=\x1b[2J"]}},
        "write each item as --flag or --flag=value",
    ),
    "a Prometheus on the node itself": (
        {
            "autoscaling": {
                **_KEDA,
                "targetInFlight": 8,
                "keda": {"prometheus": "http://127.0.0.1:10255"},
            }
        },
        "cannot be that of a node itself",
    ),
    "a loop that is stopped before it counts": (
        {"loops": {"repeats": 9, "stopRepeats": 8}},
        "stopRepeats must be at least repeats",
    ),
    "a loop that is stopped with fewer tokens than count": (
        {"loops": {"minTokens": 512, "stopMinTokens": 511}},
        "stopMinTokens at least minTokens",
    ),
    "more replicas at least than at most": (
        {"autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
        "spec.autoscaling.minReplicas is greater than maxReplicas",
    ),
    "KEDA's settings without KEDA": (
        {"autoscaling": {"maxReplicas": 2, "keda": {}}},
        "requires driver: KEDA",
    ),
    "a Prometheus that cannot know the target": (
        {"autoscaling": {**_KEDA, "keda": _PROMETHEUS}},
        "requires spec.autoscaling.targetInFlight",
    ),
    "a Prometheus that would have to know of endpoints at zero": (
        {"autoscaling": {**_KEDA, "minReplicas": 0, "targetInFlight": 8, "keda": _PROMETHEUS}},
        "remove spec.autoscaling.keda.prometheus, or set minReplicas to 1 or more",
    ),
    "strict tools without tools": (
        {"tools": {"enabled": False, "strict": "Enforce"}},
        "Enforce requires tool calls",
    ),
    "requests of no size": (
        {"gate": {"maxBodySize": "0"}},
        "spec.gate.maxBodySize must be at least 1Mi",
    ),
    "requests of a size in bytes that is too small": (
        {"gate": {"maxBodySize": 1048575}},
        "spec.gate.maxBodySize must be at least 1Mi",
    ),
    "a CPU endpoint without a size of its KV cache": (
        {"device": "cpu"},
        "set spec.engine.kvCache.memory, for example to 4Gi",
    ),
    "a system prompt without its ConfigMap": (
        {"systemPrompt": {"source": "ConfigMap"}},
        "set both or neither",
    ),
    "a ConfigMap that is not used": (
        {"systemPrompt": {"configMap": {"name": "x"}}},
        "set both or neither",
    ),
    "a smallest share above the largest": (
        {"oom": {"minGpuMemoryUtilization": 0.9, "maxGpuMemoryUtilization": 0.8}},
        "is greater than spec.oom.maxGpuMemoryUtilization",
    ),
    "too little shared memory": ({"sharedMemory": "64Mi"}, "at least 512Mi"),
    "shared memory in bytes": (
        {"sharedMemory": 2147483648},
        "spec.sharedMemory: write it as a quoted quantity",
    ),
    "more paths than the activator can know": (
        {
            "autoscaling": {"minReplicas": 0, "maxReplicas": 2},
            "gate": {"paths": [f"/v1/path-{number:03}" for number in range(11)]},
        },
        "spec.gate.paths and allowedOrigins of an endpoint that can scale to zero may have at",
    ),
    "more origins than the activator can know": (
        {
            "autoscaling": {"minReplicas": 0, "maxReplicas": 2},
            "gate": {"allowedOrigins": [f"https://{number}.example.com" for number in range(7)]},
        },
        "spec.gate.paths and allowedOrigins of an endpoint that can scale to zero may have at",
    ),
    "an origin with the default port": (
        {"gate": {"allowedOrigins": ["http://chat.example.com:443", "https://example.com:443"]}},
        "spec.gate.allowedOrigins: browsers leave out the default port",
    ),
    "a name that is a path": (
        {"systemPrompt": {"source": "ConfigMap", "configMap": {"name": "../../victim/x"}}},
        "write a value such as my-object",
    ),
    "a Secret that is a path": (
        {"gate": {"apiKeys": {"secret": "../x"}}},
        "write a value such as my-object",
    ),
    "a key that is a path": (
        {"systemPrompt": {"source": "ConfigMap", "configMap": {"name": "x", "key": "../keys/k"}}},
        "write a value such as token or SYSTEM_PROMPT.txt",
    ),
    "a path of the server that leads up": (
        {"gate": {"paths": ["/v1/../invocations"]}},
        "write a value such as /score or /v1/*",
    ),
    "a path that is a pattern": (
        {"gate": {"paths": ["/v1/.*"]}},
        "write a value such as /score or /v1/*",
    ),
    **{
        f"the origin {origin}": (
            {"gate": {"allowedOrigins": [origin]}},
            "write a value such as https://chat.example.com",
        )
        for origin in ("*.example.com", "https://*", "https://a.b/", "HTTPS://a.b", "null-null")
    },
}
