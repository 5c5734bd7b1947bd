"""Every name that the operator writes into a cluster: groups, labels, annotations, children."""

from collections.abc import Mapping

GROUP = "inference.mistral-small.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "MistralSmallDeployment"
PLURAL = "mistralsmalldeployments"
SINGULAR = "mistralsmalldeployment"
SHORT_NAME = "msd"

FIELD_MANAGER = "mistral-small-operator"
"""Owner of the fields that we set, in every server-side apply."""

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_DEPLOYMENT = f"{GROUP}/deployment"
"""Name of the MistralSmallDeployment that an object belongs to; also the selector of its pods."""

MANAGED_BY = "mistral-small-operator"
APP_NAME = "mistral-small"

ANNOTATION_APPLIED = f"{GROUP}/applied"
"""Digest of the object as it was last rendered: tells a removed field from a field of somebody
else."""

ANNOTATION_CONFIGURATION = f"{GROUP}/configuration"
"""Digest of a pod template, on its pods: an end of a pod counts for or against those settings only
that the pod had. It cannot be read off the pod itself, which admission may have changed."""

ANNOTATION_ACTIVATION = f"{GROUP}/activation"
"""What the activator has to know of an endpoint, as JSON, on its EndpointSlice."""

LABEL_SERVICE = "kubernetes.io/service-name"
"""Service that an EndpointSlice belongs to; kube-proxy joins all slices of a Service."""
LABEL_SLICE_MANAGER = "endpointslice.kubernetes.io/managed-by"
"""Who writes an EndpointSlice; Kubernetes' own controller leaves ours alone."""

HTTP_PORT = 8000
"""Port of the server that answers requests."""
HEALTH_PORT = 8001
"""Port of the supervisor: probes, metrics, signals."""

CONTAINER = "server"
"""Name of the container that runs the supervisor and vLLM."""
FETCH_CONTAINER = "fetch"
"""Name of the init container that fetches the model from the hub."""

PORT_HTTP = "http"
PORT_HEALTH = "health"

LEASE = "mistral-small-operator"
"""Name of the Lease that the acting replica of the operator holds."""

MAX_NAME = 50
"""Longest name of a resource: leaves room for a suffix within the 63 characters of a label."""


def labels(resource: str) -> dict[str, str]:
    """Return the labels of every child of a resource."""
    return {
        LABEL_NAME: APP_NAME,
        LABEL_INSTANCE: resource,
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_DEPLOYMENT: resource,
    }


def selector(resource: str) -> dict[str, str]:
    """Return the labels that select the pods of a resource, and nothing that a user wrote."""
    return {LABEL_DEPLOYMENT: resource}


def selector_text(resource: str) -> str:
    """Return the selector as the scale subresource wants it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector(resource).items()))


def owner_of(labels_of_object: Mapping[str, str]) -> str | None:
    """Return the resource that an object belongs to by its labels, or None."""
    return labels_of_object.get(LABEL_DEPLOYMENT)


def cache_claim(resource: str) -> str:
    """Return the name of the claim that caches a resource's model."""
    return f"{resource}-model-cache"


def activator_slice(resource: str, *, ipv6: bool) -> str:
    """Return the name of the EndpointSlice that puts the activator behind a resource's Service.

    The family of a slice's addresses cannot be changed, so it is in the name.
    """
    return f"{resource}-activator" + ("-ipv6" if ipv6 else "")


def load_path(namespace: str, resource: str) -> str:
    """Return the path at which the operator tells the load of a resource."""
    return f"/autoscaling/{namespace}/{resource}"


def base_url(resource: str, namespace: str, port: int) -> str:
    """Return the base URL that OpenAI clients inside the cluster use."""
    return f"http://{resource}.{namespace}.svc:{port}/v1"
