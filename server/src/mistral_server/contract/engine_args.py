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

from mistral_server.contract.setting_names import FLAGS

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

SETTING_OF_FLAG: dict[str, str] = {flag: setting for setting, flag in FLAGS.items()}
"""The setting of each flag that has one."""

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
        if flag in SETTING_OF_FLAG:
            raise EngineArgumentError(
                f"{flag} has a setting of its own: set {SETTING_OF_FLAG[flag]}"
            )
        if flag not in ALLOWED_ENGINE_ARGS:
            raise EngineArgumentError(
                f"{flag} is not allowed; allowed are {', '.join(sorted(ALLOWED_ENGINE_ARGS))}"
            )
