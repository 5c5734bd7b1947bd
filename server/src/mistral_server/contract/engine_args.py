"""The allow-list for extra engine arguments.

Some of vLLM's arguments run code (`--middleware`, `--worker-cls`, `--trust-remote-code`, and
`--compilation-config`, whose `backend` names any importable object), open doors
(`--allowed-local-media-path`, `--api-key` in a process list) or undo what the operator promises
(`--port`, `--shutdown-timeout`, `--disable-log-stats`). So the list says what is allowed, and
everything else is refused. vLLM accepts `_` for `-`, `--flag=value` and unique abbreviations; the
list is matched on the exact name after `_` became `-`, so none of these spellings gets around it.

The operator checks a resource with it (and puts the names into the CRD's own rule); the server
checks again, since an environment variable can be edited. `tests/engine` asks vLLM's own parser
about every name.
"""

import re
from collections.abc import Iterable

ALLOWED_ENGINE_ARGS: frozenset[str] = frozenset(
    {
        "--async-scheduling",
        "--block-size",
        "--disable-custom-all-reduce",
        "--enable-chunked-prefill",
        "--enable-prefix-caching",
        "--enforce-eager",
        "--kv-cache-metrics",
        "--long-prefill-token-threshold",
        "--max-cudagraph-capture-size",
        "--max-num-queued-reqs",
        "--max-num-queued-tokens",
        "--mm-processor-cache-gb",
        "--no-async-scheduling",
        "--no-enable-chunked-prefill",
        "--no-enable-prefix-caching",
        "--num-gpu-blocks-override",
        "--prefix-caching-hash-algo",
        "--scheduling-policy",
        "--seed",
        "--sse-keep-alive-interval",
        "--stream-interval",
    }
)
"""Arguments that tune speed or memory and can do nothing else.

Those that bound the queue, and `--sse-keep-alive-interval`, are younger than vLLM 0.26, which
refuses them by name; all others, and all that `argv` renders, its parser takes too.
"""

TYPED_FIELDS: dict[str, str] = {
    "--allowed-media-domains": "spec.images.domains",
    "--api-server-count": "spec.engine.apiServers",
    "--dtype": "spec.model.dtype",
    "--gpu-memory-utilization": "spec.engine.gpuMemoryUtilization",
    "--kv-cache-dtype": "spec.engine.kvCache.dtype",
    "--kv-cache-memory-bytes": "spec.engine.kvCache.memory",
    "--limit-mm-per-prompt": "spec.images.perPrompt",
    "--max-model-len": "spec.engine.contextLength",
    "--max-num-batched-tokens": "spec.engine.maxBatchedTokens",
    "--max-num-seqs": "spec.engine.maxSequences",
    "--model": "spec.model.id",
    "--override-generation-config": "spec.engine.temperature",
    "--quantization": "spec.model.quantization",
    "--revision": "spec.model.revision",
    "--served-model-name": "spec.model.servedName",
    "--shutdown-timeout": "spec.drainSeconds",
    "--tensor-parallel-size": "spec.engine.tensorParallelSize",
}
"""Arguments that the resource has a field for."""

_SHAPE = re.compile(r"--[A-Za-z0-9][A-Za-z0-9_.-]*(=.*)?", re.DOTALL)


class EngineArgumentError(ValueError):
    """An extra engine argument that is refused; the message says which and what to write."""


def canonical_flag(argument: str) -> str:
    """Return the flag of an argument as vLLM reads it: without its value, `_` as `-`."""
    return argument.split("=", 1)[0].replace("_", "-")


def check_engine_args(arguments: Iterable[str]) -> None:
    """Raise `EngineArgumentError` for the first argument that is not allowed."""
    for argument in arguments:
        if not _SHAPE.fullmatch(argument):
            raise EngineArgumentError(
                f"{argument!r} is not an engine argument: write each item as --flag or --flag=value"
            )
        flag = canonical_flag(argument)
        if flag in TYPED_FIELDS:
            raise EngineArgumentError(f"{flag} has a field of its own: set {TYPED_FIELDS[flag]}")
        if flag not in ALLOWED_ENGINE_ARGS:
            raise EngineArgumentError(
                f"{flag} is not allowed; allowed are {', '.join(sorted(ALLOWED_ENGINE_ARGS))}"
            )
