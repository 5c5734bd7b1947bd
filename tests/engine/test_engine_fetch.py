"""``mistral-server fetch`` with the hub's real client and a small hub on this host."""

import json
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from mistral_dev.commands import run
from mistral_dev.images import engine
from mistral_server.contract import EXIT_CODES, FETCH_SETTINGS_ENV, FailureClass, FetchSettings
from mistral_server.model.marker import MARKER
from server_runner import free_port

TOKEN = "hf_hush"  # noqa: S105 - of no hub but the one below
CHECKOUT = "mistralai/small"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = {
    "params.json": b'{"dim": 128}',
    "tekken.json": b"{}",
    "config.json": b"{}",
    "SYSTEM_PROMPT.txt": b"You are {name}.",
    "consolidated.safetensors": b"c" * 3_000_000,
    "model-00001-of-00002.safetensors": b"m" * 1000,
    "model-00002-of-00002.safetensors": b"m" * 1000,
    "model.safetensors.index.json": b"{}",
    "README.md": b"# Hi",
}


class Hub(BaseHTTPRequestHandler):
    """The part of the hub's interface that a snapshot needs."""

    protocol_version = "HTTP/1.1"
    refuse: ClassVar[int] = 0
    refuse_after: ClassVar[int] = 0
    """Requests that are answered, 0 for all."""
    token: ClassVar[str | None] = None
    requested: ClassVar[list[str]] = []
    gets: ClassVar[list[str]] = []
    slow: ClassVar[float] = 0
    """Seconds until a file's version is told."""

    def do_HEAD(self) -> None:
        time.sleep(self.slow)
        self._answer(send_body=False)

    def do_GET(self) -> None:
        self.gets.append(self.path)
        self._answer(send_body=True)

    def log_message(self, *_args: object) -> None:
        """Log nothing."""

    def _answer(self, *, send_body: bool) -> None:
        self.requested.append(self.path)
        path = self.path.split("?")[0]
        name = path.rsplit("/", 1)[-1]
        if self.refuse_after and len(self.requested) > self.refuse_after:
            self._send(503, b"", {})
        elif self.refuse or (
            self.token and self.headers["authorization"] != f"Bearer {self.token}"
        ):
            self._send(self.refuse or 401, b"", {})
        elif not path.startswith((f"/{CHECKOUT}/", f"/api/models/{CHECKOUT}/")):
            self._send(404, b"", {"x-error-code": "RepoNotFound"})
        elif "/v9" in path:
            self._send(404, b"", {"x-error-code": "RevisionNotFound"})
        elif path.startswith(f"/api/models/{CHECKOUT}/revision/"):
            siblings = [{"rfilename": file, "size": len(data)} for file, data in CONTENT.items()]
            self._json({"id": CHECKOUT, "sha": COMMIT, "siblings": siblings}, send_body)
        elif path.startswith(f"/api/models/{CHECKOUT}/tree/"):
            files = [
                {"type": "file", "path": file, "size": len(data), "oid": file}
                for file, data in CONTENT.items()
            ]
            self._json(files, send_body)
        else:
            headers = {"x-repo-commit": COMMIT, "etag": f'"{name}"'}
            self._send(200, CONTENT[name], headers, send_body=send_body)

    def _json(self, value: object, send_body: bool) -> None:
        headers = {"content-type": "application/json"}
        self._send(200, json.dumps(value).encode(), headers, send_body=send_body)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], *, send_body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if send_body:
            self.wfile.write(body)


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a hub and return its address."""
    Hub.refuse, Hub.refuse_after, Hub.token, Hub.slow = 0, 0, None, 0
    Hub.requested.clear()
    Hub.gets.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http{'s' * (tls is not None)}://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hub() -> Iterator[str]:
    """Run a hub without TLS and return its address."""
    with serving() as address:
        yield address


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate for the loopback address, with its key in the same file."""
    folder = tmp_path_factory.mktemp("tls")
    pem, key = folder / "hub.pem", folder / "hub.key"
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=hub", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", key, "-out", pem),
        ]
    )
    pem.write_text(pem.read_text() + key.read_text())
    return pem


def fetch(
    directory: Path, hub: str, token: str = "", trust: str = "", **changes: str
) -> subprocess.CompletedProcess[str]:
    """Run the command as an init container does.

    Args:
        directory: where the model goes.
        hub: address of the hub.
        token: of the hub, if any.
        trust: file of a certificate that is trusted.
        changes: settings.
    """
    values = {"repository": CHECKOUT, "revision": "main", "directory": str(directory)} | changes
    # The default port would be taken from fake pods of other tests, on every address.
    settings = FetchSettings.model_validate({**values, "health_port": free_port()})
    env = {name: value for name, value in engine.environment().items() if name != "HF_TOKEN"}
    return subprocess.run(
        [engine.engine() / "bin" / "python", "-m", "mistral_server", "fetch"],
        env={
            **env,
            **({"HF_TOKEN": token} if token else {}),
            **({"SSL_CERT_FILE": trust} if trust else {}),
            "HF_ENDPOINT": hub,
            "HOME": "/nonexistent",  # a pod's home is read-only
            FETCH_SETTINGS_ENV: settings.model_dump_json(),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def content(directory: Path) -> set[str]:
    """Return the names of the model's files in a directory."""
    return {entry.name for entry in directory.iterdir() if not entry.name.startswith(".")}


def test_only_one_set_of_weights_is_fetched(hub: str, tmp_path: Path) -> None:
    mistral = tmp_path / "mistral"
    done = fetch(mistral, hub)
    assert done.returncode == 0, done.stderr
    names = {"params.json", "tekken.json", "config.json", "SYSTEM_PROMPT.txt"}
    assert content(mistral) == {*names, "consolidated.safetensors"}
    assert (mistral / "consolidated.safetensors").read_bytes() == CONTENT[
        "consolidated.safetensors"
    ]

    other = tmp_path / "other"
    done = fetch(other, hub, format="huggingface")
    assert done.returncode == 0, done.stderr
    assert content(other) == set(CONTENT) - {
        "params.json",
        "consolidated.safetensors",
        "README.md",
    }


def test_a_second_fetch_sends_no_request(hub: str, tmp_path: Path) -> None:
    assert fetch(tmp_path, hub).returncode == 0
    Hub.requested.clear()
    done = fetch(tmp_path, hub)

    assert done.returncode == 0
    assert "is already present" in done.stderr
    assert Hub.requested == []
    assert not (tmp_path / ".hub").exists()


def test_replicas_that_share_a_cache_fetch_it_once(hub: str, tmp_path: Path) -> None:
    Hub.slow = 4  # so that all have requested the version before the first one has the file
    with ThreadPoolExecutor() as pool:
        fetches = list(pool.map(lambda _: fetch(tmp_path, hub), range(3)))

    assert [one.returncode for one in fetches] == [0, 0, 0]
    weights = [one for one in Hub.gets if "consolidated" in one]
    assert len(weights) == 1
    assert content(tmp_path) >= {"params.json", "consolidated.safetensors"}


@pytest.mark.parametrize("present", ["lost+found", "consolidated-00001-of-00002.safetensors"])
def test_files_of_an_earlier_fetch_are_no_complete_model(
    hub: str, tmp_path: Path, present: str
) -> None:
    for name in (present, "params.json"):
        (tmp_path / name).write_bytes(b"{}")
    Hub.refuse = 503

    done = fetch(tmp_path, hub)

    assert done.returncode == EXIT_CODES[FailureClass.MODEL_UNAVAILABLE]
    assert "the hub cannot answer now" in done.stderr
    assert not (tmp_path / MARKER).exists()


@pytest.mark.parametrize("answered", [1, 4])
def test_a_hub_that_stops_responding_leaves_no_complete_model(
    hub: str, tmp_path: Path, answered: int
) -> None:
    (tmp_path / "params.json").write_bytes(CONTENT["params.json"])
    (tmp_path / "consolidated.safetensors").write_bytes(b"of another commit")
    Hub.refuse_after = answered

    done = fetch(tmp_path, hub)

    assert done.returncode == EXIT_CODES[FailureClass.MODEL_UNAVAILABLE], done.stderr
    assert not (tmp_path / MARKER).exists()

    Hub.refuse_after = 0
    assert fetch(tmp_path, hub).returncode == 0
    assert (tmp_path / "consolidated.safetensors").read_bytes() == CONTENT[
        "consolidated.safetensors"
    ]


def test_what_a_killed_fetch_left_is_removed_unless_it_grows(hub: str, tmp_path: Path) -> None:
    partial = tmp_path / ".cache/huggingface/download"
    partial.mkdir(parents=True)
    old, new = partial / "weights.0123.incomplete", partial / "weights.4567.incomplete"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 600,) * 2)

    assert fetch(tmp_path, hub).returncode == 0
    assert (old.exists(), new.exists()) == (False, True)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda weights: weights.write_bytes(b"c" * 1000),
    "grown": lambda weights: weights.write_bytes(b"c" * 3_000_001),
    "removed": lambda weights: weights.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("touched", [True, False], ids=["new time", "old time"])
def test_a_damaged_file_is_fetched_again_and_no_other(
    hub: str, tmp_path: Path, damage: Callable[[Path], object], touched: bool
) -> None:
    assert fetch(tmp_path, hub).returncode == 0
    weights = tmp_path / "consolidated.safetensors"
    before = weights.stat()
    damage(weights)
    if weights.exists() and not touched:
        os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    Hub.gets.clear()

    done = fetch(tmp_path, hub)

    assert done.returncode == 0, done.stderr
    assert "consolidated.safetensors of mistralai/small is damaged" in done.stderr
    assert weights.read_bytes() == CONTENT["consolidated.safetensors"]
    assert [path for path in Hub.gets if "/resolve/" in path and "consolidated" not in path] == []
    assert fetch(tmp_path, hub).stderr.count("is already present") == 1


def test_a_repository_does_not_bring_its_own_marker(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (MARKER, ".cache/huggingface/notes.json", "part/.hidden.json"):
        monkeypatch.setitem(CONTENT, name, b"forged")
    done = fetch(tmp_path, hub)

    assert done.returncode == 0, done.stderr
    assert not any(MARKER in path or "hidden" in path for path in Hub.requested)
    assert not (tmp_path / ".cache/huggingface/notes.json").exists()
    assert "forged" not in (tmp_path / MARKER).read_text()


def test_another_revision_is_fetched_anew(hub: str, tmp_path: Path) -> None:
    assert fetch(tmp_path, hub).returncode == 0
    (tmp_path / "consolidated.safetensors").unlink()
    assert fetch(tmp_path, hub, revision="v2").returncode == 0

    assert (tmp_path / "consolidated.safetensors").exists()


def test_a_token_is_not_sent_in_clear_text(hub: str, tmp_path: Path) -> None:
    done = fetch(tmp_path, hub, token=TOKEN)

    assert done.returncode == EXIT_CODES[FailureClass.MODEL_UNAVAILABLE]
    assert "set an https:// URL as HF_ENDPOINT" in done.stderr
    assert TOKEN not in done.stderr + done.stdout
    assert Hub.requested == []


def test_a_token_is_used_and_never_shown(certificate: Path, tmp_path: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    with serving(tls) as hub:
        Hub.token = TOKEN
        done = fetch(tmp_path, hub, token=TOKEN, trust=str(certificate))

    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stderr + done.stdout
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("refuse", "changes", "says"),
    [
        (401, {}, "accept the model's license"),
        (403, {}, "accept the model's license"),
        (429, {}, "wait, or set a token"),
        (500, {}, "the hub cannot answer now"),
        (0, {"repository": "mistralai/other"}, "the repository does not exist on the hub"),
        (0, {"revision": "v9"}, "the revision does not exist"),
        (0, {"hub": "http://127.0.0.1:9"}, "check that the pod can reach the hub"),
    ],
)
def test_a_failure_reports_the_remedy(
    hub: str, tmp_path: Path, refuse: int, changes: dict[str, str], says: str
) -> None:
    Hub.refuse = refuse
    changes = dict(changes)
    done = fetch(tmp_path, changes.pop("hub", hub), **changes)

    assert done.returncode == EXIT_CODES[FailureClass.MODEL_UNAVAILABLE], done.stderr
    assert says in done.stderr
    assert not (tmp_path / MARKER).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_volume_is_reported(hub: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    done = fetch(tmp_path / "model", hub)

    assert "is not writable" in done.stderr


def test_a_repository_without_this_format_is_reported(
    hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(CONTENT, "consolidated.safetensors")
    done = fetch(tmp_path, hub)

    assert done.returncode == EXIT_CODES[FailureClass.MODEL_UNAVAILABLE]
    assert "contains no consolidated*.safetensors" in done.stderr
