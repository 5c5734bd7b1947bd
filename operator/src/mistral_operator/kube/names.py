"""Names that the operator writes into a cluster: groups, labels, annotations, children."""

from collections.abc import Mapping

GROUP = "inference.mistral-small.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "MistralSmallDeployment"
PLURAL = "mistralsmalldeployments"
SINGULAR = "mistralsmalldeployment"
SHORT_NAME = "msd"

FIELD_MANAGER = "mistral-small-operator"
"""Field manager of every server-side apply."""

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_DEPLOYMENT = f"{GROUP}/deployment"
"""Name of the MistralSmallDeployment of a child; also the selector of its pods."""
LABEL_PREFETCH = f"{GROUP}/prefetch"
"""Name of the MistralSmallDeployment on a pod that fetches its model in advance. Such a pod is no
replica: with the label above, the Service, the disruption budget and the autoscalers would count
it."""

LABEL_ROUTER = f"{GROUP}/router"
"""Name of the MistralSmallDeployment of a pod of a router; also the selector of these pods. They
lack the label of its replicas."""

MANAGED_BY = "mistral-small-operator"
APP_NAME = "mistral-small"

LABEL_PREPULL = f"{GROUP}/prepull"
"""Name of the MistralSmallDeployment of a pod that only makes its node pull images. Such a pod has
none of the labels of replicas: it must not count as one anywhere."""
LABEL_PREPULLED = f"{GROUP}/prepulled"
"""Digest of what such a pod pulls, and with which credentials."""

ANNOTATION_APPLIED = f"{GROUP}/applied"
"""Digest of the last rendered version of an object. It distinguishes a removed field from one of
another owner."""

ANNOTATION_CONFIGURATION = f"{GROUP}/configuration"
"""Digest of a pod template, on its pods. It links a failure to the settings of the pod. It cannot
be computed from the pod, which admission may have changed."""

ANNOTATION_PREFETCHED = f"{GROUP}/prefetched"
"""Which model of a Deployment's pods is on which claim, where it was fetched in advance."""

ANNOTATION_ACTIVATION = f"{GROUP}/activation"
"""Settings of an endpoint for the activator, as JSON, on its EndpointSlice."""

ANNOTATION_FOLLOWS = f"{GROUP}/follows"
"""What the last occurrences of an Event follow, such as the time of the status before them, and how
many they are. It tells another occurrence from one that is posted again."""

CALLERS = f"{GROUP}/callers"
"""Label of activators whose callers are limited, and annotation of the port map once the
NetworkPolicies for that are written."""
LIMITED = "limited"

ROUTER = "router"
"""Component of what belongs to a router: its pods, and the Service that leads to them. Kubernetes
copies the labels of a Service to its EndpointSlices."""

ANNOTATION_RESTING = f"{GROUP}/resting-ports"
"""Ports that no endpoint gets yet, on the port map, for a new operator."""

LABEL_NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label with the name of a namespace, on every namespace."""

LABEL_SERVICE = "kubernetes.io/service-name"
"""Service of an EndpointSlice; kube-proxy merges all slices of a Service."""
LABEL_SLICE_MANAGER = "endpointslice.kubernetes.io/managed-by"
"""Controller of an EndpointSlice; the one of Kubernetes ignores slices of others."""

HTTP_PORT = 8000
"""Port of the OpenAI API."""
HEALTH_PORT = 8001
"""Port of the supervisor: probes, metrics, signals."""

CONTAINER = "server"
"""Name of the container that runs the supervisor and vLLM."""
FETCH_CONTAINER = "fetch"
"""Name of the init container that fetches the model from the hub."""

PREPULL_CONTAINER = "prepull"
"""Name of the container that makes a node pull the images of an edit."""

PORT_HTTP = "http"
PORT_HEALTH = "health"

LEASE = "mistral-small-operator"
"""Name of the Lease that the leader holds."""

PORT_MAP = "mistral-small-operator-activator"
"""Name of the ConfigMap with the activator's ports, in the operator's own namespace."""

KEY_MAP = "mistral-small-operator-activator-keys"
"""Name of the ConfigMap with digests of the API keys of endpoints, in the same namespace."""

ACTIVATOR_POLICY = "mistral-small-operator-activator-"
"""Prefix of the names of the NetworkPolicies of the activators, in the same namespace."""

VOLUME_API_KEYS = "api-keys"
"""Volume of a pod with the API keys of its endpoint."""

MAX_NAME = 50
"""Maximum length of a resource name: leaves room for a suffix within the 63 of a label."""


def labels(resource: str) -> dict[str, str]:
    """Return the labels of every child of a resource."""
    return {
        LABEL_NAME: APP_NAME,
        LABEL_INSTANCE: resource,
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_DEPLOYMENT: resource,
    }


def selector(resource: str) -> dict[str, str]:
    """Return the labels that select the pods of a resource, without user input."""
    return {LABEL_DEPLOYMENT: resource}


def selector_text(resource: str) -> str:
    """Return the selector in the format of the scale subresource."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(resource).items()))


def prefetch_labels(resource: str) -> dict[str, str]:
    """Return the labels of the pod that fetches the model of a resource."""
    others = {key: one for key, one in labels(resource).items() if key != LABEL_DEPLOYMENT}
    return {**others, **prefetch_selector(resource)}


def prefetch_selector(resource: str) -> dict[str, str]:
    """Return the label that selects the pod that fetches the model of a resource."""
    return {LABEL_PREFETCH: resource}


def prefetch_selector_text(resource: str) -> str:
    """Return the selector of that pod as the query of a list."""
    return f"{LABEL_PREFETCH}={resource}"


def owner_of(labels_of_object: Mapping[str, str]) -> str | None:
    """Return the name of the resource in the labels of an object, or None."""
    return labels_of_object.get(LABEL_DEPLOYMENT) or labels_of_object.get(LABEL_PREFETCH)


def cache_claim(resource: str) -> str:
    """Return the name of the claim that caches the model of a resource."""
    return f"{resource}-model-cache"


def prepull(resource: str, digest: str) -> str:
    """Return the name of the DaemonSet that pulls the images of an edit.

    An edit of what is pulled has another digest, and so another DaemonSet with pods of its own.
    """
    return f"{prepull_policy(resource)}-{digest[:8]}"


def prepull_policy(resource: str) -> str:
    """Return the name of the NetworkPolicy of these pods."""
    return f"{resource}-prepull"


def prefetch(resource: str) -> str:
    """Return the name of the Job that fetches the model of a resource, and of its NetworkPolicy."""
    return f"{resource}-prefetch"


def activator_slice(resource: str, *, ipv6: bool) -> str:
    """Return the name of the EndpointSlice that adds the activator to the Service of a resource.

    The address family of a slice is immutable, so the name includes it.
    """
    return f"{resource}-activator" + ("-ipv6" if ipv6 else "")


def router(resource: str) -> str:
    """Return the name of the Deployment of the router of a resource, and of what belongs to it."""
    return f"{resource}-router"


def router_selector(resource: str) -> dict[str, str]:
    """Return the labels that select the pods of the router of a resource."""
    return {LABEL_ROUTER: resource}


def replicas_service(resource: str) -> str:
    """Return the name of the headless Service with which a router finds the replicas."""
    return f"{resource}-replicas"


def activator_service(resource: str) -> str:
    """Return the name of the Service with which a router finds the activators."""
    return f"{resource}-activator"


def router_slice(resource: str, *, ipv6: bool) -> str:
    """Return the name of the EndpointSlice that adds the activators to that Service."""
    return f"{resource}-router" + ("-ipv6" if ipv6 else "")


def activator_policy(first_port: int) -> str:
    """Return the name of the NetworkPolicy that has the rules of some ports of the activators."""
    return f"{ACTIVATOR_POLICY}{first_port}"


def load_path(namespace: str, resource: str) -> str:
    """Return the path at which the operator serves the load of a resource."""
    return f"/autoscaling/{namespace}/{resource}"


def base_url(resource: str, namespace: str, port: int) -> str:
    """Return the base URL for OpenAI clients in the cluster."""
    return f"http://{resource}.{namespace}.svc:{port}/v1"
