"""The operator applies what its installation sets for all pods, and allows what it lists."""

from dataclasses import replace

import pytest

from builders import CONTEXT
from mistral_operator.api.pod import PodDefaults
from operator_life import Life, play


def test_the_pods_of_an_endpoint_have_the_defaults_of_the_installation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = PodDefaults.model_validate({"nodeSelector": {"pool": "gpu"}})
    monkeypatch.setattr("operator_life.CONTEXT", replace(CONTEXT, pods=defaults))

    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"pod": {"nodeSelector": {"zone": "a"}}})
        await life.settle()

        pod = life.deployment()["spec"]["template"]["spec"]
        assert pod["nodeSelector"] == {"pool": "gpu", "zone": "a"}

    play(scenario)


def test_a_service_account_that_is_not_listed_is_reported() -> None:
    async def scenario(life: Life) -> None:
        await life.start()
        life.create({"pod": {"serviceAccountName": "admin"}})
        await life.settle()

        assert life.reason() == "InvalidResource"
        (message,) = {one["message"] for one in life.status["conditions"] if one["type"] == "Ready"}
        assert "add it to the chart value allowedServiceAccounts" in message

    play(scenario)
