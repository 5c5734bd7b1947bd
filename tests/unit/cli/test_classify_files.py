"""The command `classify`."""

import json
from pathlib import Path

from click.testing import CliRunner

from engine_log_lines import API, CORE
from mistral_server.cli.main import cli
from mistral_server.contract import FailureClass
from mistral_server.contract.setting_names import with_flags
from mistral_server.engine_log.classify import ADVICE

NO_CACHE = "ValueError: No available memory for the cache blocks. Try increasing"


def test_the_command_prints_a_line_for_each_log(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.log", tmp_path / "good.log"
    bad.write_bytes(f"{CORE}{NO_CACHE}\r\n".encode() + b"\xff\xfe")
    good.write_text(f"{API}INFO:     Application startup complete.\n")
    result = CliRunner().invoke(cli, ["classify", str(bad), str(good), str(tmp_path / "nowhere")])
    lines = [json.loads(line) for line in result.stdout.splitlines()]

    assert result.exit_code == 1
    assert "nowhere" in result.stderr
    assert [(one["file"], one["class"], one["phase"]) for one in lines] == [
        (str(bad), "KVCacheNone", "kv-cache"),
        (str(good), None, None),
    ]
    assert lines[0]["suggest"] == {"advice": with_flags(ADVICE[FailureClass.KV_CACHE_NONE])}

    result = CliRunner().invoke(cli, ["classify"], input=bad.read_bytes())
    assert json.loads(result.stdout)["class"] == "KVCacheNone"
