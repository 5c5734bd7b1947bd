"""Rules of rendering that golden files show only by example; see tests/golden for the whole."""

from typing import Any

import pytest

from builders import CONTEXT, ON_CPUS, SERVER_IMAGE, merged, resource
from mistral_operator.activator.headers import headers_to_replica
from mistral_operator.api import parse_spec
from mistral_operator.apply.diff import first_difference
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.kube.objects import Key
from mistral_operator.render import RenderContext, children
from mistral_operator.render.server_settings import server_settings
from mistral_operator.watch.facts import ClaimFacts
from mistral_server.contract import COMPILE_CACHE_ENV, ENDPOINT_ENV, ENDPOINT_HEADER

CLAIM = {"persistentVolumeClaim": {"claimName": "models"}}
CACHED = {"cache": {"size": "80Gi"}}

Object = dict[str, Any]


def rendered(kind: str, spec: Object | None = None, context: RenderContext = CONTEXT) -> Object:
    """Return the one child of a kind."""
    (result,) = [one for one in children(resource(spec), context) if one["kind"] == kind]
    return result


def template(spec: Object, context: RenderContext = CONTEXT) -> Object:
    """Return the pod template."""
    result: Object = rendered("Deployment", spec, context)["spec"]["template"]
    return result


def resources(**configured: Object) -> Object:
    """Return the resources of the server's container, with the model on a claim."""
    return resources_of({"pod": {"resources": configured}, **CACHED})


def resources_of(spec: Object) -> Object:
    """Return the resources of the server's container."""
    pod = template(spec)["spec"]
    result: Object = pod["containers"][0]["resources"]
    return result


def compiled(spec: Object) -> list[tuple[Object | None, str | None]]:
    """Return mount and variable of compiled code of the containers: fetch, server."""
    pod = template(spec)["spec"]
    return [
        (
            next((one for one in container["volumeMounts"] if "subPath" in one), None),
            next(
                (one["value"] for one in container["env"] if one["name"] == COMPILE_CACHE_ENV), None
            ),
        )
        for container in [*pod.get("initContainers", []), *pod["containers"]]
    ]


def test_compiled_code_is_kept_beside_the_model_on_the_claim_of_the_endpoint() -> None:
    fetch, server = compiled(CACHED)

    # The fetch makes the directory of the claim that the kubelet then mounts for the server.
    assert fetch == (None, "/models/compiled")
    mount = {"name": "model", "mountPath": "/compiled", "subPath": "compiled"}
    assert server == (mount, "/compiled")
    assert {"name": "model", "mountPath": "/models", "readOnly": True} in template(CACHED)["spec"][
        "containers"
    ][0]["volumeMounts"]


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"cache": {"compiled": "Discard"}},
        {"model": {"source": {"persistentVolumeClaim": {"claimName": "shared"}}}},
        {"model": {"source": {"image": {"reference": "models:1"}}}},
    ],
)
def test_no_compiled_code_is_kept_where_others_may_write_or_nothing_may(spec: Object) -> None:
    assert all(one == (None, None) for one in compiled(spec))


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"contextLength": 8192}},
        {"replicas": 3},
        {"image": "server:2"},
        {"pod": {"nodeSelector": {"pool": "b"}}},
        {"cache": {"size": "200Gi"}},
    ],
)
def test_the_model_has_one_path_in_every_pod_of_an_endpoint(change: Object) -> None:
    """vLLM's key of compiled code has the path of the model."""
    before, after = parse_spec(CACHED), parse_spec(merged(CACHED, change))

    assert server_settings(after).model.path == server_settings(before).model.path


SAME_POD: dict[str, tuple[Object, Object]] = {
    "replicas": ({}, {"replicas": 5}),
    "scaling to zero": ({}, {"replicas": 0}),
    "suspend": ({}, {"suspend": True}),
    "network policy": ({}, {"networkPolicy": False}),
    "size of the cache": (CACHED, {"cache": {"size": "200Gi"}}),
    "access to the cache": (CACHED, {"cache": {"accessMode": "ReadWriteOnce"}}),
    "memory of a GPU": ({}, {"pod": {"gpu": {"memory": "80Gi"}}}),
    "a field of a newer CRD": ({}, {"engine": {"fieldOfTomorrow": 1}}),
    "a default, written out": ({}, {"engine": {"tensorParallelSize": 2, "temperature": 0.15}}),
}


@pytest.mark.parametrize(("spec", "change"), SAME_POD.values(), ids=SAME_POD)
def test_a_change_that_does_not_affect_pods_restarts_none(spec: Object, change: Object) -> None:
    assert template(merged(spec, change)) == template(spec)


def test_a_pod_knows_the_endpoint_that_the_activator_names_in_its_requests() -> None:
    owner = resource()
    (container,) = template({})["spec"]["containers"]
    variables = {one["name"]: one.get("value") for one in container["env"]}

    sent = headers_to_replica({}, Key(owner.namespace, owner.name), None)

    assert sent == [(ENDPOINT_HEADER, variables[ENDPOINT_ENV])]


MODES: dict[str, tuple[Object, str]] = {
    "one replica": ({}, "ReadWriteOnce"),
    "no replica": ({"replicas": 0}, "ReadWriteOnce"),
    "several replicas": ({"replicas": 2}, "ReadWriteMany"),
    "at most one replica": ({"autoscaling": {"minReplicas": 0, "maxReplicas": 1}}, "ReadWriteOnce"),
    "up to several replicas": ({"autoscaling": {"maxReplicas": 2}}, "ReadWriteMany"),
    "a mode that is set": ({"cache": {"accessMode": "ReadWriteMany"}}, "ReadWriteMany"),
}


@pytest.mark.parametrize(("spec", "mode"), MODES.values(), ids=MODES)
def test_a_new_claim_has_the_access_mode_that_its_replicas_need(spec: Object, mode: str) -> None:
    assert rendered("PersistentVolumeClaim", {"cache": {}, **spec})["spec"]["accessModes"] == [mode]


@pytest.mark.parametrize("bound", [True, False])
@pytest.mark.parametrize("mode", ["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"])
def test_an_existing_claim_keeps_its_access_mode(mode: str, bound: bool) -> None:
    existing = ClaimFacts("small-model-cache", "uid", "80Gi", (mode,), bound=bound)
    specs: list[Object] = [{"cache": {}}, {"cache": {}, "replicas": 3}]
    for spec in specs:
        (claim,) = [
            one
            for one in children(resource(spec), CONTEXT, claim=existing)
            if one["kind"] == "PersistentVolumeClaim"
        ]
        assert claim["spec"]["accessModes"] == [mode]


@pytest.mark.parametrize(("policy", "owned"), [("Delete", True), ("Retain", False)])
def test_a_claim_is_deleted_with_its_resource_unless_it_is_retained(
    policy: str, owned: bool
) -> None:
    claim = rendered("PersistentVolumeClaim", {"cache": {"whenDeleted": policy}})

    assert ("ownerReferences" in claim["metadata"]) == owned
    assert "ownerReferences" in rendered("Deployment", {"cache": {}})["metadata"]


OTHER_POD: dict[str, Object] = {
    "model": {"model": {"revision": "v2"}},
    "engine": {"engine": {"contextLength": 4096}},
    "image": {"image": "other:1"},
    "cache": CACHED,
    "drain": {"drainSeconds": 10},
    "shared memory": {"sharedMemory": "4Gi"},
    "GPU resource": {"pod": {"gpu": {"resourceName": "amd.com/gpu"}}},
}


@pytest.mark.parametrize("change", OTHER_POD.values(), ids=OTHER_POD)
def test_a_change_that_affects_pods_restarts_them(change: Object) -> None:
    assert template(change) != template({})


def test_an_upgrade_of_the_operator_restarts_only_pods_of_its_own_image() -> None:
    newer = RenderContext("server:2")

    assert template({}, newer) != template({})
    assert template({"image": "mine:1"}, newer) == template({"image": "mine:1"})
    assert template({})["spec"]["containers"][0]["image"] == SERVER_IMAGE


@pytest.mark.parametrize(
    ("configured", "requests", "limits"),
    [
        ({}, {"cpu": "4", "memory": "24Gi"}, {"memory": "64Gi"}),
        ({"requests": {"cpu": "8"}}, {"cpu": "8", "memory": "24Gi"}, {"memory": "64Gi"}),
        # A limit below its request is refused by the API server.
        (
            {"requests": {"memory": "100Gi"}},
            {"cpu": "4", "memory": "100Gi"},
            {"memory": "100Gi"},
        ),
        (
            {"limits": {"memory": "1Ti"}},
            {"cpu": "4", "memory": "24Gi"},
            {"memory": "1Ti"},
        ),
        (
            {"limits": {"memory": "64Gi"}},
            {"cpu": "4", "memory": "24Gi"},
            {"memory": "64Gi"},
        ),
        # A request above its limit is refused by the API server.
        (
            {"limits": {"cpu": "500m", "memory": "16Gi"}},
            {"cpu": "500m", "memory": "16Gi"},
            {"cpu": "500m", "memory": "16Gi"},
        ),
        (
            {"requests": {"memory": "8Gi"}, "limits": {"memory": "16Gi"}},
            {"cpu": "4", "memory": "8Gi"},
            {"memory": "16Gi"},
        ),
        (
            {"limits": {"ephemeral-storage": "1Gi"}},
            {"cpu": "4", "memory": "24Gi"},
            {"ephemeral-storage": "1Gi", "memory": "64Gi"},
        ),
    ],
)
def test_an_unset_request_has_a_default_below_its_limit(
    configured: Object, requests: Object, limits: Object
) -> None:
    gpus = {"nvidia.com/gpu": "2"}

    assert resources(**configured) == {"requests": requests | gpus, "limits": limits | gpus}


OFFLOADED = {"engine": {"kvOffload": {"size": "16Gi"}}, **CACHED}


@pytest.mark.parametrize(
    ("configured", "shared", "request_", "limit", "dev_shm"),
    [
        ({}, {}, "40Gi", "80Gi", "18Gi"),
        ({}, {"sharedMemory": "1536Mi"}, "40Gi", "80Gi", "17920Mi"),
        ({"limits": {"memory": "32Gi"}}, {}, "32Gi", "32Gi", "18Gi"),
        ({"requests": {"memory": "24Gi"}}, {}, "24Gi", "80Gi", "18Gi"),
        ({"requests": {"memory": "100Gi"}}, {}, "100Gi", "100Gi", "18Gi"),
    ],
)
def test_an_offloaded_kv_cache_counts_to_the_memory_of_the_pod(
    configured: Object, shared: Object, request_: str, limit: str, dev_shm: str
) -> None:
    spec = {**OFFLOADED, **shared, "pod": {"resources": configured}}
    pod = template(spec)["spec"]
    (shm,) = (one["emptyDir"] for one in pod["volumes"] if one["name"] == "shm")
    server = pod["containers"][0]["resources"]

    assert shm == {"medium": "Memory", "sizeLimit": dev_shm}
    assert (server["requests"]["memory"], server["limits"]["memory"]) == (request_, limit)


OTHER_MODEL = {"model": {"id": "example/other"}}


@pytest.mark.parametrize(
    ("spec", "requested"),
    [
        ({}, "50Gi"),
        (ON_CPUS, "50Gi"),
        ({"model": {"format": "huggingface"}}, "50Gi"),
        (CACHED, None),
        ({"model": {"source": CLAIM}}, None),
        ({"model": {"source": {"image": {"reference": "models/small:1"}}}}, None),
        (OTHER_MODEL, None),
        (
            {**OTHER_MODEL, "pod": {"resources": {"requests": {"ephemeral-storage": "30Gi"}}}},
            "30Gi",
        ),
        ({"pod": {"resources": {"requests": {"ephemeral-storage": "60Gi"}}}}, "60Gi"),
        # The API server refuses a request above its limit.
        ({"pod": {"resources": {"limits": {"ephemeral-storage": "20Gi"}}}}, "20Gi"),
    ],
)
def test_a_model_on_the_nodes_disk_is_known_to_the_scheduler(
    spec: Object, requested: str | None
) -> None:
    assert resources_of(spec)["requests"].get("ephemeral-storage") == requested


@pytest.mark.parametrize("spec", [{}, CACHED, {"model": {"source": CLAIM}}, ON_CPUS])
def test_every_volume_on_the_nodes_disk_has_a_size_limit(spec: Object) -> None:
    disks = [one["emptyDir"] for one in template(spec)["spec"]["volumes"] if "emptyDir" in one]

    assert len(disks) >= 3
    assert all("sizeLimit" in one for one in disks)


FETCH_RESOURCES: dict[str, tuple[Object, Object, Object]] = {
    "nothing": ({}, {"cpu": "1", "memory": "1Gi"}, {"memory": "8Gi"}),
    "requests": (
        {"requests": {"cpu": "8", "memory": "32Gi"}},
        {"cpu": "1", "memory": "1Gi"},
        {"memory": "8Gi"},
    ),
    # A quota on limits wants them in every container.
    "limits": (
        {"limits": {"cpu": "8", "memory": "128Gi", "ephemeral-storage": "20Gi"}},
        {"cpu": "1", "memory": "1Gi"},
        {"cpu": "8", "memory": "8Gi", "ephemeral-storage": "20Gi"},
    ),
    # The API server refuses a request above its limit.
    "small limits": (
        {"limits": {"cpu": "500m", "memory": "512Mi"}},
        {"cpu": "500m", "memory": "512Mi"},
        {"cpu": "500m", "memory": "512Mi"},
    ),
}


@pytest.mark.parametrize(
    ("configured", "requests", "limits"), FETCH_RESOURCES.values(), ids=FETCH_RESOURCES
)
def test_the_container_that_fetches_has_limits_where_the_server_has(
    configured: Object, requests: Object, limits: Object
) -> None:
    (fetch,) = template({"pod": {"resources": configured}})["spec"]["initContainers"]

    assert fetch["resources"] == {"requests": requests, "limits": limits}


@pytest.mark.parametrize(("pod", "field"), [({}, None), ({"hostUsers": False}, False)])
def test_a_user_namespace_is_used_if_it_is_requested(pod: Object, field: bool | None) -> None:
    assert template({"pod": pod})["spec"].get("hostUsers") is field


def test_a_scrape_of_an_endpoint_is_bounded() -> None:
    context = RenderContext(SERVER_IMAGE, pod_monitors=True)
    spec = rendered("PodMonitor", {}, context)["spec"]

    assert (spec["sampleLimit"], spec["labelLimit"]) == (20_000, 64)


def test_gpus_follow_from_the_tensor_parallel_size() -> None:
    spec = {"engine": {"tensorParallelSize": 8}, "pod": {"gpu": {"resourceName": "amd.com/gpu"}}}
    pod = template(spec)["spec"]

    assert pod["containers"][0]["resources"]["limits"] == {"amd.com/gpu": "8", "memory": "64Gi"}
    assert pod["tolerations"] == [
        {"key": "amd.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]


TAINTS: dict[str, list[str]] = {
    "nvidia.com/gpu": ["nvidia.com/gpu"],
    "amd.com/gpu": ["amd.com/gpu"],
    # Whole GPUs under a name of the administrator's.
    "nvidia.com/h100": ["nvidia.com/h100"],
    "nvidia.com/mig-3g.40gb": ["nvidia.com/mig-3g.40gb", "nvidia.com/gpu"],
    "nvidia.com/mig-1g.10gb.shared": ["nvidia.com/mig-1g.10gb.shared", "nvidia.com/gpu"],
    "nvidia.com/gpu.shared": ["nvidia.com/gpu.shared", "nvidia.com/gpu"],
    "amd.com/gpu.shared": ["amd.com/gpu.shared"],
}


@pytest.mark.parametrize(("name", "keys"), TAINTS.items(), ids=TAINTS)
def test_parts_of_a_gpu_also_tolerate_the_taint_of_its_node(name: str, keys: list[str]) -> None:
    spec = {"engine": {"tensorParallelSize": 1}, "pod": {"gpu": {"resourceName": name}}}

    assert template(spec)["spec"]["tolerations"] == [
        {"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in keys
    ]


def test_a_pod_on_cpus_requests_no_gpu_and_tolerates_no_gpu_taint() -> None:
    pod = template(ON_CPUS)["spec"]

    assert "nvidia.com/gpu" not in str(pod)
    assert "tolerations" not in pod


@pytest.mark.parametrize(
    "toleration",
    [
        {"key": "dedicated", "value": "", "effect": "NoExecute"},
        {"key": "", "operator": "Exists"},
    ],
)
def test_empty_strings_are_omitted_as_the_api_server_drops_them(toleration: Object) -> None:
    # A dropped field would always differ from the desired one, and be written again and again.
    desired = template({"pod": {"tolerations": [toleration]}})
    live = template({"pod": {"tolerations": [{k: v for k, v in toleration.items() if v}]}})

    assert first_difference(desired, live) is None


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        ("spec.engine.kvCache.memory", {"engine": {"kvCache": {"memory": "0"}}}),
        ("spec.engine.kvCache.memory", {"engine": {"kvCache": {"memory": "500m"}}}),
        ("spec.cache.size", {"cache": {"size": 0}}),
    ],
)
def test_a_memory_of_zero_is_rejected_before_rendering(field: str, spec: Object) -> None:
    with pytest.raises(InvalidResource, match="write more than 0") as refused:
        parse_spec(spec)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("source", "domains", "open_to_the_world"),
    [
        ({}, [], True),
        (CLAIM, [], False),
        (CLAIM, ["images.example.com"], True),
        ({"image": {"reference": "models/mistral:1"}}, [], False),
    ],
)
def test_egress_is_allowed_only_to_fetch_something(
    source: Object, domains: list[str], open_to_the_world: bool
) -> None:
    spec = {"model": {"source": source}, "images": {"domains": domains}}
    egress = rendered("NetworkPolicy", spec)["spec"]["egress"]

    assert bool(egress) is open_to_the_world


@pytest.mark.parametrize(
    ("spec", "replicas"),
    [({}, 1), ({"replicas": 3}, 3), ({"replicas": 3, "suspend": True}, 0), ({"replicas": 0}, 0)],
)
def test_a_suspended_endpoint_has_no_replicas(spec: Object, replicas: int) -> None:
    assert rendered("Deployment", spec)["spec"]["replicas"] == replicas


@pytest.mark.parametrize(
    ("spec", "seconds"),
    [({}, 120 + 5 + 30), ({"drainSeconds": 0}, 35), ({"drainSeconds": 600}, 635)],
)
def test_the_kubelet_waits_longer_than_the_server_drains(spec: Object, seconds: int) -> None:
    assert template(spec)["spec"]["terminationGracePeriodSeconds"] == seconds


@pytest.mark.parametrize("startup", [60, 600, 1801])
def test_the_startup_probe_fails_after_the_server_gives_up(startup: int) -> None:
    deployment = rendered("Deployment", {"startupSeconds": startup})["spec"]
    probe = deployment["template"]["spec"]["containers"][0]["startupProbe"]

    assert probe["periodSeconds"] * probe["failureThreshold"] >= startup + 60
    assert deployment["progressDeadlineSeconds"] > startup
