"""Every example resource holds what its comment promises. Their spelling is tests/golden's part."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from golden_cases import EXAMPLES, cases, pod_spec, server_settings_in
from mistral_dev.installation import CLAIM
from mistral_operator.api import Resource
from mistral_operator.cli import main as operator
from mistral_operator.fit import fit
from mistral_operator.fit.cards import GIB
from mistral_operator.render.server_settings import SYSTEM_PROMPT
from mistral_operator.status.model_fits import fit_request

FILES = {file.stem: file for file in sorted(EXAMPLES.glob("*.yaml"))}

GPU_40GB, GPU_48GB = 40_960 * 2**20, 46_068 * 2**20
"""Bytes that nvidia-smi shows of an A100 40GB and of an L40S."""


def resource(name: str) -> Resource:
    """Return the resource in an example."""
    return cases()[f"example-{name}"].resource


def pod(name: str) -> dict[str, Any]:
    """Return the pod that an example becomes."""
    return pod_spec(cases()[f"example-{name}"].children())


def requests(name: str) -> dict[str, str]:
    """Return what the server's container of an example requests."""
    result: dict[str, str] = pod(name)["containers"][0]["resources"]["requests"]
    return result


def model_volume(name: str) -> dict[str, Any]:
    """Return the volume with the model."""
    volume: dict[str, Any]
    (volume,) = [one for one in pod(name)["volumes"] if one["name"] == "model"]
    return volume


def quickstart_is_the_empty_spec_and_fits_two_gpus_of_40_gb() -> None:
    (document,) = yaml.safe_load_all(FILES["quickstart"].read_text())
    assert document["spec"] == {}
    assert requests("quickstart")["nvidia.com/gpu"] == "2"
    assert fit(fit_request(resource("quickstart").spec, GPU_40GB)).fits


def production_pins_spreads_and_keeps_the_weights() -> None:
    spec, template = resource("production").spec, pod("production")
    (constraint,) = template["topologySpreadConstraints"]
    (fetch,) = template["initContainers"]
    (token,) = [one for one in fetch["env"] if one["name"] == "HF_TOKEN"]
    assert spec.replicas == 2
    assert len(spec.model.revision) == 40, "a commit and not a branch"
    assert spec.cache is not None
    assert spec.cache.access_mode == "ReadWriteMany", "the replicas are on different nodes"
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    assert constraint["whenUnsatisfiable"] == "DoNotSchedule"
    assert token["valueFrom"]["secretKeyRef"] == {"name": "hugging-face", "key": "token"}
    assert "dedicated" in [toleration["key"] for toleration in template["tolerations"]]
    assert template["nodeSelector"]


def one_gpu_fp8_fits_one_gpu_of_48_gb_with_a_context_that_is_a_number() -> None:
    spec = resource("one-gpu-fp8").spec
    answer = fit(fit_request(spec, GPU_48GB))
    assert requests("one-gpu-fp8")["nvidia.com/gpu"] == "1"
    assert isinstance(spec.engine.context_length, int)
    assert answer.fits
    assert 23 * GIB < answer.weights_gib * GIB < 26 * GIB
    assert answer.needed_tokens == spec.engine.context_length


def from_claim_mounts_the_claim_read_only_and_fetches_nothing() -> None:
    claim = {"claimName": "models", "readOnly": True}
    assert model_volume("from-claim")["persistentVolumeClaim"] == claim
    assert "initContainers" not in pod("from-claim")
    assert server_settings_in(pod("from-claim")).model.path.endswith("/mistral-small-3.2")


def from_image_mounts_an_image_by_digest_and_fetches_nothing() -> None:
    assert "@sha256:" in model_volume("from-image")["image"]["reference"]
    assert "initContainers" not in pod("from-image")
    assert pod("from-image")["imagePullSecrets"] == [{"name": "registry-credentials"}]


def system_prompt_brings_the_config_map_that_it_names() -> None:
    config_map, manifest = yaml.safe_load_all(FILES["system-prompt"].read_text())
    reference = manifest["spec"]["systemPrompt"]["configMap"]
    template = config_map["data"][reference["key"]]
    settings = server_settings_in(pod("system-prompt"))
    assert config_map["metadata"]["name"] == reference["name"]
    assert template.format(name="n", today="t", yesterday="y") != template
    assert settings.system_prompt is not None
    assert settings.system_prompt.path == f"{SYSTEM_PROMPT}/{reference['key']}"


def guarded_brings_the_keys_that_it_names_and_stops_loops() -> None:
    secret, manifest = yaml.safe_load_all(FILES["guarded"].read_text())
    settings = server_settings_in(pod("guarded")).gate
    assert secret["metadata"]["name"] == manifest["spec"]["gate"]["apiKeys"]["secret"]
    assert (settings.loops.action, settings.strict_tools) == ("Stop", True)
    assert settings.api_keys is not None
    # A key that is not there cannot be left as it is.
    assert all(line.startswith("#") for line in secret["stringData"]["api-keys"].splitlines())


def autoscaled_follows_the_load_and_stops_loops() -> None:
    spec = resource("autoscaled").spec
    assert spec.autoscaling is not None
    assert (spec.autoscaling.min_replicas, spec.autoscaling.max_replicas) == (1, 6)
    assert spec.autoscaling.driver == "Operator"
    assert spec.autoscaling.behavior.scale_down.stabilization_window_seconds == 600
    assert spec.loops.action == "Stop"


def sleeping_gives_its_gpus_back_and_does_not_fetch_the_model_anew() -> None:
    spec = resource("sleeping").spec
    assert spec.autoscaling is not None
    assert spec.autoscaling.min_replicas == 0
    assert spec.autoscaling.behavior.scale_down.stabilization_window_seconds == 1800
    assert spec.autoscaling.activation.max_wait_seconds == 600
    assert spec.cache is not None


def cpu_needs_no_gpu_and_runs_two_ranks_of_the_demos_model() -> None:
    settings = server_settings_in(pod("cpu"))
    assert settings.device == "cpu"
    assert settings.engine.tensor_parallel_size == 2
    assert model_volume("cpu")["persistentVolumeClaim"]["claimName"] == CLAIM
    assert requests("cpu") == {"cpu": "500m", "memory": "3Gi"}


PROMISES: dict[str, Callable[[], None]] = {
    "quickstart": quickstart_is_the_empty_spec_and_fits_two_gpus_of_40_gb,
    "production": production_pins_spreads_and_keeps_the_weights,
    "one-gpu-fp8": one_gpu_fp8_fits_one_gpu_of_48_gb_with_a_context_that_is_a_number,
    "from-claim": from_claim_mounts_the_claim_read_only_and_fetches_nothing,
    "from-image": from_image_mounts_an_image_by_digest_and_fetches_nothing,
    "system-prompt": system_prompt_brings_the_config_map_that_it_names,
    "guarded": guarded_brings_the_keys_that_it_names_and_stops_loops,
    "autoscaled": autoscaled_follows_the_load_and_stops_loops,
    "sleeping": sleeping_gives_its_gpus_back_and_does_not_fetch_the_model_anew,
    "cpu": cpu_needs_no_gpu_and_runs_two_ranks_of_the_demos_model,
}


@pytest.mark.parametrize("promise", PROMISES.values(), ids=lambda promise: promise.__name__)
def test_an_example_keeps_its_promise(promise: Callable[[], None]) -> None:
    promise()


def test_every_example_has_its_promise_tested() -> None:
    assert set(PROMISES) == set(FILES)


def test_the_readme_names_every_example_resource_and_program() -> None:
    text = (EXAMPLES / "README.md").read_text()
    programs = [*EXAMPLES.glob("client/*.py"), *EXAMPLES.glob("transformers/*.py")]

    assert [file.name for file in (*FILES.values(), *programs) if file.name not in text] == []


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_the_command_line_renders_every_example(file: Path) -> None:
    result = CliRunner().invoke(operator, ["render", "-f", str(file)])

    assert result.exit_code == 0, result.output
    assert "kind: Deployment" in result.stdout
