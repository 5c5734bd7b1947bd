"""Requests that schemathesis derives from the OpenAPI document that the engine serves.

None of them is answered with 5xx or harms the server. FUZZ_SECONDS is how long it goes on.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from engine_requests import CHAT, COMPLETIONS, ask, exposition, token
from mistral_dev.separate_environments import SCHEMATHESIS
from mistral_server.contract import SERVER_TOKEN_HEADER
from server_runner import RunningServer

SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))


def schema(server: RunningServer) -> dict[str, Any]:
    """Return the OpenAPI document without what vLLM 0.32 answers 500 to.

    Clients cannot get it: its path is not open.
    """
    url = f"http://127.0.0.1:{server.settings.port}/openapi.json"
    request = Request(url, headers={SERVER_TOKEN_HEADER: token(server)})
    with urlopen(request, timeout=60) as answer:  # noqa: S310 - our own loopback address
        document: dict[str, Any] = json.load(answer)
    # A token that is not in the vocabulary.
    del document["paths"]["/detokenize"]
    # Tokens of which every one is masked, as with `min_tokens` and only the end of the sequence.
    for model in ("ChatCompletionRequest", "CompletionRequest"):
        del document["components"]["schemas"][model]["properties"]["allowed_token_ids"]
    return document


def gate_errors(server: RunningServer) -> list[str]:
    """Return the counters of failures of the gate itself."""
    return re.findall(r"^mistral_gate_errors_total.*", exposition(server), re.MULTILINE)


def test_no_request_of_the_schema_is_answered_with_5xx_or_harms_the_server(
    shared_server: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(schema(shared_server)))
    errors = gate_errors(shared_server)
    command = [
        *(str(SCHEMATHESIS.directory() / "bin" / "schemathesis"), "run", str(file)),
        *("--url", f"http://127.0.0.1:{shared_server.settings.port}", "--seed", "0"),
        *("--checks", "not_a_server_error", "--phases", "fuzzing", "--max-examples", "100"),
        *("--max-time", str(SECONDS), "--request-timeout", "60", "--continue-on-failure"),
        *("--suppress-health-check", "all", "--no-color"),
    ]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-5000:]
    tested = re.search(r"(\d+) generated", done.stdout)
    assert tested is not None
    assert int(tested[1]) >= 50
    assert shared_server.get("/livez")[0] == 200
    assert shared_server.process.poll() is None
    assert ask(shared_server, CHAT, max_tokens=2).status == 200
    assert ask(shared_server, COMPLETIONS, max_tokens=2).status == 200
    assert gate_errors(shared_server) == errors
