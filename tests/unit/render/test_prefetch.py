"""The Job that fetches a model in advance: the fetch of a replica, and nothing else of it."""

from typing import Any

import pytest

from builders import CONTEXT, NAME, Object, merged, resource
from mistral_operator.kube import names
from mistral_operator.prefetch import Placement, Prefetch, PrefetchPhase
from mistral_operator.render import children
from mistral_operator.render.prefetch import prefetch_job, prefetch_mark
from mistral_operator.watch.facts import ClaimFacts

ON: Object = {"cache": {"prefetch": "BeforePods"}}
MARK = "claim/model"
POOL: Object = {"key": "pool", "operator": "In", "values": ["h200"]}
ZONE: Object = {"key": "zone", "operator": "In", "values": ["a"]}
HOSTS: Object = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["gpu-0"]}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def job(spec: Object | None = None, placement: Placement | None = None) -> Any:
    """Return the Job of a spec."""
    owner = resource(merged(ON, spec or {}))
    return prefetch_job(owner, CONTEXT, MARK, placement or Placement())


def pod(spec: Object | None = None, placement: Placement | None = None) -> Any:
    """Return the pod of the Job."""
    return job(spec, placement)["spec"]["template"]["spec"]


def replica(spec: Object | None = None) -> Any:
    """Return the pod of a replica."""
    rendered = children(resource(merged(ON, spec or {})), CONTEXT)
    (made,) = [one for one in rendered if one["kind"] == "Deployment"]
    return made["spec"]["template"]["spec"]


def test_it_runs_the_fetch_of_a_replica_without_a_gpu() -> None:
    spec: Object = {"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}}}

    (container,) = pod(spec)["containers"]

    assert [container] == replica(spec)["initContainers"]
    assert container["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_it_mounts_nothing_that_only_the_server_needs() -> None:
    spec: Object = {"gate": {"apiKeys": {"secret": "callers"}}}

    assert [one["name"] for one in pod(spec)["volumes"]] == ["tmp", "home", "model"]


def test_its_pod_is_no_replica() -> None:
    """The Service, the disruption budget and autoscalers select by this label."""
    labels = job()["spec"]["template"]["metadata"]["labels"]

    assert names.LABEL_DEPLOYMENT not in labels
    assert labels[names.LABEL_PREFETCH] == NAME
    assert labels[names.LABEL_MANAGED_BY] == names.MANAGED_BY, "the operator watches it"


def test_meshes_add_no_proxy_whatever_the_pods_of_the_endpoint_say() -> None:
    chosen: Object = {"pod": {"labels": {"sidecar.istio.io/inject": "true", "team": "ml"}}}

    metadata = job(chosen)["spec"]["template"]["metadata"]

    assert metadata["labels"]["sidecar.istio.io/inject"] == "false"
    assert metadata["annotations"]["linkerd.io/inject"] == "disabled"
    assert metadata["labels"]["team"] == "ml"


AFFINITIES: dict[str, tuple[Object, Placement, Object | None]] = {
    "none": ({}, Placement(), None),
    "nodes with the GPUs": (
        {},
        Placement(nodes=("gpu-0",)),
        {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [HOSTS]}]}}},
    ),
    "nodes with the GPUs, of those that the resource requires": (
        {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [
            {"matchExpressions": [POOL]}, {"matchExpressions": [ZONE]}
        ]}}},
        Placement(nodes=("gpu-0",)),
        {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [
            {"matchExpressions": [POOL, HOSTS]}, {"matchExpressions": [ZONE, HOSTS]}
        ]}}},
    ),
    "beside a replica": (
        {},
        Placement(beside_replicas=True),
        {"podAffinity": {REQUIRED: [{
            "labelSelector": {"matchLabels": {names.LABEL_DEPLOYMENT: NAME}},
            "topologyKey": "kubernetes.io/hostname",
        }]}},
    ),
    "far from other pods, which a replica needs alone": (
        {"podAntiAffinity": {REQUIRED: [{
            "labelSelector": {"matchLabels": {"app": "batch"}}, "topologyKey": "zone",
        }]}},
        Placement(),
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("chosen", "placement", "want"), AFFINITIES.values(), ids=AFFINITIES)
def test_it_runs_where_its_volume_can_be_mounted(
    chosen: Object, placement: Placement, want: Object | None
) -> None:
    spec: Object = {"pod": {"affinity": chosen}} if chosen else {}

    assert pod(spec, placement).get("affinity") == want


REPLACING: dict[str, tuple[Object, bool]] = {
    "another token": ({"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}}}, True),
    "a mirror": ({"model": {"source": {"hub": {"endpoint": "https://hub.example.com"}}}}, True),
    "a proxy": ({"pod": {"env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]}}, True),
    "other resources": ({"pod": {"fetchResources": {"requests": {"cpu": "2"}}}}, True),
    "a label": ({"pod": {"labels": {"team": "ml"}}}, True),
    "a setting of the engine": ({"engine": {"contextLength": 16384}}, False),
    "replicas": ({"replicas": 3}, False),
    "a spread over nodes": (
        {"pod": {"topologySpread": [{"topologyKey": "kubernetes.io/hostname"}]}},
        False,
    ),
}


@pytest.mark.parametrize(("changes", "differs"), REPLACING.values(), ids=REPLACING)
def test_only_what_it_runs_with_makes_another_job(changes: Object, differs: bool) -> None:
    def digest(one: Any) -> str:
        value: str = one["metadata"]["annotations"][names.ANNOTATION_CONFIGURATION]
        return value

    assert (digest(job(changes)) != digest(job())) == differs
    assert digest(job({}, Placement(beside_replicas=True))) == digest(job())


MARKS: dict[str, tuple[Object, bool]] = {
    "another revision": ({"model": {"revision": "next"}}, True),
    "another repository": ({"model": {"id": "a/b"}}, True),
    "another format": ({"model": {"format": "huggingface"}}, True),
    "another token": ({"model": {"source": {"hub": {"tokenSecret": {"name": "hub"}}}}}, False),
    "other checks of files": ({"cache": {"verify": "Hashes"}}, False),
}


@pytest.mark.parametrize(("changes", "differs"), MARKS.values(), ids=MARKS)
def test_a_model_is_fetched_again_if_it_is_another_one(changes: Object, differs: bool) -> None:
    claim = ClaimFacts("small-model-cache", "uid", "80Gi")
    before, after = (resource(merged(ON, one)) for one in ({}, changes))

    assert (prefetch_mark(before, claim) != prefetch_mark(after, claim)) == differs


def test_a_claim_that_was_replaced_holds_no_model() -> None:
    claims = (ClaimFacts("small-model-cache", uid, "80Gi") for uid in ("one", "two"))

    first, second = (prefetch_mark(resource(ON), one) for one in claims)

    assert first != second


def test_the_deployment_says_what_was_fetched_and_its_pods_do_not() -> None:
    """Otherwise turning it on would restart them."""
    fetched = children(resource(ON), CONTEXT, prefetch=Prefetch(PrefetchPhase.RECORDED, MARK))
    (made,) = [one for one in fetched if one["kind"] == "Deployment"]

    assert made["metadata"]["annotations"][names.ANNOTATION_PREFETCHED] == MARK
    assert made["spec"]["template"]["spec"] == replica()


@pytest.mark.parametrize("spec", [{}, {"cache": {}}], ids=["no cache", "a cache"])
def test_an_endpoint_without_it_keeps_its_children(spec: Object) -> None:
    kinds = [one["kind"] for one in children(resource(spec), CONTEXT)]

    assert "Job" not in kinds
    assert kinds.count("NetworkPolicy") == 1


def policy(spec: Object) -> Any:
    rendered = children(resource(merged(ON, spec)), CONTEXT)
    return next(one for one in rendered if one["metadata"]["name"] == names.prefetch(NAME))["spec"]


def test_its_pod_reaches_the_hub_alone_and_only_the_operator_reaches_it() -> None:
    got = policy({"images": {"domains": ["images.example.com"]}})

    assert got["podSelector"] == {"matchLabels": {names.LABEL_PREFETCH: NAME}}
    ports = [port["port"] for rule in got["egress"] for port in rule["ports"]]
    assert sorted({*ports}) == [53, 443, 5353]
    operator = {
        "namespaceSelector": {"matchLabels": {names.LABEL_NAMESPACE_NAME: "mistral-system"}}
    }
    assert got["ingress"] == [{"ports": [{"port": 8001, "protocol": "TCP"}], "from": [operator]}]


def test_without_a_policy_of_the_endpoint_it_has_none() -> None:
    kinds = [
        one["kind"] for one in children(resource(merged(ON, {"networkPolicy": False})), CONTEXT)
    ]

    assert "NetworkPolicy" not in kinds
