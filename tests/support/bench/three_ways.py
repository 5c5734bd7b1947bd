"""Three ways to the engine of fast_engine.py, over HTTP on loopback, for test_litellm.py.

The engine alone; another with the gate in its process; a LiteLLM proxy of one process in front of
the first. All run on one interpreter and one uvicorn, with one process each.
"""

import json
import os
import random
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from bench.fast_engine import ANSWERS_ENV, FAST, PACED
from gate_engine import EOS, HEAD, choice, chunk, settings
from mistral_dev.separate_environments import LITELLM
from mistral_dev.settings import free_ports
from server_runner import SERVER_SOURCE

CHUNKS = 200
"""Chunks with text of a streamed answer, a token each; one in one piece has as many tokens."""

WORD = b"word"
"""Stands once in the text of every token."""

CONTEXT = 32_768

START_SECONDS = 120.0
"""LiteLLM takes some ten of them on two idle cores."""

SUPPORT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Way:
    """A way to the engine."""

    name: str
    port: int
    processes: Sequence[psutil.Process]
    """All that a request passes, the first one first."""

    def cpu_seconds(self) -> float:
        """Return what the processes have used up to now."""
        times = [process.cpu_times() for process in self.processes]
        return sum(one.user + one.system for one in times)


@contextmanager
def three_ways(directory: Path) -> Iterator[tuple[Way, Way, Way]]:
    """Start everything and wait until it answers."""
    alone, gated, proxy = free_ports(3)
    answers = directory / "answers.json"
    answers.write_text(json.dumps(fast_answers()))
    engine = {ANSWERS_ENV: str(answers)}
    config = directory / "litellm.yaml"
    config.write_text(json.dumps(_litellm_config(alone)))  # JSON is YAML too
    with ExitStack() as stack:

        def start(port: int, environment: dict[str, str], *argv: str) -> psutil.Process:
            return stack.enter_context(_running(argv, port, environment, directory))

        # LiteLLM fails a request when the engine closes an idle connection that it is about to use.
        plain = ("--lifespan", "off", "--log-level", "error", "--timeout-keep-alive", "900")
        gate = settings(engine={"context_length": CONTEXT})
        first = start(alone, engine, "uvicorn", *plain, "bench.fast_engine:engine")
        second = start(
            *(gated, engine | gate), "uvicorn", *plain, "--factory", "bench.fast_engine:gated"
        )
        front = start(
            *(proxy, _LITELLM_VARIABLES), "litellm", "--config", str(config), "--num_workers", "1"
        )
        yield (
            Way("engine alone", alone, [first]),
            Way("with the gate", gated, [second]),
            Way("behind LiteLLM", proxy, [front, first]),
        )


def fast_answers() -> dict[str, Any]:
    """Return what the engine says, as fast_engine.py reads it."""
    draw = random.Random(1)
    tokens = [draw.randrange(1000, 131_072) for _ in range(CHUNKS)]  # no loop
    prompt = [1, 3, 4]
    usage = {"prompt_tokens": 3, "completion_tokens": CHUNKS + 1, "total_tokens": CHUNKS + 4}
    role = chunk({"role": "assistant", "content": ""}) | {"prompt_token_ids": prompt}
    texts = [f"{WORD.decode()}{token} " for token in tokens]
    chunks = [chunk({"content": text}, [token]) for text, token in zip(texts, tokens, strict=True)]
    last = {**HEAD, "object": "chat.completion.chunk", "choices": [], "usage": usage}
    stream = [role, *chunks, chunk({"content": ""}, [EOS], "stop"), last]
    whole = {
        **HEAD,
        "choices": [choice("".join(texts), ids=[*tokens, EOS])],
        "usage": usage,
        "prompt_token_ids": prompt,
    }
    plain = {"stream": [_without_ids(one) for one in stream], "whole": _without_ids(whole)}
    models = {"data": [{"id": name, "max_model_len": CONTEXT} for name in (FAST, PACED)]}
    return {
        "models": json.dumps(models),
        "ids": _encoded({"stream": stream, "whole": whole}),
        "plain": _encoded(plain),
    }


def _without_ids(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer, or a chunk of one, as a client gets it that did not request token ids."""
    choices = [
        {name: value for name, value in one.items() if name != "token_ids"}
        for one in answer["choices"]
    ]
    rest = {name: value for name, value in answer.items() if name != "prompt_token_ids"}
    return {**rest, "choices": choices}


def _encoded(answer: dict[str, Any]) -> dict[str, Any]:
    events = [f"data: {json.dumps(one)}\n\n" for one in answer["stream"]]
    return {"stream": [*events, "data: [DONE]\n\n"], "whole": json.dumps(answer["whole"])}


def _litellm_config(engine: int) -> dict[str, Any]:
    """Return the least that LiteLLM can do: what can be off is off."""
    provider = {"api_base": f"http://127.0.0.1:{engine}/v1", "api_key": "none"}
    return {
        "model_list": [
            {"model_name": name, "litellm_params": {"model": f"openai/{name}", **provider}}
            for name in (FAST, PACED)
        ],
        "litellm_settings": {
            "callbacks": [],
            "disable_streaming_logging": True,
            "num_retries": 0,
            "telemetry": False,
        },
        "router_settings": {"num_retries": 0, "disable_cooldowns": True},
        "general_settings": {
            "disable_spend_logs": True,
            "dangerously_permit_weak_or_unset_master_key": True,  # the gate has no keys here either
        },
    }


_LITELLM_VARIABLES = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    # What it would otherwise fetch when it starts.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
}


@contextmanager
def _running(
    argv: Sequence[str], port: int, environment: Mapping[str, str], directory: Path
) -> Iterator[psutil.Process]:
    """Run a program of LiteLLM's environment for the length of the block, once it answers."""
    binaries = LITELLM.directory() / "bin"
    log = directory / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [binaries / argv[0], *argv[1:], "--host", "127.0.0.1", "--port", str(port)],
            cwd=directory,
            # Nothing of this process's: a key, a proxy or a database in it would change the work.
            env={
                "PATH": f"{binaries}{os.pathsep}{os.defpath}",
                "HOME": str(directory),
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": os.pathsep.join(map(str, (SERVER_SOURCE, SUPPORT))),
                **environment,
            },
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers_at(port):
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _answers_at(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
