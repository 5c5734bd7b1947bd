"""An API server for external metrics, as adapters of Prometheus run one.

The real API server passes requests for the group on to it, by an APIService, and so the real
HorizontalPodAutoscaler controller gets its numbers here.
"""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from mistral_dev.cluster import Cluster
from mistral_dev.commands import wait_until

GROUP = "external.metrics.k8s.io"
VERSION = "v1beta1"
APISERVICE = f"{VERSION}.{GROUP}"

Metric = Callable[[str, str], float | None]
"""Returns the value of a metric by namespace and name, None if it is not known."""


@contextmanager
def external_metrics(cluster: Cluster, metric: Metric) -> Iterator[None]:
    """Serve a metric to a cluster's controllers until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(metric))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pki = cluster.kubeconfig.parent
    context.load_cert_chain(pki / "apiserver.crt", pki / "apiserver.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with registered(cluster, server.server_address[1]):
            yield
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def registered(cluster: Cluster, port: int) -> Iterator[None]:
    """Let a cluster's API server query a port of this machine for external metrics.

    Whom it asked before it asks again when the block ends.
    """
    path = "-o=jsonpath={.spec.service.port}"
    before = cluster.kubectl("get", "apiservice", APISERVICE, "--ignore-not-found", path)
    objects = json.dumps(_registration(port))
    cluster.kubectl("apply", "-f", "-", text=objects)
    try:
        wait_until(lambda: _is_available(cluster), "the external metrics to be available", 60)
        yield
    finally:
        if before:
            cluster.kubectl("apply", "-f", "-", text=json.dumps(_registration(int(before))))
        else:
            cluster.kubectl("delete", "-f", "-", "--wait=false", text=objects)


def _registration(port: int) -> dict[str, object]:
    # A service by its external name is how the API server finds one that is not in the cluster.
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "external-metrics", "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    registration = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": APISERVICE},
        "spec": {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "external-metrics", "namespace": "default", "port": port},
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [service, registration]}


def _is_available(cluster: Cluster) -> bool:
    path = '{.status.conditions[?(@.type=="Available")].status}'
    return cluster.kubectl("get", "apiservice", APISERVICE, f"-o=jsonpath={path}") == "True"


def _handler(metric: Metric) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, document = _answer(urlsplit(self.path).path, metric)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler


def _answer(path: str, metric: Metric) -> tuple[int, dict[str, object]]:
    parts = path.strip("/").split("/")
    group = f"{GROUP}/{VERSION}"
    if parts[:3] != ["apis", GROUP, VERSION]:
        return 404, {}
    if len(parts) == 3:
        return 200, {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group,
            "resources": [],
        }
    _, namespace, name = parts[3:]
    value = metric(namespace, name)
    if value is None:
        return 503, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 503}
    item = {
        "metricName": name,
        "metricLabels": {},
        "timestamp": "2026-01-01T00:00:00Z",
        "value": f"{round(value * 1000)}m",
    }
    return 200, {
        "kind": "ExternalMetricValueList",
        "apiVersion": group,
        "metadata": {},
        "items": [item],
    }
