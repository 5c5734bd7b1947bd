"""Rules of models, images and caches that a resource breaks, with the sentence of each."""

from typing import Any

SOURCE_RULES: dict[str, tuple[dict[str, Any], str]] = {
    "a memory in words": (
        {"cache": {"size": "80gi"}},
        "write it as a quoted quantity, such as 40Gi or 40G",
    ),
    "a memory in billionths": (
        {"cache": {"size": "80n"}},
        "write it as a quoted quantity, such as 40Gi or 40G",
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
    "a URL where a host belongs": (
        {"images": {"domains": ["https://example.com"]}},
        "write a value such as images.example.com, a host name",
    ),
    "a path that leaves the volume": (
        {"model": {"source": {"persistentVolumeClaim": {"claimName": "x", "path": "../y"}}}},
        "write a value such as models/small, relative",
    ),
    "a name with a query": (
        {"model": {"source": {"persistentVolumeClaim": {"claimName": "a?watch=true"}}}},
        "write a value such as my-object",
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
    "an image with a space": (
        {"image": "registry/server:1 --privileged"},
        "write a value such as registry.example.com/server:1.0",
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
}
