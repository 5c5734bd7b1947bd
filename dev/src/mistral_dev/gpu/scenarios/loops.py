"""Loops of a model without a mind: observed, stopped, and counted as the client saw them."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mistral_dev.gpu.scenario import Room, Step
from mistral_dev.gpu.server import Reply
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


def loops(room: Room) -> None:
    """Let it generate at temperature 0, watched and then stopped; one can say only one word."""
    tokens = room.rig.scale.loop_tokens
    watched = [_tokens(reply) for reply in _ask_all(room, "observe")]
    looped = sum(loops_in(said, _RULE.repeats, _RULE.min_tokens) for said in watched)
    worth_a_stop = [
        loops_in(said, _RULE.stop_repeats, _RULE.stop_min_tokens, _LONGEST_STOPPED)
        for said in watched
    ]
    room.seen["loops observed"] += looped
    room.findings.check("one word is a loop", worth_a_stop[-1])

    replies = _ask_all(room, "stop")
    ended = [reply for reply in replies if reply.usage.get("completion_tokens", tokens) < tokens]
    room.seen["loops stopped"] += len(ended)
    room.seen["generations repetition"] += len(ended)
    room.seen["generations length"] -= len(ended)
    room.seen["loops observed"] += looped - len(ended)
    room.findings.equal("a stopped loop says length", {one.finish for one in ended}, {"length"})
    room.findings.equal("loops that were stopped", len(ended), sum(worth_a_stop))
    room.findings.note(asked=len(watched), looped=looped, stopped=len(ended))
    saved = sum(tokens - reply.usage["completion_tokens"] for reply in ended)
    room.findings.note(tokens_saved=saved, of_tokens=tokens * len(replies))


def _ask_all(room: Room, action: str) -> list[Reply]:
    def ask(prompt: str, **more: Any) -> Reply:
        return room.chat(
            prompt,
            temperature=0,
            ignore_eos=True,
            max_tokens=room.rig.scale.loop_tokens,
            return_token_ids=True,
            loops=action,
            **more,
        )

    prompts = _PROMPTS[: room.rig.scale.loops_at_once]
    with ThreadPoolExecutor(len(_PROMPTS) + 1) as pool:
        free = list(pool.map(ask, prompts))
        one_word = pool.submit(ask, "Hi", allowed_token_ids=[int(room.rig.scale.closing_brace)])
        return [*free, one_word.result()]


def _tokens(reply: Reply) -> list[int]:
    return [token for choice in reply.choices for token in choice.get("token_ids") or ()]


def loops_in(tokens: list[int], repeats: int, least: int, longest: int = _LONGEST_PERIOD) -> bool:
    """Say whether any stretch repeats itself often and long enough, period by period."""
    for period in range(1, min(longest, len(tokens) // repeats) + 1):
        needed = max(repeats * period, least) - period
        run = 0
        for at in range(period, len(tokens)):
            run = run + 1 if tokens[at] == tokens[at - period] else 0
            if run >= needed:
                return True
    return False


def counts(room: Room) -> None:
    """Compare what the gate counted with what the client saw."""
    text = room.alive().get("/metrics", health=False)[1]
    counted: dict[str, int] = {}
    for name, labels, value in _COUNTER.findall(text):
        if key := _key(name, labels):
            counted[key] = counted.get(key, 0) + int(float(value))
    seen = {key: value for key, value in room.seen.items() if value}
    room.findings.equal("the gate's counts", {k: v for k, v in counted.items() if v}, seen)
    room.findings.note(counted=counted)


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
