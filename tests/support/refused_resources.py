"""Resources that are refused, with the sentence that says so: by the API server and by the models.

`tests/cluster` gives them to a real API server, whose CEL evaluates the rules; the unit tests give
them to `render` and `fit`, and check that no rule of the CRD is without a case.
"""

from typing import Any

from mistral_operator.kube.names import MAX_NAME

Spec = dict[str, Any]

_KEDA = {"driver": "KEDA", "maxReplicas": 2}
_PROMETHEUS = {"prometheus": "http://prometheus:9090"}

RULES: dict[str, tuple[Spec, str]] = {
    "a caller without a selector": (
        {"network": {"callers": [{}]}},
        "set either ipBlock, or namespaceSelector or podSelector or both",
    ),
    "a destination of two forms": (
        {"network": {"destinations": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}},
        "set either ipBlock, or namespaceSelector or podSelector or both",
    ),
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
    "a toleration without a key": (
        {"pod": {"tolerations": [{"effect": "NoSchedule"}]}},
        "set operator to Exists, or add the key of the taint",
    ),
    "a toleration of every value with a value": (
        {"pod": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}},
        "remove value, or set operator to Equal",
    ),
    "a toleration for some seconds of an effect that evicts no pod": (
        {"pod": {"tolerations": [{"key": "a", "tolerationSeconds": 5}]}},
        "set effect to NoExecute",
    ),
    "a request above the limit": (
        {
            "pod": {
                "resources": {"requests": {"memory": "64Gi"}, "limits": {"memory": 32 * 1024**3}}
            }
        },
        "raise the limit or lower the request",
    ),
    "a request of 32 bytes": (
        {"pod": {"resources": {"requests": {"memory": 32}}}},
        "requests.memory is less than 64Mi: check the unit",
    ),
    "a limit of 32 bytes": (
        {"pod": {"resources": {"limits": {"memory": "32"}}}},
        "limits.memory is less than 64Mi: check the unit",
    ),
    "a fetch of 32 bytes": (
        {"pod": {"fetchResources": {"limits": {"memory": "32"}}}},
        "limits.memory is less than 64Mi: check the unit",
    ),
    "a label of the operator": (
        {"pod": {"labels": {"app.kubernetes.io/name": "prometheus"}}},
        "these are the operator's and Kubernetes' own",
    ),
    "a label of the operator's group": (
        {"pod": {"labels": {"inference.mistral-small.io/deployment": "another"}}},
        "these are the operator's and Kubernetes' own",
    ),
    "an annotation that turns AppArmor off": (
        {
            "pod": {
                "annotations": {
                    "container.apparmor.security.beta.kubernetes.io/server": "unconfined"
                }
            }
        },
        "annotations of pods cannot begin with",
    ),
    "an annotation of kubectl on the Service": (
        {"service": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}},
        "annotations of Services and ServiceAccounts cannot begin with",
    ),
    "an annotation of the operator on the ServiceAccount": (
        {"pod": {"serviceAccountAnnotations": {"inference.mistral-small.io/applied": "x"}}},
        "annotations of Services and ServiceAccounts cannot begin with",
    ),
    "annotations of a ServiceAccount that is not the endpoint's": (
        {"pod": {"serviceAccountName": "a", "serviceAccountAnnotations": {"b": "c"}}},
        "annotate the ServiceAccount of spec.pod.serviceAccountName yourself",
    ),
    **{
        f"the variable {name}": (
            {"pod": {"env": [{"name": name, "value": "1"}]}},
            "spec.pod.env cannot set this variable",
        )
        for name in (
            "MISTRAL_SERVER_SETTINGS",
            "HF_TOKEN",
            "HF_ENDPOINT",
            "HF_XET_CACHE",
            "LD_PRELOAD",
            "PYTHONPATH",
            "NVIDIA_VISIBLE_DEVICES",
            "CUDA_INJECTION64_PATH",
            "NCCL_NET_PLUGIN",
            "NCCL_SOCKET_IFNAME",
            "SSLKEYLOGFILE",
            "PROMETHEUS_MULTIPROC_DIR",
            "VLLM_PLUGINS",
            "VLLM_LOGGING_CONFIG_PATH",
        )
    },
    "a variable that copies another": (
        {"pod": {"env": [{"name": "HTTPS_PROXY", "value": "http://a.example/$(HF_TOKEN)"}]}},
        "write the whole value",
    ),
    "a variable without a value": (
        {"pod": {"env": [{"name": "A"}]}},
        "set either value or valueFrom",
    ),
    "a variable of two values": (
        {
            "pod": {
                "env": [
                    {
                        "name": "A",
                        "value": "b",
                        "valueFrom": {"configMapKeyRef": {"name": "c", "key": "d"}},
                    }
                ]
            }
        },
        "set either value or valueFrom",
    ),
    "a variable of no source": (
        {"pod": {"env": [{"name": "A", "valueFrom": {}}]}},
        "set exactly one of secretKeyRef, configMapKeyRef and fieldRef",
    ),
    "a Secret for another purpose in a variable": (
        {
            "pod": {
                "env": [
                    {
                        "name": "HTTPS_PROXY",
                        "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}},
                    }
                ]
            }
        },
        "the key of the Secret must have the name of the variable",
    ),
    "a volume of the server's own name": (
        {"pod": {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}]}},
        "are those of the server's own volumes: choose another",
    ),
    "a volume without a source": (
        {"pod": {"volumes": [{"name": "a"}]}},
        "set exactly one of persistentVolumeClaim, configMap, secret, emptyDir and projected",
    ),
    "a projected source of nothing": (
        {"pod": {"volumes": [{"name": "a", "projected": {"sources": [{}]}}]}},
        "set either configMap or secret in a source of a projected volume",
    ),
    "a mount of no volume": (
        {"pod": {"volumeMounts": [{"name": "a", "mountPath": "/mnt/a"}]}},
        "names a volume that is not in spec.pod.volumes",
    ),
    "an affinity without a value": (
        {
            "pod": {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "a", "operator": "In"}]}
                            ]
                        }
                    }
                }
            }
        },
        "In and NotIn need values, and Exists and DoesNotExist have none",
    ),
    "the same spread twice": (
        {"pod": {"topologySpread": [{"topologyKey": "zone"}, {"topologyKey": "zone"}]}},
        "two constraints with the same topologyKey and whenUnsatisfiable: remove one",
    ),
    "a GPU resource of a quota": (
        {"pod": {"gpu": {"resourceName": "requests.nvidia.com/gpu"}}},
        "must be the extended resource of a device plugin",
    ),
    "a GPU resource of Kubernetes itself": (
        {"pod": {"gpu": {"resourceName": "kubernetes.io/gpu"}}},
        "must be the extended resource of a device plugin",
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
    "a GPU of half a gibibyte": (
        {"pod": {"gpu": {"memory": "512Mi"}}},
        "spec.pod.gpu.memory is less than 1Gi: write the unit, such as 80Gi",
    ),
    "a shortest context above the longest": (
        {"engine": {"contextLength": 4096}, "oom": {"minContextLength": 5000}},
        "spec.oom.minContextLength is greater than spec.engine.contextLength",
    ),
    "a memory with another unit": (
        {"engine": {"kvCache": {"memory": "40GB"}}},
        "write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "a memory in words": (
        {"cache": {"size": "80gi"}},
        "write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "a memory in billionths": (
        {"cache": {"size": "80n"}},
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
    "images from the node itself": (
        {"images": {"domains": ["localhost"]}},
        "spec.images.domains cannot contain a name of the node itself",
    ),
    "images from the API server": (
        {"images": {"domains": ["kubernetes.default.svc"]}},
        "spec.images.domains cannot contain a name of the node itself",
    ),
    "a hub at the metadata service": (
        {"model": {"source": {"hub": {"endpoint": "http://169.254.169.254/latest"}}}},
        "cannot be that of a node itself, of the API server or of a metadata service",
    ),
    "a hub at the name of a metadata service": (
        {"model": {"source": {"hub": {"endpoint": "http://metadata.google.internal"}}}},
        "cannot be that of a node itself",
    ),
    **{
        f"a hub at {host}": (
            {"model": {"source": {"hub": {"endpoint": f"http://{host}"}}}},
            "cannot be that of a node itself, of the API server or of a metadata service",
        )
        for host in (
            *("localhost:8080", "a.localhost", "ip6-localhost", "localhost6.localdomain6"),
            *("0.1.2.3", "127.0.0.2", "224.0.0.1", "255.255.255.255", "host.docker.internal"),
            *("kubernetes.default.svc.corp.example/api", "kubernetes", "metadata.goog"),
            *("metadata.azure.internal", "metadata.tencentyun.com", "instance-data"),
            *("100.100.100.200", "168.63.129.16", "192.0.0.192"),
        )
    },
    **{
        f"images from {host}": (
            {"images": {"domains": [host]}},
            "spec.images.domains cannot contain a name of the node itself",
        )
        for host in ("metadata.goog", "ip6-loopback", "kubernetes.default.svc.corp.example")
    },
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
    "a token in clear text": (
        {
            "model": {
                "source": {
                    "hub": {"endpoint": "http://hub.example.com", "tokenSecret": {"name": "hub"}}
                }
            }
        },
        "must be an https:// URL while tokenSecret is set",
    ),
    "a key of a label that is too long": (
        {"pod": {"nodeSelector": {"k" * 318: "v"}}},
        "at most 317 characters",
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
    "AWQ weights in Mistral's format": (
        {"model": {"quantization": "awq"}},
        "set spec.model.format to huggingface",
    ),
    "two sources of the model": (
        {"model": {"source": {"hub": {}, "image": {"reference": "x"}}}},
        "allows only one of hub, persistentVolumeClaim and image",
    ),
    "a cache for a model that is not fetched": (
        {"cache": {}, "model": {"source": {"image": {"reference": "x"}}}},
        "remove spec.cache, or spec.model.source",
    ),
    "random weights without a tokenizer": (
        {"model": {"randomWeights": True}},
        "still requires params.json and tekken.json",
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
    "GPUs among the limits": (
        {"pod": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        "allowed keys are cpu, memory, ephemeral-storage",
    ),
    "GPUs among the requests": (
        {"pod": {"resources": {"requests": {"nvidia.com/gpu": 1}}}},
        "allowed keys are cpu, memory, ephemeral-storage",
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
    "a memory that is no quantity": (
        {"pod": {"gpu": {"memory": "much"}}},
        "write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "a URL where a host belongs": (
        {"images": {"domains": ["https://example.com"]}},
        "write a value such as images.example.com, a host name",
    ),
    "a path that leaves the volume": (
        {"model": {"source": {"persistentVolumeClaim": {"claimName": "x", "path": "../y"}}}},
        "write a value such as models/small, relative",
    ),
    "a name that is a path": (
        {"systemPrompt": {"source": "ConfigMap", "configMap": {"name": "../../victim/x"}}},
        "write a value such as my-object",
    ),
    "a name with a query": (
        {"model": {"source": {"persistentVolumeClaim": {"claimName": "a?watch=true"}}}},
        "write a value such as my-object",
    ),
    "a Secret that is a path": (
        {"gate": {"apiKeys": {"secret": "../x"}}},
        "write a value such as my-object",
    ),
    "a pull secret that is a path": (
        {"pod": {"imagePullSecrets": ["../x"]}},
        "write a value such as my-object",
    ),
    "a key that is a path": (
        {"systemPrompt": {"source": "ConfigMap", "configMap": {"name": "x", "key": "../keys/k"}}},
        "write a value such as token or SYSTEM_PROMPT.txt",
    ),
    "a key that leads up": (
        {"model": {"source": {"hub": {"tokenSecret": {"name": "x", "key": ".."}}}}},
        "write a value such as token or SYSTEM_PROMPT.txt",
    ),
    "a domain that is an option": (
        {"images": {"domains": ["--trust-remote-code"]}},
        "write a value such as images.example.com",
    ),
    "a domain that is an address": (
        {"images": {"domains": ["127.0.0.1"]}},
        "write a value such as images.example.com",
    ),
    "a hub with credentials in its URL": (
        {"model": {"source": {"hub": {"endpoint": "https://user:secret@hub.example.com"}}}},
        "write a value such as https://hub.example.com",
    ),
    "a hub whose path leads up": (
        {"model": {"source": {"hub": {"endpoint": "https://hub.example.com/a/../b"}}}},
        "write a value such as https://hub.example.com",
    ),
    "a path of the server that leads up": (
        {"gate": {"paths": ["/v1/../invocations"]}},
        "write a value such as /score or /v1/*",
    ),
    "an image with a space": (
        {"image": "registry/server:1 --privileged"},
        "write a value such as registry.example.com/server:1.0",
    ),
    "a path that is a pattern": (
        {"gate": {"paths": ["/v1/.*"]}},
        "write a value such as /score or /v1/*",
    ),
    "a path from the root": (
        {"model": {"source": {"persistentVolumeClaim": {"claimName": "x", "path": "/models"}}}},
        "write a value such as models/small, relative to the root of the volume",
    ),
    "the URL of a repository": (
        {"model": {"id": "https://huggingface.co/mistralai/Mistral-Small"}},
        "write a value such as owner/name, not a URL",
    ),
    "a hub without a scheme": (
        {"model": {"source": {"hub": {"endpoint": "hf-mirror.internal"}}}},
        "write a value such as https://hub.example.com, with http:// or https://",
    ),
    **{
        f"the origin {origin}": (
            {"gate": {"allowedOrigins": [origin]}},
            "write a value such as https://chat.example.com",
        )
        for origin in ("*.example.com", "https://*", "https://a.b/", "HTTPS://a.b", "null-null")
    },
    "a mount over the server's files": (
        {"pod": {"volumeMounts": [{"name": "a", "mountPath": "/etc/passwd"}]}},
        "write a value such as /mnt/ca-bundle or /data/files or /srv/files",
    ),
    "a host alias of a name": (
        {"pod": {"hostAliases": [{"ip": "example.com", "hostnames": ["a"]}]}},
        "write a value such as 10.20.0.8",
    ),
    "a variable with a hyphen": (
        {"pod": {"env": [{"name": "HTTPS-PROXY", "value": "a"}]}},
        "write a value such as HTTPS_PROXY",
    ),
    "a variable of two lines": (
        {"pod": {"env": [{"name": "HTTPS_PROXY", "value": "a\nb"}]}},
        "write a value such as http://proxy.example.com:3128, in one line",
    ),
    "a volume with a dot": (
        {"pod": {"volumes": [{"name": "a.b", "emptyDir": {"sizeLimit": "1Gi"}}]}},
        "write a value such as ca-bundle",
    ),
    "an image of two words": (
        {"image": "a b"},
        "write a value such as registry.example.com/server:1.0, without spaces",
    ),
    "a revision with a space": (
        {"model": {"revision": "a b"}},
        "write a value such as main",
    ),
    "a model name with a space": (
        {"model": {"servedName": "a b"}},
        "write a value such as mistral-small",
    ),
    "a key of a node label with a space": (
        {"pod": {"topologySpread": [{"topologyKey": "a b"}]}},
        "write a value such as topology.kubernetes.io/zone",
    ),
    "a label with a space": (
        {"pod": {"nodeSelector": {"zone": "a b"}}},
        "write a value such as zone-a",
    ),
    "a GPU resource without a domain": (
        {"pod": {"gpu": {"resourceName": "gpu"}}},
        "write a value such as nvidia.com/gpu",
    ),
    "an address range with a space": (
        {"network": {"callers": [{"ipBlock": {"cidr": "10.0.0.0 /8"}}]}},
        "write a value such as 10.20.0.0/16",
    ),
}
"""By the CEL rules of the CRD: the sentence is the same from both."""

SCHEMA: dict[str, tuple[Spec, str, str]] = {
    "a memory of the GPU without a unit": (
        {"pod": {"gpu": {"memory": 80}}},
        "spec.pod.gpu.memory is less than 1Gi: did you mean 80Gi?",
        "spec.pod.gpu.memory is less than 1Gi: did you mean 80Gi?",
    ),
    "the same as nvidia-smi says it, in quotes": (
        {"pod": {"gpu": {"memory": "81559"}}},
        "spec.pod.gpu.memory is less than 1Gi: did you mean 81559Mi?",
        "spec.pod.gpu.memory is less than 1Gi: did you mean 81559Mi?",
    ),
    "an argument that has a field": (
        {"engine": {"extraArgs": ["--max-model-len=4096"]}},
        "set spec.engine.contextLength instead of --max-model-len",
        "set spec.engine.contextLength instead of --max-model-len",
    ),
    "a word that YAML reads as false": (
        {"loops": {"action": False}},
        'supported values: "Disabled", "Observe", "Stop", "Off"',
        "YAML reads Off, On, No and Yes as true or false, so put the value in quotes",
    ),
    "a fraction of memory without a unit": (
        {"cache": {"size": 1.5}},
        'must be of type integer,string: "number"',
        "1.5 GiB is 1.5Gi",
    ),
    "a quantity with a negative exponent": (
        {"cache": {"size": "1e-3"}},
        "should match",
        "write it as a quoted quantity",
    ),
    "autoscaling without a limit": (
        {"autoscaling": {}},
        'missing required field "maxReplicas"',
        "spec.autoscaling.maxReplicas: required, but not set",
    ),
    "a replica count below zero": (
        {"replicas": -1},
        "greater than or equal to 0",
        "greater than or equal to 0",
    ),
    "a replica count in words": ({"replicas": "two"}, "integer", "integer"),
    "a replica count in quotes": ({"replicas": "2"}, "integer", "integer"),
    "a truth value in words": ({"suspend": "yes"}, "boolean", "must be true or false"),
    "a field that does not exist": (
        {"replica": 2},
        "unknown field",
        "spec.replica: unknown field; did you mean spec.replicas?",
    ),
    "a memory of very many digits": (
        {"pod": {"gpu": {"memory": "9" * 700_000}}},
        "may not be more than 32",
        "at most 32 characters",
    ),
    "null in a map": (
        {"pod": {"nodeSelector": {"zone": None}}},
        'unknown object type "nil"',
        "spec.pod.nodeSelector.zone: must be a string",
    ),
    "a shortest context below the shortest that is served": (
        {"oom": {"minContextLength": 1023}},
        "greater than or equal to 1024",
        "greater than or equal to 1024",
    ),
}
"""By the CRD's schema, or a rule that quotes the value: what the API server says, and what `render`
and `fit` say."""

NAMES = ("9lives", "a" * (MAX_NAME + 1), "dots.in.it")
"""Names that cannot name a Service."""

NAME_SENTENCE = "metadata.name is also the name of a Service"

ACCEPTED: dict[str, Spec] = {
    "null for a field with a default": {"replicas": None, "tools": {"strict": None}},
    "null for an object": {"engine": None},
    "null for a field without a default": {"cache": None, "model": {"source": {"hub": None}}},
    "null for a field in a list": {"pod": {"tolerations": [{"key": "a", "operator": None}]}},
    "a toleration of every taint": {"pod": {"tolerations": [{"operator": "Exists"}]}},
    "a request that is the limit in another unit": {
        "pod": {"resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": 1024**3}}}
    },
    "two ways to spread over the same nodes": {
        "pod": {
            "topologySpread": [
                {"topologyKey": "zone"},
                {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"},
            ]
        }
    },
    "an integer as a float": {"replicas": 2.0},
    "quantities with exponents": {
        "cache": {"size": "1e11"},
        "pod": {"resources": {"requests": {"cpu": "4e0", "memory": "3E+10"}}},
    },
    "as many paths as the activator can know": {
        "autoscaling": {"minReplicas": 0, "maxReplicas": 2},
        "gate": {"paths": [f"/v1/path-{number:03}" for number in range(10)]},
    },
    "as many origins as the activator can know": {
        "autoscaling": {"minReplicas": 0, "maxReplicas": 2},
        "gate": {"allowedOrigins": [f"https://{number}.example.com" for number in range(6)]},
    },
    "origins on ports": {
        "gate": {"allowedOrigins": ["http://localhost:3000", "http://10.0.0.1:8080"]}
    },
    "many paths of an endpoint that stays": {
        "autoscaling": {"minReplicas": 1, "maxReplicas": 2},
        "gate": {"paths": [f"/v1/path-{number:03}" for number in range(32)]},
    },
}
"""What Helm templates write, and what is just below a limit: both accept it."""

INVALID_METADATA: dict[str, Spec] = {
    "a number as a label": {"labels": {"a": 1}},
    "a label with a space": {"labels": {"a": "b c"}},
    "a key with a space": {"labels": {"a b": "c"}},
    "a prefix in upper case": {"labels": {"Foo/bar": "c"}},
    "a prefix with two dots": {"labels": {"a..b/c": "d"}},
    "a prefix that begins with a dash": {"annotations": {"-a/b": "c"}},
    "annotations of more than 256 KiB": {"annotations": {"a": "x" * 262_145}},
    "a number as a finalizer": {"finalizers": [1]},
    "an owner without a name": {"ownerReferences": [{}]},
    "a time in words": {"creationTimestamp": "yesterday"},
    "text as finalizers": {"finalizers": "x"},
    "an unknown field": {"label": {}},
}
"""Metadata that both reject, each in its own words."""
