"""The client against a web server on the loopback network."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client import ApiClient, Configuration

from api_server import ApiServer, live_object
from builders import CONTEXT, NAME, NAMESPACE, resource
from mistral_operator.kube import kinds
from mistral_operator.kube.client import Cluster
from mistral_operator.kube.errors import ClusterError, NamespaceTerminating, Unavailable
from mistral_operator.kube.names import API_VERSION, PLURAL
from mistral_operator.render import children

Object = dict[str, Any]


TWICE = (
    "failed to create typed patch object (models/small; apps/v1, Kind=Deployment):"
    ' .spec.template.spec.hostAliases: duplicate entries for key [ip="10.0.0.1"]'
)
RESPONSES: dict[str, tuple[int, Any, type[ClusterError], str]] = {
    "a conflict": (409, {"message": "owned by kubectl"}, ClusterError, "owned by kubectl"),
    "a conflict of field managers": (
        409,
        {
            "message": "conflict with kubectl",
            "reason": "Conflict",
            "details": {"causes": [{"reason": "FieldManagerConflict"}]},
        },
        ClusterError,
        "conflict with kubectl",
    ),
    "a write that collided with another": (
        409,
        {"message": "the object has been modified", "reason": "Conflict", "details": {}},
        Unavailable,
        "the object has been modified",
    ),
    "an object that exists already": (
        409,
        {"message": "exists", "reason": "AlreadyExists"},
        ClusterError,
        "exists",
    ),
    "an expired list": (410, {"message": "expired", "reason": "Expired"}, Unavailable, "expired"),
    "an invalid object": (422, {"message": "no such field"}, ClusterError, "no such field"),
    "too many requests": (429, {"message": "later"}, Unavailable, "later"),
    "a broken server": (500, {"message": "etcd"}, Unavailable, "etcd"),
    "an applied object with a key twice": (500, {"message": TWICE}, ClusterError, TWICE),
    "a proxy's page": (503, "<html>", Unavailable, "<html>"),
    "no message": (403, {}, ClusterError, "{}"),
    "JSON that is no object": (403, [1], ClusterError, "[1]"),
    "details that are null": (403, {"message": "no", "details": None}, ClusterError, "no"),
    "a terminating namespace": (
        403,
        {"message": "going", "details": {"causes": [{"reason": "NamespaceTerminating"}]}},
        NamespaceTerminating,
        "going",
    ),
}


@pytest.mark.parametrize(("status", "answer", "kind", "reason"), RESPONSES.values(), ids=RESPONSES)
async def test_an_error_response_becomes_an_error_with_the_message_of_the_api_server(
    cluster: Cluster,
    api: ApiServer,
    status: int,
    answer: Any,
    kind: type[ClusterError],
    reason: str,
) -> None:
    api.status, api.answer = status, answer

    with pytest.raises(ClusterError) as raised:
        await cluster.apply(child("Service"), force=False)

    assert type(raised.value) is kind
    assert (raised.value.status, raised.value.reason) == (status, reason)
    assert "PATCH /api/v1/namespaces/models/services/small" in str(raised.value)


def child(kind: str) -> Object:
    """Return one rendered child."""
    return next(one for one in children(resource(), CONTEXT) if one["kind"] == kind)


@pytest.mark.parametrize(
    ("call", "want"),
    [
        (
            lambda cluster: cluster.apply(child("Deployment"), force=True),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/models/deployments/small",
                {"fieldManager": "mistral-small-operator", "force": "true"},
                "application/apply-patch+yaml",
            ),
        ),
        (
            lambda cluster: cluster.apply_status(NAME, NAMESPACE, 7, {"replicas": 1}),
            (
                "PATCH",
                f"/apis/{API_VERSION}/namespaces/models/{PLURAL}/small/status",
                {"fieldManager": "mistral-small-operator", "force": "true"},
                "application/apply-patch+yaml",
            ),
        ),
        (
            lambda cluster: cluster.patch(kinds.SERVICE, NAMESPACE, NAME, []),
            (
                "PATCH",
                "/api/v1/namespaces/models/services/small",
                {"fieldManager": "mistral-small-operator"},
                "application/json-patch+json",
            ),
        ),
    ],
    ids=["apply", "status", "patch"],
)
async def test_writes_have_the_field_manager(
    cluster: Cluster, api: ApiServer, call: Callable[[Cluster], Any], want: object
) -> None:
    await call(cluster)

    assert api.requests == [want]


async def test_an_unreachable_api_server_is_unavailable() -> None:
    async with Cluster(ApiClient(Configuration(host="http://127.0.0.1:1"))) as cluster:
        assert not await cluster.reachable()
        with pytest.raises(Unavailable, match="GET /api/v1/nodes"):
            await cluster.get(kinds.NODE, "", "n")


@pytest.mark.parametrize(
    ("status", "answer", "exists"),
    [
        (200, live_object(), True),
        (404, {"kind": "Status", "message": "not found"}, False),
        (404, "404 page not found", False),
    ],
    ids=["there", "missing", "its kind is missing"],
)
async def test_a_missing_object_is_none(
    cluster: Cluster, api: ApiServer, status: int, answer: Any, exists: bool
) -> None:
    api.status, api.answer = status, answer

    assert (await cluster.get(kinds.POD, NAMESPACE, "p") is not None) is exists


PAGES: dict[str, tuple[int, Any]] = {
    "an ingress": (404, "default backend - 404"),
    "a 404 in JSON": (404, {"message": "no route"}),
    "maintenance": (200, {"status": "maintenance"}),
    "an object without metadata": (200, {"metadata": None}),
    "an object without a version": (200, {"metadata": {"name": "p"}}),
    "a list": (200, [1]),
    "details as text": (503, {"message": "away", "details": "connection refused"}),
    "causes as text": (503, {"details": {"causes": ["timeout"]}}),
    "causes as a number": (503, {"details": {"causes": 3}}),
    "details as a list": (503, {"details": ["x"]}),
    "a deep error": (503, '{"a":' + "[" * 3000 + "]" * 3000 + "}"),
}
"""What proxies and ingresses answer in place of the API server."""


@pytest.mark.parametrize(("status", "answer"), PAGES.values(), ids=PAGES)
async def test_what_answers_in_place_of_the_api_server_is_not_believed(
    cluster: Cluster, api: ApiServer, status: int, answer: Any
) -> None:
    api.status, api.answer = status, answer

    with pytest.raises(Unavailable):
        await cluster.get(kinds.POD, NAMESPACE, "p")


@pytest.mark.parametrize("metadata_only", [False, True])
@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"status": "maintenance"},
        {"items": 3, "metadata": {"resourceVersion": "1"}},
        {"items": [], "metadata": {}},
        {"items": [], "metadata": {"resourceVersion": ""}},
        {"items": [], "metadata": {"resourceVersion": "x"}},
    ],
)
async def test_what_is_no_list_is_not_believed(
    cluster: Cluster, api: ApiServer, answer: Any, metadata_only: bool
) -> None:
    api.answer = answer

    with pytest.raises(Unavailable):
        [
            page
            async for page in cluster.list_pages(kinds.POD, None, None, metadata_only=metadata_only)
        ]


async def test_what_is_no_list_of_kinds_removes_no_kind(cluster: Cluster, api: ApiServer) -> None:
    api.answer = {"status": "maintenance"}

    with pytest.raises(Unavailable):
        await cluster.serves(kinds.POD_MONITOR)


PATHS = [
    "../../victim/configmaps/c",
    "../../../pods",
    "..",
    ".",
    "",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fvictim",
    "c/../d",
    "/etc",
]
"""Names that are paths. No object can have one of them."""


@pytest.mark.parametrize("name", PATHS)
async def test_a_name_that_is_a_path_is_never_requested(
    cluster: Cluster, api: ApiServer, name: str
) -> None:
    assert await cluster.get(kinds.CONFIG_MAP, NAMESPACE, name) is None
    with pytest.raises(ClusterError, match="no object can have this name"):
        await cluster.patch(kinds.CONFIG_MAP, NAMESPACE, name, [])
    assert api.requests == []


@pytest.mark.parametrize(
    "name",
    ["a?watch=true", "a#b", "a b", "a&limit=1", "a;b", "a\\..\\b", "é", "a+b", "~", "..."],
)
async def test_a_name_is_one_segment_of_the_path_and_never_a_query(
    cluster: Cluster, api: ApiServer, name: str
) -> None:
    await cluster.get(kinds.CONFIG_MAP, NAMESPACE, name)

    ((_, path, query, _),) = api.requests
    assert (path, query) == (f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}", {})


GONE: tuple[int, Object] = (404, {"kind": "Status", "message": "not found"})
CONFLICT: tuple[int, Object] = (409, {"message": "changed", "reason": "Conflict"})


@pytest.mark.parametrize(
    "script",
    [
        [(200, {})],
        [GONE],
        [CONFLICT, GONE],
        [CONFLICT, (200, live_object(uid="of another"))],
    ],
    ids=["deleted", "gone", "gone meanwhile", "replaced"],
)
async def test_deleting_a_deleted_or_replaced_object_is_no_error(
    cluster: Cluster, api: ApiServer, script: list[tuple[int, Object]]
) -> None:
    api.script = script

    await cluster.delete(kinds.SERVICE, NAMESPACE, NAME, "uid")

    assert api.requests[0][:2] == ("DELETE", "/api/v1/namespaces/models/services/small")


async def test_a_deletion_that_collided_with_a_write_is_retried(
    cluster: Cluster, api: ApiServer
) -> None:
    api.script = [CONFLICT, (200, live_object(uid="uid"))]

    with pytest.raises(Unavailable, match="changed"):
        await cluster.delete(kinds.SERVICE, NAMESPACE, NAME, "uid")


async def test_deleting_without_permission_is_an_error(cluster: Cluster, api: ApiServer) -> None:
    api.status, api.answer = 403, {"message": "forbidden"}

    with pytest.raises(ClusterError, match="forbidden"):
        await cluster.delete(kinds.SERVICE, NAMESPACE, NAME, "uid")


async def test_a_list_is_paginated(cluster: Cluster, api: ApiServer) -> None:
    api.pages = [
        {"items": [{"n": 1}], "metadata": {"resourceVersion": "7", "continue": "token"}},
        {"items": [{"n": 2}], "metadata": {"resourceVersion": "7"}},
    ]

    pages = [page async for page in cluster.list_pages(kinds.POD, None, "a=b")]

    assert pages == [([{"n": 1}], 7), ([{"n": 2}], 7)]
    assert [query for _, _, query, _ in api.requests] == [
        {"limit": "100", "labelSelector": "a=b"},
        {"limit": "100", "labelSelector": "a=b", "continue": "token"},
    ]


@pytest.mark.parametrize(
    ("kind", "metadata_only", "limit"),
    [(kinds.RESOURCE, False, "50"), (kinds.RESOURCE, True, "500"), (kinds.POD, False, "100")],
)
async def test_resources_are_listed_in_small_pages(
    cluster: Cluster, api: ApiServer, kind: kinds.Kind, metadata_only: bool, limit: str
) -> None:
    api.answer = {"items": [], "metadata": {"resourceVersion": "7"}}

    async for _ in cluster.list_pages(kind, None, None, metadata_only=metadata_only):
        pass

    ((_, _, query, _),) = api.requests
    assert query["limit"] == limit


@pytest.mark.parametrize(
    ("status", "answer", "want"),
    [
        (200, {"resources": [{"name": "podmonitors"}]}, True),
        (200, {"resources": [{"name": "servicemonitors"}]}, False),
        (404, "404 page not found", False),
    ],
)
async def test_a_kind_is_served_if_its_group_lists_it(
    cluster: Cluster, api: ApiServer, status: int, answer: Any, want: bool
) -> None:
    api.status, api.answer = status, answer

    assert await cluster.serves(kinds.POD_MONITOR) is want


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.1,example.com"}, None),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
    ],
)
async def test_the_proxy_of_the_environment_is_used_unless_no_proxy_has_the_api_server(
    environment: dict[str, str],
    proxy: str | None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    async with await Cluster.connect(1, str(kubeconfig)) as cluster:
        assert cluster.client.configuration.proxy == proxy


async def test_the_page_of_a_proxy_is_no_answer_of_the_api_server() -> None:
    server = ApiServer(answer="<html>signed out</html>")
    async with server.cluster() as cluster:
        with pytest.raises(
            Unavailable, match="GET /version: 200 the answer is not of an API server"
        ):
            await cluster.request("GET", "/version")
