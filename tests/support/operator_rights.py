"""Every right that the operator needs, which part of its code needs it, and what it must not do.

tests/chart compares the chart's roles with it, tests/cluster what a running operator does.
"""

from chart_rendering import NAMESPACE
from mistral_operator.kube import kinds, names
from mistral_operator.kube.kinds import Kind
from service_account_rights import Attempt

Right = tuple[str, str, str]
"""API group, resource and verb."""

CHILDREN = (*kinds.CHILD_KINDS, *kinds.OPTIONAL_KINDS)


def uses(kind: Kind, subresource: str = "", **verbs: str) -> dict[Right, str]:
    """Return the rights on a kind, each with the reason for it."""
    resource = kind.plural + (f"/{subresource}" if subresource else "")
    return {(kind.group, resource, verb): reason for verb, reason in verbs.items()}


WATCHED = {
    "list": "watch.Resync and watch.Sweep list it; Kopf lists resources before it watches",
    "watch": "watch.streams watches it; Kopf watches resources",
}
APPLIED = {
    **WATCHED,
    "get": "apply.Executor reads an object that it cannot create or change",
    "patch": "cluster.apply is a server-side apply",
    "create": "a server-side apply of what does not exist needs this verb too",
}
REMOVED = {"delete": "apply.Executor deletes what is not desired any more"}

IN_WATCHED_NAMESPACES: dict[Right, str] = {
    **uses(kinds.RESOURCE, **WATCHED, get="resource_gone.confirm"),
    **uses(kinds.RESOURCE, "status", patch="cluster.apply_status"),
    **uses(
        kinds.RESOURCE,
        "finalizers",
        update="blockOwnerDeletion under OwnerReferencesPermissionEnforcement",
    ),
    **uses(kinds.POD, **WATCHED),
    **uses(kinds.CONFIG_MAP, get="references.missing_references"),
    **uses(
        kinds.EVENT,
        create="cluster.post_event",
        list="claims.explained, event_folding.post_or_fold",
        patch="event_folding.post_or_fold",
    ),
    **{right: why for kind in CHILDREN for right, why in uses(kind, **APPLIED).items()},
    **{right: why for kind in CHILDREN for right, why in uses(kind, **REMOVED).items()},
}
IN_THE_CLUSTER = {
    **uses(kinds.NODE, **WATCHED),
    **uses(kinds.STORAGE_CLASS, get="claims.explained", list="claims.explained"),
}
ON_THE_LEASE = {
    ("coordination.k8s.io", "leases", verb): "leader_election.MonotonicLease"
    for verb in ("get", "create", "update")
}
ON_THE_MAPS = {
    (
        "",
        "configmaps",
        "get",
    ): "activator_port_map.PortMapWriter.restore",
    ("", "configmaps", "patch"): "cluster.apply",
    ("", "configmaps", "create"): "a server-side apply of what does not exist needs this verb too",
}

ON_THE_POLICIES = uses(
    kinds.NETWORK_POLICY,
    get="activator_policies.ActivatorPolicies reads that of the chart, and its own",
    patch="cluster.apply",
    create="a server-side apply of what does not exist needs this verb too",
)

RBAC = "rbac.authorization.k8s.io"
LEASES = ("coordination.k8s.io", "leases")
FORBIDDEN = (
    *(Attempt("", "secrets", verb, "default") for verb in ("get", "list", "watch", "create")),
    *(Attempt("", "secrets", verb, NAMESPACE) for verb in ("get", "list", "watch", "create")),
    *(Attempt("", "configmaps", verb, "default") for verb in ("list", "watch", "create", "patch")),
    *(Attempt("", "pods", verb, "default") for verb in ("create", "patch", "update", "delete")),
    *(Attempt("", f"pods/{sub}", "create", "default") for sub in ("exec", "attach", "eviction")),
    Attempt("", "pods/log", "get", "default"),
    Attempt("", "pods/ephemeralcontainers", "patch", "default"),
    Attempt("", "serviceaccounts/token", "create", "default"),
    Attempt("", "serviceaccounts", "impersonate", "default"),
    Attempt("", "persistentvolumeclaims", "deletecollection", "default"),
    Attempt("", "events", "get", "default"),
    Attempt("", "namespaces", "list"),
    *(Attempt("", "nodes", verb) for verb in ("get", "patch", "update", "delete")),
    *(Attempt(RBAC, "roles", verb, "default") for verb in ("create", "patch", "bind", "escalate")),
    *(Attempt(RBAC, "rolebindings", verb, "default") for verb in ("create", "patch")),
    *(Attempt(RBAC, "clusterroles", verb) for verb in ("create", "patch", "bind", "escalate")),
    *(Attempt(RBAC, "clusterrolebindings", verb) for verb in ("create", "patch")),
    Attempt("apiextensions.k8s.io", "customresourcedefinitions", "patch"),
    Attempt("admissionregistration.k8s.io", "validatingwebhookconfigurations", "create"),
    *(
        Attempt(names.GROUP, names.PLURAL, verb, "default")
        for verb in ("create", "patch", "update", "delete", "deletecollection")
    ),
    Attempt("apps", "statefulsets", "create", "default"),
    *(
        Attempt("", "configmaps", verb, NAMESPACE, name)
        for verb in ("create", "patch", "update", "delete")
        for name in ("other", "kube-root-ca.crt")
    ),
    *(
        Attempt("", "configmaps", "delete", NAMESPACE, name)
        for name in (names.PORT_MAP, names.KEY_MAP)
    ),
    Attempt("batch", "cronjobs", "create", "default"),
    *(Attempt(*LEASES, verb, "default", names.LEASE) for verb in ("get", "create", "update")),
    *(Attempt(*LEASES, verb, NAMESPACE, "other") for verb in ("get", "update")),
    *(Attempt(*LEASES, verb, NAMESPACE, names.LEASE) for verb in ("patch", "delete", "list")),
)
