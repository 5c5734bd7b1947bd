"""Memoize what vLLM's streaming parsers derive from the vocabulary's special tokens.

vLLM 0.27 to 0.33 create three parsers for each chat with `--tool-call-parser mistral`. Each parser
compiles one regular expression for every special token of the tokenizer: 1,000 in
Mistral-Small-3.2, which takes 0.04 to 0.13 s of CPU per parser on the event loop that also sends
all other tokens. The cache of `regex` has 500 entries, so it never hits. Reported upstream as issue
58145; pull request 58172 memoizes the same function.

The result depends on the tokenizer's special tokens and on some attributes of the parser's
configuration. It is never modified, so all parsers can share it.
"""

import functools
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from types import CodeType, FunctionType, ModuleType
from typing import Any

NAME = "parser_drop_info"

MODULE = "vllm.parser.engine.streaming_parser_engine"
CONFIG_MODULE = "vllm.parser.engine.parser_engine_config"
FUNCTION = "_build_drop_info"
PARAMETERS = ("config", "tokenizer")

CACHE_SIZE = 16
"""Size of the cache. One entry per tokenizer and parser format; a process usually has one."""

EXPECTED_NAMES = frozenset(
    {
        # What it reads from its arguments; `_Key` covers all of it.
        *("all_special_tokens", "all_special_ids"),
        *("token_id_terminals", "values", "terminals", "terminal_literals", "preserve_tokens"),
        "terminal_defs",
        # What it computes with.
        *("list", "set", "zip", "add", "regex", "compile", "escape"),
        *("DROP_TERMINAL", "TerminalDef", "LexerShape", "_DropInfo"),
        *("AttributeError", "NotImplementedError"),
    }
)
"""All names that the function uses in vLLM 0.27 to 0.33. Another name may be an input that the key
does not cover, so a function with one is not replaced."""


class WorkaroundState(Enum):
    """The state of the workaround, with the reason for the log."""

    ACTIVE = "the parsers share what they derive from the special tokens"
    ABSENT = f"this vLLM has no {MODULE}.{FUNCTION}"
    NOT_NEEDED = "the parsers of this vLLM share what they derive from the special tokens"
    UNKNOWN = f"{FUNCTION} of this vLLM is not the one that the workaround was written for"
    WITHOUT_EFFECT = f"the parsers of this vLLM do not call {FUNCTION}"


def memoize() -> WorkaroundState:
    """Let the parsers of this process share one result, if its vLLM does not do so itself."""
    try:
        module = importlib.import_module(MODULE)
        config = importlib.import_module(CONFIG_MODULE).ParserEngineConfig(name="probe")
    except (ImportError, AttributeError):
        return WorkaroundState.ABSENT
    return memoize_in(module, config)


def memoize_in(module: ModuleType, probe: Any) -> WorkaroundState:
    """Memoize the function of a module.

    Args:
        module: vLLM's streaming parser engine, if this version has one.
        probe: any parser configuration, to test what two parsers share.
    """
    original = getattr(module, FUNCTION, None)
    if original is None or not hasattr(module, "StreamingParserEngine"):
        return WorkaroundState.ABSENT
    if isinstance(original, _Memoized):
        return WorkaroundState.ACTIVE
    try:
        shared = _shares(module, probe)
    except Exception:  # the module was rewritten; the workaround does not apply
        return WorkaroundState.UNKNOWN
    if shared:
        return WorkaroundState.NOT_NEEDED
    if not _is_expected(original):
        return WorkaroundState.UNKNOWN
    return _install(module, probe, original)


def _install(
    module: ModuleType, probe: Any, original: Callable[[Any, Any], Any]
) -> WorkaroundState:
    """Install the memoized function, and restore the original if it has no effect."""
    memoized = _Memoized(original)
    setattr(module, FUNCTION, memoized)
    effective = False
    try:
        effective = _shares(module, probe)
    finally:
        if not effective:
            setattr(module, FUNCTION, original)
    memoized.clear_cache()  # the probe's result serves no request
    return WorkaroundState.ACTIVE if effective else WorkaroundState.WITHOUT_EFFECT


@dataclass(frozen=True, slots=True)
class _Key:
    """The inputs of a result.

    The tokenizer is compared by identity: its special tokens are fixed once it is loaded. A cached
    key keeps its tokenizer alive, so no other one can have the same identity.
    """

    tokenizer: int
    contents: tuple[object, ...]
    arguments: tuple[Any, Any] = field(compare=False)


class _Memoized:
    """The function with a cache of its last results."""

    def __init__(self, original: Callable[[Any, Any], Any]) -> None:
        self._original = original
        self._cached = functools.lru_cache(CACHE_SIZE)(lambda key: original(*key.arguments))

    def __call__(self, config: Any, tokenizer: Any) -> Any:
        """Return what the original function returns."""
        try:
            key = _Key(id(tokenizer), _contents(config), (config, tokenizer))
            hash(key)
        except (AttributeError, TypeError):
            return self._original(config, tokenizer)
        return self._cached(key)

    def clear_cache(self) -> None:
        """Clear the cache."""
        self._cached.cache_clear()


def _contents(config: Any) -> tuple[object, ...]:
    """Return the parts of a configuration that determine the result."""
    return (
        frozenset(config.token_id_terminals.values()),
        tuple(config.terminals.items()),
        frozenset(getattr(config, "terminal_literals", ())),  # not before 0.30
        frozenset(config.preserve_tokens),
        tuple(
            (one.name, one.pattern.pattern, one.pattern.flags, one.is_literal, one.literal)
            for one in config.terminal_defs
        ),
    )


def _is_expected(function: object) -> bool:
    return (
        isinstance(function, FunctionType)
        # Names of a decorator or a closure are not among those of the function.
        and not hasattr(function, "__wrapped__")
        and function.__closure__ is None
        and tuple(inspect.signature(function).parameters) == PARAMETERS
        and EXPECTED_NAMES.issuperset(_names(function.__code__))
    )


def _names(code: CodeType) -> Iterator[str]:
    """Yield every global and attribute that code looks up, in its comprehensions too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


class _ProbeTokenizer:
    """A tokenizer with one special token."""

    all_special_tokens = ("<probe>",)
    all_special_ids = (0,)


def _shares(module: ModuleType, config: Any) -> bool:
    """Return whether two parsers of one configuration share the tables of their lexers."""
    tokenizer = _ProbeTokenizer()
    first, second = (
        module.StreamingParserEngine(config, tokenizer, vocab={})._lexer._shape for _ in range(2)
    )
    return first is second
