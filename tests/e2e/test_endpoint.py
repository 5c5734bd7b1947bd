"""An example, applied to a real node, answers; and goes on answering when things go wrong.

The tests share one endpoint and leave it ready; the last ones take it apart.
"""

import base64
import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from openai import BadRequestError, OpenAI
from openai.types.chat import ChatCompletion

from cluster_namespace import Namespace
from e2e_endpoint import kill_engine, pod_of, stream_inside
from gate_counts import gate_counts
from mistral_dev.conversation import FORCE_A_FINISHED_CALL, TOOL, png
from mistral_dev.forwarding import forwarded
from mistral_dev.installation import Installation
from mistral_server.contract import EXIT_CODES, FailureClass


@pytest.fixture
def client(endpoint: Namespace) -> Iterator[OpenAI]:
    """Return an openai client of the endpoint's Service."""
    with forwarded(endpoint.cluster, endpoint.name, "svc/tiny", "http") as url:
        # The 512 tokens of a loop that is stopped took more than a minute on a crowded machine.
        yield OpenAI(base_url=f"{url}/v1", api_key="EMPTY", timeout=300, max_retries=0)


def forced_call(client: OpenAI) -> ChatCompletion:
    """Return an answer that is a finished tool call."""
    return client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "What time is it?"}],
        tools=[TOOL],
        max_tokens=64,
        logit_bias=FORCE_A_FINISHED_CALL,
    )


def test_a_chat_is_answered_by_two_ranks_with_the_official_system_prompt(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hello"}], max_tokens=8
    )

    assert answer.choices[0].message.content
    assert "-tp2-" in (answer.system_fingerprint or "")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 40, "the system prompt was left out"


def test_what_the_model_says_is_counted_where_it_arises(
    endpoint: Namespace, client: OpenAI
) -> None:
    with forwarded(endpoint.cluster, endpoint.name, "deployment/tiny", "http") as url:

        def counts() -> Counter[str]:
            with urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - http on loopback
                return gate_counts(answer.read().decode())

        before = counts()
        for stream in (False, True):
            endless = client.chat.completions.with_raw_response.create(
                model="tiny",
                messages=[{"role": "user", "content": "Hello"}],
                max_tokens=1500,
                stream=stream,
                extra_body={"allowed_token_ids": [1100]},
                extra_headers={"X-Mistral-Loops": "stop"},
            )
            assert b'"finish_reason":"length"' in endless.http_response.read()
        call = forced_call(client)
        assert call.choices[0].finish_reason == "tool_calls"
        expected = {
            "generations_total{finish_reason=repetition}": 2,
            "generations_total{finish_reason=tool_calls}": 1,
            "generation_loops_total{action=stopped,kind=exact}": 2,
            "tool_calls_total{outcome=ok,stream=false}": 1,
            "tool_requests_total{outcome=valid}": 1,
        }

        def moved() -> dict[str, int]:
            now = counts()
            now.subtract(before)
            # A busy engine puts several tokens into one event, and the gate ends whole events.
            assert now.pop("generation_loop_tokens_total") >= 511
            return dict(+now)

        endpoint.until(lambda: moved() == expected, f"the counts {expected}", 10)


def test_a_stream_ends_with_a_finish_reason(client: OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "Hello"}],
            max_tokens=8,
            stream=True,
        )
    )

    assert len(chunks) > 2
    assert chunks[-1].choices[0].finish_reason == "length"


def test_an_image_costs_the_tokens_of_its_patches(client: OpenAI) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png(280, 280)).decode()}"
    texts = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "x"}], max_tokens=1
    )
    images = client.chat.completions.create(
        model="tiny",
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "x"},
                    {"type": "image_url", "image_url": {"url": url}},
                ],
            }
        ],
        max_tokens=1,
    )

    assert texts.usage is not None
    assert images.usage is not None
    # 280 / 28 = 10 patches a side, and a separator for each row.
    assert images.usage.prompt_tokens - texts.usage.prompt_tokens == 110


def test_an_image_by_url_is_not_fetched(client: OpenAI) -> None:
    with pytest.raises(BadRequestError, match="does not fetch image 1"):
        client.chat.completions.create(
            model="tiny",
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "http://127.0.0.1:8001/metrics"}}
                    ],
                }
            ],
            max_tokens=1,
        )


def test_a_forced_tool_call_is_parsed(client: OpenAI) -> None:
    answer = forced_call(client)

    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "get_time"
    assert json.loads(calls[0].function.arguments) == {}
    assert answer.choices[0].finish_reason == "tool_calls"


def test_the_status_shows_what_the_engine_found(endpoint: Namespace) -> None:
    endpoint.until(
        lambda: "effective" in (endpoint.get("msd", "tiny") or {})["status"], "the configuration"
    )
    resource = endpoint.get("msd", "tiny")

    assert resource is not None
    effective = resource["status"]["effective"]
    assert effective["vllmVersion"].startswith("0.32.0")
    assert effective["tensorParallelSize"] == 2
    assert effective["contextLength"] == 2048


def test_the_pod_started_with_what_its_image_learnt(endpoint: Namespace) -> None:
    script = (
        "import json, os, pathlib\n"
        "found = pathlib.Path(os.environ['VLLM_CACHE_ROOT'], 'modelinfos').glob('*.json')\n"
        "print(json.dumps({path.name: path.stat().st_mtime for path in found}))\n"
    )
    written = json.loads(endpoint.kubectl("exec", pod_of(endpoint), "--", "python3", "-c", script))

    # vLLM asks about one class only, and seconds later, if it does not find this.
    assert len(written) == 2
    assert max(written.values()) - min(written.values()) < 1


@pytest.mark.parametrize("port", ["http", "health"])
def test_metrics_are_served(endpoint: Namespace, port: str) -> None:
    with (
        forwarded(endpoint.cluster, endpoint.name, "deployment/tiny", port) as url,
        urlopen(f"{url}/metrics", timeout=10) as answer,  # noqa: S310 - http on loopback
    ):
        text = answer.read().decode()

    metrics = {"http": "vllm:generation_tokens_total", "health": "mistral_engine_start_seconds"}
    assert metrics[port] in text


def test_a_killed_engine_is_reported_and_comes_back(endpoint: Namespace) -> None:
    kill_engine(endpoint, pod_of(endpoint))

    message = endpoint.wait_for_reason("tiny", "ServerFailed", seconds=60)["message"]

    assert "EngineDied" in message
    endpoint.wait_until_ready("tiny")
    pod = endpoint.get("pod", pod_of(endpoint))
    assert pod is not None
    ended = pod["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert ended["exitCode"] == EXIT_CODES[FailureClass.ENGINE_DIED]


@pytest.fixture(scope="module")
def unattended(endpoint: Namespace, installation: Installation) -> Iterator[Namespace]:
    """Return the endpoint without its operator, which comes back after the last test."""
    installation.stop_operator()
    yield endpoint
    installation.start_operator()


def test_without_its_operator_an_endpoint_serves_and_no_stream_is_cut_when_its_pod_is_deleted(
    unattended: Namespace,
) -> None:
    with forwarded(unattended.cluster, unattended.name, "svc/tiny", "http") as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="EMPTY", timeout=60)
        assert client.models.list().data[0].id == "tiny"
    pod = pod_of(unattended)
    with stream_inside(unattended, pod, tokens=400) as stream:
        time.sleep(1)
        unattended.kubectl("delete", "pod", pod, "--wait=false")
        body, _ = stream.communicate(timeout=60)

    assert isinstance(stream, subprocess.Popen)
    assert body.decode().rstrip().endswith("data: [DONE]")
    unattended.until(lambda: pod_of(unattended) not in {"", pod}, "a new pod")


def test_an_endpoint_can_be_deleted_without_its_operator(unattended: Namespace) -> None:
    unattended.kubectl("delete", "msd", "tiny", "--timeout=20s")

    unattended.until(lambda: unattended.get("deployment", "tiny") is None, "no Deployment", 60)
    unattended.until(
        lambda: '"tiny' not in unattended.kubectl("get", "pod", "-o", "json"), "no pod", 90
    )
