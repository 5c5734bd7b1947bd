"""The supervisor around the real vLLM: readiness, signals, drain, and no orphan after any death."""

import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from mistral_server.contract import SignalDocument
from server_runner import RunningServer, streaming


def chat(server: RunningServer, *messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Return the answer to a chat."""
    body = {
        "model": "tiny",
        "messages": [{"role": role, "content": content} for role, content in messages],
        "max_tokens": 4,
        **more,
    }
    request = Request(
        f"http://127.0.0.1:{server.settings.port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urlopen(request, timeout=60) as answer:  # noqa: S310 - our own loopback address
        result: dict[str, Any] = json.loads(answer.read())
        return result


def test_a_ready_server_reports_its_configuration(shared_server: RunningServer) -> None:
    def scraped() -> bool:
        return '"kv_cache_tokens":null' not in shared_server.get("/signals")[1]

    shared_server.until(scraped)
    signals = SignalDocument.model_validate_json(shared_server.get("/signals")[1])

    assert signals.ready
    assert signals.effective.model_dump() == {
        "vllm_version": "0.32.0",
        "mistral_common_version": "1.12.0",
        "tensor_parallel_size": 1,
        "context_length": 2048,
        "kv_cache_tokens": 131072,
    }
    startup = json.loads(shared_server.get("/startupz")[1])
    stages = ["starting", "loading", "profiling", "warming-up", "canary"]
    assert list(startup["finished"]) == stages
    assert shared_server.get("/livez") == (200, "ok")


def test_vllm_uses_the_stored_information_on_the_models_class(
    shared_server: RunningServer,
) -> None:
    # In the directory where the server writes its report, too.
    cache = Path(shared_server.settings.termination_log).parent / "cache" / "modelinfos"
    (stored,) = cache.glob("*Pixtral*.json")

    # vLLM writes the file anew when it does not take it.
    assert json.loads(stored.read_text())["mark"] == "learnt"


def test_the_gate_adds_the_system_prompt_only_where_none_is(shared_server: RunningServer) -> None:
    bare = chat(shared_server, ("user", "Hi"))
    own = chat(shared_server, ("system", "X"), ("user", "Hi"))

    assert bare["usage"]["prompt_tokens"] > own["usage"]["prompt_tokens"] + 10


def test_running_requests_show_in_the_signals(shared_server: RunningServer) -> None:
    with streaming(shared_server, ignore_eos=True):
        shared_server.until(
            lambda: json.loads(shared_server.get("/signals")[1])["running"] == 1, seconds=60
        )
    assert shared_server.get("/livez") == (200, "ok")


def test_an_image_from_elsewhere_is_refused(shared_server: RunningServer) -> None:
    # An empty allow-list would fetch it: the supervisor's own metrics, from the engine's address.
    url = f"http://127.0.0.1:{shared_server.settings.health_port}/metrics"
    image = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(OSError, match="400"):
        chat(shared_server, ("user", [image]))  # type: ignore[arg-type]  # content in parts
