"""Workarounds for vLLM's defects, tested on modules like those of each version of vLLM."""

import gc
import logging
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY

from gate_engine import FakeEngine, gate, settings
from mistral_server.engine import drop_info, workarounds
from mistral_server.engine.drop_info import WorkaroundState

SHARED = """
import re as regex
from types import SimpleNamespace as _DropInfo, SimpleNamespace as TerminalDef

DROP_TERMINAL = "__DROP__"
LexerShape = tuple

class StreamingParserEngine:
    def __init__(self, config, tokenizer, vocab=None):
        self.info = _build_drop_info(config, tokenizer)
        self._lexer = _DropInfo(_shape=self.info.lexer_shape)
"""

AS_IN_0_32 = """
def _build_drop_info(config, tokenizer):
    try:
        texts = list(tokenizer.all_special_tokens)
    except (AttributeError, NotImplementedError):
        return None
    kept = set(config.token_id_terminals.values()) | config.terminal_literals
    kept = kept | config.preserve_tokens
    defs = [
        TerminalDef(name=DROP_TERMINAL, pattern=regex.compile(regex.escape(text)))
        for text in texts
        if text not in kept
    ]
    return _DropInfo(
        lexer_shape=LexerShape(list(config.terminal_defs) + defs),
        extra_token_ids={one: DROP_TERMINAL for one in list(tokenizer.all_special_ids)},
    )
"""

READS_MORE = AS_IN_0_32.replace("config.preserve_tokens", "config.preserve_tokens | config.others")

AS_IN_0_29 = AS_IN_0_32.replace("config.terminal_literals", "set(config.terminals.values())")

DECORATED = f"""
import functools
{READS_MORE}
_inner = _build_drop_info

def _build_drop_info(config, tokenizer):
    return _inner(config, tokenizer)

_build_drop_info = functools.wraps(_inner)(_build_drop_info)
"""

MEMOIZED = f"""
import functools
{AS_IN_0_32}
_plain = _build_drop_info
_kept = {{}}

def _build_drop_info(config, tokenizer):
    return _kept.setdefault((id(config), id(tokenizer)), _plain(config, tokenizer))
"""

OTHER_ARGUMENTS = AS_IN_0_32.replace("(config, tokenizer)", "(config, tokenizer, tools=None)")

NOT_CALLED = f"""
{AS_IN_0_32}
class StreamingParserEngine:
    def __init__(self, config, tokenizer, vocab=None):
        self._lexer = _DropInfo(_shape=object())
"""

OTHER_PARSER = f"""
{AS_IN_0_32}
class StreamingParserEngine:
    def __init__(self, config):
        pass
"""


def module(source: str) -> ModuleType:
    """Return a module with this source beside what all of them share."""
    made = ModuleType("streaming_parser_engine")
    exec(SHARED + source, made.__dict__)  # noqa: S102 - the test's own text
    return made


@dataclass(frozen=True)
class Config:
    """A parser's configuration, as far as the function reads it."""

    token_id_terminals: dict[str, str] = field(default_factory=lambda: {"CALL": "[CALL]"})
    terminals: dict[str, str] = field(default_factory=lambda: {"CALL": "[CALL]"})
    terminal_literals: frozenset[str] = frozenset({"[CALL]"})
    preserve_tokens: frozenset[str] = frozenset()
    terminal_defs: tuple[Any, ...] = (
        SimpleNamespace(name="CALL", pattern=re.compile("x"), is_literal=True, literal="[CALL]"),
    )
    others: frozenset[str] = frozenset()


class Tokenizer:
    """A tokenizer with some special tokens."""

    def __init__(self, *texts: str) -> None:
        self.all_special_tokens = list(texts)
        self.all_special_ids = list(range(len(texts)))


@pytest.mark.parametrize(
    ("source", "state"),
    [
        pytest.param(AS_IN_0_32, WorkaroundState.ACTIVE, id="the function of 0.32"),
        pytest.param(AS_IN_0_29, WorkaroundState.ACTIVE, id="the function of 0.27 to 0.29"),
        pytest.param(
            DECORATED, WorkaroundState.UNKNOWN, id="a decorated function that reads another"
        ),
        pytest.param("", WorkaroundState.ABSENT, id="no such function, as in 0.26"),
        pytest.param(MEMOIZED, WorkaroundState.NOT_NEEDED, id="upstream's fix"),
        pytest.param(
            READS_MORE, WorkaroundState.UNKNOWN, id="a function that reads another attribute"
        ),
        pytest.param(
            OTHER_ARGUMENTS, WorkaroundState.UNKNOWN, id="a function with other arguments"
        ),
        pytest.param(NOT_CALLED, WorkaroundState.WITHOUT_EFFECT, id="parsers that do not call it"),
        pytest.param(
            OTHER_PARSER, WorkaroundState.UNKNOWN, id="parsers that are made in another way"
        ),
    ],
)
def test_only_the_engine_that_it_was_written_for_is_changed(
    source: str, state: WorkaroundState
) -> None:
    engine = module(source)
    before = dict(vars(engine))

    assert drop_info.memoize_in(engine, Config()) is state
    changed = {name for name, value in vars(engine).items() if before.get(name) is not value}
    assert changed == ({"_build_drop_info"} if state is WorkaroundState.ACTIVE else set())


def test_applying_it_twice_changes_nothing() -> None:
    engine = module(AS_IN_0_32)
    drop_info.memoize_in(engine, Config())
    once = engine._build_drop_info

    assert drop_info.memoize_in(engine, Config()) is WorkaroundState.ACTIVE
    assert engine._build_drop_info is once


def memoized() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the function of 0.32, plain and memoized."""
    engine = module(AS_IN_0_32)
    original = engine._build_drop_info
    assert drop_info.memoize_in(engine, Config()) is WorkaroundState.ACTIVE
    return original, engine._build_drop_info


CONFIGS = {
    "the default": Config(),
    "other terminals": Config(token_id_terminals={"THINK": "[THINK]"}),
    "other spellings": Config(terminals={"CALL": "<a>"}),
    "other literals": Config(terminal_literals=frozenset({"[CALL]", "<a>"})),
    "a token to preserve": Config(preserve_tokens=frozenset({"<b>"})),
    "no definitions": Config(terminal_defs=()),
}


def test_every_configuration_and_tokenizer_gets_what_the_plain_function_returns() -> None:
    original, quick = memoized()
    tokenizers = [Tokenizer("<a>", "<b>", "[CALL]"), Tokenizer("<a>", "[THINK]"), Tokenizer()]
    for _ in range(2):
        for config in CONFIGS.values():
            for tokenizer in tokenizers:
                want, got = original(config, tokenizer), quick(config, tokenizer)
                assert got.extra_token_ids == want.extra_token_ids
                assert got.lexer_shape == want.lexer_shape


def test_equal_configurations_share_one_result() -> None:
    _, quick = memoized()
    tokenizer = Tokenizer("<a>")

    assert quick(Config(), tokenizer) is quick(Config(), tokenizer)
    assert quick(Config(), Tokenizer("<a>")) is not quick(Config(), tokenizer)


def test_a_tokenizer_whose_identity_is_used_again_gets_its_own_result() -> None:
    _, quick = memoized()
    for number in range(200):
        tokenizer = Tokenizer(*(f"<{number}-{one}>" for one in range(3)))
        names = [one.pattern.pattern for one in quick(Config(), tokenizer).lexer_shape[1:]]
        assert names == [re.escape(text) for text in tokenizer.all_special_tokens]


def test_the_results_that_are_kept_are_bounded() -> None:
    _, quick = memoized()
    tokenizer = Tokenizer("<a>")
    for number in range(10 * drop_info.CACHE_SIZE):
        quick(Config(preserve_tokens=frozenset({f"<{number}>"})), tokenizer)
    gc.collect()

    kept = [one for one in gc.get_objects() if isinstance(one, drop_info._Key)]
    assert len([one for one in kept if one.arguments[1] is tokenizer]) == drop_info.CACHE_SIZE


def test_an_error_of_the_plain_function_is_not_kept() -> None:
    _, quick = memoized()
    tokenizer = Tokenizer("<a>")
    tokenizer.all_special_ids = None  # type: ignore[assignment]  # a tokenizer that is not loaded
    with pytest.raises(TypeError):
        quick(Config(), tokenizer)
    tokenizer.all_special_ids = [7]

    assert quick(Config(), tokenizer).extra_token_ids == {7: "__DROP__"}


def test_a_configuration_that_cannot_be_compared_goes_to_the_plain_function() -> None:
    _, quick = memoized()
    odd = Config(terminal_defs=(SimpleNamespace(name=[], pattern=re.compile("x")),))

    assert quick(odd, Tokenizer("<a>")).extra_token_ids == {0: "__DROP__"}


def raising() -> WorkaroundState:
    raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("enabled", "workaround", "active", "reason"),
    [
        pytest.param(
            True, lambda: WorkaroundState.ACTIVE, True, WorkaroundState.ACTIVE.value, id="applied"
        ),
        pytest.param(
            True,
            lambda: WorkaroundState.ABSENT,
            False,
            WorkaroundState.ABSENT.value,
            id="left alone",
        ),
        pytest.param(True, raising, False, "RuntimeError: no such thing", id="failed"),
        pytest.param(
            False,
            lambda: WorkaroundState.ACTIVE,
            False,
            "engine.workarounds is Disabled",
            id="turned off",
        ),
    ],
)
def test_every_workaround_reports_its_state_and_reason(
    caplog: pytest.LogCaptureFixture,
    enabled: bool,
    workaround: Callable[[], WorkaroundState],
    active: bool,
    reason: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        [result] = workarounds.apply(enabled=enabled, workarounds={"one": workaround})

    assert (result.name, result.active, result.reason) == ("one", active, reason)
    assert caplog.messages == ([] if active else [f"Engine workaround one is not active: {reason}"])


@pytest.mark.parametrize(
    ("policy", "active"), [("Auto", True), ("Disabled", False)], ids=["applied", "turned off"]
)
def test_the_gates_metrics_show_which_workarounds_are_active(
    monkeypatch: pytest.MonkeyPatch, policy: str, active: bool
) -> None:
    [(variable, value)] = settings(engine={"workarounds": policy}).items()
    monkeypatch.setenv(variable, value)
    loaded = {drop_info.MODULE: module(AS_IN_0_32), drop_info.CONFIG_MODULE: config_module()}
    for name, one in loaded.items():
        monkeypatch.setitem(sys.modules, name, one)

    gate(FakeEngine())

    for label, value_wanted in (("true", float(active)), ("false", float(not active))):
        labels = {"name": drop_info.NAME, "active": label}
        assert REGISTRY.get_sample_value("mistral_engine_workarounds", labels) == value_wanted


def config_module() -> ModuleType:
    """Return a module with the class of configurations."""
    made = ModuleType("parser_engine_config")
    made.ParserEngineConfig = lambda name: Config()  # type: ignore[attr-defined]
    return made
