"""What stands in the way of a reconciliation: how it is reported, and when it is tried again."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from builders import NAMESPACE, Object, merged
from fake_objects import ApiError
from mistral_operator.control.reconciler import Reconciler
from mistral_operator.kube import kinds
from mistral_operator.kube.objects import Key
from mistral_operator.watch.facts import Observed
from operator_life import KEY, Life, play
from reconciliations import ready, reject, verbs


def test_a_resource_that_cannot_be_read_is_reported_and_its_children_stay() -> None:
    async def scenario(life: Life) -> None:
        await ready(life, {"replicas": 2})

        life.edit({"replicas": "two"})
        await life.settle()
        assert life.reason() == "InvalidResource"
        assert (len(life.pods()), life.status["desiredReplicas"]) == (2, 2)

        life.edit({"replicas": 1})
        await life.settle()
        assert (life.reason(), len(life.pods())) == ("Ready", 1)

    play(scenario)


STORED: dict[str, tuple[Object, str]] = {
    "a name that is a path": (
        {"systemPrompt": {"source": "ConfigMap", "configMap": {"name": "../../victim/x"}}},
        "spec.systemPrompt.configMap.name: not valid: write a value such as my-object",
    ),
    "a quantity of many digits": (
        {"pod": {"gpu": {"memory": "9" * 700_000}}},
        "spec.pod.gpu.memory: must have at most 32 characters",
    ),
    "a key of a label of a megabyte": (
        {"pod": {"nodeSelector": {"k" * 2**20: "v"}}},
        "keys must have at most 317 characters",
    ),
    "a hub that the installation does not allow": (
        {
            "model": {
                "source": {
                    "hub": {"endpoint": "https://hub.example.com", "tokenSecret": {"name": "x"}}
                }
            }
        },
        "add https://hub.example.com to the chart value allowedHubEndpoints",
    ),
    "a Prometheus that the installation does not allow": (
        {
            "autoscaling": {
                "driver": "KEDA",
                "maxReplicas": 2,
                "targetInFlight": 8,
                "keda": {"prometheus": "http://prometheus.monitoring.svc:9090"},
            }
        },
        "to the chart value allowedPrometheusUrls",
    ),
}
"""Resources that an older CRD or another installation accepted, and what is said of them now."""


@pytest.mark.parametrize(("stored", "sentence"), STORED.values(), ids=STORED)
def test_a_stored_resource_that_is_invalid_now_is_reported_and_its_children_stay(
    stored: Object, sentence: str
) -> None:
    async def scenario(life: Life) -> None:
        await ready(life, {"replicas": 2})
        before = len(life.api.writes)

        life.edit(stored)
        await life.settle()

        assert life.reason() == "InvalidResource"
        (message,) = (one["message"] for one in life.status["conditions"] if one["type"] == "Ready")
        assert sentence in message
        assert len(message) <= 1024
        assert len(life.pods()) == 2
        assert verbs(life, before) == ["status"]

    play(scenario)


def test_a_name_that_is_taken_is_reported_until_it_is_free() -> None:
    async def scenario(life: Life) -> None:
        metadata = {"name": KEY.name, "namespace": NAMESPACE}
        theirs: Object = {"metadata": metadata, "spec": {"selector": {"a": "b"}, "ports": []}}
        life.objects.create(kinds.SERVICE, theirs)
        await life.start()
        life.create()
        await asyncio.sleep(60)
        assert life.reason() == "NameTaken"
        service = life.objects.find(kinds.SERVICE, KEY)
        assert service is not None
        assert service["spec"]["selector"] == {"a": "b"}

        life.objects.delete(kinds.SERVICE, KEY)
        await life.settle(400)

        assert life.reason() == "Ready"

    play(scenario)


def test_what_a_resource_refers_to_and_does_not_exist_is_reported() -> None:
    async def scenario(life: Life) -> None:
        life.workloads.pod_error = "no pod is created"
        await life.start()
        life.create({"model": {"source": {"persistentVolumeClaim": {"claimName": "weights"}}}})
        await asyncio.sleep(10)

        assert life.reason() == "ClaimMissing"

    play(scenario)


def test_a_controller_that_keeps_changing_the_replicas_is_reported() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        for _ in range(8):
            life.objects.update(
                kinds.DEPLOYMENT, KEY, lambda live: merged(live, {"spec": {"replicas": 2}})
            )
            await asyncio.sleep(10)

        assert life.reason() == "ReplicasContested"
        assert life.deployment()["spec"]["replicas"] == 2
        await asyncio.sleep(4000)
        assert life.reason() == "Ready"
        assert life.deployment()["spec"]["replicas"] == 1

    play(scenario)


UNAVAILABLE = ApiError(503, "ServiceUnavailable", "etcd is away")


@pytest.mark.parametrize("verb", ["apply", "status"])
def test_an_api_server_that_is_away_for_a_moment_only_delays(verb: str) -> None:
    async def scenario(life: Life) -> None:
        rejected = reject(life, UNAVAILABLE, lambda write: write.verb == verb, times=3)
        await life.start()
        life.create()
        await life.settle()

        assert len(rejected) == 3
        assert life.reason() == "Ready"

    play(scenario)


class Faulty(Reconciler):
    """Fails twice, as a defect would."""

    faults = 0

    def _observe(self, key: Key) -> Observed:
        self.faults += 1
        if self.faults <= 2:
            raise ArithmeticError("a defect")
        return super()._observe(key)


def test_a_fault_of_one_resource_is_logged_and_retried() -> None:
    async def scenario(life: Life) -> None:
        life.reconciler = Faulty
        await life.start()
        assert life.operator is not None
        errors = life.operator.errors
        life.create()
        await asyncio.sleep(20)

        assert [("unexpected error" in one) for one in errors] == [True, True]
        errors.clear()
        await life.settle()
        assert life.reason() == "Ready"

    play(scenario)


def test_a_namespace_that_is_being_deleted_is_left_to_itself() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        life.objects.terminating_namespaces.add(NAMESPACE)
        writes = len(life.api.writes)

        life.objects.delete(kinds.SERVICE, KEY)
        await asyncio.sleep(500)

        assert verbs(life, writes) == ["apply"]

    play(scenario)


def test_an_event_that_is_rejected_holds_nothing_up() -> None:
    async def scenario(life: Life) -> None:
        error = ApiError(403, "Forbidden", "no Events here")
        rejected = reject(life, error, lambda write: write.verb == "post")
        await ready(life)

        assert len(rejected) == 2
        assert life.event_reasons() == []

    play(scenario)


# --- Missing rights and transient answers ---------------------------------------------------------


def forbidden(verb: str, resource: str) -> ApiError:
    """Return the answer to a request without the right for it."""
    sentence = f'cannot {verb} resource "{resource}"'
    return ApiError(403, "Forbidden", f'{resource} "small" is forbidden: User "it" {sentence}')


def test_a_missing_right_to_delete_is_reported_and_retried() -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        error = forbidden("delete", "networkpolicies")
        reject(life, error, lambda write: write.verb == "delete", times=2)
        life.edit({"networkPolicy": False})
        await asyncio.sleep(2.0)
        (condition,) = (one for one in life.status["conditions"] if one["type"] == "Ready")

        assert condition["reason"] == "ApplyFailed"
        assert condition["message"].startswith("cannot delete NetworkPolicy small: ")
        assert 'cannot delete resource "networkpolicies"' in condition["message"]
        assert condition["observedGeneration"] == 2
        await life.settle()
        assert life.reason() == "Ready"
        assert life.objects.find(kinds.NETWORK_POLICY, KEY) is None

    play(scenario)


def test_a_missing_right_to_write_the_status_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        error = forbidden("patch", "mistralsmalldeployments/status")
        rejected = reject(life, error, lambda write: write.verb == "status", times=4)
        life.edit({"replicas": 2})
        await life.settle(80)

        (line,) = (one for one in caplog.messages if "mistralsmalldeployments/status" in one)
        assert "PATCH" in line
        assert 'cannot patch resource "mistralsmalldeployments/status"' in line
        assert len(rejected) == 4
        assert (life.reason(), life.status["readyReplicas"]) == ("Ready", 2)

    play(scenario)


def failed_reconciles() -> float:
    """Return how many reconciliations the metric has counted as failed."""
    return REGISTRY.get_sample_value("mistral_operator_reconcile_total", {"outcome": "error"}) or 0


@pytest.mark.parametrize("status", [409, 410])
@pytest.mark.parametrize("verb", ["apply", "status", "delete", "post"])
def test_a_transient_conflict_is_neither_a_failure_nor_an_error(status: int, verb: str) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        message = "Operation cannot be fulfilled: the object has been modified"
        error = ApiError(status, "Conflict" if status == 409 else "Expired", message)
        rejected = reject(life, error, lambda write: write.verb == verb, times=2)
        before = failed_reconciles()
        life.edit({"networkPolicy": False, "replicas": 2, "suspend": verb == "post"})
        await life.settle(80)

        assert failed_reconciles() == before, "an alert watches them"

        assert len(rejected) == 2
        assert "ApplyFailed" not in life.event_reasons()
        assert life.reason() == ("Suspended" if verb == "post" else "Ready")
        assert life.objects.find(kinds.NETWORK_POLICY, KEY) is None

    play(scenario)


@pytest.mark.parametrize("status", [409, 410, 503])
def test_a_change_that_the_api_server_does_not_take_for_long_is_reported(status: int) -> None:
    async def scenario(life: Life) -> None:
        await ready(life)
        error = ApiError(status, "Conflict", "the object has been modified")
        rejected = reject(life, error, lambda write: write.kind == "Deployment")
        life.edit({"replicas": 2})
        await asyncio.sleep(2)
        assert life.status["observedGeneration"] == 1, "most conflicts are over by then"

        await asyncio.sleep(10)
        assert life.status["observedGeneration"] == 2
        conditions = {
            one["type"]: (one["status"], one["reason"]) for one in life.status["conditions"]
        }
        assert conditions["Progressing"] == ("True", "Creating")
        assert conditions["Available"] == ("True", "Available")
        assert conditions["Degraded"][0] == "False"
        (ready_one,) = (one for one in life.status["conditions"] if one["type"] == "Ready")
        assert "the object has been modified; trying again" in ready_one["message"]
        statuses = [one.verb for one in life.api.writes].count("status")
        await asyncio.sleep(300)
        assert [one.verb for one in life.api.writes].count("status") == statuses, "said once"

        count = len(rejected)
        life.api.before_write = None
        await life.settle(400)
        assert count < 15
        assert (life.reason(), life.status["readyReplicas"]) == ("Ready", 2)
        assert "Creating" not in life.event_reasons()

    play(scenario)


def test_a_reference_that_may_not_be_read_is_reported() -> None:
    async def scenario(life: Life) -> None:
        life.workloads.pod_error = "no pod is created"
        claim: Object = {"persistentVolumeClaim": {"claimName": "weights"}}
        error = forbidden("get", "persistentvolumeclaims")
        life.api.before_read = lambda path: error if path.endswith("/weights") else None
        await life.start()
        life.create({"model": {"source": claim}})
        await asyncio.sleep(10)
        (condition,) = (one for one in life.status["conditions"] if one["type"] == "Ready")

        assert condition["reason"] == "ApplyFailed"
        assert 'cannot get resource "persistentvolumeclaims"' in condition["message"]

    play(scenario)
