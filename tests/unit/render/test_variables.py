"""Which environment variables a resource may set, and which its installation has to allow."""

import re
from pathlib import Path
from typing import Any

import pytest

from builders import CONTEXT, SERVER_IMAGE
from mistral_operator.api import parse_spec
from mistral_operator.api.pod import PodDefaults
from mistral_operator.kube.errors import InvalidResource
from mistral_operator.render import RenderContext
from mistral_operator.render.allowed import check_allowed


def setting(name: str) -> dict[str, Any]:
    """Return a spec that sets a variable."""
    return {"pod": {"env": [{"name": name, "value": "/mnt/a"}]}}


USUAL = (
    "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "TZ", "LANG", "LANGUAGE", "LC_ALL", "HOST_IP", "POD_NAME", "NODE_NAME",
    "NCCL_DEBUG", "NCCL_DEBUG_SUBSYS", "NCCL_IB_HCA", "NCCL_P2P_LEVEL", "NCCL_SHM_DISABLE",
    "NCCL_CUMEM_ENABLE", "NCCL_NVLS_ENABLE", "NCCL_ALGO", "NCCL_MIN_NCHANNELS", "NCCL_TOPO_FILE",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX",
    "TOKENIZERS_PARALLELISM", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
    "HF_HUB_DISABLE_XET", "HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT",
    "HF_XET_HIGH_PERFORMANCE",
    "VLLM_ATTENTION_BACKEND", "VLLM_IMAGE_FETCH_TIMEOUT",
    "AWS_REGION", "AWS_ROLE_ARN", "AZURE_CLIENT_ID", "GOOGLE_CLOUD_PROJECT",
    "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_RESOURCE_ATTRIBUTES", "DD_AGENT_HOST", "DD_API_KEY",
)  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
def test_a_usual_variable_needs_no_administrator(name: str) -> None:
    check_allowed(parse_spec(setting(name)), CONTEXT)


CODE = (
    "AWS_CONFIG_FILE", "GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "NCCL_DEBUG_FILE",
    "NCCL_NET_PLUGIN", "NCCL_TUNER_CONFIG_PATH", "OTEL_PYTHON_CONFIGURATOR", "DD_TRACE_MODULES",
    "OMP_TOOL_LIBRARIES", "MALLOC_TRACE", "HF_HUB_CACHE", "HF_XET_CACHE", "SSLKEYLOGFILE",
    "PROXY", "GIT_SSH_COMMAND", "EDITOR", "BROWSER", "NODE_OPTIONS", "POD_A",
)  # fmt: skip


@pytest.mark.parametrize("name", CODE)
def test_a_relative_of_a_usual_variable_is_not_allowed(name: str) -> None:
    with pytest.raises(InvalidResource):
        check_allowed(parse_spec(setting(name)), CONTEXT)


@pytest.mark.parametrize("name", ["SOME_NEW_LIBRARY", "Https_Proxy"])
def test_another_variable_is_refused_until_the_installation_allows_it(name: str) -> None:
    spec = parse_spec(setting(name))

    with pytest.raises(InvalidResource) as refused:
        check_allowed(spec, CONTEXT)

    assert str(refused.value) == (
        f"spec.pod.env[0].name: this installation does not allow the variable {name}: remove it, or"
        " ask the administrator to add it to the chart value allowedVariables"
    )
    check_allowed(spec, RenderContext(SERVER_IMAGE, variables=(name,)))


def test_the_installation_itself_may_set_others() -> None:
    defaults = PodDefaults.model_validate(setting("SOME_NEW_LIBRARY")["pod"])

    check_allowed(parse_spec({}), RenderContext(SERVER_IMAGE, pods=defaults))


def test_the_documented_variables_are_those_that_a_resource_may_set() -> None:
    pages = (Path(__file__).parents[3] / "docs/pods.md").read_text()
    (_, section) = pages.split("## Variables\n")
    rows = [line for line in section.split("\n## ")[0].splitlines() if line.startswith("| ")]
    names = [name for row in rows for name in re.findall("`([^`]+)`", row)]

    assert len(names) > 80, "otherwise this shows nothing"
    for name in names:
        check_allowed(parse_spec(setting(name.replace("*", "ALL"))), CONTEXT)
