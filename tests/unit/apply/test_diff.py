"""Does a live object hold what we want? And the patch that mends it where it does not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import CONTEXT, live, merged, resource
from fake_api_server import patched as with_operations
from mistral_operator.apply.diff import first_difference, repair
from mistral_operator.render import children

DESIRED: dict[str, Any] = {
    "spec": {
        "replicas": 2,
        "selector": {"a": "b"},
        "ports": [{"name": "http", "port": 80}],
        "resources": {"memory": "2Gi", "cpu": "0.5"},
        "nodeSelector": {},
        "tolerations": [],
    },
}


def changed(**spec: Any) -> dict[str, Any]:
    """Return the wanted object as it lives, with parts of its spec changed."""
    return {"spec": DESIRED["spec"] | spec}


@pytest.mark.parametrize(
    ("live_object", "difference"),
    [
        pytest.param(DESIRED, None, id="it is what we want"),
        pytest.param(
            merged(DESIRED, {"spec": {"type": "ClusterIP"}, "status": {"ready": 1}}),
            None,
            id="the API server added defaults",
        ),
        pytest.param(
            changed(tolerations=None, nodeSelector=None), None, id="nothing comes back as null"
        ),
        pytest.param(changed(ports=None), "/spec/ports", id="something comes back as null"),
        pytest.param(
            changed(ports=[{"name": "http", "port": 80, "protocol": "TCP"}]),
            None,
            id="the API server added defaults within a list item",
        ),
        pytest.param(
            changed(resources={"memory": "2048Mi", "cpu": "500m"}),
            None,
            id="quantities are written differently",
        ),
        pytest.param(
            {"spec": {k: v for k, v in DESIRED["spec"].items() if v not in ({}, [])}},
            None,
            id="the API server dropped empty maps and lists",
        ),
        pytest.param(changed(replicas=3), "/spec/replicas", id="a number was changed"),
        pytest.param(changed(replicas=None), "/spec/replicas", id="a number is null"),
        pytest.param(changed(selector=None), "/spec/selector", id="a map is null"),
        pytest.param(changed(selector={}), "/spec/selector/a", id="a key is missing"),
        pytest.param(
            changed(resources={"memory": "2G", "cpu": "500m"}),
            "/spec/resources/memory",
            id="a quantity was changed",
        ),
        pytest.param(
            changed(ports=[{"name": "http", "port": 80}, {"name": "x", "port": 1}]),
            "/spec/ports",
            id="another owner added a list item",
        ),
        pytest.param(
            changed(tolerations=[{"key": "x"}]),
            "/spec/tolerations",
            id="another owner filled a list that we want empty",
        ),
        pytest.param(changed(ports=[]), "/spec/ports", id="a list item is missing"),
        pytest.param(
            changed(ports=[{"name": "http", "port": 81}]),
            "/spec/ports/0/port",
            id="an item differs",
        ),
        pytest.param(changed(ports="8"), "/spec/ports", id="a text took the place of a list"),
        pytest.param({}, "/spec", id="everything is missing"),
    ],
)
def test_the_first_difference_is_named(live_object: Any, difference: str | None) -> None:
    assert first_difference(DESIRED, live_object) == difference


POD: dict[str, Any] = {
    "spec": {
        "template": {
            "spec": {
                "securityContext": {"runAsNonRoot": True},
                "containers": [
                    {
                        "ports": [{"containerPort": 8000}],
                        "securityContext": {"capabilities": {"drop": ["ALL"]}},
                    }
                ],
            }
        }
    }
}
_AT = "/spec/template/spec"
_FIRST = f"{_AT}/containers/0"

WEAKER: dict[str, Any] = {
    f"{_AT}/hostNetwork": True,
    f"{_AT}/hostPID": True,
    f"{_AT}/hostIPC": True,
    f"{_AT}/securityContext/runAsUser": 0,
    f"{_AT}/securityContext/sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}],
    f"{_FIRST}/ports/0/hostPort": 8000,
    f"{_FIRST}/securityContext/privileged": True,
    f"{_FIRST}/securityContext/procMount": "Unmasked",
    f"{_FIRST}/securityContext/capabilities/add": ["SYS_ADMIN"],
}


@pytest.mark.parametrize(("pointer", "value"), WEAKER.items(), ids=WEAKER)
def test_a_field_that_weakens_a_pod_is_removed_although_it_is_not_ours(
    pointer: str, value: Any
) -> None:
    weaker = with_operations(POD, [{"op": "add", "path": pointer, "value": value}])

    assert first_difference(POD, weaker) == pointer
    assert with_operations(weaker, [repair(POD, pointer)]) == POD


@pytest.mark.parametrize("pointer", [f"{_AT}/hostNetwork", f"{_FIRST}/ports/0/hostPort"])
def test_a_field_that_is_false_weakens_nothing(pointer: str) -> None:
    same = with_operations(POD, [{"op": "add", "path": pointer, "value": False}])

    assert first_difference(POD, same) is None


def test_slashes_and_tildes_in_keys_are_escaped() -> None:
    desired = {"labels": {"app.kubernetes.io/name~x": "small"}}

    assert first_difference(desired, {"labels": {}}) == "/labels/app.kubernetes.io~1name~0x"
    assert repair(desired, "/labels/app.kubernetes.io~1name~0x")["value"] == "small"


@pytest.mark.parametrize(
    ("pointer", "operation"),
    [
        ("/spec/replicas", {"op": "add", "value": 2}),
        ("/spec/ports", {"op": "add", "value": [{"name": "http", "port": 80}]}),
        ("/spec/ports/0", {"op": "replace", "value": {"name": "http", "port": 80}}),
        ("/spec/ports/0/port", {"op": "add", "value": 80}),
    ],
)
def test_a_repair_puts_the_wanted_value_in_its_place(
    pointer: str, operation: dict[str, Any]
) -> None:
    assert repair(DESIRED, pointer) == {"path": pointer, **operation}


scalars = st.sampled_from([0, 1, 2, "a", "2Gi", "2048Mi", True, False])
objects = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab/~"), inner, max_size=3)
    ),
    max_leaves=8,
)
roots = st.dictionaries(st.sampled_from(["spec", "data"]), objects, max_size=2)


@given(roots, roots)
def test_repairing_difference_after_difference_ends_in_what_is_wanted(
    desired: dict[str, Any], given_live: dict[str, Any]
) -> None:
    live_object: Any = given_live
    for _ in range(100):
        pointer = first_difference(desired, live_object)
        if pointer is None:
            return
        live_object = patched(live_object, repair(desired, pointer))
    pytest.fail(f"still different at {pointer}")


def patched(target: Any, operation: dict[str, Any]) -> Any:
    """Apply one JSON Patch operation as RFC 6902 has it; the parent must exist."""

    def put(value: Any, parts: list[str]) -> Any:
        if not parts:
            return operation["value"]
        key = parts[0].replace("~1", "/").replace("~0", "~")
        if isinstance(value, list):
            index = int(key)
            return [*value[:index], put(value[index], parts[1:]), *value[index + 1 :]]
        below = put(value[key], parts[1:]) if len(parts) > 1 else operation["value"]
        return {**value, key: below}

    return put(target, operation["path"].split("/")[1:])


def test_every_child_equals_itself_after_a_round_trip() -> None:
    for child in children(resource(), CONTEXT):
        assert first_difference(child, live(child)) is None
