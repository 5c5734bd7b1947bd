"""Writes of the operator, counted in the audit log of a cluster."""

from collections import Counter

from cluster_namespace import Namespace


def writes(namespace: Namespace, start: int) -> Counter[str]:
    """Count the operator's writes in a namespace since a position of the audit log."""
    return Counter(
        f"{event['verb']} {event['objectRef']['resource']}"
        for event in namespace.cluster.audit_events(start)
        if event.get("objectRef", {}).get("namespace") == namespace.name
        and event["verb"] in {"create", "update", "patch", "delete"}
        and event["user"]["username"] == "admin"
    )
