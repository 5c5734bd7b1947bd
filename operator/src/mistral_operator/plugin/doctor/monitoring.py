"""Checks whether a Prometheus scrapes the endpoints. Pure."""

from collections.abc import Iterator

from mistral_operator.kube.objects import Body
from mistral_operator.plugin.doctor.selectors import selector_text, selects
from mistral_operator.plugin.doctor.snapshot import Finding, Snapshot, name_of


def pod_monitors(snapshot: Snapshot) -> Iterator[Finding]:
    """Find PodMonitors that no Prometheus selects."""
    if not snapshot.prometheuses or snapshot.namespace_body is None:
        return
    if snapshot.victoria_agents != ():
        return  # they have selectors of their own, or may not be read
    namespace = snapshot.namespace_body
    for monitor in snapshot.pod_monitors or ():
        labels = monitor["metadata"].get("labels") or {}
        scraping = [one for one in snapshot.prometheuses if _looks_into(one, namespace)]
        if not scraping:
            yield Finding(
                name_of("PodMonitor", monitor),
                f"no Prometheus selects PodMonitors of namespace {snapshot.namespace}",
                f"set the podMonitorNamespaceSelector of {_prometheus(snapshot.prometheuses[0])}",
            )
        elif not any(_selects_monitor(one, labels) for one in scraping):
            yield _unselected(monitor, scraping[0])


def _unselected(monitor: Body, prometheus: Body) -> Finding:
    selector = prometheus["spec"].get("podMonitorSelector")
    if selector is None:
        return Finding(
            name_of("PodMonitor", monitor),
            "no Prometheus selects it",
            f"set the podMonitorSelector of {_prometheus(prometheus)}",
        )
    return Finding(
        name_of("PodMonitor", monitor),
        f"no Prometheus selects it: {_prometheus(prometheus)} selects {selector_text(selector)}",
        "set the chart value endpoints.podMonitorLabels to these labels",
    )


def _looks_into(prometheus: Body, namespace: Body) -> bool:
    """Tell whether a Prometheus reads PodMonitors of a namespace; by default only of its own."""
    selector = (prometheus.get("spec") or {}).get("podMonitorNamespaceSelector")
    if selector is None:
        return str(prometheus["metadata"]["namespace"]) == str(namespace["metadata"]["name"])
    return selects(selector, namespace["metadata"].get("labels") or {})


def _selects_monitor(prometheus: Body, labels: dict[str, str]) -> bool:
    selector = prometheus["spec"].get("podMonitorSelector")
    return False if selector is None else selects(selector, labels)


def _prometheus(body: Body) -> str:
    return name_of(str(body.get("kind") or "Prometheus"), body)
