"""What the server expects of vLLM's compile cache, in the sources of this vLLM.

An engine on CPUs compiles nothing, so its log cannot show it.
"""

import re
from pathlib import Path

import pytest

from mistral_dev.images import engine
from mistral_server.engine_log.compile_lines import CompileLines

LOADED = ("Directly load AOT compilation from path", "Directly load the compiled graph(s)")
COMPILED = ("Starting torch.compile", "Compiling a graph for compile range")


@pytest.fixture(scope="session")
def sources() -> Path:
    """Return the directory of vLLM's package."""
    (package,) = engine.engine().glob("lib/python3*/site-packages/vllm")
    return package


@pytest.mark.parametrize("tag", ["", "[vit] "])
@pytest.mark.parametrize("message", [*LOADED, *COMPILED])
def test_vllm_logs_whether_it_loads_or_compiles(sources: Path, message: str, tag: str) -> None:
    texts = [file.read_text() for file in (sources / "compilation").glob("*.py")]
    lines = CompileLines()

    lines.read(f"(EngineCore pid=7) INFO 11-24 12:47:59 [file.py:1] {tag}{message} ...")

    assert any(f'"%s{message}' in text for text in texts)
    assert (lines.loaded, lines.compiled) == (message in LOADED, message in COMPILED)


def test_vllm_replaces_each_artifact_as_a_whole(sources: Path) -> None:
    text = (sources / "compilation" / "decorators.py").read_text()

    assert "os.replace(tmp_file, self._aot_compilation_path)" in text


def test_the_place_of_the_cache_is_no_part_of_vllms_key(sources: Path) -> None:
    function = (sources / "envs.py").read_text().partition("def compile_factors(")[2]
    ignored = function.partition("ignored_factors: set[str] = {")[2].partition("}\n")[0]

    assert '"VLLM_CACHE_ROOT"' in ignored


def test_links_between_the_gpus_of_a_node_are_kept_only_on_demand(sources: Path) -> None:
    text = (sources / "envs.py").read_text()

    assert re.search(r'os\.getenv\("VLLM_SKIP_P2P_CHECK", "1"\)', text)
