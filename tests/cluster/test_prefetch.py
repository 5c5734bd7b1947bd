"""A Job fetches the model before pods need it: on the real API server, with its Job controller."""

from cluster_namespace import Namespace, Object, resource
from mistral_operator.kube.names import LABEL_DEPLOYMENT, LABEL_PREFETCH, cache_claim, prefetch

NAME = "small"
JOB = prefetch(NAME)


def spec(storage_class: str) -> Object:
    """Return the spec of an endpoint whose model is fetched in advance."""
    return {"cache": {"storageClassName": storage_class, "prefetch": "BeforePods"}}


def volume(storage_class: str) -> Object:
    """Return a volume of a class that exists in name only."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{storage_class}-cache"},
        "spec": {
            "capacity": {"storage": "100Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "hostPath": {"path": "/nonexistent"},
        },
    }


def edit(namespace: Namespace, changes: str) -> None:
    """Merge changes into the spec of the resource."""
    namespace.kubectl("patch", "msd", NAME, "--type=merge", f'--patch={{"spec": {changes}}}')


def quota(pods: int) -> Object:
    """Return a quota of pods."""
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few"},
        "spec": {"hard": {"pods": str(pods)}},
    }


def replicas(namespace: Namespace) -> list[str]:
    """Return the names of the pods of the Deployment that stay."""
    pods = [one["metadata"] for one in namespace.all_of("pod")]
    return [
        one["name"]
        for one in pods
        if LABEL_DEPLOYMENT in one["labels"] and "deletionTimestamp" not in one
    ]


def test_a_new_endpoint_has_its_model_before_its_pod(served: Namespace) -> None:
    served.apply(resource(NAME, spec(served.name)))
    job = served.wait_for("job", JOB)
    assert served.get("deployment", NAME) is None
    assert job["spec"]["template"]["metadata"]["labels"][LABEL_PREFETCH] == NAME

    served.apply(volume(served.name))
    served.wait_for_reason(NAME, "Ready")

    served.until(lambda: served.get("job", JOB) is None, "the Job to be deleted")
    deployment, claim = (
        served.wait_for("deployment", NAME),
        served.wait_for("pvc", cache_claim(NAME)),
    )
    mark = deployment["metadata"]["annotations"]["inference.mistral-small.io/prefetched"]
    assert mark.startswith(f"{claim['metadata']['uid']}/")


def test_an_edit_of_the_model_waits_for_the_job_and_a_quota_that_rejects_it_is_named(
    served: Namespace,
) -> None:
    served.apply(volume(served.name), resource(NAME, spec(served.name)))
    served.wait_for_reason(NAME, "Ready")
    served.until(lambda: served.get("job", JOB) is None, "the Job to be deleted")
    before = replicas(served)
    served.apply(quota(1))

    edit(served, '{"model": {"revision": "next"}}')
    rejected = served.wait_for_reason(NAME, "PodRejected")

    assert replicas(served) == before
    assert "ResourceQuota few has no room for pods: raise it" in rejected["message"]
    assert "1 replica of the earlier configuration answers" in rejected["message"]

    served.apply(quota(3))
    edit(served, '{"model": {"revision": "last"}}')
    served.until(lambda: replicas(served) not in ([], before), "the next pod")
    served.wait_for_reason(NAME, "Ready")
    served.until(lambda: served.get("job", JOB) is None, "the Job to be deleted")


def test_an_endpoint_that_serves_is_left_alone_when_it_is_turned_on(served: Namespace) -> None:
    without = spec(served.name)["cache"] | {"prefetch": "Never"}
    served.apply(volume(served.name), resource(NAME, {"cache": without}))
    served.wait_for_reason(NAME, "Ready")
    before = replicas(served)

    edit(served, '{"cache": {"prefetch": "BeforePods"}}')
    served.until(
        lambda: "prefetched" in str(served.wait_for("deployment", NAME)["metadata"]), "the mark"
    )

    assert replicas(served) == before
    assert served.get("job", JOB) is None


def test_suspending_deletes_the_job_and_its_pod(served: Namespace) -> None:
    served.apply(resource(NAME, spec(served.name)))  # its claim is never bound
    served.wait_for("job", JOB)

    edit(served, '{"suspend": true}')

    served.wait_for_reason(NAME, "Suspended")
    served.until(lambda: not served.all_of("job,pod"), "the Job and its pod to be deleted")
