"""Settings that are JSON: what a resource refuses, they refuse, and nothing fails without words."""

import json
from typing import Any

import pytest
from click.testing import CliRunner

from mistral_dev.paths import CHECKOUT
from mistral_operator.api.manifest import parse_manifest
from mistral_operator.api.network import Peer
from mistral_operator.cli import main
from mistral_operator.kube.errors import CannotStart, InvalidResource
from mistral_operator.kube.names import API_VERSION, KIND
from mistral_operator.process.settings import (
    ActivatorSettings,
    ProcessSettings,
    Settings,
    read_settings,
)
from refused_peers import FORM, METADATA, RANGES

Object = dict[str, Any]

CALLERS = "MISTRAL_OPERATOR_ENDPOINT_CALLERS"
DESTINATIONS = "MISTRAL_OPERATOR_ENDPOINT_DESTINATIONS"
FIELDS = {CALLERS: "callers", DESTINATIONS: "destinations"}


def parsed(variable: str, peer: object) -> list[Peer]:
    """Return the peers of a resource that has one in the field of a setting."""
    head = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "a"}}
    network = {FIELDS[variable]: [peer]}
    peers: list[Peer] = getattr(
        parse_manifest({**head, "spec": {"network": network}}).spec.network, FIELDS[variable]
    )
    return peers


REFUSED = [
    *((CALLERS, *case) for case in (FORM | RANGES).values()),
    *((DESTINATIONS, *case) for case in (FORM | RANGES | METADATA).values()),
]


@pytest.mark.parametrize(("variable", "peer", "words"), REFUSED)
def test_a_peer_is_refused_by_a_resource_and_by_the_installation(
    variable: str, peer: object, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, json.dumps([peer]))

    with pytest.raises(CannotStart) as refused:
        read_settings(Settings)
    with pytest.raises(InvalidResource):
        parsed(variable, peer)

    assert str(refused.value).startswith(f"{variable}='")
    assert ": [0]" in str(refused.value)
    assert words in str(refused.value)


TAKEN: dict[str, Object] = {
    "every namespace": {"namespaceSelector": {}},
    "an unset selector": {"namespaceSelector": None, "podSelector": {"matchLabels": {"a": "b"}}},
    "pods of a namespace": {
        "namespaceSelector": {"matchLabels": {"team": "a"}},
        "podSelector": {"matchLabels": {"app": "gateway"}},
    },
    "a range but a part of it": {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.66.0.0/16"]}},
}


@pytest.mark.parametrize("peer", TAKEN.values(), ids=TAKEN)
@pytest.mark.parametrize("variable", FIELDS)
def test_a_peer_is_read_as_in_a_resource(
    variable: str, peer: Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, json.dumps([peer]))

    name = variable.removeprefix("MISTRAL_OPERATOR_").lower()

    assert list(getattr(read_settings(Settings), name)) == parsed(variable, peer)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("", "it must be JSON: EOF while parsing a value"),
        ("gateway", "it must be JSON: expected value"),
        ("{}", "must be a list"),
        (
            '[{"podSelector": {"labels": {}}}]',
            "[0].podSelector: unknown field labels; the fields are matchLabels",
        ),
        (
            '[{"podSelector": {}}, {"ip block": {}}]',
            '[1]: unknown field "ip block"; the fields are ipBlock, namespaceSelector, podSelector',
        ),
        (
            '[{"ipBlock": {"cidr": "gateway"}}]',
            "[0].ipBlock.cidr: not valid: write a value such as 10.20.0.0/16",
        ),
    ],
)
def test_the_message_says_where_and_what_to_write(
    text: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CALLERS, text)

    with pytest.raises(CannotStart) as refused:
        read_settings(Settings)

    assert advice in str(refused.value)


ODD = (
    *("", " ", ",", "{", "[]", "{}", "[{}]", "[[]]", '[{"a":1}]', "null", "nan", "1e999"),
    *("-1", "true", "\x1b[31m", "9" * 5000, "[" * 500, '[{"ipBlock":{"cidr":"10.0.0.0/33"}}]'),
)


def refusal(kind: type[ProcessSettings]) -> str:
    """Return why the environment is refused, empty if it is not."""
    try:
        read_settings(kind)
    except CannotStart as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in (Settings, ActivatorSettings) for name in kind.model_fields],
)
def test_no_value_of_a_setting_ends_the_process_without_a_sentence(
    kind: type[ProcessSettings], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"{kind.model_config['env_prefix']}{name.upper()}"
    for text in ODD:
        monkeypatch.setenv(variable, text)
        message = refusal(kind)

        assert not message or message.startswith(f"{variable}="), text


def test_render_refuses_what_the_operator_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CALLERS, '[{"namespaceSelector": {"matchLabel": {}}}]')

    file = str(CHECKOUT / "examples" / "quickstart.yaml")
    done = CliRunner().invoke(main, ["render", "-f", file])

    assert done.exit_code == 1
    assert "unknown field matchLabel; the fields are matchLabels" in done.output
