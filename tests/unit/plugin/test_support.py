"""`kubectl msd support` collects everything but secrets."""

import base64
import json
import stat
import tarfile
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from builders import NAME, NAMESPACE, NOW, Object
from fake_api_server import FakeApiServer
from fake_objects import ApiError
from mistral_operator.kube.objects import Key
from mistral_operator.plugin.hidden_parts import hidden_values, visible_names
from mistral_operator.plugin.read_endpoint import EndpointMissing
from mistral_operator.plugin.reader import Reader
from mistral_operator.plugin.redaction import public_lines, public_object
from mistral_operator.plugin.secret_forms import forms_of
from mistral_operator.plugin.support import Collector, write_archive
from planted_secrets import POD, SECRETS, planted, secret, variables

TEAM_KEY = secret(3)
"""The value of a variable of the pod."""


async def collected(name: str = NAME, server: FakeApiServer | None = None) -> dict[str, str]:
    """Return the files of an archive of the endpoint full of secrets."""
    server = server or planted()
    async with server.cluster() as cluster:
        return await Collector(Reader(cluster), Key(NAMESPACE, name), 100, NOW).collect()


async def test_no_planted_secret_is_in_an_archive() -> None:
    files = await collected()

    assert len(SECRETS) >= 20
    assert [(name, one) for name, text in files.items() for one in SECRETS if one in text] == []


async def test_what_a_pod_answers_in_place_of_its_metrics_is_public() -> None:
    server = planted()
    reason = f"a\x1b[31mb\x1b]0;c\x07 password=hunter2x team {TEAM_KEY} " + 5000 * "d"

    def reject(path: str) -> ApiError | None:
        return ApiError(500, "InternalError", reason) if "/proxy/" in path else None

    server.before_read = reject
    files = await collected(server=server)

    note, *_ = files["not-read.txt"].splitlines()
    assert note.startswith(f"pod {POD} does not answer at port 8001: ab")
    assert [one for one in (*SECRETS, "hunter2x") if one in files["not-read.txt"]] == []
    assert all(len(one) < 400 for one in files["not-read.txt"].splitlines())
    assert files["not-read.txt"].replace("\n", "").isprintable()


async def test_an_archive_has_what_helps() -> None:
    files = await collected()

    assert {
        "README.txt",
        "status.txt",
        "resource.yaml",
        "children/Deployment-small.yaml",
        f"pods/{POD}.yaml",
        "nodes/gpu-0.yaml",
        "events.yaml",
        f"logs/{POD}/server.log",
        f"logs/{POD}/fetch.log",
        f"signals/{POD}.json",
        f"metrics/{POD}-8000.txt",
        f"metrics/{POD}-8001.txt",
        "operator/mistral-small-operator.yaml",
        "versions.json",
        "not-read.txt",
    } <= files.keys()
    assert "INFO starting" in files[f"logs/{POD}/server.log"]
    assert "ready" in files[f"logs/{POD}/server.log"].splitlines()[-1]
    assert "name: callers" not in files["resource.yaml"]
    assert "secret: callers" in files["resource.yaml"]
    assert "stage" in files[f"signals/{POD}.json"]
    assert "key_digests" not in files[f"signals/{POD}.json"]
    assert "FetchFailed" in files["events.yaml"]


async def test_an_endpoint_that_does_not_exist_is_no_archive() -> None:
    with pytest.raises(EndpointMissing, match="other in namespace models: it does not exist"):
        await collected(name="other")


def test_an_archive_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "small.tar.gz"

    write_archive(path, "support-small", {"logs/a.log": "ü\n", "README.txt": "text"})

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["support-small/README.txt", "support-small/logs/a.log"]
        log = archive.extractfile("support-small/logs/a.log")
        assert log is not None
        assert log.read().decode() == "ü\n"


def test_an_archive_replaces_a_file_that_others_can_read(tmp_path: Path) -> None:
    path = tmp_path / "small.tar.gz"
    path.write_text("older")
    path.chmod(0o644)

    write_archive(path, "support-small", {"README.txt": "text"})

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["small.tar.gz"]


def test_an_archive_does_not_follow_a_link(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "small.tar.gz"
    target.write_text("kept")
    path.symlink_to(target)

    write_archive(path, "support-small", {"README.txt": "text"})

    assert target.read_text() == "kept"
    assert not path.is_symlink()


def test_an_archive_is_written_to_a_device(tmp_path: Path) -> None:
    link = tmp_path / "null"
    link.symlink_to("/dev/null")

    write_archive(link, "support-small", {"README.txt": "text"})

    assert link.is_symlink()


def test_an_archive_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "small.tar.gz").mkdir()

    with pytest.raises(IsADirectoryError):
        write_archive(tmp_path / "small.tar.gz", "support-small", {"README.txt": "text"})
    assert [one.name for one in tmp_path.iterdir()] == ["small.tar.gz"]


def test_settings_of_the_operator_are_kept() -> None:
    own = variables("MISTRAL_OPERATOR_NAMESPACES", "models")
    foreign = variables("TOKEN_FILE", "a-secret")
    body = {"metadata": {"name": "a"}, "spec": {"env": [*own, *foreign]}}

    assert public_object(body)["spec"]["env"] == [*own, {"name": "TOKEN_FILE", "value": "[hidden]"}]
    assert hidden_values(body) == ["a-secret"]


def test_settings_that_have_variables_and_annotations_of_pods_hide_them() -> None:
    pods = {
        "env": variables("HUB_USER", "hushhush"),
        "annotations": {"vault.example/role": "sekrit-note"},
        "priorityClassName": "high",
    }
    own = variables("MISTRAL_OPERATOR_ENDPOINT_PODS", json.dumps(pods))
    body = {"metadata": {"name": "a"}, "spec": {"env": own}}

    (shown,) = public_object(body)["spec"]["env"]

    assert json.loads(shown["value"]) == {
        "env": variables("HUB_USER", "[hidden]"),
        "annotations": {"vault.example/role": "[hidden]"},
        "priorityClassName": "high",
    }
    assert hidden_values(body) == ["hushhush"]


VALUE = 'alpha line/one\nbravo-"line"\\two\n  tab\there ü'
REPEATED = {
    "each line": VALUE,
    "JSON": json.dumps(VALUE),
    "JSON as text": json.dumps(VALUE, ensure_ascii=False),
    "JSON within JSON": json.dumps(json.dumps(VALUE)),
    "a representation": repr(VALUE),
    "a URL": quote(VALUE, safe=""),
    "a path": quote(VALUE),
    "a form": quote_plus(VALUE),
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 of a URL": base64.urlsafe_b64encode(VALUE.encode()).decode(),
}


@pytest.mark.parametrize("log", REPEATED.values(), ids=REPEATED)
def test_a_value_of_several_lines_is_hidden_in_every_form(log: str) -> None:
    lines = log.splitlines()
    text = "".join(f"2026-03-01T11:00:00Z {line}\n" for line in lines)

    shown = public_lines(text, forms_of([VALUE]))

    assert [one.split(" ", 1)[1].strip(" \"'\\=") for one in shown.splitlines()] == (
        ["[hidden]"] * len(lines)
    )


def test_a_word_that_is_a_value_hides_no_names() -> None:
    env = variables("COMPONENT", "server", "MODE", "Running")
    body = {
        "metadata": {"name": "server-1", "labels": {"app": "server"}},
        "spec": {"containers": [{"name": "server", "env": env}]},
        "status": {"phase": "Running", "message": "server failed"},
    }

    shown = public_object(body, forms_of(hidden_values(body)))

    assert shown["metadata"] == body["metadata"]
    assert shown["spec"]["containers"][0]["name"] == "server"
    assert shown["status"] == {"phase": "Running", "message": "[hidden] failed"}
    assert {"server", "Running"} <= {*visible_names(body)}


def test_short_values_are_words() -> None:
    assert forms_of(["a\nb", "12345", ""]) == ()


BESIDE: dict[str, Object] = {
    "an option": {"args": ["--port", "8000", "--db-password", "[hidden]", "--verbose"]},
    "an option without a value": {"args": ["--api-key", "--verbose"]},
    "headers of a probe": {"httpHeaders": [{"name": "X-Team", "value": "[hidden]"}]},
    "a pair": {
        "parameters": [{"name": "sasToken", "value": "[hidden]"}, {"name": "a", "value": "b"}]
    },
    "a volume": {"csi": {"driver": "blob", "volumeAttributes": {"any": "[hidden]"}}},
    "a key": {"clientSecret": "[hidden]", "accountKey": "[hidden]", "passwords": ["[hidden]"]},
    "names of Secrets": {
        "apiKeys": {"secret": "callers"},
        "tokenSecret": "hub",
        "secretName": "tls",
        "secretKeyRef": {"name": "hub", "key": "token"},
        "maxTokens": "7",
    },
}


@pytest.mark.parametrize("shown", BESIDE.values(), ids=BESIDE)
def test_a_value_beside_the_name_of_a_secret_is_hidden(shown: Object) -> None:
    body = json.loads(json.dumps(shown).replace("[hidden]", "Hunter2Hunter"))

    assert public_object({"metadata": {}, **body}) == {"metadata": {}, **shown}
    assert set(hidden_values(body)) <= {"Hunter2Hunter"}


def test_the_rest_of_a_private_key_is_hidden() -> None:
    assert public_lines("MIIE\nx 9a==\n-----END PRIVATE KEY-----\nb") == (
        "[hidden]\n[hidden]\n[hidden]\nb\n"
    )


def test_a_line_of_a_log_stays_one_line() -> None:
    assert public_lines("a\u2028b\x0cc\n\nd\n").count("\n") == 3


def test_a_private_key_is_hidden_with_the_lines_between() -> None:
    text = "a\n-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\nb"

    assert public_lines(text) == "a\n[hidden]\n[hidden]\n[hidden]\nb\n"
