"""What only a kubelet can find out is reported with its cause and the remedy."""

from cluster_namespace import Namespace, Object, resource

CLAIM: Object = {"persistentVolumeClaim": {"claimName": "tiny-model"}}
SMALL: Object = {
    "device": "cpu",
    "model": {"source": CLAIM},
    "engine": {"kvCache": {"memory": "64Mi"}},
    "pod": {
        "resources": {
            "requests": {"cpu": "100m", "memory": "100Mi", "ephemeral-storage": "100Mi"},
        }
    },
}


def test_a_missing_secret_is_named(strict: Namespace) -> None:
    hub = {"hub": {"tokenSecret": {"name": "hub-token"}}}
    strict.apply(resource("no-secret", {**SMALL, "model": {"source": hub}}))

    message = strict.wait_for_reason("no-secret", "ConfigMissing", seconds=90)["message"]

    assert 'secret "hub-token" not found' in message
    assert "create the missing object" in message
    strict.kubectl("delete", "msd", "no-secret")


def test_an_image_that_cannot_be_pulled_is_named(strict: Namespace) -> None:
    strict.apply(resource("no-image", {**SMALL, "image": "127.0.0.1:1/nobody/nothing:1"}))

    message = strict.wait_for_reason("no-image", "ImageUnavailable", seconds=90)["message"]

    assert "check spec.image" in message
    assert "127.0.0.1:1/nobody/nothing:1" in message
    strict.kubectl("delete", "msd", "no-image")


def test_too_few_gpus_are_said_with_the_number_there_is(strict: Namespace) -> None:
    spec = {"model": {"source": CLAIM}, "engine": {"tensorParallelSize": 8}}
    strict.apply(resource("no-gpu", spec))

    message = strict.wait_for_reason("no-gpu", "NoFittingNode", seconds=90)["message"]

    assert "needs 8 nvidia.com/gpu on one node, but the largest node offers 4" in message
    strict.kubectl("delete", "msd", "no-gpu")


def test_a_model_that_is_not_where_the_resource_says_is_reported(strict: Namespace) -> None:
    source = {"persistentVolumeClaim": {"claimName": "tiny-model", "path": "elsewhere"}}
    strict.apply(resource("no-model", {**SMALL, "model": {"source": source}}))

    message = strict.wait_for_reason("no-model", "ServerFailed", seconds=120)["message"]

    assert "ModelUnavailable" in message
    assert "/models/elsewhere" in message
    strict.kubectl("delete", "msd", "no-model")
