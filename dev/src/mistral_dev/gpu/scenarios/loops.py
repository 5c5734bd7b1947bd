"""Loops of a model with random weights: observed, stopped, and counted as the client saw them."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mistral_dev.gpu.scenario import ScenarioContext, Step
from mistral_dev.gpu.server import ApiResponse
from mistral_server.contract import LoopSettings

_PROMPTS = (
    "Write a poem about the sea.",
    "What is 17*23?",
    "Explain TCP.",
    "List ten fruits.",
    "Translate 'good morning' to French.",
    "Write Python code for quicksort.",
    "Who was Ada Lovelace?",
    "Give me a recipe for bread.",
)
_LONGEST_PERIOD = 1024
_LONGEST_STOPPED = 128
"""Where an answer is not streamed, vLLM's own rule ends it."""
_RULE = LoopSettings()
_COUNTER = re.compile(r"^mistral_(generation\w*|tool_calls)_total\{(.*)\} (\S+)$", re.MULTILINE)


def loops(context: ScenarioContext) -> None:
    """Generate at temperature 0, first observed, then stopped; one request allows only one word."""
    tokens = context.rig.scale.loop_tokens
    observed = [_tokens(response) for response in _chat_all(context, "observe")]
    looped = sum(loops_in(generated, _RULE.repeats, _RULE.min_tokens) for generated in observed)
    stoppable = [
        loops_in(generated, _RULE.stop_repeats, _RULE.stop_min_tokens, _LONGEST_STOPPED)
        for generated in observed
    ]
    context.client_counts["loops observed"] += looped
    context.findings.check("one word is a loop", stoppable[-1])

    responses = _chat_all(context, "stop")
    stopped = [
        response
        for response in responses
        if response.usage.get("completion_tokens", tokens) < tokens
    ]
    context.client_counts["loops stopped"] += len(stopped)
    context.client_counts["generations repetition"] += len(stopped)
    context.client_counts["generations length"] -= len(stopped)
    context.client_counts["loops observed"] += looped - len(stopped)
    context.findings.equal(
        "a stopped loop says length", {one.finish for one in stopped}, {"length"}
    )
    context.findings.equal("loops that were stopped", len(stopped), sum(stoppable))
    context.findings.note(requests=len(observed), looped=looped, stopped=len(stopped))
    saved = sum(tokens - response.usage["completion_tokens"] for response in stopped)
    context.findings.note(tokens_saved=saved, of_tokens=tokens * len(responses))


def _chat_all(context: ScenarioContext, action: str) -> list[ApiResponse]:
    def send(prompt: str, **more: Any) -> ApiResponse:
        return context.chat(
            prompt,
            temperature=0,
            ignore_eos=True,
            max_tokens=context.rig.scale.loop_tokens,
            return_token_ids=True,
            loops=action,
            **more,
        )

    prompts = _PROMPTS[: context.rig.scale.loops_at_once]
    with ThreadPoolExecutor(len(_PROMPTS) + 1) as pool:
        free = list(pool.map(send, prompts))
        one_word = pool.submit(send, "Hi", allowed_token_ids=[int(context.rig.scale.closing_brace)])
        return [*free, one_word.result()]


def _tokens(response: ApiResponse) -> list[int]:
    return [token for choice in response.choices for token in choice.get("token_ids") or ()]


def loops_in(tokens: list[int], repeats: int, least: int, longest: int = _LONGEST_PERIOD) -> bool:
    """Return whether any part repeats often and long enough, checking each period."""
    for period in range(1, min(longest, len(tokens) // repeats) + 1):
        needed = max(repeats * period, least) - period
        run = 0
        for at in range(period, len(tokens)):
            run = run + 1 if tokens[at] == tokens[at - period] else 0
            if run >= needed:
                return True
    return False


def counts(context: ScenarioContext) -> None:
    """Compare what the gate counted with what the client saw."""
    text = context.alive().get("/metrics", health=False)[1]
    counted: dict[str, int] = {}
    for name, labels, value in _COUNTER.findall(text):
        if key := _key(name, labels):
            counted[key] = counted.get(key, 0) + int(float(value))
    seen = {key: value for key, value in context.client_counts.items() if value}
    context.findings.equal("the gate's counts", {k: v for k, v in counted.items() if v}, seen)
    context.findings.note(counted=counted)


def _key(name: str, labels: str) -> str | None:
    values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    match name:
        case "generations":
            return f"generations {values['finish_reason']}"
        case "generation_loops":
            return f"loops {values['action']}" if values["kind"] == "exact" else None
        case "tool_calls":
            return f"calls {'ok' if values['outcome'] == 'ok' else 'not ok'}"
        case _:
            return None


LOOPS = Step("loops", loops, 120)
COUNTS = Step("counts", counts, 30)
