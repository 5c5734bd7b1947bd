"""The kinds that the operator reads and writes, with their API paths."""

from dataclasses import dataclass
from urllib.parse import quote

from mistral_operator.kube import names
from mistral_operator.kube.errors import ClusterError


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind, with its names in objects and in URLs."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        group, slash, _ = self.api_version.rpartition("/")
        return group if slash else ""

    @property
    def version(self) -> str:
        """The version within the group."""
        return self.api_version.rpartition("/")[2]

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str = ""
    ) -> str:
        """Return the URL path of one object, of a subresource of it, or of a collection.

        Raises:
            ClusterError: with status 404, no object can have the name.
        """
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.version}"
        within = f"/namespaces/{_segment(namespace)}" if self.namespaced and namespace else ""
        collection = f"{root}{within}/{self.plural}"
        if name is None:
            return collection
        return f"{collection}/{_segment(name)}" + (f"/{subresource}" if subresource else "")


def _segment(name: str) -> str:
    """Return a name as one segment of a path.

    Users choose names of objects that the operator reads with its own permissions. A name that is a
    path would lead to other namespaces, and one with a query to other requests.
    """
    if not name or name in {".", ".."} or "/" in name or "%" in name:
        # As in Kubernetes, whose names cannot be these either.
        raise ClusterError(404, "no object can have this name", f"name {name[:100]!a}")
    return quote(name, safe="")


RESOURCE = Kind(names.API_VERSION, names.KIND, names.PLURAL)
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
DAEMON_SET = Kind("apps/v1", "DaemonSet", "daemonsets")
SERVICE = Kind("v1", "Service", "services")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
JOB = Kind("batch/v1", "Job", "jobs")
DISRUPTION_BUDGET = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices")
POD_MONITOR = Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors")
SCALED_OBJECT = Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
POD = Kind("v1", "Pod", "pods")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
STORAGE_CLASS = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
EVENT = Kind("v1", "Event", "events")
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
LIMIT_RANGE = Kind("v1", "LimitRange", "limitranges")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
DEFINITION = Kind(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)
VALIDATING_WEBHOOK = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)
MUTATING_WEBHOOK = Kind(
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    "mutatingwebhookconfigurations",
    namespaced=False,
)
SECRET = Kind("v1", "Secret", "secrets")
PROMETHEUS = Kind("monitoring.coreos.com/v1", "Prometheus", "prometheuses")
PROMETHEUS_AGENT = Kind("monitoring.coreos.com/v1alpha1", "PrometheusAgent", "prometheusagents")
VM_AGENT = Kind("operator.victoriametrics.com/v1beta1", "VMAgent", "vmagents")

READ_BY_USERS = (
    NAMESPACE,
    QUOTA,
    LIMIT_RANGE,
    LEASE,
    DEFINITION,
    VALIDATING_WEBHOOK,
    MUTATING_WEBHOOK,
    SECRET,
)
"""Kinds that only the plugin reads, with the permissions of its user; of Secrets only metadata."""

CHILD_KINDS = (
    DEPLOYMENT,
    SERVICE,
    SERVICE_ACCOUNT,
    CLAIM,
    DISRUPTION_BUDGET,
    NETWORK_POLICY,
    ENDPOINT_SLICE,
    DAEMON_SET,
    JOB,
)
"""Kinds of children that every cluster serves."""

OPTIONAL_KINDS = (POD_MONITOR, SCALED_OBJECT)
"""Kinds of children whose CRDs may be installed."""

SELECTOR = f"{names.LABEL_MANAGED_BY}={names.MANAGED_BY}"
"""Label selector of all objects of the operator; only these are watched and listed."""


def selector_of(kind: Kind) -> str | None:
    """Return the label selector with which the operator watches and lists a kind.

    Kubernetes copies the labels of a Service to its own EndpointSlices, so slices need a second
    label.
    """
    if kind in {RESOURCE, NODE}:
        return None
    managed = f"{names.LABEL_SLICE_MANAGER}={names.MANAGED_BY}"
    return f"{SELECTOR},{managed}" if kind == ENDPOINT_SLICE else SELECTOR


_BY_NAME = {
    (kind.api_version, kind.kind): kind
    for kind in (*CHILD_KINDS, *OPTIONAL_KINDS, RESOURCE, POD, NODE, CONFIG_MAP, EVENT)
}


def kind_of(api_version: str, kind: str) -> Kind:
    """Return a kind by `apiVersion` and `kind` of an object."""
    return _BY_NAME[api_version, kind]
