"""Rules of pods, Services and networks that a resource breaks, with the sentence of each."""

from typing import Any

POD_RULES: dict[str, tuple[dict[str, Any], str]] = {
    "a caller without a selector": (
        {"network": {"callers": [{}]}},
        "set either ipBlock, or namespaceSelector or podSelector or both",
    ),
    "a destination of two forms": (
        {"network": {"destinations": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}},
        "set either ipBlock, or namespaceSelector or podSelector or both",
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
            "NVTX_INJECTION64_PATH",
            "INTEL_LIBITTNOTIFY64",
            "CC",
            "CXX",
            "NVCC_APPEND_FLAGS",
            "GCC_EXEC_PREFIX",
            "COMPILER_PATH",
            "CPATH",
            "TVM_FFI_CACHE_DIR",
            "TILELANG_CACHE_DIR",
            "PYTORCH_KERNEL_CACHE_PATH",
            "NUMBA_CACHE_DIR",
            "CUTE_DSL_LIBS",
            "DG_JIT_NVCC_COMPILER",
            "RDMAV_DRIVERS",
            "IBV_DRIVERS",
            "UCX_MODULE_DIR",
            "OMP_TOOL_LIBRARIES",
            "LOCPATH",
            "NCCL_OOB_NET_IFNAME",
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
    "a GPU of half a gibibyte": (
        {"pod": {"gpu": {"memory": "512Mi"}}},
        "spec.pod.gpu.memory is less than 1Gi: write the unit, such as 80Gi",
    ),
    "a key of a label that is too long": (
        {"pod": {"nodeSelector": {"k" * 318: "v"}}},
        "at most 317 characters",
    ),
    "a key of a taint with a long name": (
        {"pod": {"tolerations": [{"key": "k" * 64, "operator": "Exists"}]}},
        "write a value such as nvidia.com/gpu, with at most 63 characters after the slash",
    ),
    "a key of a taint with a long prefix": (
        {"pod": {"tolerations": [{"key": "k" * 254 + "/a", "operator": "Exists"}]}},
        "write at most 253 characters before the slash",
    ),
    "a key of a node label with a long prefix": (
        {"pod": {"topologySpread": [{"topologyKey": "k" * 254 + "/a"}]}},
        "write at most 253 characters before the slash",
    ),
    "a GPU resource with a prefix that a quota cannot name": (
        {"pod": {"gpu": {"resourceName": "k" * 245 + "/gpu"}}},
        "write at most 244 characters before the slash",
    ),
    "two files of one name": (
        {
            "pod": {
                "volumes": [
                    {
                        "name": "a",
                        "projected": {
                            "sources": [
                                {"configMap": {"name": one, "items": [{"key": one, "path": "f"}]}}
                                for one in ("b", "c")
                            ]
                        },
                    }
                ]
            }
        },
        "two items of a projected volume have the same path: choose another",
    ),
    "GPUs among the limits": (
        {"pod": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
        "allowed keys are cpu, memory, ephemeral-storage",
    ),
    "GPUs among the requests": (
        {"pod": {"resources": {"requests": {"nvidia.com/gpu": 1}}}},
        "allowed keys are cpu, memory, ephemeral-storage",
    ),
    "a memory that is no quantity": (
        {"pod": {"gpu": {"memory": "much"}}},
        "write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "a pull secret that is a path": (
        {"pod": {"imagePullSecrets": ["../x"]}},
        "write a value such as my-object",
    ),
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
        "write a value such as 10.20.0.0/16, or 10.20.0.8/32 for one address",
    ),
}
