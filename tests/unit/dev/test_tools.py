"""The programs of the local cluster are built once per version."""

import dataclasses
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from rich.console import Console

from mistral_dev import tools
from mistral_dev.errors import MissingRequirementError, UsageError
from mistral_dev.progress import Progress

QUIET = Progress(quiet=True)


@pytest.mark.parametrize(
    ("go_mod", "version"),
    [
        ("require example.org/a v1.2.3\n", "v1.2.3"),
        ("require (\n\texample.org/b v9.0.0\n\texample.org/a v1.2.3 // indirect\n)\n", "v1.2.3"),
        ("require (\n\texample.org/a/sub v8.0.0\n\texample.org/a v1.2.3\n)\n", "v1.2.3"),
        ("tool example.org/a/cmd\nrequire example.org/a v0.1.0-rc.1\n", "v0.1.0-rc.1"),
    ],
)
def test_the_version_comes_from_go_mod(go_mod: str, version: str) -> None:
    assert tools.module_version(go_mod, "example.org/a") == version


def test_a_module_that_go_mod_lacks_is_an_error_that_names_it() -> None:
    with pytest.raises(UsageError, match=r"does not require example\.org/a"):
        tools.module_version("require example.org/ab v1.0.0\n", "example.org/a")


@pytest.mark.parametrize("toolset", tools.TOOLSETS, ids=lambda toolset: toolset.name)
def test_every_tool_set_has_its_module_and_a_version(toolset: tools.Toolset) -> None:
    assert toolset.version().startswith("v")
    assert toolset.folder().name == f"{toolset.name}-{toolset.version()}-{toolset.key()}"


def test_kubernetes_is_built_with_the_version_of_its_module() -> None:
    kubernetes = next(one for one in tools.TOOLSETS if one.name == "kubernetes")
    flags = kubernetes.linker_flags()
    assert f"gitVersion={kubernetes.version()} " in flags
    assert f"gitMinor={kubernetes.version().split('.')[1]} " in flags


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout and a cache of our own, with one small tool set that Go can build offline."""
    source = tmp_path / "dev" / "tools" / "hello"
    source.mkdir(parents=True)
    (source / "go.mod").write_text("module example.org/hello\n\ngo 1.21\n")
    (source / "go.sum").write_text("")
    toolset = Hello("hello", "example.org/hello", {"hello": "example.org/hello"})
    monkeypatch.setattr(tools, "CHECKOUT_DEV", tmp_path / "dev")
    monkeypatch.setattr(tools, "TOOLSETS", (toolset,))
    monkeypatch.setattr(tools, "ALL_TOOLS", ("hello",))
    monkeypatch.setenv("MISTRAL_DEV_CACHE", str(tmp_path / "cache"))
    return source


@dataclasses.dataclass(frozen=True)
class Hello(tools.Toolset):
    """A tool set that is its own module, so go.mod has no version for it."""

    def version(self) -> str:
        return "v1.0.0"


def test_build_tags_decide_the_bytes_and_so_the_key(checkout: Path) -> None:
    plain = tools.TOOLSETS[0]
    tagged = dataclasses.replace(plain, tags="small")
    assert "-tags" not in plain.build_flags()
    assert tagged.build_flags()[-2:] == ("-tags", "small")
    assert tagged.key() != plain.key()


def test_the_key_follows_the_module_files(checkout: Path) -> None:
    before = tools.TOOLSETS[0].key()
    assert tools.TOOLSETS[0].key() == before
    (checkout / "go.sum").write_text("another\n")
    assert tools.TOOLSETS[0].key() != before


def test_an_unknown_tool_is_an_error_that_lists_all_tools(checkout: Path) -> None:
    with pytest.raises(UsageError, match="No tool is called helo: there are hello"):
        tools.ensure(["helo"], QUIET)


def test_without_go_the_error_names_what_to_install(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(checkout))
    with pytest.raises(MissingRequirementError, match=r"Install Go 1\.21 or newer from https://"):
        tools.ensure(["hello"], QUIET)


def test_what_is_in_the_cache_is_not_built_again(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tools.program("hello")
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"built before")
    monkeypatch.setenv("PATH", str(checkout))  # no Go: a build would fail
    assert tools.ensure(["hello"], QUIET) == {"hello": cached}


def put_go(checkout: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a program in the place of Go."""
    fake_go = checkout.parent / "bin" / "go"
    fake_go.parent.mkdir()
    fake_go.write_text(f"#!/bin/sh\n{script}\n")
    fake_go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake_go.parent}:/usr/bin:/bin")


def test_sources_are_those_of_the_pinned_version(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = checkout.parent / "calls"
    put_go(checkout, monkeypatch, f'echo "$@" >>{calls}\necho \'{{"Dir": "/modules/hello"}}\'')
    assert tools.sources("hello") == Path("/modules/hello")
    assert calls.read_text() == "mod download -json example.org/hello@v1.0.0\n"


def test_two_runs_at_once_build_once(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = checkout.parent / "calls"
    # What follows -o is the seventh argument.
    put_go(checkout, monkeypatch, f'echo built >>{calls}\nsleep 0.5\necho "$@" >"$7"')
    outputs = [io.StringIO(), io.StringIO()]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda out: tools.ensure(["hello"], Progress(Console(file=out))), outputs))
    assert calls.read_text() == "built\n"
    assert sorted("cached" in text.getvalue() for text in outputs) == [False, True]
    assert [one.name for one in tools.program("hello").parent.iterdir()] == ["hello"]
