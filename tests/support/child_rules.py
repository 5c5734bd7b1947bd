"""What holds for the children of every resource, whatever its spec says."""

import json
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

from document_texts import texts
from mistral_operator.api import Resource
from mistral_operator.api.network import METADATA_RANGES
from mistral_operator.kube import names
from mistral_operator.kube.quantities import parse_quantity
from mistral_operator.render import KubernetesObject
from mistral_operator.render.server_settings import fetch_settings, server_settings
from mistral_server.contract import (
    API_KEYS_FILE,
    FETCH_SETTINGS_ENV,
    SERVER_SETTINGS_ENV,
    FetchSettings,
    ServerSettings,
)

Object = dict[str, Any]
Network = IPv4Network | IPv6Network
Rule = Callable[[Resource, list[KubernetesObject]], Iterator[str]]

KINDS = {
    "Deployment", "EndpointSlice", "Job", "NetworkPolicy", "PersistentVolumeClaim",
    "PodDisruptionBudget", "PodMonitor", "ScaledObject", "Service", "ServiceAccount",
}  # fmt: skip
POD_KINDS = {"Deployment", "Job"}
POD_FIELDS = {
    "affinity", "automountServiceAccountToken", "containers", "dnsConfig", "enableServiceLinks",
    "hostAliases", "hostUsers",
    "imagePullSecrets", "initContainers", "nodeSelector", "priorityClassName", "runtimeClassName",
    "restartPolicy", "schedulerName", "securityContext", "serviceAccountName",
    "terminationGracePeriodSeconds", "tolerations", "topologySpreadConstraints", "volumes",
}  # fmt: skip
"""Not among them: host namespaces, a node's name."""
CONTAINER_FIELDS = {
    "args", "env", "image", "imagePullPolicy", "livenessProbe", "name", "ports", "readinessProbe",
    "resources", "securityContext", "startupProbe", "terminationMessagePolicy", "volumeMounts",
}  # fmt: skip
"""Not among them: a command, a life cycle, and variables from whole objects."""
VOLUMES = {"emptyDir", "persistentVolumeClaim", "configMap", "secret", "image", "projected"}
FREE_PATHS = ("/mnt/", "/data/", "/srv/")
MOUNT_FIELDS = {"name", "mountPath", "readOnly"}
COMPILED_CODE = {"name": "model", "mountPath": "/compiled", "subPath": "compiled"}
"""The one mount of a part of a volume: of the endpoint's own claim, never of a user's."""
RESTRICTED = {
    "runAsNonRoot": True,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
USERS = {"runAsUser", "runAsGroup", "fsGroup", "supplementalGroups"}
"""What a resource can set of the security context; none of them is 0."""
CONFINED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def broken_rules(resource: Resource, rendered: list[KubernetesObject]) -> list[str]:
    """Return what does not hold."""
    return [problem for rule in RULES for problem in rule(resource, rendered)]


def _identity(resource: Resource, rendered: list[KubernetesObject]) -> Iterator[str]:
    """Children have the names, the namespace and the owner of their resource, and no other."""
    allowed = {
        "PersistentVolumeClaim": {names.cache_claim(resource.name)},
        "Job": {names.prefetch(resource.name)},
        "NetworkPolicy": {resource.name, names.prefetch(resource.name)},
        "EndpointSlice": {names.activator_slice(resource.name, ipv6=one) for one in (True, False)},
    }
    for child in rendered:
        kind, metadata = child["kind"], child["metadata"]
        if kind not in KINDS:
            yield f"a {kind}"
        if metadata["name"] not in allowed.get(kind, {resource.name}):
            yield f"{kind} {metadata['name']}"
        if metadata["namespace"] != resource.namespace:
            yield f"{kind} in {metadata['namespace']}"
        cache = resource.spec.cache
        is_retained = kind == "PersistentVolumeClaim" and cache and cache.when_deleted == "Retain"
        owners = metadata.get("ownerReferences", [])
        if owners != ([] if is_retained else [resource.owner_reference]):
            yield f"{kind} of {owners}"
        if not names.labels(resource.name).items() <= metadata["labels"].items():
            yield f"{kind} labeled {metadata['labels']}"
    identities = [(one["kind"], one["metadata"]["name"]) for one in rendered]
    if len({*identities}) != len(identities):
        yield f"twice the same child: {identities}"


def _selectors(resource: Resource, rendered: list[KubernetesObject]) -> Iterator[str]:
    """Nothing of a resource selects pods of another."""
    for child in rendered:
        want = names.selector(resource.name)
        if child["metadata"]["name"] == names.prefetch(resource.name):
            want = names.prefetch_selector(resource.name)
        if child["kind"] == "Service" and resource.spec.routing.enabled:
            want = names.router_selector(resource.name)
        spec = child.get("spec", {})
        got = spec.get("podSelector") if child["kind"] == "NetworkPolicy" else spec.get("selector")
        if got is not None and got not in (want, {"matchLabels": want}):
            yield f"{child['kind']} selects {got}"
        if child["kind"] == "Service" and spec["type"] != resource.spec.service.type:
            yield f"Service of type {spec['type']}"


def _pod(resource: Resource, rendered: list[KubernetesObject]) -> Iterator[str]:
    """The pod is restricted, without host paths, host namespaces and a token of the API server."""
    for pod in _pods_of(rendered):
        yield from _restrictions(resource, pod)


def _restrictions(resource: Resource, pod: Object) -> Iterator[str]:
    if odd := pod.keys() - POD_FIELDS:
        yield f"the pod has {odd}"
    context = {**pod["securityContext"]}
    users = [context.pop(name) for name in USERS & context.keys()]
    if context != RESTRICTED or pod["automountServiceAccountToken"] is not False:
        yield f"the pod is not restricted: {pod['securityContext']}"
    if 0 in users or any(0 in one for one in users if isinstance(one, list)):
        yield f"the pod runs as root: {pod['securityContext']}"
    if pod["serviceAccountName"] != (resource.spec.pod.service_account_name or resource.name):
        yield f"the pod runs as {pod['serviceAccountName']}"
    for container in _containers(pod):
        if odd := container.keys() - CONTAINER_FIELDS:
            yield f"{container['name']} has {odd}"
        if container["securityContext"] != CONFINED:
            yield f"{container['name']} is not confined: {container['securityContext']}"
        if container["args"] not in (["run"], ["fetch"]):
            yield f"{container['name']} runs {container['args']}"
        if any("hostPort" in port for port in container.get("ports", ())):
            yield f"{container['name']} takes a port of the node"
        yield from _requests_above_limits(container)


def _requests_above_limits(container: Object) -> Iterator[str]:
    limits = container["resources"].get("limits", {})
    for name, request in container["resources"]["requests"].items():
        if name in limits and parse_quantity(request) > parse_quantity(limits[name]):
            yield f"{container['name']} requests {request} of {name}, limit {limits[name]}"


def _volumes(resource: Resource, rendered: list[KubernetesObject]) -> Iterator[str]:
    """Volumes have a type that holds nothing of the node, and each mount has its volume."""
    for pod in _pods_of(rendered):
        yield from _volumes_of(resource, pod)


def _volumes_of(resource: Resource, pod: Object) -> Iterator[str]:
    for volume in pod["volumes"]:
        if not volume.keys() - {"name"} <= VOLUMES or len(volume) != 2:
            yield f"a volume of {volume}"
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"{volume['name']} has no size limit"
        for source in volume.get("projected", {}).get("sources", ()):
            if not source.keys() <= {"configMap", "secret"}:
                yield f"a source of {source}"
    by_name = {one["name"] for one in pod["volumes"]}
    if len(by_name) != len(pod["volumes"]):
        yield f"volumes of one name: {pod['volumes']}"
    added = {one.name for one in resource.spec.pod.volumes}
    for container in _containers(pod):
        paths = [one["mountPath"] for one in container["volumeMounts"]]
        if len(paths) != len({*paths}):
            yield f"mounts at one path: {paths}"
        for mount in container["volumeMounts"]:
            allowed = mount.keys() <= MOUNT_FIELDS or (
                mount == COMPILED_CODE and resource.spec.cache is not None
            )
            if mount["name"] not in by_name or not allowed:
                yield f"a mount of {mount}"
            if mount["name"] in added and not mount["mountPath"].startswith(FREE_PATHS):
                yield f"a mount over the server's files: {mount}"


def _secrets(resource: Resource, rendered: list[KubernetesObject]) -> Iterator[str]:
    """A Secret reaches a pod under the key that its owner made for this, and only in its place."""
    for child in rendered:
        if child["kind"] in POD_KINDS:
            yield from _secrets_of(resource, child)


def _secrets_of(resource: Resource, child: KubernetesObject) -> Iterator[str]:
    pod, spec = child["spec"]["template"]["spec"], resource.spec
    # What only fetches a model checks no keys.
    keys = spec.gate.api_keys if child["kind"] == "Deployment" else None
    hub = spec.model.source.hub
    own = [one for one in pod["volumes"] if one["name"] == names.VOLUME_API_KEYS]
    mounted = [one["secret"] for one in own]
    one_key = [{"key": API_KEYS_FILE, "path": API_KEYS_FILE}]
    want = [] if keys is None else [{"secretName": keys.secret, "items": one_key, "optional": True}]
    if mounted != want:
        yield f"Secrets are mounted: {mounted}"
    for volume in pod["volumes"]:
        sources = [volume, *volume.get("projected", {}).get("sources", ())]
        for secret in (one["secret"] for one in sources if "secret" in one):
            if not secret.get("items"):
                yield f"all of a Secret is mounted: {volume}"
    token = None if hub is None else hub.token_secret
    reference = token and {"secretKeyRef": {"name": token.name, "key": token.key}}
    for container in _containers(pod):
        for variable in container["env"]:
            source = variable.get("valueFrom", {})
            if "secretKeyRef" not in source or source["secretKeyRef"]["key"] == variable["name"]:
                continue
            used = (container["name"], variable["name"], source)
            if used != (names.FETCH_CONTAINER, "HF_TOKEN", reference):
                yield f"{container['name']} has the variable {variable}"


def _egress(_resource: Resource, rendered: list[KubernetesObject]) -> Iterator[str]:
    """No pod may connect to a metadata service, which has the credentials of its node."""
    for policy in (one["spec"] for one in rendered if one["kind"] == "NetworkPolicy"):
        peers = [peer for rule in policy["egress"] for peer in rule.get("to", ())]
        for block in (peer["ipBlock"] for peer in peers if "ipBlock" in peer):
            opened = ip_network(block["cidr"])
            closed = [ip_network(one) for one in block.get("except", ())]
            for service in map(ip_network, METADATA_RANGES):
                is_closed = any(_covers(one, service) for one in closed)
                if opened.overlaps(service) and not is_closed:
                    yield f"egress to {block} leads to {service}"


def _covers(wide: Network, narrow: Network) -> bool:
    return wide.overlaps(narrow) and wide.prefixlen <= narrow.prefixlen


def _settings(resource: Resource, rendered: list[KubernetesObject]) -> Iterator[str]:
    """The server reads the settings that were rendered."""
    for container in (one for pod in _pods_of(rendered) for one in _containers(pod)):
        for variable in container["env"]:
            if variable["name"] == SERVER_SETTINGS_ENV:
                read = ServerSettings.model_validate_json(variable["value"])
                if read != server_settings(resource.spec):
                    yield f"the server reads {read}"
            if variable["name"] == FETCH_SETTINGS_ENV:
                fetch = FetchSettings.model_validate_json(variable["value"])
                if fetch != fetch_settings(resource.spec):
                    yield f"the fetch reads {fetch}"


def _bounded(resource: Resource, rendered: list[KubernetesObject]) -> Iterator[str]:
    """Children are small, and all their texts are one readable line without a way out of a path."""
    encoded = json.dumps(rendered)
    if len(encoded) > 400_000:
        yield f"{len(encoded)} characters"
    # Values of variables and annotations are no paths that anything here opens.
    free = {one.value for one in resource.spec.pod.env}
    for annotations in (
        resource.spec.pod.annotations,
        resource.spec.pod.service_account_annotations,
        resource.spec.service.annotations,
    ):
        free |= {*annotations.values()}
    for text in texts(json.loads(encoded)):
        if not text.isprintable() or (text not in free and ".." in text.split("/")):
            yield f"the text {text!r:.100}"


RULES: tuple[Rule, ...] = (
    _identity, _selectors, _pod, _volumes, _secrets, _egress, _settings, _bounded,
)  # fmt: skip


def _pods_of(rendered: list[KubernetesObject]) -> list[Object]:
    return [one["spec"]["template"]["spec"] for one in rendered if one["kind"] in POD_KINDS]


def _containers(pod: Object) -> list[Object]:
    return [*pod.get("initContainers", ()), *pod["containers"]]
