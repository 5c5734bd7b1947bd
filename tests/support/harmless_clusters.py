"""Clusters that look odd and work, in which `kubectl msd doctor` must find nothing."""

from collections.abc import Callable
from typing import Any

from builders import NOW, node_body
from mistral_operator.kube import kinds
from plugin_cluster import GPU_LABELS, HEALTHY_STATUS, SPEC, Objects, changed, without

Change = Callable[[Objects], None]


def _all(*changes: Change) -> Change:
    def change(objects: Objects) -> None:
        for one in changes:
            one(objects)

    return change


def _status(**reasons: tuple[str, str]) -> dict[str, Any]:
    conditions = [
        {"type": kind, "status": status, "reason": reason, "lastTransitionTime": NOW}
        for kind, (status, reason) in reasons.items()
    ]
    return {**HEALTHY_STATUS, "conditions": conditions}


def _resource(spec: dict[str, Any], status: dict[str, Any] = HEALTHY_STATUS) -> Change:
    def replace(objects: Objects) -> None:
        kind, body = objects["resource"]
        objects["resource"] = kind, {**body, "spec": spec, "status": status}

    return replace


def _unanswered(rule: dict[str, Any], **webhook: Any) -> Change:
    return _all(
        without("service"),
        changed(
            "webhook",
            webhooks=[
                {
                    "name": "policies.example.com",
                    "clientConfig": {"service": {"namespace": "policies", "name": "webhook"}},
                    "rules": [{"apiGroups": [""], "resources": ["pods"], **rule}],
                    **webhook,
                }
            ],
        ),
    )


def _node(name: str, gpus: int, spec: dict[str, Any] | None = None, **fields: Any) -> Change:
    def add(objects: Objects) -> None:
        body = node_body(name, gpus, **fields)
        objects[name] = kinds.NODE, {**body, "spec": spec or {}}

    return add


def _scraper(kind: kinds.Kind, spec: dict[str, Any]) -> Change:
    def add(objects: Objects) -> None:
        body = {"metadata": {"name": "agent", "namespace": "monitoring"}, "spec": spec}
        objects["agent"] = kind, body

    return add


_NOT_READY = {"conditions": [{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]}
_OTHER_TEAM = changed("prometheus", spec={"podMonitorSelector": {"matchLabels": {"team": "a"}}})

HARMLESS: dict[str, Change] = {
    "the nodes of an endpoint at zero are scaled away": _all(
        without("node"),
        _resource(SPEC, _status(Ready=("True", "Asleep"), Degraded=("False", "Healthy"))),
    ),
    "the nodes of a suspended endpoint are scaled away": _all(
        without("node"), _resource({"suspend": True})
    ),
    "a default StorageClass of the former annotation": _all(
        changed(
            "class",
            metadata={"annotations": {"storageclass.beta.kubernetes.io/is-default-class": "true"}},
        ),
        _resource({"cache": {}}),
    ),
    "a bound volume of a class without an object": _resource(
        {"cache": {"storageClassName": "manual"}}, _status(CacheBound=("True", "Bound"))
    ),
    "a webhook for kinds of another group": _unanswered(
        {"apiGroups": ["cert-manager.io"], "resources": ["*/*"]}
    ),
    "a webhook for deletions": _unanswered({"operations": ["DELETE"]}),
    "a webhook for other objects": _unanswered(
        {}, objectSelector={"matchLabels": {"inject": "true"}}
    ),
    "a webhook with conditions": _unanswered({}, matchConditions=[{"expression": "false"}]),
    "a node without GPUs and with an old driver": _node(
        "old-0", 0, metadata={"labels": {"nvidia.com/cuda.driver-version.major": "470"}}
    ),
    "a node without labels that the endpoint does not select": _all(
        _node("plain-0", 8),
        changed("node", metadata={"labels": {"pool": "h200"}}),
        _resource({**SPEC, "pod": {"nodeSelector": {"pool": "h200"}}}),
    ),
    "a cordoned node that restarts": _node(
        "upgrade-0",
        8,
        {"unschedulable": True},
        metadata={"labels": GPU_LABELS},
        status=_NOT_READY,
    ),
    "a PrometheusAgent selects the PodMonitor": _all(
        _OTHER_TEAM,
        _scraper(
            kinds.PROMETHEUS_AGENT, {"podMonitorSelector": {}, "podMonitorNamespaceSelector": {}}
        ),
    ),
    "a VMAgent scrapes": _all(_OTHER_TEAM, _scraper(kinds.VM_AGENT, {})),
}
"""Each changes a healthy cluster."""
