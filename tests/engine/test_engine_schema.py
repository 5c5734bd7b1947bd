"""Requests that schemathesis derives from the OpenAPI document that the engine serves.

None of them is answered with 5xx or harms the server. FUZZ_SECONDS is how long a round takes.
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
REQUESTS = 50
MOST_ROUNDS = 12


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


def fuzz(server: RunningServer, document: Path, seed: int) -> int:
    """Send requests for some seconds, and return how many it were."""
    command = [
        *(str(SCHEMATHESIS.directory() / "bin" / "schemathesis"), "run", str(document)),
        *("--url", f"http://127.0.0.1:{server.settings.port}", "--seed", str(seed)),
        *("--checks", "not_a_server_error", "--phases", "fuzzing", "--max-examples", "100"),
        *("--max-time", str(SECONDS), "--request-timeout", "60", "--continue-on-failure"),
        *("--suppress-health-check", "all", "--no-color"),
    ]

    done = subprocess.run(command, cwd=document.parent, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-5000:]
    tested = re.search(r"(\d+) generated", done.stdout)
    return 0 if tested is None else int(tested[1])


def test_no_request_of_the_schema_is_answered_with_5xx_or_harms_the_server(
    shared_server: RunningServer, tmp_path: Path
) -> None:
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(schema(shared_server)))
    errors = gate_errors(shared_server)

    tested, seeds = 0, iter(range(MOST_ROUNDS))
    while tested < REQUESTS:  # a busy machine needs more rounds
        tested += fuzz(shared_server, file, next(seeds))

    assert shared_server.get("/livez")[0] == 200
    assert shared_server.process.poll() is None
    assert ask(shared_server, CHAT, max_tokens=2).status == 200
    assert ask(shared_server, COMPLETIONS, max_tokens=2).status == 200
    assert gate_errors(shared_server) == errors
