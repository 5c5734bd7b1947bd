"""An endpoint with a secret in every part of the cluster that may have one."""

import json

from builders import (
    EARLIER,
    NAME,
    NAMESPACE,
    Object,
    container,
    crashed_container,
    merged,
    node_body,
    pod_body,
    resource_body,
    signal,
)
from fake_api_server import FakeApiServer
from mistral_operator.kube import kinds, names
from mistral_operator.kube.objects import Key
from plugin_cluster import OPERATOR, SYSTEM, Objects, deployment, serving

POD = "small-1"


def secret(number: int) -> str:
    """Return a secret of no known form."""
    return f"planted{number:02}xq7"


HUB_TOKEN = "hf_" + "planted01aBcDeFgHiJkLmNo"
JWT = "eyJplanted02aBcDeF.eyJzdWIiOiJhYmNkZWYifQ.c2lnbmF0dXJl"
SECRETS = (HUB_TOKEN, JWT, *(secret(number) for number in range(3, 25)))
"""Every planted secret."""


def variables(*names_and_values: str) -> list[Object]:
    """Return environment variables: name, value, name, value."""
    pairs = zip(names_and_values[::2], names_and_values[1::2], strict=True)
    return [{"name": name, "value": value} for name, value in pairs]


def _resource() -> Object:
    spec = {
        "pod": {
            "env": variables("TEAM_KEY", secret(3), "HTTPS_PROXY", f"http://me:{secret(4)}@proxy"),
            "annotations": {"example.com/vault": secret(5)},
            "serviceAccountAnnotations": {"example.com/role": secret(6)},
        },
        "systemPrompt": {"source": "ConfigMap", "configMap": {"name": "prompt"}},
        "gate": {"apiKeys": {"secret": "callers"}},
    }
    condition = {
        "type": "Ready",
        "status": "False",
        "reason": "FetchFailed",
        "message": f"the hub says 401 to token={secret(7)}",
        "lastTransitionTime": EARLIER,
    }
    body = resource_body(
        spec,
        annotations={
            "kubectl.kubernetes.io/last-applied-configuration": json.dumps({"spec": secret(8)}),
            "example.com/note": secret(9),
        },
        managedFields=[{"manager": secret(10)}],
    )
    return {**body, "status": {"observedGeneration": 1, "conditions": [condition]}}


def _pod() -> Object:
    body = pod_body(
        crashed_container(1, message=f"cannot start with api-key: {secret(11)}"),
        container("fetch"),
        name=POD,
        annotations={"vault.example.com/inject": secret(12)},
    )
    spec = {
        "nodeName": "gpu-0",
        "initContainers": [
            {
                "name": "fetch",
                "env": [
                    {
                        "name": "HF_TOKEN",
                        "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}},
                    }
                ],
            }
        ],
        "containers": [{"name": "server", "env": variables("TEAM_KEY", secret(3))}],
    }
    return merged(body, {"spec": spec})


LOG = f"""\
2026-03-01T11:00:00.000000000Z INFO starting
2026-03-01T11:00:01.000000000Z Authorization: Bearer {secret(13)}
2026-03-01T11:00:02.000000000Z fetching with {HUB_TOKEN}
2026-03-01T11:00:03.000000000Z team key is {secret(3)}
2026-03-01T11:00:04.000000000Z GET https://user:{secret(14)}@hub.example.com/model
2026-03-01T11:00:05.000000000Z cookie: session={secret(15)}
2026-03-01T11:00:06.000000000Z {{"api_key": "{secret(16)}"}}
2026-03-01T11:00:07.000000000Z jwt {JWT}
2026-03-01T11:00:08.000000000Z -----BEGIN RSA PRIVATE KEY-----
2026-03-01T11:00:08.000000000Z {secret(17)}
2026-03-01T11:00:08.000000000Z -----END RSA PRIVATE KEY-----
2026-03-01T11:00:09.000000000Z ready
"""


def _event(about: Object) -> Object:
    return {
        "metadata": {"name": "failed", "namespace": NAMESPACE},
        "involvedObject": {"uid": about["metadata"]["uid"]},
        "type": "Warning",
        "reason": "FetchFailed",
        "message": f"password={secret(18)} is wrong",
        "lastTimestamp": EARLIER,
    }


def _objects() -> Objects:
    operator = deployment(OPERATOR, SYSTEM, *variables("PROXY_KEY", secret(19)))
    child = deployment(NAME, NAMESPACE, *variables("TEAM_KEY", secret(3)), **names.labels(NAME))
    credentials = {"data": {"token": secret(20), "api-keys": secret(21)}}
    return {
        "resource": (kinds.RESOURCE, _resource()),
        "pod": (kinds.POD, _pod()),
        "node": (
            kinds.NODE,
            node_body(metadata={"annotations": {"cloud.example.com/join": secret(22)}}),
        ),
        "operator": (kinds.DEPLOYMENT, operator),
        "child": (kinds.DEPLOYMENT, child),
        "secret": (
            kinds.SECRET,
            {"metadata": {"name": "callers", "namespace": NAMESPACE}, **credentials},
        ),
        "prompt": (
            kinds.CONFIG_MAP,
            {
                "metadata": {
                    "name": "prompt",
                    "namespace": NAMESPACE,
                    "labels": names.labels(NAME),
                },
                "data": {"prompt": f"You are {secret(23)}."},
            },
        ),
    }


def planted() -> FakeApiServer:
    """Return an API server with an endpoint full of secrets."""
    server = serving(_objects())
    pod = server.objects.get(kinds.POD, Key(NAMESPACE, POD))
    server.objects.create(kinds.EVENT, _event(pod))
    root = f"/api/v1/namespaces/{NAMESPACE}/pods/{POD}"
    digests = {"method": "scrypt-32768-8-1", "salt": f"{secret(24)}abcd", "digests": []}
    document = {**signal().model_dump(mode="json", exclude_none=True), "key_digests": digests}
    server.texts = {
        f"{root}/log": LOG,
        f"{root}:8001/proxy/signals": json.dumps(document),
        f"{root}:8000/proxy/metrics": f'http_total{{api_key="{secret(16)}"}} 1\n',
        f"{root}:8001/proxy/metrics": "mistral_server_ready 1\n",
    }
    return server
