"""The start of a server: until it is ready, what it then holds, and whether that was foretold."""

import json

from mistral_dev.gpu import cards
from mistral_dev.gpu.rig import Plan
from mistral_dev.gpu.scenario import Room, Step
from mistral_operator.fit import fit
from mistral_operator.status.fitting import fit_request

MIB = 1024**2
SECONDS = 240.0
"""A start with torch.compile and CUDA graphs; one that was held and is eager takes 12."""

FIT_TOLERANCE = 0.03
"""`fit` decides whether a context fits; 3 % of a full-size cache are 5,000 tokens."""

_KV_TOKENS = r"[CG]PU KV cache size: ([\d,]+) tokens"
_WEIGHTS = r"Model loading took ([\d.]+) GiB"
_KV_GIB = r"Available KV cache memory: ([-\d.]+) GiB"


def boot(room: Room) -> None:
    """Wait until the server is ready; compare what fits with what `fit` says."""
    server, found = room.server, room.findings
    if not found.check("the server becomes ready", server.until_ready(SECONDS)):
        verdict = server.log.verdict
        found.failed.append(str(verdict.evidence if verdict else server.log.tail(3)))
        return
    startup = json.loads(server.get("/startupz")[1])
    effective = json.loads(server.get("/signals")[1])["effective"]
    tokens = int(server.log.number(_KV_TOKENS) or 0)
    found.note(
        ready_s=server.ready_seconds,
        kv_tokens=tokens,
        context=effective["context_length"],
        ranks=effective["tensor_parallel_size"],
        vllm=effective["vllm_version"],
        weights_gib=server.log.number(_WEIGHTS),
        kv_gib=server.log.number(_KV_GIB),
        used_mib=cards.used_mib(room.gpus) if room.gpus else 0,
        held=server.held,
        stages=startup["finished"],
    )
    found.equal(
        "ranks", effective["tensor_parallel_size"], server.plan.spec.engine.tensor_parallel_size
    )
    found.check("tokens of KV cache are known", tokens > 0)
    if room.rig.device == "cuda":
        _compare(room, server.plan, tokens)


def _compare(room: Room, plan: Plan, tokens: int) -> None:
    answer = fit(fit_request(plan.spec, room.rig.memory_mib * MIB))
    room.findings.note(fit_tokens=answer.kv_cache_tokens)
    off = tokens / answer.kv_cache_tokens - 1 if answer.kv_cache_tokens else 1.0
    room.findings.note(fit_off=f"{off:+.2%}")
    room.findings.check(
        "`fit` foretells the KV cache", abs(off) <= FIT_TOLERANCE, f"{answer.kv_cache_tokens}"
    )


BOOT = Step("boot", boot, SECONDS + 10)
