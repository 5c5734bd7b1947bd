"""A steady fleet costs nothing, and endpoints keep serving while the operator is down."""

import json
import time
from collections import Counter
from pathlib import Path
from signal import SIGKILL

from cluster_namespace import Namespace, resource
from golden_cases import VARIANTS
from mistral_dev.commands import wait_until
from mistral_dev.resource_definitions import stand_in
from object_versions import settled_versions
from operator_process import OperatorProcess, running_operator
from operator_writes import writes
from released_cluster import all_reported, deployments, leave_behind, replica_sets, upgraded
from released_templates import accepted, differences, restarting

QUIET_SECONDS = 15.0
"""Long enough for two runs of every loop that is not a resync."""


def test_nothing_is_written_while_nothing_changes(unserved: Namespace, log: Path) -> None:
    with running_operator(unserved.cluster, log):
        unserved.apply(*(resource(f"small-{number}") for number in range(3)))
        for number in range(3):
            unserved.wait_for_reason(f"small-{number}", "Ready")
        time.sleep(2)
        start = unserved.cluster.audit_position()

        time.sleep(QUIET_SECONDS)

        assert writes(unserved, start) == Counter()


def test_nothing_is_written_for_pods_with_everything_that_users_can_add(
    unserved: Namespace, log: Path
) -> None:
    customized = VARIANTS["customized-pod"]
    platform = {"pod": {"securityContext": {}, "env": [{"name": "NO_PROXY", "value": ""}]}}
    with running_operator(unserved.cluster, log):
        unserved.apply(resource("small", customized), resource("other", platform))
        unserved.wait_for_reason("small", "ConfigMapMissing")
        unserved.wait_for_reason("other", "Ready")
        time.sleep(2)
        start = unserved.cluster.audit_position()

        time.sleep(QUIET_SECONDS)

        assert writes(unserved, start) == Counter()
    pod = unserved.wait_for("deployment", "other")["spec"]["template"]["spec"]
    assert "runAsUser" not in pod["securityContext"]


def test_nothing_is_written_after_a_restart(unserved: Namespace, log: Path) -> None:
    with running_operator(unserved.cluster, log) as operator:
        unserved.apply(resource("small"), resource("stopped", {"suspend": True}))
        unserved.wait_for_reason("small", "Ready")
        unserved.wait_for_reason("stopped", "Suspended")
        time.sleep(2)
        assert operator.stop() == 0
        start = unserved.cluster.audit_position()

        operator.start()
        operator.until_acting()
        time.sleep(QUIET_SECONDS)

        assert writes(unserved, start) == Counter()


def test_an_upgrade_of_the_operator_restarts_only_the_pods_that_the_changelog_names(
    unserved: Namespace, log: Path
) -> None:
    cluster, left = unserved.cluster, upgraded()
    before = leave_behind(cluster, left)

    with running_operator(cluster, log, SERVER_IMAGE=left[0].image):
        wait_until(lambda: all_reported(cluster, left), "the operator's reports", 60)
        settled_versions(cluster, [one.namespace for one in left])

    after = deployments(cluster, left)
    announced = {one.path for one in accepted()}
    for one in left:
        changed = differences(before[one.namespace]["spec"], after[one.namespace]["spec"])
        assert {*changed} <= announced, f"{one.name} restarts for what the changelog does not name"
        assert bool(changed) == bool(differences(one.recorded, restarting(one.case)))
        # One rollout at most: a second one would restart the pods again.
        assert len(replica_sets(cluster, one.namespace)) == 1 + bool(changed), one.name
    cluster.kubectl("delete", "namespace", *before, "--wait=false")
    assert "Traceback" not in log.read_text()


def test_deleting_scaling_and_serving_go_on_without_an_operator(
    unserved: Namespace, log: Path
) -> None:
    with running_operator(unserved.cluster, log) as operator:
        unserved.apply(resource("small"), resource("other"))
        unserved.wait_for_reason("small", "Ready")
        unserved.wait_for_reason("other", "Ready")
        operator.stop(SIGKILL)

    unserved.kubectl("delete", "msd", "small", "--timeout=10s")
    unserved.kubectl("scale", "deployment", "other", "--replicas=2")

    unserved.until(lambda: unserved.get("deployment", "small") is None, "no Deployment")
    unserved.until(
        lambda: (unserved.get("deployment", "other") or {})["status"].get("readyReplicas") == 2,
        "2 replicas",
    )


def test_what_changed_while_the_operator_was_away_is_caught_up_with(
    unserved: Namespace, log: Path
) -> None:
    with running_operator(unserved.cluster, log) as operator:
        unserved.apply(resource("small"))
        unserved.wait_for_reason("small", "Ready")
        operator.stop(SIGKILL)
        unserved.kubectl("delete", "service", "small")
        unserved.kubectl("scale", "deployment", "small", "--replicas=2")
        unserved.apply(resource("late"))

        operator.start()

        unserved.wait_for("service", "small")
        unserved.wait_for_reason("late", "Ready")
        unserved.until(
            lambda: unserved.wait_for("deployment", "small")["spec"]["replicas"] == 1, "1 replica"
        )


def test_the_scale_subresource_is_the_way_to_scale(served: Namespace) -> None:
    served.apply(resource("small"))
    served.wait_for_reason("small", "Ready")

    served.kubectl("scale", "msd", "small", "--replicas=3")

    served.until(
        lambda: (served.get("msd", "small") or {})["status"].get("readyReplicas") == 3, "3 replicas"
    )
    scale = served.kubectl("get", "msd", "small", "--subresource=scale", "-o=jsonpath={.status}")
    assert '"replicas":3' in scale
    assert '"selector":"inference.mistral-small.io/deployment=small"' in scale


def test_a_killed_leader_is_replaced_within_20_seconds(unserved: Namespace, log: Path) -> None:
    election = {"LEADER_ELECTION": "true", "NAMESPACE": unserved.name}
    cluster, second = unserved.cluster, log.with_name("second.log")
    with running_operator(cluster, log, IDENTITY="first", **election) as first:
        standby = OperatorProcess(cluster, second, {"IDENTITY": "second", **election})
        standby.start()
        try:
            time.sleep(5)
            assert standby.metric("mistral_operator_leader") == 0, "two operators act"

            first.stop(SIGKILL)
            unserved.apply(resource("small"))

            unserved.until(
                lambda: unserved.get("deployment", "small") is not None, "a child", seconds=20
            )
            unserved.until(lambda: standby.metric("mistral_operator_leader") == 1, "a leader")
        finally:
            standby.stop()


def test_a_leader_that_is_asked_to_stop_exits_cleanly(unserved: Namespace, log: Path) -> None:
    election = {"LEADER_ELECTION": "true", "NAMESPACE": unserved.name}
    with running_operator(unserved.cluster, log, **election) as operator:
        assert operator.stop() == 0
    assert "Traceback" not in log.read_text()


def test_a_namespace_that_is_being_deleted_goes_without_a_fight(
    unserved: Namespace, log: Path
) -> None:
    with running_operator(unserved.cluster, log):
        unserved.apply(*(resource(f"small-{number}") for number in range(5)))
        for number in range(5):
            unserved.wait_for_reason(f"small-{number}", "Ready")
        start = unserved.cluster.audit_position()

        unserved.cluster.kubectl("delete", "namespace", unserved.name, "--timeout=30s")

        assert "unexpected error" not in log.read_text()
        refused = [
            event
            for event in unserved.cluster.audit_events(start)
            if event["verb"] == "patch" and event["responseStatus"]["code"] == 403
        ]
        assert len(refused) <= 5 * 6, "each child of each resource is tried once at most"
    unserved.cluster.kubectl("create", "namespace", unserved.name)


def test_a_kind_that_is_installed_later_is_created_automatically(
    unserved: Namespace, log: Path
) -> None:
    election = {"LEADER_ELECTION": "true", "NAMESPACE": unserved.name}
    cluster = unserved.cluster
    with running_operator(cluster, log, RESYNC_SECONDS="1", **election) as operator:
        unserved.apply(resource("small"))
        unserved.wait_for_reason("small", "Ready")
        cluster.kubectl("apply", "-f", "-", text=json.dumps(stand_in("PodMonitor")))
        assert operator.process is not None
        assert operator.process.wait(15) == 0, "an end that looks like a failure"
        assert "installed or removed: PodMonitor" in log.read_text()

        operator.start()  # as its Deployment does

        unserved.wait_for("podmonitor", "small")
        cluster.kubectl("delete", "crd", "podmonitors.monitoring.coreos.com")
    assert "Traceback" not in log.read_text()
